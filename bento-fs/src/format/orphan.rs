//! Orphan slots: the inodes that are to be freed, or cut short, when nobody needs them any more; a mount goes on
//! where the last one stopped. Slot n is entry n % 508 of block n / 508 of the orphan file.
use super::block::HEADER;
use super::num::{index, index32, narrow32};
use super::{Corruption, Geometry};
use bento_api::{FileBlock, InodeNo};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

/// Slots in a block.
pub const SLOTS: u32 = 508;
/// Slots of a volume, at most.
pub const MAX_SLOTS: u32 = 1 << 18;

/// The block of the orphan file that holds a slot, and the slot's index there.
pub fn slot_place(slot: u32) -> (FileBlock, u32) {
    (FileBlock((slot / SLOTS).into()), slot % SLOTS)
}

/// The inode in a slot of a block; `None` if the slot is free. An inode that can't be an orphan is a problem.
pub fn get(bytes: &[u8], at: u32, geometry: &Geometry) -> Result<Option<InodeNo>, Corruption> {
    let raw = raw_slots(bytes).get(index32(at)).ok_or(Corruption::OrphanInode)?;
    match raw.get() {
        0 => Ok(None),
        number if geometry.is_removable(InodeNo(number)) => Ok(Some(InodeNo(number))),
        _ => Err(Corruption::OrphanInode),
    }
}

/// Puts an inode into a slot of a block, or empties it; false if there is no such slot.
#[must_use]
pub fn set(bytes: &mut [u8], at: u32, ino: Option<InodeNo>) -> bool {
    match raw_slots_mut(bytes).get_mut(index32(at)) {
        Some(slot) => *slot = ino.map_or(0, |ino| ino.0).into(),
        None => return false,
    }
    true
}

/// The first free slot of a block, from `from` on.
pub fn first_free(bytes: &[u8], from: u32) -> Option<u32> {
    let rest = raw_slots(bytes).get(index32(from)..)?;
    let at = rest.iter().position(|slot| slot.get() == 0)?;
    from.checked_add(narrow32(at))
}

/// The used slots of a block.
pub fn used<'a>(
    bytes: &'a [u8],
    geometry: &'a Geometry,
) -> impl Iterator<Item = Result<(u32, InodeNo), Corruption>> {
    (0..SLOTS).filter_map(move |at| get(bytes, at, geometry).map(|ino| Some((at, ino?))).transpose())
}

fn raw_slots(bytes: &[u8]) -> &[U64] {
    let body = bytes.get(HEADER..).and_then(|rest| rest.get(..index(u64::from(SLOTS) << 3)));
    body.and_then(|body| <[U64]>::ref_from_bytes(body).ok()).unwrap_or(&[])
}

fn raw_slots_mut(bytes: &mut [u8]) -> &mut [U64] {
    let body = bytes.get_mut(HEADER..).and_then(|rest| rest.get_mut(..index(u64::from(SLOTS) << 3)));
    body.and_then(|body| <[U64]>::mut_from_bytes(body).ok()).unwrap_or(&mut [])
}
