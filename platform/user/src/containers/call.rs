//! One thread's view of the containers: what an operation holds, and what an attempt of it took.
//!
//! A call is used for one operation after the other. Tokens are places in its tables: they mean nothing after the
//! attempt that got them. Everything is behind shared references, since an entry lends a call to closures.
use super::blocks::Cached;
use super::locks::Guard;
use super::{Containers, UserIoList};
use crate::gate::new_lane;
use arrayvec::ArrayVec;
use bento_api::limits::{CLAIMS, CURSOR, LOCKS, PINS, WANTED};
use bento_api::{
    BatchSeq, BlockNo, Bytes, Caller, Change, Claim, Cost, Errno, Fetch, InodeNo, Map, Run, Time,
};
use parking_lot::{ArcMutexGuard, RawMutex};
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

/// Pages that one attempt can take.
const PAGES: usize = 128;
/// Reserve pages that are at hand before an attempt starts; an operation that needs more asks the pool.
const AT_HAND: usize = 16;

/// Blocks of the last operation that the next one finds without asking the cache: it probably wants the same.
const RECENT: usize = 8;

/// A block that is pinned in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(u16);

/// A page that an attempt took.
#[derive(Clone, Copy, Debug)]
pub struct Page(u16);

pub(super) struct Pinned {
    no: BlockNo,
    pub(super) cached: Arc<Cached>,
    /// Nobody else sees the block yet.
    pub(super) unseen: Cell<bool>,
}

/// Blocks that a call keeps in the cache. Only appended to while an attempt runs.
pub(super) struct Pins {
    pins: Box<[OnceCell<Pinned>]>,
    len: Cell<usize>,
}

impl Pins {
    fn new() -> Self {
        Self { pins: (0..PINS).map(|_| OnceCell::new()).collect(), len: Cell::new(0) }
    }

    fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    fn iter(&self) -> impl Iterator<Item = &Pinned> {
        self.pins[..self.len.get()].iter().filter_map(OnceCell::get)
    }

    /// The newest pin of a block, unless the block left the cache since.
    pub(super) fn find(&self, no: BlockNo) -> Option<Pin> {
        let pins = &self.pins[..self.len.get()];
        let is_it = |pin: &OnceCell<Pinned>| {
            pin.get().is_some_and(|pinned| pinned.no == no && !pinned.cached.is_gone())
        };
        pins.iter().rposition(is_it).and_then(|at| u16::try_from(at).ok()).map(Pin)
    }

    pub(super) fn push(&self, cached: Arc<Cached>, unseen: bool) -> Result<Pin, Errno> {
        let at = self.len.get();
        let cell = self.pins.get(at).ok_or(Errno::Capacity)?;
        let pinned = Pinned { no: cached.no(), cached, unseen: Cell::new(unseen) };
        cell.set(pinned).map_err(|_| Errno::Capacity)?;
        self.len.set(at + 1);
        u16::try_from(at).map(Pin).map_err(|_| Errno::Capacity)
    }

    pub(super) fn get(&self, pin: Pin) -> &Pinned {
        let pinned = self.pins.get(usize::from(pin.0)).and_then(OnceCell::get);
        pinned.expect("a pin is used in the attempt that got it")
    }

    /// Empties the table; what was in it.
    fn drain(&mut self) -> impl Iterator<Item = (BlockNo, Arc<Cached>)> {
        let len = self.len.take();
        self.pins[..len].iter_mut().filter_map(|pin| pin.take()).map(|pinned| (pinned.no, pinned.cached))
    }

    fn retain(&mut self, keep: impl Fn(&Pinned) -> bool) {
        let len = self.len.replace(0);
        for at in 0..len {
            if let Some(pinned) = self.pins[at].take().filter(&keep) {
                let _ = self.push(pinned.cached, pinned.unseen.get());
            }
        }
    }
}

/// One thread's call.
pub struct UserCall {
    pub(super) containers: Arc<Containers>,
    pub(super) lane: usize,
    pub(super) caller: Caller,
    // What an operation holds across its attempts.
    now: Cell<Option<Time>>,
    pub(super) cursor: Cell<[u64; CURSOR]>,
    pub(super) progressed: Cell<bool>,
    pub(super) credits: Cell<u32>,
    pub(super) pins: Pins,
    pub(super) wanted: RefCell<ArrayVec<(BlockNo, Fetch), WANTED>>,
    // What an attempt took.
    locks: RefCell<ArrayVec<(InodeNo, Guard), LOCKS>>,
    rename: RefCell<Option<ArcMutexGuard<RawMutex, ()>>>,
    pub(super) claims: RefCell<ArrayVec<Claim, CLAIMS>>,
    joined: Cell<Option<BatchSeq>>,
    pages: Box<[RefCell<Arc<Bytes>>]>,
    pages_taken: Cell<usize>,
    pages_allowed: Cell<usize>,
    reserve: RefCell<Vec<Arc<Bytes>>>,
    pub(super) lists: RefCell<Vec<UserIoList>>,
    // What is kept from one operation to the next.
    recent: RefCell<ArrayVec<(BlockNo, Arc<Cached>), RECENT>>,
    /// The inode that the last write made longer: the next one probably does too.
    grew: Cell<InodeNo>,
}

impl UserCall {
    /// A call that holds nothing.
    pub fn new(containers: Arc<Containers>) -> Self {
        let zero = containers.pages.zero();
        Self {
            lane: new_lane(),
            caller: Caller::default(),
            now: Cell::default(),
            cursor: Cell::default(),
            progressed: Cell::default(),
            credits: Cell::default(),
            pins: Pins::new(),
            recent: RefCell::default(),
            wanted: RefCell::default(),
            locks: RefCell::default(),
            rename: RefCell::default(),
            claims: RefCell::default(),
            joined: Cell::default(),
            pages: (0..PAGES).map(|_| RefCell::new(zero.clone())).collect(),
            pages_taken: Cell::default(),
            pages_allowed: Cell::default(),
            reserve: RefCell::default(),
            lists: RefCell::default(),
            grew: Cell::default(),
            containers,
        }
    }

    /// The mount's containers.
    pub fn containers(&self) -> &Arc<Containers> {
        &self.containers
    }

    /// Says who asks, from now on.
    pub fn set_caller(&mut self, caller: Caller) {
        self.caller = caller;
    }

    /// Who asks.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    // The host's side of an operation.

    /// Begins an operation: what the last one pinned is only at hand.
    pub(crate) fn begin(&mut self) {
        self.pause();
        self.cursor.set([0; CURSOR]);
        self.progressed.set(false);
        self.now.set(None);
    }

    /// Gets the pages of one attempt ready.
    pub(crate) fn prepare(&mut self, cost: Cost) {
        self.wanted.get_mut().clear();
        self.pages_taken.set(0);
        self.pages_allowed.set((cost.pages as usize).min(PAGES));
        let most = (cost.pages as usize + cost.credits as usize).min(AT_HAND);
        self.containers.pages.top_up(self.reserve.get_mut(), most);
    }

    /// Takes log credits, if there are enough; the call holds none.
    pub(crate) fn take_credits(&self, credits: u32) -> bool {
        let taken = self.containers.credits.try_take(credits);
        if taken {
            self.credits.set(credits);
        }
        taken
    }

    pub(crate) fn credits_held(&self) -> u32 {
        self.credits.get()
    }

    pub(crate) fn lane(&self) -> usize {
        self.lane
    }

    /// Gives log credits back.
    pub(crate) fn give_back_credits(&self) {
        self.containers.give_back_credits(self.credits.take());
    }

    /// Ends an attempt, however it ended: releases locks, gives back claims that were not merged. An attempt that
    /// ends inside a batch has poisoned it.
    pub(crate) fn end_attempt(&mut self) {
        if self.joined.take().is_some() {
            log::error!("an operation ended in the middle of its merge: the batch is never written");
            self.containers.batches.poison();
            self.containers.leave(self.lane);
        }
        for claim in self.claims.get_mut().drain(..) {
            if let Claim { group, map, run, change: Change::Take } = claim {
                self.containers.groups.clear(group, map, run);
            }
        }
        self.locks.get_mut().clear();
        *self.rename.get_mut() = None;
        self.pins.retain(|pinned| !pinned.unseen.get() && !pinned.cached.is_gone());
    }

    /// Whether the attempt made progress: then its attempts are counted anew, and what it pinned is of the past.
    pub(crate) fn take_progress(&mut self) -> bool {
        let progressed = self.progressed.take();
        if progressed {
            self.pins.retain(|_| false);
        }
        progressed
    }

    /// Fetches what the attempt wanted, and pins it. How many blocks that were.
    pub(crate) fn fetch_wanted(&mut self) -> Result<usize, Errno> {
        let mut wanted = std::mem::take(self.wanted.get_mut());
        // The operating system reads ahead in the image or the device by itself.
        wanted.retain(|(_, how)| *how != Fetch::Ahead);
        self.containers.announce(&wanted);
        for (no, how) in &wanted {
            if self.pins.find(*no).is_none() {
                let cached = self.containers.fetch(*no, *how)?;
                self.pins.push(cached, false)?;
            }
        }
        Ok(wanted.len())
    }

    /// Lets go of the last operation's blocks, but for a few that the next one finds at hand.
    pub fn pause(&mut self) {
        if self.pins.is_empty() {
            return;
        }
        let recent = self.recent.get_mut();
        recent.clear();
        let room = recent.capacity();
        self.pins
            .drain()
            .enumerate()
            .filter(|(at, _)| *at < room)
            .for_each(|(_, pinned)| recent.push(pinned));
    }

    /// Lets go of everything, so that the call keeps no block in the cache.
    pub fn rest(&mut self) {
        self.pins.retain(|_| false);
        self.recent.get_mut().clear();
    }

    /// The newest batch that changed one of the blocks that the last operation used, and is not durable; 0 if none is.
    pub(crate) fn newest_undurable(&self) -> BatchSeq {
        let durable = self.containers.durable();
        let newest = self.pins.iter().map(|pinned| pinned.cached.latch.read().tag()).max();
        newest.filter(|tag| *tag > durable).unwrap_or_default()
    }

    /// Counts one more user of an inode that an operation of this call has just answered, so that it has a slot.
    pub fn keep(&self, ino: InodeNo, generation: u32) {
        if self.containers.slots.keep(ino, generation) == super::Kept::Known {
            return;
        }
        // The blocks are looked at after the slot is there: a merge stamps the slot after it tagged the block, so
        // one of the two sees the other.
        let undurable = self.newest_undurable();
        self.containers.slots.with(ino, |slot| {
            slot.sync_seq = slot.sync_seq.max(undurable);
            slot.datasync_seq = slot.datasync_seq.max(undurable);
        });
    }

    /// Whether the last write through this call made this inode longer.
    pub(crate) fn grew(&self, ino: InodeNo) -> bool {
        self.grew.get() == ino
    }

    pub(crate) fn set_grew(&self, ino: InodeNo) {
        self.grew.set(ino);
    }

    /// Takes a list back whose requests are done.
    pub(crate) fn recycle(&mut self, mut list: UserIoList) {
        list.clear();
        if self.lists.get_mut().len() < 4 {
            self.lists.get_mut().push(list);
        }
    }

    // The entry's side.

    /// A cached block, at hand or not.
    pub(super) fn cached_block(&self, no: BlockNo) -> Option<Arc<Cached>> {
        let mut recent = self.recent.borrow_mut();
        let at = recent.iter().position(|(other, _)| *other == no);
        match at.map(|at| recent.swap_remove(at).1) {
            Some(cached) if !cached.is_gone() && !self.containers.always_misses() => Some(cached),
            _ => self.containers.cached(no),
        }
    }

    /// The operation's time: that of the first question, so that one that does not ask need not know.
    pub(super) fn time(&self) -> Time {
        match self.now.get() {
            Some(time) => time,
            None => {
                let time = self.containers.now();
                self.now.set(Some(time));
                time
            }
        }
    }

    pub(super) fn page_at(&self, page: Page) -> &RefCell<Arc<Bytes>> {
        self.pages.get(usize::from(page.0)).expect("a page is used in the attempt that took it")
    }

    /// A page for a merge that must copy, or for the attempt.
    pub(super) fn spare_page(&self) -> Arc<Bytes> {
        let spare = self.reserve.borrow_mut().pop();
        spare.unwrap_or_else(|| self.containers.pages.take())
    }

    pub(super) fn next_page(&self) -> Result<Page, Errno> {
        let at = self.pages_taken.get();
        if at >= self.pages_allowed.get() {
            return Err(Errno::Capacity);
        }
        let mut page = self.pages[at].borrow_mut();
        if Arc::get_mut(&mut page).is_none() {
            *page = self.spare_page();
        }
        self.pages_taken.set(at + 1);
        u16::try_from(at).map(Page).map_err(|_| Errno::Capacity)
    }

    pub(super) fn holds(&self, ino: InodeNo, mode: bento_api::Mode) -> bool {
        self.locks.borrow().iter().any(|(held, guard)| *held == ino && guard.covers(mode))
    }

    pub(super) fn note_lock(&self, ino: InodeNo, guard: Guard) -> Result<(), Errno> {
        self.locks.borrow_mut().try_push((ino, guard)).map_err(|_| Errno::Capacity)
    }

    pub(super) fn has_room_for_a_lock(&self) -> bool {
        !self.locks.borrow().is_full()
    }

    pub(super) fn release_locks(&self) {
        self.locks.borrow_mut().clear();
    }

    pub(super) fn take_rename(&self) {
        let mut rename = self.rename.borrow_mut();
        if rename.is_none() {
            *rename = Some(self.containers.rename.lock_arc());
        }
    }

    pub(super) fn batch(&self) -> BatchSeq {
        self.joined.get().expect("a merge happens between join and leave")
    }

    pub(super) fn set_joined(&self, batch: Option<BatchSeq>) {
        self.joined.set(batch);
    }

    pub(super) fn note_claim(&self, claim: Claim) -> Result<(), Errno> {
        self.claims.borrow_mut().try_push(claim).map_err(|_| Errno::Capacity)
    }

    pub(super) fn unclaim(&self, group: bento_api::GroupNo, map: Map, run: Run) {
        self.containers.groups.clear(group, map, run);
    }

    /// One credit becomes a block of the running batch.
    pub(super) fn spend_credit(&self) {
        match self.credits.get().checked_sub(1) {
            Some(left) => self.credits.set(left),
            None => {
                debug_assert!(false, "an operation outgrew its credits");
                self.containers.credits.overdraw();
            }
        }
    }
}

impl Drop for UserCall {
    fn drop(&mut self) {
        self.end_attempt();
        self.give_back_credits();
    }
}
