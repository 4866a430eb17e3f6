//! The one table of capacities and log credits. Everything that must fit somewhere is counted here, and the C
//! header is made from it.

/// Extents in one placement.
pub const PLACEMENT_EXTENTS: usize = 64;
/// Blocks that one call can keep pinned.
pub const PINS: usize = 128;
/// Blocks that one wait can ask for.
pub const WANTED: usize = 32;
/// Claims and frees of one transaction.
pub const CLAIMS: usize = 160;
/// Inode locks of one call: rename takes two directories, the moved inode, the replaced one.
pub const LOCKS: usize = 6;
/// Private inode records and other small objects of one transaction.
pub const WRITES: usize = 12;
/// Whole blocks that one transaction changes privately.
pub const PRIVATE: usize = 64;
/// The largest small object, in bytes: an inode record.
pub const WRITE_BYTES: usize = 256;
/// Words of a call's cursor.
pub const CURSOR: usize = 8;
/// Bytes of the journal's own state in its container.
pub const JOURNAL_STATE: usize = 2048;
/// Blocks that one call of `drive` handles.
pub const DRIVE_STEP: u32 = 64;
/// Attempts before a call runs alone, and again as many before it fails.
pub const RESTARTS: u32 = 64;
/// Bytes that an upgrade may hand over.
pub const ENVELOPE: usize = 64 * 1024;
/// The deepest extent or index tree, in levels above the leaves.
pub const TREE_DEPTH: u32 = 5;
/// Groups that a placement, or a step of freeing, touches.
pub const GROUPS_TOUCHED: u32 = 8;
/// Allocation blocks that one transaction changes at most: what it touches on purpose, and nodes that a tree grew by or
/// lost elsewhere.
pub const CLAIMED_GROUPS: usize = GROUPS_TOUCHED as usize + 4;
/// Inodes that one transaction changes at most: two directories, the moved inode, the replaced one, a whiteout, the
/// orphan inode.
pub const TOUCHED: usize = 8;
/// Sealed batches that may be in flight to the log.
pub const BATCHES_IN_FLIGHT: u32 = 4;

/// Operations by what they take before the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OpKind {
    /// Changes nothing: lookup, getattr, readlink, map, getxattr, seek.
    Read = 0,
    /// Chooses blocks in memory.
    Place = 1,
    /// Reads a directory.
    ReadDir = 2,
    /// Makes a name with a new inode: create, mkdir, mknod, symlink.
    Create = 3,
    /// Makes an inode without a name.
    TmpFile = 4,
    /// Makes a name for an inode.
    Link = 5,
    /// Removes a name: unlink, rmdir.
    Unlink = 6,
    /// Moves a name.
    Rename = 7,
    /// Changes an inode's own record; one step of a truncate.
    SetAttr = 8,
    /// Sets or removes an attribute.
    Xattr = 9,
    /// Makes placed data part of its file.
    Publish = 10,
    /// One step of fallocate: reserve, punch, zero.
    Allocate = 11,
    /// One step of taking an unused inode away.
    Evict = 12,
    /// Writes an inode's times.
    Times = 13,
    /// Tells a variant that records of the first write of an open file; costs nothing else.
    FirstWrite = 14,
    /// One step of telling the disk what is free in the groups.
    Summarise = 15,
}

/// Every kind, in order of number.
pub const OP_KINDS: [OpKind; 16] = [
    OpKind::Read,
    OpKind::Place,
    OpKind::ReadDir,
    OpKind::Create,
    OpKind::TmpFile,
    OpKind::Link,
    OpKind::Unlink,
    OpKind::Rename,
    OpKind::SetAttr,
    OpKind::Xattr,
    OpKind::Publish,
    OpKind::Allocate,
    OpKind::Evict,
    OpKind::Times,
    OpKind::FirstWrite,
    OpKind::Summarise,
];

/// What an operation takes before the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Cost {
    /// Log blocks that it dirties at most.
    pub credits: u32,
    /// Reserve pages that it uses at most.
    pub pages: u32,
}

/// Costs by kind, as a variant adds them.
pub type Costs = [Cost; OP_KINDS.len()];

/// What a variant adds that adds nothing.
pub const NO_COSTS: Costs = [cost(0, 0); OP_KINDS.len()];

/// One block more of the file of a reserved inode: the block, the inode's record, the allocation block, the tree.
pub const APPEND_BLOCK: u32 = 1 + 1 + 1 + TREE_INSERT;

const fn cost(credits: u32, pages: u32) -> Cost {
    Cost { credits, pages }
}

/// An insertion into a tree: two nodes a level, and a new level.
const TREE_INSERT: u32 = 2 * TREE_DEPTH + 1;
/// A removal from a tree: a node a level.
const TREE_REMOVE: u32 = TREE_DEPTH + 1;
/// One more entry of a directory: data block, free map, extents (data and map block new), index.
const ENTER: u32 = 1 + 1 + 2 * TREE_INSERT + TREE_INSERT;
/// One entry less: data block, free map, index; an emptied block leaves the extents.
const LEAVE: u32 = 1 + 1 + TREE_REMOVE + TREE_INSERT;
/// An orphan slot: its block, and a new one with the orphan inode's record and extents.
const ORPHAN: u32 = 1 + 1 + 1 + TREE_INSERT;
/// New extents of one range, and the frees of another: up to two leaves more than one insertion.
const EXTENTS: u32 = TREE_INSERT + 4;

/// What each kind takes. A variant's own additions (provenance) come on top: see [`full_cost`].
pub const fn base_cost(kind: OpKind) -> Cost {
    const GROUPS: u32 = GROUPS_TOUCHED;
    match kind {
        OpKind::Read => cost(0, 2),
        OpKind::Place => cost(0, 2),
        OpKind::ReadDir => cost(0, 2),
        // inode, parent, its block (a directory's first, a symlink's two), entry, groups
        OpKind::Create => cost(1 + 1 + 2 + ENTER + GROUPS, 1 + 1 + 2 + ENTER + GROUPS + 2),
        OpKind::TmpFile => cost(1 + ORPHAN + GROUPS, 1 + ORPHAN + GROUPS + 2),
        OpKind::Link => cost(1 + 1 + ENTER + ORPHAN + GROUPS, 1 + 1 + ENTER + ORPHAN + GROUPS + 2),
        OpKind::Unlink => cost(1 + 1 + LEAVE + ORPHAN + GROUPS, 1 + 1 + LEAVE + ORPHAN + GROUPS + 2),
        // two parents, moved, replaced, whiteout; entries
        OpKind::Rename => cost(5 + ENTER + LEAVE + ORPHAN + GROUPS, 5 + ENTER + LEAVE + ORPHAN + GROUPS + 2),
        OpKind::SetAttr => cost(1 + EXTENTS + ORPHAN + GROUPS, 1 + EXTENTS + ORPHAN + GROUPS + 2),
        OpKind::Xattr => cost(1 + 1 + GROUPS, 1 + 1 + GROUPS + 2),
        OpKind::Publish => cost(1 + EXTENTS + GROUPS, 1 + EXTENTS + GROUPS + 2),
        OpKind::Allocate => cost(1 + EXTENTS + GROUPS, 1 + EXTENTS + GROUPS + 2),
        OpKind::Evict => cost(1 + EXTENTS + ORPHAN + GROUPS, 1 + EXTENTS + ORPHAN + GROUPS + 2),
        OpKind::Times => cost(1, 3),
        OpKind::FirstWrite => cost(0, 2),
        // one block of the summary
        OpKind::Summarise => cost(1, 3),
    }
}

/// What a kind takes, a variant's additions included.
pub const fn full_cost(kind: OpKind, extra: &Costs) -> Cost {
    let (base, extra) = (base_cost(kind), extra[kind as usize]);
    cost(base.credits + extra.credits, base.pages + extra.pages)
}

/// The largest of all costs: what the smallest log must hold, four times over.
pub const fn largest_cost(extra: &Costs) -> Cost {
    let mut largest = cost(0, 0);
    let mut at = 0;
    while at < OP_KINDS.len() {
        let this = full_cost(OP_KINDS[at], extra);
        if this.credits > largest.credits {
            largest.credits = this.credits;
        }
        if this.pages > largest.pages {
            largest.pages = this.pages;
        }
        at += 1;
    }
    largest
}

/// The smallest log, in blocks: 4 MiB.
pub const SMALLEST_LOG: u32 = 1024;

/// Asserted for every variant when it is compiled.
pub const fn fits(extra: &Costs) -> bool {
    let largest = largest_cost(extra).credits;
    // Four of the largest operations fit the smallest log, and each is small.
    largest * 4 < SMALLEST_LOG && largest < 128
}
const _: () = assert!(fits(&NO_COSTS));
