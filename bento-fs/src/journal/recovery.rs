//! Recovery: whole batches go home, then a new epoch begins. Runs outside every gate, over a blocking disk.
//!
//! # Crash
//! A crash in recovery leaves the old log header, and the next recovery installs the same batches again. Homes are
//! flushed before the header moves ([`Fault::NoRecoveryFlush`]); the header, with an epoch that no record on the device
//! can have, is on the medium before anything is written under it ([`Fault::StaleEpoch`]).
use super::scan::{Trust, newest, walk};
use super::{Replay, State};
use crate::format::Corruption;
use crate::format::log::LogHeader;
use crate::op::Volume;
use crate::variant::{Fault, Variant};
use bento_api::limits::JOURNAL_STATE;
use bento_api::{BLOCK, Bytes, Disk, Errno};

/// Blocks that mount, recovery and fsck work in: a kernel stack has no room for them.
#[derive(Debug)]
pub struct Space {
    pub(super) record: Bytes,
    pub(super) block: Bytes,
    pub(crate) home: Bytes,
}

impl Default for Space {
    fn default() -> Self {
        Self { record: [0; BLOCK], block: [0; BLOCK], home: [0; BLOCK] }
    }
}

/// Whether the last unmount left nothing in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Clean,
    Dirty,
}

/// What a mount that writes nothing starts with.
#[inline(never)] // a superblock is on the caller's stack
pub(crate) fn look(
    disk: &dyn Disk,
    volume: &Volume,
    left: Left,
    space: &mut Space,
    state: &mut [u8; JOURNAL_STATE],
) -> Result<Replay, Errno> {
    let replay = match left {
        Left::Clean => newest(disk, &volume.geometry, volume.seed, space)?,
        Left::Dirty => read_through(disk, volume, space)?,
    };
    State::begin(&replay.header, state);
    Ok(replay)
}

/// Brings the volume to the state of its last whole batch, and begins a new epoch, with the journal's first state.
/// `epoch` is random.
#[inline(never)] // a superblock is on the caller's stack
pub(crate) fn recover<V: Variant>(
    disk: &dyn Disk,
    volume: &Volume,
    left: Left,
    epoch: u64,
    space: &mut Space,
    state: &mut [u8; JOURNAL_STATE],
) -> Result<Replay, Errno> {
    let replay = match left {
        Left::Clean => newest(disk, &volume.geometry, volume.seed, space)?,
        Left::Dirty => {
            // All of it is read before any of it is installed: behind damage, homes may be newer than what is whole.
            let found = read_through(disk, volume, space)?;
            if found.damaged.is_some() {
                return Err(Corruption::LogDamaged.into());
            }
            if found.batches == 0 { found } else { install::<V>(disk, volume, space)? }
        }
    };
    if V::FAULT != Fault::NoRecoveryFlush {
        disk.flush()?; // homes before the epoch
    }
    let epoch = if V::FAULT == Fault::StaleEpoch { replay.header.epoch } else { epoch };
    let header = LogHeader {
        counter: replay.header.counter.saturating_add(1),
        epoch,
        tail_seq: replay.next,
        tail_at: replay.next_at,
        prev_crc: replay.last_crc,
        totals: replay.totals,
        unrecorded: replay.unrecorded,
    };
    let slot =
        volume.geometry.log_slot(header.slot()).ok_or(Errno::Corrupt(Corruption::SuperblockLog.into()))?;
    header.encode(&mut space.home, volume.seed);
    disk.write(slot, &space.home)?;
    disk.flush()?; // the epoch before anything is written under it
    State::begin(&header, state);
    Ok(replay)
}

/// What the log holds, verified; writes nothing.
fn read_through(disk: &dyn Disk, volume: &Volume, space: &mut Space) -> Result<Replay, Errno> {
    walk(disk, &volume.geometry, volume.seed, space, Trust::Verify, &mut |_, _| Ok(()))
}

/// Writes every copy of every whole batch home, in order.
fn install<V: Variant>(disk: &dyn Disk, volume: &Volume, space: &mut Space) -> Result<Replay, Errno> {
    let trust = if V::FAULT == Fault::TrustCopies { Trust::Blindly } else { Trust::Verify };
    walk(disk, &volume.geometry, volume.seed, space, trust, &mut |copy, home| {
        copy.read(disk, home)?;
        disk.write(copy.home, home)
    })
}
