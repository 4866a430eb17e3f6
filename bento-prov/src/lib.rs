//! Bento-prov: the Bento file system that also records who did what to which file.
//!
//! It is bento-fs with a hook: right before an operation is merged it hears of it, and adds one record to the provenance
//! log (`bento_fs::format::prov`) in the same transaction. Recorded are create, unlink, rename, link, truncate, and the
//! first write of each open file, with boot id, process, start time, command and user.
//!
//! # The log
//! A head and a ring of record blocks in inode 5. The ring grows to a share of the volume, one block at a time, as long
//! as there is space that is nobody's; when it may not or cannot grow, the oldest block is begun anew. So no operation
//! fails for want of room for its record, and what is lost is the oldest. A record block belongs to one *session* (one
//! version in one mount) and says how that began: whether anything happened before it that was not recorded.
//!
//! # Locking
//! That of `bento_fs::RecordLog`: the log's lock is the last that an operation takes, and is held to its merge.
//!
//! # Crash
//! An operation and its record are both there, or neither is; the records that are there are the first so many in the
//! order of the merges.
#![no_std]
#![forbid(unsafe_code)]

mod append;

pub use append::append;

use bento_api::limits::{APPEND_BLOCK, Costs, NO_COSTS};
use bento_api::{Cost, OpKind, Platform, Stop};
use bento_fs::{Event, RecordLog, Recording, Variant};

/// Log blocks of one record: the record block, the head, and a block that the ring grows by; twice that, and a record
/// block, when the log itself begins.
const CREDITS: u32 = 2 + APPEND_BLOCK + 2;
/// Pages: the new block or two, and the nodes of the tree that names them.
const PAGES: u32 = APPEND_BLOCK + 2;

/// What a record adds to the operations that are recorded.
pub const EXTRA: Costs = {
    let mut costs = NO_COSTS;
    let recorded = [
        OpKind::Create,
        OpKind::TmpFile,
        OpKind::Link,
        OpKind::Unlink,
        OpKind::Rename,
        OpKind::SetAttr,
        OpKind::FirstWrite,
    ];
    let mut at = 0;
    while at < recorded.len() {
        costs[recorded[at] as usize] = Cost { credits: CREDITS, pages: PAGES };
        at += 1;
    }
    costs
};

/// The variant that records.
#[derive(Clone, Copy, Debug)]
pub struct Prov;

impl Variant for Prov {
    const NAME: &'static str = concat!("bento-prov ", env!("CARGO_PKG_VERSION"));
    const RECORDING: Recording = Recording::Yes;
    const EXTRA: Costs = EXTRA;

    fn record<P: Platform>(log: &mut RecordLog<'_, '_, '_, P, Self>, event: &Event<'_>) -> Result<(), Stop> {
        append::append(log, event)
    }
}
