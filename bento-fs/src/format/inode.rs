//! Inode records, 16 to a block of the inode table.
//!
//! A record is written as a whole, with its own checksum, seeded by number and generation: an old record of a
//! number that was used again, or a record at another number's place, does not pass. A record of 256 zeros, as in
//! a table block that was just initialised, is a free inode of generation 0; a free record otherwise keeps only its
//! generation, and whoever uses it again raises that by one.
use super::Corruption;
use super::block::{BLOCK_LIMIT, crc};
use super::geometry::INODE_SIZE;
use super::num::{all_zero, index, narrow32};
use super::record::RECORD;
use bento_api::{BlockNo, FileKind, InodeNo, Time};
use bitflags::bitflags;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// The magic of an inode record: `IB` on disk.
pub const MAGIC: u16 = 0x4249;
/// Bytes of the root area.
pub const ROOT_AREA: usize = 80;
/// Bytes of the attribute area.
pub const XATTR_AREA: usize = 48;
/// The longest symlink target that lies in the inode.
pub const MAX_INLINE_TARGET: u64 = 80;
/// The longest symlink target.
pub const MAX_TARGET: u64 = 4095;
/// The largest file: what a file offset can say.
pub const MAX_SIZE: u64 = (1 << 63) - 1;
/// The deepest tree: the root area is 5 levels above the records of the leaves.
pub const MAX_DEPTH: u8 = 5;
/// The largest directory: its data lies below the free map.
pub const MAX_DIR_SIZE: u64 = super::dirent::FREE_MAP_START << 12;

raw! {
    /// An inode record.
    pub struct RawInode [256] {
        /// CRC-32 over bytes 4.., seeded by `csum_seed`, number and generation.
        0 => crc: U32,
        /// 0x4249.
        4 => magic: U16,
        /// Bytes of this record: 256.
        6 => record_size: U16,
        /// Type and permissions, as in stat(2); 0 in a free record.
        8 => mode: U16,
        /// Low 4 bits: what the root area holds. High 4 bits: depth of the directory index.
        10 => layout: u8,
        /// Depth of the extent tree; 0: the records are in the root area.
        11 => depth: u8,
        /// Links.
        12 => nlink: U32,
        /// Owner.
        16 => uid: U32,
        /// Group.
        20 => gid: U32,
        /// Bytes of the file.
        24 => size: U64,
        /// Blocks held: data, tree, index, attributes.
        32 => blocks: U64,
        /// Last access, seconds since 1970.
        40 => atime: I64,
        /// Last change of the content.
        48 => mtime: I64,
        /// Last change of the inode.
        56 => ctime: I64,
        /// Birth.
        64 => btime: I64,
        /// Nanoseconds of the access time.
        72 => atime_ns: U32,
        /// Nanoseconds of the content's time.
        76 => mtime_ns: U32,
        /// Nanoseconds of the inode's time.
        80 => ctime_ns: U32,
        /// Nanoseconds of the birth.
        84 => btime_ns: U32,
        /// How often this number was used.
        88 => generation: U32,
        /// chattr(1) bits.
        92 => flags: U32,
        /// Counts up with every change.
        96 => version: U64,
        /// Project of the quota.
        104 => project: U32,
        /// Orphan slot + 1; 0: none.
        108 => orphan: U32,
        /// Block of further attributes; 0: none.
        112 => xattr_block: U64,
        /// A directory's parent; 0 in everything else.
        120 => parent: U64,
        /// Extents, index root, symlink target or device number.
        128 => root: [u8; 80],
        /// Attributes.
        208 => xattrs: [u8; 48],
    }
}

bitflags! {
    /// chattr(1) bits, with the numbers of `FS_IOC_GETFLAGS`. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// `s`: secure deletion; kept, without effect.
        const SECURE = 0x1;
        /// `u`: undelete; kept, without effect.
        const UNDELETE = 0x2;
        /// `c`: compress; kept, without effect.
        const COMPRESS = 0x4;
        /// `S`: every write is synchronous.
        const SYNC = 0x8;
        /// `i`: no change at all.
        const IMMUTABLE = 0x10;
        /// `a`: only appending.
        const APPEND = 0x20;
        /// `d`: left out by dump(8).
        const NODUMP = 0x40;
        /// `A`: the access time is not kept.
        const NOATIME = 0x80;
        /// `j`: data goes through the journal.
        const JOURNAL_DATA = 0x4000;
        /// `D`: changes of a directory are synchronous.
        const DIRSYNC = 0x1_0000;
        /// `P`: children inherit the project.
        const PROJECT_INHERIT = 0x2000_0000;
        const _ = !0;
    }
}

/// What the root area of an inode holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootKind {
    /// Extent records, or the root of a tree of them; in a directory also the root of its index.
    #[default]
    Extents,
    /// The target of a symlink.
    Target,
    /// A device number.
    Device,
}

impl RootKind {
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Extents),
            1 => Some(Self::Target),
            2 => Some(Self::Device),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Extents => 0,
            Self::Target => 1,
            Self::Device => 2,
        }
    }
}

/// An inode, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Type and permissions; 0: the inode is free.
    pub mode: u16,
    /// What the root area holds.
    pub layout: RootKind,
    /// Depth of the extent tree; 0: the records are in the root area.
    pub depth: u8,
    /// Depth of the directory index; 0: there is none.
    pub index_depth: u8,
    /// Links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of the file.
    pub size: u64,
    /// Blocks held, of every kind.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Birth.
    pub btime: Time,
    /// How often this number was used.
    pub generation: u32,
    /// chattr bits.
    pub flags: Flags,
    /// Counts up with every change.
    pub version: u64,
    /// Project of the quota.
    pub project: u32,
    /// The orphan slot that names this inode.
    pub orphan: Option<u32>,
    /// The block of further attributes.
    pub xattr_block: Option<BlockNo>,
    /// A directory's parent; `InodeNo(0)` in everything else.
    pub parent: InodeNo,
    /// The root area.
    pub root: [u8; ROOT_AREA],
    /// The attribute area.
    pub xattrs: [u8; XATTR_AREA],
}

impl Inode {
    /// What a record tells of it.
    pub fn object(&self, ino: InodeNo) -> super::prov::Object {
        super::prov::Object {
            ino,
            generation: self.generation,
            version: self.version,
            mode: self.mode,
            nlink: self.nlink,
            size: self.size,
        }
    }

    /// A free inode of this generation.
    pub const fn free(generation: u32) -> Self {
        Self {
            mode: 0,
            layout: RootKind::Extents,
            depth: 0,
            index_depth: 0,
            nlink: 0,
            uid: 0,
            gid: 0,
            size: 0,
            blocks: 0,
            atime: Time::new(0, 0),
            mtime: Time::new(0, 0),
            ctime: Time::new(0, 0),
            btime: Time::new(0, 0),
            generation,
            flags: Flags::empty(),
            version: 0,
            project: 0,
            orphan: None,
            xattr_block: None,
            parent: InodeNo(0),
            root: [0; ROOT_AREA],
            xattrs: [0; XATTR_AREA],
        }
    }

    /// Reads the record of inode `ino`. A free inode decodes too: see [`Inode::is_free`].
    pub fn decode(bytes: &[u8], ino: InodeNo, seed: u32) -> Result<Self, Corruption> {
        let mut inode = Self::free(0);
        inode.read(bytes, ino, seed)?;
        Ok(inode)
    }

    /// As [`Inode::decode`], in place: as a value it would be copied from frame to frame of a stack that is small. After an
    /// error it is no inode.
    pub fn read(&mut self, bytes: &[u8], ino: InodeNo, seed: u32) -> Result<(), Corruption> {
        let (raw, _) = RawInode::ref_from_prefix(bytes).map_err(|_| Corruption::InodeRecordSize)?;
        if raw.magic.get() != MAGIC {
            *self = Self::free(0);
            return if all_zero(raw.as_bytes()) { Ok(()) } else { Err(Corruption::InodeMagic) };
        }
        if checksum(raw, ino, seed) != raw.crc.get() {
            return Err(Corruption::InodeChecksum);
        }
        if index(raw.record_size.get().into()) != INODE_SIZE {
            return Err(Corruption::InodeRecordSize);
        }
        self.take_fields(raw)?;
        self.check()
    }

    fn take_fields(&mut self, raw: &RawInode) -> Result<(), Corruption> {
        let xattr_block = raw.xattr_block.get();
        // All the fields there are, or this does not compile.
        let Self {
            mode,
            layout,
            depth,
            index_depth,
            nlink,
            uid,
            gid,
            size,
            blocks,
            atime,
            mtime,
            ctime,
            btime,
            generation,
            flags,
            version,
            project,
            orphan,
            xattr_block: xattrs_at,
            parent,
            root,
            xattrs,
        } = self;
        *mode = raw.mode.get();
        *layout = RootKind::from_bits(raw.layout & 0xf).ok_or(Corruption::InodeLayout)?;
        (*depth, *index_depth) = (raw.depth, raw.layout >> 4);
        (*nlink, *uid, *gid) = (raw.nlink.get(), raw.uid.get(), raw.gid.get());
        (*size, *blocks) = (raw.size.get(), raw.blocks.get());
        *atime = time(raw.atime, raw.atime_ns)?;
        *mtime = time(raw.mtime, raw.mtime_ns)?;
        *ctime = time(raw.ctime, raw.ctime_ns)?;
        *btime = time(raw.btime, raw.btime_ns)?;
        (*generation, *version, *project) = (raw.generation.get(), raw.version.get(), raw.project.get());
        *flags = Flags::from_bits_retain(raw.flags.get());
        *orphan = raw.orphan.get().checked_sub(1);
        *xattrs_at = (xattr_block != 0).then_some(BlockNo(xattr_block));
        *parent = InodeNo(raw.parent.get());
        *root = raw.root;
        *xattrs = raw.xattrs;
        Ok(())
    }

    #[inline(never)] // what it compares with is large, and few inodes are free
    fn check_free(&self) -> Result<(), Corruption> {
        if *self == Self::free(self.generation) { Ok(()) } else { Err(Corruption::InodeFree) }
    }

    /// Checks the fields against each other.
    fn check(&self) -> Result<(), Corruption> {
        if self.is_free() {
            return self.check_free();
        }
        let kind = FileKind::of_mode(self.mode.into()).ok_or(Corruption::InodeMode)?;
        self.check_layout(kind)?;
        let most = match kind {
            FileKind::Regular => MAX_SIZE,
            FileKind::Directory => MAX_DIR_SIZE,
            FileKind::Symlink => MAX_TARGET,
            FileKind::Fifo | FileKind::CharDevice | FileKind::BlockDevice | FileKind::Socket => 0,
        };
        if self.size > most
            || (kind == FileKind::Directory && !self.size.is_multiple_of(bento_api::BLOCK_BYTES))
        {
            return Err(Corruption::InodeFileSize);
        }
        if self.blocks >= BLOCK_LIMIT {
            return Err(Corruption::InodeBlocks);
        }
        if self.xattr_block.is_some_and(|block| block.0 >= BLOCK_LIMIT) {
            return Err(Corruption::InodeXattrBlock);
        }
        if (self.parent.0 != 0) != (kind == FileKind::Directory) {
            return Err(Corruption::InodeParent);
        }
        Ok(())
    }

    fn check_layout(&self, kind: FileKind) -> Result<(), Corruption> {
        let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        let fits = match self.layout {
            RootKind::Extents => !device,
            RootKind::Target => kind == FileKind::Symlink,
            RootKind::Device => device,
        };
        if !fits {
            return Err(Corruption::InodeLayout);
        }
        let tree = self.layout == RootKind::Extents
            && matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink);
        let index = kind == FileKind::Directory;
        if self.depth > if tree { MAX_DEPTH } else { 0 }
            || self.index_depth > if index { MAX_DEPTH } else { 0 }
        {
            return Err(Corruption::InodeDepth);
        }
        let used = match self.layout {
            RootKind::Device => 8,
            RootKind::Target => index_of_target(self.size)?,
            RootKind::Extents if !tree => 0,
            RootKind::Extents if index && self.index_depth == 0 => ROOT_AREA.saturating_sub(RECORD),
            RootKind::Extents => ROOT_AREA,
        };
        let (content, rest) = self.root.split_at_checked(used).unwrap_or((&[], &self.root));
        if !all_zero(rest) {
            return Err(Corruption::InodeRoot);
        }
        if self.layout == RootKind::Target && content.contains(&0) {
            return Err(Corruption::SymlinkTarget);
        }
        Ok(())
    }

    /// Writes the record of inode `ino`, checksum included. `bytes` is the record's 256 bytes.
    pub fn encode(&self, bytes: &mut [u8], ino: InodeNo, seed: u32) {
        let Ok((raw, _)) = RawInode::mut_from_prefix(bytes) else { return };
        *raw = RawInode {
            crc: U32::ZERO,
            magic: MAGIC.into(),
            record_size: U16::new(256),
            mode: self.mode.into(),
            layout: self.layout.bits() | self.index_depth << 4,
            depth: self.depth,
            nlink: self.nlink.into(),
            uid: self.uid.into(),
            gid: self.gid.into(),
            size: self.size.into(),
            blocks: self.blocks.into(),
            atime: self.atime.seconds.into(),
            mtime: self.mtime.seconds.into(),
            ctime: self.ctime.seconds.into(),
            btime: self.btime.seconds.into(),
            atime_ns: self.atime.nanoseconds.into(),
            mtime_ns: self.mtime.nanoseconds.into(),
            ctime_ns: self.ctime.nanoseconds.into(),
            btime_ns: self.btime.nanoseconds.into(),
            generation: self.generation.into(),
            flags: self.flags.bits().into(),
            version: self.version.into(),
            project: self.project.into(),
            orphan: self.orphan.map_or(0, |slot| slot.saturating_add(1)).into(),
            xattr_block: self.xattr_block.map_or(0, |block| block.0).into(),
            parent: self.parent.0.into(),
            root: self.root,
            xattrs: self.xattrs,
        };
        raw.crc = checksum(raw, ino, seed).into();
    }

    /// True if the record is not in use.
    pub fn is_free(&self) -> bool {
        self.mode == 0
    }

    /// The inode's type; `None` if it is free.
    pub fn kind(&self) -> Option<FileKind> {
        FileKind::of_mode(self.mode.into())
    }

    /// The major and minor number of a device.
    pub fn device(&self) -> Option<(u32, u32)> {
        let (raw, _) = <[U32; 2]>::ref_from_prefix(&self.root).ok()?;
        let [major, minor] = raw;
        (self.layout == RootKind::Device).then_some((major.get(), minor.get()))
    }

    /// Makes the inode a device.
    pub fn set_device(&mut self, major: u32, minor: u32) {
        self.layout = RootKind::Device;
        self.root = [0; ROOT_AREA];
        if let Ok((raw, _)) = <[U32; 2]>::mut_from_prefix(&mut self.root) {
            *raw = [major.into(), minor.into()];
        }
    }

    /// The target of a symlink that lies in the inode.
    pub fn target(&self) -> Option<&[u8]> {
        if self.layout != RootKind::Target {
            return None;
        }
        self.root.get(..index(self.size))
    }

    /// Puts a short symlink target into the inode, with its size; false if it does not fit.
    pub fn set_target(&mut self, target: &[u8]) -> bool {
        let Some(place) = self.root.get_mut(..target.len()) else { return false };
        place.copy_from_slice(target);
        self.layout = RootKind::Target;
        self.size = u64::from(narrow32(target.len()));
        true
    }

    /// The records of the extent root: five, or four in a directory.
    pub fn extent_root(&self) -> &[u8] {
        let whole = self.kind() != Some(FileKind::Directory);
        self.root.get(..if whole { ROOT_AREA } else { ROOT_AREA - RECORD }).unwrap_or(&[])
    }

    /// The records of the extent root, to change.
    pub fn extent_root_mut(&mut self) -> &mut [u8] {
        let whole = self.kind() != Some(FileKind::Directory);
        self.root.get_mut(..if whole { ROOT_AREA } else { ROOT_AREA - RECORD }).unwrap_or(&mut [])
    }

    /// The one record of the index root.
    pub fn index_root(&self) -> &[u8] {
        self.root.get(ROOT_AREA - RECORD..).unwrap_or(&[])
    }

    /// The one record of the index root, to change.
    pub fn index_root_mut(&mut self) -> &mut [u8] {
        self.root.get_mut(ROOT_AREA - RECORD..).unwrap_or(&mut [])
    }
}

fn index_of_target(size: u64) -> Result<usize, Corruption> {
    if (1..=MAX_INLINE_TARGET).contains(&size) { Ok(index(size)) } else { Err(Corruption::SymlinkTarget) }
}

fn time(seconds: I64, nanoseconds: U32) -> Result<Time, Corruption> {
    if nanoseconds.get() < 1_000_000_000 {
        Ok(Time::new(seconds.get(), nanoseconds.get()))
    } else {
        Err(Corruption::InodeTime)
    }
}

fn checksum(raw: &RawInode, ino: InodeNo, seed: u32) -> u32 {
    let number = crc(seed, U64::new(ino.0).as_bytes());
    let seed = crc(number, raw.generation.as_bytes());
    crc(seed, raw.as_bytes().get(4..).unwrap_or(&[]))
}

/// The checksum that the 256 bytes of a record should have: for tools that repair or damage.
pub fn checksum_of(bytes: &[u8], ino: InodeNo, seed: u32) -> u32 {
    RawInode::ref_from_prefix(bytes).map_or(0, |(raw, _)| checksum(raw, ino, seed))
}
