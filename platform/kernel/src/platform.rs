//! The containers, which C keeps, as an entry sees them.
use crate::fault::{Place, reach};
use bento_api::limits::{CLAIMS, CURSOR, JOURNAL_STATE, WANTED};
use bento_api::platform::ContentTimes;
use bento_api::{
    BatchSeq, BlockNo, Busy, Bytes, Claim, Corruption, Errno, Extent, Fetch, Freed, GroupNo, InodeNo, IoList,
    Map, Mode, Placement, PlacementId, Platform, Run, Seal, Slot, Time, Totals,
};
use bento_kernel_abi as c;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::slice::from_raw_parts_mut;
use core::sync::atomic::{AtomicU32, Ordering};

/// A `struct bento_call`: one operation of one thread.
#[repr(transparent)]
pub struct KCall(UnsafeCell<c::Call>);

/// A block that C has pinned in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(*mut c::Block);

/// A page that C has reserved for the call, by its place.
#[derive(Clone, Copy, Debug)]
pub struct Page(u32);

/// The call's list of requests, which C keeps.
pub struct Requests(*mut c::Call);

/// Fields of a call.
struct Own<'c> {
    now: &'c Time,
    credits: &'c u32,
    cursor: &'c mut [u64; CURSOR],
    progressed: &'c mut u32,
    wanted_count: &'c mut u32,
    wanted: &'c mut [c::Want; WANTED],
    claim_count: &'c mut u32,
    claims: &'c mut [Claim; CLAIMS],
}

/// C's error numbers that the containers answer.
fn errno(code: i32) -> Errno {
    match -code {
        5 => Errno::Io,
        22 => Errno::Invalid,
        _ => Errno::Capacity,
    }
}

impl KCall {
    /// # Safety
    /// The call lives, and nobody else uses it, for `'m`.
    pub(crate) unsafe fn of<'m>(call: *mut c::Call) -> &'m Self {
        // SAFETY: transparent over a cell of it; the caller vouches for the rest.
        unsafe { &*call.cast::<Self>() }
    }

    pub(crate) fn raw(&self) -> *mut c::Call {
        self.0.get()
    }

    /// Looks at the fields that the containers and Rust share. C is not called meanwhile.
    fn with<R>(&self, f: impl FnOnce(Own<'_>) -> R) -> R {
        let raw = self.raw();
        // SAFETY: one thread has the call, closures given here do not nest, and nobody else borrows these fields.
        f(unsafe {
            Own {
                now: &(*raw).now,
                credits: &(*raw).credits,
                cursor: &mut (*raw).cursor,
                progressed: &mut (*raw).progressed,
                wanted_count: &mut (*raw).wanted_count,
                wanted: &mut (*raw).wanted,
                claim_count: &mut (*raw).claim_count,
                claims: &mut (*raw).claims,
            }
        })
    }

    fn take_block(&self, code: i32, block: *mut c::Block) -> Result<Option<Pin>, Errno> {
        match code {
            0 => Ok(Some(Pin(block))),
            1 => Ok(None),
            code => Err(errno(code)),
        }
    }
}

fn verified(block: &Pin) -> &AtomicU32 {
    // SAFETY: the block is pinned, and this word is only ever used atomically.
    unsafe { AtomicU32::from_ptr(&raw mut (*block.0).verified) }
}

/// One block's bytes.
///
/// # Safety
/// `at` points to a block that nobody writes to for `'a`.
unsafe fn bytes<'a>(at: *const u8) -> &'a Bytes {
    // SAFETY: the caller vouches for it.
    unsafe { &*at.cast::<Bytes>() }
}

/// One block's bytes.
///
/// # Safety
/// `at` points to a block that nobody else uses for `'a`.
unsafe fn bytes_mut<'a>(at: *mut u8) -> &'a mut Bytes {
    // SAFETY: the caller vouches for it.
    unsafe { &mut *at.cast::<Bytes>() }
}

impl IoList for Requests {
    fn fill(&mut self, at: BlockNo, build: impl FnOnce(&mut Bytes)) {
        // SAFETY: a page of the list, which only this call knows.
        build(unsafe { bytes_mut(c::bento_io_fill(self.0, at.0)) });
    }

    fn flush(&mut self) {
        // SAFETY: the list is the call's.
        unsafe { c::bento_io_flush(self.0) }
    }
}

impl Platform for KCall {
    const CONTENT_TIMES: ContentTimes = ContentTimes::AtWrite;
    type Block = Pin;
    type Page = Page;
    type IoList = Requests;

    fn now(&self) -> Time {
        self.with(|own| *own.now)
    }

    fn credits(&self) -> u32 {
        self.with(|own| *own.credits)
    }

    fn cursor(&self) -> [u64; CURSOR] {
        self.with(|own| *own.cursor)
    }

    fn set_cursor(&self, cursor: [u64; CURSOR]) {
        self.with(|own| (*own.cursor, *own.progressed) = (cursor, 1));
    }

    fn report(&self, what: Corruption, block: BlockNo, ino: InodeNo) {
        // SAFETY: numbers.
        unsafe { c::bento_report(self.raw(), what.0.into(), block.0, ino.0) }
    }

    fn pin(&self, no: BlockNo) -> Result<Option<Pin>, Errno> {
        let mut block = core::ptr::null_mut();
        // SAFETY: C notes the pin in the call before it answers.
        let code = unsafe { c::bento_pin(self.raw(), no.0, &mut block) };
        self.take_block(code, block)
    }

    fn want(&self, no: BlockNo, how: Fetch) {
        self.with(|own| {
            let count = usize::try_from(*own.wanted_count).unwrap_or(usize::MAX);
            let is_there = own.wanted.iter().take(count).any(|want| want.no == no.0);
            if let Some(want) = own.wanted.get_mut(count).filter(|_| !is_there) {
                let how = match how {
                    Fetch::Read => c::FETCH_READ,
                    Fetch::Ahead => c::FETCH_AHEAD,
                    Fetch::Zeroed => c::FETCH_ZEROED,
                };
                *want = c::Want { no: no.0, how: u64::from(how) };
                *own.wanted_count += 1;
            }
        });
    }

    fn fresh(&self, no: BlockNo) -> Result<Pin, Errno> {
        let mut block = core::ptr::null_mut();
        // SAFETY: as for `pin`.
        let code = unsafe { c::bento_fresh(self.raw(), no.0, &mut block) };
        self.take_block(code, block)?.ok_or(Errno::Capacity)
    }

    fn block_no(&self, block: Pin) -> BlockNo {
        // SAFETY: the block is pinned, and its number does not change.
        BlockNo(unsafe { (*block.0).no })
    }

    fn is_verified(&self, block: Pin) -> bool {
        verified(&block).load(Ordering::Acquire) != 0
    }

    fn set_verified(&self, block: Pin) {
        verified(&block).store(1, Ordering::Release);
    }

    fn read<R>(&self, block: Pin, f: impl FnOnce(&Bytes) -> R) -> R {
        // SAFETY: the block is pinned; under its latch nobody writes to its page.
        let bytes = unsafe { bytes(c::bento_latch(self.raw(), block.0)) };
        reach(Place::Latch);
        let result = f(bytes);
        // SAFETY: latched above.
        unsafe { c::bento_unlatch(self.raw()) };
        result
    }

    fn undurable(&self, block: Pin) -> BatchSeq {
        // SAFETY: the block is pinned.
        BatchSeq(unsafe { c::bento_undurable(self.raw(), block.0) })
    }

    fn take_page(&self) -> Result<Page, Errno> {
        // SAFETY: C counts its pages.
        let index = unsafe { c::bento_take_page(self.raw()) };
        u32::try_from(index).map(Page).map_err(|_| errno(index))
    }

    fn copy(&self, from: Pin, to: Page) {
        // SAFETY: the block is pinned, the page was taken.
        unsafe { c::bento_copy(self.raw(), from.0, to.0) }
    }

    fn page<R>(&self, page: Page, f: impl FnOnce(&Bytes) -> R) -> R {
        // SAFETY: the page was taken, and belongs to this attempt alone.
        f(unsafe { bytes(c::bento_page(self.raw(), page.0)) })
    }

    fn page_mut<R>(&self, page: Page, f: impl FnOnce(&mut Bytes) -> R) -> R {
        // SAFETY: as above; the core does not look at a page while it changes it.
        f(unsafe { bytes_mut(c::bento_page(self.raw(), page.0)) })
    }

    fn lock(&self, ino: InodeNo, mode: Mode) -> Result<(), Errno> {
        // SAFETY: C notes the lock in the call.
        match unsafe { c::bento_lock(self.raw(), ino.0, mode == Mode::Exclusive) } {
            0 => {
                reach(Place::Lock);
                Ok(())
            }
            code => Err(errno(code)),
        }
    }

    fn try_lock(&self, ino: InodeNo, mode: Mode) -> Result<bool, Errno> {
        // SAFETY: as above.
        match unsafe { c::bento_try_lock(self.raw(), ino.0, mode == Mode::Exclusive) } {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(errno(code)),
        }
    }

    fn unlock_all(&self) {
        // SAFETY: C releases what the call notes.
        unsafe { c::bento_unlock_all(self.raw()) }
    }

    fn lock_rename(&self) {
        // SAFETY: C notes the lock in the call.
        unsafe { c::bento_lock_rename(self.raw()) }
    }

    fn tree_version(&self) -> u64 {
        // SAFETY: a number.
        unsafe { c::bento_tree_version(self.raw()) }
    }

    fn raise_tree_version(&self) {
        // SAFETY: a number.
        unsafe { c::bento_raise_tree_version(self.raw()) }
    }

    fn slot<R>(&self, ino: InodeNo, f: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        // SAFETY: none, or a slot that is locked until the end below.
        let slot = unsafe { c::bento_slot(self.raw(), ino.0).as_mut() }?;
        reach(Place::Slot);
        let result = f(slot);
        // SAFETY: locked above.
        unsafe { c::bento_slot_end(self.raw()) };
        Some(result)
    }

    fn with_group<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        self.in_group(group, false, |mut lent| f(busy(&mut lent)))
    }

    fn fill_group<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        self.in_group(group, true, |mut lent| f(busy(&mut lent)))
    }

    fn claim(
        &self,
        group: GroupNo,
        map: Map,
        reserve: u64,
        find: impl FnOnce(&mut Busy<'_>) -> Option<Run>,
    ) -> Result<Option<Run>, Errno> {
        self.in_group(group, false, |mut lent| {
            let Some(mut run) = find(&mut busy(&mut lent)) else { return Ok(None) };
            // SAFETY: the group is locked; C checks the run, takes it, and notes it.
            match unsafe { c::bento_claim(self.raw(), map as u32, reserve, run.start, &mut run.len) } {
                0 => Ok(None),
                1 => Ok(Some(run)),
                code => Err(errno(code)),
            }
        })?
    }

    fn note_claim(&self, claim: Claim) -> Result<(), Errno> {
        self.with(|own| {
            let at = usize::try_from(*own.claim_count).map_err(|_| Errno::Capacity)?;
            *own.claims.get_mut(at).ok_or(Errno::Capacity)? = claim;
            *own.claim_count += 1;
            Ok(())
        })
    }

    fn claim_at(&self, index: usize) -> Option<Claim> {
        self.with(|own| {
            let count = usize::try_from(*own.claim_count).ok()?;
            own.claims.get(..count)?.get(index).copied()
        })
    }

    fn unclaim(&self, group: GroupNo, map: Map, run: Run) {
        // SAFETY: numbers, which C checks.
        unsafe { c::bento_unclaim(self.raw(), group.0, map as u32, run.start, run.len) }
    }

    fn available(&self, map: Map) -> u64 {
        // SAFETY: a number.
        unsafe { c::bento_available(self.raw(), map as u32) }
    }

    fn has_pending_frees(&self) -> bool {
        // SAFETY: nothing is lent.
        unsafe { c::bento_has_pending_frees(self.raw()) }
    }

    fn add_placement(&self, placement: &Placement) -> Result<PlacementId, Errno> {
        // SAFETY: C copies it.
        let id = unsafe { c::bento_add_placement(self.raw(), placement) };
        u32::try_from(id).map(PlacementId).map_err(|_| errno(id))
    }

    fn placement(&self, id: PlacementId, to: &mut Placement) -> bool {
        // SAFETY: C fills it, or says no.
        unsafe { c::bento_placement(self.raw(), id.0, to) }
    }

    fn placement_in(&self, ino: InodeNo, range: Extent) -> Option<PlacementId> {
        // SAFETY: C only looks at the range.
        match unsafe { c::bento_placement_in(self.raw(), ino.0, &range) } {
            0 => None,
            id => Some(PlacementId(id)),
        }
    }

    fn end_placement(&self, id: PlacementId) {
        // SAFETY: a number, which C checks.
        unsafe { c::bento_end_placement(self.raw(), id.0) }
    }

    fn join(&self) -> BatchSeq {
        // SAFETY: C notes it in the call.
        let batch = BatchSeq(unsafe { c::bento_join(self.raw()) });
        reach(Place::Join);
        batch
    }

    fn merge(&self, block: Pin, f: impl FnOnce(&mut Bytes)) {
        // SAFETY: the block is pinned; under its exclusive latch its page is ours alone.
        f(unsafe { bytes_mut(c::bento_latch_merge(self.raw(), block.0)) });
        reach(Place::Merge);
        // SAFETY: latched above.
        unsafe { c::bento_unlatch(self.raw()) };
    }

    fn merge_page(&self, block: Pin, page: Page) {
        // SAFETY: the block is pinned, the page was taken.
        unsafe { c::bento_merge_page(self.raw(), block.0, page.0) }
    }

    fn free_after(&self, batch: BatchSeq, freed: Freed) {
        // SAFETY: C copies it.
        unsafe { c::bento_free_after(self.raw(), batch.0, &freed) }
    }

    fn add_totals(&self, change: Totals) {
        // SAFETY: C only looks at it.
        unsafe { c::bento_add_totals(self.raw(), &change) }
    }

    fn leave(&self) {
        // SAFETY: C forgets the claims and the join together.
        unsafe { c::bento_leave(self.raw()) }
    }

    fn with_journal<R>(&self, f: impl FnOnce(&mut [u8; JOURNAL_STATE]) -> R) -> R {
        // SAFETY: the journal's bytes, locked until the end below.
        let state = unsafe { &mut *c::bento_journal(self.raw()).cast::<[u8; JOURNAL_STATE]>() };
        reach(Place::Journal);
        let result = f(state);
        // SAFETY: locked above.
        unsafe { c::bento_journal_end(self.raw()) };
        result
    }

    fn tag_page<R>(&self, index: u32, f: impl FnOnce(&mut Bytes) -> R) -> R {
        // SAFETY: only the driver uses tag pages, and C gives out one that no write in flight shows.
        f(unsafe { bytes_mut(c::bento_tag_page(self.raw(), index)) })
    }

    fn io_list(&self) -> Requests {
        Requests(self.raw())
    }

    fn needs_flush(&self) -> bool {
        // SAFETY: nothing is lent.
        unsafe { c::bento_needs_flush(self.raw()) }
    }

    fn has_fua(&self) -> bool {
        false
    }

    fn seal(&self) -> Seal {
        let none = Totals { blocks: 0, inodes: 0, orphans: 0 };
        let mut sealed = c::SealedBatch { batch: 0, blocks: 0, totals: none };
        // SAFETY: C fills it with a batch.
        match unsafe { c::bento_seal(self.raw(), &mut sealed) } {
            c::SEAL_BATCH => {
                let blocks = u32::try_from(sealed.blocks).unwrap_or(u32::MAX);
                Seal::Batch(BatchSeq(sealed.batch), blocks, sealed.totals)
            }
            c::SEAL_EMPTY => Seal::Empty,
            c::SEAL_TOO_MANY => Seal::TooManyInFlight,
            _ => Seal::Poisoned,
        }
    }

    fn sealed<R>(&self, batch: BatchSeq, index: u32, f: impl FnOnce(BlockNo, &mut Bytes) -> R) -> Option<R> {
        let mut no = 0;
        // SAFETY: none, or a page under its block's exclusive latch.
        let page = unsafe { c::bento_sealed(self.raw(), batch.0, index, &mut no).cast::<Bytes>().as_mut() }?;
        let result = f(BlockNo(no), page);
        // SAFETY: latched above.
        unsafe { c::bento_unlatch(self.raw()) };
        Some(result)
    }

    fn write_sealed(&self, io: &mut Requests, batch: BatchSeq, index: u32, at: BlockNo, escape: bool) {
        // SAFETY: C takes references of its own.
        unsafe { c::bento_write_sealed(io.0, batch.0, index, at.0, escape) }
    }

    fn write_tag_page(&self, io: &mut Requests, index: u32, at: BlockNo) {
        // SAFETY: as above.
        unsafe { c::bento_write_tag_page(io.0, index, at.0) }
    }

    fn set_durable(&self, batch: BatchSeq) {
        // SAFETY: a number.
        unsafe { c::bento_set_durable(self.raw(), batch.0) }
    }

    fn write_homes(&self, io: &mut Requests, through: BatchSeq, at_most: u32) -> u32 {
        // SAFETY: C takes references of its own.
        unsafe { c::bento_write_homes(io.0, through.0, at_most) }
    }

    fn set_homed(&self, through: BatchSeq) {
        // SAFETY: a number.
        unsafe { c::bento_set_homed(self.raw(), through.0) }
    }

    fn release_log(&self, blocks: u32) {
        // SAFETY: a number.
        unsafe { c::bento_release_log(self.raw(), blocks) }
    }

    fn shut_down(&self) {
        // SAFETY: nothing is lent.
        unsafe { c::bento_shut_down(self.raw()) }
    }
}

impl KCall {
    /// Locks a group for as long as the closure takes; to fill it, with words.
    fn in_group<R>(&self, group: GroupNo, fill: bool, f: impl FnOnce(c::Lent) -> R) -> Result<R, Errno> {
        let mut lent = MaybeUninit::uninit();
        // SAFETY: C fills all of it if it answers 0, and notes the lock in the call.
        let lent = match unsafe { c::bento_group(self.raw(), group.0, fill, lent.as_mut_ptr()) } {
            0 => unsafe { lent.assume_init() },
            code => return Err(errno(code)),
        };
        reach(Place::Group);
        let result = f(lent);
        // SAFETY: locked above.
        unsafe { c::bento_group_end(self.raw()) };
        Ok(result)
    }
}

/// The parts of a locked group.
fn busy(lent: &mut c::Lent) -> Busy<'_> {
    // SAFETY: C lends four disjoint parts of one group until it is unlocked, which is after the borrow. A group without
    // words lends none.
    unsafe {
        let words = |at: *mut u64, count| match count {
            0 => &mut [][..],
            count => from_raw_parts_mut(at, count),
        };
        Busy {
            loaded: &mut *lent.loaded,
            inodes: words(lent.inodes, lent.inode_words),
            blocks: words(lent.blocks, lent.block_words),
            hint: &mut *lent.hints.cast::<[u32; 2]>(),
        }
    }
}
