//! Where file data lies, and where it is going to lie.
use crate::limits::PLACEMENT_EXTENTS;
use crate::{BlockNo, FileBlock, InodeNo};

/// A run of blocks of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Extent {
    /// The first block, in the file.
    pub file: FileBlock,
    /// The first block, on the device.
    pub block: BlockNo,
    /// How many, at least 1.
    pub blocks: u32,
    /// Zero.
    pub unused: u32,
}

/// What `map` found at the start of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Nothing: reads as zeros.
    Hole,
    /// Blocks are reserved and read as zeros.
    Unwritten(BlockNo),
    /// The data lies there.
    Data(BlockNo),
}

/// The longest uniform piece at the start of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first block, in the file.
    pub file: FileBlock,
    /// How many blocks, at least 1.
    pub blocks: u64,
    /// What lies there.
    pub kind: MapKind,
}

/// A placement that is open: chosen, and neither published nor abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PlacementId(pub u32);

/// Blocks chosen in memory for new data. Plain data: a file system of another version may end it.
///
/// The extents are in file order, cover `file .. file + blocks` without gaps, and that range held no block of
/// the file (or only unwritten ones: then the extents are those) when they were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Placement {
    /// Whose data it will be.
    pub ino: InodeNo,
    /// Of this generation.
    pub generation: u32,
    /// How many of `extents` are used.
    pub count: u32,
    /// The first block of the range, in the file.
    pub file: FileBlock,
    /// How many blocks the range has.
    pub blocks: u32,
    /// 1 if the extents are unwritten blocks of the file already, not claims.
    pub unwritten: u32,
    /// The device blocks.
    pub extents: [Extent; PLACEMENT_EXTENTS],
}

impl Placement {
    /// A placement with no extents yet.
    pub const fn empty() -> Self {
        const NONE: Extent = Extent { file: FileBlock(0), block: BlockNo(0), blocks: 0, unused: 0 };
        Self {
            ino: InodeNo(0),
            generation: 0,
            count: 0,
            file: FileBlock(0),
            blocks: 0,
            unwritten: 0,
            extents: [NONE; PLACEMENT_EXTENTS],
        }
    }

    /// The extents that are used.
    pub fn extents(&self) -> &[Extent] {
        usize::try_from(self.count).ok().and_then(|count| self.extents.get(..count)).unwrap_or(&[])
    }
}
