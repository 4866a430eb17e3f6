//! What distinguishes one build of the file system from another, fixed at compile time.
use bento_api::Cost;

/// A variant of the file system: its name, what its hooks cost, and the fault that a test seeds.
pub trait Variant: Send + Sync + 'static {
    /// Name and version, as `info` shows them.
    const NAME: &'static str;
    /// What every changing operation takes on top (a provenance record, say).
    const EXTRA: Cost = Cost { credits: 0, pages: 0 };
    /// A seeded fault, for the tests of the tests; `None` in everything that is shipped.
    const FAULT: Fault = Fault::None;
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
}
