//! Cached blocks: what a block holds now, which batch changed it last, and older versions that are still needed.
//!
//! # Locking
//! A block's latch guards its versions. A shard's mutex guards which blocks are cached; its owner only *tries*
//! latches. Blocks that somebody pins, and blocks that are not home, stay.
use super::Containers;
use super::pages::{Pages, new_page};
use super::shards::Shards;
use crate::device::Medium;
use arrayvec::ArrayVec;
use bento_api::limits::BATCHES_IN_FLIGHT;
use bento_api::{BatchSeq, BlockNo, Bytes, Disk, Errno, Fetch};
use parking_lot::{Condvar, Mutex, RwLock};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A shard is never told to keep fewer blocks.
const LEAST: usize = 16;
/// Blocks that one insertion looks at to find some to drop.
const STEPS: usize = 64;
/// Blocks without a number, kept for the next who needs one.
const BLANKS: usize = 512;
/// Blocks of a run that are looked up one by one; of a longer one every cached block is asked.
const FEW: u32 = 1024;
const HOME: BatchSeq = BatchSeq(0);
const VERSIONS: usize = BATCHES_IN_FLIGHT as usize;

/// The versions of a block.
pub(super) struct Versions {
    /// What readers see.
    pub(super) page: Arc<Bytes>,
    /// The last batch that changed it; none if the page is home.
    tag: BatchSeq,
    /// Whether the homes hold the page too: then it is copied before it changes, and need not be frozen.
    held: bool,
    /// Versions of batches that are sealed and not durable.
    frozen: ArrayVec<(BatchSeq, Arc<Bytes>), VERSIONS>,
}

impl Versions {
    fn new(page: Arc<Bytes>) -> Self {
        Self { page, tag: HOME, held: false, frozen: ArrayVec::new() }
    }

    /// Makes the current version that of the running batch; whether it was not. The old one is kept for those who
    /// need it.
    pub(super) fn enter(&mut self, running: BatchSeq) -> bool {
        if self.tag == running {
            return false;
        }
        if self.tag != HOME && !self.held {
            self.frozen.push((self.tag, self.page.clone()));
        }
        (self.tag, self.held) = (running, false);
        true
    }

    /// The current version, to change; a page that others show is copied first.
    pub(super) fn page_mut(&mut self, fresh: impl FnOnce() -> Arc<Bytes>) -> &mut Bytes {
        if Arc::get_mut(&mut self.page).is_none() {
            let mut copy = fresh();
            Arc::make_mut(&mut copy).copy_from_slice(&*self.page);
            self.page = copy;
        }
        Arc::make_mut(&mut self.page)
    }

    /// The version of a sealed batch.
    pub(super) fn of(&mut self, batch: BatchSeq) -> Option<&mut Arc<Bytes>> {
        if self.tag == batch {
            return Some(&mut self.page);
        }
        self.frozen.iter_mut().find(|(seq, _)| *seq == batch).map(|(_, page)| page)
    }

    /// Takes the version of a batch that became durable.
    pub(super) fn install(&mut self, batch: BatchSeq) -> Option<Arc<Bytes>> {
        if self.tag == batch {
            self.held = true;
            return Some(self.page.clone());
        }
        let at = self.frozen.iter().position(|(seq, _)| *seq == batch)?;
        Some(self.frozen.swap_remove(at).1)
    }

    /// The version of a batch is home.
    pub(super) fn came_home(&mut self, batch: BatchSeq) {
        if self.tag == batch {
            (self.tag, self.held) = (HOME, false);
        }
    }

    /// The last batch that changed the block, if it is not home.
    pub(super) fn tag(&self) -> BatchSeq {
        self.tag
    }

    fn is_clean(&self) -> bool {
        self.tag == HOME && self.frozen.is_empty()
    }
}

/// A cached block.
pub(super) struct Cached {
    no: BlockNo,
    verified: AtomicBool,
    /// It left the cache, and its number may mean another block.
    gone: AtomicBool,
    used: AtomicBool,
    pub(super) latch: RwLock<Versions>,
}

impl Cached {
    fn new(no: BlockNo, page: Arc<Bytes>) -> Self {
        let (verified, gone, used) = Default::default();
        Self { no, verified, gone, used, latch: RwLock::new(Versions::new(page)) }
    }

    pub(super) fn no(&self) -> BlockNo {
        self.no
    }

    pub(super) fn is_verified(&self) -> bool {
        self.verified.load(Acquire)
    }

    pub(super) fn set_verified(&self) {
        self.verified.store(true, Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Acquire)
    }

    /// Makes an unused block one of another number.
    fn renumber(&mut self, no: BlockNo) {
        self.no = no;
        *self.verified.get_mut() = false;
        *self.gone.get_mut() = false;
        *self.used.get_mut() = true;
    }
}

/// A read that is under way, for all who want the block.
#[derive(Default)]
struct Loading {
    outcome: Mutex<Option<Result<Arc<Cached>, Errno>>>,
    ended: Condvar,
    /// The block was freed, or made anew, meanwhile: what was read must not be cached.
    stale: AtomicBool,
}

#[derive(Default)]
struct Shard {
    /// Where in the ring.
    index: FxHashMap<u64, usize>,
    ring: Vec<Arc<Cached>>,
    hand: usize,
    loading: Vec<(BlockNo, Arc<Loading>)>,
}

impl Shard {
    fn get(&self, no: BlockNo) -> Option<&Arc<Cached>> {
        self.ring.get(*self.index.get(&no.0)?)
    }

    fn remove(&mut self, no: BlockNo) -> Option<Arc<Cached>> {
        let at = self.index.remove(&no.0)?;
        let removed = self.ring.swap_remove(at);
        if let Some(moved) = self.ring.get(at) {
            self.index.insert(moved.no.0, at);
        }
        removed.gone.store(true, Release);
        Some(removed)
    }

    fn insert(&mut self, cached: Arc<Cached>) {
        self.index.insert(cached.no.0, self.ring.len());
        self.ring.push(cached);
    }

    fn stop_loading(&self, no: BlockNo) {
        self.loading.iter().filter(|(other, _)| *other == no).for_each(|(_, l)| l.stale.store(true, Release));
    }

    /// A block that may be dropped, found by the clock.
    fn victim(&mut self) -> Option<Arc<Cached>> {
        for _ in 0..STEPS.min(self.ring.len()) {
            self.hand = if self.hand + 1 < self.ring.len() { self.hand + 1 } else { 0 };
            let cached = &self.ring[self.hand];
            if Arc::strong_count(cached) > 1 || cached.used.swap(false, Relaxed) {
                continue;
            }
            if cached.latch.try_read().is_some_and(|versions| versions.is_clean()) {
                let no = cached.no;
                return self.remove(no);
            }
        }
        None
    }
}

/// How the cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Blocks that are cached.
    pub cached: u64,
    /// Blocks that were brought in: read, or as zeros.
    pub fetched: u64,
    /// Reads that found another's read under way.
    pub shared: u64,
    /// Blocks that were dropped to make room.
    pub evicted: u64,
}

pub(super) struct Blocks {
    shards: Shards<Shard>,
    blanks: Mutex<Vec<Arc<Cached>>>,
    zero: Arc<Bytes>,
    most_in_shard: usize,
    fetched: AtomicU64,
    shared: AtomicU64,
    evicted: AtomicU64,
}

impl Blocks {
    pub(super) fn new(most: u64, zero: Arc<Bytes>) -> Self {
        let most_in_shard =
            usize::try_from(most / Shards::<Shard>::COUNT as u64).unwrap_or(usize::MAX).max(LEAST);
        let (fetched, shared, evicted) = Default::default();
        Self {
            shards: Shards::default(),
            blanks: Mutex::new(Vec::with_capacity(BLANKS)),
            zero,
            most_in_shard,
            fetched,
            shared,
            evicted,
        }
    }

    fn shard(&self, no: BlockNo) -> &Mutex<Shard> {
        self.shards.of(no.0)
    }

    /// A cached block.
    pub(super) fn get(&self, no: BlockNo) -> Option<Arc<Cached>> {
        let shard = self.shard(no).lock();
        let cached = shard.get(no)?;
        if !cached.used.load(Relaxed) {
            cached.used.store(true, Relaxed);
        }
        Some(cached.clone())
    }

    /// A block that nobody else sees, with undefined content.
    pub(super) fn blank(&self, no: BlockNo) -> Arc<Cached> {
        let idle = self.blanks.lock().pop();
        if let Some(mut idle) = idle
            && let Some(cached) = Arc::get_mut(&mut idle)
        {
            cached.renumber(no);
            return idle;
        }
        Arc::new(Cached::new(no, self.zero.clone()))
    }

    fn recycle(&self, mut cached: Arc<Cached>) {
        if Arc::get_mut(&mut cached).is_some_and(|cached| cached.latch.get_mut().is_clean()) {
            let mut blanks = self.blanks.lock();
            if blanks.len() < BLANKS {
                blanks.push(cached);
            }
        }
    }

    /// Shows a new block to all.
    pub(super) fn publish(&self, cached: &Arc<Cached>) {
        cached.set_verified();
        let mut shard = self.shard(cached.no).lock();
        shard.stop_loading(cached.no);
        shard.remove(cached.no);
        shard.insert(cached.clone());
        self.make_room(&mut shard);
    }

    fn make_room(&self, shard: &mut Shard) {
        for _ in 0..2 {
            if shard.ring.len() <= self.most_in_shard {
                return;
            }
            let Some(victim) = shard.victim() else { return };
            self.evicted.fetch_add(1, Relaxed);
            self.recycle(victim);
        }
    }

    /// Brings a block into the cache. Callers that miss one block at once share one read.
    pub(super) fn fetch(&self, medium: &Medium, no: BlockNo, how: Fetch) -> Result<Arc<Cached>, Errno> {
        loop {
            let loading = {
                let mut shard = self.shard(no).lock();
                if let Some(cached) = shard.get(no) {
                    return Ok(cached.clone());
                }
                match shard.loading.iter().find(|(other, _)| *other == no) {
                    Some((_, loading)) => Err(loading.clone()),
                    None => {
                        let loading = Arc::new(Loading::default());
                        shard.loading.push((no, loading.clone()));
                        Ok(loading)
                    }
                }
            };
            match loading {
                Ok(mine) => {
                    if let Some(outcome) = self.load(medium, no, how, &mine) {
                        return outcome;
                    }
                }
                Err(other) => {
                    self.shared.fetch_add(1, Relaxed);
                    let mut outcome = other.outcome.lock();
                    while outcome.is_none() {
                        other.ended.wait(&mut outcome);
                    }
                    match outcome.clone() {
                        Some(Ok(cached)) if cached.is_gone() => {}
                        Some(result) => return result,
                        None => {}
                    }
                }
            }
        }
    }

    /// Reads a block and tells all who wait; `None` if what was read is of the past.
    fn load(
        &self,
        medium: &Medium,
        no: BlockNo,
        how: Fetch,
        loading: &Arc<Loading>,
    ) -> Option<Result<Arc<Cached>, Errno>> {
        self.fetched.fetch_add(1, Relaxed);
        let result = self.read(medium, no, how);
        let mut shard = self.shard(no).lock();
        shard.loading.retain(|(_, other)| !Arc::ptr_eq(other, loading));
        let stale = loading.stale.load(Acquire);
        let result = result.map(|cached| match shard.get(no) {
            Some(there) => there.clone(),
            None => {
                if stale {
                    cached.gone.store(true, Release);
                } else {
                    shard.insert(cached.clone());
                    self.make_room(&mut shard);
                }
                cached
            }
        });
        drop(shard);
        *loading.outcome.lock() = Some(result.clone());
        loading.ended.notify_all();
        match &result {
            Ok(cached) if cached.is_gone() => None,
            _ => Some(result),
        }
    }

    fn read(&self, medium: &Medium, no: BlockNo, how: Fetch) -> Result<Arc<Cached>, Errno> {
        let mut blank = self.blank(no);
        let cached = Arc::get_mut(&mut blank).ok_or(Errno::Io)?;
        let bytes = cached.latch.get_mut().page_mut(new_page);
        match how {
            Fetch::Read | Fetch::Ahead => Disk::read(medium, no, bytes)?,
            Fetch::Zeroed => {
                bytes.fill(0);
                *cached.verified.get_mut() = true;
            }
        }
        Ok(blank)
    }

    /// Drops blocks whose bits come free.
    pub(super) fn drop_run(&self, start: BlockNo, blocks: u32) {
        let end = start.0.saturating_add(u64::from(blocks));
        if blocks <= FEW {
            for no in (start.0..end).map(BlockNo) {
                let mut shard = self.shard(no).lock();
                shard.stop_loading(no);
                let removed = shard.remove(no);
                drop(shard);
                removed.into_iter().for_each(|cached| self.recycle(cached));
            }
            return;
        }
        for shard in self.shards.iter() {
            let mut shard = shard.lock();
            let inside = |no: BlockNo| (start.0..end).contains(&no.0);
            shard
                .loading
                .iter()
                .filter(|(no, _)| inside(*no))
                .for_each(|(_, l)| l.stale.store(true, Release));
            let gone: Vec<_> = shard.ring.iter().map(|cached| cached.no).filter(|no| inside(*no)).collect();
            for no in gone {
                shard.remove(no).into_iter().for_each(|cached| self.recycle(cached));
            }
        }
    }

    pub(super) fn evict_all(&self, pages: &Pages) {
        for shard in self.shards.iter() {
            let mut shard = shard.lock();
            let clean = |cached: &&Arc<Cached>| {
                Arc::strong_count(cached) == 1 && cached.latch.try_read().is_some_and(|v| v.is_clean())
            };
            let clean: Vec<_> = shard.ring.iter().filter(clean).map(|cached| cached.no).collect();
            for no in clean {
                if let Some(cached) = shard.remove(no).and_then(Arc::into_inner) {
                    pages.give_back(cached.latch.into_inner().page);
                }
            }
        }
    }

    pub(super) fn counters(&self) -> CacheCounters {
        CacheCounters {
            cached: self.shards.iter().map(|shard| shard.lock().ring.len() as u64).sum(),
            fetched: self.fetched.load(Relaxed),
            shared: self.shared.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
        }
    }
}

impl Containers {
    pub(super) fn cached(&self, no: BlockNo) -> Option<Arc<Cached>> {
        if self.always_misses() { None } else { self.blocks.get(no) }
    }

    pub(super) fn fetch(&self, no: BlockNo, how: Fetch) -> Result<Arc<Cached>, Errno> {
        self.blocks.fetch(&self.medium, no, how)
    }

    /// Tells the device what is about to be read, where that helps: more than one block, missing.
    pub(super) fn announce(&self, wanted: &[(BlockNo, Fetch)]) {
        if wanted.len() < 2 {
            return;
        }
        for (no, how) in wanted {
            if *how == Fetch::Read && self.blocks.shard(*no).lock().get(*no).is_none() {
                self.medium.will_read(*no, 1);
            }
        }
    }
}
