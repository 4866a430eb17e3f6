//! Listing a directory, in the order of positions.
use super::{block_in, place_of};
use crate::format::record::Extent;
use crate::format::{BlockKind, Corruption, Inode, dirent};
use crate::op::Op;
use crate::variant::Variant;
use bento_api::limits::WANTED;
use bento_api::{BLOCK_BYTES, BlockNo, FileBlock, FileKind, InodeNo, Platform, Stop};

/// Blocks of names that one call lists at most, so that what it pins is bounded.
const BLOCKS_OF_A_CALL: usize = 32;
/// Blocks that are asked for when one is missing, itself included; a wait can ask for a few more.
const READ_AHEAD: usize = 24;
const _: () = assert!(READ_AHEAD < WANTED);

/// A name, as readdir tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListedEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode.
    pub ino: InodeNo,
    /// Its type.
    pub kind: FileKind,
    /// Where to go on behind it.
    pub next: u64,
}

/// How far a listing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Through this block.
    On,
    /// The sink has enough.
    Enough,
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Lists the names at or after position `from`, until `emit` answers false; true at the directory's end.
    ///
    /// `emit` works on a private copy of a block, so it may look at inodes. If something is missing after a name was
    /// emitted, that name is the answer, and the next call goes on behind it.
    pub(crate) fn dir_list(
        &mut self,
        dir: InodeNo,
        inode: &Inode,
        from: u64,
        emit: &mut dyn FnMut(&mut Self, ListedEntry<'_>) -> Result<bool, Stop>,
    ) -> Result<bool, Stop> {
        let mut emitted = false;
        let listed = self.list_blocks(dir, inode, from, &mut |op, entry| {
            let more = emit(op, entry)?;
            emitted |= more;
            Ok(more)
        });
        match listed {
            Err(_) if emitted => Ok(false),
            listed => listed,
        }
    }

    fn list_blocks(
        &mut self,
        dir: InodeNo,
        inode: &Inode,
        from: u64,
        emit: &mut dyn FnMut(&mut Self, ListedEntry<'_>) -> Result<bool, Stop>,
    ) -> Result<bool, Stop> {
        let page = self.platform().take_page()?;
        let mut extent: Option<Extent> = None;
        let (mut file, mut at) = place_of(from);
        for _ in 0..BLOCKS_OF_A_CALL {
            if extent.is_none_or(|extent| file >= extent.end()) {
                extent = self.extent_from(dir, inode, file)?;
            }
            let Some(extent) = extent.filter(|extent| has_names(inode, extent.file.max(file))) else {
                return Ok(true);
            };
            if extent.file > file {
                (file, at) = (extent.file, 0);
            }
            let no = block_in(&extent, file);
            self.read_ahead(dir, inode, extent, file)?;
            let block = self.meta(no, BlockKind::Dir, dir.into())?;
            self.platform().copy(block, page);
            let step = self.list_page(page, (dir, file, no), at, emit)?;
            if step == Step::Enough {
                return Ok(false);
            }
            (file, at) = (FileBlock(file.0.saturating_add(1)), 0);
        }
        Ok(!has_names(inode, file))
    }

    fn list_page(
        &mut self,
        page: P::Page,
        (dir, file, no): (InodeNo, FileBlock, BlockNo),
        from: usize,
        emit: &mut dyn FnMut(&mut Self, ListedEntry<'_>) -> Result<bool, Stop>,
    ) -> Result<Step, Stop> {
        let base = file.0.saturating_mul(BLOCK_BYTES);
        self.platform().page(page, |bytes| {
            for entry in dirent::entries(bytes) {
                let entry = entry.map_err(|what| self.corrupt(what, no, dir))?;
                if entry.at < from {
                    continue;
                }
                if self.volume.geometry.inode_bit(entry.ino).is_none() {
                    return Err(self.corrupt(Corruption::DirInode, no, dir));
                }
                let end = entry.at.saturating_add(entry.len);
                let next = base.saturating_add(crate::format::num::wide(end));
                if !emit(self, ListedEntry { name: entry.name, ino: entry.ino, kind: entry.kind, next })? {
                    return Ok(Step::Enough);
                }
            }
            Ok(Step::On)
        })
    }

    /// Asks for the blocks behind a missing one too, since a listing goes through all of them.
    fn read_ahead(&self, dir: InodeNo, inode: &Inode, from: Extent, file: FileBlock) -> Result<(), Stop> {
        if self.platform().pin(block_in(&from, file))?.is_some() {
            return Ok(());
        }
        let (mut extent, mut file) = (from, file);
        for _ in 0..READ_AHEAD {
            self.expect(block_in(&extent, file))?;
            file = FileBlock(file.0.saturating_add(1));
            if file >= extent.end() {
                let next = self.extent_from(dir, inode, file)?;
                let Some(next) = next.filter(|next| has_names(inode, next.file)) else { break };
                (file, extent) = (next.file, next);
            }
        }
        Ok(())
    }
}

/// Whether a file block lies in the part of a directory that holds names.
fn has_names(inode: &Inode, file: FileBlock) -> bool {
    file.0 < super::blocks(inode)
}
