//! Streams of operations that meet: one thread, one attempt at a time, and a seed that says whose.
//!
//! An entry never sleeps, so what can happen between two operations happens between two attempts: at each wait, after
//! each join, between the steps of the journal and between its requests. A keeper commits, writes blocks home,
//! replaces the code and empties the cache, whenever the seed says so; with every first use missed, an operation
//! restarts as often as it can. The same seed gives the same run.
//!
//! - [`program`]: what the streams do.
//! - [`schedule`]: who goes on.

pub mod program;
pub mod schedule;

use serde::Serialize;

use crate::check::Examiner;
use crate::disk::Counts;
use crate::host::actor::Pace;
use crate::host::{Base, Stage};
use crate::run::execute::{finish, fresh};
use crate::run::{Crash, Crashes, Executed, Limits, LiveError, Mode};
use program::Program;
use schedule::Schedule;

/// A seed that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// It.
    pub seed: u64,
    /// What the streams did.
    pub program: String,
    /// What happened up to the crash.
    pub events: Vec<String>,
    /// The crash state; none: it failed without a crash.
    pub crash: Option<Crash>,
    /// What is wrong.
    pub message: String,
}

/// Figures of one seed, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Seeds.
    pub seeds: u64,
    /// Operations.
    pub operations: u64,
    /// Times that somebody else went on.
    pub switches: u64,
    /// Transactions that joined a batch.
    pub joins: u64,
    /// Upgrades.
    pub upgrades: u64,
    /// Crash states.
    pub crashes: Counts,
    /// Different disks that were looked at from all sides.
    pub disks: u64,
}

impl Figures {
    /// Adds another's.
    pub fn add(&mut self, other: &Figures) {
        self.seeds += other.seeds;
        self.operations += other.operations;
        self.switches += other.switches;
        self.joins += other.joins;
        self.upgrades += other.upgrades;
        self.crashes.points += other.crashes.points;
        self.crashes.runs += other.crashes.runs;
        self.crashes.capped += other.crashes.capped;
        self.disks += other.disks;
    }
}

/// Runs the streams of a seed, and compares the running system with the model.
///
/// # Errors
/// They differ, or the streams wait for each other.
pub fn execute(base: &Base, program: &Program, figures: &mut Figures) -> Result<Executed, LiveError> {
    let stage = Stage::new(base, Pace::Stepped);
    let done = Schedule::new(&stage, program).run().map_err(LiveError::Platform)?;
    figures.switches += done.switches;
    figures.upgrades += done.upgrades;
    let executed = finish(&stage, base, fresh())?;
    let joins = executed.history.events.iter().filter(|event| matches!(event, crate::oracle::Event::Join(_)));
    figures.joins += joins.count() as u64;
    figures.operations += executed.history.ops.len() as u64;
    Ok(executed)
}

/// Explores one seed: its run, and all crash states of it in one mode.
///
/// # Errors
/// What is wrong.
pub fn explore(
    base: &Base,
    seed: u64,
    mode: Mode,
    limits: Limits,
    figures: &mut Figures,
) -> Result<(), Box<Failure>> {
    figures.seeds += 1;
    let program = Program::of(seed);
    let failure = |events: Vec<String>, crash: Option<Crash>, message: String| {
        Box::new(Failure { seed, program: program.to_string(), events, crash, message })
    };
    let executed =
        execute(base, &program, figures).map_err(|error| failure(Vec::new(), None, error.to_string()))?;
    let mut examiner = Examiner::new(base, 32).starting_at(seed);
    let crashes = Crashes { base, executed: &executed, limits };
    let crash = crashes.run(mode, &mut examiner, &mut figures.crashes);
    figures.disks += examiner.looked.disks;
    match crash {
        None => Ok(()),
        Some(crash) => {
            let (events, message) = (executed.history.listing(crash.events), crash.message.clone());
            Err(failure(events, Some(crash), message))
        }
    }
}
