//! Batches in the log.
use super::Volume;
use bento_api::{BatchSeq, BlockNo, Bytes};
use bento_fs::format::block::crc_without;
use bento_fs::format::log::{
    BatchHeader, LogHeader, RawBatch, Tag, TagArea, epoch_seed, escape, seal_tag_block, tag_blocks,
    tag_place, tags_crc,
};
use bento_fs::format::superblock::State;
use zerocopy::FromBytes;

/// Where the next batch goes.
#[derive(Clone, Copy)]
pub struct End {
    pub seq: BatchSeq,
    pub at: u64,
    pub prev_crc: u32,
}

impl Volume {
    /// The volume is in use: not unmounted since it was written.
    pub fn dirty(mut self) -> Self {
        self.superblock.state.remove(State::CLEAN);
        self.put_superblock();
        self
    }

    /// Changes a log header as it lies on disk, and makes its checksum right.
    pub fn edit_slot_bytes(&self, slot: u64, f: impl FnOnce(&mut Bytes)) {
        self.disk.edit(self.geometry().log_slot(slot).unwrap(), |bytes| {
            f(bytes);
            let sum = crc_without(self.seed(), bytes, 8);
            bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        });
    }

    /// Changes a record's header block as it lies on disk, and makes its checksum right.
    pub fn edit_batch(&self, at: u64, f: impl FnOnce(&mut RawBatch)) {
        let epoch = self.header().epoch;
        self.disk.edit(self.geometry().log_block(at).unwrap(), |bytes| {
            f(RawBatch::mut_from_prefix(bytes).unwrap().0);
            let sum = crc_without(epoch_seed(epoch), bytes, 8);
            bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        });
    }

    /// Makes the checksum of a block right, as if a record began there.
    pub fn edit_batch_bytes(&self, no: BlockNo) {
        let slot = self.disk.get(self.geometry().log_slot(1).unwrap());
        let epoch = LogHeader::decode(&slot, self.seed()).map_or(0, |header| header.epoch);
        self.disk.edit(no, |bytes| {
            let sum = crc_without(epoch_seed(epoch), bytes, 8);
            bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        });
    }

    pub fn header(&self) -> LogHeader {
        let slots = [0, 1].map(|slot| self.disk.get(self.geometry().log_slot(slot).unwrap()));
        LogHeader::choose(&slots[0], &slots[1], self.seed()).unwrap()
    }

    pub fn log_end(&self) -> End {
        let header = self.header();
        End { seq: header.tail_seq, at: header.tail_at, prev_crc: header.prev_crc }
    }

    /// Logs these copies as one batch, and says where the next one goes. `durable` is how far batches were durable.
    pub fn log(&self, end: End, durable: u64, copies: &[(BlockNo, Bytes)]) -> End {
        let geometry = self.geometry();
        let epoch = self.header().epoch;
        let count = copies.len() as u32;
        let block = |position: u64| geometry.log_block(position).unwrap();
        let tags_at = end.at + 1;
        let copies_at = tags_at + u64::from(tag_blocks(count));
        self.disk.edit(block(end.at), |bytes| bytes.fill(0));
        (tags_at..copies_at).for_each(|at| self.disk.edit(block(at), |bytes| bytes.fill(0)));
        for (index, (home, copy)) in (0..count).zip(copies) {
            let mut copy = *copy;
            let escaped = escape(&mut copy);
            let tag = Tag::full(*home, escaped, &copy, epoch);
            let (place, at) = tag_place(index);
            let (no, area) = match place {
                None => (block(end.at), TagArea::Header),
                Some(place) => (block(tags_at + u64::from(place)), TagArea::Block),
            };
            self.disk.edit(no, |bytes| assert!(tag.write(bytes, area, at)));
            self.disk.edit(block(copies_at + u64::from(index)), |bytes| *bytes = copy);
        }
        let tags = (0..tag_blocks(count)).fold(epoch_seed(epoch), |crc, index| {
            let no = block(tags_at + u64::from(index));
            tags_crc(crc, self.disk.edit(no, |bytes| seal_tag_block(bytes, index, epoch, end.seq)))
        });
        let mut header = BatchHeader {
            crc: 0,
            prev_crc: end.prev_crc,
            epoch,
            seq: end.seq,
            durable_through: BatchSeq(durable),
            copies: count,
            totals: self.header().totals,
            time: 1_700_000_001,
            tags_crc: tags,
            unrecorded: 0,
        };
        let crc = self.disk.edit(block(end.at), |bytes| header.seal(bytes));
        End { seq: BatchSeq(end.seq.0 + 1), at: end.at + header.blocks(), prev_crc: crc }
    }
}
