//! What is read of large volumes and large directories when nothing is cached. Blocks are counted, not seconds.
use super::*;
use crate::device::RamDevice;
use crate::run::Fsync;
use bento_api::Allocate;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const TEBIBYTE: u64 = 1 << 40;
const BLOCK: u64 = 4096;

/// A sparse device that counts the blocks that are read.
struct Counting {
    ram: RamDevice,
    read: AtomicU64,
}

impl Counting {
    fn new(bytes: u64) -> Arc<Self> {
        let device = Arc::new(Self { ram: RamDevice::new(bytes / BLOCK), read: AtomicU64::new(0) });
        make(&*device);
        device
    }

    /// Blocks that are read meanwhile.
    fn count<R>(&self, f: impl FnOnce() -> R) -> (R, u64) {
        let before = self.read.load(SeqCst);
        let value = f();
        (value, self.read.load(SeqCst) - before)
    }
}

impl Device for Counting {
    fn blocks(&self) -> u64 {
        self.ram.blocks()
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.read.fetch_add((to.len() as u64).div_ceil(BLOCK), SeqCst);
        self.ram.read(offset, to)
    }

    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        self.ram.write(offset, from)
    }

    fn flush(&self) -> Result<(), Errno> {
        self.ram.flush()
    }
}

fn mounted(device: &Arc<Counting>) -> Session {
    let device: Arc<dyn Device> = device.clone();
    open(&device, None)
}

/// Fills a new volume to so many percent, group after group, and unmounts it.
fn fill(device: &Arc<Counting>, percent: u64) {
    let session = mounted(device);
    let mount = session.mount();
    let mut call = mount.call();
    let ino = file(mount, &mut call, b"filler");
    let bytes = mount.statfs().blocks_available * percent / 100 * BLOCK;
    if bytes > 0 {
        mount.fallocate(&mut call, ino, Allocate::ReserveKeepSize, 0..bytes).expect("there is room");
    }
    drop(call);
    session.close().expect("closes");
}

#[test]
fn a_tebibyte_is_mounted_with_few_blocks_read_empty_or_half_full() {
    for percent in [0, 50] {
        let device = Counting::new(TEBIBYTE);
        fill(&device, percent);
        let (session, read) = device.count(|| mounted(&device));
        println!("{percent} % full: {read} blocks read");
        assert!(read <= 64, "{read} blocks read to mount a volume that is {percent} % full");
        session.close().expect("closes");
    }
}

/// What is done on a mount where nothing is cached.
type Work = fn(&Mount, &mut UserCall);

const CREATE: Work = |mount, call| {
    create(mount, call, ROOT, b"new", 0o100_644).expect("is made");
};
const MKDIR: Work = |mount, call| {
    create(mount, call, ROOT, b"dir", 0o040_755).expect("is made");
};
const WRITE: Work = |mount, call| {
    let ino = file(mount, call, b"written");
    write(mount, call, ino, 0, &[1; 10_000]).expect("there is room");
    mount.fsync(call, ino, Fsync::All).expect("syncs");
};

/// Blocks read, and waits for them.
type Cost = (u64, u64);

/// What some work costs right after a mount.
fn cost(device: &Arc<Counting>, work: Work) -> Cost {
    let session = mounted(device);
    let mount = session.mount();
    let mut call = mount.call();
    let ((), read) = device.count(|| work(mount, &mut call));
    let waits = mount.counters().restarts;
    drop(call);
    session.close().expect("closes");
    (read, waits)
}

#[test]
fn a_cold_create_on_a_nearly_full_tebibyte_reads_a_handful_of_blocks() {
    let device = Counting::new(TEBIBYTE);
    fill(&device, 95);
    let costs = [CREATE, MKDIR, WRITE].map(|work| cost(&device, work));
    println!("create, mkdir, create and write; (blocks read, waits): {costs:?}");
    let [(created, _), others @ ..] = costs;
    assert!(created <= 8, "{created} blocks read");
    // Who needs a block may read the summary of 10,000 full groups first.
    let summary = 10_922_u64.div_ceil(508);
    for (read, waits) in others {
        assert!(read <= summary + 10, "{read} blocks read in {waits} waits");
    }
}

#[test]
fn after_a_crash_a_search_for_space_knows_what_the_last_checkpoint_said() {
    let device = Counting::new(TEBIBYTE);
    let session = mounted(&device);
    let mount = session.mount();
    let mut call = mount.call();
    let ino = file(mount, &mut call, b"filler");
    mount.fallocate(&mut call, ino, Allocate::ReserveKeepSize, 0..TEBIBYTE / 2).expect("there is room");
    mount.commit().expect("commits");
    mount.write_home().expect("writes home");
    mount.commit().expect("commits");
    drop(call);
    // Nobody unmounts.
    drop(session);
    let (read, waits) = cost(&device, WRITE);
    let summary = 10_922_u64.div_ceil(508);
    println!("{read} blocks read in {waits} waits");
    assert!(read <= summary + 10, "{read} blocks read in {waits} waits: 5,000 full groups were looked at");
}

#[test]
fn more_full_groups_are_passed_over_than_a_call_can_pin_blocks_of_the_summary() {
    let groups = 508 * (bento_api::limits::PINS as u64 + 10);
    let device = Arc::new(Counting { ram: RamDevice::new(512 * groups), read: AtomicU64::new(0) });
    let options = bento_mkfs::Options { blocks_per_group: Some(512), ..bento_mkfs::Options::new(0) };
    let plan = bento_mkfs::plan(&options, device.blocks()).expect("fits");
    bento_mkfs::make(&BlockingDisk(&*device), &plan, &mut |_, _| {}).expect("is made");
    fill(&device, 99);
    for work in [CREATE, MKDIR, WRITE] {
        println!("(blocks read, waits): {:?}", cost(&device, work));
    }
    // And where nothing that was read is there at the next attempt.
    let session = mounted(&device);
    session.mount().containers().set_always_miss(true);
    let mut call = session.mount().call();
    let dir = create(session.mount(), &mut call, ROOT, b"in a hurry", 0o040_755).expect("is made").ino;
    create(session.mount(), &mut call, dir, b"file", 0o100_644).expect("is made");
    drop(call);
    session.close().expect("closes");
}

/// A cold lookup, create and unlink in a directory of so many names; the mean of some of each.
fn costs(names: u32) -> [Cost; 3] {
    const TIMES: u64 = 16;
    let device = Counting::new(1 << 30);
    let session = mounted(&device);
    let mount = session.mount();
    let mut call = mount.call();
    let dir = create(mount, &mut call, ROOT, b"dir", 0o040_755).expect("is made").ino;
    // In the directory's own group, wherever that is: another group would be another two blocks to read.
    let target = create(mount, &mut call, dir, b"target", 0o100_644).expect("is made").ino;
    let called = |n: u64| format!("a name of usual length {n}").into_bytes();
    for n in 0..u64::from(names) {
        let linked =
            mount.run(&mut call, OpKind::Link, |fs, call| fs.link(call, target, dir, name(&called(n))));
        assert!(linked.is_ok(), "{linked:?}");
    }
    let mut cold = |work: &dyn Fn(&mut UserCall, u64)| {
        let mut sum = (0, 0);
        for n in 0..TIMES {
            mount.syncfs(&mut call).expect("syncs");
            mount.checkpoint().expect("checkpoints");
            call.rest();
            mount.containers().evict_all();
            let waits = mount.counters().restarts;
            let ((), read) = device.count(|| work(&mut call, n * u64::from(names) / TIMES));
            sum = (sum.0 + read, sum.1 + mount.counters().restarts - waits);
        }
        sum
    };
    let found = cold(&|call, n| {
        lookup(mount, call, dir, &called(n)).expect("is there");
    });
    let made = cold(&|call, n| {
        create(mount, call, dir, &[b"new", called(n).as_slice()].concat(), 0o100_644).expect("is made");
    });
    let gone = cold(&|call, n| unlink(mount, call, dir, &called(n)).expect("unlinks"));
    drop(call);
    session.close().expect("closes");
    [found, made, gone]
}

#[test]
fn a_cold_operation_among_a_hundred_thousand_names_costs_at_most_twice_as_much_as_among_a_hundred() {
    let (few, many) = (costs(100), costs(100_000));
    println!("lookup, create, unlink; (blocks read, waits) of 16: {few:?} among 100, {many:?} among 100,000");
    for (few, many) in few.iter().zip(many) {
        assert!(many.0 <= 2 * few.0 && many.1 <= 2 * few.1, "{few:?} and {many:?}");
    }
}
