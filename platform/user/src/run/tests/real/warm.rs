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
    for n in 0..2000 {
        round(&mut call, n);
        if n % 100 == 0 {
            mount.commit().expect("commits");
            mount.checkpoint().expect("checkpoints");
        }
    }
    let restarts = mount.counters().restarts;
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
