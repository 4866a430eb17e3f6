//! Whatever bytes there are: no reader panics or runs on.
use crate::small_geometry;
use bento_api::{BLOCK, BlockNo, FileKind, GroupNo, InodeNo};
use bento_fs::format::block::{self, BlockKind, Header};
use bento_fs::format::group::{self, Summary};
use bento_fs::format::hash::NameHash;
use bento_fs::format::log::{BatchHeader, LogHeader, Tag, TagArea};
use bento_fs::format::node::{Node, NodeMut, Tree};
use bento_fs::format::record::Record;
use bento_fs::format::{Inode, Superblock, dirent, inode, orphan, xattr};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const SEED: u32 = 6;

/// Every reader and every changer, on the same bytes.
fn read_as_everything(bytes: &mut [u8; BLOCK]) {
    let geometry = small_geometry();
    let _ = Superblock::decode(bytes);
    let _ = LogHeader::decode(bytes, SEED);
    let epoch = bytes.get(16..24).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let _ = BatchHeader::decode(bytes, &geometry, epoch);
    for area in [TagArea::Header, TagArea::Block] {
        assert!((0..256).filter(|at| Tag::read(bytes, area, *at, &geometry).is_ok()).count() <= 254);
    }
    let _ = Header::read(bytes, SEED, BlockNo(9));
    let _ = group::check_alloc(bytes, &geometry, GroupNo(1));
    assert!((0..BLOCK + 8).step_by(8).filter(|at| Summary::read(bytes, *at).is_ok()).count() <= 512);
    assert!(orphan::used(bytes, &geometry).count() <= 508);
    for at in (0..BLOCK).step_by(256) {
        if let Ok(inode) = Inode::decode(&bytes[at..], InodeNo(17), SEED) {
            let _ = (inode.kind(), inode.device(), inode.target());
        }
    }
    for tree in [Tree::Extents, Tree::Index] {
        for level in 0..3 {
            nodes(bytes, tree, level);
        }
    }
    let _ = xattr::check_block(bytes);
    let _ = xattr::find(&bytes[208..256], xattr::Namespace::User, b"name");
    let _ = xattr::insert(&mut bytes[208..256], xattr::Namespace::User, b"name", b"value");
    let _ = xattr::remove(xattr::block_area_mut(bytes), xattr::Namespace::User, b"name");
    directory(bytes);
}

fn nodes(bytes: &mut [u8; BLOCK], tree: Tree, level: u8) {
    if let Ok(node) = Node::block(bytes, tree, level) {
        assert!(node.count() <= 253);
        let _ = (node.check(), node.split_place());
        assert!(node.child_place(Record { word0: 77, word1: 0 }) <= node.count());
    }
    let _ = Node::root(&bytes[128..208], tree, level).check();
    let at = usize::from(level) * 40;
    if let Ok(mut node) = NodeMut::block(bytes, tree) {
        let _ = node.insert(at, Record { word0: 1, word1: 1 });
        let _ = node.remove(at);
        node.truncate(at);
    }
}

fn directory(bytes: &mut [u8; BLOCK]) {
    assert!(dirent::slots(bytes).count() <= 255);
    let _ = (
        dirent::largest_hole(bytes),
        dirent::find(bytes, b"name", NameHash(5)),
        dirent::next_entry(bytes, 700),
    );
    for at in [0, 32, 48, 4080, 4095, 4096, usize::MAX] {
        let _ = dirent::entry_at(bytes, at);
        let _ = dirent::insert_at(bytes, at, b"name", NameHash(5), InodeNo(20), FileKind::Regular);
        let _ = dirent::remove(bytes, at);
        let _ = dirent::set_target(bytes, at, InodeNo(21), FileKind::Regular);
    }
}

/// A block of each kind, as mkfs and the file system make them.
fn good_blocks() -> Vec<[u8; BLOCK]> {
    let geometry = small_geometry();
    let mut blocks = Vec::new();
    for kind in BlockKind::ALL {
        let mut bytes = [0; BLOCK];
        block::start(&mut bytes, *kind, BlockNo(9), InodeNo(17).into());
        match kind {
            BlockKind::Alloc => assert!(group::start_alloc(&mut bytes, &geometry, GroupNo(1)).is_some()),
            BlockKind::Dir => {
                dirent::start(&mut bytes);
                for number in 0..40 {
                    let name = format!("name {number}").into_bytes();
                    let at = dirent::find_hole(&bytes, 32).unwrap().unwrap();
                    dirent::insert_at(&mut bytes, at, &name, NameHash(5), InodeNo(20), FileKind::Regular)
                        .unwrap();
                }
            }
            BlockKind::Extent | BlockKind::Index => {
                let mut node = NodeMut::block(&mut bytes, Tree::Index).unwrap();
                (0..200).for_each(|at| {
                    assert!(node.insert(at, Record { word0: at as u64 * 4097, word1: 36_896 }))
                });
            }
            BlockKind::Xattr => {
                let area = xattr::block_area_mut(&mut bytes);
                assert_eq!(xattr::insert(area, xattr::Namespace::User, b"name", &[1; 300]), Ok(true));
            }
            _ => {}
        }
        blocks.push(bytes);
    }
    let mut table = [0; BLOCK];
    for record in table.chunks_mut(256) {
        Inode { mode: 0o100_644, ..Inode::free(1) }.encode(record, InodeNo(17), SEED);
    }
    blocks.push(table);
    blocks.push([0; BLOCK]);
    blocks.push([0xff; BLOCK]);
    blocks
}

/// Changes some fields to the values that go wrong most often.
fn damage(rng: &mut SmallRng, bytes: &mut [u8; BLOCK]) {
    for _ in 0..rng.random_range(1..6) {
        let width = *[1, 2, 4, 8].choose(rng).unwrap();
        let at = if rng.random_bool(0.7) { rng.random_range(0..512) } else { rng.random_range(0..BLOCK) };
        let at = at / width * width;
        let Some(field) = bytes.get_mut(at..at + width) else { continue };
        match rng.random_range(0..5) {
            0 => field.fill(0),
            1 => field.fill(0xff),
            2 => field[0] = field[0].wrapping_add(1),
            3 => field[0] = field[0].wrapping_sub(1),
            _ => rng.fill(field),
        }
    }
}

#[test]
fn damaged_blocks_with_right_checksums_never_panic_any_reader() {
    let mut rng = SmallRng::seed_from_u64(7);
    let good = good_blocks();
    for _ in 0..4000 {
        let mut bytes = *good.choose(&mut rng).unwrap();
        damage(&mut rng, &mut bytes);
        let mut sealed = bytes;
        block::seal(&mut sealed, SEED, bento_api::BatchSeq(1));
        read_as_everything(&mut sealed);
        // An inode's checksum, too, made right: the parser behind it is reached.
        for at in (0..BLOCK).step_by(256) {
            let crc = inode::checksum_of(&bytes[at..at + 256], InodeNo(17), SEED);
            bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        }
        read_as_everything(&mut bytes);
    }
}

#[test]
fn short_slices_never_panic_any_reader() {
    let geometry = small_geometry();
    for len in [0, 1, 15, 16, 31, 32, 33, 47, 48, 127, 128, 255, 256, 4095] {
        let mut bytes = vec![0xff; len];
        let _ = (
            Superblock::decode(&bytes),
            LogHeader::decode(&bytes, 0),
            BatchHeader::decode(&bytes, &geometry, 0),
        );
        let _ = (group::counts(&bytes), group::check_alloc(&bytes, &geometry, GroupNo(0)));
        let _ = (Node::block(&bytes, Tree::Index, 0).map(|node| node.check()), dirent::largest_hole(&bytes));
        let _ = Node::root(&bytes, Tree::Extents, 0).check();
        let _ = (xattr::usage(&bytes), xattr::check_block(&bytes), orphan::used(&bytes, &geometry).count());
        let _ = (orphan::set(&mut bytes, 0, None), NodeMut::root(&mut bytes).insert(0, Record::default()));
        block::start(&mut bytes, BlockKind::Dir, BlockNo(1), InodeNo(1).into());
        block::seal(&mut bytes, 0, bento_api::BatchSeq(0));
        dirent::start(&mut bytes);
        Inode::free(0).encode(&mut bytes, InodeNo(1), 0);
    }
}
