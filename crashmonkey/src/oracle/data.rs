//! Operations on the data of regular files.

use std::ops::Range;
use std::sync::Arc;

use bento_api::{BLOCK, BLOCK_BYTES, FileKind};
use rustix::io::Errno;

use super::history::OpId;
use super::model::{By, Effect, Model, Touch};
use super::pattern;
use super::state::{Cell, CellId, Ino, Mapping, Version, blocks_of};
use crate::disk::image;
use crate::jlang::{FallocMode, Path};

/// The largest file: 16 TiB.
pub const MAX_SIZE: u64 = 16 << 40;
/// What `O_DIRECT` wants offsets and lengths to be a multiple of.
const DIRECT_UNIT: u32 = 512;
/// How much of a mapped write is flushed with `msync`.
pub const MSYNC_LEN: u64 = 8192;
const SECTOR: usize = 512;

/// What a write puts where it writes.
#[derive(Clone, Copy)]
enum Bytes {
    /// The operation's own pattern.
    Pattern,
    /// Zeros.
    Zeros,
}

impl Model {
    fn regular(&self, ino: Ino) -> Result<u64, Errno> {
        let inode = self.state.get(ino)?;
        match inode.kind {
            FileKind::Regular => Ok(inode.size.now),
            FileKind::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    pub(super) fn write(&mut self, by: By, ino: Ino, off: u64, len: u64) -> Result<Effect, Errno> {
        let size = self.regular(ino)?;
        if len == 0 {
            return Ok(Effect::default());
        }
        let end = off.checked_add(len).filter(|end| *end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        self.zero_gap(by.op, ino, size, off)?;
        let grew = self.put(by.op, ino, off..end, size, Bytes::Pattern)?;
        let inode = self.state.get_mut(ino)?;
        inode.size.change(by.op, size.max(end));
        inode.mtime.set_later(by.op, by.time);
        inode.ctime.set_later(by.op, by.time);
        let mut effect = Effect { timed: Some(ino), ..Effect::default() };
        // Writing in place is no transaction: it has no place among them.
        if grew || end > size {
            effect.touch(ino, Touch::Content);
        }
        Ok(effect)
    }

    pub(super) fn direct_write(
        &mut self,
        by: By,
        path: &Path,
        ino: Ino,
        off: i64,
        len: u32,
    ) -> Result<Effect, Errno> {
        self.regular(ino)?;
        let off = u64::try_from(off).map_err(|_| Errno::INVAL)?;
        if !off.is_multiple_of(u64::from(DIRECT_UNIT)) || !len.is_multiple_of(DIRECT_UNIT) {
            return Err(Errno::INVAL);
        }
        let effect = self.write(by, ino, off, u64::from(len))?;
        self.fds.remove(&(by.stream, path.clone()));
        Ok(effect)
    }

    pub(super) fn mapped_write(&mut self, by: By, ino: Ino, off: i64, len: u32) -> Result<Effect, Errno> {
        let mut effect = self.allocate(by, ino, FallocMode::empty(), off, i64::from(len))?;
        let off = u64::try_from(off).map_err(|_| Errno::INVAL)?;
        let written = self.write(by, ino, off, u64::from(len))?;
        effect.timed = written.timed;
        written.touched.iter().for_each(|(ino, touch)| effect.touch(*ino, *touch));
        Ok(effect)
    }

    pub(super) fn truncate(&mut self, by: By, ino: Ino, len: i64) -> Result<Effect, Errno> {
        let size = self.regular(ino)?;
        let len = u64::try_from(len).map_err(|_| Errno::INVAL)?;
        if len > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        self.zero_gap(by.op, ino, size, len)?;
        let inode = self.state.get_mut(ino)?;
        let first_gone = len.div_ceil(BLOCK_BYTES);
        // What was reserved past the end goes too; or stays, which only the count of sectors shows.
        inode.blocks.retain(|block, _| *block < first_gone);
        if len == size {
            // A truncate to the same size may set the times, or leave them.
            inode.mtime.perhaps(by.op, by.time);
            inode.ctime.perhaps(by.op, by.time);
            return Ok(Effect::default());
        }
        // One transaction sets the size, whatever the freeing of blocks takes.
        inode.size.now = len;
        inode.size.before.clear();
        inode.change_content(by.op, by.time);
        Ok(Effect { touched: vec![(ino, Touch::Content)], ..Effect::default() })
    }

    pub(super) fn allocate(
        &mut self,
        by: By,
        ino: Ino,
        mode: FallocMode,
        off: i64,
        len: i64,
    ) -> Result<Effect, Errno> {
        if off < 0 || len <= 0 {
            return Err(Errno::INVAL);
        }
        let punch = mode.contains(FallocMode::PUNCH_HOLE);
        if punch && mode != FallocMode::PUNCH_HOLE | FallocMode::KEEP_SIZE {
            return Err(Errno::OPNOTSUPP);
        }
        let size = self.regular(ino)?;
        let before = self.state.get(ino)?.blocks.clone();
        let (off, len) = (off as u64, len as u64);
        let end = off.checked_add(len).filter(|end| *end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        let zero = mode.contains(FallocMode::ZERO_RANGE);
        if punch || zero {
            self.clear_range(
                by.op,
                ino,
                off..end,
                if punch { Mapping::Hole } else { Mapping::Unwritten(None) },
            )?;
        }
        if !punch {
            self.reserve(by.op, ino, blocks_of(off, end))?;
        }
        if !mode.contains(FallocMode::KEEP_SIZE) && end > size {
            self.zero_gap(by.op, ino, size, end)?;
            self.state.get_mut(ino)?.size.change(by.op, end);
        }
        let inode = self.state.get_mut(ino)?;
        inode.mtime.perhaps(by.op, by.time);
        inode.ctime.perhaps(by.op, by.time);
        let mut effect = Effect::default();
        if inode.size.now != size || inode.blocks != before {
            effect.touch(ino, Touch::Content);
        } else {
            effect.timed = Some(ino);
        }
        Ok(effect)
    }

    /// Gives every hole in a range a block that reads as zeros.
    fn reserve(&mut self, op: OpId, ino: Ino, blocks: Range<u64>) -> Result<(), Errno> {
        let inode = self.state.get_mut(ino)?;
        for block in blocks {
            if inode.mapping(block) == Mapping::Hole {
                inode.map(op, block, Mapping::Unwritten(None));
            }
        }
        Ok(())
    }

    /// Makes a range read as zeros: whole blocks change what lies behind them, parts of blocks are overwritten.
    fn clear_range(&mut self, op: OpId, ino: Ino, range: Range<u64>, to: Mapping) -> Result<(), Errno> {
        let whole = range.start.div_ceil(BLOCK_BYTES)..range.end / BLOCK_BYTES;
        let edges = [
            range.start..(whole.start * BLOCK_BYTES).min(range.end),
            (whole.end * BLOCK_BYTES).max(range.start)..range.end,
        ];
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            self.zero(op, ino, edge, true)?;
        }
        let inode = self.state.get_mut(ino)?;
        let mapped: Vec<u64> =
            inode.blocks.range(whole.start..whole.end.max(whole.start)).map(|(b, _)| *b).collect();
        for block in mapped {
            let to = match (inode.mapping(block), to) {
                (Mapping::Hole, _) => continue,
                (Mapping::Data(cell), Mapping::Unwritten(_)) => Mapping::Unwritten(Some(cell)),
                (kept @ Mapping::Unwritten(_), Mapping::Unwritten(_)) => kept,
                (_, to) => to,
            };
            inode.map(op, block, to);
        }
        Ok(())
    }

    /// Before the size is raised to `to`: what lies between the old end and the end of its block is undefined on the
    /// medium, and must be zeros first.
    fn zero_gap(&mut self, op: OpId, ino: Ino, size: u64, to: u64) -> Result<(), Errno> {
        let end_of_block = size.next_multiple_of(BLOCK_BYTES);
        if to > size && end_of_block > size {
            self.zero(op, ino, size..end_of_block, true)?;
        }
        Ok(())
    }

    /// Overwrites bytes inside one block with zeros, if it has data.
    fn zero(&mut self, op: OpId, ino: Ino, range: Range<u64>, ordered: bool) -> Result<(), Errno> {
        let block = range.start / BLOCK_BYTES;
        if let Mapping::Data(cell) = self.state.get(ino)?.mapping(block) {
            self.overwrite(op, cell, &range, ordered, Bytes::Zeros);
        }
        Ok(())
    }

    /// Writes a range of bytes; whether blocks were added. What lies past `size` must be there before the size is.
    fn put(&mut self, op: OpId, ino: Ino, range: Range<u64>, size: u64, bytes: Bytes) -> Result<bool, Errno> {
        let mut grew = false;
        for block in blocks_of(range.start, range.end) {
            let start = block * BLOCK_BYTES;
            let part = range.start.max(start)..range.end.min(start + BLOCK_BYTES);
            match self.state.get(ino)?.mapping(block) {
                Mapping::Data(cell) => self.overwrite(op, cell, &part, part.end > size, bytes),
                Mapping::Unwritten(Some(cell)) => {
                    let start = block * BLOCK_BYTES;
                    self.overwrite(op, cell, &(start..start + BLOCK_BYTES), true, Bytes::Zeros);
                    self.overwrite(op, cell, &part, true, bytes);
                    self.state.get_mut(ino)?.map(op, block, Mapping::Data(cell));
                    grew = true;
                }
                Mapping::Hole | Mapping::Unwritten(None) => {
                    let cell = CellId(u32::try_from(self.cells.len()).map_err(|_| Errno::NOMEM)?);
                    self.cells.push(Cell { ino, block, versions: Vec::new() });
                    self.overwrite(op, cell, &part, true, bytes);
                    self.state.get_mut(ino)?.map(op, block, Mapping::Data(cell));
                    grew = true;
                }
            }
        }
        Ok(grew)
    }

    fn overwrite(&mut self, op: OpId, cell: CellId, range: &Range<u64>, ordered: bool, bytes: Bytes) {
        let Some(cell) = self.cells.get_mut(cell.0 as usize) else { return };
        let mut content = *cell.newest();
        let from = (range.start % BLOCK_BYTES) as usize;
        let to = from + (range.end - range.start) as usize;
        match bytes {
            Bytes::Pattern => pattern::fill(op, range.start, &mut content[from..to]),
            Bytes::Zeros => content[from..to].fill(0),
        }
        let sectors = (from / SECTOR..to.div_ceil(SECTOR)).fold(0, |mask, sector| mask | 1 << sector);
        let content = if content == [0; BLOCK] { image::zeros() } else { Arc::new(content) };
        cell.versions.push(Version { op, content, sectors, ordered });
    }
}
