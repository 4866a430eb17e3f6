//! Devices: where blocks are kept.
//!
//! A [`Device`] is the raw thing (a file, a block device, memory, a test's recorder). A [`Medium`] is a device with
//! the bookkeeping that every user of it shares: which writes a flush covers, and how often each was asked for.
//!
//! # Crash
//! A write is durable only after a later flush returned. Until then it may be lost, kept, or torn at 512-byte
//! sectors, in any order with others.
mod file;
mod medium;
mod ram;

pub use file::{Access, FileDevice, OpenError};
pub use medium::{Medium, MediumCounters, Request};
pub use ram::RamDevice;

use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use std::io::IoSlice;

/// A device, addressed in bytes.
///
/// Two writes of different bytes of one block, by two threads at once, both survive.
pub trait Device: Send + Sync {
    /// Whole blocks on the device.
    fn blocks(&self) -> u64;
    /// Reads `to.len()` bytes from `offset`. EIO past the end.
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno>;
    /// Writes the buffers one behind the other from `offset`. EIO past the end.
    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno>;
    /// Makes durable every write that completed before the call.
    fn flush(&self) -> Result<(), Errno>;
    /// These bytes will be read soon.
    fn will_read(&self, offset: u64, bytes: u64) {
        let _ = (offset, bytes);
    }
}

/// Where a block starts, in bytes.
pub(crate) fn offset_of(no: BlockNo) -> Result<u64, Errno> {
    no.0.checked_mul(BLOCK_BYTES).ok_or(Errno::Io)
}

/// Bytes in all buffers.
pub(crate) fn total(from: &[IoSlice<'_>]) -> u64 {
    from.iter().map(|slice| slice.len() as u64).sum()
}

/// Checks that a range lies on a device of so many blocks.
pub(crate) fn check_range(blocks: u64, offset: u64, bytes: u64) -> Result<(), Errno> {
    match offset.checked_add(bytes) {
        Some(end) if end <= blocks.saturating_mul(BLOCK_BYTES) => Ok(()),
        _ => Err(Errno::Io),
    }
}

/// A device as mkfs, mount, recovery and fsck see it.
pub struct BlockingDisk<'d>(pub &'d dyn Device);

impl Disk for BlockingDisk<'_> {
    fn blocks(&self) -> u64 {
        self.0.blocks()
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        self.0.read(offset_of(no)?, to)
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        self.0.write(offset_of(no)?, &[IoSlice::new(from)])
    }

    fn flush(&self) -> Result<(), Errno> {
        self.0.flush()
    }
}
