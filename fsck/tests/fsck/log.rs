//! What lies in the log is checked as the next mount will replay it.
use crate::volume::Volume;
use bento_api::{BlockNo, Bytes, GroupNo, InodeNo};
use bento_fs::format::log::BATCH_MAGIC;
use bento_fsck::{Journal, Note};

/// Makes a home block stale, and logs what it should be.
fn logged(volume: &Volume, homes: &[BlockNo]) -> Vec<(BlockNo, Bytes)> {
    homes
        .iter()
        .map(|no| {
            let copy = volume.disk.get(*no);
            volume.disk.edit(*no, |bytes| bytes.fill(0xaa));
            (*no, copy)
        })
        .collect()
}

fn homes(volume: &Volume) -> [BlockNo; 3] {
    let table = volume.geometry().inode_place(InodeNo(1)).unwrap().0;
    [volume.geometry().alloc_block(GroupNo(0)).unwrap(), table, volume.extents(InodeNo(1))[0].start]
}

#[test]
fn batches_in_the_log_are_read_through() {
    let volume = Volume::rich().0.dirty();
    let [first, second, third] = homes(&volume);
    let end = volume.log_end();
    let batches = [logged(&volume, &[first, second]), logged(&volume, &[third])];
    assert!(!volume.check().is_clean());
    let end = volume.log(end, 0, &batches[0]);
    volume.log(end, 0, &batches[1]);
    let report = volume.check();
    assert!(report.is_clean(), "{:#?}", report.problems);
    assert_eq!(report.journal, Journal::Replayable(2));
}

#[test]
fn a_later_copy_wins_and_an_escaped_one_gets_its_magic_back() {
    let volume = Volume::rich().0.dirty();
    let file = volume.take_data();
    let mut data = [7; 4096];
    data[..8].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
    let [alloc, ..] = homes(&volume);
    let good = volume.disk.get(alloc);
    let end = volume.log(volume.log_end(), 0, &[(alloc, [1; 4096]), (file, data)]);
    volume.log(end, 0, &[(alloc, good)]);
    assert!(volume.check().is_clean());
}

#[test]
fn a_batch_that_was_torn_is_left_out() {
    let volume = Volume::rich().0.dirty();
    let [alloc, ..] = homes(&volume);
    let end = volume.log(volume.log_end(), 0, &[(alloc, volume.disk.get(alloc))]);
    let torn = volume.geometry().log_block(end.at + 1).unwrap();
    volume.log(end, 1, &[(alloc, [1; 4096])]);
    volume.disk.edit(torn, |bytes| bytes[4095] ^= 1);
    let report = volume.check();
    assert!(report.is_clean(), "{:#?}", report.problems);
    assert_eq!(report.journal, Journal::Replayable(1));
}

#[test]
fn a_log_header_that_was_torn_is_no_problem_while_the_volume_is_in_use() {
    let volume = Volume::rich().0.dirty();
    volume.disk.edit(BlockNo(3), |bytes| bytes[100] ^= 1);
    let report = volume.check();
    assert!(report.is_clean(), "{:#?}", report.problems);
    assert!(matches!(report.notes[..], [Note::LogSlot(_, BlockNo(3))]));
}

#[test]
fn the_log_is_followed_around_its_end() {
    let volume = Volume::rich().0.dirty();
    let [alloc, table, names] = homes(&volume);
    (0..2).for_each(|slot| volume.edit_slot(slot, |header| header.tail_at = 126 * 5 - 2));
    let end = volume.log_end();
    let copies = logged(&volume, &[alloc, table, names]);
    volume.log(end, 0, &copies);
    assert!(volume.check().is_clean());
}
