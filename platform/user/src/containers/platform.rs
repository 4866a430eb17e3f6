//! The containers as an entry sees them.
use super::blocks::Cached;
use super::call::{Page, Pin};
use super::{Due, Report, UserCall, UserIoList};
use bento_api::limits::{CURSOR, JOURNAL_STATE};
use bento_api::{
    BatchSeq, BlockNo, Busy, Bytes, Change, Claim, Corruption, Errno, Extent, Fetch, Freed, GroupNo, InodeNo,
    Map, Mode, Placement, PlacementId, Platform, Run, Seal, Slot, Time, Totals,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl UserCall {
    fn cached(&self, pin: Pin) -> &Arc<Cached> {
        &self.pins.get(pin).cached
    }

    /// Makes a block part of the running batch, under its latch.
    fn enter_batch(&self, cached: &Arc<Cached>, versions: &mut super::blocks::Versions) {
        if versions.enter(self.batch()) {
            self.spend_credit();
            self.containers.batches.add(cached.clone());
        }
    }
}

impl Platform for UserCall {
    type Block = Pin;
    type Page = Page;
    type IoList = UserIoList;

    fn now(&self) -> Time {
        self.time()
    }

    fn credits(&self) -> u32 {
        self.credits.get()
    }

    fn cursor(&self) -> [u64; CURSOR] {
        self.cursor.get()
    }

    fn set_cursor(&self, cursor: [u64; CURSOR]) {
        self.cursor.set(cursor);
        self.progressed.set(true);
    }

    fn report(&self, what: Corruption, block: BlockNo, ino: InodeNo) {
        self.containers.report(Report { what, block, ino });
    }

    #[inline]
    fn pin(&self, no: BlockNo) -> Result<Option<Pin>, Errno> {
        if let Some(pin) = self.pins.find(no) {
            return Ok(Some(pin));
        }
        self.cached_block(no).map(|cached| self.pins.push(cached, false)).transpose()
    }

    fn want(&self, no: BlockNo, how: Fetch) {
        let mut wanted = self.wanted.borrow_mut();
        if !wanted.is_full() && !wanted.iter().any(|(other, _)| *other == no) {
            wanted.push((no, how));
        }
    }

    fn fresh(&self, no: BlockNo) -> Result<Pin, Errno> {
        self.pins.push(self.containers.blocks.blank(no), true)
    }

    fn block_no(&self, block: Pin) -> BlockNo {
        self.cached(block).no()
    }

    fn is_verified(&self, block: Pin) -> bool {
        self.cached(block).is_verified()
    }

    fn set_verified(&self, block: Pin) {
        self.cached(block).set_verified();
    }

    #[inline]
    fn read<R>(&self, block: Pin, f: impl FnOnce(&Bytes) -> R) -> R {
        f(&self.cached(block).latch.read().page)
    }

    fn undurable(&self, block: Pin) -> BatchSeq {
        let tag = self.cached(block).latch.read().tag();
        if tag > self.containers.durable() { tag } else { BatchSeq(0) }
    }

    fn take_page(&self) -> Result<Page, Errno> {
        self.next_page()
    }

    fn copy(&self, from: Pin, to: Page) {
        let mut to = self.page_at(to).borrow_mut();
        Arc::make_mut(&mut to).copy_from_slice(&*self.cached(from).latch.read().page);
    }

    fn page<R>(&self, page: Page, f: impl FnOnce(&Bytes) -> R) -> R {
        f(&self.page_at(page).borrow())
    }

    fn page_mut<R>(&self, page: Page, f: impl FnOnce(&mut Bytes) -> R) -> R {
        f(Arc::make_mut(&mut self.page_at(page).borrow_mut()))
    }

    fn lock(&self, ino: InodeNo, mode: Mode) -> Result<(), Errno> {
        if self.holds(ino, mode) {
            return Ok(());
        }
        if !self.has_room_for_a_lock() {
            return Err(Errno::Capacity);
        }
        self.note_lock(ino, self.containers.inodes.lock(ino, mode))
    }

    fn try_lock(&self, ino: InodeNo, mode: Mode) -> Result<bool, Errno> {
        if self.holds(ino, mode) {
            return Ok(true);
        }
        if !self.has_room_for_a_lock() {
            return Err(Errno::Capacity);
        }
        match self.containers.inodes.try_lock(ino, mode) {
            Some(guard) => self.note_lock(ino, guard).map(|()| true),
            None => Ok(false),
        }
    }

    fn unlock_all(&self) {
        self.release_locks();
    }

    fn lock_rename(&self) {
        self.take_rename();
    }

    fn tree_version(&self) -> u64 {
        self.containers.tree_version.load(SeqCst)
    }

    fn raise_tree_version(&self) {
        self.containers.tree_version.fetch_add(1, SeqCst);
    }

    fn slot<R>(&self, ino: InodeNo, f: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.containers.slots.with(ino, f)
    }

    fn with_group<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        self.containers.groups.with(group, f)
    }

    fn fill_group<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        self.containers.groups.fill(group, f)
    }

    fn claim(
        &self,
        group: GroupNo,
        map: Map,
        reserve: u64,
        find: impl FnOnce(&mut Busy<'_>) -> Option<Run>,
    ) -> Result<Option<Run>, Errno> {
        if self.claims.borrow().is_full() {
            return Err(Errno::Capacity);
        }
        let Some(run) = self.containers.groups.claim(group, map, reserve, find)? else { return Ok(None) };
        self.note_claim(Claim { group, map, run, change: Change::Take })?;
        Ok(Some(run))
    }

    fn note_claim(&self, claim: Claim) -> Result<(), Errno> {
        self.note_claim(claim)
    }

    fn claim_at(&self, index: usize) -> Option<Claim> {
        self.claims.borrow().get(index).copied()
    }

    fn unclaim(&self, group: GroupNo, map: Map, run: Run) {
        self.unclaim(group, map, run);
    }

    fn available(&self, map: Map) -> u64 {
        self.containers.available(map)
    }

    fn has_pending_frees(&self) -> bool {
        self.containers.has_pending_frees()
    }

    fn add_placement(&self, placement: &Placement) -> Result<PlacementId, Errno> {
        let id = self.containers.placements.add(placement)?;
        self.claims.borrow_mut().retain(|claim| claim.change != Change::Take);
        Ok(id)
    }

    fn placement(&self, id: PlacementId, to: &mut Placement) -> bool {
        self.containers.placements.get(id, to)
    }

    fn placement_in(&self, ino: InodeNo, range: Extent) -> Option<PlacementId> {
        self.containers.placements.overlapping(ino, range)
    }

    fn end_placement(&self, id: PlacementId) {
        self.containers.placements.end(id);
    }

    fn join(&self) -> BatchSeq {
        let batch = self.containers.join(self.lane);
        self.set_joined(Some(batch));
        batch
    }

    fn merge(&self, block: Pin, f: impl FnOnce(&mut Bytes)) {
        let cached = self.cached(block);
        let mut versions = cached.latch.write();
        self.enter_batch(cached, &mut versions);
        f(versions.page_mut(|| self.spare_page()));
    }

    fn merge_page(&self, block: Pin, page: Page) {
        let pinned = self.pins.get(block);
        let mut versions = pinned.cached.latch.write();
        self.enter_batch(&pinned.cached, &mut versions);
        // The page that was shown becomes the attempt's; if somebody still shows it, no attempt will write to it.
        std::mem::swap(&mut versions.page, &mut *self.page_at(page).borrow_mut());
        drop(versions);
        if pinned.unseen.take() {
            self.containers.blocks.publish(&pinned.cached);
        }
    }

    fn free_after(&self, batch: BatchSeq, freed: Freed) {
        self.containers.frees.add(self.lane, batch, freed);
    }

    fn add_totals(&self, change: Totals) {
        self.containers.batches.add_totals(self.lane, change);
    }

    fn leave(&self) {
        self.claims.borrow_mut().clear();
        self.set_joined(None);
        self.containers.leave(self.lane);
    }

    fn with_journal<R>(&self, f: impl FnOnce(&mut [u8; JOURNAL_STATE]) -> R) -> R {
        f(&mut self.containers.journal.lock())
    }

    fn tag_page<R>(&self, index: u32, f: impl FnOnce(&mut Bytes) -> R) -> R {
        let mut pages = self.containers.tag_pages.lock();
        let index = index as usize;
        while pages.len() <= index {
            pages.push(self.containers.pages.take());
        }
        // A page that is on its way to the log is copied: whoever writes it keeps the old one.
        f(Arc::make_mut(&mut pages[index]))
    }

    fn io_list(&self) -> UserIoList {
        let mut list = self.lists.borrow_mut().pop().unwrap_or_default();
        list.stock(&self.containers.pages);
        list
    }

    fn needs_flush(&self) -> bool {
        self.containers.medium.needs_flush()
    }

    fn has_fua(&self) -> bool {
        false
    }

    fn seal(&self) -> Seal {
        let seal = self.containers.batches.seal();
        if let Seal::Batch(_, blocks, _) = seal {
            self.containers.credits.sealed(blocks);
        }
        seal
    }

    fn sealed<R>(&self, batch: BatchSeq, index: u32, f: impl FnOnce(BlockNo, &mut Bytes) -> R) -> Option<R> {
        let block = self.containers.batches.block(batch, index)?;
        let mut versions = block.latch.write();
        versions.of(batch).map(|page| f(block.no(), Arc::make_mut(page)))
    }

    fn write_sealed(&self, io: &mut UserIoList, batch: BatchSeq, index: u32, at: BlockNo, escape: bool) {
        let Some(block) = self.containers.batches.block(batch, index) else { return };
        let Some(mut page) = block.latch.write().of(batch).cloned() else { return };
        if escape {
            Arc::make_mut(&mut page)[..8].fill(0);
        }
        io.write(at, page);
    }

    fn write_tag_page(&self, io: &mut UserIoList, index: u32, at: BlockNo) {
        if let Some(page) = self.containers.tag_pages.lock().get(index as usize) {
            io.write(at, page.clone());
        }
    }

    fn set_durable(&self, batch: BatchSeq) {
        self.containers.batches.set_durable(batch);
        self.containers.due.lock().push_back(Due::Durable(batch));
        self.containers.completed();
    }

    fn write_homes(&self, io: &mut UserIoList, through: BatchSeq, at_most: u32) -> u32 {
        self.containers.list_homes(io, through, at_most)
    }

    fn set_homed(&self, through: BatchSeq) {
        self.containers.due.lock().push_back(Due::Homed(through));
    }

    fn release_log(&self, blocks: u32) {
        self.containers.credits.release_log(blocks);
        self.containers.completed();
    }

    fn shut_down(&self) {
        self.containers.shut_down();
    }
}
