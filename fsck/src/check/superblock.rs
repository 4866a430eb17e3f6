//! The superblock, and its copies.
use super::Check;
use super::image::Image;
use crate::report::{BadBlock, Note, Options, Problem, Report};
use bento_api::{BLOCK, BlockNo, Bytes, Disk};
use bento_fs::format::geometry::SUPERBLOCK;
use bento_fs::format::superblock::State;
use bento_fs::format::{Corruption, Superblock};
use std::sync::atomic::Ordering::Relaxed;

/// How far a copy is looked for, in blocks, if the superblock itself is lost.
const SEARCHED: u64 = 1 << 20;

/// The superblock to go by: the one in block 1, or the copy that was asked for, or the first that is found.
pub(super) fn find(image: &mut Image<'_>, options: &Options<'_>, report: &mut Report) -> Option<Superblock> {
    let mut page = image.page();
    let (primary, broken) = match read(image.disk(), SUPERBLOCK, &mut page) {
        Ok(superblock) if superblock.copy_group.0 != 0 => {
            (None, Some(Problem::new(Corruption::SuperblockCopyGroup).block(SUPERBLOCK)))
        }
        Ok(superblock) => (Some(superblock), None),
        Err(bad) => (None, Some(bad.problem())),
    };
    if let Some(problem) = &broken {
        report.add(problem.clone());
    }
    let copy = match options.superblock {
        Some(no) => match read_copy(image.disk(), no, &mut page) {
            Some(copy) => Some((no, copy)),
            None => {
                report.add(Problem::new(Corruption::SuperblockCopy).block(no));
                return None;
            }
        },
        // A later version's volume is no broken one.
        None if broken.as_ref().is_some_and(|problem| is_of_another_version(problem.code)) => return None,
        None if broken.is_some() => {
            let go_on = || !options.cancelled.is_some_and(|cancelled| cancelled.load(Relaxed));
            first_copy(image.disk(), &go_on, &mut page)
        }
        None => None,
    };
    image.give(page);
    if let Some((no, _)) = copy {
        report.note(Note::SuperblockCopy(no));
    }
    copy.map(|(_, copy)| copy).or(primary)
}

/// Whether the volume may be well, for a newer tool.
pub(crate) fn is_of_another_version(code: Corruption) -> bool {
    matches!(code, Corruption::SuperblockVersion | Corruption::SuperblockIncompat)
}

/// The copy of the superblock in a block, if there is one.
pub fn copy_at(disk: &dyn Disk, no: BlockNo) -> Option<Superblock> {
    read_copy(disk, no, &mut [0; BLOCK])
}

/// Looks for a copy of a lost superblock, as a check does: the first one, and where it is.
pub fn find_copy(disk: &dyn Disk) -> Option<(BlockNo, Superblock)> {
    first_copy(disk, &|| true, &mut [0; BLOCK])
}

fn first_copy(disk: &dyn Disk, go_on: &dyn Fn() -> bool, page: &mut Bytes) -> Option<(BlockNo, Superblock)> {
    let mut places = (2..disk.blocks().min(SEARCHED)).map(BlockNo).take_while(|_| go_on());
    places.find_map(|no| Some((no, read_copy(disk, no, page)?)))
}

fn read(disk: &dyn Disk, no: BlockNo, page: &mut Bytes) -> Result<Superblock, BadBlock> {
    let bad = |what, unreadable| BadBlock { what, block: no, unreadable };
    disk.read(no, page).map_err(|_| bad(Corruption::SuperblockChecksum, true))?;
    Superblock::decode(page).map_err(|what| bad(what, false))
}

/// A copy that lies where it says it does. It may be as old as the volume, so it cannot know that the log is empty.
fn read_copy(disk: &dyn Disk, no: BlockNo, page: &mut Bytes) -> Option<Superblock> {
    let mut copy = read(disk, no, page).ok()?;
    copy.state.remove(State::CLEAN);
    (copy.geometry.copy_block(copy.copy_group) == Some(no)).then_some(copy)
}

impl Check<'_> {
    /// Compares the copies with the superblock. What may change while the volume is used may differ.
    pub(super) fn superblock_copies(&mut self) {
        let mut page = self.image.page();
        let used = self.superblock;
        for (group, no) in used.geometry.copies() {
            let problem = match read(self.image.disk(), no, &mut page) {
                Err(bad) => bad.problem(),
                Ok(copy) if copy.copy_group != group => Problem::new(Corruption::SuperblockCopyGroup),
                Ok(copy)
                    if copy.geometry != used.geometry
                        || copy.uuid != used.uuid
                        || copy.csum_seed != used.csum_seed
                        || copy.hash_key != used.hash_key =>
                {
                    Problem::new(Corruption::SuperblockCopy)
                }
                Ok(_) => continue,
            };
            self.problem(problem.group(group).block(no));
        }
        self.image.give(page);
    }
}
