//! Whether crash testing has teeth: every fault that can be seeded into the file system, and every lie of a drive, must be
//! caught, and the plain file system and the provenance variant must pass everything that catches them.

mod workloads;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::check::Examiner;
use crate::disk::{Counts, Lie};
use crate::explore;
use crate::host::{Base, Build, FAULTY, PLAIN, PROV};
use crate::jlang::Workload;
use crate::run::{Batch, Crashes, Homing, Limits, Mode, execute};

pub use workloads::{full_log, workloads};

/// A way to look for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Crash states of workloads.
    States(Mode),
    /// Streams that meet.
    Explore,
    /// A second life on the same disk, with a crash of its own.
    Lives,
}

impl Way {
    const ALL: [Way; 7] = [
        Way::States(Mode::Checkpoint),
        Way::States(Mode::Prefix),
        Way::States(Mode::Lazy),
        Way::States(Mode::Torn),
        Way::States(Mode::Recovery),
        Way::Explore,
        Way::Lives,
    ];

    fn name(self) -> &'static str {
        match self {
            Way::States(mode) => mode.name(),
            Way::Explore => "explore",
            Way::Lives => "lives",
        }
    }
}

/// A seeded bug, and what caught it.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    /// The bug.
    pub name: String,
    /// The ways that found something.
    pub caught_by: Vec<&'static str>,
    /// What the first one found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

/// The verdict on the tests.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Every seeded bug.
    pub seeded_bugs: Vec<Caught>,
    /// What the plain file system failed: nothing.
    pub plain: Caught,
    /// What the provenance variant failed: nothing.
    pub prov: Caught,
    /// Drives that ignore flushes: not the file system's fault, but they must be noticed.
    pub lying_drives: Vec<Caught>,
}

impl Verdict {
    /// Whether every bug was caught and the plain file system passed.
    pub fn is_good(&self) -> bool {
        let caught = |bug: &Caught| !bug.caught_by.is_empty();
        self.seeded_bugs.iter().all(caught)
            && self.lying_drives.iter().all(caught)
            && self.plain.caught_by.is_empty()
            && self.prov.caught_by.is_empty()
    }
}

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Seeds of streams that meet.
    pub seeds: u64,
    /// Go on with other ways when one has caught a bug.
    pub every_way: bool,
}

/// Runs everything.
///
/// # Errors
/// A volume could not be made.
pub fn selftest(effort: Effort) -> Result<Verdict, String> {
    let workloads = workloads();
    let seeded_bugs =
        FAULTY.iter().map(|build| hunt(build, &workloads, effort)).collect::<Result<Vec<_>, _>>()?;
    let mut plain = hunt(&PLAIN, &workloads, Effort { every_way: true, ..effort })?;
    if let Some(first) = states(&Base::new(&PLAIN)?, &[full_log()], Mode::Lazy) {
        plain.caught_by.push("full log");
        plain.first.get_or_insert(first);
    }
    let prov = hunt(&PROV, &workloads, Effort { every_way: true, ..effort })?;
    Ok(Verdict { seeded_bugs, plain, prov, lying_drives: lying_drives(&workloads)? })
}

fn hunt(build: &'static Build, workloads: &[Workload], effort: Effort) -> Result<Caught, String> {
    let base = Base::new(build)?;
    let mut found: BTreeMap<Way, String> = BTreeMap::new();
    for way in Way::ALL {
        let message = match way {
            Way::States(mode) => states(&base, workloads, mode),
            Way::Explore => streams(&base, effort.seeds),
            Way::Lives => crate::lives::lives(&base, workloads).err(),
        };
        if let Some(message) = message {
            found.insert(way, message);
            if !effort.every_way {
                break;
            }
        }
    }
    let first = found.values().next().cloned();
    Ok(Caught { name: build.name.to_owned(), caught_by: found.keys().map(|way| way.name()).collect(), first })
}

fn batch(mode: Mode) -> Batch {
    Batch {
        modes: vec![mode],
        homings: vec![Homing::Never, Homing::Always],
        limits: Limits::default(),
        work_every: 4,
        jobs: 1,
        failures: 1,
    }
}

fn states(base: &Base, workloads: &[Workload], mode: Mode) -> Option<String> {
    let results = batch(mode).run(base, workloads, &|_| ());
    results.failures.into_iter().next().map(|failure| failure.message)
}

fn streams(base: &Base, seeds: u64) -> Option<String> {
    (0..seeds).find_map(|seed| {
        let mut figures = explore::Figures::default();
        let done = explore::explore(base, seed, Mode::Lazy, Limits::default(), &mut figures);
        done.err().map(|failure| failure.message)
    })
}

/// Drives that keep a promise badly: each must show in some workload.
fn lying_drives(workloads: &[Workload]) -> Result<Vec<Caught>, String> {
    let base = Base::new(&PLAIN)?;
    let caught = |name: &str, lies: &[Lie]| {
        let found = lies.iter().find_map(|lie| {
            workloads.iter().find_map(|workload| {
                let executed = execute(&base, workload, Homing::Always).ok()?;
                let limits = Limits { lie: *lie, ..Limits::default() };
                let crashes = Crashes { base: &base, executed: &executed, limits };
                let crash = crashes.run(Mode::Lazy, &mut Examiner::new(&base, 0), &mut Counts::default());
                crash.map(|crash| crash.message)
            })
        });
        let caught_by = if found.is_some() { vec![Mode::Lazy.name()] } else { Vec::new() };
        Caught { name: name.to_owned(), caught_by, first: found }
    };
    let first_flushes: Vec<Lie> = (0..4).map(Lie::Flush).collect();
    Ok(vec![caught("EveryFlushIgnored", &[Lie::EveryFlush]), caught("OneFlushIgnored", &first_flushes)])
}
