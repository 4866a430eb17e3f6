//! A platform without containers: a clock, slots, and nothing else that this file system could call.
use bento_api::{
    BatchSeq, BlockNo, Busy, Bytes, Claim, Corruption, Errno, Extent, Fetch, Freed, GroupNo, InodeNo, IoList,
    Map, Mode, Placement, PlacementId, Platform, Run, Seal, Slot, Time, Totals,
};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

/// No requests.
pub(super) struct NoIo;

impl IoList for NoIo {
    fn fill(&mut self, _at: BlockNo, _build: impl FnOnce(&mut Bytes)) {
        unimplemented!("nothing is written")
    }

    fn flush(&mut self) {}
}

/// The platform. Every look at the clock is a second later.
#[derive(Default)]
pub(super) struct Clock {
    seconds: AtomicI64,
    pub(super) slots: Mutex<HashMap<InodeNo, Slot>>,
}

impl Platform for Clock {
    type Block = u64;
    type Page = u64;
    type IoList = NoIo;

    fn now(&self) -> Time {
        Time::new(self.seconds.fetch_add(1, Ordering::Relaxed), 0)
    }

    fn slot<R>(&self, ino: InodeNo, f: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.slots.lock().unwrap().get_mut(&ino).map(f)
    }

    fn io_list(&self) -> NoIo {
        NoIo
    }

    fn credits(&self) -> u32 {
        unimplemented!()
    }

    fn cursor(&self) -> [u64; bento_api::limits::CURSOR] {
        unimplemented!()
    }

    fn set_cursor(&self, _cursor: [u64; bento_api::limits::CURSOR]) {
        unimplemented!()
    }

    fn report(&self, _what: Corruption, _block: BlockNo, _ino: InodeNo) {
        unimplemented!()
    }

    fn pin(&self, _no: BlockNo) -> Result<Option<Self::Block>, Errno> {
        unimplemented!()
    }

    fn want(&self, _no: BlockNo, _how: Fetch) {
        unimplemented!()
    }

    fn fresh(&self, _no: BlockNo) -> Result<Self::Block, Errno> {
        unimplemented!()
    }

    fn block_no(&self, _block: Self::Block) -> BlockNo {
        unimplemented!()
    }

    fn is_verified(&self, _block: Self::Block) -> bool {
        unimplemented!()
    }

    fn set_verified(&self, _block: Self::Block) {
        unimplemented!()
    }

    fn read<R>(&self, _block: Self::Block, _f: impl FnOnce(&Bytes) -> R) -> R {
        unimplemented!()
    }

    fn undurable(&self, _block: Self::Block) -> BatchSeq {
        unimplemented!()
    }

    fn take_page(&self) -> Result<Self::Page, Errno> {
        unimplemented!()
    }

    fn copy(&self, _from: Self::Block, _to: Self::Page) {
        unimplemented!()
    }

    fn page<R>(&self, _page: Self::Page, _f: impl FnOnce(&Bytes) -> R) -> R {
        unimplemented!()
    }

    fn page_mut<R>(&self, _page: Self::Page, _f: impl FnOnce(&mut Bytes) -> R) -> R {
        unimplemented!()
    }

    fn lock(&self, _ino: InodeNo, _mode: Mode) -> Result<(), Errno> {
        unimplemented!()
    }

    fn try_lock(&self, _ino: InodeNo, _mode: Mode) -> Result<bool, Errno> {
        unimplemented!()
    }

    fn unlock_all(&self) {
        unimplemented!()
    }

    fn lock_rename(&self) {
        unimplemented!()
    }

    fn tree_version(&self) -> u64 {
        unimplemented!()
    }

    fn raise_tree_version(&self) {
        unimplemented!()
    }

    fn with_group<R>(&self, _group: GroupNo, _f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        unimplemented!()
    }

    fn fill_group<R>(&self, _group: GroupNo, _f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        unimplemented!()
    }

    fn claim(
        &self,
        _group: GroupNo,
        _map: Map,
        _reserve: u64,
        _find: impl FnOnce(&mut Busy<'_>) -> Option<Run>,
    ) -> Result<Option<Run>, Errno> {
        unimplemented!()
    }

    fn note_claim(&self, _claim: Claim) -> Result<(), Errno> {
        unimplemented!()
    }

    fn claim_at(&self, _index: usize) -> Option<Claim> {
        unimplemented!()
    }

    fn unclaim(&self, _group: GroupNo, _map: Map, _run: Run) {
        unimplemented!()
    }

    fn available(&self, _map: Map) -> u64 {
        unimplemented!()
    }

    fn has_pending_frees(&self) -> bool {
        unimplemented!()
    }

    fn add_placement(&self, _placement: &Placement) -> Result<PlacementId, Errno> {
        unimplemented!()
    }

    fn placement(&self, _id: PlacementId, _to: &mut Placement) -> bool {
        unimplemented!()
    }

    fn placement_in(&self, _ino: InodeNo, _range: Extent) -> Option<PlacementId> {
        unimplemented!()
    }

    fn end_placement(&self, _id: PlacementId) {
        unimplemented!()
    }

    fn join(&self) -> BatchSeq {
        unimplemented!()
    }

    fn merge(&self, _block: Self::Block, _f: impl FnOnce(&mut Bytes)) {
        unimplemented!()
    }

    fn merge_page(&self, _block: Self::Block, _page: Self::Page) {
        unimplemented!()
    }

    fn free_after(&self, _batch: BatchSeq, _freed: Freed) {
        unimplemented!()
    }

    fn add_totals(&self, _change: Totals) {
        unimplemented!()
    }

    fn leave(&self) {
        unimplemented!()
    }

    fn with_journal<R>(&self, _f: impl FnOnce(&mut [u8; bento_api::limits::JOURNAL_STATE]) -> R) -> R {
        unimplemented!()
    }

    fn tag_page<R>(&self, _index: u32, _f: impl FnOnce(&mut Bytes) -> R) -> R {
        unimplemented!()
    }

    fn needs_flush(&self) -> bool {
        unimplemented!()
    }

    fn has_fua(&self) -> bool {
        unimplemented!()
    }

    fn seal(&self) -> Seal {
        unimplemented!()
    }

    fn sealed<R>(
        &self,
        _batch: BatchSeq,
        _index: u32,
        _f: impl FnOnce(BlockNo, &mut Bytes) -> R,
    ) -> Option<R> {
        unimplemented!()
    }

    fn write_sealed(
        &self,
        _io: &mut Self::IoList,
        _batch: BatchSeq,
        _index: u32,
        _at: BlockNo,
        _escape: bool,
    ) {
        unimplemented!()
    }

    fn write_tag_page(&self, _io: &mut Self::IoList, _index: u32, _at: BlockNo) {
        unimplemented!()
    }

    fn set_durable(&self, _batch: BatchSeq) {
        unimplemented!()
    }

    fn write_homes(&self, _io: &mut Self::IoList, _through: BatchSeq, _at_most: u32) -> u32 {
        unimplemented!()
    }

    fn set_homed(&self, _through: BatchSeq) {
        unimplemented!()
    }

    fn release_log(&self, _blocks: u32) {
        unimplemented!()
    }

    fn shut_down(&self) {
        unimplemented!()
    }
}
