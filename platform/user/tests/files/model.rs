//! Random operations on files against byte vectors, with remounts and fsck.
use crate::volume::{BLOCK, Cache, Volume};
use bento_api::{Allocate, Errno, InodeNo, Seek};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::ops::Range;

const FILES: usize = 4;
const MOST: u64 = 300 * BLOCK;

struct File {
    name: Vec<u8>,
    ino: InodeNo,
    bytes: Vec<u8>,
}

struct Model {
    random: SmallRng,
    volume: Volume,
    cache: Cache,
    files: Vec<File>,
    names: u32,
}

fn fill(file: &mut File, range: Range<u64>, byte: u8) {
    let (start, end) = (range.start as usize, (range.end as usize).min(file.bytes.len()));
    if start < end {
        file.bytes[start..end].fill(byte);
    }
}

impl Model {
    fn new(seed: u64, volume: Volume, cache: Cache) -> Self {
        volume.set_cache(cache);
        let mut this =
            Self { random: SmallRng::seed_from_u64(seed), volume, cache, files: Vec::new(), names: 0 };
        (0..FILES).for_each(|_| this.create());
        this
    }

    fn create(&mut self) {
        self.names += 1;
        let name = self.names.to_string().into_bytes();
        let ino = self.volume.create(&name).unwrap();
        self.files.push(File { name, ino, bytes: Vec::new() });
    }

    fn range(&mut self) -> Range<u64> {
        let most = [10, 5000, 20 * BLOCK, MOST][self.random.random_range(0..4)];
        let mut start = self.random.random_range(0..MOST);
        let mut len = self.random.random_range(1..=most);
        if self.random.random_bool(0.4) {
            (start, len) = (start / BLOCK * BLOCK, len.next_multiple_of(BLOCK));
        }
        start..(start + len).min(MOST + BLOCK)
    }

    fn step(&mut self) {
        let at = self.random.random_range(0..self.files.len());
        let range = self.range();
        let kind = self.random.random_range(0..100);
        let (volume, file) = (&mut self.volume, &mut self.files[at]);
        let size = file.bytes.len() as u64;
        match kind {
            0..40 => {
                let byte = self.random.random();
                let data = vec![byte; (range.end - range.start) as usize];
                let done = match volume.write(file.ino, range.start, &data) {
                    Ok(done) => done as u64,
                    Err(Errno::NoSpace) => 0,
                    Err(other) => panic!("{other:?}"),
                };
                if done > 0 && range.start + done > size {
                    file.bytes.resize((range.start + done) as usize, 0);
                }
                fill(file, range.start..range.start + done, byte);
            }
            40..55 => {
                let size = if self.random.random_bool(0.2) { 0 } else { range.start };
                volume.truncate(file.ino, size).unwrap();
                file.bytes.resize(size as usize, 0);
            }
            55..70 => {
                let how =
                    [Allocate::Punch, Allocate::ZeroKeepSize, Allocate::Zero][self.random.random_range(0..3)];
                match volume.fallocate(file.ino, how, range.clone()) {
                    Ok(()) => {
                        if how == Allocate::Zero && range.end > size {
                            file.bytes.resize(range.end as usize, 0);
                        }
                        fill(file, range, 0);
                    }
                    // Which of its steps happened is not told.
                    Err(Errno::NoSpace) => file.bytes = volume.read(file.ino, 0, 2 * MOST as usize).unwrap(),
                    Err(other) => panic!("{other:?}"),
                }
            }
            70..78 => {
                let how = [Allocate::Reserve, Allocate::ReserveKeepSize][self.random.random_range(0..2)];
                match volume.fallocate(file.ino, how, range.clone()) {
                    Ok(()) if how == Allocate::Reserve && range.end > size => {
                        file.bytes.resize(range.end as usize, 0);
                    }
                    Ok(()) | Err(Errno::NoSpace) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            78..85 => self.seek(at, range.start),
            85..90 => {
                let file = self.files.swap_remove(at);
                let last_user = self.random.random_bool(0.5);
                if last_user {
                    volume.forget(file.ino);
                }
                volume.unlink(&file.name).unwrap();
                if !last_user {
                    assert!(volume.read(file.ino, 0, 2 * MOST as usize).unwrap() == file.bytes);
                    volume.forget(file.ino);
                }
                self.create();
            }
            _ => self.compare(at),
        }
    }

    fn compare(&mut self, at: usize) {
        let file = &self.files[at];
        let attr = self.volume.stat(file.ino).unwrap();
        assert_eq!(attr.size, file.bytes.len() as u64);
        let bytes = self.volume.read(file.ino, 0, 2 * MOST as usize).unwrap();
        if let Some(wrong) = bytes.iter().zip(&file.bytes).position(|(here, there)| here != there) {
            panic!("byte {wrong} of {} in {}", file.bytes.len(), file.ino);
        }
    }

    /// What a seek passes over is zero, and what it finds begins where it says.
    fn seek(&mut self, at: usize, from: u64) {
        let file = &self.files[at];
        let zero =
            |range: Range<u64>| file.bytes[range.start as usize..range.end as usize].iter().all(|b| *b == 0);
        let size = file.bytes.len() as u64;
        let data = self.volume.seek(file.ino, from, Seek::Data);
        let hole = self.volume.seek(file.ino, from, Seek::Hole);
        if from >= size {
            assert_eq!((data, hole), (Err(Errno::NoSuchAddress), Err(Errno::NoSuchAddress)));
            return;
        }
        match data {
            Ok(data) => assert!(data >= from && data < size && zero(from..data)),
            Err(errno) => assert!(errno == Errno::NoSuchAddress && zero(from..size)),
        }
        let hole = hole.unwrap();
        assert!(hole >= from && hole <= size && (data == Ok(from)) != (hole == from));
        let end_of_block = (hole + 1).next_multiple_of(BLOCK).min(size);
        assert!(hole == size || zero(hole..end_of_block));
    }

    fn remount(&mut self) {
        for file in &self.files {
            self.volume.forget(file.ino);
        }
        let fresh = Volume::new(4096);
        self.volume = std::mem::replace(&mut self.volume, fresh).remount();
        self.volume.set_cache(self.cache);
        for file in &mut self.files {
            file.ino = self.volume.open(&file.name).unwrap();
        }
        (0..FILES).for_each(|at| self.compare(at));
    }

    fn run(&mut self, steps: u32) {
        for step in 1..=steps {
            self.step();
            if step % 40 == 0 {
                self.volume.check();
            }
            if step % 500 == 0 {
                self.remount();
            }
        }
        while let Some(file) = self.files.pop() {
            self.volume.unlink(&file.name).unwrap();
            self.volume.forget(file.ino);
        }
        self.volume.check();
    }
}

#[test]
fn files_are_as_byte_vectors() {
    let volume = Volume::new(16_384);
    let free = volume.free_blocks();
    let mut model = Model::new(1, volume, Cache::Keeps);
    model.run(4000);
    assert_eq!(model.volume.free_blocks(), free);
}

#[test]
fn files_are_as_byte_vectors_when_every_first_use_misses() {
    let volume = Volume::new(16_384);
    let free = volume.free_blocks();
    let mut model = Model::new(2, volume, Cache::AlwaysMisses);
    model.run(2000);
    assert_eq!(model.volume.free_blocks(), free);
}

#[test]
fn files_are_as_byte_vectors_on_a_volume_that_is_too_small() {
    let volume = Volume::with(2400, |options| options.inodes = Some(256));
    let free = volume.free_blocks();
    assert!(free < FILES as u64 * MOST / BLOCK, "{free}");
    let mut model = Model::new(3, volume, Cache::Keeps);
    model.run(3000);
    assert_eq!(model.volume.free_blocks(), free);
}

#[test]
fn files_are_as_byte_vectors_in_small_groups() {
    let volume = Volume::with(16_384, |options| options.blocks_per_group = Some(512));
    let free = volume.free_blocks();
    let mut model = Model::new(4, volume, Cache::Keeps);
    model.run(3000);
    assert_eq!(model.volume.free_blocks(), free);
}
