//! Bits that a merge freed, and that may not be used again yet.
use super::shards::Shards;
use bento_api::{BatchSeq, Freed};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The longest list that is kept for use again.
const LIST: usize = 4096;

/// What waits, by batch.
type Waiting = BTreeMap<BatchSeq, Vec<Freed>>;

/// What the calls of one lane freed.
#[derive(Default)]
struct Lane {
    /// Wait for their batch to be durable.
    data: Waiting,
    /// Wait for the tail to pass their batch.
    logged: Waiting,
    /// Taken, and not free yet.
    releasing: usize,
    idle: Vec<Vec<Freed>>,
}

#[derive(Default)]
pub(super) struct Frees(Shards<Lane>);

impl Lane {
    fn recycle(&mut self, mut list: Vec<Freed>) {
        self.releasing -= list.len();
        if self.idle.len() < 4 && list.capacity() <= LIST {
            list.clear();
            self.idle.push(list);
        }
    }
}

impl Frees {
    pub(super) fn add(&self, lane: usize, batch: BatchSeq, freed: Freed) {
        let Lane { data, logged, idle, .. } = &mut *self.0.at(lane).lock();
        let lists = if freed.logged { logged } else { data };
        lists.entry(batch).or_insert_with(|| idle.pop().unwrap_or_default()).push(freed);
    }

    /// Hands over what waited for a batch, or one before it, to be durable.
    pub(super) fn take_data(&self, through: BatchSeq, release: impl Fn(&[Freed])) {
        self.take(through, |lane| &mut lane.data, release);
    }

    /// Hands over what waited for the tail to pass a batch, or one before it.
    pub(super) fn take_logged(&self, through: BatchSeq, release: impl Fn(&[Freed])) {
        self.take(through, |lane| &mut lane.logged, release);
    }

    /// No lane is locked while something is released.
    fn take(&self, through: BatchSeq, of: impl Fn(&mut Lane) -> &mut Waiting, release: impl Fn(&[Freed])) {
        let next = |lane: &Mutex<Lane>| {
            let mut lane = lane.lock();
            let list = of(&mut lane).first_entry().filter(|first| *first.key() <= through)?.remove();
            lane.releasing += list.len();
            Some(list)
        };
        for lane in self.0.iter() {
            while let Some(list) = next(lane) {
                release(&list);
                lane.lock().recycle(list);
            }
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let nothing = |lane: &Lane| lane.releasing == 0 && lane.data.is_empty() && lane.logged.is_empty();
        self.0.iter().all(|lane| nothing(&lane.lock()))
    }
}
