//! One injected corruption for each problem number, checksums made right, so that the rule itself is reached.
use crate::volume::{Places, Volume};
use bento_api::{BlockNo, Bytes, FileBlock, GroupNo, InodeNo};
use bento_fs::format::Corruption;
use bento_fs::format::dirent::FREE_MAP_START;
use bento_fs::format::node::Tree;
use bento_fs::format::record::Extent;
use std::collections::BTreeSet;
use zerocopy::IntoBytes;

/// A way to damage a rich volume.
struct Case {
    what: Corruption,
    damage: fn(&mut Volume, &Places),
    /// What else is bound to be wrong then.
    also: &'static [u16],
}

const fn case(what: Corruption, damage: fn(&mut Volume, &Places)) -> Case {
    Case { what, damage, also: &[] }
}

const fn also(what: Corruption, also: &'static [u16], damage: fn(&mut Volume, &Places)) -> Case {
    Case { what, damage, also }
}

const ROOT: InodeNo = InodeNo(1);
const SUPERBLOCK: BlockNo = BlockNo(1);

/// The superblock copy of group 1.
fn copy(volume: &Volume) -> BlockNo {
    volume.geometry().copy_block(GroupNo(1)).unwrap()
}

/// An inode below the mark of its group that nobody uses.
fn unused(places: &Places) -> InodeNo {
    InodeNo(places.orphan.0 + 1)
}

/// A dirty volume with two batches, of which the second says that the first was durable. Damages the first.
fn damage_log(volume: &mut Volume, f: fn(&mut Volume)) {
    *volume = volume.clone().dirty();
    let home = volume.geometry().alloc_block(GroupNo(0)).unwrap();
    let copies = [(home, volume.disk.get(home))];
    let next = volume.log(volume.log_end(), 0, &copies);
    volume.log(next, 1, &copies);
    f(volume);
}

fn log_block(volume: &Volume, at: u64) -> BlockNo {
    volume.geometry().log_block(at).unwrap()
}

/// Puts a number into a block.
fn put(bytes: &mut Bytes, at: usize, number: &[u8]) {
    bytes[at..at + number.len()].copy_from_slice(number);
}

/// A block of each kind with a header, and the first number of its four.
fn header_block(volume: &Volume, places: &Places, first: u16) -> BlockNo {
    match first {
        301 => volume.geometry().alloc_block(GroupNo(1)).unwrap(),
        421 => volume.extents(places.long)[0].start,
        501 => volume.nodes(Tree::Extents, places.tree)[1][0],
        601 => volume.extents(places.sub)[0].start,
        621 => map_block(volume, places),
        641 => volume.nodes(Tree::Index, places.big)[1][0],
        701 => volume.inode(places.xattrs).xattr_block.unwrap(),
        801 => volume.orphan_block(),
        901 => volume.geometry().summary_start,
        1001 => volume.log_file(1),
        _ => panic!("no kind of block"),
    }
}

fn map_block(volume: &Volume, places: &Places) -> BlockNo {
    let extents = volume.extents(places.big);
    extents.iter().find(|extent| extent.file.0 == FREE_MAP_START).unwrap().start
}

/// Changes an extent of a file whose extents are in its record.
fn edit_extent(volume: &Volume, ino: InodeNo, at: usize, f: fn(&mut Extent)) {
    let mut extent = volume.extents(ino)[at];
    f(&mut extent);
    let record = bento_fs::format::record::Record::from(extent);
    volume.edit_record(ino, |raw| {
        let place = &mut raw.root[at * 16..at * 16 + 16];
        place[..8].copy_from_slice(&record.word0.to_le_bytes());
        place[8..].copy_from_slice(&record.word1.to_le_bytes());
    });
}

fn edit_leaf(volume: &Volume, places: &Places, tree: Tree, f: fn(&mut Bytes)) {
    let ino = if tree == Tree::Extents { places.tree } else { places.big };
    volume.edit(volume.nodes(tree, ino).last().unwrap()[1], f);
}

fn edit_interior(volume: &Volume, places: &Places, tree: Tree, f: fn(&mut Bytes)) {
    let ino = if tree == Tree::Extents { places.tree } else { places.big };
    volume.edit(volume.nodes(tree, ino)[0][0], f);
}

fn edit_entry(volume: &Volume, dir: InodeNo, name: &[u8], f: fn(&mut [u8])) {
    let (no, at) = volume.entry(dir, name);
    volume.edit(no, |bytes| f(&mut bytes[at..]));
}

mod cases;

#[test]
fn each_problem_number_is_found_by_the_corruption_that_it_names() {
    let (rich, places) = Volume::rich();
    let mut wrong = String::new();
    for Case { what, damage, also } in cases::all() {
        let mut volume = rich.clone();
        damage(&mut volume, &places);
        let report = volume.check();
        let found: BTreeSet<u16> = report.totals.keys().map(|what| what.code()).collect();
        let expected: BTreeSet<u16> = also.iter().copied().chain([what.code()]).collect();
        if found != expected {
            wrong += &format!("{what:?}: {expected:?} expected\n");
            report.problems.iter().for_each(|problem| wrong += &format!("    {problem}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_block_with_a_header_is_refused_for_each_field_of_it() {
    let (rich, places) = Volume::rich();
    for first in [301, 421, 501, 601, 621, 641, 701, 801, 901, 1001] {
        let no = header_block(&rich, &places, first);
        let damages: [fn(&Volume, BlockNo); 4] = [
            |volume, no| volume.edit(no, |bytes| bytes[4] ^= 1),
            |volume, no| volume.disk.edit(no, |bytes| bytes[4000] ^= 1),
            |volume, no| volume.edit(no, |bytes| bytes[8] ^= 1),
            |volume, no| volume.edit(no, |bytes| bytes[16] ^= 2),
        ];
        for (code, damage) in (first..).zip(damages) {
            let volume = rich.clone();
            damage(&volume, no);
            assert!(volume.codes().contains(&code), "{code}: {:?}", volume.codes());
        }
        let mut volume = rich.clone();
        volume.disk.unreadable.insert(no);
        assert_eq!(
            volume.check().unreadable,
            volume.check().problems.iter().filter(|one| one.unreadable).count() as u64
        );
        assert!(volume.check().unreadable > 0, "{first}: an unreadable block");
    }
}

/// Problems that fsck meets under another number, since it knows more of the place.
const OTHERS: [Corruption; 2] = [Corruption::InodeNumber, Corruption::DirPlace];

#[test]
fn every_problem_number_has_a_case() {
    let mut tested: BTreeSet<Corruption> = cases::all().iter().map(|case| case.what).chain(OTHERS).collect();
    for first in [301, 421, 501, 601, 621, 641, 701, 801, 901, 1001] {
        tested.extend((first..first + 4).map(|code| Corruption::from_code(code).unwrap()));
    }
    let untested: Vec<_> = Corruption::ALL.iter().filter(|what| !tested.contains(what)).collect();
    assert!(untested.is_empty(), "no case for {untested:?}");
}
