//! The volume as recovery would leave it: the device, and over it the copies in the log.
use super::log::Copy;
use bento_api::{BLOCK, BlockNo, Bytes, Disk, Errno};
use bento_fs::format::log::unescape;
use std::collections::HashMap;

/// A volume to read. A block that has a copy in the log is read there; that is all that replaying is here.
pub(super) struct Image<'a> {
    disk: &'a dyn Disk,
    copies: HashMap<BlockNo, Copy>,
    /// Pages that nobody uses now.
    pages: Vec<Box<Bytes>>,
}

impl<'a> Image<'a> {
    pub(super) fn new(disk: &'a dyn Disk) -> Self {
        Self { disk, copies: HashMap::new(), pages: Vec::new() }
    }

    /// The device itself.
    pub(super) fn disk(&self) -> &'a dyn Disk {
        self.disk
    }

    /// Reads `copy` in place of its home from now on.
    pub(super) fn overlay(&mut self, copy: Copy) {
        self.copies.insert(copy.home, copy);
    }

    pub(super) fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        match self.copies.get(&no) {
            None => self.disk.read(no, to),
            Some(copy) => {
                self.disk.read(copy.at, to)?;
                if copy.escaped {
                    unescape(to);
                }
                Ok(())
            }
        }
    }

    /// A page to read into; its content is anything.
    pub(super) fn page(&mut self) -> Box<Bytes> {
        self.pages.pop().unwrap_or_else(|| Box::new([0; BLOCK]))
    }

    /// Gives a page back.
    pub(super) fn give(&mut self, page: Box<Bytes>) {
        self.pages.push(page);
    }
}
