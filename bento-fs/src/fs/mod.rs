//! The operations: each is one transaction that fits on a screen.
//!
//! [`BentoFs`] holds what the code knows of its volume and no state; the modules have the bodies, on the transaction.
mod attr;
mod list;
mod names;
mod node;
mod records;
mod rename;
mod state;

use crate::format::{Corruption, Inode, geometry};
use crate::journal;
use crate::op::{Op, Volume};
use crate::variant::{Recording, Variant};
use bento_api::envelope::Refused;
use bento_api::limits::{fits, full_cost};
use bento_api::{
    Allocate, Attr, Call, Caller, Committed, Cost, Cursor, DirEntry, Emit, Event, Evicted, FileBlock,
    FileSystem, GroupNo, InodeNo, Mapping, ModeChange, Name, NewNode, Next, OpKind, Placement, PlacementId,
    Platform, Rename, Seek, SetAttr, StatFs, Stop, Totals, XattrName, XattrSet,
};
use core::marker::PhantomData;
use core::ops::Range;

/// A Bento file system over containers that are filled: a mount's, or another version's.
#[derive(Debug)]
pub struct BentoFs<V> {
    volume: Volume,
    variant: PhantomData<V>,
}

impl<V: Variant> BentoFs<V> {
    /// The file system on a mounted volume.
    pub fn new(volume: Volume) -> Self {
        Self { volume, variant: PhantomData }
    }

    /// The file system that another version was, from what it exported.
    pub fn import(bytes: &[u8]) -> Result<Self, Refused> {
        state::import(bytes).map(Self::new)
    }

    /// What the code knows of its volume.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    fn begin<'c, 'p, P: Platform>(
        &'c self,
        call: &'c mut Call<'p, P>,
        kind: OpKind,
    ) -> Result<Op<'c, 'p, P, V>, Stop> {
        Op::begin(call, &self.volume, cost::<V>(kind))
    }
}

/// What a kind takes in this variant.
const fn cost<V: Variant>(kind: OpKind) -> Cost {
    const { assert!(fits(&V::EXTRA), "the variant's operations fit the smallest log") };
    full_cost(kind, &V::EXTRA)
}

impl<P: Platform, V: Variant> FileSystem<P> for BentoFs<V> {
    fn version(&self) -> &'static str {
        V::NAME
    }

    fn cost(&self, kind: OpKind) -> Cost {
        cost::<V>(kind)
    }

    fn root(&self) -> InodeNo {
        geometry::ROOT
    }

    fn lookup(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Attr, Stop> {
        self.begin(call, OpKind::Read)?.lookup(dir, name)
    }

    fn parent(&self, call: &mut Call<'_, P>, dir: InodeNo) -> Result<Attr, Stop> {
        self.begin(call, OpKind::Read)?.parent(dir)
    }

    fn create(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        name: Name<'_>,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Create)?.create(dir, name, node, None)
    }

    fn symlink(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        name: Name<'_>,
        target: &[u8],
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Create)?.create(dir, name, node, Some(target))
    }

    fn tmpfile(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::TmpFile)?.tmpfile(dir, node)
    }

    fn link(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Link)?.link(ino, dir, name)
    }

    fn unlink(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Unlink)?.unlink(dir, name, names::Removes::File)
    }

    fn rmdir(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Unlink)?.unlink(dir, name, names::Removes::Directory)
    }

    fn rename(
        &self,
        call: &mut Call<'_, P>,
        from: (InodeNo, Name<'_>),
        to: (InodeNo, Name<'_>),
        how: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        self.begin(call, OpKind::Rename)?.rename(from, to, how)
    }

    fn readdir(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        from: Cursor,
        emit: Emit,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop> {
        self.begin(call, OpKind::ReadDir)?.readdir(dir, from, emit, sink)
    }

    fn readlink(&self, call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.target_read(ino, &inode, to)
    }

    fn getattr(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Attr, Stop> {
        self.begin(call, OpKind::Read)?.getattr(ino)
    }

    fn setattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Committed<(Attr, bool)>, Stop> {
        self.begin(call, OpKind::SetAttr)?.setattr(ino, set)
    }

    fn trim_past_end(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<bool>, Stop> {
        self.begin(call, OpKind::SetAttr)?.trim_past_end(ino)
    }

    fn flush_times(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<()>, Stop> {
        self.begin(call, OpKind::Times)?.flush_times(ino)
    }

    fn summarise(&self, call: &mut Call<'_, P>, from: GroupNo) -> Result<Committed<Option<GroupNo>>, Stop> {
        self.begin(call, OpKind::Summarise)?.summarise(from)
    }

    fn evict(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<Evicted>, Stop> {
        self.begin(call, OpKind::Evict)?.evict(ino)
    }

    fn orphan(&self, call: &mut Call<'_, P>, slot: u64) -> Result<Option<(InodeNo, u64)>, Stop> {
        self.begin(call, OpKind::Read)?.orphan_first(slot)
    }

    fn getxattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
        to: &mut [u8],
    ) -> Result<usize, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        if let Some(asked) = records::asked_for(ino, name) {
            return op.answer(ino, asked, to);
        }
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.xattr_get(ino, &inode, name, to)
    }

    fn setxattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
        value: &[u8],
        how: XattrSet,
    ) -> Result<Committed<()>, Stop> {
        records::check_own(name)?;
        self.begin(call, OpKind::Xattr)?
            .change_xattr(ino, |op, at, inode| op.xattr_set(at, inode, name, value, how))
    }

    fn listxattr(&self, call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.xattr_list(ino, &inode, to)
    }

    fn removexattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
    ) -> Result<Committed<()>, Stop> {
        self.begin(call, OpKind::Xattr)?.change_xattr(ino, |op, at, inode| op.xattr_remove(at, inode, name))
    }

    fn set_acl(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        acl: Option<&[u8]>,
        mode: ModeChange,
    ) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Xattr)?.set_acl(ino, acl, mode)
    }

    fn map(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
    ) -> Result<Mapping, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.map_range(ino, &inode, file, blocks)
    }

    fn place(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
        to: &mut Placement,
    ) -> Result<PlacementId, Stop> {
        self.begin(call, OpKind::Place)?.place_range(ino, file, blocks, to)
    }

    fn publish(&self, call: &mut Call<'_, P>, id: PlacementId, size: u64) -> Result<Committed<Attr>, Stop> {
        self.begin(call, OpKind::Publish)?.publish_placement(id, size)
    }

    fn abandon(&self, call: &mut Call<'_, P>, id: PlacementId) -> Result<(), Stop> {
        self.begin(call, OpKind::Read)?.abandon_placement(id)
    }

    fn fallocate(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        how: Allocate,
        range: Range<u64>,
    ) -> Result<Committed<u64>, Stop> {
        self.begin(call, OpKind::Allocate)?.fallocate_step(ino, how, range)
    }

    fn seek(&self, call: &mut Call<'_, P>, ino: InodeNo, from: u64, what: Seek) -> Result<u64, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.seek_range(ino, &inode, from, what)
    }

    fn first_write(
        &self,
        call: &mut Call<'_, P>,
        caller: &Caller,
        ino: InodeNo,
    ) -> Result<Committed<()>, Stop> {
        if V::RECORDING == Recording::No {
            return Ok(Committed::unchanged(()));
        }
        call.caller = *caller;
        self.begin(call, OpKind::FirstWrite)?.first_write(ino)
    }

    fn wants_first_write(&self) -> bool {
        V::RECORDING == Recording::Yes
    }

    fn statfs(&self, totals: &Totals) -> StatFs {
        let geometry = &self.volume.geometry;
        StatFs {
            blocks: geometry.data_blocks(),
            blocks_free: totals.blocks,
            blocks_available: totals.blocks.saturating_sub(self.volume.reserve),
            inodes: geometry.inodes_total(),
            inodes_free: totals.inodes,
            id: self.volume.id,
            name_max: 255,
            block_bytes: 4096,
        }
    }

    fn describe(&self, what: bento_api::Corruption) -> &'static str {
        Corruption::from_code(what.0).map_or("an unknown problem", Corruption::text)
    }

    fn drive(&self, platform: &P, event: Event) -> Next<P> {
        journal::drive::<P, V>(&self.volume, platform, event)
    }

    fn is_clean(&self, platform: &P) -> bool {
        journal::is_clean(platform)
    }

    fn export(&self, to: &mut [u8]) -> Result<usize, Refused> {
        state::export::<V>(&self.volume, to)
    }
}
