//! Reading the log: batch by batch, each verified whole before anybody sees any of it.
//!
//! # Crash
//! The first batch that is not whole ends the log: it was never reported durable, unless a later batch of the same
//! epoch is whole and says that it was. That is damage, not a tear, and nothing is replayed over it in silence.
use super::recovery::Space;
use crate::format::log::{
    BATCH_MAGIC, BatchHeader, LogHeader, Tag, TagArea, TagKind, Totals, epoch_seed, looks_like_record,
    tag_blocks, tag_place, tags_crc, unescape, verify_tag_block,
};
use crate::format::{Corruption, Geometry};
use bento_api::{BatchSeq, BlockNo, Bytes, Disk, Errno};

/// A copy of a block in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The block that it is a copy of.
    pub home: BlockNo,
    /// Where it lies.
    pub at: BlockNo,
    /// Whether its first eight bytes must be put back.
    pub escaped: bool,
}

impl Copy {
    /// Reads the copy as the block is to be.
    pub fn read(&self, disk: &dyn Disk, to: &mut Bytes) -> Result<(), Errno> {
        disk.read(self.at, to)?;
        if self.escaped {
            unescape(to);
        }
        Ok(())
    }
}

/// What the log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The newest log header.
    pub header: LogHeader,
    /// The first batch that is not in the log.
    pub next: BatchSeq,
    /// The position behind the last whole batch.
    pub next_at: u64,
    /// The checksum of the last whole batch's header.
    pub last_crc: u32,
    /// Totals after the last whole batch.
    pub totals: Totals,
    /// The last life up to that batch whose changes have no provenance records, as one number.
    pub unrecorded: u64,
    /// Whole batches in the log.
    pub batches: u64,
    /// A batch that was durable is damaged: what follows it is lost unless fsck decides otherwise.
    pub damaged: Option<BatchSeq>,
}

/// Whether copies are believed without their checksums: a seeded fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Verify,
    Blindly,
}

/// Walks the log of a volume, newest header first, and shows every copy of every whole batch in order: a later copy of
/// a block replaces an earlier one. Writes nothing and keeps one block of the log in memory.
///
/// EUCLEAN if neither log header is valid; EIO if the device fails.
pub fn replay(
    disk: &dyn Disk,
    geometry: &Geometry,
    seed: u32,
    space: &mut Space,
    visit: &mut dyn FnMut(Copy) -> Result<(), Errno>,
) -> Result<Replay, Errno> {
    walk(disk, geometry, seed, space, Trust::Verify, &mut |copy, _| visit(copy))
}

/// An empty log behind its newest header, as a clean unmount leaves it.
pub(crate) fn newest(
    disk: &dyn Disk,
    geometry: &Geometry,
    seed: u32,
    space: &mut Space,
) -> Result<Replay, Errno> {
    let header = newest_header(disk, geometry, seed, space)?;
    Ok(Replay {
        header,
        next: header.tail_seq,
        next_at: header.tail_at,
        last_crc: header.prev_crc,
        totals: header.totals,
        unrecorded: header.unrecorded,
        batches: 0,
        damaged: None,
    })
}

pub(crate) fn walk(
    disk: &dyn Disk,
    geometry: &Geometry,
    seed: u32,
    space: &mut Space,
    trust: Trust,
    visit: &mut dyn FnMut(Copy, &mut Bytes) -> Result<(), Errno>,
) -> Result<Replay, Errno> {
    let mut replay = newest(disk, geometry, seed, space)?;
    let mut scan = Scan { disk, geometry, space, trust, epoch: replay.header.epoch };
    let area = geometry.log_area();
    let mut used = 0_u64;
    while let Some(batch) = scan.batch(replay.next_at, replay.next, replay.last_crc)? {
        used = used.saturating_add(batch.blocks());
        if used > area {
            break; // a record of an earlier round, which only a forged chain can lead to
        }
        scan.show(replay.next_at, &batch, visit)?;
        replay.next = BatchSeq(replay.next.0.saturating_add(1));
        replay.next_at = replay.next_at.saturating_add(batch.blocks());
        replay.last_crc = batch.crc;
        replay.totals = batch.totals;
        replay.unrecorded = batch.unrecorded;
        replay.batches = replay.batches.saturating_add(1);
    }
    replay.damaged = scan.damage_behind(replay.next)?;
    Ok(replay)
}

fn newest_header(
    disk: &dyn Disk,
    geometry: &Geometry,
    seed: u32,
    space: &mut Space,
) -> Result<LogHeader, Errno> {
    let slots = [geometry.log_slot(0), geometry.log_slot(1)];
    let [Some(first), Some(second)] = slots else { return Err(Corruption::LogNoSlot.into()) };
    disk.read(first, &mut space.record)?;
    disk.read(second, &mut space.block)?;
    Ok(LogHeader::choose(&space.record, &space.block, seed)?)
}

struct Scan<'d> {
    disk: &'d dyn Disk,
    geometry: &'d Geometry,
    space: &'d mut Space,
    trust: Trust,
    epoch: u64,
}

impl Scan<'_> {
    fn at(&self, position: u64) -> Result<BlockNo, Errno> {
        self.geometry.log_block(position).ok_or(Errno::Corrupt(Corruption::SuperblockLog.into()))
    }

    /// The batch at a position, if it is the one looked for and every byte of it is there.
    fn batch(&mut self, at: u64, seq: BatchSeq, prev_crc: u32) -> Result<Option<BatchHeader>, Errno> {
        self.disk.read(self.at(at)?, &mut self.space.record)?;
        let Ok(header) = BatchHeader::decode(&self.space.record, self.geometry, self.epoch) else {
            return Ok(None);
        };
        if header.follows(seq, prev_crc).is_err() {
            return Ok(None);
        }
        let mut crc = epoch_seed(self.epoch);
        for index in 0..tag_blocks(header.copies) {
            let block = self.at(at.saturating_add(1).saturating_add(index.into()))?;
            self.disk.read(block, &mut self.space.block)?;
            match verify_tag_block(&self.space.block, index, &header) {
                Ok(one) => crc = tags_crc(crc, one),
                Err(_) => return Ok(None),
            }
        }
        if crc != header.tags_crc {
            return Ok(None);
        }
        let mut whole = true;
        let trust = self.trust;
        self.each(at, &header, &mut |scan, tag, copy| {
            if trust == Trust::Verify {
                scan.disk.read(copy.at, &mut scan.space.block)?;
                whole &= tag.verify(&scan.space.block, scan.epoch).is_ok();
            }
            Ok(whole)
        })?;
        Ok(whole.then_some(header))
    }

    /// Shows the copies of a batch that was verified.
    fn show(
        &mut self,
        at: u64,
        header: &BatchHeader,
        visit: &mut dyn FnMut(Copy, &mut Bytes) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.each(at, header, &mut |scan, _, copy| visit(copy, &mut scan.space.home).map(|()| true))
    }

    /// Each tag of a record, until `f` answers false. A tag that makes no sense answers EUCLEAN: its block was verified,
    /// so this is no tear.
    fn each(
        &mut self,
        at: u64,
        header: &BatchHeader,
        f: &mut dyn FnMut(&mut Self, Tag, Copy) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let behind_tags = at.saturating_add(1).saturating_add(tag_blocks(header.copies).into());
        let mut loaded = None;
        for index in 0..header.copies {
            let (block, place) = tag_place(index);
            let position = match block {
                None => at,
                Some(block) => at.saturating_add(1).saturating_add(block.into()),
            };
            if loaded != Some(position) {
                self.disk.read(self.at(position)?, &mut self.space.record)?;
                loaded = Some(position);
            }
            let area = if block.is_none() { TagArea::Header } else { TagArea::Block };
            let tag = Tag::read(&self.space.record, area, place, self.geometry)?;
            if tag.kind != TagKind::Full {
                return Err(Corruption::LogTag.into()); // version 1 writes full copies only
            }
            let copy = Copy {
                home: tag.block,
                at: self.at(behind_tags.saturating_add(index.into()))?,
                escaped: tag.escaped,
            };
            if !f(self, tag, copy)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether some later record of this epoch says that the batch at which the log ends was durable.
    fn damage_behind(&mut self, end: BatchSeq) -> Result<Option<BatchSeq>, Errno> {
        for position in 0..self.geometry.log_area() {
            let at = self.at(position)?;
            // Asked like this, a device whose blocks are undecided need not decide those that are no headers.
            if !self.disk.starts_with(at, &BATCH_MAGIC.to_le_bytes(), &mut self.space.record)? {
                continue;
            }
            self.disk.read(at, &mut self.space.record)?;
            if !looks_like_record(&self.space.record, self.epoch) {
                continue;
            }
            if let Ok(header) = BatchHeader::decode(&self.space.record, self.geometry, self.epoch)
                && header.durable_through >= end
            {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }
}
