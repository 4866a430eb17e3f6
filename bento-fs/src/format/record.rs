//! The 16-byte record of which extent trees and directory indexes are made.
//!
//! ```text
//!              word 0                                   word 1
//! extent       file block (52) << 12 | length low (12)  device block (52) << 12 | length high (9) << 3 | unwritten
//! index entry  hash of the name                         byte offset of the entry in the directory
//! interior     first key below                          child block
//! ```
//! A record whose word 1 is zero is no record: no extent, no child and no entry lies at block or offset 0.
use super::Corruption;
use super::block::BLOCK_LIMIT;
use super::hash::NameHash;
use bento_api::{BlockNo, FileBlock};
use zerocopy::little_endian::U64;

/// Bytes of a record.
pub const RECORD: usize = 16;
/// The longest extent, in blocks.
pub const MAX_EXTENT: u32 = (1 << 21) - 1;

const LENGTH_LOW: u64 = 0xfff;
const LENGTH_HIGH: u64 = 0xff8;
const UNWRITTEN: u64 = 1;
const UNKNOWN: u64 = 0b110;

raw! {
    /// A record of a tree.
    pub struct RawRecord [16] {
        /// The key.
        0 => word0: U64,
        /// What it leads to.
        8 => word1: U64,
    }
}

/// A record, of either tree and any level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The key.
    pub word0: u64,
    /// What it leads to; 0: no record.
    pub word1: u64,
}

impl From<&RawRecord> for Record {
    fn from(raw: &RawRecord) -> Self {
        Self { word0: raw.word0.get(), word1: raw.word1.get() }
    }
}

impl From<Record> for RawRecord {
    fn from(record: Record) -> Self {
        Self { word0: record.word0.into(), word1: record.word1.into() }
    }
}

/// A run of a file's blocks, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first block of the run in the file.
    pub file: FileBlock,
    /// The first block of the run on the device.
    pub start: BlockNo,
    /// Blocks, 1 to [`MAX_EXTENT`].
    pub len: u32,
    /// Allocated, never written: reads as zeros.
    pub unwritten: bool,
}

impl Extent {
    /// The first file block after the run.
    pub fn end(&self) -> FileBlock {
        FileBlock(self.file.0.saturating_add(self.len.into()))
    }

    /// The key under which a file block is looked for: every extent that begins at or before it has no higher
    /// word 0 than this.
    pub fn search_key(file: FileBlock) -> u64 {
        file.0 << 12 | LENGTH_LOW
    }

    /// The key of an interior record for an extent that begins here.
    pub fn interior_key(file: FileBlock) -> u64 {
        file.0 << 12
    }
}

impl TryFrom<Record> for Extent {
    type Error = Corruption;

    fn try_from(record: Record) -> Result<Self, Corruption> {
        let len = record.word0 & LENGTH_LOW | (record.word1 & LENGTH_HIGH) << 9;
        let extent = Self {
            file: FileBlock(record.word0 >> 12),
            start: BlockNo(record.word1 >> 12),
            len: u32::try_from(len).map_err(|_| Corruption::ExtentRecord)?,
            unwritten: record.word1 & UNWRITTEN != 0,
        };
        let end = extent.file.0.checked_add(len).filter(|end| *end <= BLOCK_LIMIT);
        if len == 0 || extent.start.0 == 0 || record.word1 & UNKNOWN != 0 || end.is_none() {
            return Err(Corruption::ExtentRecord);
        }
        Ok(extent)
    }
}

impl From<Extent> for Record {
    fn from(extent: Extent) -> Self {
        let len = u64::from(extent.len);
        Self {
            word0: extent.file.0 << 12 | len & LENGTH_LOW,
            word1: extent.start.0 << 12 | len >> 9 & LENGTH_HIGH | u64::from(extent.unwritten),
        }
    }
}

/// An interior record: where the keys from here on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The first key below. The first record of a node stands for everything before its key, too.
    pub key: u64,
    /// The block of the node below.
    pub block: BlockNo,
}

impl Child {
    /// Reads an interior record; `problem` is what to say if it has no child.
    pub fn decode(record: Record, problem: Corruption) -> Result<Self, Corruption> {
        if record.word1 == 0 || record.word1 >= BLOCK_LIMIT {
            return Err(problem);
        }
        Ok(Self { key: record.word0, block: BlockNo(record.word1) })
    }
}

impl From<Child> for Record {
    fn from(child: Child) -> Self {
        Self { word0: child.key, word1: child.block.0 }
    }
}

/// A record of a directory index's leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexEntry {
    /// The hash of the name.
    pub hash: NameHash,
    /// The byte offset of the entry in the directory.
    pub position: u64,
}

impl TryFrom<Record> for IndexEntry {
    type Error = Corruption;

    fn try_from(record: Record) -> Result<Self, Corruption> {
        let position = record.word1;
        let in_block = position % bento_api::BLOCK_BYTES;
        if position >= super::inode::MAX_DIR_SIZE || !position.is_multiple_of(16) || in_block < 32 {
            return Err(Corruption::IndexRecord);
        }
        Ok(Self { hash: NameHash(record.word0), position })
    }
}

impl From<IndexEntry> for Record {
    fn from(entry: IndexEntry) -> Self {
        Self { word0: entry.hash.0, word1: entry.position }
    }
}
