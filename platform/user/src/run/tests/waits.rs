//! Waits, restarts, panics, upgrades.
use super::disk::Volatile;
use super::*;
use crate::run::{Background, Budget, UpgradeError};
use bento_api::envelope::Refused;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn new() -> (Arc<Volatile>, Arc<Mount>) {
    let disk = Arc::new(Volatile::default());
    let mount = mount(&disk);
    (disk, mount)
}

#[test]
fn a_cold_operation_is_restarted_and_a_warm_one_is_not() {
    let (disk, mount) = new();
    let mut call = mount.call();
    let before = disk.reads.load(SeqCst);
    add(&mount, &mut call, 5, 3).expect("adds");
    assert_eq!((mount.counters().restarts, disk.reads.load(SeqCst) - before), (1, 1));
    add(&mount, &mut call, 5, 4).expect("adds");
    assert_eq!(value(&mount, &mut call, 5), Ok(7));
    assert_eq!((mount.counters().restarts, disk.reads.load(SeqCst) - before), (1, 1));
    assert_eq!(mount.containers().credits_in_use(), 1, "one block is in the running batch");
}

#[test]
fn calls_that_miss_one_block_share_one_read() {
    let (disk, mount) = new();
    let before = disk.reads.load(SeqCst);
    *disk.delay.lock() = Duration::from_millis(20);
    std::thread::scope(|scope| {
        (0..8).for_each(|_| {
            scope.spawn(|| value(&mount, &mut mount.call(), 9).expect("reads"));
        });
    });
    assert_eq!(disk.reads.load(SeqCst) - before, 1);
    assert_eq!(mount.containers().cache_counters().fetched, 1);
}

#[test]
fn every_first_use_can_be_made_a_miss() {
    let (_, mount) = new();
    let mut call = mount.call();
    mount.containers().set_always_miss(true);
    for _ in 0..5 {
        transfer(&mount, &mut call, 1, 2).expect("transfers");
    }
    assert_eq!(mount.counters().restarts, 10);
    assert_eq!(value(&mount, &mut call, 2), Ok(5));
}

#[test]
fn an_operation_that_never_gets_on_runs_alone_and_then_fails() {
    let (_, mount) = new();
    assert_eq!(lookup(&mount, &mut mount.call(), b"again"), Err(Errno::Io));
    let counted = mount.counters();
    assert_eq!((counted.restarts, counted.alone, counted.exhausted), (129, 1, 1));
    assert_eq!(value(&mount, &mut mount.call(), 1), Ok(0), "the others pass again");
}

#[test]
fn progress_begins_the_count_of_attempts_anew() {
    let (_, mount) = new();
    assert_eq!(lookup(&mount, &mut mount.call(), b"progress"), Ok(1000));
    assert_eq!(mount.counters().alone, 0);
}

#[test]
fn what_no_log_could_give_is_refused() {
    let (_, mount) = new();
    assert_eq!(lookup(&mount, &mut mount.call(), b"log"), Err(Errno::Capacity));
}

#[test]
fn space_is_looked_for_before_it_is_denied() {
    let (_, mount) = new();
    let mut call = mount.call();
    assert_eq!(lookup(&mount, &mut call, b"full"), Err(Errno::NoSpace));
    let taken: Vec<u64> = (0..128).map(|_| take(&mount, &mut call, 7).expect("takes")).collect();
    assert_eq!(take(&mount, &mut call, 7), Err(Errno::NoSpace));
    give(&mount, &mut call, taken[3]).expect("gives");
    assert_eq!(mount.containers().available(bento_api::Map::Blocks), 0);
    let checkpoints = mount.counters().checkpoints;
    assert_eq!(take(&mount, &mut call, 8), Ok(taken[3]), "after a commit and a checkpoint");
    assert!(mount.counters().checkpoints > checkpoints);
    assert!(!mount.containers().has_pending_frees());
}

#[test]
fn a_panic_gives_everything_back_and_a_new_version_goes_on() {
    let (_, mount) = new();
    let mut call = mount.call();
    take(&mount, &mut call, 1).expect("takes");
    let free = mount.containers().available(bento_api::Map::Blocks);
    assert_eq!(take(&mount, &mut call, b'!'), Err(Errno::Io));
    assert_eq!(mount.containers().available(bento_api::Map::Blocks), free);
    assert_eq!(value(&mount, &mut call, 1), Err(Errno::Io), "nobody trusts it any more");
    mount.upgrade(Budget::default(), |_| Ok(super::core("second"))).expect("takes over");
    assert_eq!(value(&mount, &mut call, 1), Ok(0));
    assert_eq!(take(&mount, &mut call, 2), Ok(1), "the claim of the panic is free");
    mount.commit().expect("commits");
}

#[test]
fn a_panic_in_a_batch_shuts_the_mount_down_and_nothing_of_it_is_written() {
    let (disk, mount) = new();
    let mut call = mount.call();
    add(&mount, &mut call, 1, 1).expect("adds");
    mount.commit().expect("commits");
    add(&mount, &mut call, 1, 1).expect("adds");
    let unlink = mount.run(&mut call, OpKind::Unlink, |fs, call| fs.unlink(call, InodeNo(1), name(b"panic")));
    assert_eq!(unlink.map(|_| ()), Err(Errno::Io));
    assert!(mount.commit().is_err());
    let next = mount.upgrade(Budget::default(), |_| Ok(super::core("second")));
    assert!(matches!(next, Err(UpgradeError::ShutDown)));
    let after = super::mount(&Arc::new(Volatile::of(disk.cut(|| true))));
    assert_eq!(value(&after, &mut after.call(), 1), Ok(1));
}

#[test]
fn a_failed_log_write_stops_changes_and_not_reads() {
    let (disk, mount) = new();
    let mut call = mount.call();
    add(&mount, &mut call, 1, 5).expect("adds");
    disk.fail_writes.store(true, SeqCst);
    assert_eq!(mount.commit(), Err(Errno::Io));
    assert_eq!(add(&mount, &mut call, 1, 5), Err(Errno::Io));
    assert_eq!(value(&mount, &mut call, 1), Ok(5));
    assert_eq!(mount.unmount(), Err(Errno::Io));
}

#[test]
fn fsync_without_a_batch_flushes_and_shares_what_others_flushed() {
    let (_, mount) = new();
    let mut call = mount.call();
    let medium = mount.containers().medium().clone();
    call.keep(InodeNo(1), 1);
    value(&mount, &mut call, 1).expect("reads");
    medium.flush().expect("flushes");
    let flushes = medium.counters().flushes;
    mount.fsync(&mut call, InodeNo(1), crate::run::Fsync::All).expect("syncs");
    assert_eq!(medium.counters().flushes, flushes, "nothing was written");
    medium.write(1 << 22, &[std::io::IoSlice::new(&[1; 4096])]).expect("writes");
    mount.fsync(&mut call, InodeNo(1), crate::run::Fsync::All).expect("syncs");
    assert_eq!((medium.counters().flushes, mount.counters().commits), (flushes + 1, 0));
}

#[test]
fn a_new_slot_waits_for_what_is_on_its_way_already() {
    let (_, mount) = new();
    let mut call = mount.call();
    let batch = add(&mount, &mut call, 1, 1).expect("adds");
    value(&mount, &mut call, 1).expect("reads");
    call.keep(InodeNo(1), 1);
    assert_eq!(mount.containers().slot(InodeNo(1), |slot| slot.sync_seq), Some(batch));
    mount.fsync(&mut call, InodeNo(1), crate::run::Fsync::All).expect("syncs");
    assert_eq!(mount.containers().durable(), batch);
    value(&mount, &mut call, 1).expect("reads");
    call.keep(InodeNo(2), 1);
    assert_eq!(mount.containers().slot(InodeNo(2), |slot| slot.sync_seq.0), Some(0));
}

#[test]
fn the_background_commits_and_ends_with_the_mount() {
    let (disk, mount) = new();
    mount.start_background(Background { commit_every: Duration::from_millis(5) }).expect("starts");
    let batch = add(&mount, &mut mount.call(), 1, 1).expect("adds");
    let patience = Instant::now() + Duration::from_secs(20);
    while mount.containers().durable() < batch {
        assert!(Instant::now() < patience, "nobody committed");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(mount.unmount(), Ok(true));
    let image = disk.cut(|| false);
    assert_eq!(image.get(&(fake::HOMES + 1)).map(|bytes| bytes[0]), Some(1), "it is home");
}

#[test]
fn unmount_leaves_everything_home_and_the_log_empty() {
    let (disk, mount) = new();
    let mut call = mount.call();
    for n in 0..500 {
        add(&mount, &mut call, n % 150, 1).expect("adds");
    }
    assert_eq!(mount.unmount(), Ok(true));
    assert_eq!((mount.containers().not_home(), mount.containers().log_usage().0), (0, 0));
    let after = super::mount(&Arc::new(Volatile::of(disk.cut(|| false))));
    let sum: u64 = (0..150).map(|n| value(&after, &mut after.call(), n).expect("reads")).sum();
    assert_eq!(sum, 500);
}

#[test]
fn a_refused_upgrade_leaves_the_old_version_serving() {
    let (_, mount) = new();
    let refused = mount.upgrade(Budget::default(), |_| Err(Refused::BadSection(3)));
    assert!(matches!(refused, Err(UpgradeError::Refused(Refused::BadSection(3)))));
    let panicked = mount.upgrade(Budget::default(), |_| panic!("by order"));
    assert!(matches!(panicked, Err(UpgradeError::Panicked)));
    assert_eq!(mount.with_core(|fs| fs.version()), "first");
    assert_eq!(value(&mount, &mut mount.call(), 1), Ok(0));
}

#[test]
fn upgrades_under_load_lose_nothing_and_pause_shortly() {
    let (disk, mount) = new();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (mount, stop, done) = (&mount, &stop, &done);
            scope.spawn(move || {
                let mut call = mount.call();
                while !stop.load(SeqCst) {
                    let batch = add(mount, &mut call, n, 1).expect("adds");
                    if n == 0 {
                        mount.sync(batch).expect("syncs");
                    }
                    done.fetch_add(1, SeqCst);
                }
            });
        }
        for _ in 0..100 {
            let upgraded = mount.upgrade(Budget::default(), |envelope| {
                assert_eq!(&envelope[..8], b"BENTOUPG");
                Ok(super::core("next"))
            });
            upgraded.expect("goes through");
            std::thread::sleep(Duration::from_micros(500));
        }
        stop.store(true, SeqCst);
    });
    let sum: u64 = (0..4).map(|n| value(&mount, &mut mount.call(), n).expect("reads")).sum();
    assert_eq!(sum, done.load(SeqCst));
    assert_eq!(mount.counters().upgrades, 100);
    assert!(mount.pauses().count >= 100);
    println!("{:?} for {sum} operations", mount.pauses());
    assert_eq!(mount.unmount(), Ok(true));
    drop(disk);
}

#[test]
fn sixteen_fsync_threads_share_commits() {
    let (disk, mount) = new();
    *disk.delay.lock() = Duration::from_micros(100);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let mount = &mount;
            scope.spawn(move || {
                let mut call = mount.call();
                for _ in 0..30 {
                    let batch = add(mount, &mut call, n, 1).expect("adds");
                    mount.sync(batch).expect("syncs");
                }
            });
        }
    });
    let commits = mount.counters().commits;
    println!("{commits} commits for 480 fsyncs");
    assert!(commits * 10 < 480 * 4, "{commits} commits for 480 fsyncs");
}
