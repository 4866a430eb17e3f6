//! The map of a file with so many extents that their tree is deep, against an array.
use crate::volume::{BLOCK, Cache, Volume};
use bento_api::{Allocate, FileBlock, InodeNo, MapKind, OpKind, Placement};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Hole,
    Unwritten,
    Data,
}

struct Map {
    volume: Volume,
    ino: InodeNo,
    model: Vec<Is>,
}

fn bytes(range: &Range<u64>) -> Range<u64> {
    range.start * BLOCK..range.end * BLOCK
}

impl Map {
    fn new(blocks: u64) -> Self {
        let mut volume = Volume::with(blocks * 5 / 4 + 30_000, |options| options.inodes = Some(256));
        let ino = volume.create(b"a").unwrap();
        volume.truncate(ino, blocks * BLOCK).unwrap();
        Self { volume, ino, model: vec![Is::Hole; blocks as usize] }
    }

    fn set(&mut self, range: Range<u64>, change: impl Fn(Is) -> Is) {
        self.model[range.start as usize..range.end as usize].iter_mut().for_each(|is| *is = change(*is));
    }

    fn reserve(&mut self, range: Range<u64>) {
        self.volume.fallocate(self.ino, Allocate::Reserve, bytes(&range)).unwrap();
        self.set(range, |is| if is == Is::Hole { Is::Unwritten } else { is });
    }

    fn punch(&mut self, range: Range<u64>) {
        self.volume.fallocate(self.ino, Allocate::Punch, bytes(&range)).unwrap();
        self.set(range, |_| Is::Hole);
    }

    fn zero(&mut self, range: Range<u64>) {
        self.volume.fallocate(self.ino, Allocate::Zero, bytes(&range)).unwrap();
        self.set(range, |_| Is::Unwritten);
    }

    /// Writes, without the data.
    fn write(&mut self, mut range: Range<u64>) {
        let size = self.model.len() as u64 * BLOCK;
        while let Some(skip) = (range.clone()).find(|at| self.model[*at as usize] != Is::Data) {
            let (ino, mut placement) = (self.ino, Placement::empty());
            let blocks = range.end - skip;
            let place = |fs: &dyn bento_api::FileSystem<_>, call: &mut bento_api::Call<'_, _>| {
                fs.place(call, ino, FileBlock(skip), blocks, &mut placement)
            };
            let id = self.volume.run(OpKind::Place, place).unwrap();
            let _attr = self.volume.run(OpKind::Publish, |fs, call| fs.publish(call, id, size)).unwrap();
            range.start = skip + u64::from(placement.blocks);
            self.set(skip..range.start, |_| Is::Data);
        }
    }

    fn random_range(&self, random: &mut SmallRng) -> Range<u64> {
        let most = [1, 2, 20][random.random_range(0..3)];
        let start = random.random_range(0..self.model.len() as u64 - most);
        start..start + random.random_range(1..=most)
    }

    fn step(&mut self, random: &mut SmallRng) {
        let range = self.random_range(random);
        match random.random_range(0..4) {
            0 => self.reserve(range),
            1 => self.punch(range),
            2 => self.zero(range),
            _ => self.write(range),
        }
    }

    fn compare(&mut self) {
        let (ino, end) = (self.ino, self.model.len() as u64);
        let mut at = 0;
        while at < end {
            let mapping =
                self.volume.run(OpKind::Read, |fs, call| fs.map(call, ino, FileBlock(at), end - at)).unwrap();
            let is = match mapping.kind {
                MapKind::Hole => Is::Hole,
                MapKind::Unwritten(_) => Is::Unwritten,
                MapKind::Data(_) => Is::Data,
            };
            let next = at + mapping.blocks;
            assert!(mapping.file == FileBlock(at) && next <= end && next > at);
            let wrong = (at..next).find(|at| self.model[*at as usize] != is);
            assert_eq!(wrong, None, "{mapping:?}");
            at = next;
        }
        let held = self.model.iter().filter(|is| **is != Is::Hole).count() as u64;
        let blocks = self.volume.stat(ino).unwrap().sectors / 8;
        assert!(blocks >= held && blocks <= held + held / 20 + 100, "{blocks} {held}");
        self.volume.check();
    }

    fn end(mut self, free: u64) {
        self.volume.truncate(self.ino, 0).unwrap();
        assert_eq!(self.volume.stat(self.ino).unwrap().sectors, 0);
        self.volume.check();
        assert_eq!(self.volume.free_blocks(), free);
    }
}

#[test]
fn random_pieces_of_a_file_are_mapped_as_they_were_made() {
    for (seed, cache, steps) in [(1, Cache::Keeps, 40_000), (2, Cache::AlwaysMisses, 10_000)] {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut map = Map::new(30_000);
        let free = map.volume.free_blocks();
        map.volume.set_cache(cache);
        for step in 0..steps {
            map.step(&mut random);
            if step % 5000 == 0 {
                map.compare();
            }
        }
        map.compare();
        map.end(free);
    }
}

#[test]
fn a_tree_of_three_levels_grows_and_goes() {
    let blocks = 140_000;
    let mut map = Map::new(blocks);
    let free = map.volume.free_blocks();
    // No two of them touch, and the order is as unlike the file's as can be.
    let mut places: Vec<u64> = (0..blocks / 2).map(|at| at * 2).collect();
    let mut random = SmallRng::seed_from_u64(3);
    for at in (1..places.len()).rev() {
        places.swap(at, random.random_range(0..=at));
    }
    for at in &places {
        map.reserve(*at..at + 1);
    }
    map.compare();
    for at in &places[..60_000] {
        map.punch(*at..at + 1);
    }
    map.compare();
    map.end(free);
}
