//! The containers: state that outlives a call, kept by the platform, which knows no format.
//!
//! **The platform of an entry is its call**, not its mount: whatever an attempt takes (pins, locks, latch, group,
//! claims, join, pages) is noted in the call before it is handed out, and the platform ends the attempt: after
//! a reply, an error or a wait it releases locks, gives back the claims that were not merged, and forgets private
//! pages. So nothing here needs a `Drop`, and a panic is ended like an error.
//!
//! Kept across attempts of one call: pins, log credits (given back for a wait), the time, the cursor.
//!
//! # Locking
//! rename -> inode (by number) -> batch join -> block latch -> group, which is a leaf. Latch and group are held
//! inside closures only.
use crate::limits::CURSOR;
use crate::{
    BatchSeq, BlockNo, Bytes, Corruption, Errno, Extent, GroupNo, InodeNo, Placement, PlacementId, Slot, Time,
};

/// How an inode is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Together with other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// How a wanted block comes into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Read from the device.
    Read,
    /// Not needed, but likely to be soon: read beside others if that costs little, and not pinned.
    Ahead,
    /// As zeros, without reading, unless it is cached: an inode-table block above the initialised mark.
    Zeroed,
}

/// Which of a group's bitmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Map {
    /// Inodes of the group.
    Inodes = 0,
    /// Blocks of the group, or orphan slots of [`GroupNo::ORPHANS`].
    Blocks = 1,
}

/// A run of bits of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Run {
    /// The first bit.
    pub start: u32,
    /// How many, at least 1.
    pub len: u32,
}

/// What a claim does to its bits when it is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Change {
    /// Set them; the busy bits are the attempt's, and go back if it ends without a merge.
    Take = 0,
    /// Set them; the busy bits belong to a placement, which outlives the attempt.
    TakePlaced = 1,
    /// Clear them: blocks that were never in the log. The busy bits stay until the batch is durable.
    FreeData = 2,
    /// Clear them: blocks that were in the log. The busy bits stay until the tail passed the batch.
    FreeMeta = 3,
    /// Raise the initialised mark of the group's inode table to `start + len`.
    Raise = 4,
}

/// A commutative change of allocation bits, noted in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Claim {
    /// Whose bits.
    pub group: GroupNo,
    /// Which bitmap.
    pub map: Map,
    /// Which bits.
    pub run: Run,
    /// What becomes of them.
    pub change: Change,
}

/// Bits that were freed by a merge and may not be used again yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Freed {
    /// Whose bits.
    pub group: GroupNo,
    /// Which bitmap.
    pub map: Map,
    /// Which bits.
    pub run: Run,
    /// The device block of the first bit; cached blocks of the run leave the cache when the bits come free.
    /// 0 if the bits are no blocks.
    pub block: BlockNo,
    /// Whether the blocks were in the log: then they wait for the tail, else for the batch.
    pub logged: bool,
}

/// A group's busy bitmaps, lent under the group's lock. A set bit is used on disk, claimed, placed, or freed and
/// not reusable yet.
pub struct Busy<'g> {
    /// Whether the bits were read from disk since mount.
    pub loaded: &'g mut bool,
    /// One bit an inode.
    pub inodes: &'g mut [u64],
    /// One bit a block.
    pub blocks: &'g mut [u64],
    /// Where the last search ended, a hint; one for each map.
    pub hint: &'g mut [u32; 2],
}

impl Busy<'_> {
    /// The words of one map.
    pub fn words(&mut self, map: Map) -> &mut [u64] {
        match map {
            Map::Inodes => self.inodes,
            Map::Blocks => self.blocks,
        }
    }
}

/// Free totals of the volume, as of some batch. They ride in batch headers, so that mount never counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Totals {
    /// Blocks that are free on disk.
    pub blocks: u64,
    /// Inodes that are free on disk.
    pub inodes: u64,
    /// Orphan slots in use.
    pub orphans: u64,
}

/// What sealing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// A batch with so many blocks, and the totals as of it.
    Batch(BatchSeq, u32, Totals),
    /// Nobody changed anything.
    Empty,
    /// Not before a batch in flight completed.
    TooManyInFlight,
    /// A panic after a join: this batch must never be written.
    Poisoned,
}

/// Device requests in order. A flush covers every write listed before it and every write that completed
/// before; the platform waits for those writes before it issues the flush, and for the flush before it goes on.
pub trait IoList {
    /// Writes a block that is built here and now, in a page of the list.
    fn fill(&mut self, at: BlockNo, build: impl FnOnce(&mut Bytes));
    /// A flush.
    fn flush(&mut self);
}

/// When the time of a change of a file's content is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentTimes {
    /// Publishing notes it: the write is under way.
    AtPublish,
    /// The host noted it in the slot when the write was made, which may be long ago.
    AtWrite,
}

/// The containers of a mount, as one call sees them.
pub trait Platform {
    /// Who notes the times of writes.
    const CONTENT_TIMES: ContentTimes = ContentTimes::AtPublish;
    /// A block that is pinned in this call.
    type Block: Copy + PartialEq;
    /// A reserve page that this attempt took.
    type Page: Copy;
    /// Requests for the device.
    type IoList: IoList;

    // The call.

    /// The operation's time, the same in every attempt.
    fn now(&self) -> Time;
    /// Log credits that this call holds.
    fn credits(&self) -> u32;
    /// A small state that survives a wait, in the file system's format; zeros at first.
    fn cursor(&self) -> [u64; CURSOR];
    /// Stores the cursor, and notes that the call made progress: its attempts are counted anew, and its pins are
    /// let go when this attempt ends, so that a long walk has room for more.
    fn set_cursor(&self, cursor: [u64; CURSOR]);
    /// Notes what is wrong on disk, where, and in whose structure, for the log and the error record.
    fn report(&self, what: Corruption, block: BlockNo, ino: InodeNo);

    // Cached blocks.

    /// Pins a block for the rest of the call; none if it is not cached. EOVERFLOW if the call has too many.
    fn pin(&self, no: BlockNo) -> Result<Option<Self::Block>, Errno>;
    /// Says that `no` is needed; the list is the answer to [`crate::Wait::Blocks`]. A full list is asked for in rounds.
    fn want(&self, no: BlockNo, how: Fetch);
    /// A new block, never read, invisible to others until [`Platform::merge_page`] fills it. The caller has
    /// claimed its bit.
    fn fresh(&self, no: BlockNo) -> Result<Self::Block, Errno>;
    /// Which block a pin is of.
    fn block_no(&self, block: Self::Block) -> BlockNo;
    /// Whether somebody checked the block's checksum since it was read.
    fn is_verified(&self, block: Self::Block) -> bool;
    /// The checksum is right.
    fn set_verified(&self, block: Self::Block);
    /// Reads a block under its latch.
    fn read<R>(&self, block: Self::Block, f: impl FnOnce(&Bytes) -> R) -> R;
    /// The newest batch that changed this block and is not durable; 0 if there is none.
    fn undurable(&self, block: Self::Block) -> BatchSeq;

    // Private pages.

    /// Takes a page of the call's reserve; EOVERFLOW if the operation outgrew it. Its content is undefined.
    fn take_page(&self) -> Result<Self::Page, Errno>;
    /// Copies a block into a page, under the latch.
    fn copy(&self, from: Self::Block, to: Self::Page);
    /// Looks at a page.
    fn page<R>(&self, page: Self::Page, f: impl FnOnce(&Bytes) -> R) -> R;
    /// Changes a page.
    fn page_mut<R>(&self, page: Self::Page, f: impl FnOnce(&mut Bytes) -> R) -> R;

    // Locks. All of a call's are released when its attempt ends.

    /// Locks an inode, waiting. The caller keeps the order of numbers.
    fn lock(&self, ino: InodeNo, mode: Mode) -> Result<(), Errno>;
    /// Locks an inode if nobody has to be waited for.
    fn try_lock(&self, ino: InodeNo, mode: Mode) -> Result<bool, Errno>;
    /// Releases every inode lock of this attempt, so that they can be taken again in order.
    fn unlock_all(&self);
    /// The lock of moves between directories; ranks before the inode locks.
    fn lock_rename(&self);
    /// How often directories were moved since mount; read and raised under the rename lock.
    fn tree_version(&self) -> u64;
    /// A directory is about to move.
    fn raise_tree_version(&self);

    // Inode slots.

    /// The slot of an inode; `None` if nobody uses the inode.
    fn slot<R>(&self, ino: InodeNo, f: impl FnOnce(&mut Slot) -> R) -> Option<R>;

    // Allocation.

    /// A group's busy bitmaps; without words, if nobody ever filled them: thousands can be looked at. EINVAL for a group
    /// that is not there.
    fn with_group<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno>;
    /// The same with words to fill, all ones at first: nothing can be claimed of what nobody knows. They may take a
    /// reserve page; EOVERFLOW if the call has none left.
    fn fill_group<R>(&self, group: GroupNo, f: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno>;
    /// Under the group's lock, lets `find` choose clear bits, sets them busy, and notes the claim (`Take`).
    /// The counters of what is available go down with it. Never takes the last `reserve` of the volume.
    fn claim(
        &self,
        group: GroupNo,
        map: Map,
        reserve: u64,
        find: impl FnOnce(&mut Busy<'_>) -> Option<Run>,
    ) -> Result<Option<Run>, Errno>;
    /// Notes a change whose busy bits are not this attempt's: any but `Take`.
    fn note_claim(&self, claim: Claim) -> Result<(), Errno>;
    /// The attempt's claims, in the order they were noted.
    fn claim_at(&self, index: usize) -> Option<Claim>;
    /// Clears busy bits of an abandoned placement.
    fn unclaim(&self, group: GroupNo, map: Map, run: Run);
    /// Bits that could be claimed now, in all.
    fn available(&self, map: Map) -> u64;
    /// Whether freed bits wait for a batch or for the tail: then waiting finds space.
    fn has_pending_frees(&self) -> bool;

    // Placements.

    /// Stores a placement, which takes over the attempt's `Take` claims. Can fail: the table is bounded (EAGAIN is
    /// not for here: EOVERFLOW).
    fn add_placement(&self, placement: &Placement) -> Result<PlacementId, Errno>;
    /// Copies an open placement out; whether there is one.
    fn placement(&self, id: PlacementId, to: &mut Placement) -> bool;
    /// The open placement of this inode with an extent in the range, if there is one: two placements of one
    /// inode never overlap.
    fn placement_in(&self, ino: InodeNo, range: Extent) -> Option<PlacementId>;
    /// Ends a placement; its busy bits are the merge's business, or [`Platform::unclaim`]'s.
    fn end_placement(&self, id: PlacementId);

    // The running batch. Nothing between `join` and `leave` can fail or sleep for I/O.

    /// Joins the running batch.
    fn join(&self) -> BatchSeq;
    /// Changes a block under its latch; what a sealed batch or a write in flight still shows is copied first. A
    /// block that the batch did not hold yet takes one of the call's credits.
    fn merge(&self, block: Self::Block, f: impl FnOnce(&mut Bytes));
    /// Replaces a block's whole content by a private page.
    fn merge_page(&self, block: Self::Block, page: Self::Page);
    /// Keeps freed bits busy for as long as they must be.
    fn free_after(&self, batch: BatchSeq, freed: Freed);
    /// Adds to the totals as of the running batch (two's complement: a decrease wraps).
    fn add_totals(&self, change: Totals);
    /// Forgets the claims, which are merged, and leaves the batch.
    fn leave(&self);

    // The journal. `drive` is called by one thread at a time.

    /// The journal's own state, in the file system's format.
    fn with_journal<R>(&self, f: impl FnOnce(&mut [u8; crate::limits::JOURNAL_STATE]) -> R) -> R;
    /// A page for tags of the batch that is being logged; kept until the batch is durable. Pages are numbered from 0.
    fn tag_page<R>(&self, index: u32, f: impl FnOnce(&mut Bytes) -> R) -> R;
    /// An empty list, from a reserve.
    fn io_list(&self) -> Self::IoList;
    /// Whether a write completed since the last flush was issued.
    fn needs_flush(&self) -> bool;
    /// Whether the device has FUA writes, and how often it is asked for: reserved, `false` for files.
    fn has_fua(&self) -> bool;
    /// Ends the running batch once its members left; O(1).
    fn seal(&self) -> Seal;
    /// One block of a sealed batch, under its latch: so that its checksum can be set and its copy checksummed.
    fn sealed<R>(&self, batch: BatchSeq, index: u32, f: impl FnOnce(BlockNo, &mut Bytes) -> R) -> Option<R>;
    /// Lists the write of a sealed block to a place in the log. `escape` replaces the first 8 bytes of the copy by zeros.
    fn write_sealed(&self, io: &mut Self::IoList, batch: BatchSeq, index: u32, at: BlockNo, escape: bool);
    /// Lists the write of a tag page.
    fn write_tag_page(&self, io: &mut Self::IoList, index: u32, at: BlockNo);
    /// A batch and all before it are durable: waiters wake, its data frees come free, its blocks wait for a checkpoint.
    fn set_durable(&self, batch: BatchSeq);
    /// Lists up to `at_most` home writes of the newest durable versions, in order of block number, of blocks whose
    /// oldest undone version is of a batch up to `through`. How many were listed; 0 when none are left.
    fn write_homes(&self, io: &mut Self::IoList, through: BatchSeq, at_most: u32) -> u32;
    /// The listed home writes are durable, and so is a tail behind `through`: frees of logged blocks come free.
    fn set_homed(&self, through: BatchSeq);
    /// Gives log blocks back to those who wait for credits.
    fn release_log(&self, blocks: u32);
    /// The log failed: later changes answer EIO, reads go on.
    fn shut_down(&self);
}
