//! An in-memory file system behind the platform API.
//!
//! It forgets everything when it is dropped, journals nothing, and answers every call at once: what is left of the
//! time of a workload is what the host costs, the ceiling for any file system behind the same host. It is also the
//! smallest complete example of [`FileSystem`]: state is inside it, behind locks, where Bento-fs keeps its own in
//! the platform's containers.
//!
//! File data lies on the host's device, in blocks that `place` chooses; nothing else does.
//!
//! # Locking
//! lock of moves -> names of directories (ancestors first) -> attributes. Blocks of a file -> attributes, or a zone
//! of the free space, or a shard of the placements.
//!
//! # Crash
//! Nothing survives.
#![forbid(unsafe_code)]

mod data;
mod extents;
mod inodes;
mod names;
mod node;
mod space;
mod table;
#[cfg(test)]
mod tests;

use bento_api::envelope::Refused;
use bento_api::limits::{Cost, JOURNAL_STATE};
use bento_api::{
    Allocate, Attr, BLOCK, BatchSeq, Call, Committed, Corruption, Cursor, DirEntry, Emit, Errno, Event,
    Evicted, FileBlock, FileKind, FileSystem, InodeNo, Mapping, Mounted, Name, NewNode, Next, OpKind,
    Placement, PlacementId, Platform, Rename, Seek, SetAttr, StatFs, Stop, Then, Time, Totals, XattrName,
    XattrSet,
};
use parking_lot::Mutex;

/// Inodes that statfs claims to be free: they are made as they are needed.
const FREE_INODES: u64 = 1 << 32;

/// The file system.
#[derive(Debug)]
pub struct Memfs {
    inodes: table::Table,
    space: space::Space,
    placements: data::Placements,
    moves: Mutex<()>,
}

impl Memfs {
    /// An empty file system, whose data blocks are those of a device with so many blocks. Its root belongs to `uid` and
    /// `gid`.
    pub fn new(device_blocks: u64, uid: u32, gid: u32, now: Time) -> Result<Self, Errno> {
        let inodes = table::Table::new();
        let ino = inodes.number();
        let above = Attr { ino, ..Attr::default() };
        let mode = FileKind::Directory.mode_bits() | 0o755;
        let root = NewNode { mode, uid, gid, rdev: 0, xattrs: &[] };
        inodes.insert(node::Node::new(ino, &root, &above, now, &[])?);
        let space = space::Space::new(device_blocks);
        Ok(Self { inodes, space, placements: data::Placements::default(), moves: Mutex::new(()) })
    }

    /// What a host puts into its containers: next to nothing, since the state is in here.
    pub fn mounted(&self) -> Mounted {
        Mounted {
            journal: [0; JOURNAL_STATE],
            next: BatchSeq(1),
            totals: Totals::default(),
            log_credits: 1024,
            batch_limit: 1024,
            groups: 1,
            inodes_per_group: 64,
            blocks_per_group: 512,
            orphan_slots: 64,
            read_only: 0,
            replayed: 0,
        }
    }
}

impl<P: Platform> FileSystem<P> for Memfs {
    fn version(&self) -> &'static str {
        concat!("memfs ", env!("CARGO_PKG_VERSION"))
    }

    fn cost(&self, _kind: OpKind) -> Cost {
        Cost { credits: 0, pages: 0 }
    }

    fn lookup(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Attr, Stop> {
        self.do_lookup(call.platform, dir, name)
    }

    fn parent(&self, call: &mut Call<'_, P>, dir: InodeNo) -> Result<Attr, Stop> {
        let dir = self.inodes.get(dir)?;
        Ok(self.parent_of(&dir)?.attr(call.platform))
    }

    fn create(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        name: Name<'_>,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.do_create(call.platform, dir, name, node, &[]).map(Committed::unchanged)
    }

    fn symlink(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        name: Name<'_>,
        target: &[u8],
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        match target.len() {
            0 => return Err(Errno::NotFound.into()),
            len if len >= BLOCK => return Err(Errno::NameTooLong.into()),
            _ => {}
        }
        let node = NewNode { mode: FileKind::Symlink.mode_bits() | 0o777, ..*node };
        self.do_create(call.platform, dir, name, &node, target).map(Committed::unchanged)
    }

    fn tmpfile(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.do_tmpfile(call.platform, dir, node).map(Committed::unchanged)
    }

    fn link(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.do_link(call.platform, ino, dir, name).map(Committed::unchanged)
    }

    fn unlink(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        self.do_unlink(call.platform, dir, name).map(Committed::unchanged)
    }

    fn rmdir(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        self.do_rmdir(call.platform, dir, name).map(Committed::unchanged)
    }

    fn rename(
        &self,
        call: &mut Call<'_, P>,
        from: (InodeNo, Name<'_>),
        to: (InodeNo, Name<'_>),
        how: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        self.do_rename(call.platform, from, to, how).map(Committed::unchanged)
    }

    fn readdir(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        from: Cursor,
        emit: Emit,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop> {
        self.do_readdir(call.platform, dir, from, emit, sink)
    }

    fn readlink(&self, _call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        self.do_readlink(ino, to)
    }

    fn getattr(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Attr, Stop> {
        Ok(self.inodes.get(ino)?.attr(call.platform))
    }

    fn setattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Committed<(Attr, bool)>, Stop> {
        let attr = self.do_setattr(call.platform, ino, set)?;
        Ok(Committed::unchanged((attr, false)))
    }

    fn trim_past_end(&self, _call: &mut Call<'_, P>, _ino: InodeNo) -> Result<Committed<bool>, Stop> {
        Ok(Committed::unchanged(false))
    }

    fn flush_times(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<()>, Stop> {
        self.inodes.get(ino)?.attr(call.platform);
        Ok(Committed::unchanged(()))
    }

    fn evict(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<Evicted>, Stop> {
        self.do_evict(call.platform, ino).map(Committed::unchanged)
    }

    fn orphan(&self, _call: &mut Call<'_, P>, _slot: u64) -> Result<Option<(InodeNo, u64)>, Stop> {
        Ok(None)
    }

    fn getxattr(
        &self,
        _call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
        to: &mut [u8],
    ) -> Result<usize, Stop> {
        self.do_getxattr(ino, name, to)
    }

    fn setxattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
        value: &[u8],
        how: XattrSet,
    ) -> Result<Committed<()>, Stop> {
        self.do_setxattr(call.platform, ino, name, value, how).map(Committed::unchanged)
    }

    fn listxattr(&self, _call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        self.do_listxattr(ino, to)
    }

    fn removexattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
    ) -> Result<Committed<()>, Stop> {
        self.do_removexattr(call.platform, ino, name).map(Committed::unchanged)
    }

    fn map(
        &self,
        _call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
    ) -> Result<Mapping, Stop> {
        self.do_map(ino, file, blocks)
    }

    fn place(
        &self,
        _call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
        to: &mut Placement,
    ) -> Result<PlacementId, Stop> {
        self.do_place(ino, file, blocks, to)
    }

    fn publish(&self, call: &mut Call<'_, P>, id: PlacementId, size: u64) -> Result<Committed<Attr>, Stop> {
        self.do_publish(call.platform, id, size).map(Committed::unchanged)
    }

    fn abandon(&self, _call: &mut Call<'_, P>, id: PlacementId) -> Result<(), Stop> {
        self.do_abandon(id)
    }

    fn fallocate(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        how: Allocate,
        range: core::ops::Range<u64>,
    ) -> Result<Committed<u64>, Stop> {
        self.do_fallocate(call.platform, ino, how, range).map(Committed::unchanged)
    }

    fn seek(&self, call: &mut Call<'_, P>, ino: InodeNo, from: u64, what: Seek) -> Result<u64, Stop> {
        self.do_seek(call.platform, ino, from, what)
    }

    fn statfs(&self, _totals: &Totals) -> StatFs {
        let (blocks, free) = self.space.counts();
        StatFs {
            blocks,
            blocks_free: free,
            blocks_available: free,
            inodes: self.inodes.count() + FREE_INODES,
            inodes_free: FREE_INODES,
            id: 0,
            name_max: 255,
            block_bytes: 4096,
        }
    }

    fn describe(&self, _what: Corruption) -> &'static str {
        "memory is never corrupt"
    }

    fn drive(&self, platform: &P, _event: Event) -> Next<P> {
        Next { io: platform.io_list(), then: Then::Idle }
    }

    fn is_clean(&self, _platform: &P) -> bool {
        true
    }

    fn export(&self, _to: &mut [u8]) -> Result<usize, Refused> {
        Err(Refused::TooLarge)
    }
}
