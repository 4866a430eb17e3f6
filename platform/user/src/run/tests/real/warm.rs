//! What warm operations cost.
use super::*;
use crate::device::{Access, FileDevice, RamDevice};

fn ram() -> (Arc<dyn Device>, Session) {
    let device: Arc<dyn Device> = Arc::new(RamDevice::new(64 << 10));
    make(&*device);
    let session = open(&device, None);
    (device, session)
}

#[test]
fn a_warm_operation_is_never_restarted_and_never_allocates() {
    let (_device, session) = ram();
    let mount = session.mount();
    let mut call = mount.call();
    let dir = create(mount, &mut call, ROOT, b"d", 0o040_755).expect("is made").ino;
    let round = |call: &mut UserCall, n: usize| {
        let name = [b'a' + (n % 26) as u8, b'a' + (n / 26 % 26) as u8];
        let made = create(mount, call, dir, &name, 0o100_644).expect("is made");
        lookup(mount, call, dir, &name).expect("is there");
        unlink(mount, call, dir, &name).expect("unlinks");
        mount.forget(call, made.ino, 2).expect("takes away");
    };
    for n in 0..40_000 {
        round(&mut call, n);
        if n % 500 == 0 {
            mount.commit().expect("commits");
            mount.checkpoint().expect("checkpoints");
        }
    }
    let restarts = mount.counters().restarts;
    mount.commit().expect("commits");
    mount.checkpoint().expect("checkpoints");
    let counted = allocation_counter::measure(|| (0..200).for_each(|n| round(&mut call, n)));
    println!("{counted:?} in 1000 operations");
    assert_eq!(mount.counters().restarts, restarts);
    assert!(counted.count_total <= 4, "{counted:?}");
}

#[test]
fn sixteen_fsync_threads_share_commits_on_a_file() {
    let image = tempfile::NamedTempFile::new().expect("a temporary file");
    image.as_file().set_len(256 << 20).expect("its size");
    let device: Arc<dyn Device> = Arc::new(FileDevice::open(image.path(), Access::ReadWrite).expect("opens"));
    make(&*device);
    let session = open(&device, None);
    let mount = session.mount();
    std::thread::scope(|scope| {
        for n in 0..16 {
            scope.spawn(move || {
                let mut call = mount.call();
                let ino = file(mount, &mut call, &[b'f', b'a' + n]);
                for at in 0..60 {
                    write(mount, &mut call, ino, at * 4096, &[n; 4096]).expect("writes");
                    mount.fsync(&mut call, ino, crate::run::Fsync::All).expect("syncs");
                }
            });
        }
    });
    let counted = mount.counters();
    println!("{} commits for {} fsyncs", counted.commits, counted.fsyncs);
    assert!(
        counted.commits * 10 < counted.fsyncs * 4,
        "{} commits for {} fsyncs",
        counted.commits,
        counted.fsyncs
    );
    session.close().expect("closes");
}

/// Nanoseconds an operation of `threads` threads, each in a directory of its own.
fn speed(mount: &Mount, dirs: &[InodeNo]) -> [u128; 3] {
    const NAMES: usize = 2000;
    let timed = |work: &(dyn Fn(&mut UserCall, InodeNo, &[u8]) + Sync)| {
        let started = std::time::Instant::now();
        std::thread::scope(|scope| {
            for dir in dirs {
                scope.spawn(move || {
                    let mut call = mount.call();
                    (0..NAMES).for_each(|n| work(&mut call, *dir, format!("{n}").as_bytes()));
                });
            }
        });
        started.elapsed().as_nanos() / (NAMES * dirs.len()) as u128
    };
    let create = timed(&|call, dir, what| {
        let node = NewNode { mode: 0o100_644, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let made = mount.run(call, OpKind::Create, |fs, call| fs.create(call, dir, name(what), &node));
        made.map(|_| ()).expect("is made");
    });
    let found = timed(&|call, dir, what| {
        mount.run(call, OpKind::Read, |fs, call| fs.lookup(call, dir, name(what))).expect("is there");
    });
    let gone = timed(&|call, dir, what| unlink(mount, call, dir, what).expect("unlinks"));
    mount.commit().expect("commits");
    mount.checkpoint().expect("checkpoints");
    [create, found, gone]
}

#[test]
fn two_threads_in_two_directories_do_not_slow_each_other_much() {
    let (_device, session) = ram();
    let mount = session.mount();
    let mut call = mount.call();
    let dirs = [b"d".as_slice(), b"e"]
        .map(|what| create(mount, &mut call, ROOT, what, 0o040_755).expect("is made").ino);
    for _ in 0..12 {
        speed(mount, &dirs);
    }
    let best = |dirs: &[InodeNo]| {
        let runs: Vec<_> = (0..8).map(|_| speed(mount, dirs)).collect();
        [0, 1, 2].map(|op| runs.iter().map(|run| run[op]).min().unwrap_or(0))
    };
    println!(
        "create, lookup, unlink + evict: {:?} ns alone, {:?} ns each of two threads",
        best(&dirs[..1]),
        best(&dirs)
    );
}
