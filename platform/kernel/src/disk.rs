//! The blocking device of mount and recovery.
use bento_api::{BlockNo, Bytes, Errno};
use bento_kernel_abi as c;

/// A device of C's, for as long as a mount or an unmount takes.
pub(crate) struct Disk(*mut c::Disk);

fn answer(code: i32) -> Result<(), Errno> {
    if code == 0 { Ok(()) } else { Err(Errno::Io) }
}

impl Disk {
    /// # Safety
    /// The device lives as long as the value is used.
    pub(crate) unsafe fn new(raw: *mut c::Disk) -> Self {
        Self(raw)
    }

    /// Lays a block over the device, which is only read.
    pub(crate) fn overlay(&self, no: BlockNo, bytes: &Bytes) -> Result<(), Errno> {
        // SAFETY: the device lives, and C copies the block.
        answer(unsafe { c::bento_disk_overlay(self.0, no.0, bytes.as_ptr()) })
    }
}

impl bento_api::Disk for Disk {
    fn blocks(&self) -> u64 {
        // SAFETY: the device lives.
        unsafe { c::bento_disk_blocks(self.0) }
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        // SAFETY: the device lives, and C fills one block.
        answer(unsafe { c::bento_disk_read(self.0, no.0, to.as_mut_ptr()) })
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        // SAFETY: the device lives, and C reads one block.
        answer(unsafe { c::bento_disk_write(self.0, no.0, from.as_ptr()) })
    }

    fn flush(&self) -> Result<(), Errno> {
        // SAFETY: the device lives.
        answer(unsafe { c::bento_disk_flush(self.0) })
    }
}
