//! Orphan slots: the inodes that a mount takes away, or cuts short, if the last one did not get to it.
//!
//! A slot is an object of 8 bytes that belongs to who claimed its bit; the bits are those of a group of their own,
//! [`GroupNo::ORPHANS`], filled from the blocks of the orphan file at first use. Bits past the end of the file are
//! clear: who claims one appends the block, from the reserve, so that unlink works on a full volume.
//!
//! # Locking
//! The orphan inode: shared while its map is followed, exclusive while it grows. Its number is lower than that of
//! every file, so its turn in the order has mostly passed: then it is tried, and the attempt comes again. The file
//! only grows, and a record is read whole: the place of a block that is not its newest needs no lock, as long as the
//! map is in the record.
//!
//! # Crash
//! Slot, count of orphans, and what made the inode an orphan change together.
use super::extents::{block_in, device_end};
use crate::bitmap::{Reserve, search};
use crate::format::block::HEADER;
use crate::format::geometry::ORPHANS;
use crate::format::num::{index32, narrow32};
use crate::format::orphan::{self, MAX_SLOTS, SLOTS, slot_place};
use crate::format::record::Extent;
use crate::format::{BlockKind, Corruption, Inode};
use crate::op::{Locked, Op, Touch};
use crate::variant::Variant;
use bento_api::{
    BLOCK_BYTES, BlockNo, Busy, Bytes, Change, Claim, Errno, FileBlock, GroupNo, InodeNo, Map, Platform, Run,
    Stop, Wait,
};

/// Blocks of slots that one attempt reads: then it lets go of them.
const READ_AT_ONCE: u32 = 32;
/// Blocks of slots that one wait fetches.
const FETCH_AT_ONCE: u64 = 8;
/// Blocks of slots, at most.
const MAX_BLOCKS: u32 = MAX_SLOTS.div_ceil(SLOTS);
/// Marks a cursor that holds how far a search for orphans came.
const SEARCH: u64 = 0x4f52_5048;

/// Where the loading of the busy bits stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Done,
    /// The bits of this block come next.
    Next(u32),
}

/// The pseudo-group has no inodes: the hint of that map says how many blocks were read.
fn progress(busy: &Busy<'_>) -> Load {
    if *busy.loaded { Load::Done } else { Load::Next(busy.hint.first().copied().unwrap_or(0)) }
}

fn set_bit(words: &mut [u64], bit: u32, value: bool) {
    if let Some(word) = words.get_mut(index32(bit / 64)) {
        let mask = 1 << (bit % 64);
        *word = if value { *word | mask } else { *word & !mask };
    }
}

/// Fills the bits of one block of slots, unless somebody was faster.
fn load_block(busy: Busy<'_>, at: u32, bytes: &Bytes) {
    if progress(&busy) != Load::Next(at) {
        return;
    }
    let first = at.saturating_mul(SLOTS);
    (0..SLOTS).for_each(|slot| set_bit(busy.blocks, first.saturating_add(slot), true));
    let mut from = 0;
    while let Some(free) = orphan::first_free(bytes, from) {
        set_bit(busy.blocks, first.saturating_add(free), false);
        from = free.saturating_add(1);
    }
    if let Some(done) = busy.hint.first_mut() {
        *done = at.saturating_add(1);
    }
}

/// Clears the bits of the slots that have no block yet.
fn finish(busy: Busy<'_>, at: u32) {
    if progress(&busy) != Load::Next(at) {
        return;
    }
    let first = at.saturating_mul(SLOTS);
    let bits = narrow32(busy.blocks.len()).saturating_mul(64);
    (first..bits).for_each(|slot| set_bit(busy.blocks, slot, slot >= MAX_SLOTS));
    *busy.loaded = true;
}

/// Blocks that the orphan file has.
fn blocks(inode: &Inode) -> u64 {
    (inode.size / BLOCK_BYTES).min(MAX_BLOCKS.into())
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Enters a locked inode into a slot, if it is in none. The caller writes the inode.
    pub(crate) fn orphan_add(&mut self, at: Locked, inode: &mut Inode) -> Result<(), Stop> {
        if inode.orphan.is_some() {
            return Ok(());
        }
        let (slot, no) = self.orphan_take(at.no())?;
        let (file, place) = slot_place(slot);
        match no {
            Some(no) => self.orphan_put(no, place, Some(at.no()))?,
            None => self.orphan_grow(file, place, at.no())?,
        }
        inode.orphan = Some(slot);
        Ok(())
    }

    /// The inode of the file that holds the slots. It has no user, so no slot has newer times.
    fn orphan_file(&self, to: &mut Inode) -> Result<(), Stop> {
        self.load_record(ORPHANS, to)?;
        if to.is_free() { Err(Errno::Stale.into()) } else { Ok(()) }
    }

    /// Claims a slot for an inode; also the block that it is in, if the file has that already.
    #[inline(never)] // an inode is large
    fn orphan_take(&mut self, ino: InodeNo) -> Result<(u32, Option<BlockNo>), Stop> {
        let mut inode = Inode::free(0);
        self.orphan_file(&mut inode)?;
        let end = blocks(&inode);
        let slot = match self.orphan_claim(ino, end)? {
            Some(slot) => slot,
            None => {
                self.orphan_load()?;
                self.orphan_claim(ino, end)?.ok_or_else(|| self.no_slot())?
            }
        };
        let (file, _) = slot_place(slot);
        let no = if file.0 < end { Some(self.orphan_block_of(&mut inode, file)?) } else { None };
        Ok((slot, no))
    }

    fn no_slot(&self) -> Stop {
        if self.platform().has_pending_frees() { Wait::Space.into() } else { Errno::NoSpace.into() }
    }

    /// Takes a locked inode out of its slot, if it is in one. The caller writes the inode.
    pub(crate) fn orphan_remove(&mut self, at: Locked, inode: &mut Inode) -> Result<(), Stop> {
        let Some(slot) = inode.orphan else { return Ok(()) };
        self.orphan_load()?;
        let (file, place) = slot_place(slot);
        let no = self.orphan_block(file)?;
        let geometry = self.volume.geometry;
        let named =
            self.view(no, BlockKind::Orphan, ORPHANS, |bytes| orphan::get(bytes, place, &geometry))?;
        if named != Ok(Some(at.no())) {
            return Err(self.corrupt(Corruption::OrphanSlot, no, at.no()));
        }
        self.orphan_put(no, place, None)?;
        let run = Run { start: slot, len: 1 };
        let claim = Claim { group: GroupNo::ORPHANS, map: Map::Blocks, run, change: Change::FreeData };
        self.platform().note_claim(claim)?;
        inode.orphan = None;
        Ok(())
    }

    /// Blocks of the file that holds the slots.
    #[inline(never)] // an inode is large, and for one number here
    fn orphan_blocks(&self) -> Result<u64, Stop> {
        let mut inode = Inode::free(0);
        self.orphan_file(&mut inode)?;
        Ok(blocks(&inode))
    }

    /// The first orphan in a slot at or after `from`, and the slot to go on with.
    pub(crate) fn orphan_first(&mut self, from: u64) -> Result<Option<(InodeNo, u64)>, Stop> {
        let platform = self.platform();
        let [kind, reached, ..] = platform.cursor();
        let from = if kind == SEARCH { from.max(reached) } else { from };
        let Ok(from) = u32::try_from(from) else { return Ok(None) };
        let geometry = self.volume.geometry;
        let (first, mut place) = slot_place(from);
        self.share_found(ORPHANS)?;
        let end = self.orphan_blocks()?;
        for file in first.0..end {
            let slot = file.saturating_mul(SLOTS.into());
            if file.saturating_sub(first.0) >= READ_AT_ONCE.into() {
                platform.set_cursor([SEARCH, slot, 0, 0, 0, 0, 0, 0]);
                return Err(Wait::Again.into());
            }
            let no = self.orphan_fetch(file, end)?;
            let found = self.view(no, BlockKind::Orphan, ORPHANS, |bytes| {
                let mut used = orphan::used(bytes, &geometry);
                used.find(|found| found.is_err() || matches!(found, Ok((at, _)) if *at >= place)).transpose()
            })?;
            if let Some((at, ino)) = found.map_err(|what| self.corrupt(what, no, ORPHANS))? {
                return Ok(Some((ino, slot.saturating_add(at.into()).saturating_add(1))));
            }
            place = 0;
        }
        Ok(None)
    }

    /// Fills the busy bits from the file, at first use since mount.
    fn orphan_load(&mut self) -> Result<(), Stop> {
        let platform = self.platform();
        for read in 0..=MAX_BLOCKS {
            let Load::Next(at) = platform.with_group(GroupNo::ORPHANS, |busy| progress(&busy))? else {
                return Ok(());
            };
            self.share_found(ORPHANS)?;
            let end = self.orphan_blocks()?;
            if u64::from(at) >= end {
                platform.fill_group(GroupNo::ORPHANS, |busy| finish(busy, at))?;
                continue;
            }
            if at > 0 {
                // What was read stays read: every wait gets on.
                platform.set_cursor(platform.cursor());
            }
            if read >= READ_AT_ONCE {
                return Err(Wait::Again.into());
            }
            let no = self.orphan_fetch(at.into(), end)?;
            self.view(no, BlockKind::Orphan, ORPHANS, |bytes| {
                platform.fill_group(GroupNo::ORPHANS, |busy| load_block(busy, at, bytes))
            })??;
        }
        Err(Errno::Capacity.into())
    }

    /// Claims a slot for an inode, in a file that has `end` blocks; none if all are taken, or not known yet. Each group
    /// has a block where its inodes begin to look, so that who takes files away in one directory changes another block
    /// than who does so in another. The file grows only when it is full.
    fn orphan_claim(&self, ino: InodeNo, end: u64) -> Result<Option<u32>, Stop> {
        let group = self.volume.geometry.inode_bit(ino).map_or(0, |(group, _)| u64::from(group.0));
        let slots =
            |blocks: u64| u32::try_from(blocks).unwrap_or(MAX_BLOCKS).saturating_mul(SLOTS).min(MAX_SLOTS);
        let (near, end) = (slots(group.checked_rem(end).unwrap_or(0)), slots(end));
        let find = |busy: &mut Busy<'_>| {
            let among = |from, to| search(busy.blocks, from, to, 1);
            if !*busy.loaded {
                return None;
            }
            among(near, end).or_else(|| among(0, near)).or_else(|| among(end, MAX_SLOTS))
        };
        let run = self.platform().claim(GroupNo::ORPHANS, Map::Blocks, 0, find)?;
        Ok(run.map(|run| run.start))
    }

    /// The device block of a block of slots, in the cache; who waits for it waits for some behind it too.
    fn orphan_fetch(&mut self, file: u64, end: u64) -> Result<BlockNo, Stop> {
        let no = self.orphan_block(FileBlock(file))?;
        if self.platform().pin(no)?.is_none() {
            for later in file..end.min(file.saturating_add(FETCH_AT_ONCE)) {
                let later = self.orphan_block(FileBlock(later))?;
                self.expect(later)?;
            }
        }
        Ok(no)
    }

    /// The device block of a block of slots.
    #[inline(never)]
    fn orphan_block(&mut self, file: FileBlock) -> Result<BlockNo, Stop> {
        let mut inode = Inode::free(0);
        self.orphan_file(&mut inode)?;
        self.orphan_block_of(&mut inode, file)
    }

    /// The same, for who has the file's inode; it is loaded anew if a lock had to be taken.
    fn orphan_block_of(&mut self, inode: &mut Inode, file: FileBlock) -> Result<BlockNo, Stop> {
        // Who appended a block showed it to all before another could be appended behind it.
        let is_shown = file.0.saturating_add(1) < blocks(inode);
        if inode.depth > 0 || !is_shown {
            self.share_found(ORPHANS)?;
            self.orphan_file(inode)?;
        }
        match self.extent_at(ORPHANS, inode, file)? {
            Some(extent) => Ok(block_in(&extent, file)),
            None => Err(self.corrupt(Corruption::OrphanSlot, BlockNo(0), ORPHANS)),
        }
    }

    fn orphan_put(&mut self, no: BlockNo, place: u32, ino: Option<InodeNo>) -> Result<(), Stop> {
        let block = self.meta(no, BlockKind::Orphan, ORPHANS.into())?;
        let offset = index32(place).saturating_mul(8).saturating_add(HEADER);
        let object = ino.map_or(0, |ino| ino.0).to_le_bytes();
        self.put(block, offset, &object)
    }

    /// Appends a block of slots for a slot that has none, and enters the inode there.
    fn orphan_grow(&mut self, file: FileBlock, place: u32, ino: InodeNo) -> Result<(), Stop> {
        let locked = self.lock_found(ORPHANS)?;
        let mut inode = Inode::free(0);
        self.orphan_file(&mut inode)?;
        let end = FileBlock(blocks(&inode));
        if file != end {
            // Somebody else appended this block meanwhile, or is about to append the one before it.
            return Err(Wait::Again.into());
        }
        let goal = match self.extent_before(ORPHANS, &inode, end)? {
            Some(extent) => device_end(&extent),
            None => self.home_of(ORPHANS),
        };
        let start = self.claim_meta(goal, Reserve::Use)?;
        let draft = self.fresh(start, BlockKind::Orphan, locked)?;
        if !self.draft_mut(draft, |bytes| orphan::set(bytes, place, Some(ino)))? {
            return Err(Errno::Capacity.into());
        }
        self.extent_insert(locked, &mut inode, Extent { file, start, len: 1, unwritten: false })?;
        inode.size = inode.size.saturating_add(BLOCK_BYTES);
        self.put_inode(locked, &mut inode, Touch::Data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::start;
    use bento_api::BLOCK;

    const WORDS: usize = (MAX_SLOTS / 64) as usize;

    struct Group {
        loaded: bool,
        words: [u64; WORDS],
        hint: [u32; 2],
    }

    impl Group {
        fn new() -> Self {
            Self { loaded: false, words: [u64::MAX; WORDS], hint: [0; 2] }
        }

        fn busy(&mut self) -> Busy<'_> {
            Busy { loaded: &mut self.loaded, inodes: &mut [], blocks: &mut self.words, hint: &mut self.hint }
        }

        fn is_set(&self, bit: u32) -> bool {
            self.words[index32(bit / 64)] >> (bit % 64) & 1 == 1
        }
    }

    #[test]
    fn busy_bits_are_the_used_slots_and_slots_without_a_block_are_free() {
        let mut bytes = [0; BLOCK];
        start(&mut bytes, BlockKind::Orphan, BlockNo(9), ORPHANS.into());
        for at in [0, 5, 507] {
            assert!(orphan::set(&mut bytes, at, Some(InodeNo(77))));
        }
        let mut group = Group::new();
        load_block(group.busy(), 0, &bytes);
        load_block(group.busy(), 1, &bytes);
        assert_eq!(progress(&group.busy()), Load::Next(2));
        finish(group.busy(), 2);
        assert_eq!(progress(&group.busy()), Load::Done);
        let used = [0, 5, 507, 508, 513, 1015];
        assert!((0..MAX_SLOTS).all(|slot| group.is_set(slot) == used.contains(&slot)));
    }

    #[test]
    fn a_loader_that_was_overtaken_changes_nothing() {
        let mut bytes = [0; BLOCK];
        start(&mut bytes, BlockKind::Orphan, BlockNo(9), ORPHANS.into());
        let mut group = Group::new();
        load_block(group.busy(), 0, &bytes);
        finish(group.busy(), 1);
        set_bit(&mut group.words, 3, true);
        load_block(group.busy(), 0, &bytes);
        finish(group.busy(), 1);
        assert!(group.is_set(3) && !group.is_set(4));
    }
}
