//! A directory is a map from names to inodes, whatever happens to it.
use crate::volume::{ROOT, Volume};
use bento_api::{Errno, InodeNo, Rename};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

type Model = [BTreeMap<Vec<u8>, InodeNo>; 2];

/// What happens; names are numbers of a pool, directories are two.
#[derive(Clone, Debug)]
enum Step {
    Enter { dir: usize, names: Vec<usize> },
    Remove { dir: usize, names: Vec<usize> },
    Move { from: (usize, usize), to: (usize, usize), replace: bool },
    Exchange { from: (usize, usize), to: (usize, usize) },
    Cold,
    Remount,
}

const POOL: usize = 600;

/// Name `i` of the pool; every tenth has 255 bytes, the others from 1 on.
fn name(i: usize) -> Vec<u8> {
    let mut name = format!("{i:x}").into_bytes();
    let len = if i.is_multiple_of(10) { 255 } else { i * 7919 % 120 };
    while name.len() < len {
        name.push(b'a' + (name.len() % 26) as u8);
    }
    name
}

fn place() -> impl Strategy<Value = (usize, usize)> {
    (0..2_usize, 0..POOL)
}

fn names() -> impl Strategy<Value = Vec<usize>> {
    (0..POOL, 1..POOL, 1..120_usize)
        .prop_map(|(from, step, count)| (0..count).map(|i| (from + i * step) % POOL).collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, names()).prop_map(|(dir, names)| Step::Enter { dir, names }),
        5 => (0..2_usize, names()).prop_map(|(dir, names)| Step::Remove { dir, names }),
        6 => (place(), place(), any::<bool>())
            .prop_map(|(from, to, replace)| Step::Move { from, to, replace }),
        2 => (place(), place()).prop_map(|(from, to)| Step::Exchange { from, to }),
        1 => Just(Step::Cold),
        1 => Just(Step::Remount),
    ]
}

struct Twin {
    volume: Volume,
    model: Model,
    dirs: [InodeNo; 2],
    files: Vec<InodeNo>,
}

impl Twin {
    fn new() -> Self {
        let mut volume = Volume::new(16_384);
        let dirs = [b"one", b"two"].map(|name| volume.mkdir(ROOT, name).unwrap());
        let files = (0..4).map(|i| volume.create(ROOT, &[b'0' + i], 0o100_644).unwrap()).collect();
        Self { volume, model: Model::default(), dirs, files }
    }

    fn enter(&mut self, dir: usize, i: usize) {
        let ino = self.files[i % self.files.len()];
        let reply = self.volume.link(ino, self.dirs[dir], &name(i));
        match self.model[dir].entry(name(i)) {
            Entry::Occupied(_) => assert_eq!(reply, Err(Errno::Exists)),
            Entry::Vacant(vacant) => {
                assert_eq!(reply, Ok(()));
                vacant.insert(ino);
            }
        }
    }

    fn remove(&mut self, dir: usize, i: usize) {
        let expected = self.model[dir].remove(&name(i)).map(drop).ok_or(Errno::NotFound);
        assert_eq!(self.volume.unlink(self.dirs[dir], &name(i)), expected);
    }

    fn rename(&mut self, from: (usize, usize), to: (usize, usize), how: Rename) {
        let (old, new) = (name(from.1), name(to.1));
        let (source, target) = (self.model[from.0].get(&old).copied(), self.model[to.0].get(&new).copied());
        let expected = match (source, target, how) {
            (None, ..) => Err(Errno::NotFound),
            (_, None, Rename::Exchange) => Err(Errno::NotFound),
            (_, Some(_), Rename::NoReplace) => Err(Errno::Exists),
            (Some(source), target, _) => {
                // Two names of one inode stay.
                if target != Some(source) {
                    self.model[from.0].remove(&old);
                    if let (Some(target), Rename::Exchange) = (target, how) {
                        self.model[from.0].insert(old.clone(), target);
                    }
                    self.model[to.0].insert(new.clone(), source);
                }
                Ok(())
            }
        };
        let reply = self.volume.rename((self.dirs[from.0], &old), (self.dirs[to.0], &new), how);
        assert_eq!(reply, expected);
    }

    fn take(mut self, step: &Step) -> Self {
        match step {
            Step::Enter { dir, names } => names.iter().for_each(|i| self.enter(*dir, *i)),
            Step::Remove { dir, names } => names.iter().for_each(|i| self.remove(*dir, *i)),
            Step::Move { from, to, replace: true } => self.rename(*from, *to, Rename::Replace),
            Step::Move { from, to, replace: false } => self.rename(*from, *to, Rename::NoReplace),
            Step::Exchange { from, to } => self.rename(*from, *to, Rename::Exchange),
            Step::Cold => self.volume.mount.containers().evict_all(),
            Step::Remount => self.volume = self.volume.remount(),
        }
        self
    }

    fn compare(&mut self) {
        for (dir, model) in self.dirs.into_iter().zip(&self.model) {
            let listed = self.volume.list(dir).unwrap();
            assert!(listed.is_sorted_by_key(|(_, _, next)| next.0));
            let count = listed.len();
            let listed: BTreeMap<_, _> = listed.into_iter().map(|(name, ino, _)| (name, ino)).collect();
            assert_eq!(count, listed.len(), "no name is listed twice");
            assert_eq!(&listed, model);
            for i in 0..POOL {
                assert_eq!(self.volume.lookup(dir, &name(i)), Ok(model.get(&name(i)).copied()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_holds_what_a_map_would(steps in prop::collection::vec(step(), 1..40)) {
        let mut twin = steps.iter().fold(Twin::new(), Twin::take);
        twin.compare();
        twin.volume = twin.volume.remount();
        twin.compare();
        twin.volume.check();
    }

    #[test]
    fn a_directory_holds_what_a_map_would_when_every_block_is_missing_at_first(
        steps in prop::collection::vec(step(), 1..10)
    ) {
        let twin = Twin::new();
        twin.volume.mount.containers().set_always_miss(true);
        let mut twin = steps.iter().filter(|step| !matches!(step, Step::Remount)).fold(twin, Twin::take);
        twin.compare();
        twin.volume.check();
    }
}

#[test]
fn an_emptied_directory_takes_names_again_and_can_be_removed() {
    let mut twin = Twin::new();
    for round in 0..3 {
        (0..POOL).for_each(|i| twin.enter(0, i));
        twin.compare();
        (0..POOL).for_each(|i| twin.remove(0, (i * 7 + round) % POOL));
        twin.compare();
        twin.volume = twin.volume.remount();
    }
    twin.enter(0, 5);
    assert_eq!(twin.volume.rmdir(ROOT, b"one"), Err(Errno::NotEmpty));
    twin.remove(0, 5);
    assert_eq!(twin.volume.rmdir(ROOT, b"one"), Ok(()));
    assert_eq!(twin.volume.lookup(ROOT, b"one"), Ok(None));
}
