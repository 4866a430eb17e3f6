//! Power cuts under the real file system.
use super::super::disk::Volatile;
use super::*;
use crate::run::Fsync;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a file must hold after any crash: what it held when it was synced last, changed by none or some of what was
/// written since. The test writes each block whole, with one byte value per write.
#[derive(Clone, Default)]
struct Promise {
    synced: Vec<u8>,
}

fn check(image: Arc<dyn Device>, promises: &[Promise], values: &[Vec<Vec<u8>>]) {
    let session = open(&image, None);
    let mount = session.mount();
    let mut call = mount.call();
    for (n, (promise, values)) in promises.iter().zip(values).enumerate() {
        if promise.synced.is_empty() {
            continue;
        }
        let ino =
            lookup(mount, &mut call, ROOT, &[b'f', b'0' + n as u8]).expect("a synced file is there").ino;
        let bytes = contents(mount, &mut call, ino);
        assert!(bytes.len() >= promise.synced.len() * 4096, "file {n} is too short");
        for (block, (held, wrote)) in bytes.chunks(4096).zip(values).enumerate() {
            let synced = promise.synced.get(block).copied().unwrap_or(0);
            let legal = |byte: &u8| *byte == synced || wrote.contains(byte);
            assert!(
                held.iter().all(legal),
                "file {n} block {block}: {:?} of {synced} {wrote:?}",
                held.first()
            );
        }
    }
    drop(call);
    session.close().expect("closes");
}

fn cut(seed: u64) {
    let disk = Arc::new(Volatile::default());
    make(&*disk);
    let device: Arc<dyn Device> = disk.clone();
    let session = open(&device, None);
    let mount = session.mount();
    let mut call = mount.call();
    let mut rng = SmallRng::seed_from_u64(seed);
    let inos: Vec<InodeNo> = (0..4).map(|n| file(mount, &mut call, &[b'f', b'0' + n])).collect();
    let mut promises = vec![Promise::default(); 4];
    // What each block of each file may hold: everything written since the last sync.
    let mut values = vec![vec![Vec::<u8>::new(); 64]; 4];
    let mut now = vec![vec![0_u8; 64]; 4];
    for step in 0..150_u32 {
        let n = rng.random_range(0..4);
        let (at, blocks) = (rng.random_range(0..56), rng.random_range(1..8));
        let byte = (step % 250 + 1) as u8;
        write(mount, &mut call, inos[n], at * 4096, &vec![byte; blocks * 4096]).expect("writes");
        for block in at as usize..at as usize + blocks {
            values[n][block].push(byte);
            now[n][block] = byte;
        }
        if rng.random_bool(0.3) {
            let what = if rng.random_bool(0.5) { Fsync::All } else { Fsync::Data };
            mount.fsync(&mut call, inos[n], what).expect("syncs");
            let size = contents(mount, &mut call, inos[n]).len() / 4096;
            promises[n].synced = now[n][..size].to_vec();
            values[n].iter_mut().for_each(Vec::clear);
        }
        if step % 10 == 9 {
            let chance = [0.0, 0.5, 1.0][rng.random_range(0..3)];
            let image = disk.cut(|| rng.random_bool(chance));
            check(Arc::new(Volatile::of(image)), &promises, &values);
        }
        if step % 50 == 49 {
            mount.checkpoint().expect("checkpoints");
        }
    }
    drop(call);
    session.close().expect("closes");
}

#[test]
fn what_was_fsynced_survives_any_power_cut() {
    (0..3).for_each(cut);
}

#[test]
fn files_without_a_name_are_gone_after_a_crash_and_their_space_is_back() {
    let disk = Arc::new(Volatile::default());
    make(&*disk);
    let device: Arc<dyn Device> = disk.clone();
    let session = open(&device, None);
    let mount = session.mount();
    let free = mount.statfs().blocks_available;
    let mut call = mount.call();
    for _ in 0..300 {
        let node = NewNode { mode: 0o100_600, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let made = mount
            .run(&mut call, OpKind::TmpFile, |fs, call| {
                let made = fs.tmpfile(call, ROOT, &node)?;
                call.platform.keep(made.value.ino, made.value.generation);
                Ok(made)
            })
            .expect("is made");
        mount.note_names(&mut call, &made.value).expect("is in use");
        write(mount, &mut call, made.value.ino, 0, &[7; 9000]).expect("writes");
    }
    mount.syncfs(&mut call).expect("syncs");
    let after: Arc<dyn Device> = Arc::new(Volatile::of(disk.cut(|| false)));
    let session = open(&after, None);
    assert_eq!(session.opened().orphans, 300);
    let mount = session.mount();
    mount.commit().expect("commits");
    mount.checkpoint().expect("checkpoints");
    assert!(mount.statfs().blocks_available + 8 >= free, "the orphan file itself may have grown");
    session.close().expect("closes");
}
