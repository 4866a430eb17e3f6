//! Where a file has something to read: so that looking for a copy in it does not take the time of reading its holes.
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use rustix::fs::{SeekFrom, seek};
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// So many errors are a device that answers no more.
const PATIENCE: u32 = 16;

/// A file or a device to search.
pub struct Searched<'f> {
    file: &'f File,
    blocks: u64,
    /// Up to which block nothing is.
    hole: Cell<u64>,
    errors: Cell<u32>,
}

impl<'f> Searched<'f> {
    /// Of a file of so many bytes. Where it is read next changes.
    pub fn new(file: &'f File, bytes: u64) -> Self {
        Self { file, blocks: bytes / BLOCK_BYTES, hole: Cell::new(0), errors: Cell::new(0) }
    }

    /// The first block with data from an offset, as far as that is known.
    fn next_data(&self, from: u64) -> u64 {
        match seek(self.file, SeekFrom::Data(from)) {
            Ok(next) => next / BLOCK_BYTES,
            Err(rustix::io::Errno::NXIO) => self.blocks,
            Err(_) => 0,
        }
    }
}

impl Disk for Searched<'_> {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        if self.errors.get() >= PATIENCE {
            return Err(Errno::Io);
        }
        if no.0 < self.hole.get() {
            to.fill(0);
            return Ok(());
        }
        let at = no.0.checked_mul(BLOCK_BYTES).ok_or(Errno::Io)?;
        if self.file.read_exact_at(to, at).is_err() {
            self.errors.set(self.errors.get() + 1);
            return Err(Errno::Io);
        }
        // A seek for each block would cost more than it saves.
        if to.first_chunk() == Some(&[0; 8]) {
            self.hole.set(self.next_data(at));
        }
        Ok(())
    }

    fn write(&self, _no: BlockNo, _from: &Bytes) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}
