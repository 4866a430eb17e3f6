//! Walks of one block of names that look at the heads of its entries only.
//!
//! [`crate::format::dirent`] checks every byte that it passes, which is right for a block that is listed or changed. A
//! lookup passes a hundred names that nobody asked for: here the chain of lengths and the hashes are read, and
//! only the entry that answers is checked in full.
use crate::format::Corruption;
use crate::format::block;
use crate::format::dirent::{self, FIRST, HEAD, RawEntryHead};
use crate::format::hash::NameHash;
use crate::format::num::{index, wide};
use bento_api::{Bytes, FileKind, InodeNo};
use core::cmp::Ordering;
use zerocopy::FromBytes;

/// An entry that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// The byte of the block at which it begins.
    pub at: u64,
    /// The inode.
    pub ino: InodeNo,
    /// The inode's type.
    pub kind: FileKind,
}

/// The type with this number in readdir(3).
pub(super) fn kind_of(kind: u8) -> Option<FileKind> {
    // DT_* are the type bits of the mode, shifted.
    (kind < 16).then(|| FileKind::of_mode(u32::from(kind) << 12)).flatten()
}

/// The heads of entries and holes in order, with their numbers in units of 16 bytes from the first. The chain of
/// lengths ends at the end of the block or in an error.
struct Heads<'a> {
    units: &'a [RawEntryHead],
    at: usize,
}

fn heads(bytes: &Bytes) -> Heads<'_> {
    Heads { units: <[RawEntryHead]>::ref_from_bytes(block::body(bytes)).unwrap_or(&[]), at: 0 }
}

impl<'a> Iterator for Heads<'a> {
    type Item = Result<(usize, &'a RawEntryHead), Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.units.get(self.at)?;
        let len = usize::from(head.rec_len.get());
        let next = self.at.saturating_add(len / HEAD);
        if len < HEAD || !len.is_multiple_of(HEAD) || next > self.units.len() {
            self.at = self.units.len();
            return Some(Err(Corruption::DirLength));
        }
        let this = self.at;
        self.at = next;
        Some(Ok((this, head)))
    }
}

fn byte_of(unit: usize) -> usize {
    unit.saturating_mul(HEAD).saturating_add(FIRST)
}

/// The entry that begins at a unit, if it has this name; it is checked in full.
fn named(bytes: &Bytes, unit: usize, head: &RawEntryHead, name: &[u8]) -> Result<Option<Hit>, Corruption> {
    let at = byte_of(unit);
    let from = at.saturating_add(HEAD);
    let here = bytes.get(from..).and_then(|rest| rest.get(..name.len())).ok_or(Corruption::DirLength)?;
    if usize::from(head.name_len) != name.len() || here != name || head.ino.get() == 0 {
        return Ok(None);
    }
    if usize::from(head.rec_len.get()) != dirent::entry_len(name.len()) {
        return Err(Corruption::DirLength);
    }
    let kind = kind_of(head.kind).ok_or(Corruption::DirKind)?;
    Ok(Some(Hit { at: wide(at), ino: InodeNo(head.ino.get()), kind }))
}

/// Finds a name in a block.
pub(super) fn find(bytes: &Bytes, name: &[u8], hash: NameHash) -> Result<Option<Hit>, Corruption> {
    let low = hash.low();
    for head in heads(bytes) {
        let (unit, head) = head?;
        if head.hash.get() == low
            && usize::from(head.name_len) == name.len()
            && let Some(hit) = named(bytes, unit, head, name)?
        {
            return Ok(Some(hit));
        }
    }
    Ok(None)
}

/// The entry at a place that the index names, if it has this name. That an entry with this hash begins there is
/// believed only after a walk.
pub(super) fn find_at(
    bytes: &Bytes,
    at: usize,
    name: &[u8],
    hash: NameHash,
) -> Result<Option<Hit>, Corruption> {
    for head in heads(bytes) {
        let (unit, head) = head?;
        if byte_of(unit) >= at {
            let is_it = byte_of(unit) == at && head.ino.get() != 0 && head.hash.get() == hash.low();
            return if is_it { named(bytes, unit, head, name) } else { Err(Corruption::DirPlace) };
        }
    }
    Err(Corruption::DirPlace)
}

/// The first hole with at least this many bytes: where it begins.
pub(super) fn find_hole(bytes: &Bytes, need: usize) -> Result<Option<usize>, Corruption> {
    for head in heads(bytes) {
        let (unit, head) = head?;
        if head.ino.get() == 0 && usize::from(head.rec_len.get()) >= need {
            return Ok(Some(byte_of(unit)));
        }
    }
    Ok(None)
}

/// Takes the entry at `at` out, and makes one hole of it and the holes beside it. Answers the hole's bytes.
pub(super) fn remove(bytes: &mut Bytes, at: usize) -> Result<usize, Corruption> {
    let (mut start, mut end) = (at, at);
    for head in heads(bytes) {
        let (unit, head) = head?;
        let here = byte_of(unit);
        let next = here.saturating_add(head.rec_len.get().into());
        let is_hole = head.ino.get() == 0;
        match here.cmp(&at) {
            Ordering::Less if is_hole && next == at => start = here,
            Ordering::Less => {}
            Ordering::Equal if !is_hole => end = next,
            Ordering::Greater if is_hole && here == end => end = next,
            Ordering::Equal | Ordering::Greater => break,
        }
    }
    let hole =
        bytes.get_mut(start..end).filter(|hole| at < end && !hole.is_empty()).ok_or(Corruption::DirPlace)?;
    hole.fill(0);
    let len = hole.len();
    let (head, _) = RawEntryHead::mut_from_prefix(hole).map_err(|_| Corruption::DirPlace)?;
    head.rec_len = u16::try_from(len).map_err(|_| Corruption::DirLength)?.into();
    Ok(len)
}

/// The bytes of the largest hole; 0 if there is none.
pub(super) fn largest_hole(bytes: &Bytes) -> Result<usize, Corruption> {
    heads(bytes).try_fold(0, |largest, head| {
        let (_, head) = head?;
        let hole = if head.ino.get() == 0 { head.rec_len.get().into() } else { 0 };
        Ok(index(hole).max(largest))
    })
}

/// Whether the block has no name.
pub(super) fn is_empty(bytes: &Bytes) -> Result<bool, Corruption> {
    for head in heads(bytes) {
        if head?.1.ino.get() != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::HashKey;
    use crate::format::block::{BlockKind, Owner, start};
    use bento_api::{BLOCK, BlockNo};

    const KEY: HashKey = HashKey(*b"0123456789abcdef");

    fn empty() -> Bytes {
        let mut bytes = [0; BLOCK];
        start(&mut bytes, BlockKind::Dir, BlockNo(9), Owner(2));
        dirent::start(&mut bytes);
        bytes
    }

    fn put(bytes: &mut Bytes, name: &[u8], ino: u64) -> usize {
        let at = find_hole(bytes, dirent::entry_len(name.len())).unwrap().unwrap();
        dirent::insert_at(bytes, at, name, KEY.hash(name), InodeNo(ino), FileKind::Regular).unwrap();
        at
    }

    #[test]
    fn the_walks_agree_with_those_that_check_every_byte() {
        let mut bytes = empty();
        let mut at = [0; 40];
        for (i, at) in (1..).zip(&mut at) {
            *at = put(&mut bytes, &[b'n'; 200][..i * 3], i as u64);
        }
        for at in at.iter().step_by(3) {
            dirent::remove(&mut bytes, *at).unwrap();
        }
        for len in 1..255 {
            let name = &[b'n'; 255][..len];
            let slow = dirent::find(&bytes, name, KEY.hash(name)).unwrap();
            let fast = find(&bytes, name, KEY.hash(name)).unwrap();
            assert_eq!(fast.map(|hit| (hit.at, hit.ino)), slow.map(|entry| (wide(entry.at), entry.ino)));
            assert_eq!(find_hole(&bytes, len * 16), dirent::find_hole(&bytes, len * 16));
        }
        assert_eq!(largest_hole(&bytes), dirent::largest_hole(&bytes));
        assert_eq!(is_empty(&bytes), Ok(false));
        assert_eq!(is_empty(&empty()), Ok(true));
    }

    #[test]
    fn removing_leaves_the_same_block_as_removing_with_every_check() {
        let mut bytes = empty();
        let mut places = [0; 60];
        for (i, at) in (1..).zip(&mut places) {
            *at = put(&mut bytes, &[b'n'; 200][..i], i as u64);
        }
        for step in [7, 3, 5, 1] {
            for at in places.iter().step_by(step) {
                let mut strict = bytes;
                let removed = dirent::remove(&mut strict, *at).map(|(_, len)| len);
                assert_eq!(remove(&mut bytes, *at), removed);
                assert_eq!(bytes, strict);
            }
        }
        assert_eq!(bytes, empty());
        assert_eq!(remove(&mut bytes, 32), Err(Corruption::DirPlace));
        assert_eq!(remove(&mut bytes, 40), Err(Corruption::DirPlace));
        assert_eq!(remove(&mut bytes, 9000), Err(Corruption::DirPlace));
    }

    #[test]
    fn a_place_inside_of_an_entry_is_no_entry() {
        let mut bytes = empty();
        let name = b"a name of more than sixteen bytes";
        let at = put(&mut bytes, name, 7);
        assert_eq!(find_at(&bytes, at, name, KEY.hash(name)).unwrap().unwrap().ino, InodeNo(7));
        assert_eq!(find_at(&bytes, at, b"x", KEY.hash(name)), Ok(None));
        assert_eq!(find_at(&bytes, at, name, NameHash(1)), Err(Corruption::DirPlace));
        for wrong in [0, at + 16, at + 32, at + 64, 4080, 5000] {
            assert_eq!(find_at(&bytes, wrong, name, KEY.hash(name)), Err(Corruption::DirPlace));
        }
    }

    #[test]
    fn lengths_that_lead_nowhere_end_every_walk() {
        for len in [0_u16, 8, 24, 4080, u16::MAX, u16::MAX - 15] {
            let mut bytes = empty();
            put(&mut bytes, b"first", 3);
            bytes[FIRST + 32 + 12..][..2].copy_from_slice(&len.to_le_bytes());
            assert_eq!(find(&bytes, b"other", KEY.hash(b"other")), Err(Corruption::DirLength));
            assert_eq!(largest_hole(&bytes), Err(Corruption::DirLength));
            assert_eq!(find_hole(&bytes, 4064), Err(Corruption::DirLength));
        }
    }
}
