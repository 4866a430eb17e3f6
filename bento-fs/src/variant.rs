//! What distinguishes one build of the file system from another, fixed at compile time.
use crate::format::prov::{Entry, Object, What};
use crate::op::RecordLog;
use bento_api::limits::{Costs, NO_COSTS};
use bento_api::{InodeNo, Platform, Stop};

/// A variant of the file system: its name, what its hooks do and cost, and the fault that a test seeds.
pub trait Variant: Send + Sync + Sized + 'static {
    /// Name and version, as `info` shows them.
    const NAME: &'static str;
    /// Whether operations are told to [`Variant::record`].
    const RECORDING: Recording = Recording::No;
    /// What each kind of operation takes on top.
    const EXTRA: Costs = NO_COSTS;
    /// A seeded fault, for the tests of the tests; `None` in everything that is shipped.
    const FAULT: Fault = Fault::None;

    /// Hears of an operation right before its merge, and adds to its transaction.
    ///
    /// # Crash
    /// What it adds is there if and only if the operation is.
    fn record<P: Platform>(log: &mut RecordLog<'_, '_, '_, P, Self>, event: &Event<'_>) -> Result<(), Stop> {
        let _ = (log, event);
        Ok(())
    }
}

/// Whether a variant keeps records of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// It does not, and its hook is nothing.
    No,
    /// It does.
    Yes,
}

/// What an operation is about to do, in the terms of a record.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What.
    pub what: What,
    /// To which inode, as it will be.
    pub object: Object,
    /// The name that is made, taken away, or moved from.
    pub name: Entry<'a>,
    /// The name that is moved to.
    pub to: Entry<'a>,
    /// The inode that is replaced or exchanged, and its generation.
    pub other: Option<(InodeNo, u32)>,
    /// A rename leaves a whiteout.
    pub whiteout: bool,
}

impl<'a> Event<'a> {
    /// Something that has no name to do with.
    pub(crate) fn of(what: What, object: Object) -> Self {
        let (name, to) = (Entry::default(), Entry::default());
        Self { what, object, name, to, other: None, whiteout: false }
    }

    /// Something done to a name.
    pub(crate) fn named(what: What, object: Object, dir: InodeNo, name: bento_api::Name<'a>) -> Self {
        Self { name: Entry { dir, name: name.bytes() }, ..Self::of(what, object) }
    }
}

/// The file system as it is shipped.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Variant for Plain {
    const NAME: &'static str = concat!("bento-fs ", env!("CARGO_PKG_VERSION"));
}

/// Faults that crash testing must catch; each breaks one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: the plain core.
    None,
    /// The record is written without a flush of the data before it.
    NoPreflush,
    /// A batch is called durable without a flush behind its record.
    NoCommitFlush,
    /// The tail moves before the home blocks are on the medium.
    NoCheckpointFlush,
    /// Recovery writes its new epoch before the homes are on the medium.
    NoRecoveryFlush,
    /// Recovery keeps the epoch.
    StaleEpoch,
    /// Recovery installs copies without verifying them.
    TrustCopies,
    /// A freed block can be taken before the freeing batch is durable.
    EarlyReuse,
    /// Rename removes the old name in one transaction and enters the new one in another.
    SplitRename,
    /// The size of a file moves before its data.
    SizeBeforeData,
    /// A claim is not merged into the bitmap.
    LostClaim,
    /// A free does not load its group's busy bits first.
    FreeUnloaded,
    /// An unlinked file is not entered into an orphan slot.
    NoOrphan,
    /// A create is recorded in a transaction of its own.
    LateRecord,
}
