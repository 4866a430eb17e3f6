//! Targets of symbolic links: in the inode if they fit, else in one or two blocks of their own.
//!
//! # Crash
//! Part of the transaction that makes the link.
use super::extents::{Held, block_in};
use crate::bitmap::Reserve;
use crate::format::block::{BLOCK_LIMIT, HEADER, body, body_mut};
use crate::format::inode::{MAX_INLINE_TARGET, MAX_TARGET, RootKind};
use crate::format::num::{index, wide};
use crate::format::record::Extent;
use crate::format::{BlockKind, Corruption, Inode};
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::{BLOCK, BlockNo, Errno, FileBlock, FileKind, InodeNo, Platform, Stop};

/// Bytes of a target in one block.
const PIECE: usize = BLOCK - HEADER;

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Gives a new link its target. ENOENT for an empty one, ENAMETOOLONG.
    pub(crate) fn target_store(&mut self, at: Locked, inode: &mut Inode, target: &[u8]) -> Result<(), Stop> {
        let len = wide(target.len());
        if target.is_empty() {
            return Err(Errno::NotFound.into());
        }
        if len > MAX_TARGET {
            return Err(Errno::NameTooLong.into());
        }
        if target.contains(&0) {
            return Err(Errno::Invalid.into());
        }
        if len <= MAX_INLINE_TARGET && inode.set_target(target) {
            return Ok(());
        }
        let mut goal = self.home_of(at.no());
        for (piece, file) in target.chunks(PIECE).zip(0..) {
            let start = self.claim_meta(goal, Reserve::Keep)?;
            let draft = self.fresh(start, BlockKind::Symlink, at)?;
            self.draft_mut(draft, |bytes| {
                body_mut(bytes).iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            })?;
            self.extent_insert(at, inode, Extent { file: FileBlock(file), start, len: 1, unwritten: false })?;
            goal = BlockNo(start.0.saturating_add(1));
        }
        inode.size = len;
        Ok(())
    }

    /// The target of a link: how many bytes. EINVAL if it is none, ERANGE if `to` is too small.
    pub(crate) fn target_read(&self, ino: InodeNo, inode: &Inode, to: &mut [u8]) -> Result<usize, Stop> {
        if inode.kind() != Some(FileKind::Symlink) {
            return Err(Errno::Invalid.into());
        }
        let len = index(inode.size);
        let to = to.get_mut(..len).ok_or(Errno::Range)?;
        if let Some(target) = inode.target() {
            to.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
            return Ok(len);
        }
        for (piece, file) in to.chunks_mut(PIECE).zip(0..) {
            let extent = self.extent_at(ino, inode, FileBlock(file))?;
            let extent = extent.ok_or_else(|| self.corrupt(Corruption::SymlinkTarget, BlockNo(0), ino))?;
            let no = block_in(&extent, FileBlock(file));
            self.view(no, BlockKind::Symlink, ino, |bytes| {
                piece.iter_mut().zip(body(bytes)).for_each(|(to, from)| *to = *from);
            })?;
        }
        if to.is_empty() || to.contains(&0) {
            return Err(self.corrupt(Corruption::SymlinkTarget, BlockNo(0), ino));
        }
        Ok(len)
    }

    /// Frees a target's blocks; whether there are more, which never happens.
    pub(super) fn target_free(&mut self, at: Locked, inode: &mut Inode) -> Result<bool, Stop> {
        if inode.layout != RootKind::Extents {
            return Ok(false);
        }
        let end = FileBlock(MAX_TARGET.div_ceil(wide(PIECE)));
        self.extent_remove(at, inode, FileBlock(0)..end, Held::Metadata)?;
        match self.extent_from(at.no(), inode, end)? {
            Some(extent) if extent.file.0 < BLOCK_LIMIT => {
                Err(self.corrupt(Corruption::ExtentPlace, extent.start, at.no()))
            }
            _ => Ok(false),
        }
    }
}
