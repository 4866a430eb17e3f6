//! Where a file's data is, where its holes are, and how long it is.
//!
//! # Locking
//! The inode's lock. Hosts hold the data lock above it: shared from [`Op::map_range`] or a placement to the end of the
//! I/O, exclusive around all that frees blocks or moves the size.
//!
//! # Crash
//! Every step is a transaction that leaves a legal file. A truncate that is not done keeps an orphan slot.
use super::extents::{Held, Written, block_in, device_end};
use crate::bitmap::Reserve;
use crate::format::Inode;
use crate::format::inode::MAX_SIZE;
use crate::format::record::Extent;
use crate::op::{Locked, Op, Touch};
use crate::variant::{Fault, Variant};
use bento_api::{
    Allocate, BLOCK_BYTES, BlockNo, Committed, Errno, FileBlock, FileKind, InodeNo, MapKind, Mapping,
    Platform, Seek, Stop, TAIL_CUT, TAIL_KNOWN, TAIL_UNKNOWN, Wait,
};
use core::ops::Range;

/// The first block that no file can have.
pub(super) const MAX_BLOCK: u64 = (MAX_SIZE >> 12) + 1;
/// Extents that one step of fallocate makes or converts, at most.
const STEP_PIECES: usize = 32;
/// Extents that one attempt of a seek, or of a look past the end, passes.
const LOOK_PIECES: usize = 64;
/// Marks a cursor that holds how far a seek came.
const SEEK: u64 = 0x5345_454b;
/// Marks a cursor that holds how far a look at what lies past the end came.
const TAIL: u64 = 0x5441_494c;

/// The block that holds a byte.
fn floor(byte: u64) -> FileBlock {
    FileBlock(byte / BLOCK_BYTES)
}

/// The first block that begins at or after a byte.
pub(super) fn ceil(byte: u64) -> FileBlock {
    FileBlock(byte.div_ceil(BLOCK_BYTES))
}

/// The byte at which a block begins.
pub(super) fn start_of(block: FileBlock) -> u64 {
    block.0.saturating_mul(BLOCK_BYTES)
}

/// Only regular files have data.
pub(super) fn regular(inode: &Inode) -> Result<(), Errno> {
    match inode.kind() {
        Some(FileKind::Regular) => Ok(()),
        Some(FileKind::Directory) => Err(Errno::IsDirectory),
        _ => Err(Errno::Invalid),
    }
}

/// Whether a truncate of a named file is not done: until it is, nothing may come to lie past the end, since the freeing
/// does not tell old from new.
fn is_being_cut(inode: &Inode) -> bool {
    inode.nlink > 0 && inode.orphan.is_some()
}

/// What lies past the end of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// What this mount put there, reserved space, or nothing.
    Known,
    /// Data that an earlier mount put there too, for a size that it did not come to write.
    Leftovers,
    /// What a truncate has not freed yet.
    Cut,
}

/// The piece of a file at a block.
enum Piece {
    /// A hole that ends before this block.
    Hole(FileBlock),
    /// A part of this extent.
    Mapped(Extent),
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    fn piece_at(&self, ino: InodeNo, inode: &Inode, at: FileBlock) -> Result<Piece, Stop> {
        Ok(match self.extent_from(ino, inode, at)? {
            Some(extent) if extent.file <= at => Piece::Mapped(extent),
            Some(extent) => Piece::Hole(extent.file),
            None => Piece::Hole(FileBlock(MAX_BLOCK)),
        })
    }

    /// The longest uniform piece at the start of a range.
    pub(crate) fn map_range(
        &self,
        ino: InodeNo,
        inode: &Inode,
        file: FileBlock,
        blocks: u64,
    ) -> Result<Mapping, Stop> {
        regular(inode)?;
        let end = file.0.checked_add(blocks).filter(|end| *end <= MAX_BLOCK).ok_or(Errno::FileTooBig)?;
        if blocks == 0 {
            return Err(Errno::Invalid.into());
        }
        let (kind, until) = match self.piece_at(ino, inode, file)? {
            Piece::Hole(until) => (MapKind::Hole, until),
            Piece::Mapped(extent) => self.mapped_piece(ino, inode, file, &extent)?,
        };
        Ok(Mapping { file, blocks: until.0.min(end).saturating_sub(file.0), kind })
    }

    /// How a block of an extent maps, and until where: what is not this mount's past the end reads as what it is to become.
    fn mapped_piece(
        &self,
        ino: InodeNo,
        inode: &Inode,
        file: FileBlock,
        extent: &Extent,
    ) -> Result<(MapKind, FileBlock), Stop> {
        let (block, end, until) = (block_in(extent, file), ceil(inode.size), extent.end());
        let kind = if extent.unwritten { MapKind::Unwritten(block) } else { MapKind::Data(block) };
        if until <= end {
            return Ok((kind, until));
        }
        Ok(match self.tail(ino, inode)? {
            Tail::Known => (kind, until),
            _ if file < end => (kind, end),
            Tail::Leftovers => (MapKind::Unwritten(block), until),
            Tail::Cut => (MapKind::Hole, until),
        })
    }

    /// The next data, or the next hole, at or after a byte. Reserved blocks that were never written are a hole, and so
    /// is the end of the file. ENXIO.
    pub(crate) fn seek_range(&self, ino: InodeNo, inode: &Inode, from: u64, what: Seek) -> Result<u64, Stop> {
        regular(inode)?;
        let size = inode.size;
        if from >= size {
            return Err(Errno::NoSuchAddress.into());
        }
        let [kind, reached, ..] = self.platform().cursor();
        let mut at = if kind == SEEK { FileBlock(reached) } else { floor(from) };
        for _ in 0..LOOK_PIECES {
            if start_of(at) >= size {
                return match what {
                    Seek::Hole => Ok(size),
                    Seek::Data => Err(Errno::NoSuchAddress.into()),
                };
            }
            let (found, until) = match self.piece_at(ino, inode, at)? {
                Piece::Hole(until) => (Seek::Hole, until),
                Piece::Mapped(extent) if extent.unwritten => (Seek::Hole, extent.end()),
                Piece::Mapped(extent) => (Seek::Data, extent.end()),
            };
            if found == what {
                return Ok(start_of(at).max(from));
            }
            at = until;
        }
        self.platform().set_cursor([SEEK, at.0, 0, 0, 0, 0, 0, 0]);
        Err(Wait::Again.into())
    }

    /// What lies past the end of a regular file. Looks once; then the slot knows it.
    fn tail(&self, ino: InodeNo, inode: &Inode) -> Result<Tail, Stop> {
        if is_being_cut(inode) {
            return Ok(Tail::Cut);
        }
        let tail = match self.platform().slot(ino, |slot| slot.tail).unwrap_or(TAIL_UNKNOWN) {
            TAIL_KNOWN => return Ok(Tail::Known),
            TAIL_CUT if self.extent_from(ino, inode, ceil(inode.size))?.is_some() => Tail::Cut,
            TAIL_CUT => Tail::Known,
            _ if self.data_past_end(ino, inode)?.is_some() => Tail::Leftovers,
            _ => Tail::Known,
        };
        if tail == Tail::Known {
            self.platform().slot(ino, |slot| slot.tail = TAIL_KNOWN);
        }
        Ok(tail)
    }

    /// The first data past the end.
    fn data_past_end(&self, ino: InodeNo, inode: &Inode) -> Result<Option<Range<FileBlock>>, Stop> {
        let [kind, reached, size, ..] = self.platform().cursor();
        let mut next = ceil(inode.size);
        if kind == TAIL && size == inode.size {
            next = next.max(FileBlock(reached));
        }
        for _ in 0..LOOK_PIECES {
            match self.extent_from(ino, inode, next)? {
                Some(extent) if extent.unwritten => next = extent.end(),
                Some(extent) => return Ok(Some(extent.file.max(next)..extent.end())),
                None => return Ok(None),
            }
        }
        self.platform().set_cursor([TAIL, next.0, inode.size, 0, 0, 0, 0, 0]);
        Err(Wait::Again.into())
    }

    /// EBUSY if something past the end would become part of the file: [`Op::settle_tail_step`] comes first.
    pub(super) fn may_grow(&self, ino: InodeNo, inode: &Inode) -> Result<(), Stop> {
        match self.tail(ino, inode)? {
            Tail::Known => Ok(()),
            Tail::Leftovers | Tail::Cut => Err(Errno::Busy.into()),
        }
    }

    /// One bounded step of making what lies past the end such that the file may grow; `None` if it is, else whether there
    /// is more.
    ///
    /// # Crash
    /// As [`Op::trim_past_end_step`]; and any part of what an earlier mount left is reserved space.
    pub(crate) fn settle_tail_step(&mut self, at: Locked, inode: &mut Inode) -> Result<Option<bool>, Stop> {
        if inode.kind() != Some(FileKind::Regular) {
            return Ok(None);
        }
        match self.tail(at.no(), inode)? {
            Tail::Known => Ok(None),
            Tail::Leftovers => self.reserve_leftovers_step(at, inode).map(Some),
            Tail::Cut => self.trim_past_end_step(at, inode).map(Some),
        }
    }

    /// Lets an extent of data past the end read as zeros; whether there may be more. Its blocks stay the file's: some of them
    /// had been reserved. One in a step: what an error undoes on a full disk is that one alone.
    fn reserve_leftovers_step(&mut self, at: Locked, inode: &mut Inode) -> Result<bool, Stop> {
        let Some(piece) = self.data_past_end(at.no(), inode)? else { return Ok(false) };
        self.extent_convert(at, inode, piece, Written::No)?;
        Ok(true)
    }

    /// How far the size may be raised now: not past bytes whose zeroing is under way.
    pub(super) fn clamp_size(&self, ino: InodeNo, inode: &Inode, size: u64) -> u64 {
        if V::FAULT == Fault::SizeBeforeData {
            return size;
        }
        let zero_from = self.platform().slot(ino, |slot| slot.zero_from).unwrap_or(u64::MAX);
        size.min(zero_from.max(inode.size))
    }

    /// Sets a file's size. Whether blocks past the end are left: then the inode is in an orphan slot, and
    /// [`Op::trim_past_end_step`] goes on. EFBIG.
    ///
    /// # Crash
    /// The old size or the new one; what is left past the end is freed by recovery.
    pub(crate) fn set_size(&mut self, at: Locked, inode: &mut Inode, size: u64) -> Result<bool, Stop> {
        if size > MAX_SIZE {
            return Err(Errno::FileTooBig.into());
        }
        if size > inode.size {
            self.may_grow(at.no(), inode)?;
            inode.size = self.clamp_size(at.no(), inode, size);
            return Ok(false);
        }
        inode.size = size;
        self.trim_past_end_step(at, inode)
    }

    /// One bounded step of freeing what lies past the end; whether there is more.
    ///
    /// # Crash
    /// While there is more an orphan slot says so.
    pub(crate) fn trim_past_end_step(&mut self, at: Locked, inode: &mut Inode) -> Result<bool, Stop> {
        let more = match inode.kind() {
            Some(FileKind::Regular) => self.free_from(at, inode, ceil(inode.size))?,
            _ => false,
        };
        if more {
            self.platform().slot(at.no(), |slot| slot.tail = TAIL_CUT);
            self.orphan_add(at, inode)?;
        } else if inode.nlink > 0 {
            self.orphan_remove(at, inode)?;
        }
        Ok(more)
    }

    /// One step of fallocate; answers the byte to go on with, or the end of the range. EOPNOTSUPP, ENODEV, EFBIG.
    ///
    /// # Crash
    /// Any number of steps happened. The size grows in the last.
    pub(crate) fn fallocate_step(
        mut self,
        ino: InodeNo,
        how: Allocate,
        range: Range<u64>,
    ) -> Result<Committed<u64>, Stop> {
        if range.start >= range.end {
            return Err(Errno::Invalid.into());
        }
        if range.end > MAX_SIZE {
            return Err(Errno::FileTooBig.into());
        }
        let at = self.lock(ino)?;
        let mut inode = Inode::free(0);
        self.load(ino, &mut inode)?;
        match inode.kind() {
            Some(FileKind::Regular) => {}
            Some(FileKind::Directory) => return Err(Errno::IsDirectory.into()),
            _ => return Err(Errno::NoDevice.into()),
        }
        self.may_grow(ino, &inode)?;
        let next = match how {
            Allocate::Punch => self.punch(at, &mut inode, &range)?,
            Allocate::Reserve | Allocate::ReserveKeepSize => {
                self.reserve_range(at, &mut inode, &range, None)?
            }
            Allocate::Zero | Allocate::ZeroKeepSize => {
                let whole = ceil(range.start)..floor(range.end);
                self.reserve_range(at, &mut inode, &range, Some(whole))?
            }
            Allocate::Collapse | Allocate::Insert => return Err(Errno::NotSupported.into()),
        };
        let next = start_of(next).min(range.end);
        if next == range.end && matches!(how, Allocate::Reserve | Allocate::Zero) && range.end > inode.size {
            inode.size = self.clamp_size(ino, &inode, range.end);
        }
        inode.mtime = self.now();
        inode.ctime = self.now();
        self.put_inode(at, &mut inode, Touch::Data)?;
        self.commit(next)
    }

    /// Frees the whole blocks of a range, a bounded number; where to go on.
    fn punch(&mut self, at: Locked, inode: &mut Inode, range: &Range<u64>) -> Result<FileBlock, Stop> {
        let whole = ceil(range.start)..floor(range.end);
        let end = FileBlock(ceil(range.end).0.saturating_add(1));
        if whole.start >= whole.end {
            return Ok(end);
        }
        if self.open_placement(at.no(), whole.clone()).is_some() {
            return Err(Wait::Again.into());
        }
        Ok(self.extent_remove(at, inode, whole, Held::Data)?.unwrap_or(end))
    }

    /// Reserves blocks for the holes of a range, and lets data in `zeroed` read as zeros; where to go on.
    fn reserve_range(
        &mut self,
        at: Locked,
        inode: &mut Inode,
        range: &Range<u64>,
        zeroed: Option<Range<FileBlock>>,
    ) -> Result<FileBlock, Stop> {
        let (start, end) = (floor(range.start), ceil(range.end));
        let mut next = start;
        let mut pieces = 0;
        while next < end {
            if next > start && (pieces >= STEP_PIECES || self.step_is_full(inode)) {
                break;
            }
            let until = match self.piece_at(at.no(), inode, next)? {
                Piece::Hole(until) => {
                    let run = match self.claim_hole(at, inode, next..until.min(end)) {
                        Ok(run) => run,
                        // What was reserved stays; the next step hears of it first.
                        Err(Stop::Wait(Wait::Space) | Stop::Error(Errno::NoSpace)) if next > start => break,
                        Err(stop) => return Err(stop),
                    };
                    // From here on an error ends the attempt: what is claimed and not mapped must not be committed.
                    self.extent_insert(at, inode, run)?;
                    run.end()
                }
                Piece::Mapped(extent) if extent.unwritten => extent.end(),
                Piece::Mapped(extent) => {
                    self.zero_piece(at, inode, (next, extent.end().min(end)), zeroed.as_ref())?
                }
            };
            // Pieces that stay as they are count too: a step must end while the gate waits for it.
            pieces += 1;
            next = until;
        }
        Ok(next)
    }

    /// Lets the part of a data extent that is to be zeroed read as zeros; where that part ends.
    fn zero_piece(
        &mut self,
        at: Locked,
        inode: &mut Inode,
        (next, until): (FileBlock, FileBlock),
        zeroed: Option<&Range<FileBlock>>,
    ) -> Result<FileBlock, Stop> {
        let Some(zeroed) = zeroed else { return Ok(until) };
        let piece = next.max(zeroed.start)..until.min(zeroed.end);
        if piece.start >= piece.end {
            return Ok(until);
        }
        if self.open_placement(at.no(), piece.clone()).is_some() {
            return Err(Wait::Again.into());
        }
        let end = piece.end;
        self.extent_convert(at, inode, piece, Written::No)?;
        Ok(end)
    }

    /// Claims a run of blocks for the start of a hole, and changes nothing else.
    fn claim_hole(&mut self, at: Locked, inode: &Inode, hole: Range<FileBlock>) -> Result<Extent, Stop> {
        if self.open_placement(at.no(), hole.clone()).is_some() {
            return Err(Wait::Again.into());
        }
        let want = u32::try_from(hole.end.0.saturating_sub(hole.start.0)).unwrap_or(u32::MAX);
        let goal = self.goal_for(at.no(), inode, hole.start)?;
        let (start, len) = self.claim_run(goal, want, Reserve::Keep)?;
        Ok(Extent { file: hole.start, start, len, unwritten: true })
    }

    /// Where blocks for a hole should lie: behind the extent before it, else in the inode's group, where the last search
    /// there ended.
    pub(super) fn goal_for(&self, ino: InodeNo, inode: &Inode, file: FileBlock) -> Result<BlockNo, Stop> {
        if let Some(before) = self.extent_before(ino, inode, file)? {
            return Ok(device_end(&before));
        }
        let geometry = &self.volume.geometry;
        let group = geometry.inode_bit(ino).and_then(|(group, _)| geometry.group_start(group));
        Ok(group.unwrap_or(geometry.groups_start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_size_ends_in_the_last_block() {
        assert_eq!(ceil(MAX_SIZE), FileBlock(MAX_BLOCK));
        assert_eq!(floor(MAX_SIZE - 1), FileBlock(MAX_BLOCK - 1));
        assert_eq!(start_of(ceil(4097)), 8192);
    }
}
