//! The block map of a file: extents in the inode, then a tree of them.
//!
//! # Locking
//! The inode's lock: shared to look, exclusive to change.
//!
//! # Crash
//! Part of the operation's transaction: map, bitmap and block count change together.
use crate::bitmap::Reserve;
use crate::format::geometry::{ORPHANS, PROVENANCE};
use crate::format::node::Tree;
use crate::format::record::{Extent, MAX_EXTENT, Record};
use crate::format::{Corruption, Inode};
use crate::op::{Locked, Op};
use crate::tree::{Path, Root, RootView};
use crate::variant::Variant;
use bento_api::limits::{CLAIMS, GROUPS_TOUCHED};
use bento_api::{BlockNo, FileBlock, InodeNo, Platform, Stop};

/// Tree nodes that one step of unmapping dirties, at most: then the next transaction goes on.
const STEP_NODES: usize = 6;
/// Groups that a step has touched before its last extent, at most, less one for every level of the tree.
const STEP_GROUPS: usize = GROUPS_TOUCHED as usize;
/// Extents that one step of unmapping removes, at most.
const STEP_EXTENTS: usize = 64;
const _: () = assert!(STEP_EXTENTS + STEP_NODES < CLAIMS, "every extent and every node of a step is a claim");

/// What unmapped blocks held: it decides when they may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// File data, which is never in the log.
    Data,
    /// Metadata of the inode (directory blocks, orphan slots, symlink targets), which was.
    Metadata,
}

/// How a range's blocks read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// As the data that lies there.
    Yes,
    /// As zeros.
    No,
}

fn view(inode: &Inode) -> RootView<'_> {
    RootView { tree: Tree::Extents, area: inode.extent_root(), depth: inode.depth }
}

/// Lends the parts of an inode that a tree changes.
fn with_root<R>(inode: &mut Inode, reserve: Reserve, f: impl FnOnce(&mut Root<'_>) -> R) -> R {
    let (mut depth, mut blocks) = (inode.depth, inode.blocks);
    let root = &mut Root {
        tree: Tree::Extents,
        area: inode.extent_root_mut(),
        depth: &mut depth,
        blocks: &mut blocks,
        reserve,
    };
    let result = f(root);
    inode.depth = depth;
    inode.blocks = blocks;
    result
}

/// Where a file block of an extent lies.
pub(crate) fn block_in(extent: &Extent, file: FileBlock) -> BlockNo {
    BlockNo(extent.start.0.saturating_add(file.0.saturating_sub(extent.file.0)))
}

/// The part of an extent between two file blocks of it; of no length if they are the same.
fn part(whole: &Extent, from: FileBlock, to: FileBlock) -> Extent {
    let len = u32::try_from(to.0.saturating_sub(from.0)).unwrap_or(0);
    Extent { file: from, start: block_in(whole, from), len, ..*whole }
}

/// The device block behind an extent.
pub(crate) fn device_end(extent: &Extent) -> BlockNo {
    BlockNo(extent.start.0.saturating_add(extent.len.into()))
}

/// The key of everything that begins at or before a file block.
fn key(file: FileBlock) -> Record {
    Record { word0: Extent::search_key(file), word1: u64::MAX }
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    fn extent_of(&self, owner: InodeNo, record: Option<Record>) -> Result<Option<Extent>, Stop> {
        let Some(record) = record else { return Ok(None) };
        let extent = Extent::try_from(record)
            .map_err(|what| self.corrupt(what, BlockNo(record.word1 >> 12), owner))?;
        if !self.volume.geometry.is_data_run(extent.start, extent.len) {
            return Err(self.corrupt(Corruption::ExtentRange, extent.start, owner));
        }
        Ok(Some(extent))
    }

    fn extent_in(
        &self,
        owner: InodeNo,
        inode: &Inode,
        path: &Path,
        at: usize,
    ) -> Result<Option<Extent>, Stop> {
        self.extent_of(owner, self.tree_get(view(inode), owner, path, at)?)
    }

    /// The extent that covers a file block.
    pub(crate) fn extent_at(
        &self,
        owner: InodeNo,
        inode: &Inode,
        file: FileBlock,
    ) -> Result<Option<Extent>, Stop> {
        let path = self.tree_seek(view(inode), owner, key(file))?;
        let Some(at) = path.at().checked_sub(1) else { return Ok(None) };
        let extent = self.extent_in(owner, inode, &path, at)?;
        Ok(extent.filter(|extent| file < extent.end()))
    }

    /// The extent that covers a file block, or the first one behind it.
    pub(crate) fn extent_from(
        &self,
        owner: InodeNo,
        inode: &Inode,
        file: FileBlock,
    ) -> Result<Option<Extent>, Stop> {
        let path = self.tree_seek(view(inode), owner, key(file))?;
        if let Some(at) = path.at().checked_sub(1)
            && let Some(extent) = self.extent_in(owner, inode, &path, at)?
            && file < extent.end()
        {
            return Ok(Some(extent));
        }
        let found = if path.at() < path.count() {
            self.extent_in(owner, inode, &path, path.at())?
        } else {
            let Some(next) = self.tree_next_key(view(inode), owner, &path)? else { return Ok(None) };
            let path = self.tree_seek(view(inode), owner, Record { word0: next | 0xfff, word1: u64::MAX })?;
            self.extent_in(owner, inode, &path, 0)?
        };
        // Whoever walks a file goes on behind what this answers: it must lie ahead.
        match found {
            Some(extent) if extent.file <= file => {
                Err(self.corrupt(Corruption::ExtentOrder, extent.start, owner))
            }
            found => Ok(found),
        }
    }

    /// The last extent before a file block.
    pub(crate) fn extent_before(
        &self,
        owner: InodeNo,
        inode: &Inode,
        file: FileBlock,
    ) -> Result<Option<Extent>, Stop> {
        let Some(last) = file.0.checked_sub(1) else { return Ok(None) };
        let path = self.tree_seek(view(inode), owner, key(FileBlock(last)))?;
        let Some(at) = path.at().checked_sub(1) else { return Ok(None) };
        self.extent_in(owner, inode, &path, at)
    }

    /// Two extents as one, if they join in the file, on the device and in kind.
    fn joined(&self, left: Extent, right: Extent) -> Option<Extent> {
        let len = left.len.checked_add(right.len).filter(|len| *len <= MAX_EXTENT)?;
        let touch = left.end() == right.file
            && left.start.0.checked_add(left.len.into()) == Some(right.start.0)
            && left.unwritten == right.unwritten
            && self.volume.geometry.is_data_run(left.start, len);
        touch.then_some(Extent { len, ..left })
    }

    /// Maps a range that is a hole.
    pub(crate) fn extent_insert(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        extent: Extent,
    ) -> Result<(), Stop> {
        // The files of orphan slots and of records grow for unlink, which must work on a full volume.
        let reserve = if matches!(owner.no(), ORPHANS | PROVENANCE) { Reserve::Use } else { Reserve::Keep };
        self.insert_all(owner, inode, extent, reserve)
    }

    fn insert_all(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        extent: Extent,
        reserve: Reserve,
    ) -> Result<(), Stop> {
        let mut rest = Some(extent);
        for _ in 0..2 {
            let Some(extent) = rest else { return Ok(()) };
            rest = self.insert_in_leaf(owner, inode, extent, reserve)?;
        }
        // The rest was a hole of the next leaf, and that leaf has no hole to its end: it is not empty.
        if rest.is_none() {
            Ok(())
        } else {
            Err(self.corrupt(Corruption::ExtentOrder, extent.start, owner.no()))
        }
    }

    /// Maps as much of a range as belongs to the leaf of its first block; the rest belongs to the next one, whose key
    /// may be lower than its first record's: what lay between was removed. A lookup never goes to the leaf before, so
    /// no extent reaches over a key.
    fn insert_in_leaf(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        extent: Extent,
        reserve: Reserve,
    ) -> Result<Option<Extent>, Stop> {
        let ino = owner.no();
        let path = self.tree_seek(view(inode), ino, key(extent.file))?;
        let bound =
            if path.at() < path.count() { None } else { self.tree_next_key(view(inode), ino, &path)? };
        let bound = bound.map_or(extent.end(), |word0| FileBlock(word0 >> 12).min(extent.end()));
        let (extent, rest) = (part(&extent, extent.file, bound), part(&extent, bound, extent.end()));
        let (left_at, right_at) = (path.at().checked_sub(1), path.at());
        let left = match left_at {
            Some(at) => self.extent_in(ino, inode, &path, at)?,
            None => None,
        };
        let right = self.extent_in(ino, inode, &path, right_at)?;
        if extent.len == 0
            || left.is_some_and(|left| left.end() > extent.file)
            || right.is_some_and(|right| extent.end() > right.file)
        {
            return Err(self.corrupt(Corruption::ExtentOrder, extent.start, ino));
        }
        let with_left = left.and_then(|left| self.joined(left, extent));
        let with_right = right.and_then(|right| self.joined(with_left.unwrap_or(extent), right));
        with_root(inode, reserve, |root| match (left_at, with_left, with_right) {
            (Some(at), Some(_), Some(all)) => {
                self.tree_set(root, owner, &path, at, all.into())?;
                self.tree_remove(root, owner, &path, right_at)
            }
            (Some(at), Some(all), None) => self.tree_set(root, owner, &path, at, all.into()),
            (_, _, Some(all)) => self.tree_set(root, owner, &path, right_at, all.into()),
            _ => self.tree_insert(root, owner, &path, right_at, extent.into()),
        })?;
        inode.blocks = inode.blocks.saturating_add(extent.len.into());
        Ok((rest.len > 0).then_some(rest))
    }

    /// Unmaps `from..to` in a bounded step and frees its blocks; `None` if nothing of the range is left, else where to
    /// go on.
    ///
    /// # Crash
    /// Each step leaves a legal file.
    pub(crate) fn extent_remove(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        range: core::ops::Range<FileBlock>,
        held: Held,
    ) -> Result<Option<FileBlock>, Stop> {
        let mut at = range.start;
        for _ in 0..STEP_EXTENTS {
            let Some(extent) =
                self.extent_from(owner.no(), inode, at)?.filter(|extent| extent.file < range.end)
            else {
                return Ok(None);
            };
            // Every step gets on by one extent at least, whatever the operation has changed before.
            if at > range.start && self.step_is_full(inode) {
                return Ok(Some(at));
            }
            let cut = extent.file.max(range.start)..extent.end().min(range.end);
            self.cut(owner, inode, extent, cut.clone(), held)?;
            at = cut.end;
        }
        Ok(Some(at))
    }

    /// Whether a step has changed so much that the next extent, whose nodes may lie in a group each, is for the next.
    pub(super) fn step_is_full(&self, inode: &Inode) -> bool {
        let groups = self.call.groups.len().saturating_add(inode.depth.into());
        // Nodes that were freed again count too: their pages and places are spent.
        self.call.private.len() >= STEP_NODES || groups > STEP_GROUPS
    }

    /// Takes a piece out of one extent.
    fn cut(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        extent: Extent,
        cut: core::ops::Range<FileBlock>,
        held: Held,
    ) -> Result<(), Stop> {
        let piece = self.take_out(owner, inode, extent, cut)?;
        match held {
            Held::Data => self.free_data(piece.start, piece.len),
            Held::Metadata => (0..piece.len)
                .try_for_each(|at| self.free_meta(BlockNo(piece.start.0.saturating_add(at.into())))),
        }
    }

    /// Takes a piece out of the map without freeing it: what is left of the extent stays mapped.
    fn take_out(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        extent: Extent,
        cut: core::ops::Range<FileBlock>,
    ) -> Result<Extent, Stop> {
        let left = part(&extent, extent.file, cut.start);
        let piece = part(&extent, cut.start, cut.end);
        let right = part(&extent, cut.end, extent.end());
        let path = self.tree_seek(view(inode), owner.no(), key(extent.file))?;
        let at = path.at().saturating_sub(1);
        // Taking away must work on a full volume, although it may cut one extent in two.
        with_root(inode, Reserve::Use, |root| match (left.len, right.len) {
            (0, 0) => self.tree_remove(root, owner, &path, at),
            (0, _) => self.tree_set(root, owner, &path, at, right.into()),
            (_, 0) => self.tree_set(root, owner, &path, at, left.into()),
            _ => {
                self.tree_set(root, owner, &path, at, left.into())?;
                self.tree_insert(root, owner, &path, at.saturating_add(1), right.into())
            }
        })?;
        inode.blocks = inode.blocks.saturating_sub(piece.len.into());
        Ok(piece)
    }

    /// Changes how a mapped range of one extent reads.
    pub(crate) fn extent_convert(
        &mut self,
        owner: Locked,
        inode: &mut Inode,
        range: core::ops::Range<FileBlock>,
        written: Written,
    ) -> Result<(), Stop> {
        let Some(extent) = self.extent_at(owner.no(), inode, range.start)? else { return Ok(()) };
        let end = range.end.min(extent.end());
        let unwritten = written == Written::No;
        if extent.unwritten == unwritten || end <= range.start {
            return Ok(());
        }
        let piece = self.take_out(owner, inode, extent, range.start..end)?;
        self.insert_all(owner, inode, Extent { unwritten, ..piece }, Reserve::Use)
    }
}
