//! The header that every metadata block begins with, except superblocks, log blocks and the inode table.
//!
//! The checksum covers the whole block; number and owner catch a block that was written, or is read, at the wrong
//! place; the batch number says which batch changed it last.
use super::Corruption;
use super::num::index;
use bento_api::{BLOCK, BatchSeq, BlockNo, GroupNo, InodeNo};
use zerocopy::FromBytes;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

/// Bytes of the header.
pub const HEADER: usize = 32;

/// Block numbers, of devices and of files, have 52 bits: a record keeps length and flags in the rest.
pub const BLOCK_LIMIT: u64 = 1 << 52;

raw! {
    /// The header of a metadata block.
    pub struct RawHeader [32] {
        /// CRC-32 over bytes 4.. of the block, seeded by the volume's `csum_seed`.
        0 => crc: U32,
        /// What the block is: [`BlockKind::magic`].
        4 => magic: U32,
        /// The block's own number on the device.
        8 => block: U64,
        /// The inode it belongs to; the group of an allocation block; the index of a summary block.
        16 => owner: U64,
        /// The batch that changed it last; 0 is mkfs.
        24 => seq: U64,
    }
}

/// A function that computes [`crc`].
pub type Crc = fn(seed: u32, bytes: &[u8]) -> u32;

/// What a host has that is faster than tables.
static FASTER: spin::Once<Crc> = spin::Once::new();

/// Has all checksums computed by a function of the host's, from now on: one that uses instructions which this crate, built for
/// no operating system, cannot know to be there. The first one stays.
pub fn use_crc(faster: Crc) {
    FASTER.call_once(|| faster);
}

/// CRC-32 (IEEE, as in zlib; not CRC-32C), continued from `seed`.
pub fn crc(seed: u32, bytes: &[u8]) -> u32 {
    if let Some(faster) = FASTER.get() {
        return faster(seed, bytes);
    }
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// `crc` of a structure as if the four bytes at `at` (its own checksum) were zero.
pub fn crc_without(seed: u32, bytes: &[u8], at: usize) -> u32 {
    let (before, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let after = rest.get(4..).unwrap_or(&[]);
    crc(crc(crc(seed, before), &[0; 4]), after)
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $magic:literal: $bad_magic:ident $checksum:ident $block:ident $owner:ident,)*) => {
        /// What a metadata block is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BlockKind {
            $($(#[$doc])* $name,)*
        }

        impl BlockKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The magic: four ASCII letters, in the order in which they lie on disk.
            pub const fn magic(self) -> u32 {
                match self { $(Self::$name => u32::from_le_bytes(*$magic),)* }
            }

            /// The kind with this magic.
            pub fn from_magic(magic: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.magic() == magic)
            }

            fn problems(self) -> Problems {
                match self {
                    $(Self::$name => Problems {
                        magic: Corruption::$bad_magic,
                        checksum: Corruption::$checksum,
                        block: Corruption::$block,
                        owner: Corruption::$owner,
                    },)*
                }
            }
        }
    };
}

/// The problem numbers of a kind's header.
struct Problems {
    magic: Corruption,
    checksum: Corruption,
    block: Corruption,
    owner: Corruption,
}

kinds! {
    /// A group's counters and bitmaps.
    Alloc b"BALC": GroupMagic GroupChecksum GroupBlock GroupOwner,
    /// Entries of a directory.
    Dir b"BDIR": DirMagic DirChecksum DirBlock DirOwner,
    /// The largest hole of each block of a directory.
    FreeMap b"BFRE": FreeMapMagic FreeMapChecksum FreeMapBlock FreeMapOwner,
    /// A node of a directory's hash index.
    Index b"BIDX": IndexMagic IndexChecksum IndexBlock IndexOwner,
    /// A node of an extent tree.
    Extent b"BEXT": ExtentMagic ExtentChecksum ExtentBlock ExtentOwner,
    /// Extended attributes that do not fit the inode.
    Xattr b"BXAT": XattrMagic XattrChecksum XattrBlock XattrOwner,
    /// The target of a symlink that does not fit the inode.
    Symlink b"BSYM": SymlinkMagic SymlinkChecksum SymlinkBlock SymlinkOwner,
    /// Orphan slots.
    Orphan b"BORP": OrphanMagic OrphanChecksum OrphanBlock OrphanOwner,
    /// The head of the provenance log.
    ProvHead b"BPRH": ProvMagic ProvChecksum ProvBlock ProvOwner,
    /// Provenance records.
    Prov b"BPRV": ProvMagic ProvChecksum ProvBlock ProvOwner,
    /// The group summary.
    Summary b"BSUM": SummaryMagic SummaryChecksum SummaryBlock SummaryOwner,
}

/// Whose a block is: an inode, a group, or the index of a summary block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner(pub u64);

impl From<InodeNo> for Owner {
    fn from(ino: InodeNo) -> Self {
        Self(ino.0)
    }
}

impl From<GroupNo> for Owner {
    fn from(group: GroupNo) -> Self {
        Self(u64::from(group.0))
    }
}

/// A block's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the block is.
    pub kind: BlockKind,
    /// Where it lies.
    pub block: BlockNo,
    /// Whose it is.
    pub owner: Owner,
    /// The batch that changed it last.
    pub seq: BatchSeq,
}

impl Header {
    /// Reads the header and compares it with what the reader expects; the checksum is not looked at. For a block
    /// in the cache, which was verified when it was read.
    pub fn check(bytes: &[u8], kind: BlockKind, block: BlockNo, owner: Owner) -> Result<Self, Corruption> {
        let problems = kind.problems();
        let raw = RawHeader::read_from_prefix(bytes).map_err(|_| problems.magic)?.0;
        if raw.magic.get() != kind.magic() {
            return Err(problems.magic);
        }
        if raw.block.get() != block.0 {
            return Err(problems.block);
        }
        if raw.owner.get() != owner.0 {
            return Err(problems.owner);
        }
        Ok(Self { kind, block, owner, seq: BatchSeq(raw.seq.get()) })
    }

    /// Verifies a block that comes from the device: checksum, then everything that [`Header::check`] looks at.
    pub fn verify(
        bytes: &[u8],
        seed: u32,
        kind: BlockKind,
        block: BlockNo,
        owner: Owner,
    ) -> Result<Self, Corruption> {
        let problems = kind.problems();
        let raw = RawHeader::read_from_prefix(bytes).map_err(|_| problems.magic)?.0;
        if raw.magic.get() != kind.magic() {
            return Err(problems.magic);
        }
        if bytes.len() != BLOCK || checksum(bytes, seed) != raw.crc.get() {
            return Err(problems.checksum);
        }
        Self::check(bytes, kind, block, owner)
    }

    /// Reads whatever header a block has, checksum and number verified; the caller judges kind and owner.
    pub fn read(bytes: &[u8], seed: u32, block: BlockNo) -> Option<Self> {
        let raw = RawHeader::read_from_prefix(bytes).ok()?.0;
        let kind = BlockKind::from_magic(raw.magic.get())?;
        Self::verify(bytes, seed, kind, block, Owner(raw.owner.get())).ok()
    }
}

fn checksum(bytes: &[u8], seed: u32) -> u32 {
    crc(seed, bytes.get(4..).unwrap_or(&[]))
}

/// Makes an empty block of a kind: zeros behind a header. Not yet sealed.
pub fn start(bytes: &mut [u8], kind: BlockKind, block: BlockNo, owner: Owner) {
    bytes.fill(0);
    let header = RawHeader {
        crc: U32::ZERO,
        magic: kind.magic().into(),
        block: block.0.into(),
        owner: owner.0.into(),
        seq: U64::ZERO,
    };
    if let Some(place) = bytes.get_mut(..HEADER) {
        place.copy_from_slice(header.as_bytes());
    }
}

/// Stamps the batch and computes the checksum: the last thing before a block goes to the log or to its home.
pub fn seal(bytes: &mut [u8], seed: u32, seq: BatchSeq) {
    if let Ok((header, _)) = RawHeader::mut_from_prefix(bytes) {
        header.seq = seq.0.into();
    }
    let crc = checksum(bytes, seed);
    if let Ok((header, _)) = RawHeader::mut_from_prefix(bytes) {
        header.crc = crc.into();
    }
}

/// What lies behind the header.
pub fn body(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER..).unwrap_or(&[])
}

/// What lies behind the header, to change.
pub fn body_mut(bytes: &mut [u8]) -> &mut [u8] {
    bytes.get_mut(HEADER..).unwrap_or(&mut [])
}

/// Bit `bit` of a bitmap; bits past the end are set, as on disk.
pub fn bit(bitmap: &[u8], bit: u64) -> bool {
    let mask = 1u8.checked_shl(u32::try_from(bit & 7).unwrap_or(0)).unwrap_or(0);
    bitmap.get(index(bit >> 3)).is_none_or(|byte| byte & mask != 0)
}

/// Sets or clears bit `bit` of a bitmap; false if the bitmap has no such bit.
pub fn set_bit(bitmap: &mut [u8], bit: u64, value: bool) -> bool {
    let mask = 1u8.checked_shl(u32::try_from(bit & 7).unwrap_or(0)).unwrap_or(0);
    match bitmap.get_mut(index(bit >> 3)) {
        Some(byte) if value => *byte |= mask,
        Some(byte) => *byte &= !mask,
        None => return false,
    }
    true
}
