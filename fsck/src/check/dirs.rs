//! Pass 2: directories. Every entry of every block, by a reader of its own.
use super::Check;
use super::maps::State;
use super::walk::{Mode, Run};
use crate::report::{Note, Problem};
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, FileKind, InodeNo};
use bento_fs::format::dirent::{FREE_MAP_START, RawEntryHead, entry_len, free_value, is_name};
use bento_fs::format::geometry::ROOT;
use bento_fs::format::inode::Inode;
use bento_fs::format::num::all_zero;
use bento_fs::format::record::Extent;
use bento_fs::format::{BlockKind, Corruption};
use zerocopy::FromBytes;

/// Where entries begin, and the granularity of their length.
const FIRST: usize = 32;
const UNIT: usize = 16;

/// An entry, as it lies there.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawEntry<'a> {
    pub(super) at: usize,
    pub(super) ino: InodeNo,
    pub(super) hash: u32,
    pub(super) kind: u8,
    pub(super) name: &'a [u8],
}

/// Reads the entries and holes of a block; answers the largest hole, unless the chain of lengths is broken.
pub(super) fn each_entry<'a>(
    bytes: &'a Bytes,
    entry: &mut dyn FnMut(RawEntry<'a>),
    problem: &mut dyn FnMut(Corruption),
) -> Option<usize> {
    let (mut at, mut largest, mut after_hole) = (FIRST, 0, false);
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or(&[]);
        let head = RawEntryHead::ref_from_prefix(rest).ok().map(|(head, _)| head);
        let len = head.map_or(0, |head| usize::from(head.rec_len.get()));
        let (Some(head), Some(whole)) = (head, rest.get(UNIT..len).filter(|_| len.is_multiple_of(UNIT)))
        else {
            problem(Corruption::DirLength);
            return None;
        };
        if head.ino.get() == 0 {
            if head.hash.get() != 0 || head.name_len != 0 || head.kind != 0 || !all_zero(whole) || after_hole
            {
                problem(Corruption::DirHole);
            }
            after_hole = true;
            largest = largest.max(len);
        } else {
            after_hole = false;
            let name_len = usize::from(head.name_len);
            match whole.split_at_checked(name_len) {
                Some((name, padding)) if len == entry_len(name_len) => {
                    if !all_zero(padding) {
                        problem(Corruption::DirPadding);
                    }
                    let ino = InodeNo(head.ino.get());
                    entry(RawEntry { at, ino, hash: head.hash.get(), kind: head.kind, name });
                }
                _ => problem(Corruption::DirLength),
            }
        }
        at += len;
    }
    Some(largest)
}

/// What was found in one directory.
#[derive(Default)]
pub(super) struct Scan {
    /// Hash and position of each entry.
    pub(super) entries: Vec<(u64, u64)>,
    /// Each block of names that could be read: its file block, its device block, its free map value.
    pub(super) blocks: Vec<(u64, BlockNo, u8)>,
    /// File blocks of names that could not be read, or not whole.
    pub(super) bad: Vec<u64>,
    /// Blocks of the free map: which, and where.
    pub(super) maps: Vec<(u64, BlockNo)>,
}

impl Scan {
    fn clear(&mut self) {
        self.entries.clear();
        self.blocks.clear();
        self.bad.clear();
        self.maps.clear();
    }
}

impl Check<'_> {
    /// All directories.
    pub(super) fn directories(&mut self) -> Option<()> {
        self.orphans_exist();
        let total = self.dirs.len() as u64;
        let mut scan = Scan::default();
        for place in 0..self.dirs.len() {
            if place % 64 == 0 {
                self.step(2, place as u64, total)?;
            }
            let Some(dir) = self.dirs.get(place).copied() else { break };
            let Some((_, inode)) = self.inode_again(dir.ino) else { continue };
            scan.clear();
            self.scan(place, dir.ino, &inode, &mut scan);
            self.compare(&dir, &inode, &mut scan);
        }
        Some(())
    }

    /// Reads all names of a directory.
    fn scan(&mut self, place: usize, ino: InodeNo, inode: &Inode, scan: &mut Scan) {
        self.each_extent(ino, inode, Mode::Quiet, &mut |check, run| {
            if let Run::Data(extent) = run {
                check.scan_extent(place, ino, inode, &extent, scan);
            }
        });
        self.report.stats.names += scan.entries.len() as u64;
    }

    fn scan_extent(&mut self, place: usize, ino: InodeNo, inode: &Inode, extent: &Extent, scan: &mut Scan) {
        let names_end = inode.size / BLOCK_BYTES;
        let maps_end = FREE_MAP_START.saturating_add(names_end);
        for (file, no) in (extent.file.0..extent.end().0).zip((extent.start.0..).map(BlockNo)) {
            if file >= names_end && !(FREE_MAP_START..maps_end).contains(&file) {
                return;
            }
            let Some(left) = self.budget.checked_sub(1) else {
                self.report.note(Note::DirectoriesCutShort);
                return;
            };
            self.budget = left;
            if file >= FREE_MAP_START {
                scan.maps.push((file - FREE_MAP_START, no));
            } else {
                self.scan_block(place, ino, file, no, scan);
            }
        }
    }

    fn scan_block(&mut self, place: usize, ino: InodeNo, file: u64, no: BlockNo, scan: &mut Scan) {
        let shared = self.shared_in(no, 1) > 0;
        let bit = self.geometry.block_group(no);
        if shared && bit.is_some_and(|(group, bit)| self.named.count(group, bit, 1) > 0) {
            return;
        }
        let mut page = self.image.page();
        match self.read_block(no, BlockKind::Dir, ino.0, &mut page) {
            Err(bad) => {
                self.problem(bad.problem().ino(ino));
                scan.bad.push(file);
            }
            Ok(()) => {
                if let (true, Some((group, bit))) = (shared, bit) {
                    self.named.set(group, bit, 1, |_, _| {});
                }
                self.names(place, ino, (file, no), &page, scan);
            }
        }
        self.image.give(page);
    }

    fn names(
        &mut self,
        place: usize,
        ino: InodeNo,
        (file, no): (u64, BlockNo),
        page: &Bytes,
        scan: &mut Scan,
    ) {
        let mut problems = Vec::new();
        let key = self.superblock.hash_key;
        let largest = each_entry(
            page,
            &mut |entry| {
                let hash = key.hash(entry.name);
                let position = file.saturating_mul(BLOCK_BYTES).saturating_add(entry.at as u64);
                scan.entries.push((hash.0, position));
                let mut add =
                    |what| self.problem(Problem::new(what).ino(ino).block(no).name(entry.name, entry.ino));
                if !is_name(entry.name) {
                    add(Corruption::DirName);
                }
                if entry.hash != hash.low() {
                    add(Corruption::DirHash);
                }
                self.entry(place, ino, no, &entry);
            },
            &mut |what| problems.push(what),
        );
        for what in problems {
            self.problem(Problem::new(what).ino(ino).block(no));
        }
        match largest {
            Some(hole) => scan.blocks.push((file, no, free_value(hole))),
            None => scan.bad.push(file),
        }
    }

    /// Follows one entry to its inode.
    fn entry(&mut self, place: usize, ino: InodeNo, no: BlockNo, entry: &RawEntry<'_>) {
        let problem = |what| Problem::new(what).ino(ino).block(no).name(entry.name, entry.ino);
        let Some(kind) = (entry.kind < 16).then(|| FileKind::of_mode(u32::from(entry.kind) << 12)).flatten()
        else {
            self.problem(problem(Corruption::DirKind));
            return self.named_inode(place, ino, None, entry.ino, &problem);
        };
        self.named_inode(place, ino, Some(kind), entry.ino, &problem);
    }

    fn named_inode(
        &mut self,
        place: usize,
        ino: InodeNo,
        kind: Option<FileKind>,
        target: InodeNo,
        problem: &dyn Fn(Corruption) -> Problem,
    ) {
        if !self.geometry.is_file_ino(target) || target == ROOT {
            return self.problem(problem(Corruption::DirInode));
        }
        match self.inodes.state(target) {
            State::Free => self.problem(problem(Corruption::InodeUnused)),
            State::Broken => self.inodes.name(target),
            State::Used(found) => {
                if kind.is_some_and(|kind| kind != found) {
                    self.problem(problem(Corruption::DirType));
                }
                if found == FileKind::Directory {
                    self.named_dir(place, ino, target, problem);
                } else {
                    self.inodes.name(target);
                }
            }
        }
    }

    /// A directory has one name, in the directory that it calls its parent.
    fn named_dir(
        &mut self,
        place: usize,
        ino: InodeNo,
        target: InodeNo,
        problem: &dyn Fn(Corruption) -> Problem,
    ) {
        let Some(child) = self.dir_place(target) else { return };
        if let Some(parent) = self.dirs.get_mut(place) {
            parent.subdirs = parent.subdirs.saturating_add(1);
        }
        let Some(dir) = self.dirs.get_mut(child) else { return };
        if dir.named_by.is_some() {
            return self.problem(problem(Corruption::DirSecondName));
        }
        dir.named_by = u32::try_from(place).ok();
        if dir.parent != ino {
            let parent = dir.parent;
            self.problem(problem(Corruption::DirParent).counts(parent.0, ino.0));
        }
    }
}
