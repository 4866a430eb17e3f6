//! What is asked of every disk after a power cut: it mounts, it is sound, it shows a state that it may, a second
//! recovery finds nothing to do, and life goes on.

use std::cell::RefCell;
use std::rc::Rc;

use bento_api::{BlockNo, Bytes, Disk, Errno, Mounted};
use bento_fs::format::Geometry;
use bento_fs::format::geometry::SUPERBLOCK;
use bento_fs::{Recording, Space};
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::reader::{Checksums, Unreadable, Walked};
use super::{afterlife, records};
use crate::disk::{Content, CrashDisk, Point};
use crate::host::Base;
use crate::host::build::MADE;
use crate::host::volume::options;
use crate::oracle::{Judge, Tree, Violation};

/// What is wrong with a recovered disk.
#[derive(Clone, Debug, Error)]
pub enum Finding {
    /// It does not mount.
    #[error("it does not mount: {0}")]
    Mount(String),
    /// The checker found problems.
    #[error("fsck: {0}")]
    Fsck(String),
    /// Something cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// It shows a state that it must not.
    #[error("{0}")]
    State(#[from] Violation),
    /// Names and provenance do not agree.
    #[error("names and provenance do not agree: {0}")]
    Records(String),
    /// A second recovery changed something.
    #[error("a second recovery is not idle: {0}")]
    SecondRecovery(String),
    /// It cannot be worked on.
    #[error("work cannot go on: {0}")]
    Work(String),
}

impl Finding {
    /// One word for a table.
    pub fn kind(&self) -> &'static str {
        match self {
            Finding::Mount(_) => "mount",
            Finding::Fsck(_) => "fsck",
            Finding::Unreadable(_) => "read",
            Finding::State(_) => "state",
            Finding::Records(_) => "records",
            Finding::SecondRecovery(_) => "second-recovery",
            Finding::Work(_) => "work",
        }
    }
}

/// How file data that no flush covers is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// All old and all new: enough if one state fits both.
    Together,
    /// Block by block, as everything else.
    Apart,
}

/// A disk on which recovery has ended. What is in the log belongs to an epoch that is over, so blocks of it that are
/// undecided stay so.
struct Settled<'d, 'a> {
    disk: &'d CrashDisk<'a>,
    geometry: &'d Geometry,
    written: RefCell<Vec<u64>>,
}

/// Whether a block is of the log, its headers not included.
fn is_log(geometry: &Geometry, no: u64) -> bool {
    let start = geometry.log_start.0;
    (start + 2..start + geometry.log_len).contains(&no)
}

/// Whether a block belongs to the mount, and not to what is mounted: superblock and log.
fn is_mounts(geometry: &Geometry, no: u64) -> bool {
    let start = geometry.log_start.0;
    no == SUPERBLOCK.0 || (start..start + geometry.log_len).contains(&no)
}

impl Settled<'_, '_> {
    fn content(&self, no: u64) -> Result<Content, Errno> {
        if is_log(self.geometry, no) {
            return self.disk.versions(no).into_iter().next().ok_or(Errno::Io);
        }
        self.disk.get(no)
    }
}

impl Disk for Settled<'_, '_> {
    fn blocks(&self) -> u64 {
        self.disk.blocks()
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        *to = *self.content(no.0)?;
        Ok(())
    }

    fn starts_with(&self, no: BlockNo, bytes: &[u8], space: &mut Bytes) -> Result<bool, Errno> {
        if is_log(self.geometry, no.0) {
            return Ok(self.content(no.0)?.starts_with(bytes));
        }
        self.disk.starts_with(no, bytes, space)
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        self.written.borrow_mut().push(no.0);
        self.disk.write(no, from)
    }

    fn flush(&self) -> Result<(), Errno> {
        self.disk.flush()
    }
}

/// How often something was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Looked {
    /// Different disks that were looked at from all sides.
    pub disks: u64,
    /// Of these, disks on which work went on.
    pub worked_on: u64,
}

/// Examines recovered disks of one run, each different one once.
pub struct Examiner<'b> {
    base: &'b Base,
    space: Box<Space>,
    seen: FxHashMap<u64, Rc<Vec<Tree>>>,
    /// Work goes on on one of so many different disks; 0 is none.
    work_every: u64,
    /// Counts up to that.
    until_work: u64,
    /// What was done.
    pub looked: Looked,
}

impl<'b> Examiner<'b> {
    /// An examiner that has seen nothing.
    pub fn new(base: &'b Base, work_every: u64) -> Examiner<'b> {
        let (space, seen, looked) = Default::default();
        Examiner { base, space, seen, work_every, until_work: 0, looked }
    }

    /// Begins to count disks somewhere else, so that short runs have their share of those that are worked on.
    #[must_use]
    pub fn starting_at(mut self, number: u64) -> Self {
        self.until_work = number.checked_rem(self.work_every).unwrap_or(0);
        self
    }

    /// Another run begins: nothing seen counts.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Recovers a disk in its `life`-th life, and looks at it. `crashes` gets the instants at which the power may go
    /// during recovery, if this recovery is a new one.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn examine(
        &mut self,
        disk: &CrashDisk<'_>,
        life: u64,
        judge: &Judge<'_>,
        data: Data,
        crashes: Option<&mut Vec<Point>>,
    ) -> Result<usize, Finding> {
        let recovered = (self.base.build.mount)(disk, &options(life, MADE), &mut self.space);
        let is_new = disk.end_of_recovery();
        if let Some(crashes) = crashes.filter(|_| is_new) {
            crashes.extend(disk.second_crashes());
        }
        let (mounted, ..) = recovered.map_err(|why| Finding::Mount(why.to_string()))?;
        let geometry = self.base.volume.geometry;
        let key = disk.fingerprint(|no| !is_mounts(&geometry, no));
        let known = if data == Data::Together { self.seen.get(&key).cloned() } else { None };
        let trees = match known {
            Some(trees) => trees,
            None => {
                let decided = disk.decided();
                let trees = Rc::new(self.look(disk, life, &mounted, data)?);
                if data == Data::Together && disk.decided() == decided {
                    self.seen.insert(key, trees.clone());
                }
                trees
            }
        };
        Ok(judge.check_all(&trees)?)
    }

    /// Everything that does not need the model.
    fn look(
        &mut self,
        disk: &CrashDisk<'_>,
        life: u64,
        mounted: &Mounted,
        data: Data,
    ) -> Result<Vec<Tree>, Finding> {
        self.looked.disks += 1;
        let geometry = self.base.volume.geometry;
        let settled = Settled { disk, geometry: &geometry, written: RefCell::default() };
        check(&settled)?;
        let contents = |no: u64| settled.content(no);
        let walked = (self.base.build.walk)(self.base.volume, &contents, Checksums::Verify)?;
        if self.base.build.recording == Recording::Yes {
            records::agree(&walked).map_err(Finding::Records)?;
        }
        let trees = fill(&walked, disk, data)?;
        self.recover_again(&settled, life + 1, mounted)?;
        self.until_work += 1;
        if self.until_work == self.work_every {
            self.until_work = 0;
            self.looked.worked_on += 1;
            afterlife::go_on(self.base, disk.image(), life + 2, &walked.tree).map_err(Finding::Work)?;
        }
        Ok(trees)
    }

    fn recover_again(&mut self, disk: &Settled<'_, '_>, life: u64, first: &Mounted) -> Result<(), Finding> {
        let again = (self.base.build.mount)(disk, &options(life, MADE), &mut self.space);
        let (second, ..) = again.map_err(|why| Finding::SecondRecovery(why.to_string()))?;
        let state = |mounted: &Mounted| (mounted.next, mounted.totals);
        if second.replayed != 0 {
            return Err(Finding::SecondRecovery(format!("{} batches replayed", second.replayed)));
        }
        if state(&second) != state(first) {
            let states = format!("{:?} became {:?}", state(first), state(&second));
            return Err(Finding::SecondRecovery(states));
        }
        let written = disk.written.borrow();
        match written.iter().find(|no| !is_mounts(disk.geometry, **no)) {
            Some(no) => Err(Finding::SecondRecovery(format!("block {no} was written"))),
            None => Ok(()),
        }
    }
}

/// Asks the checker.
pub(super) fn check(disk: &dyn Disk) -> Result<(), Finding> {
    let options = bento_fsck::Options { paths: false, most: 8, ..bento_fsck::Options::default() };
    let report = bento_fsck::check(disk, &options);
    if report.is_clean() {
        return Ok(());
    }
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    Err(Finding::Fsck(problems.join("; ")))
}

/// The trees with the data that they may have.
fn fill(walked: &Walked, disk: &CrashDisk<'_>, data: Data) -> Result<Vec<Tree>, Finding> {
    let io = |errno: Errno| Unreadable { path: String::new(), errno, reported: None };
    if data == Data::Apart {
        return Ok(vec![walked.fill(&|no| disk.get(no)).map_err(io)?]);
    }
    let blocks = walked.data.values().flatten();
    let most = blocks.map(|(_, device)| disk.versions(*device).len()).max().unwrap_or(1);
    let nth = |nth: usize| {
        let content = |no: u64| {
            let versions = disk.versions(no);
            versions.get(nth).or(versions.last()).cloned().ok_or(Errno::Io)
        };
        walked.fill(&content).map_err(io)
    };
    Ok((0..most.max(1)).map(nth).collect::<Result<_, _>>()?)
}
