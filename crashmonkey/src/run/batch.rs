//! Many workloads on several threads; the results are the same for any number of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::crash::{Crash, Crashes, Limits, Mode};
use super::execute::{Homing, execute};
use crate::check::{Examiner, Looked};
use crate::disk::Counts;
use crate::host::Base;
use crate::jlang::Workload;

/// What is done with each workload.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which crash states.
    pub modes: Vec<Mode>,
    /// With which fates of durable blocks.
    pub homings: Vec<Homing>,
    /// How far each enumeration goes.
    pub limits: Limits,
    /// Work goes on on one of so many different recovered disks; 0: on none.
    pub work_every: u64,
    /// Threads.
    pub jobs: usize,
    /// The run ends after so many failures.
    pub failures: usize,
}

/// A workload that failed, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The workload's identity.
    pub id: String,
    /// Its text.
    pub workload: String,
    /// The file system that failed.
    pub build: String,
    /// What happened to durable blocks.
    pub homing: Homing,
    /// The crash state; none: it failed without a crash.
    pub crash: Option<Crash>,
    /// What is wrong.
    pub message: String,
}

/// Figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Workloads that were run.
    pub workloads: u64,
    /// By mode.
    pub modes: BTreeMap<String, Counts>,
    /// Recovered disks.
    pub looked: Looked,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.workloads += other.workloads;
        for (mode, counts) in &other.modes {
            let sum = self.modes.entry(mode.clone()).or_default();
            sum.points += counts.points;
            sum.runs += counts.runs;
            sum.capped += counts.capped;
        }
        self.looked.disks += other.looked.disks;
        self.looked.worked_on += other.looked.worked_on;
    }

    /// Enumerations that were cut off.
    pub fn capped(&self) -> u64 {
        self.modes.values().map(|counts| counts.capped).sum()
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    /// How much was done.
    pub figures: Figures,
    /// What failed, in order of workloads.
    pub failures: Vec<Failure>,
}

impl Batch {
    /// Runs one workload.
    pub fn workload(&self, base: &Base, workload: &Workload) -> (Figures, Option<Failure>) {
        let mut figures = Figures { workloads: 1, ..Figures::default() };
        let mut examiner = Examiner::new(base, self.work_every).starting_at(workload.id());
        let failure = self.homings.iter().find_map(|homing| {
            self.fate(base, workload, *homing, &mut examiner, &mut figures).err().map(|failure| *failure)
        });
        figures.looked = examiner.looked;
        (figures, failure)
    }

    fn fate(
        &self,
        base: &Base,
        workload: &Workload,
        homing: Homing,
        examiner: &mut Examiner<'_>,
        figures: &mut Figures,
    ) -> Result<(), Box<Failure>> {
        let failure = |crash: Option<Crash>, message: String| {
            Box::new(Failure {
                id: format!("{:016x}", workload.id()),
                workload: workload.to_string(),
                build: base.build.name.to_owned(),
                homing,
                crash,
                message,
            })
        };
        let executed = execute(base, workload, homing).map_err(|error| failure(None, error.to_string()))?;
        let crashes = Crashes { base, executed: &executed, limits: self.limits };
        for mode in &self.modes {
            let counts = figures.modes.entry(mode.name().to_owned()).or_default();
            if let Some(crash) = crashes.run(*mode, examiner, counts) {
                let message = crash.message.clone();
                return Err(failure(Some(crash), message));
            }
        }
        Ok(())
    }

    /// Runs all workloads. `progress` hears how many are done.
    pub fn run(&self, base: &Base, workloads: &[Workload], progress: &(dyn Fn(usize) + Sync)) -> Results {
        let next = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);
        let collected = Mutex::new((Figures::default(), BTreeMap::new()));
        let work = || {
            let mut mine = Figures::default();
            let mut failures = Vec::new();
            while failed.load(Ordering::Relaxed) < self.failures {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(workload) = workloads.get(index) else { break };
                let (figures, failure) = self.workload(base, workload);
                mine.add(&figures);
                if let Some(failure) = failure {
                    failed.fetch_add(1, Ordering::Relaxed);
                    failures.push((index, failure));
                }
                progress(index);
            }
            let mut all = collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.0.add(&mine);
            all.1.extend(failures);
        };
        std::thread::scope(|scope| {
            (1..self.jobs.max(1)).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let (figures, failures) = collected.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Results { figures, failures: failures.into_values().collect() }
    }
}
