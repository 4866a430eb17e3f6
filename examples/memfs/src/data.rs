//! Where file data lies: the blocks are the host's, here is only which.
use crate::Memfs;
use crate::extents::Piece;
use crate::node::{File, Node, sectors};
use bento_api::limits::PLACEMENT_EXTENTS;
use bento_api::{
    Allocate, Attr, BLOCK_BYTES, BlockNo, Errno, Extent, FileBlock, InodeNo, MapKind, Mapping, Placement,
    PlacementId, Platform, Seek, Stop, Wait,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Pieces that one step of fallocate makes.
const STEP: usize = 256;

/// A placement that is neither published nor abandoned.
#[derive(Debug)]
struct Open {
    ino: InodeNo,
    range: Range<u64>,
    unwritten: bool,
    extents: Vec<Extent>,
}

/// The open placements, in shards.
#[derive(Debug, Default)]
pub(crate) struct Placements {
    shards: [Mutex<HashMap<u32, Open>>; 16],
    next: AtomicU32,
}

impl Placements {
    fn add(&self, id: u32, open: Open) {
        self.shard(id).lock().insert(id, open);
    }

    fn take(&self, id: PlacementId) -> Result<Open, Errno> {
        self.shard(id.0).lock().remove(&id.0).ok_or(Errno::Invalid)
    }

    fn shard(&self, id: u32) -> &Mutex<HashMap<u32, Open>> {
        &self.shards[usize::try_from(id % 16).unwrap_or(0)]
    }
}

impl Memfs {
    pub(crate) fn do_map(&self, ino: InodeNo, file: FileBlock, blocks: u64) -> Result<Mapping, Stop> {
        let node = self.inodes.get(ino)?;
        let held = node.file()?.read();
        Ok(held.extents.map(file.0..file.0.saturating_add(blocks)))
    }

    pub(crate) fn do_place(
        &self,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
        to: &mut Placement,
    ) -> Result<PlacementId, Stop> {
        let node = self.inodes.get(ino)?;
        let mut held = node.file()?.write();
        let range =
            free_of_placements(&held, file.0..file.0.saturating_add(blocks.min(u64::from(u32::MAX))))?;
        let mapping = held.extents.map(range);
        let (unwritten, extents) = match mapping.kind {
            // Another write published here since the host looked: it looks again.
            MapKind::Data(_) => return Err(Errno::Busy.into()),
            MapKind::Unwritten(block) => (true, vec![extent(file.0, block.0, mapping.blocks)]),
            MapKind::Hole => (false, self.take_blocks(ino, file.0, mapping.blocks)?),
        };
        let blocks: u32 = extents.iter().map(|extent| extent.blocks).sum();
        *to = Placement {
            ino,
            generation: 1,
            count: u32::try_from(extents.len()).map_err(|_| Errno::Capacity)?,
            file,
            blocks,
            unwritten: u32::from(unwritten),
            ..Placement::empty()
        };
        to.extents.iter_mut().zip(&extents).for_each(|(to, extent)| *to = *extent);
        let id = self.placements.next.fetch_add(1, Relaxed);
        let range = file.0..file.0 + u64::from(blocks);
        held.open.push((id, range.clone()));
        self.placements.add(id, Open { ino, range, unwritten, extents });
        Ok(PlacementId(id))
    }

    /// Takes blocks for one placement: all that were asked for, or as many as there are.
    fn take_blocks(&self, ino: InodeNo, file: u64, blocks: u64) -> Result<Vec<Extent>, Errno> {
        let mut extents = Vec::new();
        let mut done = 0;
        while done < blocks && extents.len() < PLACEMENT_EXTENTS {
            match self.space.take(ino.0, blocks - done) {
                Ok((block, taken)) => {
                    extents.push(extent(file + done, block, taken));
                    done += taken;
                }
                Err(_) if done > 0 => break,
                Err(full) => return Err(full),
            }
        }
        Ok(extents)
    }

    pub(crate) fn do_publish<P: Platform>(
        &self,
        platform: &P,
        id: PlacementId,
        size: u64,
    ) -> Result<Attr, Stop> {
        let open = self.placements.take(id)?;
        let Ok(node) = self.inodes.get(open.ino) else {
            self.placements.add(id.0, open);
            return Err(Errno::Stale.into());
        };
        let mut held = node.file()?.write();
        held.open.retain(|(other, _)| *other != id.0);
        let limit = size.div_ceil(BLOCK_BYTES);
        for extent in &open.extents {
            let (file, block, blocks) = (extent.file.0, extent.block.0, u64::from(extent.blocks));
            let kept = limit.saturating_sub(file).min(blocks);
            if open.unwritten {
                held.extents.mark(file..file + kept, false);
                continue;
            }
            if kept > 0 {
                held.extents.insert(file, Piece { block, blocks: kept, unwritten: false });
            }
            if kept < blocks {
                self.space.give(block + kept, blocks - kept);
            }
        }
        let zero_from = platform.slot(open.ino, |slot| slot.zero_from).unwrap_or(u64::MAX);
        let end = open.range.end.saturating_mul(BLOCK_BYTES).min(size).min(zero_from);
        let now = platform.now();
        let (attr, ()) = node.change(platform, |meta| {
            meta.attr.size = meta.attr.size.max(end);
            meta.attr.sectors = sectors(held.extents.held());
            meta.modified(now);
        });
        Ok(attr)
    }

    pub(crate) fn do_abandon(&self, id: PlacementId) -> Result<(), Stop> {
        let open = self.placements.take(id)?;
        if let Ok(node) = self.inodes.get(open.ino) {
            node.file()?.write().open.retain(|(other, _)| *other != id.0);
        }
        if !open.unwritten {
            open.extents.iter().for_each(|extent| self.space.give(extent.block.0, u64::from(extent.blocks)));
        }
        Ok(())
    }

    /// Frees the blocks of a file in a range.
    pub(crate) fn free_range(&self, held: &mut File, range: Range<u64>) {
        held.extents.remove(range, |_, piece| self.space.give(piece.block, piece.blocks));
    }

    /// Frees what an inode holds that is gone.
    pub(crate) fn free_all(&self, node: &Node) {
        if let Ok(file) = node.file() {
            self.free_range(&mut file.write(), 0..u64::MAX);
        }
    }

    /// One step of fallocate; answers where to go on.
    pub(crate) fn do_fallocate<P: Platform>(
        &self,
        platform: &P,
        ino: InodeNo,
        how: Allocate,
        range: Range<u64>,
    ) -> Result<u64, Stop> {
        if range.is_empty() {
            return Err(Errno::Invalid.into());
        }
        let node = self.inodes.get(ino)?;
        let mut held = node.file()?.write();
        let whole = range.start.div_ceil(BLOCK_BYTES)..range.end / BLOCK_BYTES;
        let touched = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let (reached, grows) = match how {
            Allocate::Punch => {
                if !whole.is_empty() {
                    self.free_range(&mut held, whole);
                }
                (range.end, false)
            }
            Allocate::Reserve | Allocate::ReserveKeepSize => {
                let reached = self.reserve(ino, &mut held, touched)?;
                (reached.saturating_mul(BLOCK_BYTES).min(range.end), how == Allocate::Reserve)
            }
            Allocate::Zero | Allocate::ZeroKeepSize => {
                if !whole.is_empty() {
                    held.extents.mark(whole, true);
                }
                let reached = self.reserve(ino, &mut held, touched)?;
                (reached.saturating_mul(BLOCK_BYTES).min(range.end), how == Allocate::Zero)
            }
            Allocate::Collapse | Allocate::Insert => return Err(Errno::NotSupported.into()),
        };
        let zero_from = platform.slot(ino, |slot| slot.zero_from).unwrap_or(u64::MAX);
        let now = platform.now();
        node.change(platform, |meta| {
            if grows {
                meta.attr.size = meta.attr.size.max(reached.min(zero_from));
            }
            meta.attr.sectors = sectors(held.extents.held());
            meta.modified(now);
        });
        Ok(reached)
    }

    /// Puts unwritten blocks into the holes of a range; answers how far it came.
    fn reserve(&self, ino: InodeNo, held: &mut File, range: Range<u64>) -> Result<u64, Stop> {
        let mut at = range.start;
        for _ in 0..STEP {
            if at >= range.end {
                break;
            }
            let mapping = held.extents.map(at..range.end);
            let mut blocks = mapping.blocks;
            if mapping.kind == MapKind::Hole {
                free_of_placements(held, at..at + blocks)?;
                let (block, taken) = self.space.take(ino.0, blocks)?;
                held.extents.insert(at, Piece { block, blocks: taken, unwritten: true });
                blocks = taken;
            }
            at += blocks;
        }
        Ok(at)
    }

    pub(crate) fn do_seek<P: Platform>(
        &self,
        platform: &P,
        ino: InodeNo,
        from: u64,
        what: Seek,
    ) -> Result<u64, Stop> {
        let node = self.inodes.get(ino)?;
        let held = node.file()?.read();
        let size = node.attr(platform).size;
        if from >= size {
            return Err(Errno::NoSuchAddress.into());
        }
        let mut at = from / BLOCK_BYTES;
        while at * BLOCK_BYTES < size {
            let mapping = held.extents.map(at..u64::MAX);
            if matches!(mapping.kind, MapKind::Data(_)) == (what == Seek::Data) {
                return Ok(from.max(at * BLOCK_BYTES));
            }
            at = at.saturating_add(mapping.blocks).min(u64::MAX / BLOCK_BYTES);
        }
        match what {
            Seek::Hole => Ok(size),
            Seek::Data => Err(Errno::NoSuchAddress.into()),
        }
    }
}

/// The part of a range before the first open placement; two placements of one file never overlap.
fn free_of_placements(held: &File, range: Range<u64>) -> Result<Range<u64>, Stop> {
    let others = held.open.iter().filter(|(_, open)| open.start < range.end && range.start < open.end);
    match others.map(|(_, open)| open.start).min() {
        Some(first) if first <= range.start => Err(Stop::Wait(Wait::Again)),
        Some(first) => Ok(range.start..first),
        None => Ok(range),
    }
}

fn extent(file: u64, block: u64, blocks: u64) -> Extent {
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    Extent { file: FileBlock(file), block: BlockNo(block), blocks, unused: 0 }
}
