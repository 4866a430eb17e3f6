//! The power goes: at each instant worth a look, on each medium that is possible then.

use serde::{Deserialize, Serialize};

use super::execute::Executed;
use crate::check::{Data, Examiner, Finding};
use crate::disk::log::Entry;
use crate::disk::{Atom, Choice, Counts, CrashDisk, Explorer, Image, Lie, Log, Point, Request, Space};
use crate::host::Base;
use crate::oracle::Oracle;

/// Which crash states are looked at.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// After each persistence operation, everything written so far is on the medium. What CrashMonkey looks at.
    Checkpoint,
    /// After each write of a block, everything written so far and nothing else.
    Prefix,
    /// Each block that no flush covers is old or new, by itself.
    Lazy,
    /// Each sector that no flush covers is old or new: blocks may be torn.
    Torn,
    /// As lazy, and the power goes again during each recovery.
    Recovery,
}

impl Mode {
    /// All, the cheapest first.
    pub const ALL: [Mode; 5] = [Mode::Checkpoint, Mode::Prefix, Mode::Lazy, Mode::Torn, Mode::Recovery];

    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Checkpoint => "checkpoint",
            Mode::Prefix => "prefix",
            Mode::Lazy => "lazy",
            Mode::Torn => "torn",
            Mode::Recovery => "recovery",
        }
    }

    fn atom(self) -> Atom {
        if self == Mode::Torn { Atom::Sector } else { Atom::Block }
    }
}

/// A crash state that is not as it should be, and how to get there again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crash {
    /// In which mode.
    pub mode: Mode,
    /// The instant: which of the mode's.
    pub point: usize,
    /// How many entries of the device's log had happened.
    pub entries: usize,
    /// How many events the history had.
    pub events: usize,
    /// What the medium holds.
    pub decisions: Vec<Choice>,
    /// The same of a second crash, during recovery.
    pub again: Option<Again>,
    /// One word.
    pub kind: String,
    /// What is wrong.
    pub message: String,
}

/// A crash during recovery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Again {
    /// The instant: which of this recovery's.
    pub point: usize,
    /// What the medium holds.
    pub decisions: Vec<Choice>,
}

/// How far an enumeration may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs for one set of media, and then it counts as cut off.
    pub runs: u64,
    /// What the drive does with flushes.
    pub lie: Lie,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { runs: 4096, lie: Lie::None }
    }
}

/// The life in which a recovery happens; the base is in its first.
const RECOVERY: u64 = 10;
const RECOVERY_AGAIN: u64 = 20;

/// Looks at all crash states of a run in one mode.
pub struct Crashes<'a, 'b> {
    /// Where the run began.
    pub base: &'b Base,
    /// The run.
    pub executed: &'a Executed,
    /// How far to go.
    pub limits: Limits,
}

impl Crashes<'_, '_> {
    /// The instants of a mode.
    pub fn points(&self, mode: Mode) -> Vec<Point> {
        let start = self.base.image.clone();
        let (log, oracle) = (&self.executed.log, &self.executed.oracle);
        match mode {
            Mode::Checkpoint => checkpoints(log, oracle, start),
            Mode::Prefix => prefixes(log, start),
            Mode::Lazy | Mode::Torn | Mode::Recovery => {
                log.points(Space::only(start), self.limits.lie).collect()
            }
        }
    }

    /// Looks at every state; the first that is wrong.
    pub fn run(&self, mode: Mode, examiner: &mut Examiner<'_>, counts: &mut Counts) -> Option<Crash> {
        self.points(mode).iter().enumerate().find_map(|(number, point)| {
            let found = self.point(mode, point, examiner, counts, Data::Together).or_else(|crash| {
                // One state for all data at once was asked for; each mixture may have its own.
                let apart = crash.kind == "state";
                if apart { self.point(mode, point, examiner, counts, Data::Apart) } else { Err(crash) }
            });
            found.err().map(|crash| Crash { point: number, ..*crash })
        })
    }

    fn explorer(&self, mode: Mode) -> Explorer {
        Explorer { atom: mode.atom(), runs_at_most: self.limits.runs }
    }

    fn point(
        &self,
        mode: Mode,
        point: &Point,
        examiner: &mut Examiner<'_>,
        counts: &mut Counts,
        data: Data,
    ) -> Result<(), Box<Crash>> {
        let judge = self.executed.oracle.at(point.events);
        let crash = |finding: &Finding, decisions: Vec<Choice>, again: Option<Again>| {
            Box::new(Crash {
                mode,
                point: 0,
                entries: point.entries,
                events: point.events,
                decisions,
                again,
                kind: finding.kind().to_owned(),
                message: finding.to_string(),
            })
        };
        let mut recoveries: Vec<(Vec<Choice>, Vec<Point>)> = Vec::new();
        let run = |disk: &CrashDisk<'_>| {
            let mut crashes = Vec::new();
            let wanted = (mode == Mode::Recovery).then_some(&mut crashes);
            examiner.examine(disk, RECOVERY, &judge, data, wanted)?;
            if !crashes.is_empty() {
                recoveries.push((disk.decisions(), crashes));
            }
            Ok(())
        };
        let explored = self.explorer(mode).explore(&point.space, counts, run);
        explored.map_err(|(finding, decisions): (Finding, _)| crash(&finding, decisions, None))?;
        for (decisions, crashes) in recoveries {
            for (number, second) in crashes.iter().enumerate() {
                let run = |disk: &CrashDisk<'_>| {
                    examiner.examine(disk, RECOVERY_AGAIN, &judge, data, None).map(|_| ())
                };
                let explored = self.explorer(mode).explore(&second.space, counts, run);
                explored.map_err(|(finding, choices): (Finding, _)| {
                    let again = Again { point: number, decisions: choices };
                    crash(&finding, decisions.clone(), Some(again))
                })?;
            }
        }
        Ok(())
    }

    /// Repeats one state exactly.
    ///
    /// # Errors
    /// What is wrong with it, as before.
    pub fn repeat(&self, crash: &Crash, examiner: &mut Examiner<'_>) -> Result<usize, Finding> {
        let points = self.points(crash.mode);
        let nowhere = || Finding::Work("there is no such instant: the run is another one".to_owned());
        let point = points.get(crash.point).ok_or_else(nowhere)?;
        let judge = self.executed.oracle.at(point.events);
        let disk = CrashDisk::new(&point.space, crash.mode.atom(), crash.decisions.clone());
        let mut crashes = Vec::new();
        let first = examiner.examine(&disk, RECOVERY, &judge, Data::Apart, Some(&mut crashes));
        let Some(again) = &crash.again else { return first };
        let second = crashes.get(again.point).ok_or_else(nowhere)?;
        let disk = CrashDisk::new(&second.space, crash.mode.atom(), again.decisions.clone());
        examiner.examine(&disk, RECOVERY_AGAIN, &judge, Data::Apart, None)
    }
}

/// All writes in order up to each return of a persistence operation.
fn checkpoints(log: &Log, oracle: &Oracle, mut image: Image) -> Vec<Point> {
    let due = oracle.persistence_points();
    let (mut points, mut before) = (Vec::new(), 0);
    for (index, entry) in log.entries.iter().enumerate() {
        match entry {
            Entry::Submitted(_, Request::Write { at, contents, .. }) => {
                (*at..).zip(contents).for_each(|(no, content)| image.set(no, content.clone()));
            }
            Entry::Mark(events) => {
                if due.iter().any(|due| before < *due && due <= events) {
                    let space = Space::only(image.clone());
                    points.push(Point { entries: index + 1, events: *events, space });
                }
                before = *events;
            }
            _ => {}
        }
    }
    points
}

/// All writes in order up to each block.
fn prefixes(log: &Log, mut image: Image) -> Vec<Point> {
    let (mut points, mut events) = (Vec::new(), 0);
    for (index, entry) in log.entries.iter().enumerate() {
        match entry {
            Entry::Submitted(_, Request::Write { at, contents, .. }) => {
                for (no, content) in (*at..).zip(contents) {
                    image.set(no, content.clone());
                    points.push(Point { entries: index + 1, events, space: Space::only(image.clone()) });
                }
            }
            Entry::Mark(now) => events = *now,
            _ => {}
        }
    }
    points
}
