//! Operations on data, durability, and inodes that nobody uses any more: as the shipped host does them, or step by
//! step.

use std::io::IoSlice;
use std::ops::Range;

use bento_api::{
    Allocate, Attr, BLOCK_BYTES, Errno as FsErrno, Evicted, FileBlock, FileKind, InodeNo, MapKind, OpKind,
    Placement, PlacementId, SetAttr, SetTime,
};
use bento_user::containers::Forgotten;
use bento_user::run::{Fsync, Privileges};
use rustix::io::Errno;

use super::actor::{Actor, Pace, os, regular};
use crate::jlang::FallocMode;
use crate::oracle::OpId;
use crate::oracle::pattern;

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Offset(u64),
    End,
}

/// What lies behind a piece of a file.
struct Piece {
    bytes: Range<u64>,
    /// Where on the device, in bytes, if there is data.
    device: Option<u64>,
}

fn allocate_mode(mode: FallocMode) -> Result<Allocate, Errno> {
    let keep = mode.contains(FallocMode::KEEP_SIZE);
    let what = mode - FallocMode::KEEP_SIZE;
    match (what, keep) {
        (FallocMode::PUNCH_HOLE, true) => Ok(Allocate::Punch),
        (FallocMode::ZERO_RANGE, false) => Ok(Allocate::Zero),
        (FallocMode::ZERO_RANGE, true) => Ok(Allocate::ZeroKeepSize),
        (what, false) if what.is_empty() => Ok(Allocate::Reserve),
        (what, true) if what.is_empty() => Ok(Allocate::ReserveKeepSize),
        _ => Err(Errno::OPNOTSUPP),
    }
}

impl Actor<'_> {
    fn is_shipped(&self) -> bool {
        self.stage.pace == Pace::Shipped
    }

    async fn attr(&mut self, ino: InodeNo) -> Result<Attr, Errno> {
        self.entry(OpKind::Read, |fs, call| fs.getattr(call, ino)).await
    }

    /// Tells a version that wants to know of it that a file is written to: each write is that of an open of its own.
    async fn tell_first_write(&mut self, ino: InodeNo) -> Result<(), Errno> {
        if !self.stage.mount.with_core(|fs| fs.wants_first_write()) {
            return Ok(());
        }
        let caller = self.call.caller();
        let _ = self.entry(OpKind::FirstWrite, |fs, call| fs.first_write(call, &caller, ino)).await?;
        Ok(())
    }

    /// Writes the operation's own bytes.
    pub(super) async fn write(&mut self, ino: InodeNo, op: OpId, at: At, len: u32) -> Result<(), Errno> {
        if len == 0 {
            return regular(&self.attr(ino).await?);
        }
        self.tell_first_write(ino).await?;
        let _alone = self.lock_data(ino).await;
        let offset = match at {
            At::Offset(offset) => offset,
            At::End => self.attr(ino).await?.size,
        };
        let mut data = vec![0; len as usize];
        pattern::fill(op, offset, &mut data);
        let written = if self.is_shipped() {
            let mount = self.stage.mount.clone();
            mount.write(&mut self.call, ino, offset, &data, Privileges::Keep).map_err(os)?
        } else {
            self.write_stepped(ino, offset, &data).await?
        };
        if written == data.len() { Ok(()) } else { Err(Errno::NOSPC) }
    }

    pub(super) async fn truncate(&mut self, ino: InodeNo, len: u64) -> Result<(), Errno> {
        let set = SetAttr { size: Some(len), ..SetAttr::default() };
        if self.is_shipped() {
            let mount = self.stage.mount.clone();
            return mount.setattr(&mut self.call, ino, &set).map(|_| ()).map_err(os);
        }
        let _alone = self.lock_data(ino).await;
        let old = self.attr(ino).await?;
        if len > old.size && old.kind() == Some(FileKind::Regular) && i64::try_from(len).is_ok() {
            self.zero(ino, old.size..len).await?;
        }
        let (_, mut more) = self.entry(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).await?.value;
        while more {
            more = self.entry(OpKind::SetAttr, |fs, call| fs.trim_past_end(call, ino)).await?.value;
        }
        Ok(())
    }

    pub(super) async fn allocate(
        &mut self,
        ino: InodeNo,
        mode: FallocMode,
        off: i64,
        len: i64,
    ) -> Result<(), Errno> {
        if off < 0 || len <= 0 {
            return Err(Errno::INVAL);
        }
        let how = allocate_mode(mode)?;
        let start = off.unsigned_abs();
        let range = start..start.checked_add(len.unsigned_abs()).ok_or(Errno::FBIG)?;
        if self.is_shipped() {
            let mount = self.stage.mount.clone();
            return mount.fallocate(&mut self.call, ino, how, range).map_err(os);
        }
        let _alone = self.lock_data(ino).await;
        let size = self.attr(ino).await?.size;
        if matches!(how, Allocate::Punch | Allocate::Zero | Allocate::ZeroKeepSize) {
            self.zero_edges(ino, range.start..range.end.min(size.next_multiple_of(BLOCK_BYTES))).await?;
        }
        if matches!(how, Allocate::Reserve | Allocate::Zero) && range.end > size {
            self.zero(ino, size..range.end).await?;
        }
        let mut at = range.start;
        while at < range.end {
            let rest = at..range.end;
            let next =
                self.entry(OpKind::Allocate, |fs, call| fs.fallocate(call, ino, how, rest.clone())).await?;
            if next.value <= at {
                return Err(Errno::IO);
            }
            at = next.value;
        }
        Ok(())
    }

    async fn zero_edges(&mut self, ino: InodeNo, range: Range<u64>) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let (first, last) =
            (range.start.next_multiple_of(BLOCK_BYTES), range.end / BLOCK_BYTES * BLOCK_BYTES);
        if first >= last {
            return self.zero(ino, range).await;
        }
        self.zero(ino, range.start..first).await?;
        self.zero(ino, last..range.end).await
    }

    /// Makes a range read as zeros where it has data.
    async fn zero(&mut self, ino: InodeNo, range: Range<u64>) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let piece = self.piece(ino, &(at..range.end)).await?;
            if let Some(device) = piece.device {
                let zeros = vec![0; (piece.bytes.end - piece.bytes.start) as usize];
                self.write_device(device, &zeros).await?;
            }
            at = piece.bytes.end;
        }
        Ok(())
    }

    async fn write_device(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.switch().await;
        self.stage.mount.containers().medium().write(offset, &[IoSlice::new(data)]).map_err(os)
    }

    /// What lies at the start of a range of bytes.
    async fn piece(&mut self, ino: InodeNo, range: &Range<u64>) -> Result<Piece, Errno> {
        let file = FileBlock(range.start / BLOCK_BYTES);
        let blocks = range.end.div_ceil(BLOCK_BYTES) - file.0;
        let mapping = self.entry(OpKind::Read, |fs, call| fs.map(call, ino, file, blocks)).await?;
        let start = mapping.file.0 * BLOCK_BYTES;
        let end = (mapping.file.0.saturating_add(mapping.blocks)).saturating_mul(BLOCK_BYTES).min(range.end);
        if start > range.start || end <= range.start {
            return Err(Errno::IO);
        }
        let device = match mapping.kind {
            MapKind::Data(block) => Some(block.0 * BLOCK_BYTES + (range.start - start)),
            MapKind::Hole | MapKind::Unwritten(_) => None,
        };
        Ok(Piece { bytes: range.start..end, device })
    }

    async fn write_stepped(&mut self, ino: InodeNo, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::FBIG)?;
        let mut size = self.attr(ino).await?.size;
        if offset > size {
            self.zero(ino, size..offset).await?;
        }
        let (mut at, mut in_place) = (offset, false);
        while at < end {
            let rest = &data[(at - offset) as usize..];
            let piece = self.piece(ino, &(at..end)).await?;
            let now = &rest[..(piece.bytes.end - at) as usize];
            if let Some(device) = piece.device {
                self.write_device(device, now).await?;
                (at, in_place) = (piece.bytes.end, true);
            } else {
                at = self.write_new(ino, at, now, size).await?;
                size = size.max(at);
            }
        }
        if at > size {
            let set = SetAttr { size: Some(at), mtime: Some(SetTime::Now), ..SetAttr::default() };
            let _ = self.entry(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).await?.value;
        } else if in_place {
            self.switch().await;
            let mount = self.stage.mount.clone();
            mount.touch(&mut self.call, ino).map_err(os)?;
        }
        Ok(data.len())
    }

    /// Places, writes and publishes the start of `data`; how far that went.
    async fn write_new(&mut self, ino: InodeNo, at: u64, data: &[u8], size: u64) -> Result<u64, Errno> {
        let first = FileBlock(at / BLOCK_BYTES);
        let end = at + data.len() as u64;
        let blocks = end.div_ceil(BLOCK_BYTES) - first.0;
        let mut placement = Placement::empty();
        let id: PlacementId =
            self.entry(OpKind::Place, |fs, call| fs.place(call, ino, first, blocks, &mut placement)).await?;
        let covered = ((placement.file.0 + u64::from(placement.blocks)) * BLOCK_BYTES).min(end);
        for extent in placement.extents() {
            let start = extent.file.0 * BLOCK_BYTES;
            let mut bytes = vec![0; extent.blocks as usize * BLOCK_BYTES as usize];
            let stop = start + bytes.len() as u64;
            let (from, to) = (at.clamp(start, stop), end.clamp(start, stop));
            bytes[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&data[(from - at) as usize..(to - at) as usize]);
            self.write_device(extent.block.0 * BLOCK_BYTES, &bytes).await?;
        }
        let size = size.max(covered);
        match self.entry(OpKind::Publish, |fs, call| fs.publish(call, id, size)).await {
            Ok(_) => Ok(covered),
            Err(errno) => {
                self.entry(OpKind::Place, |fs, call| fs.abandon(call, id)).await?;
                Err(errno)
            }
        }
    }

    // Durability.

    pub(super) async fn fsync(&mut self, ino: InodeNo, what: Fsync) -> Result<(), Errno> {
        if self.is_shipped() {
            let mount = self.stage.mount.clone();
            return mount.fsync(&mut self.call, ino, what).map_err(os);
        }
        let containers = self.stage.mount.containers().clone();
        let mark = containers.medium().mark();
        if what == Fsync::All {
            self.flush_times(ino).await?;
        }
        let batch = containers.slot(ino, |slot| match what {
            Fsync::All => slot.sync_seq,
            Fsync::Data => slot.datasync_seq,
        });
        self.sync_batch(batch.unwrap_or_else(|| containers.running())).await?;
        self.switch().await;
        containers.medium().flush_through(mark).map_err(os)
    }

    pub(super) async fn sync_all(&mut self) -> Result<(), Errno> {
        if self.is_shipped() {
            let mount = self.stage.mount.clone();
            return mount.syncfs(&mut self.call).map_err(os);
        }
        let containers = self.stage.mount.containers().clone();
        let mark = containers.medium().mark();
        for ino in self.stage.mount.dirty_inodes() {
            self.flush_times(ino).await?;
        }
        self.sync_batch(containers.running()).await?;
        self.switch().await;
        containers.medium().flush_through(mark).map_err(os)
    }

    async fn flush_times(&mut self, ino: InodeNo) -> Result<(), Errno> {
        match self.entry(OpKind::Times, |fs, call| fs.flush_times(call, ino)).await {
            Ok(_) | Err(Errno::STALE) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    // Inodes that nobody uses.

    pub(super) async fn evict(&mut self, ino: InodeNo) -> Result<(), Errno> {
        if self.is_shipped() {
            let mount = self.stage.mount.clone();
            return mount.evict(&mut self.call, ino).map_err(os);
        }
        let _alone = self.lock_data(ino).await;
        loop {
            match self.entry(OpKind::Evict, |fs, call| fs.evict(call, ino)).await {
                Ok(step) if step.value == Evicted::More => {}
                Ok(_) | Err(Errno::STALE) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Counts one user of an inode down.
    pub(super) async fn forget(&mut self, ino: InodeNo) -> Result<(), Errno> {
        let mount = self.stage.mount.clone();
        if self.is_shipped() {
            return mount.forget(&mut self.call, ino, 1).map_err(os);
        }
        let done = match mount.count_down(ino, 1) {
            Forgotten::InUse | Forgotten::Dropped => return Ok(()),
            Forgotten::Unnamed => self.evict(ino).await,
            Forgotten::Dirty => self.flush_times(ino).await,
        };
        mount.drop_unused(ino);
        done
    }

    /// Takes away what a crash left without a name; how many inodes.
    ///
    /// # Errors
    /// The first that an entry answered.
    pub fn evict_orphans(&mut self) -> Result<u64, FsErrno> {
        let mount = self.stage.mount.clone();
        mount.evict_orphans(&mut self.call)
    }
}
