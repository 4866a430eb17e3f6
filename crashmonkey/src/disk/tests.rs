//! The explorer, on a journal small enough to reason about: two blocks that must always agree.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_api::{BLOCK, BlockNo, Bytes, Disk};

use super::*;

fn block(byte: u8) -> Content {
    Arc::new([byte; BLOCK])
}

fn write(at: u64, byte: u8, flags: Flags) -> Request {
    Request::Write { at, contents: vec![block(byte)], flags }
}

/// The first bytes of blocks 0, 1 and 2 on every medium of a space.
fn media(space: &Space, atom: Atom) -> BTreeSet<[u8; 3]> {
    let mut all = BTreeSet::new();
    let explorer = Explorer { atom, runs_at_most: 1 << 16 };
    let mut counts = Counts::default();
    let done: Result<(), ((), Vec<Choice>)> = explorer.explore(space, &mut counts, |disk| {
        let mut bytes = [0; 3];
        for (no, byte) in bytes.iter_mut().enumerate() {
            *byte = disk.get(no as u64).map_err(|_| ())?[0];
        }
        all.insert(bytes);
        Ok(())
    });
    assert_eq!((done.is_ok(), counts.capped), (true, 0));
    all
}

fn points(disk: &Recorder) -> Vec<BTreeSet<[u8; 3]>> {
    let start = Space::only(Image::new(4));
    disk.log().points(start, Lie::None).map(|point| media(&point.space, Atom::Block)).collect()
}

#[test]
fn unflushed_writes_may_each_be_there_or_not() {
    let disk = Recorder::new(Image::new(4));
    for (no, byte) in [(0, 1), (1, 2), (0, 3)] {
        disk.complete(disk.submit(write(no, byte, Flags::empty()))).expect("no fault is planned");
    }
    let expected = [[0, 0, 0], [1, 0, 0], [3, 0, 0], [0, 2, 0], [1, 2, 0], [3, 2, 0]];
    assert_eq!(points(&disk), [BTreeSet::from(expected)]);
}

#[test]
fn fua_makes_its_own_block_durable_and_no_other() {
    let disk = Recorder::new(Image::new(4));
    disk.complete(disk.submit(write(0, 1, Flags::empty()))).expect("no fault is planned");
    disk.complete(disk.submit(write(1, 2, Flags::FUA))).expect("no fault is planned");
    let before = BTreeSet::from([[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]]);
    let after = BTreeSet::from([[0, 2, 0], [1, 2, 0]]);
    assert_eq!(points(&disk), [before, after]);
}

#[test]
fn data_behind_a_preflush_is_never_seen_without_what_it_flushes() {
    let disk = Recorder::new(Image::new(4));
    disk.complete(disk.submit(write(0, 1, Flags::empty()))).expect("no fault is planned");
    disk.complete(disk.submit(write(1, 2, Flags::PREFLUSH | Flags::FUA))).expect("no fault is planned");
    let all: BTreeSet<_> = points(&disk).into_iter().flatten().collect();
    assert_eq!(all, BTreeSet::from([[0, 0, 0], [1, 0, 0], [1, 2, 0]]));
}

#[test]
fn a_flush_covers_only_what_had_completed_when_it_was_submitted() {
    let disk = Recorder::new(Image::new(4));
    let late = disk.submit(write(0, 1, Flags::empty()));
    disk.complete(disk.submit(write(1, 2, Flags::empty()))).expect("no fault is planned");
    let flush = disk.submit(Request::Flush);
    disk.complete(late).expect("no fault is planned");
    disk.complete(flush).expect("no fault is planned");
    assert_eq!(points(&disk).last(), Some(&BTreeSet::from([[0, 2, 0], [1, 2, 0]])));
}

#[test]
fn a_torn_block_holds_the_head_or_the_tail_of_a_version() {
    let disk = Recorder::new(Image::new(4));
    disk.write(BlockNo(0), &[1; BLOCK]).expect("no fault is planned");
    let log = disk.into_log();
    let point = log.points(Space::only(Image::new(4)), Lie::None).next().expect("the end is a point");
    let mut seen = BTreeSet::new();
    let explorer = Explorer { atom: Atom::Sector, runs_at_most: 100 };
    let done: Result<(), ((), _)> = explorer.explore(&point.space, &mut Counts::default(), |disk| {
        let content = disk.get(0).map_err(|_| ())?;
        seen.insert((content.iter().filter(|byte| **byte == 1).count() / 512, content[0]));
        Ok(())
    });
    assert!(done.is_ok());
    assert_eq!(seen.len(), 16);
}

#[test]
fn decisions_repeat_a_run_and_a_limit_is_counted() {
    let disk = Recorder::new(Image::new(8));
    for no in 0..6 {
        disk.write(BlockNo(no), &[1; BLOCK]).expect("no fault is planned");
    }
    let log = disk.into_log();
    let point = log.points(Space::only(Image::new(8)), Lie::None).next().expect("the end is a point");
    let mut counts = Counts::default();
    let sum = |disk: &CrashDisk<'_>| (0..6).map(|no| disk.get(no).map_or(0, |c| c[0])).collect::<Vec<u8>>();
    let explorer = Explorer { atom: Atom::Block, runs_at_most: 10 };
    let stopped = explorer.explore(&point.space, &mut counts, |disk| {
        let seen = sum(disk);
        if seen == [1, 1, 1, 0, 1, 0] { Err(seen) } else { Ok(()) }
    });
    let (seen, decisions) = stopped.expect_err("this medium is among the first ten");
    assert_eq!(sum(&CrashDisk::new(&point.space, Atom::Block, decisions)), seen);
    let done: Result<(), ((), _)> = explorer.explore(&point.space, &mut counts, |disk| {
        sum(disk);
        Ok(())
    });
    assert!(done.is_ok());
    assert_eq!(counts.capped, 1);
}

/// Which step of the toy journal is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    NoFlushBeforeHeader,
    NoFlushAfterHeader,
    NoFlushBeforeClear,
    NoFlushAfterClear,
    RecoveryClearsTooEarly,
}

const HEADER: u64 = 0;
const LOG: [u64; 2] = [1, 2];
const HOME: [u64; 2] = [3, 4];

/// Sets both home blocks to `value`, through the log.
fn commit(disk: &impl Disk, value: u8, bug: Bug) -> Result<(), bento_api::Errno> {
    let flush = |without| if bug == without { Ok(()) } else { disk.flush() };
    LOG.iter().try_for_each(|no| disk.write(BlockNo(*no), &[value; BLOCK]))?;
    flush(Bug::NoFlushBeforeHeader)?;
    disk.write(BlockNo(HEADER), &[1; BLOCK])?;
    flush(Bug::NoFlushAfterHeader)?;
    HOME.iter().try_for_each(|no| disk.write(BlockNo(*no), &[value; BLOCK]))?;
    flush(Bug::NoFlushBeforeClear)?;
    disk.write(BlockNo(HEADER), &[0; BLOCK])?;
    flush(Bug::NoFlushAfterClear)
}

fn recover(disk: &impl Disk, bug: Bug) -> Result<(), bento_api::Errno> {
    let mut header: Bytes = [0; BLOCK];
    disk.read(BlockNo(HEADER), &mut header)?;
    if header[0] == 1 {
        for (log, home) in LOG.iter().zip(HOME) {
            let mut copy = [0; BLOCK];
            disk.read(BlockNo(*log), &mut copy)?;
            disk.write(BlockNo(home), &copy)?;
        }
        if bug != Bug::RecoveryClearsTooEarly {
            disk.flush()?;
        }
        disk.write(BlockNo(HEADER), &[0; BLOCK])?;
        disk.flush()?;
    }
    Ok(())
}

/// What both home blocks hold, or that they disagree.
fn value(disk: &CrashDisk<'_>) -> Result<u8, String> {
    let bytes: Vec<u8> = HOME.iter().map(|no| disk.get(*no).map_or(0xEE, |c| c[0])).collect();
    if bytes[0] == bytes[1] { Ok(bytes[0]) } else { Err(format!("half done: {bytes:?}")) }
}

/// Every crash of three commits, and every crash during each recovery.
fn explore(bug: Bug, lie: Lie) -> Result<Counts, String> {
    let disk = Recorder::new(Image::new(8));
    for commit_no in 1..=3 {
        commit(&disk, commit_no, bug).map_err(|e| format!("{e:?}"))?;
        disk.mark(commit_no.into());
    }
    let log = disk.into_log();
    let explorer = Explorer { atom: Atom::Block, runs_at_most: 1000 };
    let mut counts = Counts::default();
    for point in log.points(Space::only(Image::new(8)), lie) {
        let at_least = point.events as u8;
        let check = |disk: &CrashDisk<'_>| match value(disk)? {
            found if found < at_least => Err(format!("{found} after {at_least} was acknowledged")),
            _ => Ok(()),
        };
        let mut nested = Vec::new();
        let run = |disk: &CrashDisk<'_>| {
            recover(disk, bug).map_err(|e| format!("{e:?}"))?;
            if disk.end_of_recovery() {
                nested.extend(disk.second_crashes());
            }
            check(disk)
        };
        explorer.explore(&point.space, &mut counts, run).map_err(|(error, _)| error)?;
        for point in nested {
            let run = |disk: &CrashDisk<'_>| {
                recover(disk, bug).map_err(|e| format!("{e:?}"))?;
                check(disk)
            };
            explorer
                .explore(&point.space, &mut counts, run)
                .map_err(|(error, _)| format!("in recovery: {error}"))?;
        }
    }
    Ok(counts)
}

#[test]
fn a_sound_journal_survives_every_crash() {
    let counts = explore(Bug::None, Lie::None).expect("no crash breaks it");
    assert!(counts.runs > 50 && counts.capped == 0, "{counts:?}");
}

#[test]
fn every_missing_flush_is_found() {
    for bug in [
        Bug::NoFlushBeforeHeader,
        Bug::NoFlushAfterHeader,
        Bug::NoFlushBeforeClear,
        Bug::NoFlushAfterClear,
        Bug::RecoveryClearsTooEarly,
    ] {
        assert!(explore(bug, Lie::None).is_err(), "{bug:?} was not found");
    }
}

#[test]
fn a_drive_that_ignores_flushes_is_found() {
    assert!(explore(Bug::None, Lie::EveryFlush).is_err());
    // The last flush of a commit only matters to the commit after it, the first ones to their own.
    for nth in 0..8 {
        assert!(explore(Bug::None, Lie::Flush(nth)).is_err(), "flush {nth}");
    }
}
