//! Files against plain vectors.
use super::*;
use crate::device::RamDevice;
use bento_api::{Allocate, Seek, SetAttr};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const LONGEST: u64 = 300_000;

/// One random change of a file and of what it should be.
fn change(mount: &Mount, call: &mut UserCall, ino: InodeNo, model: &mut Vec<u8>, rng: &mut SmallRng) {
    let at = rng.random_range(0..LONGEST);
    let len = if rng.random_bool(0.7) { rng.random_range(1..9000) } else { rng.random_range(1..80_000) };
    let end = at + len;
    let grow = |model: &mut Vec<u8>, to: u64| model.resize(model.len().max(to as usize), 0);
    match rng.random_range(0..10) {
        0..5 => {
            let data: Vec<u8> = (0..len).map(|_| rng.random()).collect();
            assert_eq!(write(mount, call, ino, at, &data), Ok(data.len()));
            grow(model, end);
            model[at as usize..end as usize].copy_from_slice(&data);
        }
        5..7 => {
            let size = if rng.random_bool(0.5) { at } else { (at + model.len() as u64) / 2 };
            let set = SetAttr { size: Some(size), ..SetAttr::default() };
            assert_eq!(mount.setattr(call, ino, &set).expect("truncates").size, size);
            model.resize(size as usize, 0);
        }
        7 => {
            mount.fallocate(call, ino, Allocate::Punch, at..end).expect("punches");
            let (from, to) = (model.len().min(at as usize), model.len().min(end as usize));
            model[from..to].fill(0);
        }
        8 => {
            let how = [Allocate::Zero, Allocate::ZeroKeepSize][rng.random_range(0..2)];
            mount.fallocate(call, ino, how, at..end).expect("zeroes");
            if how == Allocate::Zero {
                grow(model, end);
            }
            let (from, to) = (model.len().min(at as usize), model.len().min(end as usize));
            model[from..to].fill(0);
        }
        _ => {
            let how = [Allocate::Reserve, Allocate::ReserveKeepSize][rng.random_range(0..2)];
            mount.fallocate(call, ino, how, at..end).expect("reserves");
            if how == Allocate::Reserve {
                grow(model, end);
            }
        }
    }
}

fn look(mount: &Mount, call: &mut UserCall, ino: InodeNo, model: &[u8], rng: &mut SmallRng) {
    let at = rng.random_range(0..LONGEST);
    let mut bytes = vec![0x55; rng.random_range(1..50_000)];
    let read = mount.read(call, ino, at, &mut bytes).expect("reads");
    let from = model.len().min(at as usize);
    let expected = &model[from..model.len().min(from + bytes.len())];
    assert!(bytes[..read] == *expected, "{read} bytes at {at}");
    if let Ok(data) = mount.seek(call, ino, at, Seek::Data) {
        assert!(model[from..data as usize].iter().all(|byte| *byte == 0), "data before {data}");
    }
}

fn compare(seed: u64, cache: Option<u64>, miss: bool) {
    let device: Arc<dyn Device> = Arc::new(RamDevice::new(32 << 10));
    make(&*device);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut models: [Vec<u8>; 3] = Default::default();
    let names: [&[u8]; 3] = [b"one", b"two", b"three"];
    for life in 0..4 {
        let session = open(&device, cache);
        let mount = session.mount();
        let mut call = mount.call();
        mount.containers().set_always_miss(miss);
        let inos = names.map(|name| match life {
            0 => file(mount, &mut call, name),
            _ => lookup(mount, &mut call, ROOT, name).expect("is there").ino,
        });
        for (ino, model) in inos.into_iter().zip(&models) {
            assert!(contents(mount, &mut call, ino) == *model, "after mount {life}");
        }
        for step in 0..120 {
            let which = rng.random_range(0..3);
            change(mount, &mut call, inos[which], &mut models[which], &mut rng);
            look(mount, &mut call, inos[which], &models[which], &mut rng);
            match step % 40 {
                13 => mount.syncfs(&mut call).expect("syncs"),
                26 => mount.checkpoint().expect("checkpoints"),
                39 => mount.containers().evict_all(),
                _ => {}
            }
        }
        for (ino, model) in inos.into_iter().zip(&models) {
            assert!(contents(mount, &mut call, ino) == *model, "before unmount {life}");
        }
        assert_eq!(mount.containers().open_placements(), 0);
        drop(call);
        session.close().expect("closes");
    }
}

#[test]
fn files_hold_what_was_written_across_mounts() {
    (0..4).for_each(|seed| compare(seed, None, false));
}

#[test]
fn the_same_when_every_first_use_is_a_miss_and_nothing_stays_cached() {
    compare(10, Some(0), true);
}

#[test]
fn a_full_volume_answers_enospc_keeps_what_it_has_and_recovers_its_space() {
    let device: Arc<dyn Device> = Arc::new(RamDevice::new(8 << 10));
    make(&*device);
    let session = open(&device, None);
    let mount = session.mount();
    let mut call = mount.call();
    let free = mount.statfs().blocks_available;
    let data = vec![0xda; 64 * 1024];
    for round in 0..3 {
        let ino = file(mount, &mut call, b"big");
        let mut written = 0;
        let error = loop {
            match write(mount, &mut call, ino, written, &data) {
                Ok(bytes) => written += bytes as u64,
                Err(errno) => break errno,
            }
        };
        assert_eq!(error, Errno::NoSpace);
        assert!(written / 4096 >= free * 97 / 100, "round {round}: {} of {free} blocks", written / 4096);
        mount.syncfs(&mut call).expect("syncs");
        assert!(contents(mount, &mut call, ino).iter().all(|byte| *byte == 0xda));
        unlink(mount, &mut call, ROOT, b"big").expect("unlinks");
        mount.forget(&mut call, ino, 1).expect("takes away");
    }
    mount.commit().expect("commits");
    mount.checkpoint().expect("checkpoints");
    assert_eq!(mount.statfs().blocks_available, free);
    drop(call);
    session.close().expect("closes");
}
