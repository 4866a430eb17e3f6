//! The check itself, in passes.
//!
//! 0. Superblock, copies, log: from here on the volume is read as recovery would leave it.
//! 1. Groups: allocation blocks, every inode record, everything that each inode holds. Then, if blocks were claimed
//!    twice, once more to tell by whom. The provenance log.
//! 2. Directories: every entry, both ways with the index, the free map.
//! 3. Connectivity: every directory's way to the root.
//! 4. Link counts and orphans.
//! 5. Bitmaps and totals against what was found; the summary.
//!
//! Last, if anything is wrong, the paths of it.
mod dirs;
mod groups;
mod image;
mod index;
mod inode;
mod links;
mod log;
mod maps;
mod orphans;
mod paths;
mod prov;
mod record;
mod superblock;
mod totals;
mod walk;

pub(crate) use superblock::is_of_another_version;
pub use superblock::{copy_at, find_copy};

use crate::report::{Note, Options, Outcome, Problem, Progress, Report};
use bento_api::{BlockNo, Disk, GroupNo, InodeNo};
use bento_fs::format::superblock::State as VolumeState;
use bento_fs::format::{Corruption, Geometry, Superblock};
use image::Image;
use maps::{Bits, Dir, Inodes};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

/// So many problems are no volume any more: an image of a petabyte of holes has a wrong block in every group.
const HOPELESS: u64 = 1 << 20;

/// Checks a volume. Writes nothing, whatever it finds.
pub fn check(disk: &dyn Disk, options: &Options<'_>) -> Report {
    let mut report = Report::new(options.most);
    let mut image = Image::new(disk);
    let Some(superblock) = superblock::find(&mut image, options, &mut report) else {
        let cancelled = options.cancelled.is_some_and(|cancelled| cancelled.load(Relaxed));
        report.outcome = if cancelled { Outcome::Cancelled } else { Outcome::NoSuperblock };
        return report;
    };
    report.superblock = Some(superblock);
    let mut check = Check::new(image, options, superblock, report);
    check.run();
    check.report
}

/// A check under way.
struct Check<'a> {
    image: Image<'a>,
    options: &'a Options<'a>,
    superblock: Superblock,
    geometry: Geometry,
    seed: u32,
    report: Report,
    /// Data blocks that something holds.
    used: Bits,
    /// Data blocks that more than one thing holds.
    shared: Bits,
    /// Shared blocks whose names were read.
    named: Bits,
    /// Blocks of metadata whose checksum is right.
    verified: Bits,
    inodes: Inodes,
    /// Every directory that can be read, in order of number.
    dirs: Vec<Dir>,
    /// The slots of the orphans.
    orphans: HashMap<InodeNo, u32>,
    /// Groups whose allocation block cannot be trusted.
    bad_groups: Vec<GroupNo>,
    /// Directory blocks that may still be read: those of a volume do not share blocks.
    budget: u64,
}

impl<'a> Check<'a> {
    fn new(image: Image<'a>, options: &'a Options<'a>, superblock: Superblock, report: Report) -> Self {
        let geometry = superblock.geometry;
        Self {
            image,
            options,
            superblock,
            geometry,
            seed: superblock.csum_seed,
            report,
            used: Bits::new(&geometry),
            shared: Bits::new(&geometry),
            named: Bits::new(&geometry),
            verified: Bits::new(&geometry),
            inodes: Inodes::new(&geometry),
            dirs: Vec::new(),
            orphans: HashMap::new(),
            bad_groups: Vec::new(),
            budget: geometry.data_blocks().saturating_mul(2),
        }
    }

    fn run(&mut self) {
        let (volume, device) = (self.geometry.blocks_total, self.image.disk().blocks());
        if volume > device {
            self.problem(Problem::new(Corruption::SuperblockDevice).counts(volume, device));
            self.report.outcome = Outcome::Quick;
            return;
        }
        if self.superblock.state.contains(VolumeState::ERROR) {
            self.report.note(Note::ErrorsMet(self.superblock.error_count.max(1)));
        }
        let totals = self.log();
        if self.options.quick {
            self.report.outcome = Outcome::Quick;
        } else if self.passes(totals).is_none() {
            self.report.outcome = if self.cancelled() { Outcome::Cancelled } else { Outcome::GaveUp };
        }
    }

    /// The passes; none if they did not come to their end.
    fn passes(&mut self, totals: Option<bento_fs::format::log::Totals>) -> Option<()> {
        self.superblock_copies();
        self.orphan_slots();
        self.inodes()?;
        if self.shared.any() {
            self.shared_blocks()?;
        }
        self.provenance();
        self.directories()?;
        self.connectivity()?;
        self.links()?;
        self.bitmaps(totals)?;
        if self.options.paths && !self.report.problems.is_empty() {
            self.paths()?;
        }
        Some(())
    }

    fn problem(&mut self, problem: Problem) {
        self.report.add(problem);
    }

    fn cancelled(&self) -> bool {
        self.options.cancelled.is_some_and(|cancelled| cancelled.load(Relaxed))
    }

    /// Says how far the check is; none if it is to end.
    fn step(&self, pass: u8, done: u64, total: u64) -> Option<()> {
        if let Some(hear) = self.options.progress {
            hear(Progress { pass, done, total });
        }
        (!self.cancelled() && self.report.count() < HOPELESS).then_some(())
    }

    fn groups(&self) -> impl Iterator<Item = GroupNo> + use<> {
        (0..self.geometry.groups).map(GroupNo)
    }

    /// The place in the list of a directory.
    fn dir_place(&self, ino: InodeNo) -> Option<usize> {
        self.dirs.binary_search_by_key(&ino, |dir| dir.ino).ok()
    }

    /// Claims a run of data blocks; what was claimed before is shared.
    fn claim(&mut self, start: BlockNo, len: u32) {
        let Some((group, bit)) = self.geometry.block_group(start) else { return };
        let shared = &mut self.shared;
        self.used.set(group, bit, len, |word, bits| shared.set_word(group, word, bits));
    }

    /// How many blocks of a run are shared.
    fn shared_in(&self, start: BlockNo, len: u32) -> u32 {
        match self.geometry.block_group(start) {
            Some((group, bit)) if self.shared.any() => self.shared.count(group, bit, len),
            _ => 0,
        }
    }
}
