//! A device that blocks: for mkfs, mount, recovery and fsck, which run outside every gate.
use crate::{BlockNo, Bytes, Errno};

/// A device that blocks.
///
/// # Crash
/// A write is durable only after a later [`Disk::flush`] returned; unflushed writes may be lost or kept in any
/// order, and torn at 512-byte sectors.
pub trait Disk {
    /// Blocks on the device.
    fn blocks(&self) -> u64;
    /// Reads one block. EIO if the device fails or the block lies past its end.
    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno>;
    /// Whether one block begins with these bytes; `space` is to read into. A device that knows cheaper may say so.
    fn starts_with(&self, no: BlockNo, bytes: &[u8], space: &mut Bytes) -> Result<bool, Errno> {
        self.read(no, space)?;
        Ok(space.starts_with(bytes))
    }
    /// Writes one block.
    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno>;
    /// Makes everything that was written durable.
    fn flush(&self) -> Result<(), Errno>;
}
