//! A cursor of readdir stays right while the directory changes around it.
use crate::volume::{Listed, ROOT, Volume};
use bento_api::{Cursor, InodeNo};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

fn name(kind: char, i: usize) -> Vec<u8> {
    let mut name = format!("{kind}{i}-").into_bytes();
    name.resize(name.len() + i * 31 % 200, b'x');
    name
}

/// Lists a whole directory, a few names at a time, and lets `between` change it after each call.
fn list_in_parts(
    volume: &mut Volume,
    dir: InodeNo,
    part: usize,
    mut between: impl FnMut(&mut Volume, usize),
) -> Vec<Listed> {
    let (mut all, mut from) = (Vec::new(), Cursor(0));
    for round in 0.. {
        let (listed, ended) = volume.list_from(dir, from, part).unwrap();
        let forward = listed.iter().all(|(_, _, next)| std::mem::replace(&mut from, *next).0 < next.0);
        assert!(forward, "every cursor is behind the one before");
        all.extend(listed);
        if ended {
            break;
        }
        between(volume, round);
    }
    all
}

#[test]
fn a_name_that_stays_is_listed_once_however_others_come_and_go() {
    for seed in 0..6 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut volume = Volume::new(16_384);
        let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
        let dir = volume.mkdir(ROOT, b"dir").unwrap();
        let mut others: Vec<_> = (0..500).collect();
        others.shuffle(&mut random);
        let (early, late) = others.split_at(250);
        for i in 0..500 {
            volume.link(file, dir, &name('s', i)).unwrap();
            if let Some(i) = early.get(i) {
                volume.link(file, dir, &name('o', *i)).unwrap();
            }
        }
        let listed = list_in_parts(&mut volume, dir, 1 + seed as usize * 5, |volume, round| {
            if let Some(i) = early.get(round) {
                volume.unlink(dir, &name('o', *i)).unwrap();
            }
            if let Some(i) = late.get(round) {
                volume.link(file, dir, &name('o', *i)).unwrap();
            }
            if random.random_bool(0.05) {
                volume.mount.containers().evict_all();
            }
        });
        volume.check();
        let mut seen = BTreeMap::<_, usize>::new();
        for (name, ..) in listed {
            *seen.entry(name).or_default() += 1;
        }
        assert!((0..500).all(|i| seen.remove(&name('s', i)) == Some(1)));
        assert_eq!((seen.remove(b".".as_slice()), seen.remove(b"..".as_slice())), (Some(1), Some(1)));
        assert!(seen.values().all(|count| *count == 1), "the others are listed once at most, too");
    }
}

#[test]
fn a_directory_can_be_emptied_while_it_is_listed() {
    let mut volume = Volume::new(16_384);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    (0..2000).for_each(|i| volume.link(file, dir, &name('n', i)).unwrap());
    let (mut from, mut removed) = (Cursor(0), 0);
    loop {
        let (listed, ended) = volume.list_from(dir, from, 37).unwrap();
        from = listed.last().map_or(from, |last| last.2);
        for (name, ..) in listed.iter().filter(|(name, ..)| name != b"." && name != b"..") {
            volume.unlink(dir, name).unwrap();
            removed += 1;
        }
        if ended {
            break;
        }
    }
    assert_eq!(removed, 2000);
    volume.check();
    assert_eq!(volume.rmdir(ROOT, b"dir"), Ok(()));
}

#[test]
fn any_cursor_is_answered_from_the_next_name_on() {
    let mut volume = Volume::new(16_384);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    (0..300).for_each(|i| volume.link(file, dir, &name('n', i)).unwrap());
    let all = volume.list(dir).unwrap();
    let end = all.last().unwrap().2.0;
    for from in (2..end + 9000).step_by(1013).chain([u64::MAX, u64::MAX / 2, 1 << 52, 1 << 40]) {
        let (listed, _) = volume.list_from(dir, Cursor(from), 1).unwrap();
        let found = listed.first().map_or(Some(all.len()), |first| all.iter().position(|it| it.0 == first.0));
        // A name begins where the one before ends, or later, and has 32 bytes at least.
        let ends = |at: usize| all[at].2.0;
        let latest = (0..all.len()).find(|at| at.checked_sub(1).map_or(32, ends) >= from);
        let earliest = (0..all.len()).find(|at| ends(*at) >= from.saturating_add(32));
        let allowed = earliest.unwrap_or(all.len())..=latest.unwrap_or(all.len());
        assert!(found.is_some_and(|found| allowed.contains(&found)), "{found:?} in {allowed:?} from {from}");
    }
}
