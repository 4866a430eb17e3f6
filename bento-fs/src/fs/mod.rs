//! The operations: each is one transaction that fits on a screen.
//!
//! [`BentoFs`] holds what the code knows of its volume and no state; the modules have the bodies, on the transaction.
mod attr;
mod list;
mod names;
mod node;
mod rename;

use crate::format::{Corruption, HashKey, geometry};
use crate::journal;
use crate::op::{Op, Volume};
use crate::variant::Variant;
use bento_api::envelope::{Reader, Refused, Writer, tag};
use bento_api::limits::base_cost;
use bento_api::{
    Allocate, Attr, Call, Committed, Cost, Cursor, DirEntry, Emit, Event, Evicted, FileBlock, FileSystem,
    InodeNo, Mapping, Name, NewNode, Next, OpKind, Placement, PlacementId, Platform, Rename, Seek, SetAttr,
    StatFs, Stop, Totals, XattrName, XattrSet,
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
        let reader = Reader::new(bytes)?;
        reader.require_known(&[tag::VOLUME])?;
        let volume = import_volume(reader.section(tag::VOLUME)?).ok_or(Refused::BadSection(tag::VOLUME))?;
        Ok(Self::new(volume))
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
        Op::begin(call, &self.volume, full_cost::<V>(kind))
    }
}

/// What a kind takes, the variant's additions included.
const fn full_cost<V: Variant>(kind: OpKind) -> Cost {
    let base = base_cost(kind);
    if base.credits == 0 {
        return base;
    }
    Cost { credits: base.credits + V::EXTRA.credits, pages: base.pages + V::EXTRA.pages }
}

impl<P: Platform, V: Variant> FileSystem<P> for BentoFs<V> {
    fn version(&self) -> &'static str {
        V::NAME
    }

    fn cost(&self, kind: OpKind) -> Cost {
        full_cost::<V>(kind)
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
        let inode = op.inode(ino)?;
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
        op.share(ino)?;
        let inode = op.inode(ino)?;
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
        self.begin(call, OpKind::Xattr)?
            .change_xattr(ino, |op, at, inode| op.xattr_set(at, inode, name, value, how))
    }

    fn listxattr(&self, call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        op.share(ino)?;
        let inode = op.inode(ino)?;
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

    fn map(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
    ) -> Result<Mapping, Stop> {
        let mut op = self.begin(call, OpKind::Read)?;
        op.share(ino)?;
        let inode = op.inode(ino)?;
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
        let inode = op.inode(ino)?;
        op.seek_range(ino, &inode, from, what)
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
        let mut bytes = [0; VOLUME_BYTES];
        export_volume(&self.volume, &mut bytes);
        let mut writer = Writer::new(to)?;
        writer.section(tag::VOLUME, &bytes)?;
        writer.section(tag::VERSION, V::NAME.as_bytes())?;
        writer.finish()
    }
}

/// Words of the volume's section.
const VOLUME_WORDS: usize = 15;
const VOLUME_BYTES: usize = VOLUME_WORDS * 8;

/// The volume as words, in the order of its fields.
fn export_volume(volume: &Volume, to: &mut [u8; VOLUME_BYTES]) {
    let Volume { geometry, seed, hash_key, reserve, id, read_only } = volume;
    let (key, _) = hash_key.0.as_chunks::<8>();
    let key = |at: usize| key.get(at).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let words: [u64; VOLUME_WORDS] = [
        geometry.blocks_total,
        geometry.groups_start.0,
        geometry.groups.into(),
        geometry.blocks_per_group.into(),
        geometry.inodes_per_group.into(),
        geometry.log_start.0,
        geometry.log_len,
        geometry.summary_start.0,
        geometry.summary_len,
        (*seed).into(),
        key(0),
        key(1),
        *reserve,
        *id,
        u64::from(*read_only),
    ];
    for (place, word) in to.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
}

fn import_volume(bytes: &[u8]) -> Option<Volume> {
    let (words, _) = bytes.first_chunk::<VOLUME_BYTES>()?.as_chunks::<8>();
    let word = |at: usize| words.get(at).map(|bytes| u64::from_le_bytes(*bytes));
    let small = |at: usize| u32::try_from(word(at)?).ok();
    let mut key = [0; 16];
    for (place, at) in key.as_chunks_mut::<8>().0.iter_mut().zip(10..) {
        *place = word(at)?.to_le_bytes();
    }
    let geometry = geometry::Geometry {
        blocks_total: word(0)?,
        groups_start: bento_api::BlockNo(word(1)?),
        groups: small(2)?,
        blocks_per_group: small(3)?,
        inodes_per_group: small(4)?,
        log_start: bento_api::BlockNo(word(5)?),
        log_len: word(6)?,
        summary_start: bento_api::BlockNo(word(7)?),
        summary_len: word(8)?,
    };
    geometry.check().ok()?;
    Some(Volume {
        geometry,
        seed: small(9)?,
        hash_key: HashKey(key),
        reserve: word(12)?,
        id: word(13)?,
        read_only: word(14)? != 0,
    })
}
