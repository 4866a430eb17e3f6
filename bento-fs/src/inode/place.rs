//! Placements: blocks chosen in memory for data that is on its way, which become the file's when the data is there.
//!
//! # Locking
//! The inode's lock, exclusive: two that choose for one hole must see each other's choice.
//!
//! # Crash
//! A placement is nowhere on disk. Publishing is one transaction, and the commit flushes the data before it.
use super::data::{MAX_BLOCK, ceil, regular, start_of};
use super::extents::{Written, block_in};
use crate::bitmap::Reserve;
use crate::format::Inode;
use crate::format::record;
use crate::op::{Locked, Op, Touch, attr};
use crate::variant::{Fault, Variant};
use bento_api::limits::{GROUPS_TOUCHED, PLACEMENT_EXTENTS};
use bento_api::platform::ContentTimes;
use bento_api::{
    Attr, BlockNo, Committed, Errno, Extent, FileBlock, InodeNo, Map, Placement, PlacementId, Platform, Run,
    Stop, Wait,
};
use core::ops::Range;

/// Groups that one placement touches: each is a block of the transaction that publishes it.
const MOST_GROUPS: usize = GROUPS_TOUCHED as usize;

fn run_of(range: &Range<FileBlock>) -> Extent {
    let blocks = u32::try_from(range.end.0.saturating_sub(range.start.0)).unwrap_or(u32::MAX);
    Extent { file: range.start, block: BlockNo(0), blocks, unused: 0 }
}

/// The file block behind a piece of a placement.
fn end_of(extent: &Extent) -> FileBlock {
    FileBlock(extent.file.0.saturating_add(extent.blocks.into()))
}

/// Appends a run to a placement, to its last extent if it lies right behind it; false if there is no room.
fn append(to: &mut Placement, block: BlockNo, blocks: u32) -> bool {
    let used = usize::try_from(to.count).unwrap_or(usize::MAX);
    let file = FileBlock(to.file.0.saturating_add(to.blocks.into()));
    let last = used.checked_sub(1).and_then(|last| to.extents.get_mut(last));
    match last {
        Some(last) if last.block.0.saturating_add(last.blocks.into()) == block.0 => {
            last.blocks = last.blocks.saturating_add(blocks);
        }
        _ => {
            let Some(place) = to.extents.get_mut(used) else { return false };
            *place = Extent { file, block, blocks, unused: 0 };
            to.count = to.count.saturating_add(1);
        }
    }
    to.blocks = to.blocks.saturating_add(blocks);
    true
}

/// What publishing needs of a placement, besides its extents.
#[derive(Clone, Copy)]
struct Head {
    ino: InodeNo,
    generation: u32,
    count: usize,
    end: FileBlock,
    unwritten: bool,
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// An open placement of this inode in a range.
    pub(super) fn open_placement(&self, ino: InodeNo, range: Range<FileBlock>) -> Option<PlacementId> {
        self.platform().placement_in(ino, run_of(&range))
    }

    /// Chooses device blocks for a hole, or the unwritten ones that are there. EBUSY if there is data: the host
    /// looks again. EBUSY too if something past the end has to be looked after first.
    pub(crate) fn place_range(
        mut self,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
        to: &mut Placement,
    ) -> Result<PlacementId, Stop> {
        if self.volume.read_only {
            return Err(Errno::ReadOnly.into());
        }
        let end = file.0.checked_add(blocks).filter(|end| *end <= MAX_BLOCK).ok_or(Errno::FileTooBig)?;
        if blocks == 0 {
            return Err(Errno::Invalid.into());
        }
        let at = self.lock(ino)?;
        let mut inode = Inode::free(0);
        self.load(ino, &mut inode)?;
        regular(&inode)?;
        self.may_grow(ino, &inode)?;
        let most = file.0.saturating_add(u32::MAX.into());
        let range = self.free_of_placements(ino, file..FileBlock(end.min(most)), to)?;
        to.count = 0;
        to.blocks = 0;
        (to.ino, to.generation, to.file) = (ino, inode.generation, file);
        match self.extent_from(ino, &inode, file)? {
            Some(extent) if extent.file <= file && !extent.unwritten => return Err(Errno::Busy.into()),
            Some(extent) if extent.file <= file => {
                to.unwritten = 1;
                let blocks = run_of(&(file..range.end.min(extent.end()))).blocks;
                append(to, block_in(&extent, file), blocks);
            }
            behind => {
                to.unwritten = 0;
                let end = behind.map_or(range.end, |extent| extent.file.min(range.end));
                self.choose(at, &inode, file..end, to)?;
            }
        }
        Ok(self.platform().add_placement(to)?)
    }

    /// The part of a range before the first open placement: two of one inode never overlap. `scratch` is written to.
    fn free_of_placements(
        &self,
        ino: InodeNo,
        range: Range<FileBlock>,
        scratch: &mut Placement,
    ) -> Result<Range<FileBlock>, Stop> {
        let mut range = range;
        for _ in 0..PLACEMENT_EXTENTS {
            let Some(other) = self.open_placement(ino, range.clone()) else { return Ok(range) };
            if !self.platform().placement(other, scratch) {
                continue; // it has just ended
            }
            if scratch.file <= range.start {
                return Err(Wait::Again.into());
            }
            range.end = range.end.min(scratch.file);
        }
        Err(Wait::Again.into())
    }

    /// Claims blocks for a hole: all, or as many as there are in a few pieces.
    fn choose(
        &mut self,
        at: Locked,
        inode: &Inode,
        hole: Range<FileBlock>,
        to: &mut Placement,
    ) -> Result<(), Stop> {
        let mut goal = self.goal_for(at.no(), inode, hole.start)?;
        let mut left = run_of(&hole).blocks;
        while left > 0 && self.call.groups.len() < MOST_GROUPS {
            if to.count >= u32::try_from(PLACEMENT_EXTENTS).unwrap_or(0) {
                break;
            }
            let (start, len) = match self.claim_run(goal, left, Reserve::Keep) {
                Ok(run) => run,
                Err(_) if to.count > 0 => break,
                Err(stop) => return Err(stop),
            };
            if !append(to, start, len) {
                return Err(Errno::Capacity.into());
            }
            left = left.saturating_sub(len);
            goal = BlockNo(start.0.saturating_add(len.into()));
        }
        Ok(())
    }

    /// Copies an open placement into the call.
    fn fetch_placement(&mut self, id: PlacementId) -> Result<Head, Errno> {
        let to = self.call.placement.insert(Placement::empty());
        if !self.call.platform.placement(id, to) {
            return Err(Errno::Invalid);
        }
        Ok(Head {
            ino: to.ino,
            generation: to.generation,
            count: to.extents().len(),
            end: FileBlock(to.file.0.saturating_add(to.blocks.into())),
            unwritten: to.unwritten != 0,
        })
    }

    fn placed(&self, at: usize) -> Option<Extent> {
        self.call.placement.as_ref().and_then(|placement| placement.extents().get(at).copied())
    }

    /// Makes placed data part of its file.
    ///
    /// # Crash
    /// Bitmap, extents, size and times in one transaction.
    pub(crate) fn publish_placement(mut self, id: PlacementId, size: u64) -> Result<Committed<Attr>, Stop> {
        let head = self.fetch_placement(id)?;
        let at = self.lock(head.ino)?;
        let mut inode = Inode::free(0);
        self.load(head.ino, &mut inode)?;
        if inode.generation != head.generation {
            return Err(Errno::Stale.into());
        }
        let reached = self.clamp_size(head.ino, &inode, start_of(head.end).min(size));
        if V::FAULT == Fault::SizeBeforeData && reached > inode.size {
            return Err(self.publish_size_alone(at, inode, reached));
        }
        // What lies past the end of the file as the host knows it is not part of the file any more.
        let end = ceil(size);
        for index in 0..head.count {
            let Some(extent) = self.placed(index) else { break };
            let keep = extent.file..end_of(&extent).min(end);
            if head.unwritten {
                self.publish_unwritten(at, &mut inode, &extent, keep)?;
            } else {
                self.publish_new(at, &mut inode, &extent, keep)?;
            }
        }
        inode.size = inode.size.max(reached);
        if P::CONTENT_TIMES == ContentTimes::AtPublish {
            inode.mtime = self.now();
            inode.ctime = self.now();
        }
        self.put_inode(at, &mut inode, Touch::Data)?;
        let attr = attr(head.ino, &inode);
        self.commit_placement(id, end, attr)
    }

    /// Maps a piece of a placement whose blocks were nobody's.
    fn publish_new(
        &mut self,
        at: Locked,
        inode: &mut Inode,
        extent: &Extent,
        keep: Range<FileBlock>,
    ) -> Result<(), Stop> {
        if keep.start >= keep.end {
            return Ok(());
        }
        let len = run_of(&keep).blocks;
        self.take_placed(extent.block, len)?;
        let placed = record::Extent { file: keep.start, start: extent.block, len, unwritten: false };
        self.extent_insert(at, inode, placed)
    }

    /// Lets blocks that were reserved read as the data that was put there. What is not there any more, or is not
    /// unwritten, was changed by somebody after it was placed.
    fn publish_unwritten(
        &mut self,
        at: Locked,
        inode: &mut Inode,
        extent: &Extent,
        keep: Range<FileBlock>,
    ) -> Result<(), Stop> {
        let mut next = keep.start;
        while next < keep.end {
            let Some(there) = self.extent_from(at.no(), inode, next)?.filter(|there| there.file < keep.end)
            else {
                return Ok(());
            };
            let piece = next.max(there.file)..keep.end.min(there.end());
            next = piece.end;
            let offset = piece.start.0.saturating_sub(extent.file.0);
            if there.unwritten && block_in(&there, piece.start).0 == extent.block.0.saturating_add(offset) {
                self.extent_convert(at, inode, piece, Written::Yes)?;
            }
        }
        Ok(())
    }

    /// The seeded fault: the size moves in a transaction of its own, before the data is mapped.
    fn publish_size_alone(mut self, at: Locked, mut inode: Inode, size: u64) -> Stop {
        inode.size = size;
        match self.put_inode(at, &mut inode, Touch::Data).and_then(|()| self.commit(())) {
            Ok(committed) => Wait::Batch(committed.batch).into(),
            Err(stop) => stop,
        }
    }

    /// Gives a placement back.
    pub(crate) fn abandon_placement(mut self, id: PlacementId) -> Result<(), Stop> {
        self.fetch_placement(id)?;
        self.platform().end_placement(id);
        if let Some(placement) = &self.call.placement {
            self.unclaim_placed(placement, FileBlock(0));
        }
        Ok(())
    }

    /// Frees the blocks of a placement that lie at or past `end` in the file.
    pub(crate) fn unclaim_placed(&self, placement: &Placement, end: FileBlock) {
        if placement.unwritten != 0 {
            return;
        }
        for extent in placement.extents() {
            let kept = end.0.saturating_sub(extent.file.0).min(extent.blocks.into());
            let len = extent.blocks.saturating_sub(u32::try_from(kept).unwrap_or(u32::MAX));
            let first = BlockNo(extent.block.0.saturating_add(kept));
            if let (1.., Some((group, start))) = (len, self.volume.geometry.block_group(first)) {
                self.platform().unclaim(group, Map::Blocks, Run { start, len });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_touch_become_one_extent_and_a_full_placement_takes_no_more() {
        let mut placement = Placement { file: FileBlock(7), ..Placement::empty() };
        assert!(append(&mut placement, BlockNo(100), 3) && append(&mut placement, BlockNo(103), 2));
        assert_eq!(
            placement.extents(),
            [Extent { file: FileBlock(7), block: BlockNo(100), blocks: 5, unused: 0 }]
        );
        for at in 1..PLACEMENT_EXTENTS {
            assert!(append(&mut placement, BlockNo(1000 * u64::try_from(at).unwrap()), 1));
        }
        assert!(!append(&mut placement, BlockNo(7), 1));
        assert_eq!(placement.blocks, 5 + 63);
        assert_eq!(end_of(&placement.extents()[63]), FileBlock(7 + 68));
    }
}
