//! What a check is asked for, and what it found.
use bento_api::{BlockNo, FileKind, GroupNo, InodeNo};
use bento_console::quoted_bytes;
use bento_fs::format::{Corruption, Superblock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;

/// How to check.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Use the superblock copy in this block.
    pub superblock: Option<BlockNo>,
    /// Keep so many problems in full; the others are only counted.
    pub most: usize,
    /// Find out the paths of what is wrong: one more look at all directories, if anything is.
    pub paths: bool,
    /// Only what a mount would look at: superblock and log.
    pub quick: bool,
    /// Hears how far the check is.
    pub progress: Option<&'a dyn Fn(Progress)>,
    /// Ends the check early once it is set.
    pub cancelled: Option<&'a AtomicBool>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { superblock: None, most: 10_000, paths: true, quick: false, progress: None, cancelled: None }
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// 1 to [`Progress::PASSES`].
    pub pass: u8,
    /// How much of the pass is done.
    pub done: u64,
    /// Of how much.
    pub total: u64,
}

impl Progress {
    /// Passes: inodes and blocks; directories; connectivity; link counts; bitmaps.
    pub const PASSES: u8 = 5;
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was asked for was looked at.
    Complete,
    /// Only superblock and log were looked at.
    Quick,
    /// It was cancelled.
    Cancelled,
    /// There are so many problems that it ended early.
    GaveUp,
    /// There is no superblock to go by.
    NoSuperblock,
}

/// What is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Journal {
    /// Not looked at, or not readable.
    #[default]
    Unknown,
    /// Nothing: the volume was unmounted.
    Clean,
    /// So many whole batches, which the next mount replays.
    Replayable(u64),
    /// So many whole batches, and then one that is damaged though it was durable.
    Damaged(u64),
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, with its stable number.
    pub code: Corruption,
    /// The block in which it was found, or the first of a run.
    pub block: Option<BlockNo>,
    /// How many blocks, if it is a run of them.
    pub blocks: u64,
    /// The inode that it concerns.
    pub ino: Option<InodeNo>,
    /// The group that it concerns.
    pub group: Option<GroupNo>,
    /// The name in the directory `ino` that it concerns.
    pub name: Option<Box<[u8]>>,
    /// The inode that the name leads to.
    pub target: Option<InodeNo>,
    /// What is on disk, and what should be.
    pub counts: Option<(u64, u64)>,
    /// The device could not read the block.
    pub unreadable: bool,
    /// Where `ino` is in the tree, if it is.
    pub path: Option<Box<[u8]>>,
}

impl Problem {
    pub(crate) fn new(code: Corruption) -> Self {
        Self {
            code,
            block: None,
            blocks: 1,
            ino: None,
            group: None,
            name: None,
            target: None,
            counts: None,
            unreadable: false,
            path: None,
        }
    }

    pub(crate) fn block(self, no: BlockNo) -> Self {
        Self { block: Some(no), ..self }
    }

    pub(crate) fn run(self, start: BlockNo, blocks: u64) -> Self {
        Self { block: Some(start), blocks, ..self }
    }

    pub(crate) fn ino(self, ino: InodeNo) -> Self {
        Self { ino: Some(ino), ..self }
    }

    pub(crate) fn group(self, group: GroupNo) -> Self {
        Self { group: Some(group), ..self }
    }

    pub(crate) fn name(self, name: &[u8], target: InodeNo) -> Self {
        Self { name: Some(name.into()), target: Some(target), ..self }
    }

    pub(crate) fn counts(self, stored: u64, counted: u64) -> Self {
        Self { counts: Some((stored, counted)), ..self }
    }

    /// Whether something cannot be read any more, or not by its name: a file, some of its content, names.
    pub fn is_loss(&self) -> bool {
        use Corruption as C;
        match self.code.code() {
            401..=407 | 421..=425 | 501..=511 | 601..=607 | 610 | 701..=708 => true,
            _ => matches!(
                self.code,
                C::InodeUnused
                    | C::InodeType
                    | C::ExtentShared
                    | C::DirUnreachable
                    | C::DirLoop
                    | C::DirMissing
                    | C::InodeNameless
            ),
        }
    }
}

/// A block that is not what it should be: a problem whose circumstances its reader knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadBlock {
    pub(crate) what: Corruption,
    pub(crate) block: BlockNo,
    pub(crate) unreadable: bool,
}

impl BadBlock {
    pub(crate) fn problem(self) -> Problem {
        Problem { unreadable: self.unreadable, ..Problem::new(self.what).block(self.block) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.code(), self.code.text())?;
        if let Some((stored, counted)) = self.counts {
            write!(f, ": {stored} on disk, {counted} counted")?;
        }
        let mut sep = ", ";
        let mut part = |f: &mut fmt::Formatter<'_>, args: fmt::Arguments<'_>| {
            write!(f, "{sep}{args}")?;
            sep = " ";
            Ok(())
        };
        if let Some(ino) = self.ino {
            part(f, format_args!("inode {ino}"))?;
        }
        if let Some(group) = self.group {
            part(f, format_args!("group {group}"))?;
        }
        match self.block {
            Some(block) if self.blocks > 1 => {
                part(f, format_args!("blocks {block} to {}", block.0.saturating_add(self.blocks - 1)))?;
            }
            Some(block) => part(f, format_args!("block {block}"))?,
            None => {}
        }
        if self.unreadable {
            part(f, format_args!("(the device cannot read it)"))?;
        }
        if let Some(name) = &self.name {
            part(f, format_args!("name {}", quoted_bytes(name)))?;
        }
        if let Some(target) = self.target {
            part(f, format_args!("leading to inode {target}"))?;
        }
        if let Some(path) = &self.path {
            write!(f, " ({})", quoted_bytes(path))?;
        }
        Ok(())
    }
}

/// Something that is worth saying and no problem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// One of the two log headers is not valid: torn when it was written, as it may be.
    LogSlot(Corruption, BlockNo),
    /// The summary of a group is not what the group has: it is advice, and as old as the last unmount.
    Summary(GroupNo),
    /// A mount has met errors.
    ErrorsMet(u32),
    /// The superblock copy in this block was used.
    SuperblockCopy(BlockNo),
    /// Directories claim so many blocks twice that not all of them were looked at.
    DirectoriesCutShort,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogSlot(what, block) => {
                write!(f, "block {block}: {} (torn when it was written; the other one holds)", what.text())
            }
            Self::Summary(group) => {
                write!(f, "the summary of group {group} is out of date; it is advice only")
            }
            Self::ErrorsMet(1) => f.write_str("a mount met an error and noted it in the superblock"),
            Self::ErrorsMet(count) => write!(f, "mounts met {count} errors and noted them in the superblock"),
            Self::SuperblockCopy(block) => write!(f, "the superblock copy in block {block} is used"),
            Self::DirectoriesCutShort => {
                f.write_str("directories share too many blocks; not all were looked at")
            }
        }
    }
}

/// What a volume holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, fifos, sockets.
    pub special: u64,
    /// Used orphan slots.
    pub orphans: u64,
    /// Names.
    pub names: u64,
    /// Blocks of files and their metadata.
    pub blocks_used: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free inodes.
    pub inodes_free: u64,
}

impl Stats {
    pub(crate) fn count(&mut self, kind: FileKind) {
        *match kind {
            FileKind::Regular => &mut self.files,
            FileKind::Directory => &mut self.directories,
            FileKind::Symlink => &mut self.symlinks,
            _ => &mut self.special,
        } += 1;
    }
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The superblock that was used.
    pub superblock: Option<Superblock>,
    /// What is in the log.
    pub journal: Journal,
    /// The problems, in the order in which they were found; no more than were asked for.
    pub problems: Vec<Problem>,
    /// How often each problem was found, all of them.
    pub totals: BTreeMap<Corruption, u64>,
    /// Blocks that the device could not read.
    pub unreadable: u64,
    /// What is worth saying.
    pub notes: Vec<Note>,
    /// What the volume holds.
    pub stats: Stats,
    most: usize,
}

impl Report {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            outcome: Outcome::Complete,
            superblock: None,
            journal: Journal::Unknown,
            problems: Vec::new(),
            totals: BTreeMap::new(),
            unreadable: 0,
            notes: Vec::new(),
            stats: Stats::default(),
            most,
        }
    }

    /// Whether there is no problem.
    pub fn is_clean(&self) -> bool {
        self.totals.is_empty()
    }

    /// Problems that were found, those that were only counted included.
    pub fn count(&self) -> u64 {
        self.totals.values().sum()
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        *self.totals.entry(problem.code).or_default() += 1;
        self.unreadable += u64::from(problem.unreadable);
        if self.problems.len() < self.most {
            self.problems.push(problem);
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        // Notes repeat for each group of a large volume; a handful says it.
        if self.notes.len() < 16 && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
