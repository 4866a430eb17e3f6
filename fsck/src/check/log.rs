//! The log: which batches recovery would replay, and whether one is damaged that was durable.
//!
//! A tear and damage look alike at the place where the log ends; what tells them apart is a later record of the same
//! epoch, which says how far batches were durable when it was written.
use super::Check;
use crate::report::{Journal, Note, Problem};
use bento_api::{BatchSeq, BlockNo, Bytes};
use bento_fs::format::Corruption;
use bento_fs::format::log::{
    BLOCK_TAGS, BatchHeader, HEADER_TAGS, LogHeader, Tag, TagArea, TagKind, Totals, epoch_seed,
    looks_like_record, tag_blocks, tags_crc, verify_tag_block,
};
use bento_fs::format::superblock::State;

/// A copy of a block in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    /// The block that it is a copy of.
    pub(super) home: BlockNo,
    /// Where it lies.
    pub(super) at: BlockNo,
    /// Its first eight bytes were the record magic.
    pub(super) escaped: bool,
}

/// Where a walk of the log is.
struct Place {
    epoch: u64,
    seq: BatchSeq,
    at: u64,
    prev_crc: u32,
    totals: Totals,
    batches: u64,
}

/// Why a record is not whole, and the block that says so.
type Torn = (Corruption, Option<BlockNo>);

impl Check<'_> {
    /// Looks at the log and puts its copies over the image. The totals after its last batch.
    pub(super) fn log(&mut self) -> Option<Totals> {
        let (mut header, mut page) = (self.image.page(), self.image.page());
        let totals = self.log_in(&mut header, &mut page);
        self.image.give(header);
        self.image.give(page);
        totals
    }

    fn log_in(&mut self, header: &mut Bytes, page: &mut Bytes) -> Option<Totals> {
        let newest = self.newest_header(page)?;
        let mut place = Place {
            epoch: newest.epoch,
            seq: newest.tail_seq,
            at: newest.tail_at,
            prev_crc: newest.prev_crc,
            totals: newest.totals,
            batches: 0,
        };
        let mut copies = Vec::new();
        if self.superblock.state.contains(State::CLEAN) {
            self.report.journal = Journal::Clean;
            if self.batch(&place, header, page, &mut copies).is_ok() {
                let at = self.geometry.log_block(place.at).unwrap_or_default();
                self.problem(Problem::new(Corruption::LogNotEmpty).block(at));
            }
            return Some(place.totals);
        }
        let mut used = 0_u64;
        let torn = loop {
            if self.cancelled() {
                return None;
            }
            copies.clear();
            match self.batch(&place, header, page, &mut copies) {
                Err(torn) => break torn,
                Ok(batch) => {
                    used = used.saturating_add(batch.blocks());
                    if used > self.geometry.log_area() {
                        break (Corruption::LogRecordCounts, None);
                    }
                    copies.iter().for_each(|copy| self.image.overlay(*copy));
                    place = Place {
                        seq: BatchSeq(place.seq.0.saturating_add(1)),
                        at: place.at.saturating_add(batch.blocks()),
                        prev_crc: batch.crc,
                        totals: batch.totals,
                        batches: place.batches.saturating_add(1),
                        ..place
                    };
                }
            }
        };
        self.report.journal = Journal::Replayable(place.batches);
        if torn.0 == Corruption::LogTag || self.was_durable(&place, header) {
            self.report.journal = Journal::Damaged(place.batches);
            let at = self.geometry.log_block(place.at).unwrap_or_default();
            self.problem(Problem { block: torn.1, ..Problem::new(torn.0) });
            self.problem(Problem::new(Corruption::LogDamaged).block(at));
        }
        Some(place.totals)
    }

    /// The newest valid header. One that is torn is nothing to complain of, unless the volume was unmounted since.
    fn newest_header(&mut self, page: &mut Bytes) -> Option<LogHeader> {
        let clean = self.superblock.state.contains(State::CLEAN);
        let mut newest: Option<LogHeader> = None;
        let mut bad = Vec::new();
        for slot in 0..2 {
            let no = self.geometry.log_slot(slot)?;
            let read = self.image.disk().read(no, page);
            match read
                .map_err(|_| Corruption::LogSlotChecksum)
                .and_then(|()| LogHeader::decode(page, self.seed))
            {
                Ok(header) if newest.is_none_or(|newest| newest.counter < header.counter) => {
                    newest = Some(header)
                }
                Ok(_) => {}
                Err(what) => bad.push((what, no, read.is_err())),
            }
        }
        for (what, no, unreadable) in bad {
            if clean || unreadable || newest.is_none() {
                self.problem(Problem { unreadable, ..Problem::new(what).block(no) });
            } else {
                self.report.note(Note::LogSlot(what, no));
            }
        }
        if newest.is_none() {
            self.problem(Problem::new(Corruption::LogNoSlot));
        }
        newest
    }

    /// The batch that should lie at a place, if every byte of it is there; its copies.
    fn batch(
        &self,
        place: &Place,
        header: &mut Bytes,
        page: &mut Bytes,
        copies: &mut Vec<Copy>,
    ) -> Result<BatchHeader, Torn> {
        let no = self.read_log(place.at, header)?;
        let batch =
            BatchHeader::decode(header, &self.geometry, place.epoch).map_err(|what| (what, Some(no)))?;
        batch.follows(place.seq, place.prev_crc).map_err(|what| (what, Some(no)))?;
        let tags_at = place.at.saturating_add(1);
        let tags_len = tag_blocks(batch.copies);
        let copies_at = tags_at.saturating_add(tags_len.into());
        let mut crc = epoch_seed(place.epoch);
        let mut tags = Vec::new();
        for index in 0..tags_len {
            let no = self.read_log(tags_at.saturating_add(index.into()), page)?;
            let one = verify_tag_block(page, index, &batch).map_err(|what| (what, Some(no)))?;
            crc = tags_crc(crc, one);
            let before = HEADER_TAGS.saturating_add(index.saturating_mul(BLOCK_TAGS));
            for at in 0..batch.copies.saturating_sub(before).min(BLOCK_TAGS) {
                tags.push(self.tag(page, TagArea::Block, at, no));
            }
        }
        if crc != batch.tags_crc {
            return Err((Corruption::LogTagsChecksum, Some(no)));
        }
        // As recovery does: a record whose first copies are not there is torn, whatever its later tags say.
        let first = (0..batch.copies.min(HEADER_TAGS)).map(|at| self.tag(header, TagArea::Header, at, no));
        for (tag, index) in first.chain(tags).zip(0_u64..) {
            let tag = tag?;
            let at = self.read_log(copies_at.saturating_add(index), page)?;
            tag.verify(page, place.epoch).map_err(|what| (what, Some(at)))?;
            copies.push(Copy { home: tag.block, at, escaped: tag.escaped });
        }
        Ok(batch)
    }

    /// A tag of a block that was verified. This version writes full copies only.
    fn tag(&self, bytes: &Bytes, area: TagArea, at: u32, no: BlockNo) -> Result<Tag, Torn> {
        match Tag::read(bytes, area, at, &self.geometry) {
            Ok(tag) if tag.kind == TagKind::Full => Ok(tag),
            _ => Err((Corruption::LogTag, Some(no))),
        }
    }

    fn read_log(&self, position: u64, page: &mut Bytes) -> Result<BlockNo, Torn> {
        let no = self.geometry.log_block(position).ok_or((Corruption::LogRecordCounts, None))?;
        self.image.disk().read(no, page).map_err(|_| (Corruption::LogRecordChecksum, Some(no)))?;
        Ok(no)
    }

    /// Whether a record of this epoch says that the batch at which the log ends was durable.
    fn was_durable(&self, end: &Place, page: &mut Bytes) -> bool {
        (0..self.geometry.log_area()).any(|position| {
            self.read_log(position, page).is_ok()
                && looks_like_record(page, end.epoch)
                && BatchHeader::decode(page, &self.geometry, end.epoch)
                    .is_ok_and(|batch| batch.durable_through >= end.seq)
        })
    }
}
