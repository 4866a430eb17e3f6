//! The boundary between a file system and the platform that it runs on.
//!
//! *State* that outlives a call is the platform's: cached blocks, inode slots, busy bitmaps, batches, locks
//! ([`Platform`]). *Meaning* is the file system's: format, journal, allocation, every decision
//! ([`FileSystem`]). Between them travels one value, the [`Call`].
//!
//! An entry runs to completion and never sleeps for I/O. What it lacks it names in a [`Wait`], which travels by
//! `?` like an error; the platform ends the attempt (locks, claims and latches are noted in the call, so it can
//! do that in the core's stead, also after a panic), leaves the gate, waits, and calls again with the same
//! arguments. What it fetched stays pinned in the call.
//!
//! # Locking
//! rename lock -> inode locks (by number) -> batch join -> block latch -> group lock. Latch and group are held
//! inside closures only; everything else is noted in the call and released when the attempt ends.
//!
//! # Crash
//! Nothing here writes. A [`Committed`] value says which batch must become durable for its operation to survive.
#![no_std]
#![forbid(unsafe_code)]

pub mod attr;
pub mod call;
pub mod control;
pub mod disk;
pub mod envelope;
pub mod few;
pub mod file_system;
pub mod limits;
pub mod mounted;
pub mod name;
pub mod number;
pub mod place;
pub mod platform;
pub mod slot;
pub mod stop;

pub use attr::{Attr, Caller, FileKind, SetAttr, SetTime, StatFs, Time};
pub use call::{Call, Private, Touched, Write};
pub use disk::Disk;
pub use few::Few;
pub use file_system::{
    Allocate, Committed, Cursor, DirEntry, Emit, Event, Evicted, FileSystem, ModeChange, NewNode, Next,
    Rename, Seek, Then, XattrSet,
};
pub use limits::{Cost, OpKind};
pub use mounted::Mounted;
pub use name::{Name, XattrName};
pub use number::{BatchSeq, BlockNo, FileBlock, GroupNo, InodeNo};
pub use place::{Extent, MapKind, Mapping, Placement, PlacementId};
pub use platform::{Busy, Change, Claim, Fetch, Freed, IoList, Map, Mode, Platform, Run, Seal, Totals};
pub use slot::{Slot, TAIL_CUT, TAIL_KNOWN, TAIL_UNKNOWN};
pub use stop::{Corruption, Errno, Stop, Wait};

/// Bytes in a block.
pub const BLOCK: usize = 4096;

/// Bytes in a block, as a file offset or a size.
pub const BLOCK_BYTES: u64 = 4096;

/// One block's content.
pub type Bytes = [u8; BLOCK];

/// The version of this boundary. A module is registered, and an upgrade accepted, only if both sides agree.
pub const ABI_VERSION: u32 = 1;
