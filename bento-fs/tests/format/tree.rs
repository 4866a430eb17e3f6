//! Records and nodes, against a sorted vector.
use bento_api::{BLOCK, BlockNo, FileBlock};
use bento_fs::format::Corruption;
use bento_fs::format::block::{self, BlockKind, Owner};
use bento_fs::format::hash::NameHash;
use bento_fs::format::node::{self, CAPACITY, Node, NodeMut, Tree};
use bento_fs::format::record::{Child, Extent, IndexEntry, MAX_EXTENT, Record};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn empty_node(tree: Tree, level: u8) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    block::start(&mut bytes, tree.block_kind(), BlockNo(50), Owner(20));
    node::set_level(&mut bytes, level);
    bytes
}

#[test]
fn extents_of_every_length_come_back() {
    for len in [1, 4095, 4096, 4097, MAX_EXTENT] {
        for unwritten in [false, true] {
            let extent = Extent {
                file: FileBlock((1 << 52) - u64::from(len)),
                start: BlockNo((1 << 52) - 1),
                len,
                unwritten,
            };
            assert_eq!(Extent::try_from(Record::from(extent)), Ok(extent));
        }
    }
}

#[test]
fn records_that_are_no_extents_are_refused() {
    let good = Record::from(Extent { file: FileBlock(7), start: BlockNo(9), len: 4096, unwritten: true });
    let bad = [
        Record { word0: 7 << 12, word1: 9 << 12 },
        Record { word1: good.word1 | 2, ..good },
        Record { word1: good.word1 | 4, ..good },
        Record { word1: good.word1 & 0xfff, ..good },
        Record { word0: u64::MAX, ..good },
        Record::default(),
    ];
    for record in bad {
        assert_eq!(Extent::try_from(record), Err(Corruption::ExtentRecord), "{record:x?}");
    }
}

#[test]
fn an_index_entry_lies_behind_a_header_at_a_multiple_of_16() {
    let entry = IndexEntry { hash: NameHash(u64::MAX), position: 4096 + 32 };
    assert_eq!(IndexEntry::try_from(Record::from(entry)), Ok(entry));
    for position in [0, 16, 33, 4096, 1 << 52] {
        assert_eq!(IndexEntry::try_from(Record { word0: 1, word1: position }), Err(Corruption::IndexRecord));
    }
}

#[test]
fn a_node_does_what_a_sorted_vector_does() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut bytes = empty_node(Tree::Index, 0);
    let mut model: Vec<Record> = Vec::new();
    for _ in 0..20_000 {
        let position = rng.random_range(0..200u64) * 4096 + 32;
        let record = Record { word0: rng.random_range(0..500), word1: position };
        let at = Node::block(&bytes, Tree::Index, 0).unwrap().lower(record);
        assert_eq!(at, model.partition_point(|other| *other < record));
        let mut node = NodeMut::block(&mut bytes, Tree::Index).unwrap();
        if rng.random_bool(0.55) {
            if model.get(at) != Some(&record) {
                assert_eq!(node.insert(at, record), model.len() < CAPACITY);
                if model.len() < CAPACITY {
                    model.insert(at, record);
                }
            }
        } else {
            assert_eq!(node.remove(at), model.get(at).copied());
            if at < model.len() {
                model.remove(at);
            }
        }
        let node = Node::block(&bytes, Tree::Index, 0).unwrap();
        assert_eq!(node.check(), Ok(()));
        assert!(node.records().eq(model.iter().copied()));
        assert_eq!(node.room(), CAPACITY - model.len());
    }
}

#[test]
fn a_split_moves_the_upper_half_and_keeps_equal_hashes_together() {
    let mut left = empty_node(Tree::Index, 0);
    let mut right = empty_node(Tree::Index, 0);
    let mut node = NodeMut::block(&mut left, Tree::Index).unwrap();
    for at in 0..CAPACITY {
        // Places 100 to 199 have one hash.
        let word0 = if (100..200).contains(&at) { 100 } else { at as u64 };
        assert!(node.insert(at, Record { word0, word1: at as u64 * 16 * 4096 + 32 }));
    }
    let place = Node::block(&left, Tree::Index, 0).unwrap().split_place().unwrap();
    assert_eq!(place, 100);
    let mut node = NodeMut::block(&mut left, Tree::Index).unwrap();
    assert!(node.split(place, &mut NodeMut::block(&mut right, Tree::Index).unwrap()));
    for (bytes, count) in [(&left, 100), (&right, CAPACITY - 100)] {
        let node = Node::block(bytes, Tree::Index, 0).unwrap();
        assert_eq!((node.count(), node.check()), (count, Ok(())));
    }
}

#[test]
fn the_child_for_a_key_is_the_last_at_or_below_it_or_the_first() {
    let mut bytes = empty_node(Tree::Extents, 1);
    let mut node = NodeMut::block(&mut bytes, Tree::Extents).unwrap();
    for (at, key) in [10, 20, 30].into_iter().enumerate() {
        assert!(node.insert(at, Child { key, block: BlockNo(100 + at as u64) }.into()));
    }
    let node = Node::block(&bytes, Tree::Extents, 1).unwrap();
    for (key, place) in [(0, 0), (10, 0), (19, 0), (20, 1), (29, 1), (30, 2), (u64::MAX, 2)] {
        assert_eq!(node.child_place(Record { word0: key, word1: 0 }), place, "{key}");
    }
}

#[test]
fn a_root_area_ends_at_its_first_empty_record() {
    let mut area = [0; 80];
    let mut root = NodeMut::root(&mut area);
    for at in 0..5u64 {
        let extent = Extent { file: FileBlock(at), start: BlockNo(90 - at), len: 1, unwritten: false };
        assert!(root.insert(at as usize, extent.into()));
    }
    assert!(!root.insert(0, Record { word0: 1, word1: 1 }));
    assert_eq!(Node::root(&area, Tree::Extents, 0).check(), Ok(()));
    NodeMut::root(&mut area).truncate(2);
    assert_eq!(Node::root(&area, Tree::Extents, 0).count(), 2);
    area[70] = 1;
    assert_eq!(Node::root(&area, Tree::Extents, 0).check(), Err(Corruption::ExtentTail));
}

#[test]
fn nodes_out_of_order_too_full_or_at_the_wrong_level_are_refused() {
    let mut bytes = empty_node(Tree::Extents, 0);
    let extent = |file, len| Extent { file: FileBlock(file), start: BlockNo(1 << 20), len, unwritten: false };
    let mut node = NodeMut::block(&mut bytes, Tree::Extents).unwrap();
    assert!(node.insert(0, extent(0, 10).into()) && node.insert(1, extent(9, 1).into()));
    assert_eq!(Node::block(&bytes, Tree::Extents, 0).unwrap().check(), Err(Corruption::ExtentOrder));
    assert_eq!(Node::block(&bytes, Tree::Extents, 1).unwrap_err(), Corruption::ExtentLevel);
    bytes[34..36].copy_from_slice(&254u16.to_le_bytes());
    assert_eq!(Node::block(&bytes, Tree::Extents, 0).unwrap_err(), Corruption::ExtentCount);
    assert_eq!(NodeMut::block(&mut bytes, Tree::Extents).unwrap_err(), Corruption::ExtentCount);
    let kind = BlockKind::from_magic(u32::from_le_bytes(*b"BEXT"));
    assert_eq!(kind, Some(BlockKind::Extent));
}
