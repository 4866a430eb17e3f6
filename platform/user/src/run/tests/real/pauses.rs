//! Upgrades under load on a slow device.
use super::*;
use crate::device::RamDevice;
use crate::run::{Budget, Mount};
use bento_api::{Cursor, Emit, FileKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

/// Lists a tree as find(1) does.
fn find(mount: &Mount, call: &mut UserCall, dir: InodeNo, seen: &AtomicU64, stop: &AtomicBool) {
    let mut entries = Vec::new();
    let mut from = Cursor(0);
    loop {
        let end = mount.run(call, OpKind::ReadDir, |fs, call| {
            fs.readdir(call, dir, from, Emit::Names, &mut |entry| {
                entries.push((entry.name.to_vec(), entry.ino, entry.kind));
                from = entry.next;
                true
            })
        });
        if end.expect("lists") {
            break;
        }
    }
    for (name, ino, kind) in entries {
        if stop.load(SeqCst) || name == b"." || name == b".." {
            continue;
        }
        mount.run(call, OpKind::Read, |fs, call| fs.getattr(call, ino)).expect("is there");
        seen.fetch_add(1, SeqCst);
        if kind == Some(FileKind::Directory) {
            find(mount, call, ino, seen, stop);
        }
    }
}

#[test]
fn an_upgrade_passes_thirty_two_cold_finds_on_a_slow_device() {
    let ram = Arc::new(RamDevice::new(64 << 10));
    make(&*ram);
    let device: Arc<dyn Device> = ram.clone();
    let session = open(&device, None);
    let mount = session.mount();
    let mut call = mount.call();
    for n in 0..40_u32 {
        let dir = create(mount, &mut call, ROOT, format!("d{n}").as_bytes(), 0o040_755).expect("is made").ino;
        for m in 0..60_u32 {
            create(mount, &mut call, dir, format!("f{m}").as_bytes(), 0o100_644).expect("is made");
        }
    }
    mount.syncfs(&mut call).expect("syncs");
    mount.checkpoint().expect("checkpoints");
    call.rest();
    mount.containers().evict_all();
    ram.set_delays(Duration::from_millis(10), Duration::ZERO, Duration::ZERO);
    let (stop, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| find(mount, &mut mount.call(), ROOT, &seen, &stop));
        }
        for round in 0..40 {
            std::thread::sleep(Duration::from_millis(7));
            mount.containers().evict_all();
            let started = Instant::now();
            let to = &crate::versions::VERSIONS[(round + 1) % 2];
            mount.upgrade(Budget::default(), to.import).expect("goes through");
            slowest = slowest.max(started.elapsed());
        }
        stop.store(true, SeqCst);
    });
    let pauses = mount.pauses();
    println!("{pauses:?}, slowest upgrade {slowest:?}, {} inodes, {:?}", seen.load(SeqCst), mount.counters());
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(pauses.p99 < Duration::from_millis(5), "{pauses:?}"); // 1 ms on a machine that does nothing else
    assert_eq!(mount.containers().reports().1, 0);
    session.close().expect("closes");
}

#[test]
fn a_commit_of_many_blocks_does_not_keep_an_upgrade_waiting() {
    let ram = Arc::new(RamDevice::new(4 << 20));
    make(&*ram);
    let device: Arc<dyn Device> = ram.clone();
    let session = open(&device, None);
    let mount = session.mount();
    let mut call = mount.call();
    let mut files = 0_u64;
    while mount.containers().running_blocks() < 15_000 {
        let dir =
            create(mount, &mut call, ROOT, format!("d{files}").as_bytes(), 0o040_755).expect("is made").ino;
        for n in 0..40_u64 {
            create(mount, &mut call, dir, format!("f{n}").as_bytes(), 0o100_644).expect("is made");
        }
        files += 40;
    }
    let blocks = mount.containers().running_blocks();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            mount.commit().expect("commits");
            mount.checkpoint().expect("checkpoints");
            done.store(true, SeqCst);
        });
        let mut round = 0;
        while !done.load(SeqCst) {
            round += 1;
            mount
                .upgrade(Budget::default(), crate::versions::VERSIONS[round % 2].import)
                .expect("goes through");
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    println!("{blocks} blocks of {files} files: {:?}", mount.pauses());
    assert!(mount.pauses().p99 < Duration::from_millis(5), "{:?}", mount.pauses());
    assert_eq!(mount.containers().not_home(), 0);
    session.close().expect("closes");
}
