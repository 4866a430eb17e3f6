//! The format on disk: what every byte of a volume means, and nothing of what is done with it.
//!
//! Each module has the `Raw*` structures as they lie on disk (little-endian, no padding, sizes and offsets
//! asserted), and the domain types that the rest of the file system works with. Disk bytes become a domain type
//! through a checking `decode` or a checking iterator, and in no other way; a value that cannot be is a
//! [`Corruption`], never a panic, a loop without a bound, or an index out of range. `docs/format.md` draws the
//! structures; a test compares its tables with [`LAYOUTS`].
//!
//! Functions take slices, so that they work on a cached block, on a private copy of a part of one, and on what
//! fsck has read. None allocates, none locks, none does I/O.
//!
//! # Crash
//! Nothing here writes to a device. What must be atomic is in one structure: an inode is one record, the
//! superblock's fields are in one sector, a group's counters and bitmaps are in one block.
#![deny(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

#[macro_use]
mod raw;

pub mod block;
pub mod corruption;
pub mod dirent;
pub mod geometry;
pub mod group;
pub mod hash;
pub mod inode;
pub mod log;
pub mod node;
pub mod num;
pub mod orphan;
pub mod prov;
pub mod record;
pub mod superblock;
pub mod xattr;

pub use block::{BlockKind, Header};
pub use corruption::Corruption;
pub use geometry::Geometry;
pub use hash::HashKey;
pub use inode::Inode;
pub use raw::{Field, Layout};
pub use superblock::Superblock;

/// Every structure on disk, for the test that compares `docs/format.md` with the code.
pub const LAYOUTS: &[Layout] = &[
    superblock::RawSuperblock::LAYOUT,
    superblock::RawErrorRecord::LAYOUT,
    block::RawHeader::LAYOUT,
    group::RawAlloc::LAYOUT,
    group::RawSummary::LAYOUT,
    inode::RawInode::LAYOUT,
    record::RawRecord::LAYOUT,
    node::RawNodeHead::LAYOUT,
    dirent::RawEntryHead::LAYOUT,
    xattr::RawXattrHead::LAYOUT,
    xattr::RawXattrBlockHead::LAYOUT,
    log::RawTotals::LAYOUT,
    log::RawSlot::LAYOUT,
    log::RawBatch::LAYOUT,
    log::RawTagBlock::LAYOUT,
    log::RawTag::LAYOUT,
    prov::RawHead::LAYOUT,
    prov::RawBlock::LAYOUT,
    prov::RawRecord::LAYOUT,
];
