//! Batches: the running one, and those that are sealed and not settled.
//!
//! An operation joins the running batch, merges, and leaves; sealing shuts joiners out for as long as it takes to
//! swap a list. The tag of each block tells a merge that a version belongs to a sealed batch.
//!
//! # Crash
//! A batch that somebody panicked in is poisoned: it is never sealed, so half an operation never reaches the log.
use super::blocks::Cached;
use crate::gate::{Apart, Gate, LANES};
use bento_api::limits::BATCHES_IN_FLIGHT;
use bento_api::{BatchSeq, Mounted, Seal, Totals};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// A sealed batch.
pub(super) struct Sealed {
    pub(super) seq: BatchSeq,
    pub(super) blocks: Vec<Arc<Cached>>,
}

/// What the calls of one lane added to the totals.
#[derive(Default)]
struct LaneTotals([AtomicU64; 3]);

impl LaneTotals {
    fn add(&self, change: Totals) {
        let Totals { blocks, inodes, orphans } = change;
        for (total, change) in self.0.iter().zip([blocks, inodes, orphans]) {
            if change != 0 {
                total.fetch_add(change, SeqCst); // wraps, as two's complement does
            }
        }
    }
}

pub(super) struct Batches {
    gate: Gate,
    seq: AtomicU64,
    running: Mutex<Vec<Arc<Cached>>>,
    sealed: Mutex<VecDeque<Sealed>>,
    idle: Mutex<Vec<Vec<Arc<Cached>>>>,
    durable: AtomicU64,
    totals: Box<[Apart<LaneTotals>]>,
    poisoned: AtomicBool,
    /// While a batch is on its way, the next waits until it has so many blocks, so that many callers share it.
    ride_until: usize,
}

impl Batches {
    pub(super) fn new(mounted: &Mounted) -> Self {
        let totals: Box<[Apart<LaneTotals>]> = (0..LANES).map(|_| Apart::default()).collect();
        totals[0].0.add(mounted.totals);
        Self {
            gate: Gate::default(),
            seq: AtomicU64::new(mounted.next.0),
            running: Mutex::new(Vec::with_capacity(1024)),
            sealed: Mutex::default(),
            idle: Mutex::default(),
            durable: AtomicU64::new(mounted.next.0.saturating_sub(1)),
            totals,
            poisoned: AtomicBool::new(false),
            ride_until: (mounted.log_credits / 8).min(mounted.batch_limit / 2) as usize,
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn running(&self) -> BatchSeq {
        BatchSeq(self.seq.load(SeqCst))
    }

    pub(super) fn running_blocks(&self) -> usize {
        self.running.lock().len()
    }

    pub(super) fn durable(&self) -> BatchSeq {
        BatchSeq(self.durable.load(SeqCst))
    }

    pub(super) fn set_durable(&self, batch: BatchSeq) {
        self.durable.fetch_max(batch.0, SeqCst);
    }

    pub(super) fn poison(&self) {
        self.poisoned.store(true, SeqCst);
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(SeqCst)
    }

    /// A block that the running batch did not hold yet.
    pub(super) fn add(&self, block: Arc<Cached>) {
        self.running.lock().push(block);
    }

    pub(super) fn add_totals(&self, lane: usize, change: Totals) {
        self.totals[lane % LANES].0.add(change);
    }

    /// Exact while the gate is closed; while others merge, what one lane took may be missed, and what another gave back
    /// be seen, so less than nothing counts as nothing.
    pub(super) fn totals(&self) -> Totals {
        let sum = |at: usize| {
            let all =
                self.totals.iter().fold(0, |sum: u64, lane| sum.wrapping_add(lane.0.0[at].load(SeqCst)));
            if all > i64::MAX as u64 { 0 } else { all }
        };
        Totals { blocks: sum(0), inodes: sum(1), orphans: sum(2) }
    }

    /// Ends the running batch.
    pub(super) fn seal(&self) -> Seal {
        if self.is_poisoned() {
            return Seal::Poisoned;
        }
        let waiting = self.running_blocks();
        let in_flight = self.sealed.lock().len();
        if waiting == 0 {
            return Seal::Empty;
        }
        if in_flight >= BATCHES_IN_FLIGHT as usize || (in_flight > 0 && waiting < self.ride_until) {
            return Seal::TooManyInFlight;
        }
        let next = self.idle.lock().pop().unwrap_or_default();
        let Some(closed) = self.gate.close(None) else { return Seal::TooManyInFlight };
        if self.is_poisoned() {
            return Seal::Poisoned;
        }
        let blocks = std::mem::replace(&mut *self.running.lock(), next);
        let seq = BatchSeq(self.seq.fetch_add(1, SeqCst));
        let totals = self.totals();
        drop(closed);
        let count = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        self.sealed.lock().push_back(Sealed { seq, blocks });
        Seal::Batch(seq, count, totals)
    }

    /// One block of a sealed batch.
    pub(super) fn block(&self, batch: BatchSeq, index: u32) -> Option<Arc<Cached>> {
        let sealed = self.sealed.lock();
        let batch = sealed.iter().find(|sealed| sealed.seq == batch)?;
        batch.blocks.get(usize::try_from(index).ok()?).cloned()
    }

    /// Takes the oldest sealed batch, if it is of this number or before.
    pub(super) fn take_through(&self, batch: BatchSeq) -> Option<Sealed> {
        let mut sealed = self.sealed.lock();
        if sealed.front()?.seq <= batch { sealed.pop_front() } else { None }
    }

    /// Takes a batch's emptied list back.
    pub(super) fn recycle(&self, list: Vec<Arc<Cached>>) {
        let mut idle = self.idle.lock();
        if list.is_empty() && idle.len() <= BATCHES_IN_FLIGHT as usize {
            idle.push(list);
        }
    }
}
