//! Reads, writes, truncations and punches of one inode at once.
use super::*;
use crate::device::RamDevice;
use bento_api::{Allocate, SetAttr};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

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

/// A device on which some writes of these files' data take so long that others could take the blocks away meanwhile.
struct Sluggish {
    ram: RamDevice,
    writes: AtomicU64,
}

impl Device for Sluggish {
    fn blocks(&self) -> u64 {
        self.ram.blocks()
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.ram.read(offset, to)
    }

    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        let is_data = from.first().is_some_and(|slice| matches!(slice.first(), Some(0xa1 | 0xb2)));
        if is_data && self.writes.fetch_add(1, SeqCst).is_multiple_of(8) {
            std::thread::sleep(Duration::from_millis(40));
        }
        self.ram.write(offset, from)
    }

    fn flush(&self) -> Result<(), Errno> {
        self.ram.flush()
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
    let device: Arc<dyn Device> =
        Arc::new(Sluggish { ram: RamDevice::new(4 << 10), writes: AtomicU64::new(0) });
    make(&*device);
    let session = open(&device, Some(1 << 20));
    let mount = session.mount();
    let mut call = mount.call();
    // Little space is left, so that a freed block is soon another file's.
    let filler = file(mount, &mut call, b"filler");
    let mut filled = 0;
    while mount.statfs().blocks_available > 300 {
        filled += write(mount, &mut call, filler, filled, &[0xff; 65536]).expect("writes") as u64;
    }
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
        for _ in 0..300 {
            std::thread::sleep(Duration::from_millis(5));
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
