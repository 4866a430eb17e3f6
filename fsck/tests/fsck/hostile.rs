//! Images that somebody made to do harm: no panic, no hang, no memory without bound; and no damage overlooked.
use crate::volume::{Places, Ram, Volume};
use bento_api::{BlockNo, Bytes, Disk, Errno, GroupNo, InodeNo};
use bento_fs::format::block::{BlockKind, RawHeader};
use bento_fs::format::node::Tree;
use bento_fsck::{Journal, Options, Outcome, check};
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use zerocopy::FromBytes;

/// The blocks of a rich volume that hold metadata, the log left out.
fn metadata(volume: &Volume) -> Vec<BlockNo> {
    let geometry = volume.geometry();
    let is_used = |no: &BlockNo| {
        let bytes = volume.disk.get(*no);
        let kind = RawHeader::read_from_prefix(&bytes)
            .ok()
            .and_then(|(raw, _)| BlockKind::from_magic(raw.magic.get()));
        let copy = geometry.copies().any(|(_, copy)| copy == *no);
        let table = geometry.is_table_block(*no) && bytes.iter().any(|byte| *byte != 0);
        kind.is_some() || copy || table || *no == BlockNo(1)
    };
    (1..geometry.blocks_total).map(BlockNo).filter(is_used).collect()
}

struct Rich {
    bytes: Vec<u8>,
    metadata: Vec<BlockNo>,
}

/// A rich volume is built once; each case gets a copy.
static RICH: LazyLock<Rich> = LazyLock::new(|| {
    let (mut volume, _) = Volume::rich();
    let metadata = metadata(&volume);
    Rich { bytes: volume.disk.bytes_mut().to_vec(), metadata }
});

fn rich() -> Volume {
    let mut volume = Volume::empty();
    volume.disk.bytes_mut().copy_from_slice(&RICH.bytes);
    volume
}

/// Makes every checksum that covers this byte of a block right again.
fn reseal(volume: &Volume, no: BlockNo, at: usize) {
    if no == BlockNo(1) || volume.geometry().copies().any(|(_, copy)| copy == no) {
        volume.edit_superblock(no, |_| {});
    } else if let Some(first) = volume.geometry().table_first_ino(no) {
        let ino = InodeNo(first.0 + at as u64 / 256);
        if ino.0 > 0 {
            volume.edit_record(ino, |_| {});
        }
    } else if no.0 == 2 || no.0 == 3 {
        volume.edit_slot_bytes(no.0 - 2, |_| {});
    } else {
        volume.edit(no, |_| {});
    }
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
enum Change {
    Zero,
    Ones,
    Up,
    Down,
    To(u64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Zero),
        Just(Change::Ones),
        Just(Change::Up),
        Just(Change::Down),
        any::<u64>().prop_map(Change::To),
        (0..2000_u64).prop_map(Change::To),
    ]
}

fn apply(bytes: &mut [u8], change: Change) {
    let old = bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let new = match change {
        Change::Zero => 0,
        Change::Ones => u64::MAX,
        Change::Up => old.wrapping_add(1),
        Change::Down => old.wrapping_sub(1),
        Change::To(value) => value,
    };
    bytes.iter_mut().zip(new.to_le_bytes()).for_each(|(to, from)| *to = from);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_flipped_byte_of_metadata_is_found(block in any::<Index>(), at in 0..4096_usize, bit in 0..8_u8) {
        let volume = rich();
        let no = *block.get(&RICH.metadata);
        // An inode that was never used, all zeros, has no checksum: what it turns into is no inode.
        volume.disk.edit(no, |bytes| bytes[at] ^= 1 << bit);
        let report = volume.check();
        prop_assert!(!report.is_clean(), "block {}, byte {}", no, at);
    }

    #[test]
    fn fields_with_any_value_and_right_checksums_do_no_harm(
        changes in prop::collection::vec((any::<Index>(), 0..512_usize, 0..4_u32, change()), 1..6),
    ) {
        let volume = rich();
        for (block, at, width, change) in changes {
            let no = *block.get(&RICH.metadata);
            // Fields lie at the front of a block, or anywhere in an inode table.
            let scale = if volume.geometry().is_table_block(no) || at % 3 == 0 { 8 } else { 1 };
            let at = (at * scale) & !((1 << width) - 1);
            volume.disk.edit(no, |bytes| apply(&mut bytes[at..at + (1 << width)], change));
            reseal(&volume, no, at);
        }
        volume.check();
    }

    #[test]
    fn rubbish_in_the_log_does_no_harm(
        changes in prop::collection::vec((0..12_u64, 0..512_usize, change()), 1..6),
        durable in 0..3_u64,
    ) {
        rubbish_in_the_log(&changes, durable)?;
    }
}

/// Recovery and fsck read the log by code of their own: they agree on what is in it.
fn rubbish_in_the_log(changes: &[(u64, usize, Change)], durable: u64) -> Result<(), TestCaseError> {
    let volume = rich().dirty();
    let home = volume.geometry().alloc_block(GroupNo(0)).unwrap();
    let copies = [(home, volume.disk.get(home)), (BlockNo(1), volume.disk.get(BlockNo(1)))];
    let next = volume.log(volume.log_end(), 0, &copies);
    volume.log(next, durable, &copies);
    for (block, at, change) in changes {
        volume.disk.edit(BlockNo(2 + block), |bytes| apply(&mut bytes[at * 8..at * 8 + 8], *change));
        match block {
            0 | 1 => volume.edit_slot_bytes(*block, |_| {}),
            _ => volume.edit_batch_bytes(BlockNo(2 + block)),
        }
    }
    let journal = volume.check().journal;
    let seed = volume.seed();
    match bento_fs::replay(&volume.disk, &volume.geometry(), seed, &mut Box::default(), &mut |_| Ok(())) {
        Ok(replay) if replay.damaged.is_some() => prop_assert_eq!(journal, Journal::Damaged(replay.batches)),
        Ok(replay) => prop_assert_eq!(journal, Journal::Replayable(replay.batches)),
        Err(_) => prop_assert!(matches!(journal, Journal::Damaged(_) | Journal::Unknown)),
    }
    Ok(())
}

/// Found by chance: the first copy is torn, and the second tag senseless.
#[test]
fn a_torn_copy_ends_the_log_before_a_senseless_tag_behind_it() {
    rubbish_in_the_log(&[(3, 0, Change::Zero), (2, 18, Change::Zero)], 0).unwrap();
}

#[test]
fn devices_without_a_volume_are_refused() {
    for blocks in [0, 1, 2, 3, 500] {
        let report = check(&Ram::new(blocks), &Options::default());
        assert_eq!((report.outcome, report.is_clean()), (Outcome::NoSuperblock, false));
    }
}

#[test]
fn a_volume_that_was_cut_short_is_refused_at_any_length() {
    let (volume, _) = Volume::rich();
    for blocks in [2, 4, 130, 200, 700, 1600, volume.geometry().blocks_total as usize - 1] {
        let mut volume = volume.clone();
        volume.disk.truncate(blocks);
        assert!(volume.codes().contains(&150), "{blocks} blocks");
    }
}

#[test]
fn trees_that_lead_into_themselves_end() {
    let (volume, places) = Volume::rich();
    for (tree, ino) in [(Tree::Extents, places.tree), (Tree::Index, places.big)] {
        let volume = volume.clone();
        let nodes = volume.nodes(tree, ino);
        let top = nodes[0][0];
        // All children of the top node are the top node.
        volume.edit(top, |bytes| {
            let count = usize::from(bytes[34]);
            (0..count).for_each(|at| bytes[48 + at * 16 + 8..][..8].copy_from_slice(&top.0.to_le_bytes()));
        });
        assert!(!volume.check().is_clean());
        // All children of every node are one leaf.
        let volume = Volume::rich().0;
        let leaf = nodes.last().unwrap()[0];
        for no in &nodes[nodes.len() - 2] {
            volume.edit(*no, |bytes| {
                let count = usize::from(bytes[34]);
                (0..count)
                    .for_each(|at| bytes[48 + at * 16 + 8..][..8].copy_from_slice(&leaf.0.to_le_bytes()));
            });
        }
        assert!(!volume.check().is_clean());
    }
}

/// Makes every directory hold the same blocks, all of them, as often as its record has room for.
fn share_everything(volume: &Volume, places: &Places) {
    let start =
        volume.geometry().block_no(GroupNo(0), volume.geometry().data_start(GroupNo(0)).unwrap()).unwrap();
    let len = 512 - volume.geometry().data_start(GroupNo(0)).unwrap();
    for ino in [InodeNo(1), InodeNo(3), places.dir, places.sub, places.big] {
        let extents: Vec<_> = (0..4)
            .map(|at| bento_fs::format::record::Extent {
                file: bento_api::FileBlock(at * u64::from(len)),
                start,
                len,
                unwritten: false,
            })
            .collect();
        volume.edit_record(ino, |raw| {
            (raw.layout, raw.depth, raw.size) = (0, 0, (u64::from(len) * 4 * 4096).into());
            raw.root.fill(0);
            for (extent, place) in extents.iter().zip(raw.root.chunks_mut(16)) {
                let record = bento_fs::format::record::Record::from(*extent);
                place[..8].copy_from_slice(&record.word0.to_le_bytes());
                place[8..].copy_from_slice(&record.word1.to_le_bytes());
            }
        });
    }
}

#[test]
fn directories_that_share_all_blocks_are_read_no_more_often_than_the_volume_is_large() {
    let (volume, places) = Volume::rich();
    share_everything(&volume, &places);
    let report = volume.check();
    assert!(report.totals.keys().any(|what| what.code() == 550));
}

#[test]
fn the_place_of_inode_0_stays_empty() {
    let volume = rich();
    let (table, _) = volume.geometry().table_range(GroupNo(0)).unwrap();
    volume.disk.edit(table, |bytes| bytes[0] = 1);
    assert_eq!(volume.codes(), [413]);
}

#[test]
fn rubbish_behind_a_good_superblock_does_no_harm() {
    let mut volume = rich();
    let mut state = 7_u32;
    for byte in &mut volume.disk.bytes_mut()[4 * 4096..] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    assert!(volume.codes().contains(&301));
}

#[test]
fn a_cancelled_check_says_so() {
    let volume = Volume::rich().0;
    let cancelled = AtomicBool::new(true);
    let report = check(&volume.disk, &Options { cancelled: Some(&cancelled), ..Options::default() });
    assert_eq!(report.outcome, Outcome::Cancelled);
}

/// A petabyte of nothing behind a superblock that says that there is a volume.
struct Holes(Bytes);

impl Disk for Holes {
    fn blocks(&self) -> u64 {
        1 << 51
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        *to = if no == BlockNo(1) { self.0 } else { [0; 4096] };
        Ok(())
    }

    fn write(&self, _: BlockNo, _: &Bytes) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn a_superblock_that_promises_a_petabyte_gets_neither_time_nor_memory_for_it() {
    let mut volume = Volume::empty();
    let geometry = &mut volume.superblock.geometry;
    geometry.groups = u32::MAX;
    geometry.summary_len = u64::from(u32::MAX.div_ceil(508));
    geometry.groups_start = BlockNo(geometry.summary_start.0 + geometry.summary_len);
    geometry.blocks_total = geometry.groups_start.0 + u64::from(u32::MAX) * 512;
    volume.put_superblock();
    let report = check(&Holes(volume.disk.get(BlockNo(1))), &Options::default());
    assert_eq!(report.outcome, Outcome::GaveUp);
}
