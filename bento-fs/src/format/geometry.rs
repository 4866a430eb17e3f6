//! Where everything lies: the arithmetic of the volume.
//!
//! ```text
//! block 0     1           2                          groups_start
//! +--------+-------------+---------------+---------+---------+---------+-- ... --+---------------+
//! | boot   | superblock  | log           | summary | group 0 | group 1 |         | last (short)  |
//! +--------+-------------+---------------+---------+---------+---------+-- ... --+---------------+
//! group: [superblock copy] allocation block | inode table | data
//! ```
use super::Corruption;
use super::block::{BLOCK_LIMIT, HEADER};
use super::num::index32;
use bento_api::{BlockNo, GroupNo, InodeNo};

/// The block of the superblock. Block 0 is left to boot loaders.
pub const SUPERBLOCK: BlockNo = BlockNo(1);
/// The most blocks in a group: as many as the allocation block has bits for.
pub const MAX_BLOCKS_PER_GROUP: u32 = 24_576;
/// The fewest blocks in a group.
pub const MIN_BLOCKS_PER_GROUP: u32 = 512;
/// The most inodes in a group: as many as the allocation block has bits for.
pub const MAX_INODES_PER_GROUP: u32 = 7_680;
/// Bytes of an inode record.
pub const INODE_SIZE: usize = 256;
/// Inodes in a block of the inode table.
pub const INODES_PER_BLOCK: u32 = 16;
/// The data blocks that the last group must have; a shorter rest of the device stays unused.
pub const MIN_LAST_DATA: u32 = 64;
/// The fewest blocks of a log, its two headers included. The file system itself asks for more, so that its largest
/// operations fit several times: [`bento_api::limits::SMALLEST_LOG`].
pub const MIN_LOG: u64 = 128;
/// The most blocks of a log, its two headers included.
pub const MAX_LOG: u64 = 1 << 22;
/// The header slots at the start of the log.
pub const LOG_SLOTS: u64 = 2;
/// Entries in a block of the group summary.
pub const SUMMARY_ENTRIES: u32 = 508;

/// The root directory.
pub const ROOT: InodeNo = InodeNo(1);
/// Holds blocks that the device can't store.
pub const BAD_BLOCKS: InodeNo = InodeNo(2);
/// The directory that fsck links lost files into.
pub const LOST_AND_FOUND: InodeNo = InodeNo(3);
/// The file of orphan slots.
pub const ORPHANS: InodeNo = InodeNo(4);
/// Reserved for provenance.
pub const PROVENANCE: InodeNo = InodeNo(5);
/// Reserved for resizing.
pub const RESIZE: InodeNo = InodeNo(9);
/// The first inode that may be given to a file.
pub const FIRST_INODE: u32 = 16;

/// The sizes and places that the superblock fixes. [`Geometry::check`] has accepted it, or it was made by mkfs and
/// then checked; even so no function here trusts that, and a number out of range answers `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks in use of the device, from block 0.
    pub blocks_total: u64,
    /// The first block of group 0.
    pub groups_start: BlockNo,
    /// Groups, 1 or more.
    pub groups: u32,
    /// Blocks of every group but the last, which may be shorter.
    pub blocks_per_group: u32,
    /// Inodes of every group, the last included.
    pub inodes_per_group: u32,
    /// The first block of the log.
    pub log_start: BlockNo,
    /// Blocks of the log, its two header slots included.
    pub log_len: u64,
    /// The first block of the group summary.
    pub summary_start: BlockNo,
    /// Blocks of the group summary.
    pub summary_len: u64,
}

impl Geometry {
    /// Checks every size and place against every other.
    pub fn check(&self) -> Result<(), Corruption> {
        let per_group = self.blocks_per_group;
        let inodes = self.inodes_per_group;
        if !(MIN_BLOCKS_PER_GROUP..=MAX_BLOCKS_PER_GROUP).contains(&per_group)
            || !per_group.is_multiple_of(64)
            || !(INODES_PER_BLOCK..=MAX_INODES_PER_GROUP).contains(&inodes)
            || !inodes.is_multiple_of(INODES_PER_BLOCK)
            || self.groups == 0
            || self.metadata_len(true).saturating_add(MIN_LAST_DATA) > per_group
        {
            return Err(Corruption::SuperblockGroups);
        }
        if self.blocks_total >= BLOCK_LIMIT {
            return Err(Corruption::SuperblockSize);
        }
        let log_end = self.log_start.0.checked_add(self.log_len).ok_or(Corruption::SuperblockLog)?;
        let summary_end =
            self.summary_start.0.checked_add(self.summary_len).ok_or(Corruption::SuperblockSummary)?;
        if self.log_start.0 <= SUPERBLOCK.0
            || !(MIN_LOG..=MAX_LOG).contains(&self.log_len)
            || log_end > self.summary_start.0
        {
            return Err(Corruption::SuperblockLog);
        }
        if self.summary_len < u64::from(self.groups.div_ceil(SUMMARY_ENTRIES))
            || summary_end > self.groups_start.0
        {
            return Err(Corruption::SuperblockSummary);
        }
        let last = self.groups.saturating_sub(1);
        let before_last = u64::from(last).saturating_mul(u64::from(per_group));
        let last_start = self.groups_start.0.checked_add(before_last).ok_or(Corruption::SuperblockSize)?;
        let last_len = self.blocks_total.checked_sub(last_start).ok_or(Corruption::SuperblockSize)?;
        let least = self.metadata_len(has_copy(GroupNo(last))).saturating_add(MIN_LAST_DATA);
        if last_len < u64::from(least) || last_len > u64::from(per_group) {
            return Err(Corruption::SuperblockSize);
        }
        Ok(())
    }

    /// The blocks of an inode table.
    pub fn table_len(&self) -> u32 {
        self.inodes_per_group.div_ceil(INODES_PER_BLOCK)
    }

    /// Blocks at the start of a group that hold its metadata, with or without a superblock copy.
    fn metadata_len(&self, copy: bool) -> u32 {
        self.table_len().saturating_add(1).saturating_add(u32::from(copy))
    }

    fn has(&self, group: GroupNo) -> Option<GroupNo> {
        (group.0 < self.groups).then_some(group)
    }

    /// The first block of a group.
    pub fn group_start(&self, group: GroupNo) -> Option<BlockNo> {
        let before = u64::from(self.has(group)?.0).checked_mul(u64::from(self.blocks_per_group))?;
        self.groups_start.0.checked_add(before).map(BlockNo)
    }

    /// The blocks of a group, metadata included; the last group may be shorter than the others.
    pub fn group_blocks(&self, group: GroupNo) -> Option<u32> {
        let rest = self.blocks_total.checked_sub(self.group_start(group)?.0)?;
        u32::try_from(rest.min(u64::from(self.blocks_per_group))).ok()
    }

    /// The allocation block of a group.
    pub fn alloc_block(&self, group: GroupNo) -> Option<BlockNo> {
        self.group_start(group)?.0.checked_add(u64::from(has_copy(group))).map(BlockNo)
    }

    /// The superblock copy of a group that has one.
    pub fn copy_block(&self, group: GroupNo) -> Option<BlockNo> {
        if has_copy(group) { self.group_start(group) } else { None }
    }

    /// The groups that have a superblock copy, with the copy's block.
    pub fn copies(&self) -> impl Iterator<Item = (GroupNo, BlockNo)> + use<> {
        let geometry = *self;
        copy_groups()
            .take_while(move |group| group.0 < geometry.groups)
            .filter_map(move |group| Some((group, geometry.copy_block(group)?)))
    }

    /// The first block and the length of a group's inode table.
    pub fn table_range(&self, group: GroupNo) -> Option<(BlockNo, u32)> {
        Some((BlockNo(self.alloc_block(group)?.0.checked_add(1)?), self.table_len()))
    }

    /// The first bit of a group's block bitmap that stands for a data block.
    pub fn data_start(&self, group: GroupNo) -> Option<u32> {
        Some(self.metadata_len(has_copy(self.has(group)?)))
    }

    /// The group of a block and its bit there; `None` for boot block, superblock, log, summary, and past the end.
    pub fn block_group(&self, no: BlockNo) -> Option<(GroupNo, u32)> {
        if no.0 >= self.blocks_total {
            return None;
        }
        let offset = no.0.checked_sub(self.groups_start.0)?;
        let per_group = u64::from(self.blocks_per_group);
        let group = u32::try_from(offset.checked_div(per_group)?).ok()?;
        let bit = u32::try_from(offset.checked_rem(per_group)?).ok()?;
        Some((self.has(GroupNo(group))?, bit))
    }

    /// The block that a bit of a group's bitmap stands for.
    pub fn block_no(&self, group: GroupNo, bit: u32) -> Option<BlockNo> {
        if bit >= self.group_blocks(group)? {
            return None;
        }
        self.group_start(group)?.0.checked_add(u64::from(bit)).map(BlockNo)
    }

    /// True for a block that may hold file data or the metadata of one file.
    pub fn is_data_block(&self, no: BlockNo) -> bool {
        self.is_data_run(no, 1)
    }

    /// True if all blocks of a run are data blocks of one group, which is where every extent lies.
    pub fn is_data_run(&self, start: BlockNo, len: u32) -> bool {
        let inside = || {
            let (group, bit) = self.block_group(start)?;
            Some(bit >= self.data_start(group)? && bit.checked_add(len)? <= self.group_blocks(group)?)
        };
        len > 0 && inside().unwrap_or(false)
    }

    /// True for a block of an inode table.
    pub fn is_table_block(&self, no: BlockNo) -> bool {
        self.table_first_ino(no).is_some()
    }

    /// The first inode in a block of an inode table; `None` for any other block. (Inode 0, which is none, is the
    /// first of group 0.)
    pub fn table_first_ino(&self, no: BlockNo) -> Option<InodeNo> {
        let (group, _) = self.block_group(no)?;
        let (start, len) = self.table_range(group)?;
        let block = u32::try_from(no.0.checked_sub(start.0)?).ok().filter(|block| *block < len)?;
        self.ino(group, block.checked_mul(INODES_PER_BLOCK)?)
    }

    /// All inodes, used or free, inode 0 included.
    pub fn inodes_total(&self) -> u64 {
        u64::from(self.groups).saturating_mul(u64::from(self.inodes_per_group))
    }

    /// The number of an inode, by its group and its bit there.
    pub fn ino(&self, group: GroupNo, bit: u32) -> Option<InodeNo> {
        if bit >= self.inodes_per_group {
            return None;
        }
        let before = u64::from(self.has(group)?.0).checked_mul(u64::from(self.inodes_per_group))?;
        before.checked_add(u64::from(bit)).map(InodeNo)
    }

    /// The group of an inode and its bit there; `None` for 0 and past the end.
    pub fn inode_bit(&self, ino: InodeNo) -> Option<(GroupNo, u32)> {
        let per_group = u64::from(self.inodes_per_group);
        let group = u32::try_from(ino.0.checked_div(per_group)?).ok()?;
        let bit = u32::try_from(ino.0.checked_rem(per_group)?).ok()?;
        if ino.0 == 0 { None } else { Some((self.has(GroupNo(group))?, bit)) }
    }

    /// The block of an inode and the byte at which its record begins there.
    pub fn inode_place(&self, ino: InodeNo) -> Option<(BlockNo, usize)> {
        let (group, bit) = self.inode_bit(ino)?;
        let (start, _) = self.table_range(group)?;
        let block = start.0.checked_add(u64::from(bit.checked_div(INODES_PER_BLOCK)?))?;
        let slot = bit.checked_rem(INODES_PER_BLOCK)?;
        Some((BlockNo(block), index32(slot).checked_mul(INODE_SIZE)?))
    }

    /// True if an inode exists in the table and is not reserved, or is the root.
    pub fn is_file_ino(&self, ino: InodeNo) -> bool {
        ino.0 < self.inodes_total()
            && (ino == ROOT || ino == LOST_AND_FOUND || ino.0 >= u64::from(FIRST_INODE))
    }

    /// True if an inode may lose its last name: every file, and lost+found, whose number stays its own.
    pub fn is_removable(&self, ino: InodeNo) -> bool {
        ino != ROOT && self.is_file_ino(ino)
    }

    /// The summary block of a group and the byte at which its entry begins there.
    pub fn summary_place(&self, group: GroupNo) -> Option<(BlockNo, usize)> {
        let group = self.has(group)?.0;
        let block = u64::from(group.checked_div(SUMMARY_ENTRIES)?);
        if block >= self.summary_len {
            return None;
        }
        let at = index32(group.checked_rem(SUMMARY_ENTRIES)?).checked_mul(8)?.checked_add(HEADER)?;
        Some((BlockNo(self.summary_start.0.checked_add(block)?), at))
    }

    /// The block of one of the two log header slots.
    pub fn log_slot(&self, slot: u64) -> Option<BlockNo> {
        if slot < LOG_SLOTS { self.log_start.0.checked_add(slot).map(BlockNo) } else { None }
    }

    /// Blocks of the circular area of the log.
    pub fn log_area(&self) -> u64 {
        self.log_len.saturating_sub(LOG_SLOTS)
    }

    /// The block of a position in the log. Positions count up for ever and wrap around the area.
    pub fn log_block(&self, position: u64) -> Option<BlockNo> {
        let offset = position.checked_rem(self.log_area())?.checked_add(LOG_SLOTS)?;
        self.log_start.0.checked_add(offset).map(BlockNo)
    }

    /// Data blocks of the whole volume: what is free after mkfs, and what mkfs itself has used of it.
    pub fn data_blocks(&self) -> u64 {
        let copies = u64::try_from(self.copies().count()).unwrap_or(0);
        let metadata =
            u64::from(self.metadata_len(false)).saturating_mul(u64::from(self.groups)).saturating_add(copies);
        self.blocks_total.saturating_sub(self.groups_start.0).saturating_sub(metadata)
    }
}

/// True for the groups that begin with a copy of the superblock: 1 and the powers of 3, 5 and 7.
pub fn has_copy(group: GroupNo) -> bool {
    // Asked for every access to an inode: powers are few.
    let powers = |base: u32| core::iter::successors(Some(1u32), move |power| power.checked_mul(base));
    [3, 5, 7]
        .into_iter()
        .any(|base| powers(base).take_while(|power| *power <= group.0).any(|power| power == group.0))
}

/// The groups with a superblock copy, in ascending order.
fn copy_groups() -> impl Iterator<Item = GroupNo> {
    let mut next = Some(1u32);
    core::iter::from_fn(move || {
        let now = next?;
        next = [3u32, 5, 7].into_iter().filter_map(|base| next_power(base, now)).min();
        Some(GroupNo(now))
    })
}

/// The smallest power of `base` above `floor`.
fn next_power(base: u32, floor: u32) -> Option<u32> {
    let mut power = base;
    while power <= floor {
        power = power.checked_mul(base)?;
    }
    Some(power)
}
