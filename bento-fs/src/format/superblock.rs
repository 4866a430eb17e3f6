//! The superblock, in block 1, and its copies.
//!
//! Every field and the checksum lie in the first 512 bytes, and the rest of the block is zero: a torn write shows
//! the old superblock or the new one, on any device.
//!
//! # Crash
//! Written last at mkfs and at a clean unmount, so that a volume that calls itself clean is.
use super::block::{BLOCK_LIMIT, crc_without};
use super::geometry::{FIRST_INODE, Geometry, has_copy};
use super::num::all_zero;
use super::{Corruption, HashKey, hash};
use bento_api::{BLOCK, BlockNo, GroupNo, InodeNo};
use bitflags::bitflags;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// The first eight bytes of a superblock.
pub const MAGIC: [u8; 8] = *b"BENTOFS\x01";
/// The version of the format that this code reads and writes.
pub const VERSION: u32 = 1;
/// The base-2 logarithm of the block size.
pub const BLOCK_LOG: u8 = 12;
/// The most bytes of a label.
pub const MAX_LABEL: usize = 63;
/// Bytes of the superblock that may be other than zero: one sector.
pub const USED: usize = 512;

raw! {
    /// An error that a mount met: the first one, or the last.
    pub struct RawErrorRecord [32] {
        /// When, in seconds since 1970.
        0 => time: I64,
        /// The block, 0 if none is to blame.
        8 => block: U64,
        /// The inode, 0 if none is to blame.
        16 => inode: U64,
        /// The problem number.
        24 => code: U16,
        /// Zero.
        26 => unused: [u8; 6],
    }
}

raw! {
    /// The superblock.
    pub struct RawSuperblock [512] {
        /// `BENTOFS` and a byte 1.
        0 => magic: [u8; 8],
        /// The format's version: 1.
        8 => version: U32,
        /// CRC-32 of the whole block with this field zero, not seeded.
        12 => crc: U32,
        /// Features that a reader and a writer may not know.
        16 => compat: U32,
        /// Features that a writer must know.
        20 => ro_compat: U32,
        /// Features that a reader must know.
        24 => incompat: U32,
        /// The seed of all metadata checksums: random, so that a change of the UUID rewrites nothing.
        28 => csum_seed: U32,
        /// The volume's UUID.
        32 => uuid: [u8; 16],
        /// The label, at most 63 bytes, then zeros.
        48 => label: [u8; 64],
        /// The key of the directory hash: random.
        112 => hash_key: [u8; 16],
        /// The directory hash: 1 is SipHash-2-4.
        128 => hash_id: u8,
        /// Base-2 logarithm of the block size: 12.
        129 => block_log: u8,
        /// What to do at an error: 1 go on, 2 remount read-only, 3 panic.
        130 => errors: u8,
        /// Zero.
        131 => unused0: u8,
        /// Bytes of an inode record: 256.
        132 => inode_size: U16,
        /// Zero.
        134 => unused1: U16,
        /// Blocks of the volume, from block 0 of the device.
        136 => blocks_total: U64,
        /// First block of group 0.
        144 => groups_start: U64,
        /// First block of the log.
        152 => log_start: U64,
        /// Blocks of the log, two header slots included.
        160 => log_len: U64,
        /// First block of the group summary.
        168 => summary_start: U64,
        /// Blocks of the group summary.
        176 => summary_len: U64,
        /// Blocks kept for unlink and for growing the orphan file.
        184 => reserved_blocks: U64,
        /// Number of groups.
        192 => groups: U32,
        /// Blocks of a group.
        196 => blocks_per_group: U32,
        /// Inodes of a group.
        200 => inodes_per_group: U32,
        /// First inode that is not reserved: 16.
        204 => first_inode: U32,
        /// The group that this copy lies in; 0 in the superblock itself.
        208 => copy_group: U32,
        /// Mount options to start from, as bits.
        212 => mount_options: U32,
        /// State bits: 1 clean, 2 errors were met.
        216 => state: U32,
        /// Mounts since mkfs.
        220 => mount_count: U32,
        /// When the volume was made, in seconds since 1970.
        224 => mkfs_time: I64,
        /// When it was last mounted for writing.
        232 => mount_time: I64,
        /// When the superblock was last written.
        240 => write_time: I64,
        /// Errors met since the last fsck.
        248 => error_count: U32,
        /// Zero.
        252 => unused2: U32,
        /// The first error since the last fsck.
        256 => first_error: RawErrorRecord,
        /// The last error.
        288 => last_error: RawErrorRecord,
        /// Zero.
        320 => unused3: [u8; 192],
    }
}

bitflags! {
    /// Features that neither a reader nor a writer needs to know.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Compat: u32 {
        /// The volume has, or had, provenance records.
        const PROV = 1;
        const _ = !0;
    }

    /// Features that a writer must know; without, the volume is mounted read-only.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RoCompat: u32 {
        /// Quota inodes are kept.
        const QUOTA = 1;
        /// A resize is under way.
        const RESIZE = 2;
        const _ = !0;
    }

    /// Features that a reader must know; without, the volume is not mounted.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Incompat: u32 {
        /// The log may hold delta tags.
        const DELTA_LOG = 1;
        /// The log is on another device.
        const EXTERNAL_LOG = 2;
        const _ = !0;
    }

    /// The state of a volume.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct State: u32 {
        /// Unmounted, and nothing in the log is needed.
        const CLEAN = 1;
        /// A mount met an error; cleared by fsck.
        const ERROR = 2;
    }
}

impl RoCompat {
    /// What this version can write.
    pub const SUPPORTED: Self = Self::empty();
}

impl Incompat {
    /// What this version can read.
    pub const SUPPORTED: Self = Self::empty();
}

/// What a mount does at an error in metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Answer the one operation with an error.
    Continue,
    /// And refuse all further changes.
    #[default]
    RemountReadOnly,
    /// Panic; only if the mount's own options say so too.
    Panic,
}

impl OnError {
    /// From the byte on disk.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Continue),
            2 => Some(Self::RemountReadOnly),
            3 => Some(Self::Panic),
            _ => None,
        }
    }

    /// The byte on disk.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Continue => 1,
            Self::RemountReadOnly => 2,
            Self::Panic => 3,
        }
    }
}

/// An error that a mount met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorRecord {
    /// When, in seconds since 1970.
    pub time: i64,
    /// The problem number; 0 is no error.
    pub code: u16,
    /// The block, or 0.
    pub block: BlockNo,
    /// The inode, or 0.
    pub inode: InodeNo,
}

impl From<&RawErrorRecord> for ErrorRecord {
    fn from(raw: &RawErrorRecord) -> Self {
        Self {
            time: raw.time.get(),
            code: raw.code.get(),
            block: BlockNo(raw.block.get()),
            inode: InodeNo(raw.inode.get()),
        }
    }
}

impl From<&ErrorRecord> for RawErrorRecord {
    fn from(record: &ErrorRecord) -> Self {
        Self {
            time: record.time.into(),
            block: record.block.0.into(),
            inode: record.inode.0.into(),
            code: record.code.into(),
            unused: [0; 6],
        }
    }
}

/// The superblock, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Features that need not be known.
    pub compat: Compat,
    /// Features that a writer must know.
    pub ro_compat: RoCompat,
    /// Features that a reader must know.
    pub incompat: Incompat,
    /// The seed of all metadata checksums.
    pub csum_seed: u32,
    /// The volume's UUID.
    pub uuid: [u8; 16],
    /// The label, padded with zeros.
    pub label: [u8; 64],
    /// The key of the directory hash.
    pub hash_key: HashKey,
    /// What to do at an error.
    pub errors: OnError,
    /// Sizes and places.
    pub geometry: Geometry,
    /// Blocks kept for unlink and for growing the orphan file.
    pub reserved_blocks: u64,
    /// The group that this copy lies in; `GroupNo(0)` in the superblock itself.
    pub copy_group: GroupNo,
    /// Mount options to start from.
    pub mount_options: u32,
    /// Clean, in use, in error.
    pub state: State,
    /// Mounts since mkfs.
    pub mount_count: u32,
    /// When the volume was made.
    pub mkfs_time: i64,
    /// When it was last mounted for writing.
    pub mount_time: i64,
    /// When the superblock was last written.
    pub write_time: i64,
    /// Errors since the last fsck.
    pub error_count: u32,
    /// The first of them.
    pub first_error: ErrorRecord,
    /// The last of them.
    pub last_error: ErrorRecord,
}

impl Superblock {
    /// Reads the superblock from the bytes of block 1, or of a copy. Unknown incompatible features are refused
    /// here, before a field is looked at that they may have given another meaning.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let (raw, _) = RawSuperblock::ref_from_prefix(bytes).map_err(|_| Corruption::SuperblockMagic)?;
        if raw.magic != MAGIC {
            return Err(Corruption::SuperblockMagic);
        }
        if bytes.len() != BLOCK || checksum(bytes) != raw.crc.get() {
            return Err(Corruption::SuperblockChecksum);
        }
        if raw.version.get() != VERSION {
            return Err(Corruption::SuperblockVersion);
        }
        let incompat = Incompat::from_bits_retain(raw.incompat.get());
        if !Incompat::SUPPORTED.contains(incompat) {
            return Err(Corruption::SuperblockIncompat);
        }
        check_fixed(raw, bytes.get(USED..).unwrap_or(&[]))?;
        Self::assemble(raw, incompat)
    }

    fn assemble(raw: &RawSuperblock, incompat: Incompat) -> Result<Self, Corruption> {
        let geometry = geometry(raw);
        geometry.check()?;
        let copy_group = GroupNo(raw.copy_group.get());
        if copy_group.0 >= geometry.groups || (copy_group.0 != 0 && !has_copy(copy_group)) {
            return Err(Corruption::SuperblockCopyGroup);
        }
        if raw.reserved_blocks.get() > geometry.data_blocks() {
            return Err(Corruption::SuperblockReserved);
        }
        Ok(Self {
            compat: Compat::from_bits_retain(raw.compat.get()),
            ro_compat: RoCompat::from_bits_retain(raw.ro_compat.get()),
            incompat,
            csum_seed: raw.csum_seed.get(),
            uuid: raw.uuid,
            label: raw.label,
            hash_key: HashKey(raw.hash_key),
            errors: OnError::from_byte(raw.errors).ok_or(Corruption::SuperblockState)?,
            geometry,
            reserved_blocks: raw.reserved_blocks.get(),
            copy_group,
            mount_options: raw.mount_options.get(),
            state: State::from_bits(raw.state.get()).ok_or(Corruption::SuperblockState)?,
            mount_count: raw.mount_count.get(),
            mkfs_time: raw.mkfs_time.get(),
            mount_time: raw.mount_time.get(),
            write_time: raw.write_time.get(),
            error_count: raw.error_count.get(),
            first_error: (&raw.first_error).into(),
            last_error: (&raw.last_error).into(),
        })
    }

    /// Writes the whole block, checksum included. `bytes` is one block.
    pub fn encode(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        let g = &self.geometry;
        if let Ok((raw, _)) = RawSuperblock::mut_from_prefix(bytes) {
            *raw = RawSuperblock {
                magic: MAGIC,
                version: VERSION.into(),
                crc: U32::ZERO,
                compat: self.compat.bits().into(),
                ro_compat: self.ro_compat.bits().into(),
                incompat: self.incompat.bits().into(),
                csum_seed: self.csum_seed.into(),
                uuid: self.uuid,
                label: self.label,
                hash_key: self.hash_key.0,
                hash_id: hash::SIPHASH_2_4,
                block_log: BLOCK_LOG,
                errors: self.errors.byte(),
                unused0: 0,
                inode_size: U16::new(256),
                unused1: U16::ZERO,
                blocks_total: g.blocks_total.into(),
                groups_start: g.groups_start.0.into(),
                log_start: g.log_start.0.into(),
                log_len: g.log_len.into(),
                summary_start: g.summary_start.0.into(),
                summary_len: g.summary_len.into(),
                reserved_blocks: self.reserved_blocks.into(),
                groups: g.groups.into(),
                blocks_per_group: g.blocks_per_group.into(),
                inodes_per_group: g.inodes_per_group.into(),
                first_inode: FIRST_INODE.into(),
                copy_group: self.copy_group.0.into(),
                mount_options: self.mount_options.into(),
                state: self.state.bits().into(),
                mount_count: self.mount_count.into(),
                mkfs_time: self.mkfs_time.into(),
                mount_time: self.mount_time.into(),
                write_time: self.write_time.into(),
                error_count: self.error_count.into(),
                unused2: U32::ZERO,
                first_error: (&self.first_error).into(),
                last_error: (&self.last_error).into(),
                unused3: [0; 192],
            };
        }
        let crc = checksum(bytes);
        if let Ok((raw, _)) = RawSuperblock::mut_from_prefix(bytes) {
            raw.crc = crc.into();
        }
    }

    /// The label without its padding.
    pub fn label(&self) -> &[u8] {
        self.label.split(|byte| *byte == 0).next().unwrap_or(&[])
    }

    /// Puts a label; false if it is too long or holds a NUL.
    pub fn set_label(&mut self, label: &[u8]) -> bool {
        if label.len() > MAX_LABEL || label.contains(&0) {
            return false;
        }
        self.label.fill(0);
        self.label.iter_mut().zip(label).for_each(|(to, from)| *to = *from);
        true
    }

    /// True if the volume has features that this version can read but must not write.
    pub fn read_only(&self) -> bool {
        !RoCompat::SUPPORTED.contains(self.ro_compat)
    }

    /// Notes an error: the first, the last, how many, and that fsck should look.
    pub fn note_error(&mut self, error: ErrorRecord) {
        if self.error_count == 0 {
            self.first_error = error;
        }
        self.last_error = error;
        self.error_count = self.error_count.saturating_add(1);
        self.state.insert(State::ERROR);
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc_without(0, bytes, core::mem::offset_of!(RawSuperblock, crc))
}

fn geometry(raw: &RawSuperblock) -> Geometry {
    Geometry {
        blocks_total: raw.blocks_total.get(),
        groups_start: BlockNo(raw.groups_start.get()),
        groups: raw.groups.get(),
        blocks_per_group: raw.blocks_per_group.get(),
        inodes_per_group: raw.inodes_per_group.get(),
        log_start: BlockNo(raw.log_start.get()),
        log_len: raw.log_len.get(),
        summary_start: BlockNo(raw.summary_start.get()),
        summary_len: raw.summary_len.get(),
    }
}

/// Fields with one valid value, and bytes that are not used.
fn check_fixed(raw: &RawSuperblock, rest: &[u8]) -> Result<(), Corruption> {
    let error_unused = [&raw.first_error, &raw.last_error]
        .iter()
        .all(|error| all_zero(&error.unused) && error.block.get() < BLOCK_LIMIT);
    let label_end = raw.label.iter().position(|byte| *byte == 0).ok_or(Corruption::SuperblockLabel)?;
    if !raw.label.get(label_end..).is_some_and(all_zero) {
        return Err(Corruption::SuperblockLabel);
    }
    if raw.block_log != BLOCK_LOG {
        return Err(Corruption::SuperblockBlockSize);
    }
    if raw.hash_id != hash::SIPHASH_2_4 {
        return Err(Corruption::SuperblockHash);
    }
    if raw.inode_size.get() != 256 {
        return Err(Corruption::SuperblockInodeSize);
    }
    if raw.first_inode.get() != FIRST_INODE {
        return Err(Corruption::SuperblockFirstInode);
    }
    let unused = [
        raw.unused0.as_bytes(),
        raw.unused1.as_bytes(),
        raw.unused2.as_bytes(),
        raw.unused3.as_bytes(),
        rest,
    ];
    if !error_unused || !unused.iter().all(|bytes| all_zero(bytes)) {
        return Err(Corruption::SuperblockTail);
    }
    Ok(())
}
