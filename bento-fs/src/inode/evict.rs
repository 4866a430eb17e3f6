//! Taking away an inode that nothing names and nobody uses.
//!
//! # Locking
//! The inode's lock.
//!
//! # Crash
//! The orphan slot names the inode until the step that frees its number: a mount goes on where the last one stopped.
use super::extents::Held;
use crate::format::block::BLOCK_LIMIT;
use crate::format::{Corruption, Inode};
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::{BlockNo, FileBlock, FileKind, Platform, Stop};

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// One bounded step of freeing all that an inode without links holds, and at last its number. Whether there is more:
    /// then the caller writes the inode.
    ///
    /// # Crash
    /// Each step leaves a legal orphan, the last one a free number.
    pub(crate) fn evict_step(&mut self, at: Locked, inode: &mut Inode) -> Result<bool, Stop> {
        if !self.volume.geometry.is_removable(at.no()) {
            return Err(self.corrupt(Corruption::InodeNumber, BlockNo(0), at.no()));
        }
        let more = match inode.kind() {
            Some(FileKind::Regular) => self.free_from(at, inode, FileBlock(0))?,
            Some(FileKind::Directory) => self.dir_free(at, inode)?,
            Some(FileKind::Symlink) => self.target_free(at, inode)?,
            _ => false,
        };
        if more {
            return Ok(true);
        }
        self.xattrs_free(inode)?;
        self.orphan_remove(at, inode)?;
        self.free_inode(at, inode)?;
        Ok(false)
    }

    /// One bounded step of freeing a file's blocks from `from` on; whether there are more.
    pub(super) fn free_from(&mut self, at: Locked, inode: &mut Inode, from: FileBlock) -> Result<bool, Stop> {
        match self.extent_remove(at, inode, from..FileBlock(BLOCK_LIMIT), Held::Data)? {
            Some(next) => Ok(self.extent_from(at.no(), inode, next)?.is_some()),
            None => Ok(false),
        }
    }
}
