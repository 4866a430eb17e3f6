//! The per-inode container: what the platform keeps of an inode that somebody uses.
use crate::{BatchSeq, Time};

/// The platform's copy of an inode's fast-changing part. It exists while the inode is in use (a VFS inode, a
/// FUSE lookup count); the platform makes it when the first reply names the inode, and drops it when it is
/// clean and unused.
///
/// Times and version in the slot are newer than the disk while `times_dirty`; `flush_times` writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// Tells whether the slot belongs to this inode or to one that had its number before.
    pub generation: u32,
    /// 1 if the times and version below are to be used instead of the disk's.
    pub times_dirty: u32,
    /// Last access, if `times_dirty`.
    pub atime: Time,
    /// Last change of the content, if `times_dirty`.
    pub mtime: Time,
    /// Last change of the inode, if `times_dirty`.
    pub ctime: Time,
    /// `i_version`: the newer one if `times_dirty`, else that of the last transaction, if there was one.
    pub version: u64,
    /// The last batch that changed the inode: fsync waits for it.
    pub sync_seq: BatchSeq,
    /// The last batch that fdatasync has to wait for: size and block map, not times.
    pub datasync_seq: BatchSeq,
    /// Where bytes that were raised into the file may not be zero yet; `publish` and `setattr` clamp the size
    /// there until the zeroing completed. `u64::MAX` if there are none.
    pub zero_from: u64,
    /// Blocks at or past this one may hold an extent tree cached by the platform of an older state: bumped by
    /// every change of the block map.
    pub map_version: u64,
    /// What lies past the end of the file: one of the `TAIL` constants.
    pub tail: u64,
}

/// [`Slot::tail`]: nobody has looked yet. There may be data that an earlier mount put there, for a size that it did not come
/// to write before it crashed. It must not show: it becomes reserved space before the file grows.
pub const TAIL_UNKNOWN: u64 = 0;
/// [`Slot::tail`]: nothing but what this mount put there, and reserved space.
pub const TAIL_KNOWN: u64 = 1;
/// [`Slot::tail`]: a truncate of this mount that is not done. All that lies there is freed before the file grows.
pub const TAIL_CUT: u64 = 2;

impl Slot {
    /// A slot for an inode of this generation, whose table block was last changed by batch `undurable` (0 if
    /// that is home or durable).
    pub const fn new(generation: u32, undurable: BatchSeq) -> Self {
        let zero = Time::new(0, 0);
        Self {
            generation,
            times_dirty: 0,
            atime: zero,
            mtime: zero,
            ctime: zero,
            version: 0,
            sync_seq: undurable,
            datasync_seq: undurable,
            zero_from: u64::MAX,
            map_version: 0,
            tail: TAIL_UNKNOWN,
        }
    }
}
