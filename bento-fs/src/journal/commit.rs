//! Commit: a sealed batch becomes a record in the log, a bounded number of blocks a step.
use super::Drive;
use super::state::Live;
use crate::format::block;
use crate::format::log::{
    self, BatchHeader, Tag, TagArea, TagKind, Totals, epoch_seed, record_blocks, tag_blocks, tag_place,
};
use crate::variant::{Fault, Recording, Variant};
use bento_api::limits::DRIVE_STEP;
use bento_api::{BatchSeq, BlockNo, Event, Platform, Seal, Then};

impl<P: Platform> Drive<'_, P> {
    /// Seals the running batch and begins its record.
    pub(super) fn commit<V: Variant>(&mut self) -> Then {
        if self.state.building.get() != 0 || self.state.in_flight() {
            return Then::InFlight;
        }
        if self.state.is_full() {
            return Then::First(Event::Checkpoint);
        }
        let (seq, copies, totals) = match self.platform.seal() {
            Seal::Batch(seq, copies, totals) => (seq, copies, totals),
            Seal::Empty => return Then::Idle,
            Seal::TooManyInFlight => return Then::InFlight,
            Seal::Poisoned => return self.die(),
        };
        let totals =
            Totals { free_blocks: totals.blocks, free_inodes: totals.inodes, orphans: totals.orphans };
        // A batch may hold changes of the version before, which this one was told of.
        let without = match V::RECORDING {
            Recording::No => self.volume.life,
            Recording::Yes => self.volume.unrecorded,
        };
        let unrecorded = self.state.unrecorded.get().max(without.word());
        self.state.unrecorded.set(unrecorded);
        self.state.push(Live::new(seq, self.state.head.get(), copies, totals, unrecorded));
        self.state.building = seq.0.into();
        self.state.built.set(0);
        self.state.tags_crc.set(epoch_seed(self.state.epoch.get()));
        self.platform.tag_page(0, |page| page.fill(0));
        if V::FAULT != Fault::NoPreflush && self.platform.needs_flush() {
            self.flush(); // data before its extent
        }
        self.log::<V>()
    }

    /// Lists the next copies of the record that is being built, and at its end the tags.
    pub(super) fn log<V: Variant>(&mut self) -> Then {
        let building = self.state.building.get();
        let Some(live) = self.state.live().iter().find(|live| live.seq.get() == building).copied() else {
            return Then::Idle;
        };
        let (seq, copies) = (BatchSeq(building), live.copies.get());
        let first = self.state.built.get();
        let end = copies.min(first.saturating_add(DRIVE_STEP));
        let behind_tags = live.at.get().saturating_add(1).saturating_add(tag_blocks(copies).into());
        for index in first..end {
            let Some(tag) = self.tag(seq, index) else { return self.die() };
            let Some(at) = self.log_block(behind_tags.saturating_add(index.into())) else {
                return self.die();
            };
            self.platform.write_sealed(self.io, seq, index, at, tag.escaped);
            self.put_tag(index, &tag);
        }
        self.state.built.set(end);
        if end < copies {
            return Then::Again(Event::Log);
        }
        self.finish::<V>(live)
    }

    fn log_block(&self, position: u64) -> Option<BlockNo> {
        self.geometry().log_block(position)
    }

    /// Sets a sealed block's own checksum, and says what its copy is.
    fn tag(&self, seq: BatchSeq, index: u32) -> Option<Tag> {
        let (volume, epoch) = (self.volume, self.state.epoch.get());
        self.platform.sealed(seq, index, |no, bytes| {
            if !volume.geometry.is_table_block(no) {
                block::seal(bytes, volume.seed, seq);
            }
            let starts =
                bytes.first_chunk::<8>().is_some_and(|first| u64::from_le_bytes(*first) == log::BATCH_MAGIC);
            if !starts {
                return Tag::full(no, false, bytes, epoch);
            }
            let zeros = block::crc(epoch_seed(epoch), &[0; 8]);
            let crc = block::crc(zeros, bytes.get(8..).unwrap_or(&[]));
            Tag { block: no, kind: TagKind::Full, escaped: true, crc }
        })
    }

    fn put_tag(&self, index: u32, tag: &Tag) {
        let (block, place) = tag_place(index);
        let (page, area) = match block {
            None => (0, TagArea::Header),
            Some(block) => (block.saturating_add(1), TagArea::Block),
        };
        self.platform.tag_page(page, |bytes| {
            if block.is_some() && place == 0 {
                bytes.fill(0);
            }
            tag.write(bytes, area, place)
        });
    }

    /// Lists tag blocks and, last, the header.
    fn finish<V: Variant>(&mut self, live: Live) -> Then {
        let (seq, copies) = (BatchSeq(live.seq.get()), live.copies.get());
        let epoch = self.state.epoch.get();
        let mut tags_crc = epoch_seed(epoch);
        for index in 0..tag_blocks(copies) {
            let page = index.saturating_add(1);
            let crc = self.platform.tag_page(page, |bytes| log::seal_tag_block(bytes, index, epoch, seq));
            tags_crc = log::tags_crc(tags_crc, crc);
            let Some(at) = self.log_block(live.at.get().saturating_add(page.into())) else {
                return self.die();
            };
            self.platform.write_tag_page(self.io, page, at);
        }
        let mut header = BatchHeader {
            crc: 0,
            prev_crc: self.state.last_crc.get(),
            epoch,
            seq,
            durable_through: BatchSeq(self.state.durable.get()),
            copies,
            totals: live.totals(),
            time: self.platform.now().seconds,
            tags_crc,
            unrecorded: live.unrecorded.get(),
        };
        let crc = self.platform.tag_page(0, |bytes| header.seal(bytes));
        let Some(at) = self.log_block(live.at.get()) else { return self.die() };
        self.platform.write_tag_page(self.io, 0, at);
        if V::FAULT != Fault::NoCommitFlush {
            self.flush(); // the acknowledgement
        }
        if let Some(place) = self.state.live_mut().iter_mut().find(|place| place.seq.get() == seq.0) {
            place.crc = crc.into();
        }
        self.state.last_crc = crc.into();
        self.state.head = live.end().into();
        self.state.building.set(0);
        Then::Deliver(Event::Written(seq, Ok(())))
    }

    /// Notes a record's completion; batches become durable in order.
    pub(super) fn written(&mut self, batch: BatchSeq) -> Then {
        for live in self.state.live_mut().iter_mut().filter(|live| live.seq.get() == batch.0) {
            live.written.set(1);
        }
        loop {
            let next = self.state.durable.get().saturating_add(1);
            match self.state.live().iter().find(|live| live.seq.get() == next) {
                Some(live) if live.written.get() != 0 => {}
                _ => return Then::Idle,
            }
            self.state.durable.set(next);
            self.platform.set_durable(BatchSeq(next));
        }
    }
}

/// Log blocks that batches of so many copies in all take besides the copies, at most.
pub(crate) fn overhead(area: u64) -> u64 {
    let live = u64::try_from(super::state::LIVE).unwrap_or(u64::MAX);
    let tags = area / u64::from(log::BLOCK_TAGS);
    record_blocks(0).saturating_mul(live).saturating_add(tags).saturating_add(live)
}
