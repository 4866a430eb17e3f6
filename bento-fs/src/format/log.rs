//! The log: two header slots, then a circular area of records, one for each batch.
//!
//! ```text
//! log_start   +1      +2 = position 0                     (positions count up for ever, modulo the area)
//! +--------+--------+--------+--------------+--------+--------+-- ... --+
//! | slot 0 | slot 1 | header | tag blocks   | copy 0 | copy 1 |         |
//! +--------+--------+--------+--------------+--------+--------+-- ... --+
//! ```
//! The header lists what each copy is; what does not fit there goes on in tag blocks. Every checksum is seeded by
//! the epoch, a random number of which each recovery draws a new one: nothing written before can be taken for a
//! record of now. A copy that begins with the record magic is stored with its first eight bytes zero, so that a
//! scan for records finds records only.
//!
//! # Crash
//! A batch counts if its header, every tag block and every copy is intact and follows the batch before it; else
//! none of it does.
use super::block::{BLOCK_LIMIT, crc, crc_without};
use super::num::{all_zero, index32};
use super::{Corruption, Geometry};
use bento_api::{BLOCK, BatchSeq, BlockNo};
use core::mem::offset_of;
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// The magic of a header slot: `BENTOLH1`.
pub const SLOT_MAGIC: u64 = u64::from_le_bytes(*b"BENTOLH1");
/// The magic of a record's header: `BENTOLR1`.
pub const BATCH_MAGIC: u64 = u64::from_le_bytes(*b"BENTOLR1");
/// The magic of a tag block: `BENTOLT1`.
pub const TAGS_MAGIC: u64 = u64::from_le_bytes(*b"BENTOLT1");
/// The log's version.
pub const VERSION: u32 = 1;
/// Tags in a record's header.
pub const HEADER_TAGS: u32 = 248;
/// Tags in a tag block.
pub const BLOCK_TAGS: u32 = 254;

raw! {
    /// The volume's totals at a point of the log.
    pub struct RawTotals [24] {
        /// Free blocks.
        0 => free_blocks: U64,
        /// Free inodes.
        8 => free_inodes: U64,
        /// Used orphan slots.
        16 => orphans: U64,
    }
}

raw! {
    /// A log header slot. The valid one with the higher counter holds.
    pub struct RawSlot [4096] {
        /// `BENTOLH1`.
        0 => magic: U64,
        /// CRC-32 of the block with this field zero, seeded by `csum_seed`.
        8 => crc: U32,
        /// The log's version: 1.
        12 => version: U32,
        /// Counts up with every write of a slot; its low bit is the slot.
        16 => counter: U64,
        /// The epoch of all records.
        24 => epoch: U64,
        /// The first batch that is not home.
        32 => tail_seq: U64,
        /// The position of its record.
        40 => tail_at: U64,
        /// The checksum of the record before it; of none: 0.
        48 => prev_crc: U32,
        /// Zero.
        52 => unused0: U32,
        /// Totals before that batch.
        56 => totals: RawTotals,
        /// The last life before that batch that changed the volume and kept no records: see the record's field.
        80 => unrecorded: U64,
        /// Zero.
        88 => unused1: [u8; 4008],
    }
}

raw! {
    /// What begins a record's header block.
    pub struct RawBatch [128] {
        /// `BENTOLR1`.
        0 => magic: U64,
        /// CRC-32 of the block with this field zero, seeded by the epoch.
        8 => crc: U32,
        /// The same field of the record before.
        12 => prev_crc: U32,
        /// The log's epoch.
        16 => epoch: U64,
        /// The batch.
        24 => seq: U64,
        /// The newest batch that was durable when this was written.
        32 => durable_through: U64,
        /// Copies, and so tags.
        40 => copies: U32,
        /// Tag blocks.
        44 => tag_blocks: U32,
        /// Totals after this batch.
        48 => totals: RawTotals,
        /// When it was sealed, in seconds since 1970.
        72 => time: I64,
        /// CRC-32 over the `crc` fields of the tag blocks, in order, seeded by the epoch.
        80 => tags_crc: U32,
        /// Zero.
        84 => unused0: U32,
        /// The last life of the volume, up to this batch, whose changes have no provenance records: mount count << 32 |
        /// how often the code was replaced since that mount; 0: none.
        88 => unrecorded: U64,
        /// Zero.
        96 => unused1: [u8; 32],
    }
}

raw! {
    /// What begins a tag block.
    pub struct RawTagBlock [32] {
        /// `BENTOLT1`.
        0 => magic: U64,
        /// CRC-32 of the block with this field zero, seeded by the epoch.
        8 => crc: U32,
        /// Which of the record's tag blocks this is, from 0.
        12 => index: U32,
        /// The log's epoch.
        16 => epoch: U64,
        /// The batch.
        24 => seq: U64,
    }
}

raw! {
    /// A tag: what a copy is.
    pub struct RawTag [16] {
        /// Home block << 12 | flags << 4 | kind.
        0 => word: U64,
        /// CRC-32 of the copy as it lies in the log, seeded by the epoch.
        8 => crc: U32,
        /// Zero.
        12 => unused: U32,
    }
}

/// The volume's totals at a point of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Free blocks.
    pub free_blocks: u64,
    /// Free inodes.
    pub free_inodes: u64,
    /// Used orphan slots.
    pub orphans: u64,
}

impl From<&RawTotals> for Totals {
    fn from(raw: &RawTotals) -> Self {
        Self {
            free_blocks: raw.free_blocks.get(),
            free_inodes: raw.free_inodes.get(),
            orphans: raw.orphans.get(),
        }
    }
}

impl From<&Totals> for RawTotals {
    fn from(totals: &Totals) -> Self {
        Self {
            free_blocks: totals.free_blocks.into(),
            free_inodes: totals.free_inodes.into(),
            orphans: totals.orphans.into(),
        }
    }
}

/// The seed of all checksums of an epoch.
pub fn epoch_seed(epoch: u64) -> u32 {
    crc(0, U64::new(epoch).as_bytes())
}

/// A log header: where recovery begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHeader {
    /// Counts up with every write.
    pub counter: u64,
    /// The epoch of all records.
    pub epoch: u64,
    /// The first batch that is not home.
    pub tail_seq: BatchSeq,
    /// The position of its record.
    pub tail_at: u64,
    /// The checksum of the record before it.
    pub prev_crc: u32,
    /// Totals before that batch.
    pub totals: Totals,
    /// The last life before that batch whose changes have no provenance records; 0: none.
    pub unrecorded: u64,
}

impl LogHeader {
    /// Reads a header slot.
    pub fn decode(bytes: &[u8], seed: u32) -> Result<Self, Corruption> {
        let raw = RawSlot::ref_from_bytes(bytes).map_err(|_| Corruption::LogSlotMagic)?;
        if raw.magic.get() != SLOT_MAGIC {
            return Err(Corruption::LogSlotMagic);
        }
        if crc_without(seed, bytes, offset_of!(RawSlot, crc)) != raw.crc.get() {
            return Err(Corruption::LogSlotChecksum);
        }
        if raw.version.get() != VERSION {
            return Err(Corruption::LogSlotVersion);
        }
        // Whatever counts up has room to: a header behind the last number would be older than this one.
        let ends = [raw.tail_at.get(), raw.counter.get()].into_iter().any(|number| number > u64::MAX >> 1);
        if raw.tail_seq.get() == 0 || raw.tail_seq.get() == u64::MAX || ends {
            return Err(Corruption::LogSlotTail);
        }
        if raw.unused0.get() != 0 || !all_zero(&raw.unused1) {
            return Err(Corruption::LogSlotUnused);
        }
        Ok(Self {
            counter: raw.counter.get(),
            epoch: raw.epoch.get(),
            tail_seq: BatchSeq(raw.tail_seq.get()),
            tail_at: raw.tail_at.get(),
            prev_crc: raw.prev_crc.get(),
            totals: (&raw.totals).into(),
            unrecorded: raw.unrecorded.get(),
        })
    }

    /// Chooses between the two slots: the valid one with the higher counter.
    pub fn choose(slot0: &[u8], slot1: &[u8], seed: u32) -> Result<Self, Corruption> {
        match (Self::decode(slot0, seed), Self::decode(slot1, seed)) {
            (Ok(a), Ok(b)) => Ok(if a.counter >= b.counter { a } else { b }),
            (Ok(header), Err(_)) | (Err(_), Ok(header)) => Ok(header),
            (Err(_), Err(_)) => Err(Corruption::LogNoSlot),
        }
    }

    /// Writes the whole slot, checksum included. `bytes` is one block.
    pub fn encode(&self, bytes: &mut [u8], seed: u32) {
        bytes.fill(0);
        if let Ok(raw) = RawSlot::mut_from_bytes(bytes) {
            raw.magic = SLOT_MAGIC.into();
            raw.version = VERSION.into();
            raw.counter = self.counter.into();
            raw.epoch = self.epoch.into();
            raw.tail_seq = self.tail_seq.0.into();
            raw.tail_at = self.tail_at.into();
            raw.prev_crc = self.prev_crc.into();
            raw.totals = (&self.totals).into();
            raw.unrecorded = self.unrecorded.into();
        }
        let crc = crc_without(seed, bytes, offset_of!(RawSlot, crc));
        if let Ok(raw) = RawSlot::mut_from_bytes(bytes) {
            raw.crc = crc.into();
        }
    }

    /// The slot that this header is written to: the other one than the header before.
    pub fn slot(&self) -> u64 {
        self.counter & 1
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// The header's checksum, by which the next record names this one. Written by [`BatchHeader::seal`].
    pub crc: u32,
    /// The checksum of the record before.
    pub prev_crc: u32,
    /// The log's epoch.
    pub epoch: u64,
    /// The batch.
    pub seq: BatchSeq,
    /// The newest batch that was durable when this was written.
    pub durable_through: BatchSeq,
    /// Copies.
    pub copies: u32,
    /// Totals after this batch.
    pub totals: Totals,
    /// When it was sealed, in seconds since 1970.
    pub time: i64,
    /// The checksum over the tag blocks' checksums.
    pub tags_crc: u32,
    /// The last life up to this batch whose changes have no provenance records; 0: none.
    pub unrecorded: u64,
}

/// The tag blocks that a record with so many copies has.
pub fn tag_blocks(copies: u32) -> u32 {
    copies.saturating_sub(HEADER_TAGS).div_ceil(BLOCK_TAGS)
}

/// The blocks of a record with so many copies: header, tag blocks, copies.
pub fn record_blocks(copies: u32) -> u64 {
    u64::from(copies).saturating_add(u64::from(tag_blocks(copies))).saturating_add(1)
}

/// Where the tag of a copy lies: `None` for the header block, else which tag block; and its index there.
pub fn tag_place(copy: u32) -> (Option<u32>, u32) {
    match copy.checked_sub(HEADER_TAGS) {
        None => (None, copy),
        Some(rest) => (Some(rest / BLOCK_TAGS), rest % BLOCK_TAGS),
    }
}

impl BatchHeader {
    /// Reads a record's header block. That it is the batch looked for is [`BatchHeader::follows`].
    pub fn decode(bytes: &[u8], geometry: &Geometry, epoch: u64) -> Result<Self, Corruption> {
        let (raw, _) = RawBatch::ref_from_prefix(bytes).map_err(|_| Corruption::LogRecordMagic)?;
        if raw.magic.get() != BATCH_MAGIC {
            return Err(Corruption::LogRecordMagic);
        }
        if raw.epoch.get() != epoch {
            return Err(Corruption::LogRecordEpoch);
        }
        if crc_without(epoch_seed(epoch), bytes, offset_of!(RawBatch, crc)) != raw.crc.get() {
            return Err(Corruption::LogRecordChecksum);
        }
        let copies = raw.copies.get();
        if raw.tag_blocks.get() != tag_blocks(copies) || record_blocks(copies) > geometry.log_area() {
            return Err(Corruption::LogRecordCounts);
        }
        if raw.seq.get() == 0 || raw.durable_through.get() >= raw.seq.get() {
            return Err(Corruption::LogRecordSequence);
        }
        let unused_tags = tags(bytes, TagArea::Header).get(index32(copies.min(HEADER_TAGS))..).unwrap_or(&[]);
        let unused = raw.unused0.get() == 0 && all_zero(&raw.unused1);
        if !unused || !all_zero(unused_tags.as_bytes()) {
            return Err(Corruption::LogRecordUnused);
        }
        Ok(Self {
            crc: raw.crc.get(),
            prev_crc: raw.prev_crc.get(),
            epoch,
            seq: BatchSeq(raw.seq.get()),
            durable_through: BatchSeq(raw.durable_through.get()),
            copies,
            totals: (&raw.totals).into(),
            time: raw.time.get(),
            tags_crc: raw.tags_crc.get(),
            unrecorded: raw.unrecorded.get(),
        })
    }

    /// Checks that this is the batch `seq`, and that it was written behind the record with this checksum.
    pub fn follows(&self, seq: BatchSeq, prev_crc: u32) -> Result<(), Corruption> {
        if self.seq != seq {
            return Err(Corruption::LogRecordSequence);
        }
        if self.prev_crc == prev_crc { Ok(()) } else { Err(Corruption::LogRecordChain) }
    }

    /// Writes everything of the header block but its tags, which are there already, and the checksum, which it
    /// answers and puts into `self.crc`.
    pub fn seal(&mut self, bytes: &mut [u8]) -> u32 {
        let raw = RawBatch {
            magic: BATCH_MAGIC.into(),
            crc: U32::ZERO,
            prev_crc: self.prev_crc.into(),
            epoch: self.epoch.into(),
            seq: self.seq.0.into(),
            durable_through: self.durable_through.0.into(),
            copies: self.copies.into(),
            tag_blocks: tag_blocks(self.copies).into(),
            totals: (&self.totals).into(),
            time: self.time.into(),
            tags_crc: self.tags_crc.into(),
            unused0: U32::ZERO,
            unrecorded: self.unrecorded.into(),
            unused1: [0; 32],
        };
        if let Ok((place, _)) = RawBatch::mut_from_prefix(bytes) {
            *place = raw;
        }
        self.crc = crc_without(epoch_seed(self.epoch), bytes, offset_of!(RawBatch, crc));
        if let Ok((place, _)) = RawBatch::mut_from_prefix(bytes) {
            place.crc = self.crc.into();
        }
        self.crc
    }

    /// The blocks of the whole record.
    pub fn blocks(&self) -> u64 {
        record_blocks(self.copies)
    }
}

/// Which kind of block tags lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagArea {
    /// A record's header block.
    Header,
    /// A tag block.
    Block,
}

impl TagArea {
    const fn start(self) -> usize {
        match self {
            Self::Header => 128,
            Self::Block => 32,
        }
    }
}

/// What is done with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// The copy is the block.
    Full,
    /// The copy holds changed bytes of the block.
    Delta,
    /// No content: the block's home is not to be overwritten by older copies.
    Pin,
}

/// What a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The block's home.
    pub block: BlockNo,
    /// What is done with it.
    pub kind: TagKind,
    /// The copy began with the record magic; its first eight bytes were zeroed.
    pub escaped: bool,
    /// The checksum of the copy as it lies in the log.
    pub crc: u32,
}

const ESCAPED: u64 = 1 << 4;
const KIND: u64 = 0xf;
const TAG_UNKNOWN: u64 = 0xfe0;

impl Tag {
    /// The tag of a full copy that lies in the log in these bytes.
    pub fn full(block: BlockNo, escaped: bool, copy: &[u8], epoch: u64) -> Self {
        Self { block, kind: TagKind::Full, escaped, crc: crc(epoch_seed(epoch), copy) }
    }

    /// Reads a tag of a block. A home in the log or outside the volume is a problem, and so is what this version
    /// does not write.
    pub fn read(bytes: &[u8], area: TagArea, at: u32, geometry: &Geometry) -> Result<Self, Corruption> {
        let raw = tags(bytes, area).get(index32(at)).ok_or(Corruption::LogTag)?;
        let word = raw.word.get();
        let kind = match word & KIND {
            1 => TagKind::Full,
            2 => TagKind::Delta,
            3 => TagKind::Pin,
            _ => return Err(Corruption::LogTag),
        };
        let block = BlockNo(word >> 12);
        let in_log = block.0 >= geometry.log_start.0
            && block.0 < geometry.log_start.0.saturating_add(geometry.log_len);
        let outside = block.0 == 0 || block.0 >= geometry.blocks_total;
        if word & TAG_UNKNOWN != 0 || raw.unused.get() != 0 || in_log || outside {
            return Err(Corruption::LogTag);
        }
        Ok(Self { block, kind, escaped: word & ESCAPED != 0, crc: raw.crc.get() })
    }

    /// Writes a tag into a block; false if it has no such place.
    #[must_use]
    pub fn write(&self, bytes: &mut [u8], area: TagArea, at: u32) -> bool {
        let kind = match self.kind {
            TagKind::Full => 1,
            TagKind::Delta => 2,
            TagKind::Pin => 3,
        };
        let word = (self.block.0 & (BLOCK_LIMIT - 1)) << 12 | if self.escaped { ESCAPED } else { 0 } | kind;
        let raw = RawTag { word: word.into(), crc: self.crc.into(), unused: U32::ZERO };
        match tags_mut(bytes, area).get_mut(index32(at)) {
            Some(place) => *place = raw,
            None => return false,
        }
        true
    }

    /// Verifies a copy as it lies in the log.
    pub fn verify(&self, copy: &[u8], epoch: u64) -> Result<(), Corruption> {
        if crc(epoch_seed(epoch), copy) == self.crc { Ok(()) } else { Err(Corruption::LogCopyChecksum) }
    }
}

fn tags(bytes: &[u8], area: TagArea) -> &[RawTag] {
    bytes.get(area.start()..BLOCK).and_then(|rest| <[RawTag]>::ref_from_bytes(rest).ok()).unwrap_or(&[])
}

fn tags_mut(bytes: &mut [u8], area: TagArea) -> &mut [RawTag] {
    bytes
        .get_mut(area.start()..BLOCK)
        .and_then(|rest| <[RawTag]>::mut_from_bytes(rest).ok())
        .unwrap_or(&mut [])
}

/// Seals a tag block whose tags are there already. Answers its checksum, for [`tags_crc`].
pub fn seal_tag_block(bytes: &mut [u8], index: u32, epoch: u64, seq: BatchSeq) -> u32 {
    if let Ok((head, _)) = RawTagBlock::mut_from_prefix(bytes) {
        *head = RawTagBlock {
            magic: TAGS_MAGIC.into(),
            crc: U32::ZERO,
            index: index.into(),
            epoch: epoch.into(),
            seq: seq.0.into(),
        };
    }
    let crc = crc_without(epoch_seed(epoch), bytes, offset_of!(RawTagBlock, crc));
    if let Ok((head, _)) = RawTagBlock::mut_from_prefix(bytes) {
        head.crc = crc.into();
    }
    crc
}

/// Verifies the tag block `index` of a record: that it belongs there, and that what follows its tags is zero.
/// Answers its checksum, for [`tags_crc`].
pub fn verify_tag_block(bytes: &[u8], index: u32, header: &BatchHeader) -> Result<u32, Corruption> {
    let (raw, _) = RawTagBlock::ref_from_prefix(bytes).map_err(|_| Corruption::LogTagBlock)?;
    let before = HEADER_TAGS.saturating_add(index.saturating_mul(BLOCK_TAGS));
    let here = header.copies.saturating_sub(before).min(BLOCK_TAGS);
    let unused = tags(bytes, TagArea::Block).get(index32(here)..).unwrap_or(&[]);
    let belongs = raw.magic.get() == TAGS_MAGIC
        && raw.index.get() == index
        && raw.epoch.get() == header.epoch
        && raw.seq.get() == header.seq.0;
    let crc = crc_without(epoch_seed(header.epoch), bytes, offset_of!(RawTagBlock, crc));
    if belongs && crc == raw.crc.get() && all_zero(unused.as_bytes()) {
        Ok(crc)
    } else {
        Err(Corruption::LogTagBlock)
    }
}

/// Continues the checksum over tag blocks' checksums; it begins with [`epoch_seed`].
pub fn tags_crc(so_far: u32, tag_block: u32) -> u32 {
    crc(so_far, U32::new(tag_block).as_bytes())
}

/// Makes a copy fit for the log: one that begins with the record magic loses its first eight bytes. True if so.
pub fn escape(copy: &mut [u8]) -> bool {
    match copy.first_chunk_mut::<8>() {
        Some(first) if u64::from_le_bytes(*first) == BATCH_MAGIC => *first = [0; 8],
        _ => return false,
    }
    true
}

/// Undoes [`escape`].
pub fn unescape(copy: &mut [u8]) {
    if let Some(first) = copy.first_chunk_mut::<8>() {
        *first = BATCH_MAGIC.to_le_bytes();
    }
}

/// True if a block begins as a record of this epoch does: for the scan after a bad batch.
pub fn looks_like_record(bytes: &[u8], epoch: u64) -> bool {
    RawBatch::ref_from_prefix(bytes)
        .is_ok_and(|(raw, _)| raw.magic.get() == BATCH_MAGIC && raw.epoch.get() == epoch)
}

/// The most copies of a record that fits an area of so many blocks. One or two more might fit.
pub fn most_copies(area: u64) -> u32 {
    let all = u32::try_from(area.saturating_sub(1)).unwrap_or(u32::MAX);
    all.saturating_sub(tag_blocks(all))
}
