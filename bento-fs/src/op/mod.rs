//! One operation: a private write set over a [`Call`], and the one place that merges it.
//!
//! An operation is one transaction. Until [`Op::commit`] nobody sees any of it, and an attempt that ends in an
//! error or a wait has nothing to undo: the platform releases what the call has noted. So `?` is a correct abort.
//!
//! Objects are of three kinds: *inode records* live in shared blocks and are changed one record at a time; *whole
//! blocks* (directory blocks, tree nodes, attribute blocks) belong to one locked inode and are changed in a private
//! page; *bits and counters* are claims, which commute (see [`crate::bitmap`]).
//!
//! # Locking
//! Inode locks are taken in order of number and kept until the platform ends the attempt, after the merge; that of the
//! provenance log comes last (see `hook`). A lock is shown as a [`Locked`]; values are copied in and out, so nothing
//! here borrows anything for long.
//!
//! # Crash
//! The batch holds all of an operation or none of it.
mod block;
mod commit;
mod hook;
mod lock;
mod record;

pub(crate) use block::Draft;
pub use hook::RecordLog;
pub(crate) use lock::Locked;
pub(crate) use record::{Touch, attr, decode_device};

use crate::format::{Geometry, HashKey};
use crate::variant::Variant;
use bento_api::{BlockNo, Call, Cost, InodeNo, Platform, Stop, Time, Wait};
use core::marker::PhantomData;

/// What the code knows of its volume: plain data that never changes while it is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// Where everything lies.
    pub geometry: Geometry,
    /// Seeds every checksum but the log's.
    pub seed: u32,
    /// Keys the hash of names.
    pub hash_key: HashKey,
    /// Blocks that only unlink, truncate and recovery may take.
    pub reserve: u64,
    /// Names the volume, for statfs.
    pub id: u64,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// The machine's boot id, for records; zeros if it is unknown.
    pub boot: [u8; 16],
    /// Which version of which mount this is.
    pub life: Life,
    /// The last one that changed the volume and kept no records, as far as this one knows.
    pub unrecorded: Life,
}

/// One version of the file system in one mount: they follow each other in this order over the life of the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The volume's mount count; 0: none.
    pub mount: u32,
    /// How often the code was replaced since that mount.
    pub takeover: u32,
}

impl Life {
    /// Both in one number, in the same order.
    pub fn word(self) -> u64 {
        u64::from(self.mount) << 32 | u64::from(self.takeover)
    }

    /// From that number.
    pub fn of_word(word: u64) -> Self {
        let part = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
        Self { mount: part(word >> 32), takeover: part(word) }
    }
}

/// The transaction. It is small and may be moved: all its tables lie in the call.
pub(crate) struct Op<'c, 'p, P: Platform, V: Variant> {
    pub(crate) call: &'c mut Call<'p, P>,
    pub(crate) volume: &'c Volume,
    variant: PhantomData<V>,
}

impl<'c, 'p, P: Platform, V: Variant> Op<'c, 'p, P, V> {
    /// Starts an operation that needs `cost` (0 credits: it changes nothing). The credits were taken before the gate
    /// from this version's table or from an older version's: then it asks again.
    pub(crate) fn begin(call: &'c mut Call<'p, P>, volume: &'c Volume, cost: Cost) -> Result<Self, Stop> {
        if cost.credits > 0 && volume.read_only {
            return Err(bento_api::Errno::ReadOnly.into());
        }
        if call.platform.credits() < cost.credits {
            return Err(Wait::LogSpace(cost.credits).into());
        }
        Ok(Self { call, volume, variant: PhantomData })
    }

    /// The containers.
    pub(crate) fn platform(&self) -> &'p P {
        self.call.platform
    }

    /// The operation's time.
    pub(crate) fn now(&self) -> Time {
        self.call.platform.now()
    }

    /// Notes a corruption for the log, and makes it the operation's error.
    pub(crate) fn corrupt(&self, what: crate::format::Corruption, block: BlockNo, ino: InodeNo) -> Stop {
        let what = bento_api::Corruption::from(what);
        self.platform().report(what, block, ino);
        what.into()
    }
}
