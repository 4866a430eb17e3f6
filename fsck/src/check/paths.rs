//! The paths of what is wrong: what a person can do something with.
use super::Check;
use super::dirs::each_entry;
use super::walk::{Mode, Run};
use bento_api::{BlockNo, InodeNo};
use bento_fs::format::BlockKind;
use bento_fs::format::dirent::FREE_MAP_START;
use bento_fs::format::geometry::ROOT;
use std::collections::HashMap;

/// Paths that are looked for, at most.
const WANTED: usize = 10_000;
/// The deepest path that is followed.
const DEEPEST: usize = 1000;

/// Where an inode is named: the directory's place in the list, and the name.
type Names = HashMap<InodeNo, Option<(usize, Box<[u8]>)>>;

impl Check<'_> {
    /// Gives each problem with an inode the inode's path.
    pub(super) fn paths(&mut self) -> Option<()> {
        let concerned = self.report.problems.iter().filter_map(|problem| problem.ino);
        let mut names: Names = concerned.take(WANTED).map(|ino| (ino, None)).collect();
        // All directories above are wanted too.
        let above: Vec<InodeNo> = names.keys().copied().collect();
        for ino in above {
            self.want_above(ino, &mut names);
        }
        self.budget = self.geometry.data_blocks().saturating_mul(2);
        let total = self.dirs.len() as u64;
        for place in 0..self.dirs.len() {
            if place % 64 == 0 {
                self.step(5, place as u64, total)?;
            }
            self.find_names(place, &mut names);
        }
        // Files were wanted before it was known where they are: now their directories' names are.
        let missing: Vec<InodeNo> =
            names.values().flatten().filter_map(|(place, _)| Some(self.dirs.get(*place)?.ino)).collect();
        let before = names.len();
        for ino in missing {
            names.entry(ino).or_insert(None);
            self.want_above(ino, &mut names);
        }
        if names.len() > before {
            self.budget = self.geometry.data_blocks().saturating_mul(2);
            (0..self.dirs.len()).for_each(|place| self.find_names(place, &mut names));
        }
        let mut problems = std::mem::take(&mut self.report.problems);
        for problem in &mut problems {
            problem.path = problem.ino.and_then(|ino| self.path(ino, &names));
        }
        self.report.problems = problems;
        Some(())
    }

    fn want_above(&self, ino: InodeNo, names: &mut Names) {
        let mut at = self.dir_place(ino);
        for _ in 0..DEEPEST {
            let Some(dir) = at.and_then(|at| self.dirs.get(at)) else { return };
            if names.insert(dir.ino, None).is_some() && dir.ino != ino {
                return;
            }
            at = dir.named_by.map(|parent| parent as usize);
        }
    }

    /// Looks for wanted inodes among the names of a directory.
    fn find_names(&mut self, place: usize, names: &mut Names) {
        let Some(ino) = self.dirs.get(place).map(|dir| dir.ino) else { return };
        let Some((_, inode)) = self.inode_again(ino) else { return };
        self.each_extent(ino, &inode, Mode::Quiet, &mut |check, run| {
            let Run::Data(extent) = run else { return };
            if extent.file.0 >= FREE_MAP_START {
                return;
            }
            for no in (extent.start.0..).take(extent.len as usize).map(BlockNo) {
                let Some(left) = check.budget.checked_sub(1) else { return };
                check.budget = left;
                let mut page = check.image.page();
                if check.read_block(no, BlockKind::Dir, ino.0, &mut page).is_ok() {
                    each_entry(
                        &page,
                        &mut |entry| {
                            if let Some(name @ None) = names.get_mut(&entry.ino) {
                                *name = Some((place, entry.name.into()));
                            }
                        },
                        &mut |_| {},
                    );
                }
                check.image.give(page);
            }
        });
    }

    /// The path of an inode, if its names lead up to the root.
    fn path(&self, ino: InodeNo, names: &Names) -> Option<Box<[u8]>> {
        if ino == ROOT {
            return Some(b"/"[..].into());
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let (place, name) = names.get(&at)?.as_ref()?;
            parts.push(name);
            at = self.dirs.get(*place)?.ino;
            if parts.len() > DEEPEST {
                return None;
            }
        }
        let path: Vec<u8> =
            parts.into_iter().rev().flat_map(|name| b"/".iter().chain(name).copied()).collect();
        Some(path.into())
    }
}
