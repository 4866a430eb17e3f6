//! A directory of any bytes is answered with errors: no panic, no walk without an end.
use crate::volume::{Expects, ROOT, Volume};
use bento_api::{BLOCK, BatchSeq, Bytes, Cursor};
use bento_fs::format::block;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BLOCKS: u64 = 8192;

fn name(i: usize) -> Vec<u8> {
    let mut name = format!("{i}").into_bytes();
    name.resize(name.len() + i * 13 % 90, b'd');
    name
}

/// Changes a few bytes or words behind the header.
fn damage(bytes: &mut Bytes, random: &mut SmallRng) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(32..BLOCK);
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at & !15..][..16].fill([0, 255][random.random_range(0..2)]),
            _ => {
                let from = random.random_range(2..BLOCK / 16) * 16;
                bytes.copy_within(from..from + 16, at & !15);
            }
        }
    }
}

#[test]
fn damaged_directories_are_reported_and_do_no_harm() {
    let mut volume = Volume::new(BLOCKS);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dirs = [b"small", b"large"].map(|name| volume.mkdir(ROOT, name).unwrap());
    (0..40).for_each(|i| volume.link(file, dirs[0], &name(i)).unwrap());
    (0..1500).for_each(|i| volume.link(file, dirs[1], &name(i)).unwrap());
    for seed in 0..150 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut saved = Vec::new();
        volume = volume.remount_changed(Expects::Damage, |disk| {
            let csum = Volume::seed(disk);
            let blocks = Volume::blocks_of(disk, dirs[usize::from(seed % 4 != 0)]);
            assert!(!blocks.is_empty());
            for _ in 0..random.random_range(1..4) {
                let (no, _) = blocks[random.random_range(0..blocks.len())];
                let mut bytes = Volume::block(disk, no);
                saved.push((no, bytes));
                damage(&mut bytes, &mut random);
                block::seal(&mut bytes, csum, BatchSeq(0));
                disk.write(no, &bytes).unwrap();
            }
        });
        // Whatever is answered; the harness fails on a panic or on restarts without an end.
        for dir in dirs {
            for _ in 0..60 {
                let _ = volume.lookup(dir, &name(random.random_range(0..1600)));
            }
            let mut from = Cursor(0);
            while let Ok((listed, false)) = volume.list_from(dir, from, 100) {
                let last = listed.last().expect("a listing that goes on gets on").2;
                assert!(from.0 < last.0);
                from = last;
            }
        }
        // What was read as damaged may stay in the cache, but nothing of it was written.
        volume = volume.remount_changed(Expects::Health, |disk| {
            saved.iter().rev().for_each(|(no, bytes)| disk.write(*no, bytes).unwrap());
        });
        assert_eq!(volume.list(dirs[0]).unwrap().len(), 40);
        assert_eq!(volume.list(dirs[1]).unwrap().len(), 1500);
    }
}

#[test]
fn changing_a_damaged_directory_ends_in_an_answer() {
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut volume = Volume::new(BLOCKS);
        let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
        let dir = volume.mkdir(ROOT, b"dir").unwrap();
        let count = [30, 700][usize::from(seed % 3 != 0)];
        (0..count).for_each(|i| volume.link(file, dir, &name(i)).unwrap());
        volume = volume.remount_changed(Expects::Damage, |disk| {
            let csum = Volume::seed(disk);
            for (no, _) in Volume::blocks_of(disk, dir) {
                let mut bytes = Volume::block(disk, no);
                if random.random_bool(0.5) {
                    damage(&mut bytes, &mut random);
                }
                block::seal(&mut bytes, csum, BatchSeq(0));
                disk.write(no, &bytes).unwrap();
            }
        });
        for _ in 0..300 {
            let i = random.random_range(0..count * 2);
            let _ = match random.random_range(0..3) {
                0 => volume.link(file, dir, &name(i)),
                1 => volume.unlink(dir, &name(i)),
                _ => volume.lookup(dir, &name(i)).map(drop),
            };
        }
        let _ = volume.list(dir);
    }
}
