//! The Bento file system: a journaled file system whose code keeps no state and never sleeps for I/O.
//!
//! Everything that outlives a call lies in the platform's containers ([`bento_api::Platform`]); what is here decides.
//! From the bottom: [`format`] is the disk; `op` is one operation's transaction; `bitmap` allocates; `tree`, `inode`
//! and `dir` are the structures; `fs` has the operations; `journal` takes batches to the medium and home, and brings
//! them back.
//!
//! # Crash
//! After recovery the tree is the tree after some whole batch, never older than the last batch that was reported
//! durable; file data is on the medium before the batch that makes it reachable.
#![no_std]
#![forbid(unsafe_code)]

pub mod format;

mod bitmap;
mod dir;
mod fs;
mod inode;
mod journal;
mod mount;
mod op;
mod summary;
mod tree;
mod variant;

pub use fs::BentoFs;
pub use journal::{Copy, Replay, Space, replay};
pub use mount::{Failed, Options, mount, mount_into, note_errors, read_superblock, unmount, volume_of};
pub use op::{Life, RecordLog, Volume};
pub use variant::{Event, Fault, Plain, Recording, Variant};
