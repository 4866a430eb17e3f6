//! The free map: one byte a block, the largest hole in it.
//!
//! Room for a name is looked for in the last block, which serves a directory that only grows; then in the map
//! block of the last block; then in a few map blocks chosen by the name's hash, so that room is found again wherever
//! names went, and no insertion reads more than that of a map that may be large.
use super::{NewEntry, blocks};
use crate::format::block::{HEADER, body};
use crate::format::dirent::{self, FREE_MAP_ABSENT, FREE_MAP_ENTRIES};
use crate::format::num::wide;
use crate::format::{BlockKind, Corruption, Inode};
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::{BlockNo, Bytes, FileBlock, InodeNo, Platform, Stop};

/// Map blocks besides the last that an insertion looks through.
const SCANNED: u64 = 3;

/// The file block of the map, and the byte in it, that describe a block of names.
pub(super) fn map_place(file: FileBlock) -> (FileBlock, usize) {
    let (map, at) = dirent::free_map_place(file.0);
    (FileBlock(map), at)
}

/// Where an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Into a block that has a hole.
    In(FileBlock),
    /// Into a new block: at a file hole, or at the end.
    New(FileBlock),
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Starts the map of a directory that grows beyond its only block, `no`.
    pub(super) fn map_start(&mut self, dir: Locked, inode: &mut Inode, no: BlockNo) -> Result<(), Stop> {
        let hole = self.look(no, dir.no(), super::block::largest_hole)?;
        let (map, _) = map_place(FileBlock(0));
        self.add_metadata(dir, inode, map, BlockKind::FreeMap)?;
        self.set_map(dir, inode, FileBlock(0), dirent::free_value(hole))
    }

    /// Looks at a block of the map.
    fn look_map<R>(
        &self,
        dir: InodeNo,
        inode: &Inode,
        map: FileBlock,
        f: impl FnOnce(&Bytes) -> R,
    ) -> Result<R, Stop> {
        let no = self.data_block(dir, inode, map)?;
        self.view(no, BlockKind::FreeMap, dir, f)
    }

    /// What the map says of a block.
    pub(super) fn map_value(&self, dir: InodeNo, inode: &Inode, file: FileBlock) -> Result<u8, Stop> {
        let (map, at) = map_place(file);
        Ok(self.look_map(dir, inode, map, |bytes| bytes.get(at).copied())?.unwrap_or(0))
    }

    /// Sets what the map says of a block; most changes of a block change nothing here.
    pub(super) fn set_map(
        &mut self,
        dir: Locked,
        inode: &Inode,
        file: FileBlock,
        value: u8,
    ) -> Result<(), Stop> {
        let (map, at) = map_place(file);
        let no = self.data_block(dir.no(), inode, map)?;
        if self.view(no, BlockKind::FreeMap, dir.no(), |bytes| bytes.get(at) == Some(&value))? {
            return Ok(());
        }
        let draft = self.edit(no, BlockKind::FreeMap, dir)?;
        self.draft_mut(draft, |bytes| bytes.get_mut(at).map(|place| *place = value))?;
        Ok(())
    }

    /// Where a name finds room.
    pub(super) fn find_room(&self, dir: InodeNo, inode: &Inode, entry: &NewEntry<'_>) -> Result<Room, Stop> {
        let need = dirent::free_needed(entry.name.len());
        let end = blocks(inode);
        let Some(last) = end.checked_sub(1) else { return Ok(Room::New(FileBlock(0))) };
        let value = self.map_value(dir, inode, FileBlock(last))?;
        if value >= need && value != FREE_MAP_ABSENT {
            return Ok(Room::In(FileBlock(last)));
        }
        let last_map = last / FREE_MAP_ENTRIES;
        let others =
            (0..SCANNED.min(last_map)).map(|step| entry.hash.0.wrapping_add(step).checked_rem(last_map));
        for k in core::iter::once(Some(last_map)).chain(others).flatten() {
            let map = FileBlock(dirent::FREE_MAP_START.saturating_add(k));
            let Some((at, value)) = self.look_map(dir, inode, map, |bytes| first_with(bytes, need))? else {
                continue;
            };
            let file = k.saturating_mul(FREE_MAP_ENTRIES).saturating_add(at);
            if file >= end {
                return Err(self.corrupt(Corruption::DirPlace, BlockNo(0), dir));
            }
            let file = FileBlock(file);
            return Ok(if value == FREE_MAP_ABSENT { Room::New(file) } else { Room::In(file) });
        }
        Ok(Room::New(FileBlock(end)))
    }
}

/// The first value of a map block that is at least `need`, and which it is. Eight at a time, without vector
/// instructions, which the kernel does not have.
fn first_with(bytes: &Bytes, need: u8) -> Option<(u64, u8)> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const _: () =
        assert!((dirent::MAX_NAME + 2 * dirent::HEAD) / dirent::HEAD < 0x80, "no need has its high bit set");
    const _: () = assert!((bento_api::BLOCK - HEADER).is_multiple_of(8), "a map block is whole words");
    let needs = u64::from_le_bytes([need & 0x7f; 8]);
    // In each byte the high bit stands in for a borrow, so none leaves its byte.
    let enough = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        ((word | HIGH).wrapping_sub(needs) | word) & HIGH != 0
    };
    let (words, _) = body(bytes).as_chunks::<8>();
    let (at, word) = words.iter().enumerate().find(|(_, word)| enough(word))?;
    let (byte, value) = word.iter().enumerate().find(|(_, value)| **value >= need)?;
    Some((wide(at).saturating_mul(8).saturating_add(wide(byte)), *value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bento_api::BLOCK;

    #[test]
    fn the_search_of_words_finds_what_a_search_of_bytes_finds() {
        let mut bytes = [0; BLOCK];
        let mut state = 7_u32;
        for round in 0..300 {
            for byte in &mut bytes[HEADER..] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = if state >> 20 == 0 { (state >> 8) as u8 } else { (state >> 28) as u8 % 3 };
            }
            bytes[HEADER + round] = [1, 17, 127, 128, 254, 255][round % 6];
            for need in 2..=17 {
                let found = bytes[HEADER..].iter().position(|value| *value >= need);
                let found = found.map(|at| (at as u64, bytes[HEADER + at]));
                assert_eq!(first_with(&bytes, need), found);
            }
        }
        assert_eq!(first_with(&[0; BLOCK], 2), None);
    }
}
