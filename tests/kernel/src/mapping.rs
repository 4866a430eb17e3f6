//! A file mapped into memory, behind calls that copy.

use anyhow::{Result, ensure};
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};
use std::fs::File;
use std::ptr;

/// A shared mapping of the start of a file.
pub struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes for reading and writing.
    pub fn new(file: &File, length: usize) -> Result<Mapping> {
        // SAFETY: the kernel chooses the address, so nothing of ours is replaced; the mapping lives until drop.
        let start = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        Ok(Mapping { start: start.cast(), length })
    }

    /// Copies bytes out. The range must lie inside the file, or the kernel ends the program.
    pub fn read(&self, offset: usize, length: usize) -> Result<Vec<u8>> {
        self.check(offset, length)?;
        let mut bytes = vec![0; length];
        // SAFETY: the range lies inside the mapping, checked above, and the vector is as long.
        unsafe { ptr::copy_nonoverlapping(self.start.add(offset), bytes.as_mut_ptr(), length) };
        Ok(bytes)
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        self.check(offset, bytes.len())?;
        // SAFETY: the range lies inside the mapping, checked above; nobody holds a reference into it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
        Ok(())
    }

    /// Writes the changed pages to the disk.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: start and length are the mapping's own.
        Ok(unsafe { rustix::mm::msync(self.start.cast(), self.length, MsyncFlags::SYNC) }?)
    }

    fn check(&self, offset: usize, length: usize) -> Result<()> {
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.length);
        ensure!(inside, "{length} bytes at {offset} are not in a mapping of {}", self.length);
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by new, unmapped here alone. It cannot fail for a range that is mapped.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.length) };
    }
}
