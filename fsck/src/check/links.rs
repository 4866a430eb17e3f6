//! Passes 3 and 4: every directory's way to the root; links.
use super::Check;
use super::maps::{Mark, State};
use crate::report::Problem;
use bento_api::FileKind;
use bento_fs::format::Corruption;
use bento_fs::format::geometry::{FIRST_INODE, LOST_AND_FOUND, ROOT};

impl Check<'_> {
    /// Every directory is below the root. Of a part that is cut off only the top is reported.
    pub(super) fn connectivity(&mut self) -> Option<()> {
        let total = self.dirs.len() as u64;
        let Some(root) = self.dir_place(ROOT) else { return Some(()) };
        let mut parent = ROOT;
        if let Some(dir) = self.dirs.get_mut(root) {
            dir.mark = Mark::Known;
            parent = dir.parent;
        }
        if parent != ROOT {
            self.problem(Problem::new(Corruption::DirParent).ino(ROOT).counts(parent.0, ROOT.0));
        }
        let mut way = Vec::new();
        for start in 0..self.dirs.len() {
            if start % 4096 == 0 {
                self.step(3, start as u64, total)?;
            }
            self.go_up(start, &mut way);
        }
        Some(())
    }

    /// Goes up from a directory until one is met that is known, and marks all on the way.
    fn go_up(&mut self, start: usize, way: &mut Vec<usize>) {
        way.clear();
        let mut at = start;
        while let Some(dir) = self.dirs.get_mut(at) {
            match (dir.mark, dir.named_by) {
                (Mark::Known, _) => break,
                (Mark::OnTheWay, _) => {
                    let problem = Problem::new(Corruption::DirLoop).ino(dir.ino);
                    self.problem(problem);
                    break;
                }
                (Mark::Unknown, None) => {
                    dir.mark = Mark::Known;
                    // One that was removed while it was open has no name, and is an orphan.
                    if dir.nlink > 0 {
                        let problem = Problem::new(Corruption::DirUnreachable).ino(dir.ino);
                        self.problem(problem);
                    }
                    break;
                }
                (Mark::Unknown, Some(parent)) => {
                    dir.mark = Mark::OnTheWay;
                    way.push(at);
                    at = parent as usize;
                }
            }
        }
        for at in way.drain(..) {
            if let Some(dir) = self.dirs.get_mut(at) {
                dir.mark = Mark::Known;
            }
        }
    }

    /// Every inode has as many names as it counts.
    pub(super) fn links(&mut self) -> Option<()> {
        for place in 0..self.dirs.len() {
            let Some(dir) = self.dirs.get(place).copied() else { break };
            let is_named = dir.named_by.is_some() || dir.ino == ROOT;
            let counted = u64::from(dir.subdirs) + if is_named { 2 } else { 0 };
            // One without a name was reported, or is an orphan without links.
            if is_named && u64::from(dir.nlink) != counted {
                let problem = Problem::new(Corruption::InodeLinks).ino(dir.ino);
                self.problem(problem.counts(dir.nlink.into(), counted));
            }
        }
        let groups = u64::from(self.geometry.groups);
        let mut problems = Vec::new();
        for group in self.groups() {
            self.step(4, group.0.into(), groups)?;
            for (ino, state, links) in self.inodes.used(group) {
                let reserved = ino.0 < u64::from(FIRST_INODE) && ino != LOST_AND_FOUND;
                if reserved || state == State::Used(FileKind::Directory) {
                    continue;
                }
                let counted =
                    |what| Problem::new(what).ino(ino).counts(links.stored.into(), links.found.into());
                if state == State::Broken {
                    // It was reported; without a name nobody will miss it.
                } else if links.found == 0 && links.stored > 0 {
                    problems.push(Problem::new(Corruption::InodeNameless).ino(ino));
                } else if links.found != links.stored {
                    problems.push(counted(Corruption::InodeLinks));
                }
            }
            problems.drain(..).for_each(|problem| self.report.add(problem));
        }
        Some(())
    }
}
