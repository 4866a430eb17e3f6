//! Parts of a container, each behind a mutex of its own.
use crate::gate::Apart;
use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Numbers that lie side by side share a part, in runs of so many: who works in one directory then stays in a few
/// parts, and who works in another does not touch their cache lines.
const RUN: u64 = 32;

/// The parts.
pub(super) struct Shards<T>(Box<[Apart<Mutex<T>>; SHARDS]>);

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Apart::default())))
    }
}

impl<T> Shards<T> {
    /// How many there are.
    pub(super) const COUNT: usize = SHARDS;

    /// The part that a number belongs to.
    pub(super) fn of(&self, number: u64) -> &Mutex<T> {
        let hash = (number / RUN).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        &self.0[hash as usize % SHARDS].0
    }

    /// The part at a place, counted round and round.
    pub(super) fn at(&self, place: usize) -> &Mutex<T> {
        &self.0[place % SHARDS].0
    }

    /// A part by its place; `None` behind the last.
    pub(super) fn get(&self, at: usize) -> Option<&Mutex<T>> {
        self.0.get(at).map(|Apart(part)| part)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mutex<T>> {
        self.0.iter().map(|Apart(part)| part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_numbers_use_all_parts_alike() {
        let shards = Shards::<u32>::default();
        (0..64 * 1024).for_each(|number| *shards.of(number).lock() += 1);
        let counts: Vec<u32> = shards.iter().map(|part| *part.lock()).collect();
        assert!(counts.iter().all(|count| (768..=1280).contains(count)), "{counts:?}");
        assert!(std::ptr::eq(shards.of(64), shards.of(95)));
    }
}
