//! A group's allocation block: counters and both bitmaps; and the group summary.
//!
//! Set bits are used. The group's own metadata is marked used, and so is every bit past the end of a bitmap, so
//! that a search for a free bit needs no bound of its own.
use super::block::{BlockKind, Header, Owner, bit, set_bit, start};
use super::geometry::INODES_PER_BLOCK;
use super::num::{all_zero, index32, narrow32};
use super::{Corruption, Geometry};
use bento_api::{BatchSeq, BlockNo, GroupNo};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

raw! {
    /// A group's allocation block.
    pub struct RawAlloc [4096] {
        /// Header, `BALC`; the owner is the group.
        0 => header: super::block::RawHeader,
        /// Clear bits of the block bitmap.
        32 => free_blocks: U32,
        /// Clear bits of the inode bitmap.
        36 => free_inodes: U32,
        /// Inodes of the table that were ever initialised, a multiple of 16; those above are never read.
        40 => inodes_init: U32,
        /// Zero.
        44 => unused: [u8; 20],
        /// One bit an inode.
        64 => inode_bitmap: [u8; 960],
        /// One bit a block of the group, from its first.
        1024 => block_bitmap: [u8; 3072],
    }
}

raw! {
    /// An entry of the group summary.
    pub struct RawSummary [8] {
        /// Free blocks in the low 24 bits, class of the largest run above.
        0 => blocks: U32,
        /// Free inodes.
        4 => inodes: U32,
    }
}

/// A group's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Free blocks.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Inodes that were ever initialised.
    pub inodes_init: u32,
}

/// Makes the allocation block of an empty group: its own metadata is used, and in group 0 the reserved inodes'
/// bits are left to the caller. Not yet sealed.
pub fn start_alloc(bytes: &mut [u8], geometry: &Geometry, group: GroupNo) -> Option<Counts> {
    start(bytes, BlockKind::Alloc, geometry.alloc_block(group)?, group.into());
    let metadata = geometry.data_start(group)?;
    let blocks = geometry.group_blocks(group)?;
    let inodes = geometry.inodes_per_group;
    let raw = RawAlloc::mut_from_bytes(bytes).ok()?;
    fill_tail(&mut raw.block_bitmap, blocks);
    fill_tail(&mut raw.inode_bitmap, inodes);
    (0..metadata).for_each(|block| {
        set_bit(&mut raw.block_bitmap, u64::from(block), true);
    });
    let counts = Counts { free_blocks: blocks.checked_sub(metadata)?, free_inodes: inodes, inodes_init: 0 };
    set_counts(bytes, counts);
    Some(counts)
}

fn fill_tail(bitmap: &mut [u8], bits: u32) {
    let all = bitmap.len().saturating_mul(8);
    let whole = index32(bits.div_ceil(8));
    (bits..narrow32(all).min(bits.next_multiple_of(8))).for_each(|bit| {
        set_bit(bitmap, u64::from(bit), true);
    });
    bitmap.get_mut(whole..).unwrap_or(&mut []).fill(0xff);
}

/// Verifies an allocation block that comes from the device: header, counters, tails and the group's own metadata.
pub fn verify_alloc(
    bytes: &[u8],
    seed: u32,
    geometry: &Geometry,
    group: GroupNo,
) -> Result<(BatchSeq, Counts), Corruption> {
    let place = geometry.alloc_block(group).ok_or(Corruption::GroupOwner)?;
    let header = Header::verify(bytes, seed, BlockKind::Alloc, place, group.into())?;
    let counts = check_alloc(bytes, geometry, group)?;
    Ok((header.seq, counts))
}

/// Checks everything of an allocation block but its header.
pub fn check_alloc(bytes: &[u8], geometry: &Geometry, group: GroupNo) -> Result<Counts, Corruption> {
    let raw = RawAlloc::ref_from_bytes(bytes).map_err(|_| Corruption::GroupMagic)?;
    let metadata = geometry.data_start(group).ok_or(Corruption::GroupOwner)?;
    let blocks = geometry.group_blocks(group).ok_or(Corruption::GroupOwner)?;
    let counts = counts(bytes)?;
    let tails =
        tail_is_set(&raw.block_bitmap, blocks) && tail_is_set(&raw.inode_bitmap, geometry.inodes_per_group);
    if !tails || !all_zero(&raw.unused) {
        return Err(Corruption::GroupTail);
    }
    if !(0..metadata).all(|block| bit(&raw.block_bitmap, u64::from(block))) {
        return Err(Corruption::GroupMetadata);
    }
    if zeros(&raw.block_bitmap) != counts.free_blocks {
        return Err(Corruption::GroupFreeBlocks);
    }
    if zeros(&raw.inode_bitmap) != counts.free_inodes {
        return Err(Corruption::GroupFreeInodes);
    }
    if counts.inodes_init > geometry.inodes_per_group || !counts.inodes_init.is_multiple_of(INODES_PER_BLOCK)
    {
        return Err(Corruption::GroupInitialised);
    }
    Ok(counts)
}

fn tail_is_set(bitmap: &[u8], bits: u32) -> bool {
    let whole = index32(bits.div_ceil(8));
    (bits..bits.next_multiple_of(8)).all(|at| bit(bitmap, u64::from(at)))
        && bitmap.get(whole..).unwrap_or(&[]).iter().all(|byte| *byte == 0xff)
}

fn zeros(bitmap: &[u8]) -> u32 {
    let (words, rest) = bitmap.as_chunks::<8>();
    let words =
        words.iter().fold(0u32, |sum, word| sum.saturating_add(u64::from_le_bytes(*word).count_zeros()));
    rest.iter().fold(words, |sum, byte| sum.saturating_add(byte.count_zeros()))
}

/// The counters of an allocation block in the cache.
pub fn counts(bytes: &[u8]) -> Result<Counts, Corruption> {
    let raw = RawAlloc::ref_from_bytes(bytes).map_err(|_| Corruption::GroupMagic)?;
    Ok(Counts {
        free_blocks: raw.free_blocks.get(),
        free_inodes: raw.free_inodes.get(),
        inodes_init: raw.inodes_init.get(),
    })
}

/// Puts the counters of an allocation block.
pub fn set_counts(bytes: &mut [u8], counts: Counts) {
    if let Ok(raw) = RawAlloc::mut_from_bytes(bytes) {
        raw.free_blocks = counts.free_blocks.into();
        raw.free_inodes = counts.free_inodes.into();
        raw.inodes_init = counts.inodes_init.into();
    }
}

/// The block bitmap; empty (all bits used) if `bytes` is no block.
pub fn block_bitmap(bytes: &[u8]) -> &[u8] {
    RawAlloc::ref_from_bytes(bytes).map_or(&[], |raw| &raw.block_bitmap)
}

/// The block bitmap, to change.
pub fn block_bitmap_mut(bytes: &mut [u8]) -> &mut [u8] {
    RawAlloc::mut_from_bytes(bytes).map_or(&mut [], |raw| &mut raw.block_bitmap)
}

/// The inode bitmap; empty (all bits used) if `bytes` is no block.
pub fn inode_bitmap(bytes: &[u8]) -> &[u8] {
    RawAlloc::ref_from_bytes(bytes).map_or(&[], |raw| &raw.inode_bitmap)
}

/// The inode bitmap, to change.
pub fn inode_bitmap_mut(bytes: &mut [u8]) -> &mut [u8] {
    RawAlloc::mut_from_bytes(bytes).map_or(&mut [], |raw| &mut raw.inode_bitmap)
}

/// What the summary says of a group: advice, as old as the last checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Free blocks.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// The largest run of free blocks has at least 2^(class - 1) blocks; 0 is none.
    pub class: u8,
}

impl Summary {
    /// What is free, by bitmaps in which a bit stands for something used.
    pub fn of(inodes: &[u64], blocks: &[u64]) -> Self {
        let free = |words: &[u64]| words.iter().map(|word| word.count_zeros()).sum();
        let class = Self::class_of(longest_run(blocks));
        Self { free_blocks: free(blocks), free_inodes: free(inodes), class }
    }

    /// Reads the entry at byte `at` of a summary block, as [`Geometry::summary_place`] says.
    pub fn read(bytes: &[u8], at: usize) -> Result<Self, Corruption> {
        let bytes = bytes.get(at..).unwrap_or(&[]);
        let (raw, _) = RawSummary::read_from_prefix(bytes).map_err(|_| Corruption::SummaryEntry)?;
        let [low, middle, high, class] = raw.blocks.to_bytes();
        let free_blocks = u32::from_le_bytes([low, middle, high, 0]);
        let free_inodes = raw.inodes.get();
        if free_blocks > super::geometry::MAX_BLOCKS_PER_GROUP
            || free_inodes > super::geometry::MAX_INODES_PER_GROUP
        {
            return Err(Corruption::SummaryEntry);
        }
        Ok(Self { free_blocks, free_inodes, class })
    }

    /// The entry's bytes.
    pub fn bytes(&self) -> [u8; 8] {
        let [low, middle, high, _] = self.free_blocks.to_le_bytes();
        let blocks = U32::from_bytes([low, middle, high, self.class]);
        zerocopy::transmute!(RawSummary { blocks, inodes: self.free_inodes.into() })
    }

    /// Writes the entry at byte `at` of a summary block.
    pub fn write(&self, bytes: &mut [u8], at: usize) {
        let entry = self.bytes();
        if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..entry.len())) {
            place.copy_from_slice(&entry);
        }
    }

    /// The class of a run of free blocks.
    pub fn class_of(run: u32) -> u8 {
        u8::try_from(u32::BITS.saturating_sub(run.leading_zeros())).unwrap_or(0)
    }
}

/// The longest run of clear bits.
fn longest_run(words: &[u64]) -> u32 {
    let (mut longest, mut run) = (0_u32, 0_u32);
    for word in words {
        if *word == 0 {
            run = run.saturating_add(u64::BITS);
            continue;
        }
        longest = longest.max(run.saturating_add(word.trailing_zeros()));
        run = word.leading_zeros();
        // A run inside one word is the longest only while there is none as long as a word.
        let mut free = if longest < u64::BITS { !word } else { 0 };
        let mut inside = 0;
        while free != 0 {
            free &= free << 1;
            inside = u32::saturating_add(inside, 1);
        }
        longest = longest.max(inside);
    }
    longest.max(run)
}

/// Makes an empty summary block. Not yet sealed.
pub fn start_summary(bytes: &mut [u8], geometry: &Geometry, index: u64) -> Option<BlockNo> {
    if index >= geometry.summary_len {
        return None;
    }
    let place = BlockNo(geometry.summary_start.0.checked_add(index)?);
    start(bytes, BlockKind::Summary, place, Owner(index));
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_run_is_found_within_words_across_them_and_at_both_ends() {
        let naive = |words: &[u64]| {
            let bits = words.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 0));
            bits.fold((0, 0), |(longest, run): (u32, u32), free| {
                let run = if free { run + 1 } else { 0 };
                (longest.max(run), run)
            })
            .0
        };
        let mut words = [u64::MAX; 5];
        let mut seed = 1_u64;
        for _ in 0..2000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            words.rotate_left(1);
            let [first, ..] = &mut words;
            *first = match seed >> 57 & 7 {
                0 => 0,
                1 => u64::MAX,
                2 => u64::MAX << (seed >> 40 & 63),
                3 => u64::MAX >> (seed >> 40 & 63),
                _ => seed.rotate_left(17) & seed,
            };
            assert_eq!(longest_run(&words), naive(&words), "{words:x?}");
        }
        assert_eq!(longest_run(&[]), 0);
    }
}
