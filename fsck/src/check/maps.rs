//! What the check remembers of each block and each inode: bits and bytes, made group by group as they are needed.
use bento_api::{FileKind, GroupNo, InodeNo};
use bento_fs::format::Geometry;
use std::collections::HashMap;

/// A bit for each block of the volume. Memory goes to groups that have one set, however many a superblock claims.
pub(super) struct Bits {
    groups: HashMap<GroupNo, Box<[u64]>>,
    words: usize,
}

/// The words of a run of bits, with the bits of the run in each.
fn masks(start: u32, len: u32) -> impl Iterator<Item = (usize, u64)> {
    let end = start.saturating_add(len);
    (start / 64..end.div_ceil(64)).map(move |word| {
        let low = u64::MAX << start.saturating_sub(word * 64);
        let high = match end.saturating_sub(word * 64) {
            bits @ 1..64 => u64::MAX >> (64 - bits),
            _ => u64::MAX,
        };
        (word as usize, low & high)
    })
}

impl Bits {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self { groups: HashMap::new(), words: geometry.blocks_per_group.div_ceil(64) as usize }
    }

    /// Whether any bit was ever set.
    pub(super) fn any(&self) -> bool {
        !self.groups.is_empty()
    }

    fn group_mut(&mut self, group: GroupNo) -> &mut [u64] {
        self.groups.entry(group).or_insert_with(|| vec![0; self.words].into())
    }

    /// Sets a run of a group; `twice` gets each word's bits that were set already.
    pub(super) fn set(&mut self, group: GroupNo, start: u32, len: u32, mut twice: impl FnMut(usize, u64)) {
        let bits = self.group_mut(group);
        for (word, mask) in masks(start, len) {
            let Some(bits) = bits.get_mut(word) else { break };
            if *bits & mask != 0 {
                twice(word, *bits & mask);
            }
            *bits |= mask;
        }
    }

    /// Sets bits of one word.
    pub(super) fn set_word(&mut self, group: GroupNo, word: usize, mask: u64) {
        if let Some(bits) = self.group_mut(group).get_mut(word) {
            *bits |= mask;
        }
    }

    /// How many bits of a run are set.
    pub(super) fn count(&self, group: GroupNo, start: u32, len: u32) -> u32 {
        let Some(bits) = self.groups.get(&group) else { return 0 };
        masks(start, len).filter_map(|(word, mask)| Some((bits.get(word)? & mask).count_ones())).sum()
    }

    /// One word of a group.
    pub(super) fn word(&self, group: GroupNo, word: usize) -> u64 {
        self.groups.get(&group).and_then(|bits| bits.get(word)).copied().unwrap_or(0)
    }
}

/// What an inode turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not in use.
    Free,
    /// In use, and so broken that nobody can tell what it is or what it holds.
    Broken,
    /// In use.
    Used(FileKind),
}

const KIND: u8 = 0x0f;
const BROKEN: u8 = 0x10;
/// One name was found; more names, or another number of them to be, are in the map.
const NAMED: u8 = 0x20;
const MAPPED: u8 = 0x40;

/// A byte for each inode, and more for those that have other than one link.
pub(super) struct Inodes {
    per_group: u32,
    groups: HashMap<GroupNo, Vec<u8>>,
    links: HashMap<u64, Links>,
}

/// Links as the inode counts them, and as they were found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    pub(super) stored: u32,
    pub(super) found: u32,
}

impl Inodes {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self { per_group: geometry.inodes_per_group.max(1), groups: HashMap::new(), links: HashMap::new() }
    }

    fn place(&self, ino: InodeNo) -> Option<(GroupNo, usize)> {
        let per_group = u64::from(self.per_group);
        let group = u32::try_from(ino.0 / per_group).ok()?;
        Some((GroupNo(group), (ino.0 % per_group) as usize))
    }

    fn byte(&self, ino: InodeNo) -> u8 {
        let byte = self.place(ino).and_then(|(group, at)| self.groups.get(&group)?.get(at).copied());
        byte.unwrap_or(0)
    }

    fn byte_mut(&mut self, ino: InodeNo) -> Option<&mut u8> {
        let (group, at) = self.place(ino)?;
        let bytes = self.groups.entry(group).or_default();
        if at >= bytes.len() {
            bytes.resize(at + 1, 0);
        }
        bytes.get_mut(at)
    }

    /// Notes an inode in use.
    pub(super) fn set(&mut self, ino: InodeNo, state: State, links: u32) {
        let byte = match state {
            State::Free => 0,
            State::Broken => BROKEN,
            State::Used(kind) => kind.dirent_type(),
        };
        let mapped = if links == 1 { 0 } else { MAPPED };
        if let Some(place) = self.byte_mut(ino) {
            *place = byte | mapped;
        }
        if mapped != 0 {
            self.links.insert(ino.0, Links { stored: links, found: 0 });
        }
    }

    pub(super) fn state(&self, ino: InodeNo) -> State {
        let byte = self.byte(ino);
        match FileKind::of_mode(u32::from(byte & KIND) << 12) {
            Some(kind) => State::Used(kind),
            None if byte & BROKEN != 0 => State::Broken,
            None => State::Free,
        }
    }

    /// Notes a name of an inode.
    pub(super) fn name(&mut self, ino: InodeNo) {
        let byte = self.byte(ino);
        if byte & MAPPED != 0 {
            if let Some(links) = self.links.get_mut(&ino.0) {
                links.found = links.found.saturating_add(1);
            }
        } else if byte & NAMED != 0 {
            self.links.insert(ino.0, Links { stored: 1, found: 2 });
            if let Some(byte) = self.byte_mut(ino) {
                *byte |= MAPPED;
            }
        } else if let Some(byte) = self.byte_mut(ino) {
            *byte |= NAMED;
        }
    }

    fn links_of(&self, ino: u64, byte: u8) -> Links {
        if byte & MAPPED != 0 {
            return self.links.get(&ino).copied().unwrap_or_default();
        }
        Links { stored: 1, found: u32::from(byte & NAMED != 0) }
    }

    /// The inodes of a group that are in use, with their links.
    pub(super) fn used(&self, group: GroupNo) -> impl Iterator<Item = (InodeNo, State, Links)> + '_ {
        let first = u64::from(group.0) * u64::from(self.per_group);
        let bytes = self.groups.get(&group).map_or(&[][..], Vec::as_slice);
        bytes
            .iter()
            .zip(first..)
            .filter(|(byte, _)| **byte & (KIND | BROKEN) != 0)
            .map(|(byte, ino)| (InodeNo(ino), self.state(InodeNo(ino)), self.links_of(ino, *byte)))
    }
}

/// A directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dir {
    pub(super) ino: InodeNo,
    /// Its parent, as it says itself.
    pub(super) parent: InodeNo,
    /// The directory (by its place in the list) that names it; the root names itself.
    pub(super) named_by: Option<u32>,
    /// Its links, as it says itself.
    pub(super) nlink: u32,
    /// Directories in it.
    pub(super) subdirs: u32,
    /// Some of its extents or of its index could not be read.
    pub(super) extents_bad: bool,
    pub(super) index_bad: bool,
    pub(super) mark: Mark,
}

/// What is known of a directory's way to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Unknown,
    OnTheWay,
    Known,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry {
            blocks_total: 4000,
            groups_start: bento_api::BlockNo(100),
            groups: 2,
            blocks_per_group: 1024,
            inodes_per_group: 64,
            log_start: bento_api::BlockNo(2),
            log_len: 97,
            summary_start: bento_api::BlockNo(99),
            summary_len: 1,
        }
    }

    #[test]
    fn a_run_that_was_set_is_counted_and_its_second_claim_noticed() {
        let mut bits = Bits::new(&geometry());
        bits.set(GroupNo(1), 60, 200, |_, _| panic!("nothing was set"));
        assert_eq!((bits.count(GroupNo(1), 0, 1024), bits.count(GroupNo(0), 0, 1024)), (200, 0));
        let mut twice = 0;
        bits.set(GroupNo(1), 255, 10, |_, bits| twice += bits.count_ones());
        assert_eq!((twice, bits.count(GroupNo(1), 0, 1024)), (5, 205));
        assert_eq!(bits.count(GroupNo(1), 64, 64), 64);
    }

    #[test]
    fn names_are_counted_with_one_byte_until_a_second_one_comes() {
        let mut inodes = Inodes::new(&geometry());
        inodes.set(InodeNo(70), State::Used(FileKind::Regular), 1);
        inodes.set(InodeNo(71), State::Used(FileKind::Regular), 3);
        for (ino, names) in [(70, 2), (71, 3)] {
            (0..names).for_each(|_| inodes.name(InodeNo(ino)));
        }
        let used: Vec<_> =
            inodes.used(GroupNo(1)).map(|(ino, _, links)| (ino.0, links.stored, links.found)).collect();
        assert_eq!(used, [(70, 1, 2), (71, 3, 3)]);
        assert_eq!(inodes.state(InodeNo(72)), State::Free);
        assert_eq!(inodes.state(InodeNo(u64::MAX)), State::Free);
    }
}
