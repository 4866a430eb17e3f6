//! The journal's container, version 1.
use crate::format::log::{LogHeader, Totals, record_blocks};
use bento_api::BatchSeq;
use bento_api::limits::JOURNAL_STATE;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Batches in the log that are not home, at most: then a checkpoint comes first.
pub(crate) const LIVE: usize = 24;
const VERSION: u32 = 1;

/// A batch in the log, sealed and not home.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Live {
    pub seq: U64,
    /// The position of its record.
    pub at: U64,
    pub copies: U32,
    /// The checksum of its header, by which the next record names it.
    pub crc: U32,
    /// 1 once its record is on the medium.
    pub written: U32,
    unused: U32,
    free_blocks: U64,
    free_inodes: U64,
    orphans: U64,
    /// The last life up to it that kept no records.
    pub unrecorded: U64,
}

impl Live {
    pub(crate) fn new(seq: BatchSeq, at: u64, copies: u32, totals: Totals, unrecorded: u64) -> Self {
        Self {
            unrecorded: unrecorded.into(),
            seq: seq.0.into(),
            at: at.into(),
            copies: copies.into(),
            free_blocks: totals.free_blocks.into(),
            free_inodes: totals.free_inodes.into(),
            orphans: totals.orphans.into(),
            ..Self::default()
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            free_blocks: self.free_blocks.get(),
            free_inodes: self.free_inodes.get(),
            orphans: self.orphans.get(),
        }
    }

    /// The position behind its record.
    pub(crate) fn end(&self) -> u64 {
        self.at.get().saturating_add(record_blocks(self.copies.get()))
    }
}

/// Where the journal is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct State {
    version: U32,
    nr_live: U32,
    pub epoch: U64,
    /// Counter of the newest log header.
    pub counter: U64,
    /// The last durable batch.
    pub durable: U64,
    /// The position of the next record.
    pub head: U64,
    /// The checksum of the last record's header.
    pub last_crc: U32,
    /// The checksum of the header of the last batch that is home.
    pub home_crc: U32,
    /// The batch whose record is being built; 0: none.
    pub building: U64,
    /// Copies of it that are listed.
    pub built: U32,
    /// The checksum over its tag blocks so far.
    pub tags_crc: U32,
    /// The batch up to which a checkpoint writes homes; 0: none.
    pub homing: U64,
    /// The last life that changed the volume and kept no records.
    pub unrecorded: U64,
    live: [Live; LIVE],
}
const _: () = assert!(size_of::<State>() <= JOURNAL_STATE);

impl State {
    /// What a mount starts with: an empty log behind `header`.
    pub(crate) fn begin(header: &LogHeader, bytes: &mut [u8; JOURNAL_STATE]) {
        bytes.fill(0);
        let Ok((state, _)) = Self::mut_from_prefix(bytes) else { return };
        state.version.set(VERSION);
        state.epoch.set(header.epoch);
        state.counter.set(header.counter);
        state.durable.set(header.tail_seq.0.saturating_sub(1));
        state.head.set(header.tail_at);
        state.last_crc.set(header.prev_crc);
        state.home_crc.set(header.prev_crc);
        state.unrecorded.set(header.unrecorded);
    }

    /// The state in its container; none if another version wrote it that this one does not know.
    pub(crate) fn of(bytes: &mut [u8; JOURNAL_STATE]) -> Option<&mut Self> {
        let (state, _) = Self::mut_from_prefix(bytes).ok()?;
        (state.version.get() == VERSION).then_some(state)
    }

    /// Batches that are not home, in order.
    pub(crate) fn live(&self) -> &[Live] {
        let len = usize::try_from(self.nr_live.get()).unwrap_or(0);
        self.live.get(..len).unwrap_or(&[])
    }

    pub(crate) fn live_mut(&mut self) -> &mut [Live] {
        let len = usize::try_from(self.nr_live.get()).unwrap_or(0);
        self.live.get_mut(..len).unwrap_or(&mut [])
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live().len() >= LIVE
    }

    pub(crate) fn push(&mut self, live: Live) {
        let at = self.live().len();
        if let Some(place) = self.live.get_mut(at) {
            *place = live;
            self.nr_live.set(self.nr_live.get().saturating_add(1));
        }
    }

    /// Drops the first `count` batches, which are home.
    pub(crate) fn drop_first(&mut self, count: usize) {
        let len = self.live().len();
        self.live_mut().rotate_left(count.min(len));
        self.nr_live.set(u32::try_from(len.saturating_sub(count)).unwrap_or(0));
    }

    /// A batch that was sealed and whose record is not on the medium yet.
    pub(crate) fn in_flight(&self) -> bool {
        self.live().iter().any(|live| live.written.get() == 0)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.live().is_empty() && self.building.get() == 0 && self.homing.get() == 0
    }
}
