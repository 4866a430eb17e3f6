//! Taking a removed directory away.
use crate::format::{Corruption, Inode};
use crate::inode::extents::Held;
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::{BlockNo, FileBlock, Platform, Stop};

/// Blocks that one step frees at most: each is a claim.
const BLOCKS_OF_A_STEP: u64 = 32;

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// One step of freeing a removed directory's blocks; whether there are more. A directory is removed when it is
    /// empty: then it holds one empty block, or the blocks of a free map, and no index.
    ///
    /// # Crash
    /// Each step leaves a legal directory.
    pub(crate) fn dir_free(&mut self, dir: Locked, inode: &mut Inode) -> Result<bool, Stop> {
        if inode.index_depth != 0 {
            // Names lead somewhere: they are not for this to lose.
            return Err(self.corrupt(Corruption::InodeRoot, BlockNo(0), dir.no()));
        }
        let Some(extent) = self.extent_from(dir.no(), inode, FileBlock(0))? else { return Ok(false) };
        let end = extent.file.0.saturating_add(BLOCKS_OF_A_STEP).min(extent.end().0);
        self.extent_remove(dir, inode, extent.file..FileBlock(end), Held::Metadata)?;
        Ok(self.extent_from(dir.no(), inode, FileBlock(0))?.is_some())
    }
}
