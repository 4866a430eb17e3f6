//! The containers of a mount: state that outlives a call, and no format.
//!
//! [`Containers`] belongs to the mount and is shared by all threads. [`UserCall`] is one thread's view of it, and the
//! [`Platform`](bento_api::Platform) of an entry: whatever an attempt takes is noted there, and given back when the
//! attempt ends.
//!
//! Pages are `Arc`s. Whoever must see a version keep still (a home that is not written yet, a write in flight)
//! holds a clone, and a merge copies a page that is shared; that is all of copy-on-write, except for versions of
//! batches that are sealed and not durable, which the block itself keeps (`cache`).
//!
//! What a completed batch sets in motion (versions become homes, freed bits come free) can be long. The core
//! only notes it, inside the gate; [`Containers::settle`] does it, outside.
//!
//! # Locking
//! Outside an attempt: settling -> homes -> latch. Inside: rename -> inode -> join -> latch -> (running list, cache
//! shard, group: leaves). A shard's owner only *tries* latches.
mod batches;
mod blocks;
mod call;
mod credits;
mod frees;
mod groups;
mod homes;
mod list;
mod locks;
mod memory;
mod pages;
mod placements;
mod platform;
mod shards;
mod slots;

#[cfg(test)]
mod tests;

pub use blocks::CacheCounters;
pub use call::UserCall;
pub use list::UserIoList;
pub use locks::{DataGuard, Locks};
pub use slots::{Forgotten, Kept};

use crate::device::Medium;
use crate::gate::Who;
use batches::Batches;
use bento_api::limits::JOURNAL_STATE;
use bento_api::{BLOCK, BatchSeq, BlockNo, Bytes, Corruption, Errno, InodeNo, Map, Mode, Mounted, Time};
use blocks::Blocks;
use credits::Credits;
use frees::Frees;
use groups::Groups;
use homes::Homes;
use pages::Pages;
use parking_lot::{Condvar, Mutex};
use placements::Placements;
use slots::Slots;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Gives the time of an operation.
pub type Clock = Box<dyn Fn() -> Time + Send + Sync>;

/// What a mount may choose.
pub struct Options {
    /// Most bytes of clean cached blocks; an eighth of the memory, at most 1 GiB, unless given.
    pub cache_bytes: Option<u64>,
    /// Most blocks, in all versions, that are not home; a 16th of the memory unless given, and never more than half
    /// of the log.
    pub not_home: Option<u32>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: None, not_home: None, clock: Box::new(system_time) }
    }
}

/// The system's time, to the nanosecond.
pub fn system_time() -> Time {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Time::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
        Err(before) => Time::new(-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX), 0),
    }
}

/// A corruption that an entry reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What is wrong.
    pub what: Corruption,
    /// Where.
    pub block: BlockNo,
    /// In whose structure; 0 if in nobody's.
    pub ino: InodeNo,
}

/// What a completed batch or checkpoint sets in motion, in order.
#[derive(Clone, Copy, Debug)]
enum Due {
    Durable(BatchSeq),
    Homed(BatchSeq),
}

/// Who waits for the journal.
#[derive(Default)]
struct Completions {
    count: Mutex<u64>,
    happened: Condvar,
}

/// Everything that a mount keeps.
pub struct Containers {
    medium: Arc<Medium>,
    clock: Clock,
    pages: Pages,
    blocks: Blocks,
    inodes: Locks,
    rename: Arc<Mutex<()>>,
    tree_version: AtomicU64,
    data: Locks,
    slots: Slots,
    groups: Groups,
    placements: Placements,
    batches: Batches,
    homes: Mutex<Homes>,
    frees: Frees,
    credits: Credits,
    due: Mutex<VecDeque<Due>>,
    settling: Mutex<()>,
    journal: Mutex<Box<[u8; JOURNAL_STATE]>>,
    tag_pages: Mutex<Vec<Arc<Bytes>>>,
    completions: Completions,
    shut_down: AtomicBool,
    always_miss: AtomicBool,
    reports: Mutex<Vec<Report>>,
    reported: AtomicU64,
}

/// Reports that are kept; later ones are only counted.
const REPORTS: usize = 64;
/// Who waits for the journal looks again after this long: a safety net, not a clock.
const RECHECK: Duration = Duration::from_millis(100);

impl Containers {
    /// Containers for a mount, empty but for what the mount found.
    pub fn new(medium: Arc<Medium>, mounted: &Mounted, options: Options) -> Arc<Self> {
        let memory = memory::limit();
        let cache_bytes = options.cache_bytes.unwrap_or((memory / 8).min(1 << 30));
        let memory_limit = u32::try_from(memory / 16 / BLOCK as u64).unwrap_or(u32::MAX);
        let not_home = options.not_home.unwrap_or(memory_limit).min(mounted.log_credits / 2);
        let pages = Pages::new(4096);
        Arc::new(Self {
            blocks: Blocks::new(cache_bytes / BLOCK as u64, pages.zero()),
            pages,
            medium,
            clock: options.clock,
            inodes: Locks::default(),
            rename: Arc::default(),
            tree_version: AtomicU64::new(0),
            data: Locks::default(),
            slots: Slots::default(),
            groups: Groups::new(mounted),
            placements: Placements::default(),
            batches: Batches::new(mounted),
            homes: Mutex::default(),
            frees: Frees::default(),
            credits: Credits::new(mounted.log_credits, mounted.batch_limit, not_home),
            due: Mutex::default(),
            settling: Mutex::default(),
            journal: Mutex::new(Box::new(mounted.journal)),
            tag_pages: Mutex::default(),
            completions: Completions::default(),
            shut_down: AtomicBool::new(false),
            always_miss: AtomicBool::new(false),
            reports: Mutex::default(),
            reported: AtomicU64::new(0),
        })
    }

    /// The device.
    pub fn medium(&self) -> &Arc<Medium> {
        &self.medium
    }

    /// The time now.
    pub fn now(&self) -> Time {
        (self.clock)()
    }

    // The journal, seen from outside an entry.

    /// The newest batch that is durable, and with it all before.
    pub fn durable(&self) -> BatchSeq {
        self.batches.durable()
    }

    /// The batch that operations join now.
    pub fn running(&self) -> BatchSeq {
        self.batches.running()
    }

    /// Blocks that the running batch holds.
    pub fn running_blocks(&self) -> usize {
        self.batches.running_blocks()
    }

    /// Whether this batch is sealed: then its commit is under way, or done.
    pub fn is_sealed(&self, batch: BatchSeq) -> bool {
        batch < self.batches.running()
    }

    /// Log blocks in use, and all there are.
    pub fn log_usage(&self) -> (u32, u32) {
        self.credits.log_usage()
    }

    /// Whether a checkpoint would be welcome: the log is a quarter full, or half of what may be away from home is.
    pub fn wants_checkpoint(&self) -> bool {
        self.credits.wants_checkpoint()
    }

    /// Log credits that are held, or used by the running batch.
    pub fn credits_in_use(&self) -> u32 {
        self.credits.in_use()
    }

    /// Blocks, in all versions, that are not home and not in the running batch.
    pub fn not_home(&self) -> u32 {
        self.credits.not_home()
    }

    /// Whether the mount takes no more changes.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down.load(SeqCst)
    }

    /// Takes no more changes; wakes all who wait for the journal.
    pub fn shut_down(&self) {
        if !self.shut_down.swap(true, SeqCst) {
            log::error!("the journal failed: no more changes are taken; reads go on");
        }
        self.completed();
    }

    /// Whether somebody panicked in the middle of a merge: the running batch must never be written.
    pub fn is_poisoned(&self) -> bool {
        self.batches.is_poisoned()
    }

    /// A count of what completed; see [`Containers::wait_completion`].
    pub fn completions(&self) -> u64 {
        *self.completions.count.lock()
    }

    /// Waits until something completed since `seen` was taken.
    pub fn wait_completion(&self, seen: u64) {
        let mut count = self.completions.count.lock();
        if *count == seen {
            self.completions.happened.wait_for(&mut count, RECHECK);
        }
    }

    /// Something that others wait for has happened.
    pub(crate) fn completed(&self) {
        *self.completions.count.lock() += 1;
        self.completions.happened.notify_all();
    }

    /// Does what completed batches set in motion. Long; called outside every gate.
    pub fn settle(&self) {
        if self.due.lock().is_empty() {
            return;
        }
        let _one = self.settling.lock();
        loop {
            let Some(due) = self.due.lock().front().copied() else { break };
            match due {
                Due::Durable(batch) => self.settle_durable(batch),
                Due::Homed(through) => self.settle_homed(through),
            }
            self.due.lock().pop_front();
        }
        self.completed();
    }

    // Space.

    /// Bits that could be claimed now, in all.
    pub fn available(&self, map: Map) -> u64 {
        self.groups.available(map)
    }

    /// Free totals as of the running batch, as nearly as they can be told while operations merge.
    pub fn totals(&self) -> bento_api::Totals {
        self.batches.totals()
    }

    /// Whether freed bits wait for a batch or for the tail.
    pub fn has_pending_frees(&self) -> bool {
        !self.frees.is_empty()
    }

    /// Placements that are open.
    pub fn open_placements(&self) -> usize {
        self.placements.len()
    }

    /// Busy bits of a group that is loaded: inodes, blocks.
    pub fn busy(&self, group: bento_api::GroupNo) -> Option<(Vec<u64>, Vec<u64>)> {
        self.groups.snapshot(group)
    }

    // The cache.

    /// Drops every block that is clean and not pinned.
    pub fn evict_all(&self) {
        self.blocks.evict_all(&self.pages);
    }

    /// Makes every first use of a block in a call a miss, as if it had just been evicted.
    pub fn set_always_miss(&self, on: bool) {
        self.always_miss.store(on, SeqCst);
    }

    fn always_misses(&self) -> bool {
        self.always_miss.load(Relaxed)
    }

    /// How the cache does.
    pub fn cache_counters(&self) -> CacheCounters {
        self.blocks.counters()
    }

    // Data locks.

    /// The lock of an inode's data, which ranks before every gate: shared by reads and overwrites, exclusive for
    /// whatever changes which blocks there are, or the size.
    pub fn lock_data(&self, ino: InodeNo, mode: Mode) -> DataGuard {
        DataGuard(self.data.lock(ino, mode))
    }

    // Slots.

    /// Counts users of an inode down.
    pub(crate) fn forget(&self, ino: InodeNo, count: u64) -> Forgotten {
        self.slots.forget(ino, count)
    }

    /// Drops the slot of an inode that nobody uses.
    pub(crate) fn drop_unused(&self, ino: InodeNo) -> bool {
        self.slots.drop_unused(ino)
    }

    /// Notes that an inode lost its last name, or got one; whether somebody uses it.
    pub(crate) fn set_unnamed(&self, ino: InodeNo, unnamed: bool) -> bool {
        self.slots.set_unnamed(ino, unnamed)
    }

    /// Looks at an inode's slot.
    pub fn slot<R>(&self, ino: InodeNo, f: impl FnOnce(&mut bento_api::Slot) -> R) -> Option<R> {
        self.slots.with(ino, f)
    }

    /// Inodes of one part of the slots whose times are newer than the disk's; `None` behind the last part.
    pub(crate) fn dirty_slots(&self, part: usize) -> Option<Vec<InodeNo>> {
        self.slots.dirty(part)
    }

    /// Inodes that are in use and have no name.
    pub(crate) fn unnamed_slots(&self) -> Vec<InodeNo> {
        self.slots.unnamed()
    }

    /// Slots that there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    // Corruption.

    /// The first corruptions that entries met, and how many there were.
    pub fn reports(&self) -> (Vec<Report>, u64) {
        (self.reports.lock().clone(), self.reported.load(Relaxed))
    }

    fn report(&self, report: Report) {
        let Report { what, block, ino } = report;
        self.reported.fetch_add(1, Relaxed);
        let mut reports = self.reports.lock();
        if reports.len() < REPORTS && !reports.contains(&report) {
            log::error!("corruption {} in block {block}, inode {ino}", what.0);
            reports.push(report);
        }
    }

    /// Refuses what not even an empty log could give.
    pub(crate) fn check_credits(&self, credits: u32) -> Result<(), Errno> {
        if self.credits.could_ever_fit(credits) {
            return Ok(());
        }
        log::error!("an operation wants {credits} log credits, more than the log could ever give");
        Err(Errno::Capacity)
    }

    pub(crate) fn give_back_credits(&self, credits: u32) {
        if self.credits.give_back(credits) {
            self.completed();
        }
    }

    pub(crate) fn credit_line(&self) -> credits::InLine<'_> {
        self.credits.line_up()
    }

    pub(crate) fn somebody_waits_for_credits(&self) -> bool {
        self.credits.somebody_waits()
    }

    /// Joins the running batch; ended by [`Containers::leave`].
    fn join(&self, lane: usize) -> BatchSeq {
        let gate = self.batches.gate();
        while !gate.arrive(lane, Who::Call) {
            gate.wait_open(Who::Call);
        }
        self.batches.running()
    }

    fn leave(&self, lane: usize) {
        self.batches.gate().depart(lane);
    }
}
