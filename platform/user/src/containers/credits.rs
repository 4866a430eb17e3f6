//! Log credits: room for what operations may dirty, given out before the gate.
//!
//! One number counts credits that are held and blocks that the running batch already has: a merge turns the one into
//! the other, so the sum does not change, and only taking, giving back and sealing touch it. It stays below a
//! ceiling, the least of: free log blocks, the largest batch, and what may still be away from home.
//!
//! # Locking
//! The limits' mutex is a leaf. Who finds no room lines up (one at a time, in order) and drives the journal; nobody
//! overtakes the line, so a large operation is not starved by small ones.
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

struct Limits {
    log: u32,
    log_free: u32,
    batch: u32,
    not_home_most: u32,
    not_home: u32,
}

impl Limits {
    fn ceiling(&self) -> u32 {
        self.log_free.min(self.batch).min(self.not_home_most.saturating_sub(self.not_home))
    }
}

pub(super) struct Credits {
    in_use: AtomicU32,
    ceiling: AtomicU32,
    waiting: AtomicU32,
    limits: Mutex<Limits>,
    line: Mutex<()>,
}

/// A place at the head of the line.
pub(crate) struct InLine<'c> {
    credits: &'c Credits,
    _head: MutexGuard<'c, ()>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.credits.waiting.fetch_sub(1, SeqCst);
    }
}

impl Credits {
    pub(super) fn new(log: u32, batch: u32, not_home_most: u32) -> Self {
        let limits = Limits { log, log_free: log, batch, not_home_most, not_home: 0 };
        Self {
            in_use: AtomicU32::new(0),
            ceiling: AtomicU32::new(limits.ceiling()),
            waiting: AtomicU32::new(0),
            limits: Mutex::new(limits),
            line: Mutex::default(),
        }
    }

    /// Takes credits if there are enough now.
    pub(super) fn try_take(&self, credits: u32) -> bool {
        // The ceiling is read after the count: sealing lowers the ceiling first, so a count from before it fails
        // the exchange, and one from after it meets the new ceiling.
        let add = |in_use: u32| in_use.checked_add(credits).filter(|all| *all <= self.ceiling.load(SeqCst));
        self.in_use.fetch_update(SeqCst, SeqCst, add).is_ok()
    }

    /// Gives credits back; whether somebody waits for them.
    pub(super) fn give_back(&self, credits: u32) -> bool {
        if credits > 0 {
            self.in_use.fetch_sub(credits, SeqCst);
        }
        credits > 0 && self.somebody_waits()
    }

    /// A block that no credit was taken for: a bug, but the block is in the batch.
    pub(super) fn overdraw(&self) {
        self.in_use.fetch_add(1, SeqCst);
    }

    pub(super) fn somebody_waits(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// Waits for the head of the line.
    pub(super) fn line_up(&self) -> InLine<'_> {
        self.waiting.fetch_add(1, SeqCst);
        InLine { credits: self, _head: self.line.lock() }
    }

    /// Whether an empty log would have so many.
    pub(super) fn could_ever_fit(&self, credits: u32) -> bool {
        let limits = self.limits.lock();
        credits <= limits.log.min(limits.batch).min(limits.not_home_most)
    }

    fn change(&self, f: impl FnOnce(&mut Limits)) {
        let mut limits = self.limits.lock();
        f(&mut limits);
        self.ceiling.store(limits.ceiling(), SeqCst);
    }

    /// A batch of so many blocks leaves for the log.
    pub(super) fn sealed(&self, blocks: u32) {
        self.change(|limits| {
            limits.log_free = limits.log_free.saturating_sub(blocks);
            limits.not_home += blocks;
        });
        self.in_use.fetch_sub(blocks, SeqCst);
    }

    /// Versions came home, or were replaced by newer ones.
    pub(super) fn came_home(&self, versions: u32) {
        self.change(|limits| limits.not_home = limits.not_home.saturating_sub(versions));
    }

    /// The tail moved.
    pub(super) fn release_log(&self, blocks: u32) {
        self.change(|limits| limits.log_free = limits.log_free.saturating_add(blocks).min(limits.log));
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use.load(SeqCst)
    }

    pub(super) fn not_home(&self) -> u32 {
        self.limits.lock().not_home
    }

    pub(super) fn log_usage(&self) -> (u32, u32) {
        let limits = self.limits.lock();
        (limits.log - limits.log_free, limits.log)
    }

    pub(super) fn wants_checkpoint(&self) -> bool {
        let limits = self.limits.lock();
        limits.log - limits.log_free > limits.log / 4 || limits.not_home > limits.not_home_most / 2
    }
}
