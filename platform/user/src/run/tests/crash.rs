//! Versions of blocks under concurrency: what was synced survives a power cut, and operations are whole.
use super::disk::Volatile;
use super::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const ACCOUNTS: u64 = 12;

/// Accounts whose sum is 0 (they wrap), and a counter for each thread.
fn check(image: &Arc<Volatile>, acknowledged: &[u64]) {
    let mount = mount(image);
    let mut call = mount.call();
    let sum =
        (0..ACCOUNTS).fold(0_u64, |sum, n| sum.wrapping_add(value(&mount, &mut call, n).expect("reads")));
    assert_eq!(sum, 0, "a transfer was torn");
    for (n, acknowledged) in acknowledged.iter().enumerate() {
        let value = value(&mount, &mut call, ACCOUNTS + n as u64).expect("reads");
        assert!(value >= *acknowledged, "counter {n}: {value} after {acknowledged} were synced");
    }
    let again = Arc::new(Volatile::of(image.cut(|| true)));
    assert_eq!(super::mount(&again).containers().running(), mount.containers().running());
}

fn work(mount: &Mount, own: u64, seed: u64, acknowledged: &AtomicU64, stop: &AtomicBool) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut call = mount.call();
    let mut blocks = Vec::new();
    let mut count = 0;
    while !stop.load(SeqCst) {
        let (from, to) = (rng.random_range(0..ACCOUNTS), rng.random_range(0..ACCOUNTS - 1));
        transfer(mount, &mut call, from, if to >= from { to + 1 } else { to }).expect("transfers");
        match rng.random_range(0..12) {
            0..3 => {
                count += 1;
                let batch = add(mount, &mut call, ACCOUNTS + own, 1).expect("adds");
                mount.sync(batch).expect("syncs");
                acknowledged.store(count, SeqCst);
            }
            3 if blocks.len() < 20 => blocks.push(take(mount, &mut call, own as u8).expect("takes")),
            4 => {
                if let Some(block) = blocks.pop() {
                    give(mount, &mut call, block).expect("gives");
                }
            }
            5 => mount.containers().evict_all(),
            6 => drop(mount.drive(bento_api::Event::Checkpoint)),
            _ => {}
        }
    }
}

fn cut_under_load(seed: u64, cache_bytes: u64) {
    let disk = Arc::new(Volatile::default());
    let options = Options { cache_bytes: Some(cache_bytes), ..Options::default() };
    let mount = mount_with(&disk, options);
    let acknowledged: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    let mut rng = SmallRng::seed_from_u64(seed);
    std::thread::scope(|scope| {
        for (n, acknowledged) in (0..).zip(&acknowledged) {
            let (mount, stop) = (&mount, &stop);
            scope.spawn(move || work(mount, n, seed * 100 + n, acknowledged, stop));
        }
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(rng.random_range(1..6)));
            let before: Vec<u64> = acknowledged.iter().map(|a| a.load(SeqCst)).collect();
            // No checksums here, so a torn record must not arise: what was not flushed is lost, or a prefix is kept.
            let mut left = rng.random_range(0..20);
            let image = disk.cut(|| {
                left -= 1;
                left > 0
            });
            check_prefix(image, &before);
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(mount.unmount(), Ok(true));
    let settled: Vec<u64> = acknowledged.iter().map(|a| a.load(SeqCst)).collect();
    check(&Arc::new(Volatile::of(disk.cut(|| false))), &settled);
    assert!(mount.counters().checkpoints > 0 && mount.counters().commits > 0);
    let busy: u32 = mount
        .containers()
        .busy(bento_api::GroupNo(0))
        .map_or(0, |(_, blocks)| blocks.iter().map(|word| word.count_ones()).sum());
    let available = mount.containers().available(bento_api::Map::Blocks);
    assert_eq!(u64::from(busy) + available, u64::from(fake::BITS), "bits and their count agree");
    assert_eq!(mount.containers().totals().blocks, available, "and so do the totals, when nothing waits");
}

/// A record is one request, or its header is in the last of two, so a prefix of them holds the header only with all copies.
fn check_prefix(image: std::collections::BTreeMap<u64, Box<bento_api::Bytes>>, acknowledged: &[u64]) {
    check(&Arc::new(Volatile::of(image)), acknowledged);
}

#[test]
fn what_was_synced_survives_a_power_cut_and_transfers_are_whole() {
    (1..6).for_each(|seed| cut_under_load(seed, 1 << 20));
}

#[test]
fn the_same_with_hardly_any_cache() {
    (6..9).for_each(|seed| cut_under_load(seed, 0));
}
