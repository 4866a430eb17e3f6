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
    let noise = std::thread::scope(|scope| {
        let noise = scope.spawn(|| Noise::until(&stop));
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
        noise.join().expect("no panic")
    });
    println!("slowest upgrade {slowest:?}, {} inodes, {:?}", seen.load(SeqCst), mount.counters());
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    expect_short(mount.pauses(), &noise);
    assert_eq!(mount.containers().reports().1, 0);
    session.close().expect("closes");
}

/// How late this machine wakes a thread that sleeps: what no upgrade can be blamed for.
struct Noise {
    late: Vec<Duration>,
}

impl Noise {
    /// Measures until told to stop.
    fn until(stop: &AtomicBool) -> Self {
        const NAP: Duration = Duration::from_micros(200);
        let mut late = Vec::new();
        while !stop.load(SeqCst) {
            let started = Instant::now();
            std::thread::sleep(NAP);
            late.push(started.elapsed().saturating_sub(NAP));
        }
        late.sort_unstable();
        Self { late }
    }

    fn p99(&self) -> Duration {
        self.late.get(self.late.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// A pause is short, but for what the machine itself adds.
fn expect_short(pauses: crate::run::Pauses, noise: &Noise) {
    println!("{pauses:?}, noise {:?} at p99", noise.p99());
    let most = Duration::from_millis(1) + noise.p99();
    assert!(pauses.p99 < most, "{pauses:?}, while threads woke {:?} late at p99", noise.p99());
}

/// Overwrites a file's front with new blocks over and over: nearly always a placement is in flight, and who wants to
/// truncate the file waits for it.
fn place_and_truncate(mount: &Mount, ino: InodeNo, stop: &AtomicBool) -> [u64; 2] {
    const BYTES: u64 = 1 << 20;
    std::thread::scope(|scope| {
        let placed = scope.spawn(|| {
            let (mut call, data, mut times) = (mount.call(), vec![7; BYTES as usize], 0);
            while !stop.load(SeqCst) {
                write(mount, &mut call, ino, 0, &data).expect("writes");
                times += 1;
            }
            times
        });
        let cut = scope.spawn(|| {
            let (mut call, mut times) = (mount.call(), 0);
            while !stop.load(SeqCst) {
                let set = bento_api::SetAttr { size: Some(0), ..bento_api::SetAttr::default() };
                mount.setattr(&mut call, ino, &set).expect("truncates");
                times += 1;
            }
            times
        });
        [placed, cut].map(|thread| thread.join().expect("no panic"))
    })
}

#[test]
fn an_upgrade_passes_a_commit_of_64_mebibytes_a_placement_in_flight_and_a_truncate_that_waits() {
    const SEALED: usize = (64 << 20) / 4096;
    let ram = Arc::new(RamDevice::new(8 << 20));
    make(&*ram);
    let device: Arc<dyn Device> = ram.clone();
    let session = open(&device, None);
    let mount = session.mount();
    let mut call = mount.call();
    let written = file(mount, &mut call, b"written");
    let mut files = 0_u64;
    while mount.containers().running_blocks() < SEALED {
        let dir =
            create(mount, &mut call, ROOT, format!("d{files}").as_bytes(), 0o040_755).expect("is made").ino;
        for n in 0..40_u64 {
            create(mount, &mut call, dir, format!("f{n}").as_bytes(), 0o100_644).expect("is made");
        }
        files += 40;
    }
    let (blocks, commits) = (mount.containers().running_blocks(), mount.counters().commits);
    // From here on the device takes its time: for the commit, the data of the placement, and the homes.
    ram.set_delays(Duration::ZERO, Duration::from_millis(10), Duration::from_millis(10));
    let (stop, mut slowest, mut in_flight) = (AtomicBool::new(false), Duration::ZERO, 0);
    let (noise, [placed, cut]) = std::thread::scope(|scope| {
        let noise = scope.spawn(|| Noise::until(&stop));
        let busy = scope.spawn(|| place_and_truncate(mount, written, &stop));
        let commit = scope.spawn(|| {
            mount.commit().expect("commits");
            mount.checkpoint().expect("checkpoints");
        });
        let mut round = 0;
        while !commit.is_finished() || round < 100 {
            round += 1;
            in_flight += mount.containers().open_placements();
            let started = Instant::now();
            mount
                .upgrade(Budget::default(), crate::versions::VERSIONS[round % 2].import)
                .expect("goes through");
            slowest = slowest.max(started.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, SeqCst);
        (noise.join().expect("no panic"), busy.join().expect("no panic"))
    });
    println!(
        "{blocks} blocks of {files} files, slowest upgrade {slowest:?}, {placed} placements, {cut} truncates"
    );
    assert!(mount.counters().commits > commits && placed > 0 && cut > 0 && in_flight > 0);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    expect_short(mount.pauses(), &noise);
    ram.set_delays(Duration::ZERO, Duration::ZERO, Duration::ZERO);
    drop(call);
    session.close().expect("closes");
}
