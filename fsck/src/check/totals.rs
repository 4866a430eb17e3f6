//! Pass 5: what the bitmaps say against what was found in use, and the totals against the bitmaps.
use super::Check;
use super::groups::zeros;
use crate::report::{Journal, Problem};
use bento_api::GroupNo;
use bento_fs::format::group::RawAlloc;
use bento_fs::format::log::Totals;
use bento_fs::format::superblock::State as VolumeState;
use bento_fs::format::{BlockKind, Corruption};
use zerocopy::FromBytes;

/// A run of equal differences.
#[derive(Clone, Copy)]
struct Difference {
    what: Corruption,
    start: u32,
    end: u32,
}

impl Check<'_> {
    pub(super) fn bitmaps(&mut self, totals: Option<Totals>) -> Option<()> {
        let groups = u64::from(self.geometry.groups);
        let mut free = Vec::new();
        for group in self.groups() {
            self.step(5, group.0.into(), groups)?;
            let here =
                if self.bad_groups.binary_search(&group).is_ok() { None } else { self.group_bitmap(group) };
            free.push(here);
        }
        if let (Some(totals), true, false) =
            (totals, self.bad_groups.is_empty(), matches!(self.report.journal, Journal::Damaged(_)))
        {
            self.compare_totals(totals);
        }
        let clean = self.superblock.state.contains(VolumeState::CLEAN);
        self.summary(&|group| {
            let free = free.get(group.0 as usize).copied().flatten();
            free.filter(|_| clean)
        });
        self.step(5, groups, groups)
    }

    /// Compares a group's block bitmap with what was found in use; answers what is free.
    fn group_bitmap(&mut self, group: GroupNo) -> Option<(u32, u32)> {
        let no = self.geometry.alloc_block(group)?;
        let blocks = self.geometry.group_blocks(group)?;
        let metadata = self.geometry.data_start(group)?;
        let mut page = self.image.page();
        let mut free = None;
        if self.read_block(no, BlockKind::Alloc, group.0.into(), &mut page).is_ok()
            && let Ok(alloc) = RawAlloc::ref_from_bytes(&page[..])
        {
            self.compare_bitmap(group, &alloc.block_bitmap, metadata..blocks);
            free = Some((
                zeros(&alloc.block_bitmap, blocks),
                zeros(&alloc.inode_bitmap, self.geometry.inodes_per_group),
            ));
        }
        self.image.give(page);
        free
    }

    fn compare_bitmap(&mut self, group: GroupNo, bitmap: &[u8], data: std::ops::Range<u32>) {
        let mut run: Option<Difference> = None;
        let mut used = 0_u64;
        for (word, bytes) in bitmap.as_chunks::<8>().0.iter().enumerate() {
            let first = u32::try_from(word * 64).unwrap_or(u32::MAX);
            if first >= data.end {
                break;
            }
            let found = self.used.word(group, word);
            used += u64::from(found.count_ones());
            let marked = u64::from_le_bytes(*bytes);
            // The common case, 64 blocks at a time.
            if found == marked && run.is_none() {
                continue;
            }
            for bit in 0..64 {
                let at = first.saturating_add(bit);
                if !data.contains(&at) {
                    continue;
                }
                let what = match (marked >> bit & 1, found >> bit & 1) {
                    (0, 1) => Some(Corruption::GroupBlockUsed),
                    (1, 0) => Some(Corruption::GroupBlockFree),
                    _ => None,
                };
                run = self.extend(group, run, what, at);
            }
        }
        self.extend(group, run, None, data.end);
        self.report.stats.blocks_used += used;
    }

    /// Goes on with a run of differences, or reports it and begins another.
    fn extend(
        &mut self,
        group: GroupNo,
        run: Option<Difference>,
        what: Option<Corruption>,
        at: u32,
    ) -> Option<Difference> {
        match (run, what) {
            (Some(run), Some(what)) if run.what == what && run.end == at => {
                return Some(Difference { end: at.saturating_add(1), ..run });
            }
            (Some(run), _) => {
                if let Some(start) = self.geometry.block_no(group, run.start) {
                    let blocks = u64::from(run.end.saturating_sub(run.start));
                    self.problem(Problem::new(run.what).group(group).run(start, blocks));
                }
            }
            (None, _) => {}
        }
        what.map(|what| Difference { what, start: at, end: at.saturating_add(1) })
    }

    fn compare_totals(&mut self, totals: Totals) {
        let stats = self.report.stats;
        let pairs = [
            (totals.free_blocks, stats.blocks_free),
            (totals.free_inodes, stats.inodes_free),
            (totals.orphans, stats.orphans),
        ];
        for (stored, counted) in pairs.into_iter().filter(|(stored, counted)| stored != counted) {
            self.problem(Problem::new(Corruption::LogTotals).counts(stored, counted));
        }
    }
}
