//! Functions of C's that Rust calls, and the operations that C calls by their place in a table.
use crate::describe::functions;
use crate::{Block, Call, Disk, Lent, SealedBatch};
use bento_api::{Extent, Freed, Placement, Slot, Totals};

/// The operations, by their places in the table.
pub const OPS: &[&str] = &[
    "lookup",
    "parent",
    "create",
    "symlink",
    "tmpfile",
    "link",
    "unlink",
    "rmdir",
    "rename",
    "readdir",
    "readlink",
    "getattr",
    "setattr",
    "trim_past_end",
    "flush_times",
    "summarise",
    "first_write",
    "evict",
    "orphan",
    "getxattr",
    "setxattr",
    "listxattr",
    "removexattr",
    "map",
    "place",
    "publish",
    "abandon",
    "fallocate",
    "seek",
    "statfs",
    "is_clean",
    "describe",
];

functions! {
    /// Writes a line to the kernel's log.
    fn bento_print(level: u32, text: *const u8, bytes: usize) -> ();
    /// Whether the kernel computes CRC-32 faster than tables do.
    fn bento_has_crc() -> bool;
    /// CRC-32 without the inversions at both ends.
    fn bento_crc(crc: u32, bytes: *const u8, count: usize) -> u32;
    /// A panic begins; false if it began inside another one, whose message is not to be formatted again.
    fn bento_panicking() -> bool;
    /// Ends the entry that panicked. It returns to nobody, but objtool must not know.
    fn bento_panicked() -> ();

    /// Notes what is wrong on disk.
    fn bento_report(call: *mut Call, what: u32, block: u64, ino: u64) -> ();

    /// Pins a block: 0; 1 if it is not cached.
    fn bento_pin(call: *mut Call, no: u64, to: *mut *mut Block) -> i32;
    /// A new block.
    fn bento_fresh(call: *mut Call, no: u64, to: *mut *mut Block) -> i32;
    /// Latches a block to read it.
    fn bento_latch(call: *mut Call, block: *mut Block) -> *const u8;
    /// Latches a block to change it in the running batch.
    fn bento_latch_merge(call: *mut Call, block: *mut Block) -> *mut u8;
    /// Lets go of the latch that was taken last.
    fn bento_unlatch(call: *mut Call) -> ();
    /// The newest batch that changed a block and is not durable.
    fn bento_undurable(call: *mut Call, block: *mut Block) -> u64;

    /// Takes a page: its index.
    fn bento_take_page(call: *mut Call) -> i32;
    /// A page that was taken.
    fn bento_page(call: *mut Call, page: u32) -> *mut u8;
    /// Copies a block to a page.
    fn bento_copy(call: *mut Call, block: *mut Block, page: u32) -> ();
    /// Replaces a block's content.
    fn bento_merge_page(call: *mut Call, block: *mut Block, page: u32) -> ();

    /// Locks an inode.
    fn bento_lock(call: *mut Call, ino: u64, exclusive: bool) -> i32;
    /// Locks an inode: 1, or 0 if somebody has to be waited for.
    fn bento_try_lock(call: *mut Call, ino: u64, exclusive: bool) -> i32;
    /// Releases the inode locks.
    fn bento_unlock_all(call: *mut Call) -> ();
    /// Locks moves between directories out.
    fn bento_lock_rename(call: *mut Call) -> ();
    /// How often directories were moved.
    fn bento_tree_version(call: *mut Call) -> u64;
    /// A directory is about to move.
    fn bento_raise_tree_version(call: *mut Call) -> ();

    /// An inode's slot, locked; none if there is none.
    fn bento_slot(call: *mut Call, ino: u64) -> *mut Slot;
    /// Lets go of the slot.
    fn bento_slot_end(call: *mut Call) -> ();

    /// Locks a group. One whose words were never filled lends none, unless that is what it is locked for.
    fn bento_group(call: *mut Call, group: u32, fill: bool, lent: *mut Lent) -> i32;
    /// Lets go of the group.
    fn bento_group_end(call: *mut Call) -> ();
    /// Takes a run of the locked group, as much as the reserve leaves, and notes it: 1, or 0 if there is not enough.
    fn bento_claim(call: *mut Call, map: u32, reserve: u64, start: u32, length: *mut u32) -> i32;
    /// Makes bits claimable again.
    fn bento_unclaim(call: *mut Call, group: u32, map: u32, start: u32, length: u32) -> ();
    /// Bits that could be claimed.
    fn bento_available(call: *mut Call, map: u32) -> u64;
    /// Whether freed bits wait.
    fn bento_has_pending_frees(call: *mut Call) -> bool;

    /// Stores a placement: its number.
    fn bento_add_placement(call: *mut Call, placement: *const Placement) -> i32;
    /// Copies a placement out.
    fn bento_placement(call: *mut Call, id: u32, to: *mut Placement) -> bool;
    /// A placement in a range: its number, or 0.
    fn bento_placement_in(call: *mut Call, ino: u64, range: *const Extent) -> u32;
    /// Ends a placement.
    fn bento_end_placement(call: *mut Call, id: u32) -> ();

    /// Joins the running batch.
    fn bento_join(call: *mut Call) -> u64;
    /// Leaves it.
    fn bento_leave(call: *mut Call) -> ();
    /// Keeps freed bits busy.
    fn bento_free_after(call: *mut Call, batch: u64, freed: *const Freed) -> ();
    /// Adds to the totals.
    fn bento_add_totals(call: *mut Call, change: *const Totals) -> ();

    /// The journal's state, locked.
    fn bento_journal(call: *mut Call) -> *mut u8;
    /// Lets go of it.
    fn bento_journal_end(call: *mut Call) -> ();
    /// A tag page.
    fn bento_tag_page(call: *mut Call, index: u32) -> *mut u8;
    /// Lists the write of a block that the caller builds now.
    fn bento_io_fill(call: *mut Call, at: u64) -> *mut u8;
    /// Lists a flush.
    fn bento_io_flush(call: *mut Call) -> ();
    /// Whether a write completed since the last flush.
    fn bento_needs_flush(call: *mut Call) -> bool;
    /// Ends the running batch: `SEAL_*`.
    fn bento_seal(call: *mut Call, to: *mut SealedBatch) -> u32;
    /// A block of a sealed batch, latched; none if there is none.
    fn bento_sealed(call: *mut Call, batch: u64, index: u32, no: *mut u64) -> *mut u8;
    /// Lists the write of a sealed block to the log.
    fn bento_write_sealed(call: *mut Call, batch: u64, index: u32, at: u64, escape: bool) -> ();
    /// Lists the write of a tag page.
    fn bento_write_tag_page(call: *mut Call, index: u32, at: u64) -> ();
    /// A batch is durable.
    fn bento_set_durable(call: *mut Call, batch: u64) -> ();
    /// Lists home writes: how many.
    fn bento_write_homes(call: *mut Call, through: u64, at_most: u32) -> u32;
    /// The listed homes are durable.
    fn bento_set_homed(call: *mut Call, through: u64) -> ();
    /// Gives log blocks back.
    fn bento_release_log(call: *mut Call, blocks: u32) -> ();
    /// The log failed.
    fn bento_shut_down(call: *mut Call) -> ();

    /// Blocks of a device.
    fn bento_disk_blocks(disk: *mut Disk) -> u64;
    /// Reads a block.
    fn bento_disk_read(disk: *mut Disk, no: u64, to: *mut u8) -> i32;
    /// Writes a block.
    fn bento_disk_write(disk: *mut Disk, no: u64, from: *const u8) -> i32;
    /// Flushes.
    fn bento_disk_flush(disk: *mut Disk) -> i32;
    /// Lays a block over the device, which is only read.
    fn bento_disk_overlay(disk: *mut Disk, no: u64, from: *const u8) -> i32;
}
