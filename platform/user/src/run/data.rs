//! The data path of hosts that have no VFS above them: place, write, publish.
//!
//! Data goes straight to the device; the file system only says where. A write to blocks that the file has goes
//! there in place; one to a hole goes to blocks that are chosen in memory, and becomes part of the file in one
//! transaction behind the data.
//!
//! Bytes past the end of a file are undefined on disk, so whoever raises the size zeroes from the old one, before
//! the transaction that raises it: the flush before that transaction's record covers the zeros too.
//!
//! # Locking
//! An inode's data lock stands for what a VFS has: reads, and overwrites of blocks that are there, hold it shared from
//! `map` to the end of their I/O, so that no block is freed under them. Whatever changes which blocks there are, or the
//! size, holds it exclusive.
//!
//! # Crash
//! A write that fills a hole or grows the file happens whole or not, block run by block run; an overwrite in place may
//! be torn at sectors.
use super::Mount;
use crate::containers::UserCall;
use bento_api::{
    Allocate, Attr, BLOCK, BLOCK_BYTES, BlockNo, Errno, Extent, FileBlock, InodeNo, MapKind, Mapping, Mode,
    OpKind, Placement, PlacementId, Platform, Seek, SetAttr,
};
use std::io::IoSlice;
use std::ops::Range;

static ZEROS: [u8; 32 * BLOCK] = [0; 32 * BLOCK];

/// Whether a write drops the set-user-id and set-group-id bits, as one by the unprivileged does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// They stay.
    Keep,
    /// They go.
    Kill,
}

/// Whether a look at an inode also notes that its content changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    Nothing,
    Content,
}

/// What a look found.
struct Looked {
    attr: Attr,
    piece: Option<Piece>,
    /// Whether the change was noted.
    touched: bool,
}

/// Notes in the slot that the content changes now; whether there is a slot. `attr` was read in this attempt, and the
/// inode's lock, which that took, is held to its end: nothing changed in between.
fn touch_slot(call: &UserCall, attr: &Attr) -> bool {
    let now = call.now();
    let noted = call.slot(attr.ino, |slot| {
        if slot.times_dirty == 0 {
            (slot.atime, slot.version, slot.times_dirty) = (attr.atime, attr.version, 1);
        }
        (slot.mtime, slot.ctime) = (now, now);
        slot.version = slot.version.wrapping_add(1);
    });
    noted.is_some()
}

/// What became of a write that holds the lock shared.
enum Overwritten {
    Whole,
    /// It is no mere overwrite: the lock is needed exclusive.
    NeedsMore,
}

/// A piece of a file that maps uniformly, cut to a range of bytes.
struct Piece {
    bytes: Range<u64>,
    kind: MapKind,
    /// Where the mapping starts, in the file.
    start: u64,
}

impl Piece {
    /// What a mapping says of the start of a range.
    fn of(mapping: Mapping, range: &Range<u64>) -> Result<Self, Errno> {
        let Mapping { file, blocks, kind } = mapping;
        let start = file.0.saturating_mul(BLOCK_BYTES);
        let end = end_of(file, blocks).min(range.end);
        if start > range.start || end <= range.start {
            log::error!("map answered {file} and {blocks} blocks for the bytes {range:?}");
            return Err(Errno::Io);
        }
        Ok(Self { bytes: range.start..end, kind, start })
    }

    /// Where on the device the piece lies, in bytes.
    fn device_offset(&self, block: BlockNo) -> Result<u64, Errno> {
        let start = block.0.checked_mul(BLOCK_BYTES).ok_or(Errno::Io)?;
        start.checked_add(self.bytes.start - self.start).ok_or(Errno::Io)
    }

    fn len(&self) -> usize {
        (self.bytes.end - self.bytes.start) as usize
    }
}

/// The blocks that a range of bytes touches.
fn blocks_of(range: &Range<u64>) -> (FileBlock, u64) {
    let first = range.start / BLOCK_BYTES;
    (FileBlock(first), range.end.div_ceil(BLOCK_BYTES) - first)
}

/// The end of a range of blocks, in bytes.
fn end_of(file: FileBlock, blocks: u64) -> u64 {
    file.0.saturating_add(blocks).saturating_mul(BLOCK_BYTES)
}

/// The part of `data`, which lies at `at` in its file, that falls into a range of the file.
fn part(data: &[u8], at: u64, range: Range<u64>) -> &[u8] {
    let clamp = |end: u64| usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(data.len());
    &data[clamp(range.start)..clamp(range.end)]
}

impl Mount {
    fn attr(&self, call: &mut UserCall, ino: InodeNo) -> Result<Attr, Errno> {
        self.run(call, OpKind::Read, |fs, call| fs.getattr(call, ino))
    }

    /// What lies at the start of a range of bytes.
    fn piece(&self, call: &mut UserCall, ino: InodeNo, range: &Range<u64>) -> Result<Piece, Errno> {
        let (file, blocks) = blocks_of(range);
        let mapping = self.run(call, OpKind::Read, |fs, call| fs.map(call, ino, file, blocks))?;
        Piece::of(mapping, range)
    }

    /// The attributes, and what lies at the start of the part of a range that `cut` leaves of it, in one attempt.
    fn look(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        touch: Touch,
        cut: impl Fn(&Attr) -> Range<u64>,
    ) -> Result<Looked, Errno> {
        let (attr, mapping, touched) = self.run(call, OpKind::Read, |fs, call| {
            let attr = fs.getattr(call, ino)?;
            let range = cut(&attr);
            if range.is_empty() {
                return Ok((attr, None, false));
            }
            let (file, blocks) = blocks_of(&range);
            let mapping = fs.map(call, ino, file, blocks)?;
            let touched = touch == Touch::Content && touch_slot(call.platform, &attr);
            Ok((attr, Some(mapping), touched))
        })?;
        let piece = mapping.map(|mapping| Piece::of(mapping, &cut(&attr))).transpose()?;
        Ok(Looked { attr, piece, touched })
    }

    /// Reads bytes; fewer than asked for only at the end of the file.
    pub fn read(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        offset: u64,
        to: &mut [u8],
    ) -> Result<usize, Errno> {
        let _shared = self.containers.lock_data(ino, Mode::Shared);
        let wanted = offset.saturating_add(to.len() as u64);
        let Looked { attr, mut piece, .. } =
            self.look(call, ino, Touch::Nothing, |attr| offset..wanted.min(attr.size))?;
        let end = wanted.min(attr.size);
        let mut at = offset;
        while at < end {
            let piece = match piece.take() {
                Some(first) => first,
                None => self.piece(call, ino, &(at..end))?,
            };
            let from = (at - offset) as usize;
            let now = &mut to[from..from + piece.len()];
            match piece.kind {
                MapKind::Data(block) => self.containers.medium().read(piece.device_offset(block)?, now)?,
                MapKind::Hole | MapKind::Unwritten(_) => now.fill(0),
            }
            at = piece.bytes.end;
        }
        Ok(end.saturating_sub(offset) as usize)
    }

    /// Writes bytes; fewer than asked for only if an error met the rest.
    pub fn write(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
        privileges: Privileges,
    ) -> Result<usize, Errno> {
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::FileTooBig);
        }
        if data.is_empty() {
            return Ok(0);
        }
        self.check_alive(true)?;
        if privileges == Privileges::Kill {
            self.kill_privileges(call, ino)?;
        }
        if !call.grew(ino) {
            let _shared = self.containers.lock_data(ino, Mode::Shared);
            if let Overwritten::Whole = self.overwrite(call, ino, offset, data)? {
                return Ok(data.len());
            }
        }
        let _alone = self.containers.lock_data(ino, Mode::Exclusive);
        match self.write_alone(call, ino, offset, data) {
            // Something past the end has to be looked after first.
            Err(Errno::Busy) => {
                self.trim(call, ino)?;
                self.write_alone(call, ino, offset, data)
            }
            other => other,
        }
    }

    /// Looks after what lies past the end of a file and must not show; the data lock is held exclusive.
    fn trim(&self, call: &mut UserCall, ino: InodeNo) -> Result<(), Errno> {
        while self.run(call, OpKind::SetAttr, |fs, call| fs.trim_past_end(call, ino))?.value {}
        Ok(())
    }

    /// Writes in place, if every block is there.
    fn overwrite(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
    ) -> Result<Overwritten, Errno> {
        let end = offset + data.len() as u64;
        // The time of change is noted with the first look, which spares a look behind the write.
        let Looked { attr, mut piece, touched } =
            self.look(call, ino, Touch::Content, |attr| if end <= attr.size { offset..end } else { 0..0 })?;
        if end > attr.size {
            return Ok(Overwritten::NeedsMore);
        }
        let mut at = offset;
        while at < end {
            let piece = match piece.take() {
                Some(first) => first,
                None => self.piece(call, ino, &(at..end))?,
            };
            let MapKind::Data(block) = piece.kind else { return Ok(Overwritten::NeedsMore) };
            let now = part(data, offset, piece.bytes.clone());
            self.containers.medium().write(piece.device_offset(block)?, &[IoSlice::new(now)])?;
            at = piece.bytes.end;
        }
        if !touched {
            self.touch(call, ino)?;
        }
        Ok(Overwritten::Whole)
    }

    /// Writes whatever has to be written; the data lock is held exclusive.
    fn write_alone(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Errno> {
        let end = offset + data.len() as u64;
        let Looked { attr, mut piece, .. } = self.look(call, ino, Touch::Nothing, |_| offset..end)?;
        let mut size = attr.size;
        call.set_grew(if end > size { ino } else { InodeNo(0) });
        if offset > size {
            self.zero(call, ino, size..offset)?;
        }
        let (mut at, mut result, mut in_place) = (offset, Ok(()), false);
        while at < end {
            let step = match piece.take() {
                Some(first) => Ok(first),
                None => self.piece(call, ino, &(at..end)),
            };
            let step =
                step.and_then(|piece| self.write_piece(call, ino, &piece, part(data, offset, at..end), size));
            match step {
                Ok(Step::InPlace(to)) => (at, in_place) = (to, true),
                Ok(Step::Published(to, attr)) => (at, size) = (to, attr.size.max(size)),
                Err(errno) => {
                    result = Err(errno);
                    break;
                }
            }
        }
        if at > size {
            let set = SetAttr { size: Some(at), mtime: Some(bento_api::SetTime::Now), ..SetAttr::default() };
            let _attr = self.run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set))?.value;
        } else if in_place {
            self.touch(call, ino)?;
        }
        match result {
            // What was done so far will be done again.
            Err(errno) if at == offset || errno == Errno::Busy => Err(errno),
            _ => Ok((at - offset) as usize),
        }
    }

    /// Writes the start of `data`, which begins where the piece does.
    fn write_piece(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        piece: &Piece,
        data: &[u8],
        size: u64,
    ) -> Result<Step, Errno> {
        let at = piece.bytes.start;
        if let MapKind::Data(block) = piece.kind {
            let now = part(data, at, piece.bytes.clone());
            self.containers.medium().write(piece.device_offset(block)?, &[IoSlice::new(now)])?;
            return Ok(Step::InPlace(piece.bytes.end));
        }
        let first = FileBlock(piece.bytes.start / BLOCK_BYTES);
        let blocks = piece.bytes.end.div_ceil(BLOCK_BYTES) - first.0;
        let mut placement = Placement::empty();
        let id =
            self.run(call, OpKind::Place, |fs, call| fs.place(call, ino, first, blocks, &mut placement))?;
        let covered = end_of(placement.file, placement.blocks.into()).min(piece.bytes.end);
        let published = self.write_placed(&placement, at, data).and_then(|()| {
            let size = size.max(covered);
            self.run(call, OpKind::Publish, |fs, call| fs.publish(call, id, size))
        });
        match published {
            Ok(attr) if covered > at => Ok(Step::Published(covered, attr.value)),
            Ok(_) => Err(Errno::Io),
            Err(errno) => {
                self.abandon(call, id);
                Err(errno)
            }
        }
    }

    fn abandon(&self, call: &mut UserCall, id: PlacementId) {
        if let Err(errno) = self.run(call, OpKind::Place, |fs, call| fs.abandon(call, id)) {
            log::warn!("a placement could not be given back: {errno:?}");
        }
    }

    /// Fills placed blocks: with `data`, which lies at `at`, and with zeros around it.
    fn write_placed(&self, placement: &Placement, at: u64, data: &[u8]) -> Result<(), Errno> {
        for Extent { file, block, blocks, .. } in placement.extents() {
            let (start, end) = (file.0 * BLOCK_BYTES, end_of(*file, u64::from(*blocks)));
            let now = part(data, at, start..end);
            let before = at.clamp(start, end) - start;
            let after = end - start - before - now.len() as u64;
            self.write_between_zeros(block.0 * BLOCK_BYTES, before, now, after)?;
        }
        Ok(())
    }

    fn write_between_zeros(&self, offset: u64, before: u64, data: &[u8], after: u64) -> Result<(), Errno> {
        let few = |bytes: u64| usize::try_from(bytes).ok().and_then(|bytes| ZEROS.get(..bytes));
        if let (Some(head), Some(tail)) = (few(before), few(after)) {
            let slices = [IoSlice::new(head), IoSlice::new(data), IoSlice::new(tail)];
            let used: &[IoSlice<'_>] = match (head.is_empty(), tail.is_empty()) {
                (true, true) => &slices[1..2],
                (true, false) => &slices[1..],
                (false, _) => &slices,
            };
            return self.containers.medium().write(offset, used);
        }
        self.write_zeros(offset, before)?;
        self.containers.medium().write(offset + before, &[IoSlice::new(data)])?;
        self.write_zeros(offset + before + data.len() as u64, after)
    }

    fn write_zeros(&self, mut offset: u64, mut bytes: u64) -> Result<(), Errno> {
        while bytes > 0 {
            let now = bytes.min(ZEROS.len() as u64);
            self.containers.medium().write(offset, &[IoSlice::new(&ZEROS[..now as usize])])?;
            offset += now;
            bytes -= now;
        }
        Ok(())
    }

    /// Makes a range read as zeros where it has data; the data lock is held exclusive.
    fn zero(&self, call: &mut UserCall, ino: InodeNo, range: Range<u64>) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let piece = self.piece(call, ino, &(at..range.end))?;
            if let MapKind::Data(block) = piece.kind {
                self.write_zeros(piece.device_offset(block)?, piece.bytes.end - piece.bytes.start)?;
            }
            at = piece.bytes.end;
        }
        Ok(())
    }

    /// Notes in the slot that the content changed; the disk learns of it at the next fsync or tick.
    pub fn touch(&self, call: &mut UserCall, ino: InodeNo) -> Result<(), Errno> {
        let in_slot = self.run(call, OpKind::Read, |fs, call| {
            let attr = fs.getattr(call, ino)?;
            Ok(touch_slot(call.platform, &attr))
        })?;
        if in_slot {
            return Ok(());
        }
        let set = SetAttr { mtime: Some(bento_api::SetTime::Now), ..SetAttr::default() };
        self.run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).map(|_| ())
    }

    /// Drops the set-user-id and set-group-id bits, as a write by the unprivileged does.
    pub fn kill_privileges(&self, call: &mut UserCall, ino: InodeNo) -> Result<(), Errno> {
        let set = SetAttr { kill_privileges: true, ..SetAttr::default() };
        self.run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).map(|_| ())
    }

    /// Changes attributes. A new size zeroes what it uncovers, and frees what lies behind it.
    pub fn setattr(&self, call: &mut UserCall, ino: InodeNo, set: &SetAttr) -> Result<Attr, Errno> {
        let Some(size) = set.size else {
            return self
                .run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, ino, set))
                .map(|done| done.value.0);
        };
        self.check_alive(true)?;
        let _alone = self.containers.lock_data(ino, Mode::Exclusive);
        let old = self.attr(call, ino)?;
        if size > old.size && old.kind() == Some(bento_api::FileKind::Regular) && size <= i64::MAX as u64 {
            self.zero(call, ino, old.size..size)?;
        }
        let mut done = self.run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, ino, set));
        if done == Err(Errno::Busy) {
            self.trim(call, ino)?;
            done = self.run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, ino, set));
        }
        let (attr, more) = done?.value;
        if !more {
            return Ok(attr);
        }
        // The size is what it is; what lies behind it is freed with the next change, or by recovery.
        if let Err(errno) = self.trim(call, ino) {
            log::warn!("blocks past the end of inode {ino} could not be freed: {errno:?}");
        }
        self.attr(call, ino)
    }

    /// fallocate(2).
    ///
    /// # Crash
    /// Some steps happened; the partial blocks at the edges of a punch or a zeroing may be zero while the rest is not.
    pub fn fallocate(
        &self,
        call: &mut UserCall,
        ino: InodeNo,
        how: Allocate,
        range: Range<u64>,
    ) -> Result<(), Errno> {
        if range.is_empty() {
            return Err(Errno::Invalid);
        }
        self.check_alive(true)?;
        let _alone = self.containers.lock_data(ino, Mode::Exclusive);
        let size = self.attr(call, ino)?.size;
        if matches!(how, Allocate::Punch | Allocate::Zero | Allocate::ZeroKeepSize) {
            // The last block of the file is whole if the range goes to the end of file: what lies behind is nobody's.
            self.zero_edges(call, ino, range.start..range.end.min(size.next_multiple_of(BLOCK_BYTES)))?;
        }
        if matches!(how, Allocate::Reserve | Allocate::Zero) && range.end > size {
            self.zero(call, ino, size..range.end)?;
        }
        let mut at = range.start;
        while at < range.end {
            let rest = at..range.end;
            let mut next =
                self.run(call, OpKind::Allocate, |fs, call| fs.fallocate(call, ino, how, rest.clone()));
            if next == Err(Errno::Busy) {
                self.trim(call, ino)?;
                next =
                    self.run(call, OpKind::Allocate, |fs, call| fs.fallocate(call, ino, how, rest.clone()));
            }
            let next = next?;
            if next.value <= at {
                log::error!("a step of fallocate on inode {ino} went nowhere");
                return Err(Errno::Io);
            }
            at = next.value;
        }
        Ok(())
    }

    /// Zeroes the partial blocks at both ends of a range.
    fn zero_edges(&self, call: &mut UserCall, ino: InodeNo, range: Range<u64>) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let (first_whole, last_whole) =
            (range.start.next_multiple_of(BLOCK_BYTES), range.end / BLOCK_BYTES * BLOCK_BYTES);
        if first_whole >= last_whole {
            return self.zero(call, ino, range);
        }
        self.zero(call, ino, range.start..first_whole)?;
        self.zero(call, ino, last_whole..range.end)
    }

    /// SEEK_DATA, SEEK_HOLE.
    pub fn seek(&self, call: &mut UserCall, ino: InodeNo, from: u64, what: Seek) -> Result<u64, Errno> {
        let _shared = self.containers.lock_data(ino, Mode::Shared);
        self.run(call, OpKind::Read, |fs, call| fs.seek(call, ino, from, what))
    }
}

/// How far a piece of a write came.
enum Step {
    /// To here, in blocks that were there.
    InPlace(u64),
    /// To here, in new blocks.
    Published(u64, Attr),
}
