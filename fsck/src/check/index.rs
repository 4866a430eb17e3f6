//! A directory's names against each other, its index and its free map.
use super::Check;
use super::dirs::{Scan, each_entry};
use super::maps::Dir;
use super::walk::{Found, Mode};
use crate::report::Problem;
use bento_api::{BLOCK_BYTES, BlockNo, InodeNo};
use bento_fs::format::block::HEADER;
use bento_fs::format::dirent::{FREE_MAP_ABSENT, FREE_MAP_ENTRIES};
use bento_fs::format::inode::Inode;
use bento_fs::format::{BlockKind, Corruption};

/// Equal names of one directory that are reported: each takes a look at two blocks.
const TWICE: u32 = 1000;

impl Check<'_> {
    /// Compares what a scan of a directory found with everything else that describes it.
    pub(super) fn compare(&mut self, dir: &Dir, inode: &Inode, scan: &mut Scan) {
        scan.entries.sort_unstable();
        self.same_names(dir.ino, scan);
        let blocks = inode.size / BLOCK_BYTES;
        let whole = !dir.extents_bad && scan.bad.is_empty();
        if blocks <= 1 {
            if whole && scan.blocks.is_empty() {
                self.problem(Problem::new(Corruption::DirMissing).ino(dir.ino));
            }
            if inode.index_depth > 0 {
                self.problem(Problem::new(Corruption::DirIndex).ino(dir.ino));
            }
            return;
        }
        if inode.index_depth > 0 {
            self.compare_index(dir, inode, scan);
        } else if !scan.entries.is_empty() {
            self.problem(Problem::new(Corruption::DirIndex).ino(dir.ino));
        }
        self.compare_free_map(dir, blocks, scan);
    }

    /// Equal hashes are looked at: equal names are a problem, and all but impossible otherwise.
    fn same_names(&mut self, ino: InodeNo, scan: &Scan) {
        let mut twice = 0;
        for pair in scan.entries.windows(2) {
            let [(hash, first), (other, second)] = pair else { continue };
            if hash != other || twice == TWICE {
                continue;
            }
            if let Some(name) = self.name_at(scan, *first)
                && self.name_at(scan, *second).is_some_and(|second| second == name)
            {
                twice += 1;
                let problem = Problem::new(Corruption::DirTwice).ino(ino);
                self.problem(Problem { name: Some(name), ..problem });
            }
        }
    }

    /// The name of an entry that was found.
    fn name_at(&mut self, scan: &Scan, position: u64) -> Option<Box<[u8]>> {
        let file = position / BLOCK_BYTES;
        let at = usize::try_from(position % BLOCK_BYTES).ok()?;
        let place = scan.blocks.binary_search_by_key(&file, |block| block.0).ok()?;
        let no = scan.blocks.get(place)?.1;
        let mut page = self.image.page();
        let mut name = None;
        if self.image.read(no, &mut page).is_ok() {
            each_entry(
                &page,
                &mut |entry| {
                    if entry.at == at {
                        name = Some(entry.name.into());
                    }
                },
                &mut |_| {},
            );
        }
        self.image.give(page);
        name
    }

    /// Index and entries agree, record by record.
    fn compare_index(&mut self, dir: &Dir, inode: &Inode, scan: &Scan) {
        let mut entries = scan.entries.iter().copied().peekable();
        let mut missing = 0_u64;
        let mut stale = Vec::new();
        let mut stale_count = 0_u64;
        self.each_index(dir.ino, inode, Mode::Quiet, &mut |_, found| {
            let Found::Leaf(record) = found else { return };
            while entries.next_if(|entry| *entry < record).is_some() {
                missing += 1;
            }
            if entries.next_if_eq(&record).is_none() {
                // A record into a block that could not be read is no news.
                let file = record.1 / BLOCK_BYTES;
                if !dir.extents_bad && scan.bad.binary_search(&file).is_err() {
                    stale_count += 1;
                    if stale.len() < 16 {
                        stale.push(record.1);
                    }
                }
            }
        });
        missing += entries.count() as u64;
        let total = scan.entries.len() as u64;
        if missing > 0 && !dir.index_bad {
            let problem = Problem::new(Corruption::IndexMissing).ino(dir.ino);
            self.problem(problem.counts(total.saturating_sub(missing), total));
        }
        if stale_count > 0 {
            let problem = Problem::new(Corruption::IndexStale).ino(dir.ino);
            self.problem(problem.counts(total.saturating_add(stale_count), total));
        }
    }

    /// The free map has the largest hole of each block, and says which blocks are absent.
    fn compare_free_map(&mut self, dir: &Dir, blocks: u64, scan: &Scan) {
        let needed = blocks.div_ceil(FREE_MAP_ENTRIES);
        let have = scan.maps.len() as u64;
        if have < needed && !dir.extents_bad {
            self.problem(Problem::new(Corruption::FreeMapMissing).ino(dir.ino).counts(have, needed));
        }
        for (k, no) in &scan.maps {
            self.map_block(dir, *k, *no, blocks, scan);
        }
    }

    fn map_block(&mut self, dir: &Dir, k: u64, no: BlockNo, blocks: u64, scan: &Scan) {
        let mut page = self.image.page();
        if let Err(bad) = self.read_block(no, BlockKind::FreeMap, dir.ino.0, &mut page) {
            self.problem(bad.problem().ino(dir.ino));
            self.image.give(page);
            return;
        }
        let first = k.saturating_mul(FREE_MAP_ENTRIES);
        let from = scan.blocks.partition_point(|block| block.0 < first);
        let mut present = scan.blocks.get(from..).unwrap_or(&[]).iter().peekable();
        let mut wrong = None;
        for (file, value) in (first..).zip(page.get(HEADER..).unwrap_or(&[])) {
            let expected = match present.next_if(|block| block.0 == file) {
                Some(block) => block.2,
                None if scan.bad.binary_search(&file).is_ok() || dir.extents_bad => continue,
                None if file < blocks => FREE_MAP_ABSENT,
                None => 0,
            };
            if *value != expected && wrong.is_none() {
                wrong = Some((u64::from(*value), u64::from(expected)));
            }
        }
        if let Some((stored, expected)) = wrong {
            let problem = Problem::new(Corruption::FreeMapValue).ino(dir.ino).block(no);
            self.problem(problem.counts(stored, expected));
        }
        self.image.give(page);
    }
}
