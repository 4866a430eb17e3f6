//! Two names with one hash. SipHash gives none to play with, so the test writes them.
use crate::volume::{Expects, ROOT, Volume};
use bento_api::{BatchSeq, BlockNo, Bytes, Disk, InodeNo};
use bento_fs::format::block::{self, BlockKind};
use bento_fs::format::dirent;
use bento_fs::format::node::{Node, NodeMut, Tree};
use bento_fs::format::record::{IndexEntry, Record};
use bento_fs::format::{HashKey, Superblock};

fn name(i: usize) -> Vec<u8> {
    let mut name = format!("name {i} ").into_bytes();
    name.resize(60, b'-');
    name
}

/// Writes a changed block.
fn change<R>(disk: &dyn Disk, no: BlockNo, f: impl FnOnce(&mut Bytes) -> R) -> R {
    let mut bytes = Volume::block(disk, no);
    let result = f(&mut bytes);
    block::seal(&mut bytes, Volume::seed(disk), BatchSeq(0));
    disk.write(no, &bytes).unwrap();
    result
}

/// Makes the entry `of` pretend to have the hash of `to`, in its block and in the index, which is one leaf.
fn collide(disk: &dyn Disk, dir: InodeNo, of: &[u8], to: &[u8]) {
    let key: HashKey = Superblock::decode(&Volume::block(disk, BlockNo(1))).unwrap().hash_key;
    let (old, new) = (key.hash(of), key.hash(to));
    let blocks = Volume::blocks_of(disk, dir);
    let at = blocks.iter().filter(|(_, kind)| *kind == BlockKind::Dir).find_map(|(no, _)| {
        let bytes = Volume::block(disk, *no);
        let found = dirent::find(&bytes, of, old).unwrap();
        found.map(|entry| (*no, entry.at))
    });
    let (no, at) = at.unwrap();
    change(disk, no, |bytes| bytes[at + 8..][..4].copy_from_slice(&new.low().to_le_bytes()));
    let (leaf, _) = *blocks.iter().find(|(_, kind)| *kind == BlockKind::Index).unwrap();
    change(disk, leaf, |bytes| {
        let records: Vec<_> = Node::block(bytes, Tree::Index, 0).unwrap().records().collect();
        let place = records.iter().position(|record| record.word0 == old.0).unwrap();
        let moved: Record = IndexEntry { hash: new, position: records[place].word1 }.into();
        let mut node = NodeMut::block(bytes, Tree::Index).unwrap();
        node.remove(place).unwrap();
        let place = (0..node.count()).find(|at| node.get(*at).unwrap() > moved).unwrap_or(node.count());
        assert!(node.insert(place, moved));
    });
}

#[test]
fn names_with_the_same_hash_are_told_apart() {
    const COUNT: usize = 120;
    let mut volume = Volume::new(8192);
    let files = [b"one", b"two"].map(|name| volume.create(ROOT, name, 0o100_644).unwrap());
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    (0..COUNT).for_each(|i| volume.link(files[i % 2], dir, &name(i)).unwrap());
    // In the same block and in another, before and behind.
    let others = [5, 10, 90, 119];
    volume = volume.remount_changed(Expects::Health, |disk| {
        others.iter().for_each(|i| collide(disk, dir, &name(*i), &name(40)));
    });
    assert_eq!(volume.lookup(dir, &name(40)), Ok(Some(files[0])));
    for i in others {
        assert_eq!(volume.lookup(dir, &name(i)), Ok(None), "its own hash leads nowhere now");
    }
    assert_eq!(volume.list(dir).unwrap().len(), COUNT);
    volume.unlink(dir, &name(40)).unwrap();
    assert_eq!(volume.lookup(dir, &name(40)), Ok(None));
    volume.link(files[1], dir, &name(40)).unwrap();
    assert_eq!(volume.lookup(dir, &name(40)), Ok(Some(files[1])));
    assert_eq!(volume.list(dir).unwrap().len(), COUNT);
}
