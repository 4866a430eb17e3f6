//! Bits that a merge freed, and that may not be used again yet.
use bento_api::{BatchSeq, Freed};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Frees {
    /// Wait for their batch to be durable.
    data: BTreeMap<BatchSeq, Vec<Freed>>,
    /// Wait for the tail to pass their batch.
    logged: BTreeMap<BatchSeq, Vec<Freed>>,
    /// Taken, and not free yet.
    releasing: usize,
    idle: Vec<Vec<Freed>>,
}

fn take(from: &mut BTreeMap<BatchSeq, Vec<Freed>>, through: BatchSeq) -> Vec<Freed> {
    let mut all = Vec::new();
    while let Some(first) = from.first_entry().filter(|first| *first.key() <= through) {
        let mut list = first.remove();
        if all.is_empty() { all = list } else { all.append(&mut list) }
    }
    all
}

impl Frees {
    pub(super) fn add(&mut self, batch: BatchSeq, freed: Freed) {
        let Self { data, logged, idle, .. } = self;
        let lists = if freed.logged { logged } else { data };
        lists.entry(batch).or_insert_with(|| idle.pop().unwrap_or_default()).push(freed);
    }

    pub(super) fn take_data(&mut self, through: BatchSeq) -> Vec<Freed> {
        let taken = take(&mut self.data, through);
        self.releasing += taken.len();
        taken
    }

    pub(super) fn take_logged(&mut self, through: BatchSeq) -> Vec<Freed> {
        let taken = take(&mut self.logged, through);
        self.releasing += taken.len();
        taken
    }

    pub(super) fn released(&mut self, mut list: Vec<Freed>) {
        self.releasing -= list.len();
        if list.capacity() > 0 && self.idle.len() < 8 {
            list.clear();
            self.idle.push(list);
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.releasing == 0 && self.data.is_empty() && self.logged.is_empty()
    }
}
