//! A directory on a volume that is full, and under many hands.
use crate::volume::{ROOT, Volume};
use bento_api::{Errno, Name, OpKind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn name(thread: usize, i: usize) -> Vec<u8> {
    let mut name = format!("{thread}.{i}").into_bytes();
    name.resize(name.len() + i * 37 % 240, b'p');
    name
}

#[test]
fn a_directory_that_finds_no_space_stays_as_it_is_and_can_be_emptied() {
    let mut volume = Volume::new(4096);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    let mut count = 0;
    while volume.link(file, dir, &name(0, count)).is_ok() {
        count += 1;
    }
    let size = volume.stat(dir).unwrap().size;
    assert!(size > 1000 * 4096, "most of the volume is names: {size}");
    for i in 0..50 {
        let reply = volume.link(file, dir, &name(9, 239 + i * 240));
        assert!(matches!(reply, Ok(()) | Err(Errno::NoSpace)), "{reply:?}");
    }
    volume.check();
    assert!((0..count).all(|i| volume.lookup(dir, &name(0, i)) == Ok(Some(file))));
    volume = volume.remount();
    for (name, ..) in volume.list(dir).unwrap() {
        volume.unlink(dir, &name).unwrap();
    }
    volume.check();
    assert_eq!(volume.rmdir(ROOT, b"dir"), Ok(()));
    volume.check();
}

#[test]
fn threads_that_share_a_directory_see_their_own_names_and_lose_none() {
    let mut volume = Volume::new(16_384);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    let mount = volume.mount.clone();
    let work = |thread: usize| {
        let mut random = SmallRng::seed_from_u64(thread as u64);
        let mut call = mount.call();
        let mut there = [false; 300];
        for _ in 0..3000 {
            let i = random.random_range(0..there.len());
            let name = name(thread, i);
            let name = Name::new(&name).unwrap();
            let found = mount.run(&mut call, OpKind::Read, |fs, call| fs.lookup(call, dir, name));
            assert_eq!(found.map(|attr| attr.ino), if there[i] { Ok(file) } else { Err(Errno::NotFound) });
            let done = if there[i] {
                mount.run(&mut call, OpKind::Unlink, |fs, call| fs.unlink(call, dir, name))
            } else {
                mount.run(&mut call, OpKind::Link, |fs, call| fs.link(call, file, dir, name))
            };
            let _ = done.unwrap();
            there[i] = !there[i];
        }
        there.iter().filter(|there| **there).count()
    };
    let left: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(volume.list(dir).unwrap().len(), left);
    volume.check();
}
