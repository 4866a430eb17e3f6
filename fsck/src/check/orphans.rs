//! Orphan slots: read first, so that every inode can be compared with the slot that names it.
use super::Check;
use super::maps::State;
use super::record::{Problems, Record, read};
use super::walk::{Mode, Run};
use crate::report::Problem;
use bento_api::{BlockNo, InodeNo};
use bento_fs::format::geometry::ORPHANS;
use bento_fs::format::inode::RawInode;
use bento_fs::format::orphan::{MAX_SLOTS, SLOTS, get};
use bento_fs::format::{BlockKind, Corruption};
use zerocopy::FromBytes;

impl Check<'_> {
    /// Reads all slots. What is wrong with the inode itself is found with all other inodes.
    pub(super) fn orphan_slots(&mut self) {
        let Some((no, at)) = self.geometry.inode_place(ORPHANS) else { return };
        let mut page = self.image.page();
        if self.image.read(no, &mut page).is_ok()
            && let Some(raw) = page.get(at..).and_then(|record| RawInode::read_from_prefix(record).ok())
            && let Record::Inode(kind, inode) = read(&raw.0, ORPHANS, self.seed, &mut Problems::default())
        {
            self.each_run(ORPHANS, (kind, &inode), Mode::Quiet, &mut |check, run| {
                let Run::Data(extent) = run else { return };
                let end = extent.end().0.min(u64::from(MAX_SLOTS / SLOTS).saturating_add(1));
                for (file, no) in (extent.file.0..end).zip(extent.start.0..) {
                    check.slot_block(file, BlockNo(no));
                }
            });
        }
        self.image.give(page);
        self.report.stats.orphans = self.orphans.len() as u64;
    }

    fn slot_block(&mut self, file: u64, no: BlockNo) {
        let mut page = self.image.page();
        if let Err(bad) = self.read_block(no, BlockKind::Orphan, ORPHANS.0, &mut page) {
            self.problem(bad.problem().ino(ORPHANS));
        } else {
            for at in 0..SLOTS {
                let Some(slot) =
                    u32::try_from(file).ok().and_then(|file| file.checked_mul(SLOTS)?.checked_add(at))
                else {
                    continue;
                };
                match get(&page[..], at, &self.geometry) {
                    Ok(None) => {}
                    Ok(Some(ino)) => {
                        // A second slot of the same inode cannot be the one that the inode names.
                        if self.orphans.insert(ino, slot).is_some() {
                            self.problem(Problem::new(Corruption::OrphanSlot).ino(ino).block(no));
                        }
                    }
                    Err(what) => self.problem(Problem::new(what).ino(ORPHANS).block(no)),
                }
            }
        }
        self.image.give(page);
    }

    /// Every slot names an inode that is in use.
    pub(super) fn orphans_exist(&mut self) {
        let mut missing: Vec<InodeNo> =
            self.orphans.keys().copied().filter(|ino| self.inodes.state(*ino) == State::Free).collect();
        missing.sort_unstable();
        for ino in missing {
            self.problem(Problem::new(Corruption::OrphanSlot).ino(ino));
        }
    }
}
