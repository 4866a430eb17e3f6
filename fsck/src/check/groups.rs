//! Pass 1: groups, their allocation blocks and inode tables.
use super::Check;
use super::maps::State;
use super::record::{Problems, Record, is_intact, read};
use super::walk::Mode;
use crate::report::Problem;
use bento_api::{BlockNo, Bytes, FileKind, GroupNo, InodeNo};
use bento_fs::format::block::bit;
use bento_fs::format::geometry::{FIRST_INODE, INODE_SIZE, INODES_PER_BLOCK, LOST_AND_FOUND, ORPHANS, ROOT};
use bento_fs::format::group::RawAlloc;
use bento_fs::format::inode::{Inode, RawInode};
use bento_fs::format::num::all_zero;
use bento_fs::format::{BlockKind, Corruption};
use zerocopy::{FromBytes, IntoBytes};

/// What is known of an inode's bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marked {
    Used,
    Free,
    /// The bitmap cannot be trusted.
    Unknown,
}

impl Check<'_> {
    /// Every inode of every group.
    pub(super) fn inodes(&mut self) -> Option<()> {
        let groups = u64::from(self.geometry.groups);
        for group in self.groups() {
            self.step(1, group.0.into(), groups)?;
            let mut page = self.image.page();
            let trusted = self.alloc_block(group, &mut page);
            if !trusted {
                self.bad_groups.push(group);
            }
            let alloc = RawAlloc::ref_from_bytes(&page[..]).ok();
            if let Some(alloc) = alloc {
                let mark = alloc.inodes_init.get();
                let end = if trusted {
                    mark.min(self.geometry.inodes_per_group)
                } else {
                    self.geometry.inodes_per_group
                };
                self.marked_above(group, alloc, end);
                self.table(group, alloc, trusted, end);
            }
            self.image.give(page);
        }
        self.special_inodes();
        Some(())
    }

    /// Reads and checks an allocation block; whether its header is right, so that its bits mean something.
    fn alloc_block(&mut self, group: GroupNo, page: &mut Bytes) -> bool {
        let Some(no) = self.geometry.alloc_block(group) else { return false };
        if let Err(bad) = self.read_block(no, BlockKind::Alloc, group.0.into(), page) {
            self.problem(bad.problem().group(group));
            return false;
        }
        let Ok(alloc) = RawAlloc::ref_from_bytes(&page[..]) else { return false };
        let blocks = self.geometry.group_blocks(group).unwrap_or(0);
        let inodes = self.geometry.inodes_per_group;
        let metadata = self.geometry.data_start(group).unwrap_or(0);
        let problem = |what| Problem::new(what).group(group).block(no);
        let counted = |what, stored: u32, counted: u32| problem(what).counts(stored.into(), counted.into());
        let free_blocks = zeros(&alloc.block_bitmap, blocks);
        let free_inodes = zeros(&alloc.inode_bitmap, inodes);
        let mark = alloc.inodes_init.get();
        let (stored_blocks, stored_inodes) = (alloc.free_blocks.get(), alloc.free_inodes.get());
        let found = [
            (!tail_is_set(&alloc.block_bitmap, blocks)
                || !tail_is_set(&alloc.inode_bitmap, inodes)
                || !all_zero(&alloc.unused))
            .then(|| problem(Corruption::GroupTail)),
            (zeros(&alloc.block_bitmap, metadata) > 0).then(|| problem(Corruption::GroupMetadata)),
            (stored_blocks != free_blocks)
                .then(|| counted(Corruption::GroupFreeBlocks, stored_blocks, free_blocks)),
            (stored_inodes != free_inodes)
                .then(|| counted(Corruption::GroupFreeInodes, stored_inodes, free_inodes)),
            (mark > inodes || !mark.is_multiple_of(INODES_PER_BLOCK))
                .then(|| problem(Corruption::GroupInitialised)),
        ];
        found.into_iter().flatten().for_each(|problem| self.problem(problem));
        self.report.stats.blocks_free += u64::from(free_blocks);
        self.report.stats.inodes_free += u64::from(free_inodes);
        true
    }

    /// Inodes above the mark were never written, so none of them can be in use.
    fn marked_above(&mut self, group: GroupNo, alloc: &RawAlloc, mark: u32) {
        let above =
            (mark..self.geometry.inodes_per_group).filter(|at| bit(&alloc.inode_bitmap, (*at).into()));
        for at in above {
            if let Some(ino) = self.geometry.ino(group, at).filter(|ino| ino.0 >= u64::from(FIRST_INODE)) {
                self.problem(Problem::new(Corruption::GroupInodeMark).group(group).ino(ino));
            }
        }
    }

    /// The inodes of a group up to its mark.
    fn table(&mut self, group: GroupNo, alloc: &RawAlloc, trusted: bool, end: u32) {
        let mut page = self.image.page();
        let Some((start, blocks)) = self.geometry.table_range(group) else { return };
        for block in 0..end.div_ceil(INODES_PER_BLOCK).min(blocks) {
            let no = BlockNo(start.0.saturating_add(block.into()));
            let first = block * INODES_PER_BLOCK;
            if self.image.read(no, &mut page).is_err() {
                self.unreadable_table(group, alloc, no, first);
                continue;
            }
            for (at, record) in (first..).zip(page.as_chunks::<INODE_SIZE>().0) {
                let Some(ino) = self.geometry.ino(group, at) else { continue };
                let Ok(raw) = RawInode::ref_from_bytes(record) else { continue };
                let marked = match trusted {
                    false => Marked::Unknown,
                    true if bit(&alloc.inode_bitmap, at.into()) => Marked::Used,
                    true => Marked::Free,
                };
                self.record(ino, raw, no, marked);
            }
        }
        self.image.give(page);
    }

    fn unreadable_table(&mut self, group: GroupNo, alloc: &RawAlloc, no: BlockNo, first: u32) {
        for at in first..first + INODES_PER_BLOCK {
            if let Some(ino) = self.geometry.ino(group, at)
                && bit(&alloc.inode_bitmap, at.into())
            {
                let problem = Problem::new(Corruption::InodeChecksum).ino(ino).block(no);
                self.problem(Problem { unreadable: true, ..problem });
                self.inodes.set(ino, State::Broken, 1);
            }
        }
    }

    /// One inode record and its bit.
    fn record(&mut self, ino: InodeNo, raw: &RawInode, no: BlockNo, marked: Marked) {
        // Number 0 means no inode; its place in the table stays empty.
        if ino.0 == 0 {
            if !all_zero(raw.as_bytes()) {
                self.problem(Problem::new(Corruption::InodeFree).ino(ino).block(no));
            }
            return;
        }
        // Without a bitmap only what is provably an inode counts as one.
        if marked == Marked::Unknown && !is_intact(raw, ino, self.seed) {
            return;
        }
        let mut problems = Problems::default();
        let record = read(raw, ino, self.seed, &mut problems);
        let reserved = ino.0 < u64::from(FIRST_INODE);
        // A record that is free by its bit and broken in itself is rubbish, not an inode.
        let used = match (&record, marked) {
            (Record::Free, _) => false,
            (Record::Broken, marked) => marked == Marked::Used,
            (Record::Inode(..), marked) => marked != Marked::Free || is_intact(raw, ino, self.seed),
        };
        for what in problems.iter() {
            self.problem(Problem::new(*what).ino(ino).block(no));
        }
        let relation = match (used, marked) {
            (true, Marked::Free) => Some(Corruption::GroupInodeUsed),
            (false, Marked::Used) if !reserved => Some(Corruption::GroupInodeFree),
            (false, Marked::Free) if reserved && ino != LOST_AND_FOUND => Some(Corruption::GroupInodeUsed),
            _ => None,
        };
        if let Some(what) = relation {
            self.problem(Problem::new(what).ino(ino));
        }
        match record {
            Record::Inode(kind, inode) if used => self.inode(ino, kind, &inode),
            Record::Broken if used => self.inodes.set(ino, State::Broken, 1),
            _ => {}
        }
    }

    /// The root and the orphan file must be there.
    fn special_inodes(&mut self) {
        for (ino, kind) in [(ROOT, FileKind::Directory), (ORPHANS, FileKind::Regular)] {
            match self.inodes.state(ino) {
                State::Free => self.problem(Problem::new(Corruption::InodeUnused).ino(ino)),
                State::Used(found) if found != kind => {
                    self.problem(Problem::new(Corruption::InodeType).ino(ino))
                }
                State::Broken | State::Used(_) => {}
            }
        }
    }

    /// Tells who claims the blocks that are claimed more than once.
    pub(super) fn shared_blocks(&mut self) -> Option<()> {
        let groups = u64::from(self.geometry.groups);
        for group in self.groups() {
            self.step(1, group.0.into(), groups)?;
            let used: Vec<InodeNo> = self.inodes.used(group).map(|(ino, ..)| ino).collect();
            for ino in used {
                let Some((kind, inode)) = self.inode_again(ino) else { continue };
                self.each_run(ino, (kind, &inode), Mode::Quiet, &mut |check, run| {
                    let (start, len) = run.blocks();
                    if check.shared_in(start, len) > 0 {
                        check.problem(Problem::new(Corruption::ExtentShared).ino(ino).run(start, len.into()));
                    }
                });
            }
        }
        Some(())
    }

    /// Reads an inode again that pass 1 has accepted.
    pub(super) fn inode_again(&mut self, ino: InodeNo) -> Option<(FileKind, Inode)> {
        let State::Used(kind) = self.inodes.state(ino) else { return None };
        let (no, at) = self.geometry.inode_place(ino)?;
        let mut page = self.image.page();
        let record = self.image.read(no, &mut page).ok().and_then(|()| {
            let (raw, _) = RawInode::ref_from_prefix(page.get(at..)?).ok()?;
            Some(read(raw, ino, self.seed, &mut Problems::default()))
        });
        self.image.give(page);
        match record {
            Some(Record::Inode(_, inode)) => Some((kind, inode)),
            _ => None,
        }
    }

    /// The summary, which is advice: what is wrong in itself is a problem, what is old is not.
    pub(super) fn summary(&mut self, free: &dyn Fn(GroupNo) -> Option<(u32, u32)>) {
        let mut page = self.image.page();
        let (mut held, mut whole) = (None, false);
        for group in self.groups() {
            let Some((no, at)) = self.geometry.summary_place(group) else { continue };
            if held != Some(no) {
                held = Some(no);
                let index = no.0.saturating_sub(self.geometry.summary_start.0);
                let read = self.read_block(no, BlockKind::Summary, index, &mut page);
                whole = read.is_ok();
                read.err().into_iter().for_each(|bad| self.problem(bad.problem()));
            }
            if !whole {
                continue;
            }
            match bento_fs::format::group::Summary::read(&page[..], at) {
                Err(what) => self.problem(Problem::new(what).group(group).block(no)),
                Ok(summary)
                    if free(group).is_some_and(|free| free != (summary.free_blocks, summary.free_inodes)) =>
                {
                    self.report.note(crate::report::Note::Summary(group));
                }
                Ok(_) => {}
            }
        }
        self.image.give(page);
    }
}

/// Clear bits among the first `bits`.
pub(super) fn zeros(bitmap: &[u8], bits: u32) -> u32 {
    let whole = (bits / 8) as usize;
    let bytes = bitmap.get(..whole).unwrap_or(bitmap);
    let (words, rest) = bytes.as_chunks::<8>();
    let zeros: u32 = words.iter().map(|word| u64::from_le_bytes(*word).count_zeros()).sum();
    let zeros = zeros + rest.iter().map(|byte| byte.count_zeros()).sum::<u32>();
    zeros + (bits & !7..bits).map(|at| u32::from(!bit(bitmap, at.into()))).sum::<u32>()
}

fn tail_is_set(bitmap: &[u8], bits: u32) -> bool {
    let all = u32::try_from(bitmap.len() * 8).unwrap_or(u32::MAX);
    let whole = bits.next_multiple_of(8).min(all);
    (bits..whole).all(|at| bit(bitmap, at.into()))
        && bitmap.get((whole / 8) as usize..).unwrap_or(&[]).iter().all(|byte| *byte == 0xff)
}
