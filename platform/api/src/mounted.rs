//! What a mount puts into the containers.
use crate::limits::JOURNAL_STATE;
use crate::{BatchSeq, Totals};

/// What the containers start with: the answer of a file system's mount. Plain data.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mounted {
    /// The journal's state, in the file system's format.
    pub journal: [u8; JOURNAL_STATE],
    /// The number of the first batch to come.
    pub next: BatchSeq,
    /// Free totals as of the batch before it.
    pub totals: Totals,
    /// Log blocks that credits are given out of; [`crate::Platform::release_log`] gives back what batches used.
    pub log_credits: u32,
    /// The largest batch, in blocks: what one batch may dirty.
    pub batch_limit: u32,
    /// Groups.
    pub groups: u32,
    /// Bits of each group's inode map.
    pub inodes_per_group: u32,
    /// Bits of each group's block map.
    pub blocks_per_group: u32,
    /// Bits of the orphan map.
    pub orphan_slots: u32,
    /// 1 if nothing may be written.
    pub read_only: u32,
    /// Batches that recovery replayed.
    pub replayed: u32,
}

impl Default for Mounted {
    fn default() -> Self {
        Self {
            journal: [0; JOURNAL_STATE],
            next: BatchSeq(0),
            totals: Totals::default(),
            log_credits: 0,
            batch_limit: 0,
            groups: 0,
            inodes_per_group: 0,
            blocks_per_group: 0,
            orphan_slots: 0,
            read_only: 0,
            replayed: 0,
        }
    }
}
