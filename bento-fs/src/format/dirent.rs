//! Directory blocks: entries and holes, one after another, from the header to the end of the block.
//!
//! An entry stays where it was inserted, so its byte offset in the directory is a cookie that stays valid; removing
//! it leaves a hole, and holes side by side become one. `.` and `..` are not stored.
//!
//! Also the free map: for each directory block, the largest hole.
use super::block::HEADER;
use super::hash::NameHash;
use super::num::{all_zero, index, narrow16, wide};
use super::{Corruption, block};
use bento_api::{BLOCK, FileKind, InodeNo};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of an entry before its name; entries begin at multiples of this.
pub const HEAD: usize = 16;
/// The first entry's place in a block.
pub const FIRST: usize = HEADER;
/// Bytes for entries in a block.
pub const ROOM: usize = BLOCK - HEADER;
/// The longest name.
pub const MAX_NAME: usize = 255;
/// The file block of a directory at which its free map begins.
pub const FREE_MAP_START: u64 = 1 << 40;
/// Directory blocks that a block of the free map describes.
pub const FREE_MAP_ENTRIES: u64 = 4064;
/// A free map value: the directory has no block there.
pub const FREE_MAP_ABSENT: u8 = 255;

raw! {
    /// What comes before the name in a directory entry; alone, a hole.
    pub struct RawEntryHead [16] {
        /// The inode; 0: a hole.
        0 => ino: U64,
        /// Low half of the name's hash; 0 in a hole.
        8 => hash: U32,
        /// Bytes to the next entry, a multiple of 16.
        12 => rec_len: U16,
        /// Bytes of the name; 0 in a hole.
        14 => name_len: u8,
        /// Type of the inode, as in readdir(3); 0 in a hole.
        15 => kind: u8,
    }
}

/// A live entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The byte in the block at which it begins.
    pub at: usize,
    /// Bytes to the next.
    pub len: usize,
    /// The inode.
    pub ino: InodeNo,
    /// Low half of the name's hash.
    pub hash: u32,
    /// The inode's type.
    pub kind: FileKind,
    /// The name.
    pub name: &'a [u8],
}

/// An entry or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// A live entry.
    Entry(Entry<'a>),
    /// Free bytes: where they begin, and how many.
    Hole {
        /// The byte in the block at which it begins.
        at: usize,
        /// Bytes.
        len: usize,
    },
}

/// The bytes that an entry with a name of this length takes.
pub fn entry_len(name_len: usize) -> usize {
    HEAD.saturating_add(name_len).next_multiple_of(HEAD)
}

/// Makes the entries of an empty directory block: one hole. The header is made by [`block::start`].
pub fn start(bytes: &mut [u8]) {
    block::body_mut(bytes).fill(0);
    put_hole(bytes, FIRST, ROOM);
}

/// The entries and holes of a block, in order. It ends after the first problem, and after at most 254 slots.
pub fn slots(bytes: &[u8]) -> Slots<'_> {
    Slots { bytes, at: FIRST, after_hole: false }
}

/// The iterator of [`slots`].
#[derive(Clone, Debug)]
pub struct Slots<'a> {
    bytes: &'a [u8],
    at: usize,
    after_hole: bool,
}

impl<'a> Iterator for Slots<'a> {
    type Item = Result<Slot<'a>, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= BLOCK {
            return None;
        }
        let slot = read(self.bytes, self.at).and_then(|slot| match slot {
            Slot::Hole { .. } if self.after_hole => Err(Corruption::DirHole),
            slot => Ok(slot),
        });
        self.at = match &slot {
            Ok(Slot::Entry(entry)) => entry.at.saturating_add(entry.len),
            Ok(Slot::Hole { at, len }) => at.saturating_add(*len),
            Err(_) => BLOCK,
        };
        self.after_hole = matches!(slot, Ok(Slot::Hole { .. }));
        Some(slot)
    }
}

/// The live entries of a block, in order.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Corruption>> {
    slots(bytes).filter_map(|slot| match slot {
        Ok(Slot::Entry(entry)) => Some(Ok(entry)),
        Ok(Slot::Hole { .. }) => None,
        Err(problem) => Some(Err(problem)),
    })
}

fn read(bytes: &[u8], at: usize) -> Result<Slot<'_>, Corruption> {
    let rest = bytes.get(at..BLOCK).ok_or(Corruption::DirLength)?;
    let (head, _) = RawEntryHead::ref_from_prefix(rest).map_err(|_| Corruption::DirLength)?;
    let len = index(head.rec_len.get().into());
    let whole = rest.get(HEAD..len).ok_or(Corruption::DirLength)?;
    if !len.is_multiple_of(HEAD) {
        return Err(Corruption::DirLength);
    }
    if head.ino.get() == 0 {
        let empty = head.hash.get() == 0 && head.name_len == 0 && head.kind == 0 && all_zero(whole);
        return if empty { Ok(Slot::Hole { at, len }) } else { Err(Corruption::DirHole) };
    }
    let name_len = index(head.name_len.into());
    if len != entry_len(name_len) {
        return Err(Corruption::DirLength);
    }
    let (name, padding) = whole.split_at_checked(name_len).ok_or(Corruption::DirLength)?;
    if !is_name(name) {
        return Err(Corruption::DirName);
    }
    if !all_zero(padding) {
        return Err(Corruption::DirPadding);
    }
    // DT_* are the type bits of the mode, shifted.
    let kind = (head.kind < 16).then(|| FileKind::of_mode(u32::from(head.kind) << 12)).flatten();
    let kind = kind.ok_or(Corruption::DirKind)?;
    Ok(Slot::Entry(Entry { at, len, ino: InodeNo(head.ino.get()), hash: head.hash.get(), kind, name }))
}

/// True for what may be a name: 1 to 255 bytes, no slash, no NUL, neither `.` nor `..`.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= MAX_NAME
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Finds a name. The hash is compared first.
pub fn find<'a>(bytes: &'a [u8], name: &[u8], hash: NameHash) -> Result<Option<Entry<'a>>, Corruption> {
    for entry in entries(bytes) {
        let entry = entry?;
        if entry.hash == hash.low() && entry.name == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// The entry at a place that the index names. The place is untrusted: no entry begins there unless a walk of the
/// block says so.
pub fn entry_at(bytes: &[u8], at: usize) -> Result<Entry<'_>, Corruption> {
    match next_entry(bytes, at)? {
        Some(entry) if entry.at == at => Ok(entry),
        _ => Err(Corruption::DirPlace),
    }
}

/// The first live entry at or after a byte of the block: where readdir goes on from a cookie. The block is walked
/// from its start, since a cookie may be anything.
pub fn next_entry(bytes: &[u8], at: usize) -> Result<Option<Entry<'_>>, Corruption> {
    for entry in entries(bytes) {
        let entry = entry?;
        if entry.at >= at {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// The bytes of the largest hole; 0 if there is none.
pub fn largest_hole(bytes: &[u8]) -> Result<usize, Corruption> {
    slots(bytes).try_fold(0, |largest, slot| match slot? {
        Slot::Hole { len, .. } => Ok(largest.max(len)),
        Slot::Entry(_) => Ok(largest),
    })
}

/// The first hole with at least this many bytes: where it begins.
pub fn find_hole(bytes: &[u8], need: usize) -> Result<Option<usize>, Corruption> {
    for slot in slots(bytes) {
        if let Slot::Hole { at, len } = slot?
            && len >= need
        {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// True if the block has no live entry.
pub fn is_empty(bytes: &[u8]) -> Result<bool, Corruption> {
    entries(bytes).next().transpose().map(|entry| entry.is_none())
}

/// The bytes that inserting an entry with a name of this length at a hole changes: the entry, and the head of the
/// hole that is left behind it.
pub fn insert_span(name_len: usize) -> usize {
    entry_len(name_len).saturating_add(HEAD)
}

/// Puts an entry at the start of the hole at `at`.
pub fn insert_at(
    bytes: &mut [u8],
    at: usize,
    name: &[u8],
    hash: NameHash,
    ino: InodeNo,
    kind: FileKind,
) -> Result<(), Corruption> {
    let need = entry_len(name.len());
    if !is_name(name) || ino.0 == 0 {
        return Err(Corruption::DirName);
    }
    let left = match read(bytes, at)? {
        Slot::Hole { len, .. } => len.checked_sub(need).ok_or(Corruption::DirLength)?,
        Slot::Entry(_) => return Err(Corruption::DirPlace),
    };
    let head = RawEntryHead {
        ino: ino.0.into(),
        hash: hash.low().into(),
        rec_len: narrow16(need).into(),
        name_len: u8::try_from(name.len()).map_err(|_| Corruption::DirName)?,
        kind: kind.dirent_type(),
    };
    put(bytes, at, head.as_bytes());
    put(bytes, at.saturating_add(HEAD), name);
    if left > 0 {
        put_hole(bytes, at.saturating_add(need), left);
    }
    Ok(())
}

/// Takes the entry at `at` out and merges the hole with its neighbours. Answers where the merged hole begins, and
/// its length.
pub fn remove(bytes: &mut [u8], at: usize) -> Result<(usize, usize), Corruption> {
    let (mut start, mut end) = (at, at);
    let mut found = false;
    for slot in slots(bytes) {
        match slot? {
            Slot::Hole { at: hole, len } if hole.saturating_add(len) == at => start = hole,
            Slot::Hole { at: hole, len } if found && hole == end => end = hole.saturating_add(len),
            Slot::Entry(entry) if entry.at == at => {
                found = true;
                end = at.saturating_add(entry.len);
            }
            _ if found => break,
            _ => {}
        }
    }
    if !found {
        return Err(Corruption::DirPlace);
    }
    let len = end.saturating_sub(start);
    if let Some(place) = bytes.get_mut(start..end) {
        place.fill(0);
    }
    put_hole(bytes, start, len);
    Ok((start, len))
}

/// Makes the entry at `at` name another inode, as rename over an existing file does.
pub fn set_target(bytes: &mut [u8], at: usize, ino: InodeNo, kind: FileKind) -> Result<(), Corruption> {
    entry_at(bytes, at)?;
    let place = bytes.get_mut(at..).ok_or(Corruption::DirPlace)?;
    let (head, _) = RawEntryHead::mut_from_prefix(place).map_err(|_| Corruption::DirPlace)?;
    head.ino = ino.0.into();
    head.kind = kind.dirent_type();
    Ok(())
}

fn put_hole(bytes: &mut [u8], at: usize, len: usize) {
    let head =
        RawEntryHead { ino: U64::ZERO, hash: U32::ZERO, rec_len: narrow16(len).into(), name_len: 0, kind: 0 };
    put(bytes, at, head.as_bytes());
}

fn put(bytes: &mut [u8], at: usize, content: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..content.len())) {
        place.copy_from_slice(content);
    }
}

/// The free map value for a largest hole of this many bytes.
pub fn free_value(hole: usize) -> u8 {
    u8::try_from(hole / HEAD).unwrap_or(FREE_MAP_ABSENT).min(FREE_MAP_ABSENT - 1)
}

/// The free map value that a block needs at least, to take an entry with a name of this length. An absent block is
/// room, too.
pub fn free_needed(name_len: usize) -> u8 {
    free_value(entry_len(name_len))
}

/// The file block of the free map, and the byte in it, for a directory block.
pub fn free_map_place(directory_block: u64) -> (u64, usize) {
    let at = index(directory_block % FREE_MAP_ENTRIES).saturating_add(HEADER);
    (FREE_MAP_START.saturating_add(directory_block / FREE_MAP_ENTRIES), at)
}

/// The first directory block that a free map block, the `k`th, says has a value of at least `need`; absent blocks
/// count as room.
pub fn free_map_find(bytes: &[u8], k: u64, need: u8) -> Option<u64> {
    let at = block::body(bytes).iter().position(|value| *value >= need)?;
    k.checked_mul(FREE_MAP_ENTRIES)?.checked_add(wide(at))
}
