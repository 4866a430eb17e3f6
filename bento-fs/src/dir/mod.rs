//! Directories: names, and the inodes that they lead to.
//!
//! An entry stays where it was inserted: its byte offset in the directory is its *position*, which readdir hands out
//! as a cookie. A directory of one block is scanned. From the second block on there are a hash index, which leads
//! from a name to its position, and a free map, which says how large each block's largest hole is; so looking up,
//! inserting and removing touch as many blocks as the trees are deep.
//!
//! A block that becomes empty leaves the directory and its place becomes a file hole, which a later block fills;
//! only the block of a directory that has one stays. A larger directory whose last name goes keeps its size and its
//! free map, and has no index: *no index* always means *at most one block of names*.
//!
//! # Locking
//! The directory's inode lock: shared to look, exclusive to change.
//!
//! # Crash
//! Part of the operation's transaction: entry, index and free map change together.
mod block;
mod free;
mod free_map;
mod index;
mod list;

use crate::bitmap::Reserve;
use crate::format::dirent::{self, FREE_MAP_ABSENT, MAX_NAME, ROOM};
use crate::format::hash::NameHash;
use crate::format::inode::MAX_DIR_SIZE;
use crate::format::num::{index as index_of, wide};
use crate::format::record::Extent;
use crate::format::{BlockKind, Corruption, Inode};
use crate::inode::extents::Held;
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Errno, FileBlock, FileKind, InodeNo, Name, Platform, Stop};
use free_map::{Room, map_place};

const _: () = assert!(MAX_NAME == Name::MAX, "every name fits an entry");

/// A name that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The inode.
    pub ino: InodeNo,
    /// Its type, as in readdir(3).
    pub kind: u8,
    /// The byte of the directory at which the entry begins.
    pub position: u64,
    /// The device block that holds the entry.
    block: BlockNo,
}

/// A name to enter.
#[derive(Clone, Copy, Debug)]
struct NewEntry<'a> {
    name: &'a [u8],
    hash: NameHash,
    ino: InodeNo,
    kind: FileKind,
}

/// How many file blocks a directory spans, holes included.
fn blocks(inode: &Inode) -> u64 {
    inode.size / BLOCK_BYTES
}

/// The file block of a position, and the byte in it.
fn place_of(position: u64) -> (FileBlock, usize) {
    (FileBlock(position / BLOCK_BYTES), index_of(position % BLOCK_BYTES))
}

/// Whether a directory's names are found by scanning its only block.
fn is_scanned(inode: &Inode) -> bool {
    inode.size <= BLOCK_BYTES && inode.index_depth == 0
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Gives a new directory its first block.
    pub(crate) fn dir_start(&mut self, dir: Locked, inode: &mut Inode) -> Result<(), Stop> {
        inode.size = 0;
        self.add_block(dir, inode, FileBlock(0))?;
        Ok(())
    }

    /// Finds a name.
    pub(crate) fn dir_find(
        &mut self,
        dir: InodeNo,
        inode: &Inode,
        name: Name<'_>,
    ) -> Result<Option<Found>, Stop> {
        let hash = self.volume.hash_key.hash(name.bytes());
        if !is_scanned(inode) {
            return self.index_find(dir, inode, name.bytes(), hash);
        }
        let no = self.data_block(dir, inode, FileBlock(0))?;
        let hit = self.look(no, dir, |bytes| block::find(bytes, name.bytes(), hash))?;
        hit.map(|hit| self.found(dir, no, FileBlock(0), hit)).transpose()
    }

    /// Enters a name, which is known to be absent. The caller writes the inode.
    pub(crate) fn dir_insert(
        &mut self,
        dir: Locked,
        inode: &mut Inode,
        name: Name<'_>,
        ino: InodeNo,
        kind: u8,
    ) -> Result<(), Stop> {
        let kind = block::kind_of(kind).ok_or(Errno::Invalid)?;
        let name = name.bytes();
        let entry = NewEntry { name, hash: self.volume.hash_key.hash(name), ino, kind };
        if is_scanned(inode) {
            let no = self.data_block(dir.no(), inode, FileBlock(0))?;
            if let Some(at) = self.hole_for(dir.no(), no, &entry)? {
                return self.put_entry(dir, no, at, &entry, |_| Ok(()));
            }
            self.index_start(dir, inode, no)?;
            self.map_start(dir, inode, no)?;
        } else if inode.index_depth == 0 {
            self.index_leaf(dir, inode)?;
        }
        let (file, no) = match self.find_room(dir.no(), inode, &entry)? {
            Room::In(file) => (file, self.data_block(dir.no(), inode, file)?),
            Room::New(file) => (file, self.add_block(dir, inode, file)?),
        };
        let Some(at) = self.hole_for(dir.no(), no, &entry)? else {
            return Err(self.corrupt(Corruption::DirPlace, no, dir.no()));
        };
        let hole = self.put_entry(dir, no, at, &entry, block::largest_hole)?;
        self.set_map(dir, inode, file, dirent::free_value(hole))?;
        let position = file.0.saturating_mul(BLOCK_BYTES).saturating_add(wide(at));
        self.index_insert(dir, inode, entry.hash, position)
    }

    /// Removes a name that [`Op::dir_find`] found under the same lock. The caller writes the inode.
    pub(crate) fn dir_remove(
        &mut self,
        dir: Locked,
        inode: &mut Inode,
        name: Name<'_>,
        found: &Found,
    ) -> Result<(), Stop> {
        let (file, at) = place_of(found.position);
        let draft = self.edit(found.block, BlockKind::Dir, dir)?;
        let removed = self.draft_mut(draft, |bytes| block::remove(bytes, at))?;
        let hole = removed.map_err(|what| self.corrupt(what, found.block, dir.no()))?;
        if is_scanned(inode) {
            return Ok(());
        }
        let hash = self.volume.hash_key.hash(name.bytes());
        self.index_remove(dir, inode, hash, found.position)?;
        let value = if hole == ROOM {
            let range = file..FileBlock(file.0.saturating_add(1));
            self.extent_remove(dir, inode, range, Held::Metadata)?;
            FREE_MAP_ABSENT
        } else {
            // The other holes are as they were.
            self.map_value(dir.no(), inode, file)?.max(dirent::free_value(hole))
        };
        self.set_map(dir, inode, file, value)
    }

    /// Lets a name lead to another inode.
    pub(crate) fn dir_replace(
        &mut self,
        dir: Locked,
        _inode: &Inode,
        found: &Found,
        ino: InodeNo,
        kind: u8,
    ) -> Result<(), Stop> {
        let kind = block::kind_of(kind).ok_or(Errno::Invalid)?;
        let (_, at) = place_of(found.position);
        let draft = self.edit(found.block, BlockKind::Dir, dir)?;
        let done = self.draft_mut(draft, |bytes| dirent::set_target(bytes, at, ino, kind))?;
        done.map_err(|what| self.corrupt(what, found.block, dir.no()))
    }

    /// Whether a directory has no name but `.` and `..`.
    pub(crate) fn dir_is_empty(&mut self, dir: InodeNo, inode: &Inode) -> Result<bool, Stop> {
        if !is_scanned(inode) {
            return Ok(inode.index_depth == 0);
        }
        let no = self.data_block(dir, inode, FileBlock(0))?;
        self.look(no, dir, block::is_empty)
    }

    /// Looks at a block of names, as this operation has changed it.
    fn look<R>(
        &self,
        no: BlockNo,
        dir: InodeNo,
        f: impl FnOnce(&Bytes) -> Result<R, Corruption>,
    ) -> Result<R, Stop> {
        self.view(no, BlockKind::Dir, dir, f)?.map_err(|what| self.corrupt(what, no, dir))
    }

    /// The device block of a file block that must be there.
    fn data_block(&self, dir: InodeNo, inode: &Inode, file: FileBlock) -> Result<BlockNo, Stop> {
        match self.extent_at(dir, inode, file)? {
            Some(extent) => Ok(block_in(&extent, file)),
            None => Err(self.corrupt(Corruption::DirPlace, BlockNo(0), dir)),
        }
    }

    fn found(&self, dir: InodeNo, block: BlockNo, file: FileBlock, hit: block::Hit) -> Result<Found, Stop> {
        if self.volume.geometry.inode_bit(hit.ino).is_none() {
            return Err(self.corrupt(Corruption::DirInode, block, dir));
        }
        let position = file.0.saturating_mul(BLOCK_BYTES).saturating_add(hit.at);
        Ok(Found { ino: hit.ino, kind: hit.kind.dirent_type(), position, block })
    }

    /// The hole of a block that an entry fits.
    fn hole_for(&self, dir: InodeNo, no: BlockNo, entry: &NewEntry<'_>) -> Result<Option<usize>, Stop> {
        let need = dirent::entry_len(entry.name.len());
        self.look(no, dir, |bytes| block::find_hole(bytes, need))
    }

    /// Puts an entry into a hole, and looks at the block as it is then.
    fn put_entry<R>(
        &mut self,
        dir: Locked,
        no: BlockNo,
        at: usize,
        entry: &NewEntry<'_>,
        then: impl FnOnce(&Bytes) -> Result<R, Corruption>,
    ) -> Result<R, Stop> {
        let draft = self.edit(no, BlockKind::Dir, dir)?;
        let put = |bytes: &mut Bytes| {
            dirent::insert_at(bytes, at, entry.name, entry.hash, entry.ino, entry.kind)?;
            then(bytes)
        };
        self.draft_mut(draft, put)?.map_err(|what| self.corrupt(what, no, dir.no()))
    }

    /// A new, empty block of names for a file hole or at the directory's end.
    fn add_block(&mut self, dir: Locked, inode: &mut Inode, file: FileBlock) -> Result<BlockNo, Stop> {
        let end = file.0.saturating_add(1).saturating_mul(BLOCK_BYTES);
        if end > MAX_DIR_SIZE {
            return Err(Errno::NoSpace.into());
        }
        let (map, byte) = map_place(file);
        if file.0 > 0 && byte == dirent::FIRST && end > inode.size {
            self.add_metadata(dir, inode, map, BlockKind::FreeMap)?;
        }
        let no = self.add_metadata(dir, inode, file, BlockKind::Dir)?;
        let draft = self.edit(no, BlockKind::Dir, dir)?;
        self.draft_mut(draft, |bytes| dirent::start(bytes))?;
        inode.size = inode.size.max(end);
        Ok(no)
    }

    /// Claims and maps a block.
    fn add_metadata(
        &mut self,
        dir: Locked,
        inode: &mut Inode,
        file: FileBlock,
        kind: BlockKind,
    ) -> Result<BlockNo, Stop> {
        let goal = match kind {
            BlockKind::Dir => self.names_goal(dir.no(), inode, file)?,
            _ => self.map_home(dir.no()),
        };
        let start = self.claim_meta(goal, Reserve::Keep)?;
        self.fresh(start, kind, dir)?;
        self.extent_insert(dir, inode, Extent { file, start, len: 1, unwritten: false })?;
        Ok(start)
    }

    /// Where a block of names should lie: behind its neighbour, so that a directory that grows stays in one piece.
    fn names_goal(&self, dir: InodeNo, inode: &Inode, file: FileBlock) -> Result<BlockNo, Stop> {
        let before = self.extent_before(dir, inode, file)?;
        let end = before.map(|extent| BlockNo(extent.start.0.saturating_add(extent.len.into())));
        Ok(end.unwrap_or(self.home_of(dir)))
    }

    /// Where index and free map should lie: in the last eighth of the directory's group, out of the way of the names.
    fn map_home(&self, dir: InodeNo) -> BlockNo {
        let geometry = &self.volume.geometry;
        let home = self.home_of(dir);
        let place = geometry.block_group(home).and_then(|(group, first)| {
            let len = geometry.group_blocks(group)?;
            geometry.block_no(group, len.saturating_sub(len / 8).max(first))
        });
        place.unwrap_or(home)
    }
}

/// Where a file block of an extent lies.
fn block_in(extent: &Extent, file: FileBlock) -> BlockNo {
    BlockNo(extent.start.0.saturating_add(file.0.saturating_sub(extent.file.0)))
}
