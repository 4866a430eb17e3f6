//! A device in memory that counts what is written to it.
use bento_api::{BlockNo, Bytes, Disk, Errno};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

/// The device.
#[derive(Clone)]
pub struct Ram {
    blocks: RefCell<Vec<Bytes>>,
    /// Writes since it was made.
    pub writes: Cell<u64>,
    /// Blocks that cannot be read.
    pub unreadable: HashSet<BlockNo>,
}

impl Ram {
    pub fn new(blocks: usize) -> Self {
        let blocks = RefCell::new(vec![[0; 4096]; blocks]);
        Self { blocks, writes: Cell::new(0), unreadable: HashSet::new() }
    }

    /// The device with only its first blocks.
    pub fn truncate(&mut self, blocks: usize) {
        self.blocks.get_mut().truncate(blocks);
    }

    pub fn get(&self, no: BlockNo) -> Bytes {
        self.blocks.borrow()[no.0 as usize]
    }

    pub fn edit<R>(&self, no: BlockNo, f: impl FnOnce(&mut Bytes) -> R) -> R {
        f(&mut self.blocks.borrow_mut()[no.0 as usize])
    }

    /// Everything, as one slice of bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.blocks.get_mut().as_flattened_mut()
    }
}

impl Disk for Ram {
    fn blocks(&self) -> u64 {
        self.blocks.borrow().len() as u64
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        if self.unreadable.contains(&no) {
            return Err(Errno::Io);
        }
        *to = *self.blocks.borrow().get(no.0 as usize).ok_or(Errno::Io)?;
        Ok(())
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        self.writes.set(self.writes.get() + 1);
        *self.blocks.borrow_mut().get_mut(no.0 as usize).ok_or(Errno::Io)? = *from;
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}
