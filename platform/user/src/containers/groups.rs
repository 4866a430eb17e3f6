//! Busy bitmaps of the groups, and how much could be claimed in all.
//!
//! # Locking
//! A group's mutex is a leaf.
use crate::gate::Apart;
use bento_api::{Busy, Errno, GroupNo, Map, Mounted, Run, Totals};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A group, without words until somebody fills them: a volume has thousands that nobody uses.
#[derive(Default)]
struct Group {
    loaded: bool,
    inodes: Box<[u64]>,
    blocks: Box<[u64]>,
    hint: [u32; 2],
}

impl Group {
    fn busy(&mut self) -> Busy<'_> {
        let Self { loaded, inodes, blocks, hint } = self;
        Busy { loaded, inodes, blocks, hint }
    }

    fn words(&mut self, map: Map) -> &mut [u64] {
        match map {
            Map::Inodes => &mut self.inodes,
            Map::Blocks => &mut self.blocks,
        }
    }
}

pub(super) struct Groups {
    groups: Vec<Apart<Mutex<Group>>>,
    orphans: Apart<Mutex<Group>>,
    inodes: u32,
    blocks: u32,
    orphan_slots: u32,
    available: [Apart<AtomicU64>; 2],
}

/// The words of a run with the mask of its bits in each. Bits past the end are left out.
fn masks(words: &mut [u64], run: Run) -> impl Iterator<Item = (&mut u64, u64)> {
    let (start, end) = (u64::from(run.start), u64::from(run.start) + u64::from(run.len));
    let (first, last) = ((start / 64) as usize, end.div_ceil(64) as usize);
    let last = last.min(words.len());
    words[first.min(last)..last].iter_mut().zip(first as u64..).map(move |(word, at)| {
        let low = start.saturating_sub(at * 64);
        let high = (end - at * 64).min(64);
        let ones = if high - low == 64 { u64::MAX } else { ((1 << (high - low)) - 1) << low };
        (word, ones)
    })
}

fn set(words: &mut [u64], run: Run) {
    masks(words, run).for_each(|(word, ones)| {
        debug_assert_eq!(*word & ones, 0, "a claimed bit was busy");
        *word |= ones;
    });
}

/// Clears bits; how many were set.
fn clear(words: &mut [u64], run: Run) -> u64 {
    masks(words, run)
        .map(|(word, ones)| {
            let were = (*word & ones).count_ones();
            *word &= !ones;
            u64::from(were)
        })
        .sum()
}

fn fits(words: &[u64], run: Run) -> bool {
    run.len > 0 && u64::from(run.start) + u64::from(run.len) <= words.len() as u64 * 64
}

impl Groups {
    pub(super) fn new(mounted: &Mounted) -> Self {
        let Totals { blocks, inodes, .. } = mounted.totals;
        Self {
            groups: (0..mounted.groups).map(|_| Apart::default()).collect(),
            orphans: Apart::default(),
            inodes: mounted.inodes_per_group,
            blocks: mounted.blocks_per_group,
            orphan_slots: mounted.orphan_slots,
            available: [inodes, blocks].map(|count| Apart(AtomicU64::new(count))),
        }
    }

    fn counter(&self, group: GroupNo, map: Map) -> Option<&AtomicU64> {
        (group != GroupNo::ORPHANS).then(|| &self.available[map as usize].0)
    }

    fn with_state<R>(&self, group: GroupNo, f: impl FnOnce(&mut Group) -> R) -> Result<R, Errno> {
        let state = match group {
            GroupNo::ORPHANS => Some(&self.orphans),
            GroupNo(no) => self.groups.get(no as usize),
        };
        Ok(f(&mut state.ok_or(Errno::Invalid)?.0.lock()))
    }

    pub(super) fn with<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        self.with_state(group, |state| f(state.busy()))
    }

    /// With words to fill, all ones at first: nothing can be claimed of what nobody knows.
    pub(super) fn fill<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        let (inodes, blocks) = match group {
            GroupNo::ORPHANS => (0, self.orphan_slots),
            _ => (self.inodes, self.blocks),
        };
        self.with_state(group, |state| {
            if state.blocks.is_empty() {
                let words = |bits: u32| vec![u64::MAX; bits.div_ceil(64) as usize].into_boxed_slice();
                (state.inodes, state.blocks) = (words(inodes), words(blocks));
            }
            f(state.busy())
        })
    }

    /// Sets bits that `find` chose, as many of them as the reserve leaves.
    pub(super) fn claim(
        &self,
        group: GroupNo,
        map: Map,
        reserve: u64,
        find: impl FnOnce(&mut Busy<'_>) -> Option<Run>,
    ) -> Result<Option<Run>, Errno> {
        let counter = self.counter(group, map);
        self.with_state(group, |state| {
            if counter.is_some_and(|counter| counter.load(SeqCst) <= reserve) {
                return Ok(None);
            }
            let Some(mut run) = find(&mut state.busy()) else { return Ok(None) };
            if !fits(state.words(map), run) {
                return Err(Errno::Capacity);
            }
            if let Some(counter) = counter {
                let take = |all: u64| match all.saturating_sub(reserve).min(u64::from(run.len)) {
                    0 => None,
                    taken => Some(all - taken),
                };
                let Ok(before) = counter.fetch_update(SeqCst, SeqCst, take) else { return Ok(None) };
                let taken = before.saturating_sub(reserve).min(u64::from(run.len));
                run.len = u32::try_from(taken).unwrap_or(run.len);
            }
            set(state.words(map), run);
            Ok(Some(run))
        })?
    }

    /// Makes bits claimable again.
    pub(super) fn clear(&self, group: GroupNo, map: Map, run: Run) {
        let cleared = self.with_state(group, |state| clear(state.words(map), run)).unwrap_or(0);
        if let Some(counter) = self.counter(group, map) {
            counter.fetch_add(cleared, SeqCst);
        }
    }

    pub(super) fn available(&self, map: Map) -> u64 {
        self.available[map as usize].0.load(SeqCst)
    }

    /// The busy bits of a group that is loaded.
    pub(super) fn snapshot(&self, group: GroupNo) -> Option<(Vec<u64>, Vec<u64>)> {
        let copy = |state: &mut Group| state.loaded.then(|| (state.inodes.to_vec(), state.blocks.to_vec()));
        self.with_state(group, copy).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_covers_its_bits_and_no_others() {
        for (start, len) in [(0, 1), (63, 2), (0, 64), (5, 123), (64, 64), (130, 62)] {
            let mut words = [0; 3];
            set(&mut words, Run { start, len });
            let is_set = |bit: u32| words[bit as usize / 64] >> (bit % 64) & 1 == 1;
            assert!((0..192).all(|bit| is_set(bit) == (start..start + len).contains(&bit)), "{start} {len}");
            assert_eq!(clear(&mut words, Run { start, len }), u64::from(len));
            assert_eq!(words, [0; 3]);
        }
    }

    #[test]
    fn a_run_past_the_end_is_cut() {
        let mut words = [u64::MAX; 2];
        assert_eq!(clear(&mut words, Run { start: 120, len: u32::MAX }), 8);
        assert_eq!(clear(&mut words, Run { start: u32::MAX, len: u32::MAX }), 0);
        assert!(!fits(&words, Run { start: 1, len: u32::MAX }));
    }
}
