//! The journal: batches on their way to the medium, and home; and bringing them back.
//!
//! A batch is one record in the log: a header with a tag and a checksum for each copy, tag blocks if they do not all fit,
//! and the copies. The checksums make the record its own commit mark, so one flush before it and one behind it are all
//! that a commit costs.
//!
//! Invariants:
//! - A block goes home only after a batch that holds it is durable (write-ahead).
//! - A batch is durable when its whole record *and all earlier ones* are on the medium.
//! - The tail in the log header passes a batch only after its homes are on the medium; its log space is used again only
//!   behind a flush of that header.
//!
//! All state is in the journal's container ([`bento_api::Platform::with_journal`]), in this module's own format, so a
//! batch that one version sealed is finished by the next: [`State`], `commit`, `checkpoint`. Recovery is no entry: it
//! runs over a blocking disk, before there are containers (`scan`).
//!
//! # Locking
//! `drive` is called by one thread at a time; it holds no lock of the core's, and the block latch only inside closures.
//!
//! # Crash
//! Each flush prevents one crash; each has a [`Fault`] that leaves it out, and crash testing catches every one:
//!
//! | flush | without it | fault |
//! |---|---|---|
//! | before the record | an extent is durable before its data | `NoPreflush` |
//! | behind the record | an acknowledged batch is lost | `NoCommitFlush` |
//! | behind the homes | the tail passes homes that are not there | `NoCheckpointFlush` |
//! | in recovery, before the epoch | the new epoch hides batches whose homes are not there | `NoRecoveryFlush` |
//!
//! None is needed behind the tail. Only a later record can take the log space that the tail gives back, and the flush
//! before that record covers the tail, whose write completed. What is written into a block that came free with it matters
//! only once a record says whose it is: the same flush lies between.
//!
//! [`Fault`]: crate::variant::Fault
mod checkpoint;
mod commit;
mod recovery;
mod scan;
mod state;

pub(crate) use commit::overhead;
pub use recovery::Space;
pub(crate) use recovery::{Left, look, recover};
pub use scan::{Copy, Replay, replay};
pub(crate) use state::State;

use crate::format::Geometry;
use crate::op::Volume;
use crate::variant::Variant;
use bento_api::{Event, IoList, Next, Platform, Then};

/// One step of commit or checkpoint: see [`bento_api::FileSystem::drive`].
pub(crate) fn drive<P: Platform, V: Variant>(volume: &Volume, platform: &P, event: Event) -> Next<P> {
    let mut next = Next { io: platform.io_list(), then: Then::Idle };
    platform.with_journal(|bytes| {
        let Some(state) = State::of(bytes) else { return };
        let mut drive = Drive { volume, platform, state, io: &mut next.io };
        next.then = match event {
            Event::Commit => drive.commit::<V>(),
            Event::Log => drive.log::<V>(),
            Event::Written(batch, Ok(())) => drive.written(batch),
            Event::Checkpoint => drive.checkpoint(),
            Event::Homed(Ok(())) => drive.homed::<V>(),
            Event::Tail(Ok(())) => drive.tail_written(),
            Event::Written(_, Err(_)) | Event::Homed(Err(_)) | Event::Tail(Err(_)) => drive.die(),
        };
    });
    next
}

/// Whether nothing is in the log that is not home.
pub(crate) fn is_clean<P: Platform>(platform: &P) -> bool {
    platform.with_journal(|bytes| State::of(bytes).is_some_and(|state| state.is_idle()))
}

/// One call of `drive`.
struct Drive<'a, P: Platform> {
    volume: &'a Volume,
    platform: &'a P,
    state: &'a mut State,
    io: &'a mut P::IoList,
}

impl<P: Platform> Drive<'_, P> {
    fn geometry(&self) -> &Geometry {
        &self.volume.geometry
    }

    /// The log failed: nothing that is not durable will ever be, so nothing may change any more.
    fn die(&mut self) -> Then {
        self.platform.shut_down();
        Then::Dead
    }

    fn flush(&mut self) {
        self.io.flush();
    }
}
