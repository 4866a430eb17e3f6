//! The blocking device of mount and recovery.
use bento_api::{BlockNo, Bytes, Errno, GroupNo};
use bento_fs::format::group::Summary;
use bento_kernel_abi as c;
use core::mem::MaybeUninit;
use core::slice::from_raw_parts;

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

    /// What is free in a group, if its bits are known. At an unmount nobody changes them.
    pub(crate) fn summary(&self, group: GroupNo) -> Option<Summary> {
        let mut lent = MaybeUninit::<c::Lent>::uninit();
        // SAFETY: C fills all of it if it answers 1, with bits that stay until the mount ends.
        let (inodes, blocks) = unsafe {
            if c::bento_disk_group(self.0, group.0, lent.as_mut_ptr()) != 1 {
                return None;
            }
            let lent = lent.assume_init();
            (from_raw_parts(lent.inodes, lent.inode_words), from_raw_parts(lent.blocks, lent.block_words))
        };
        Some(Summary::of(inodes, blocks))
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
