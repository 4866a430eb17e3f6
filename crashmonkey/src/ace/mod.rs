//! ACE: every workload of a bounded size, one after the other.
//!
//! Four phases, as in the paper. One: a skeleton of core operations, any combination, repetition
//! allowed. Two: their parameters. Three: a persistence operation after each of them. Four: whatever
//! the sequence needs in order to run ([`deps`]). The first three span a mixed-radix number, so the
//! `i`-th workload can be had without its predecessors and a set can be cut into shards; the fourth is
//! a function of them. Nothing is stored but one count a skeleton.
//!
//! The same text can come up more than once (the slot after an operation that carries its own
//! checkpoint is enumerated but not used). [`Fingerprint`] says how often, and proves that a set equals
//! that of the original generator.

pub mod bounds;
pub mod deps;
pub mod fingerprint;
pub mod name;
mod overlap;

use bounds::{Bounds, Core, PersistencePoints, Profile};
use deps::{Builder, Persistence};
pub use fingerprint::Fingerprint;
use name::{Name, Names};

use crate::jlang::Workload;

/// A skeleton: the kinds of its operations by index, and the number of its first workload.
struct Skeleton {
    kinds: Vec<usize>,
    first: u64,
}

/// All workloads of one profile and length.
pub struct Generator {
    bounds: Bounds,
    parameters: Vec<Vec<Core>>,
    skeletons: Vec<Skeleton>,
    count: u64,
}

impl Generator {
    /// The set of `profile` with `length` core operations.
    pub fn new(profile: Profile, length: usize) -> Generator {
        let bounds = Bounds::of(profile);
        let parameters: Vec<Vec<Core>> = bounds.kinds.iter().map(|kind| bounds.parameters(*kind)).collect();
        let mut generator = Generator { bounds, parameters, skeletons: Vec::new(), count: 0 };
        let mut kinds = vec![0; length];
        loop {
            let mut cursor = Cursor::at_skeleton(&generator, &kinds);
            let first = generator.count;
            loop {
                if cursor.load(&generator) {
                    generator.count += cursor.slot_count();
                }
                if !cursor.next_parameters() {
                    break;
                }
            }
            generator.skeletons.push(Skeleton { kinds: kinds.clone(), first });
            if !increment(&mut kinds, |_| generator.bounds.kinds.len()) {
                return generator;
            }
        }
    }

    /// How many workloads there are, repetitions included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them.
    pub fn iter(&self) -> Workloads<'_> {
        self.from(0)
    }

    /// All from the `index`-th on.
    pub fn from(&self, index: u64) -> Workloads<'_> {
        let skeleton = self.skeletons.partition_point(|s| s.first <= index).saturating_sub(1);
        let mut workloads = Workloads { generator: self, skeleton, cursor: None };
        if index >= self.count {
            workloads.skeleton = self.skeletons.len();
            return workloads;
        }
        let mut cursor = Cursor::at_skeleton(self, &self.skeletons[skeleton].kinds);
        let mut left = index - self.skeletons[skeleton].first;
        loop {
            if cursor.load(self) {
                if left < cursor.slot_count() {
                    cursor.seek_slots(left);
                    workloads.cursor = Some(cursor);
                    return workloads;
                }
                left -= cursor.slot_count();
            }
            if !cursor.next_parameters() {
                return workloads;
            }
        }
    }

    /// The `index`-th.
    pub fn nth(&self, index: u64) -> Option<Workload> {
        self.from(index).next()
    }

    /// The persistence operations that may follow these core operations: in the last slot, and in an
    /// earlier one.
    fn choices(&self, cores: &[Core]) -> Vec<Persistence> {
        let used = cores.iter().fold(Names::default(), |mut used, core| {
            core.names().iter().for_each(|name| used.insert(name));
            used
        });
        let related = if cores.len() < 3 { used.with_relatives() } else { used };
        let mut choices: Vec<Persistence> = related.iter().map(Persistence::Fsync).collect();
        if self.bounds.persistence == PersistencePoints::Wide {
            let files = self.bounds.known_files();
            let used_files = || used.iter().filter(|name| files.contains(*name));
            choices.extend(used_files().map(Persistence::Fdatasync));
            choices.extend(used.iter().filter(|n| *n != Name::Root).map(Persistence::FsyncBoth));
        }
        choices.push(Persistence::Sync);
        choices.push(Persistence::Nothing);
        choices
    }
}

/// Counts `digits` up by one, the last digit fastest; false after the last number.
fn increment(digits: &mut [usize], radix: impl Fn(usize) -> usize) -> bool {
    for place in (0..digits.len()).rev() {
        digits[place] += 1;
        if digits[place] < radix(place) {
            return true;
        }
        digits[place] = 0;
    }
    false
}

/// A place in the enumeration: a skeleton, its parameters, its persistence slots.
struct Cursor {
    kinds: Vec<usize>,
    radices: Vec<usize>,
    parameters: Vec<usize>,
    slots: Vec<usize>,
    cores: Vec<Core>,
    choices: Vec<Persistence>,
}

impl Cursor {
    fn at_skeleton(generator: &Generator, kinds: &[usize]) -> Cursor {
        Cursor {
            kinds: kinds.to_vec(),
            radices: kinds.iter().map(|kind| generator.parameters[*kind].len()).collect(),
            parameters: vec![0; kinds.len()],
            slots: vec![0; kinds.len()],
            cores: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// Looks up the core operations of the present parameters; false if the set leaves them out.
    fn load(&mut self, generator: &Generator) -> bool {
        self.cores.clear();
        for (kind, index) in self.kinds.iter().zip(&self.parameters) {
            self.cores.push(generator.parameters[*kind][*index]);
        }
        if !overlap::keeps(&generator.bounds, &self.cores) {
            return false;
        }
        self.choices = generator.choices(&self.cores);
        self.slots.fill(0);
        true
    }

    fn next_parameters(&mut self) -> bool {
        increment(&mut self.parameters, |place| self.radices[place])
    }

    /// How many choices a slot has: nothing cannot be the last.
    fn slot_radix(&self, place: usize) -> usize {
        self.choices.len() - usize::from(place + 1 == self.slots.len())
    }

    fn slot_count(&self) -> u64 {
        (0..self.slots.len()).map(|place| self.slot_radix(place) as u64).product()
    }

    fn seek_slots(&mut self, mut number: u64) {
        for place in (0..self.slots.len()).rev() {
            let radix = self.slot_radix(place) as u64;
            self.slots[place] = (number % radix) as usize;
            number /= radix;
        }
    }

    fn next_slots(&mut self) -> bool {
        let (choices, last) = (self.choices.len(), self.slots.len() - 1);
        increment(&mut self.slots, |place| choices - usize::from(place == last))
    }
}

/// Iterator over the workloads of a [`Generator`].
pub struct Workloads<'a> {
    generator: &'a Generator,
    skeleton: usize,
    /// At the workload to come; none before the first of a skeleton.
    cursor: Option<Cursor>,
}

impl Workloads<'_> {
    /// The core operations and persistence operations of the workload to come.
    fn current(&mut self) -> Option<Vec<(Core, Persistence)>> {
        while self.cursor.is_none() {
            let skeleton = self.generator.skeletons.get(self.skeleton)?;
            let mut cursor = Cursor::at_skeleton(self.generator, &skeleton.kinds);
            let mut valid = cursor.load(self.generator);
            while !valid && cursor.next_parameters() {
                valid = cursor.load(self.generator);
            }
            if valid {
                self.cursor = Some(cursor);
            } else {
                self.skeleton += 1;
            }
        }
        let cursor = self.cursor.as_ref()?;
        let steps = cursor.cores.iter().zip(&cursor.slots);
        Some(steps.map(|(core, slot)| (*core, cursor.choices[*slot])).collect())
    }

    fn advance(&mut self) {
        let Some(cursor) = &mut self.cursor else { return };
        if cursor.next_slots() {
            return;
        }
        while cursor.next_parameters() {
            if cursor.load(self.generator) {
                return;
            }
        }
        self.cursor = None;
        self.skeleton += 1;
    }
}

impl Iterator for Workloads<'_> {
    type Item = Workload;

    fn next(&mut self) -> Option<Workload> {
        let steps = self.current()?;
        self.advance();
        Some(Builder::build(&self.generator.bounds, &steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_workload_can_be_had_without_its_predecessors() {
        for profile in Profile::ALL {
            let generator = Generator::new(profile, 2);
            for (index, workload) in generator.iter().enumerate().step_by(7919) {
                assert_eq!(generator.nth(index as u64).as_ref(), Some(&workload), "{profile:?} {index}");
            }
            assert_eq!(generator.nth(generator.count()), None);
        }
    }

    #[test]
    fn shards_that_meet_make_the_whole() {
        let generator = Generator::new(Profile::Nested, 1);
        let whole: Vec<Workload> = generator.iter().collect();
        assert_eq!(whole.len() as u64, generator.count());
        let parts: Vec<Workload> =
            (0..generator.count()).step_by(100).flat_map(|start| generator.from(start).take(100)).collect();
        assert_eq!(whole, parts);
    }

    #[test]
    fn every_generated_text_can_be_read_back() {
        for profile in Profile::ALL {
            let generator = Generator::new(profile, 1);
            for workload in generator.iter() {
                assert_eq!(workload.to_string().parse(), Ok(workload));
            }
        }
    }

    #[test]
    fn sets_of_three_have_the_published_sizes() {
        assert_eq!(Generator::new(Profile::Fixed, 3).count(), 7_478_858);
        assert_eq!(Generator::new(Profile::Head, 3).count(), 18_654_174);
        assert_eq!(Generator::new(Profile::Nested, 3).count(), 40_857_390);
    }
}
