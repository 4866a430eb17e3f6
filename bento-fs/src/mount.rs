//! Mount and unmount: from a device to what the containers start with, and back.
//!
//! These block and run outside every gate. A mount reads the superblock, the log headers, and the log if the last life
//! did not end cleanly; everything else is read when it is needed.
//!
//! # Crash
//! The superblock says "clean" only from the end of an unmount, when all is home and flushed, to the begin of the next
//! mount for writing, which takes the mark away before it writes anything else.
use crate::format::geometry::{PROVENANCE, SUPERBLOCK};
use crate::format::log::most_copies;
use crate::format::superblock::{Compat, ErrorRecord, Incompat, RoCompat, State as VolumeState};
use crate::format::{Corruption, Inode, Superblock, orphan};
use crate::journal::{self, Left, Space};
use crate::op::{Life, Volume};
use crate::variant::{Recording, Variant};
use bento_api::limits::SMALLEST_LOG;
use bento_api::{BlockNo, Disk, Errno, Mounted, Time, Totals};
use core::fmt;

/// What a mount is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nothing is written; the caller overlays what the log holds (see [`journal::replay`]).
    pub read_only: bool,
    /// Names the new epoch of the log: random, never used before.
    pub epoch: u64,
    /// The time of day.
    pub now: Time,
    /// The machine's boot id, for provenance records; zeros if it is unknown.
    pub boot: [u8; 16],
}

/// Why a volume cannot be mounted, or what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failed {
    /// The device failed.
    Device(Errno),
    /// A structure is wrong.
    Corrupt(Corruption, BlockNo),
    /// Features that this version cannot read.
    Incompatible(u32),
    /// Features that this version cannot write: a read-only mount is possible.
    ReadOnlyFeatures(u32),
    /// A batch that was durable is damaged: fsck decides.
    Damaged,
    /// The log cannot hold the largest operations four times: a read-only mount is possible.
    LogTooSmall(u64),
    /// The volume ends behind the device.
    DeviceTooSmall {
        /// Blocks that the volume needs.
        volume: u64,
        /// Blocks that the device has.
        device: u64,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(errno) => write!(f, "cannot read or write the device: {errno:?}"),
            Self::Corrupt(what, block) => write!(f, "{} (problem {}, block {block})", what.text(), what.code()),
            Self::Incompatible(bits) => {
                write!(f, "the volume has features that this version does not know ({bits:#x}); use a newer version")
            }
            Self::ReadOnlyFeatures(bits) => write!(
                f,
                "the volume has features that this version cannot write ({bits:#x}); mount it read-only, or use a newer version"
            ),
            Self::Damaged => f.write_str(
                "the log holds a damaged batch that was durable (problem 251); mount read-only to save data, or run fsck.bento",
            ),
            Self::LogTooSmall(blocks) => write!(
                f,
                "the log has {blocks} blocks, and writing takes {SMALLEST_LOG} or more; mount it read-only, and copy the data to a new volume"
            ),
            Self::DeviceTooSmall { volume, device } => {
                write!(f, "the volume has {volume} blocks of 4096 bytes, but the device only {device}: is it truncated?")
            }
        }
    }
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Corrupt(what) => {
                let what = Corruption::from_code(what.0).unwrap_or(Corruption::LogDamaged);
                if what == Corruption::LogDamaged { Self::Damaged } else { Self::Corrupt(what, BlockNo(0)) }
            }
            errno => Self::Device(errno),
        }
    }
}

/// Reads and checks the superblock.
#[inline(never)]
pub fn read_superblock(disk: &dyn Disk, space: &mut Space) -> Result<Superblock, Failed> {
    if disk.blocks() <= SUPERBLOCK.0 {
        return Err(Failed::DeviceTooSmall { volume: u64::from(SMALLEST_LOG), device: disk.blocks() });
    }
    disk.read(SUPERBLOCK, &mut space.home)?;
    let superblock = Superblock::decode(&space.home).map_err(|what| Failed::Corrupt(what, SUPERBLOCK))?;
    let unknown = superblock.incompat.difference(Incompat::SUPPORTED);
    if !unknown.is_empty() {
        return Err(Failed::Incompatible(unknown.bits()));
    }
    let volume = superblock.geometry.blocks_total;
    if volume > disk.blocks() {
        return Err(Failed::DeviceTooSmall { volume, device: disk.blocks() });
    }
    Ok(superblock)
}

/// What the code knows of a volume.
pub fn volume_of(superblock: &Superblock, read_only: bool) -> Volume {
    Volume {
        geometry: superblock.geometry,
        seed: superblock.csum_seed,
        hash_key: superblock.hash_key,
        reserve: superblock.reserved_blocks,
        id: superblock.uuid.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
        read_only,
        boot: [0; 16],
        life: Life { mount: superblock.mount_count, takeover: 0 },
        unrecorded: Life::default(),
    }
}

/// Brings a volume back, and says what the containers start with.
pub fn mount<V: Variant>(
    disk: &dyn Disk,
    options: &Options,
    space: &mut Space,
) -> Result<(Mounted, Volume, Superblock), Failed> {
    let mut mounted = Mounted::default();
    let (volume, superblock) = mount_into::<V>(disk, options, space, &mut mounted)?;
    Ok((mounted, volume, superblock))
}

/// As [`mount`], for hosts whose stack has no room for what the containers start with.
#[inline(never)]
pub fn mount_into<V: Variant>(
    disk: &dyn Disk,
    options: &Options,
    space: &mut Space,
    mounted: &mut Mounted,
) -> Result<(Volume, Superblock), Failed> {
    // Where it was read to: `?` would copy it.
    let mut read = read_superblock(disk, space);
    let superblock = read.as_mut().map_err(|failed| *failed)?;
    let unknown = superblock.ro_compat.difference(RoCompat::SUPPORTED);
    if !options.read_only && !unknown.is_empty() {
        return Err(Failed::ReadOnlyFeatures(unknown.bits()));
    }
    let mut volume = volume_of(superblock, options.read_only);
    if !options.read_only && volume.geometry.log_len < u64::from(SMALLEST_LOG) {
        return Err(Failed::LogTooSmall(volume.geometry.log_len));
    }
    let left = if superblock.state.contains(VolumeState::CLEAN) { Left::Clean } else { Left::Dirty };
    let replay = if options.read_only {
        journal::look(disk, &volume, left, space, &mut mounted.journal)?
    } else {
        superblock.state.remove(VolumeState::CLEAN);
        superblock.mount_count = superblock.mount_count.saturating_add(1);
        superblock.mount_time = options.now.seconds;
        superblock.write_time = options.now.seconds;
        if V::RECORDING == Recording::Yes {
            superblock.compat.insert(Compat::PROV);
        }
        write_superblock(disk, superblock, space)?;
        journal::recover::<V>(disk, &volume, left, options.epoch, space, &mut mounted.journal)?
    };
    volume.boot = options.boot;
    volume.life.mount = superblock.mount_count;
    volume.unrecorded = Life::of_word(replay.unrecorded);
    let totals = replay.totals;
    let area = volume.geometry.log_area();
    let credits = most_copies(area)
        .min(u32::try_from(area.saturating_sub(journal::overhead(area))).unwrap_or(u32::MAX));
    mounted.next = replay.next;
    mounted.totals =
        Totals { blocks: totals.free_blocks, inodes: totals.free_inodes, orphans: totals.orphans };
    (mounted.log_credits, mounted.batch_limit) = (credits, credits / 4);
    mounted.groups = volume.geometry.groups;
    mounted.inodes_per_group = volume.geometry.inodes_per_group;
    mounted.blocks_per_group = volume.geometry.blocks_per_group;
    mounted.orphan_slots = orphan::MAX_SLOTS;
    mounted.read_only = u32::from(options.read_only);
    mounted.replayed = u32::try_from(replay.batches).unwrap_or(u32::MAX);
    Ok((volume, *superblock))
}

#[inline(never)] // as has_records()
fn write_superblock(disk: &dyn Disk, superblock: &Superblock, space: &mut Space) -> Result<(), Failed> {
    space.home.fill(0);
    superblock.encode(&mut space.home);
    disk.write(SUPERBLOCK, &space.home)?;
    disk.flush()?;
    Ok(())
}

/// Ends a mount: everything is home, so the superblock may say so.
///
/// # Crash
/// The mark is written after a flush of everything before it; without the mark the next mount looks into the log.
pub fn unmount(disk: &dyn Disk, now: Time, space: &mut Space) -> Result<(), Failed> {
    let mut superblock = read_superblock(disk, space)?;
    disk.flush()?;
    superblock.state.insert(VolumeState::CLEAN);
    superblock.write_time = now.seconds;
    if has_records(disk, &superblock, space) {
        superblock.compat.insert(Compat::PROV);
    }
    write_superblock(disk, &superblock, space)
}

/// Notes in the superblock what a mount met, so that the next fsck reads the whole volume and `info` can tell.
///
/// # Crash
/// The superblock is there with the record or without it: what matters of it lies in one sector.
pub fn note_errors(disk: &dyn Disk, errors: &[ErrorRecord], space: &mut Space) -> Result<(), Failed> {
    if errors.is_empty() {
        return Ok(());
    }
    let mut superblock = read_superblock(disk, space)?;
    errors.iter().for_each(|error| superblock.note_error(*error));
    write_superblock(disk, &superblock, space)
}

/// Whether there is a provenance log: a version that records may have taken over and begun one. What cannot be read is
/// none: the mark is no reason to fail an unmount.
#[inline(never)] // a superblock is on the stack already
fn has_records(disk: &dyn Disk, superblock: &Superblock, space: &mut Space) -> bool {
    let Some((block, at)) = superblock.geometry.inode_place(PROVENANCE) else { return false };
    if disk.read(block, &mut space.home).is_err() {
        return false;
    }
    let record = space.home.get(at..).unwrap_or(&[]);
    let mut inode = Inode::free(0);
    inode.read(record, PROVENANCE, superblock.csum_seed).is_ok_and(|()| !inode.is_free())
}
