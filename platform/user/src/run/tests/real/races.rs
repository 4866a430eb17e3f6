//! Reads, writes, truncations and punches of one inode at once.
use super::*;
use crate::device::RamDevice;
use bento_api::{Allocate, SetAttr};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const LONGEST: u64 = 200_000;

fn harass(mount: &Mount, ino: InodeNo, own: u8, seed: u64, stop: &AtomicBool) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut call = mount.call();
    let mut buffer = vec![0; 60_000];
    while !stop.load(SeqCst) {
        let (at, len) = (rng.random_range(0..LONGEST), rng.random_range(1..60_000_u64));
        match rng.random_range(0..10) {
            0..4 => {
                let data = &vec![own; len as usize];
                let written = write(mount, &mut call, ino, at, data);
                assert!(matches!(written, Ok(_) | Err(Errno::NoSpace)), "{written:?}");
            }
            4 => {
                let set = SetAttr { size: Some(at), ..SetAttr::default() };
                mount.setattr(&mut call, ino, &set).expect("truncates");
            }
            5 => mount.fallocate(&mut call, ino, Allocate::Punch, at..at + len).expect("punches"),
            6 => mount.fsync(&mut call, ino, crate::run::Fsync::All).expect("syncs"),
            _ => {
                let read = mount.read(&mut call, ino, at, &mut buffer).expect("reads");
                let foreign = buffer[..read].iter().find(|byte| **byte != 0 && **byte != own);
                assert_eq!(foreign, None, "in a file of {own:#x}");
            }
        }
    }
}

/// Files that come and go, so that blocks change hands.
fn churn(mount: &Mount, own: u8, stop: &AtomicBool) {
    let mut call = mount.call();
    let name = [b'c', own];
    let data = vec![own; 150_000];
    while !stop.load(SeqCst) {
        let ino = file(mount, &mut call, &name);
        let _ = write(mount, &mut call, ino, 0, &data);
        let held = contents(mount, &mut call, ino);
        assert!(held.iter().all(|byte| *byte == own), "in a file of {own:#x}");
        unlink(mount, &mut call, ROOT, &name).expect("unlinks");
        mount.forget(&mut call, ino, 1).expect("takes away");
    }
}

#[test]
fn no_byte_of_another_file_is_ever_read() {
    let device: Arc<dyn Device> = Arc::new(RamDevice::new(8 << 10));
    make(&*device);
    let session = open(&device, Some(1 << 20));
    let mount = session.mount();
    let mut call = mount.call();
    let files = [(file(mount, &mut call, b"a"), 0xa1), (file(mount, &mut call, b"b"), 0xb2)];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        for (ino, own) in files {
            (0..3).for_each(|n| {
                scope.spawn(move || harass(mount, ino, own, u64::from(own) + n, stop));
            });
        }
        (0..2).for_each(|n| {
            scope.spawn(move || churn(mount, 0xc0 + n, stop));
        });
        let mut call = mount.call();
        for _ in 0..60 {
            std::thread::sleep(Duration::from_millis(20));
            mount.commit().expect("commits");
            mount.checkpoint().expect("checkpoints");
        }
        stop.store(true, SeqCst);
        mount.syncfs(&mut call).expect("syncs");
    });
    let (errors, _) = mount.containers().reports();
    assert_eq!(errors, []);
    println!("{:?}", mount.counters());
    drop(call);
    session.close().expect("closes");
}
