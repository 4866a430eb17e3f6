//! `-o sync` and `-o dirsync`: what is durable when it is answered.
//!
//! The kernel passes neither on. Of `sync` it knows itself that each write(2) is followed by an FSYNC, and nothing else.
//! Those who wait for one batch share its commit, as those in fsync do.
use super::Bento;
use crate::containers::UserCall;
use crate::fuse::Request;
use crate::fuse::mount::MountFlags;
use crate::run::Fsync;
use bento_api::{BatchSeq, Errno, InodeNo};
use std::sync::atomic::Ordering::Relaxed;

/// What is durable when it is answered, each with what comes before it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncLevel {
    /// Only what was synced.
    None,
    /// Names that were made, moved or taken away (`dirsync`).
    Names,
    /// Every change (`sync`).
    All,
}

impl SyncLevel {
    /// What the flags of a mount ask for.
    pub fn of(flags: MountFlags) -> Self {
        match () {
            () if flags.contains(MountFlags::SYNCHRONOUS) => Self::All,
            () if flags.contains(MountFlags::DIRSYNC) => Self::Names,
            () => Self::None,
        }
    }

    /// As an atomic and an ioctl have it.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// Back from the number; a greater one than there is asks for everything.
    pub fn from_number(number: u64) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Names,
            _ => Self::All,
        }
    }
}

impl Bento {
    pub(super) fn sync_level(&self) -> SyncLevel {
        SyncLevel::from_number(self.sync.load(Relaxed))
    }

    /// To be called before names that a batch holds are reported as made, moved or gone.
    pub(super) fn named(&self, request: &Request<'_>, batch: BatchSeq) -> Result<(), Errno> {
        if self.sync_level() < SyncLevel::Names {
            return Ok(());
        }
        request.will_block();
        self.mount().sync(batch)
    }

    /// To be called before a change of an inode is reported as done.
    pub(super) fn changed(
        &self,
        request: &Request<'_>,
        call: &mut UserCall,
        ino: InodeNo,
    ) -> Result<(), Errno> {
        if self.sync_level() < SyncLevel::All {
            return Ok(());
        }
        request.will_block();
        self.mount().fsync(call, ino, Fsync::All)
    }
}
