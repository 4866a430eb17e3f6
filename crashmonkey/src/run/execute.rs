//! Running a workload, and comparing the running system with the model.

use bento_api::Time;
use thiserror::Error;

use crate::check::live;
use crate::check::reader::Unreadable;
use crate::disk::Log;
use crate::host::actor::Pace;
use crate::host::build::MADE;
use crate::host::volume::ROOT_MODE;
use crate::host::{Actor, Base, Stage, steps};
use crate::jlang::{Op, Workload};
use crate::oracle::{Difference, Disagreement, History, Model, Oracle, Stream};

/// What happens to blocks that are durable and not home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Homing {
    /// They stay in the log.
    Never,
    /// They are written home after each operation that persists something; and no block stays in the cache.
    Always,
}

/// A run that went as it should, up to the power cut.
#[derive(Debug)]
pub struct Executed {
    /// What happened.
    pub history: History,
    /// The model's account of it.
    pub oracle: Oracle,
    /// What the device was asked.
    pub log: Log,
}

/// The running system is wrong without any crash.
#[derive(Clone, Debug, Error)]
pub enum LiveError {
    /// An operation answered something else than it should.
    #[error(transparent)]
    Answer(#[from] Disagreement),
    /// The tree cannot be read.
    #[error("the running system cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// The tree is not what it should be.
    #[error("the running system differs: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Differs(Vec<Difference>),
    /// Something of the platform.
    #[error("{0}")]
    Platform(String),
}

/// The model of a volume that was just made.
pub fn fresh() -> Model {
    Model::new(u32::from(ROOT_MODE), MADE)
}

/// The time of the `n`-th operation, from 1.
pub fn time(n: i64) -> Time {
    Time::new(MADE.seconds + n, 0)
}

/// Runs a workload in one stream on the shipped host.
///
/// # Errors
/// The running system differs from the model.
pub fn execute(base: &Base, workload: &Workload, homing: Homing) -> Result<Executed, LiveError> {
    let stage = Stage::new(base, Pace::Shipped);
    let containers = stage.mount.containers();
    containers.set_always_miss(homing == Homing::Always);
    let mut actor = Actor::new(&stage, Stream::default());
    for (second, op) in (1..).zip(&workload.ops) {
        let done = steps::block_on(actor.run(op, time(second)));
        if homing == Homing::Always && done.is_ok() && op.persists() {
            write_home(&stage)?;
        }
    }
    finish(&stage, base, fresh())
}

fn write_home(stage: &Stage) -> Result<(), LiveError> {
    stage.story.enter(None);
    let done = stage.mount.checkpoint();
    done.map_err(|errno| LiveError::Platform(format!("checkpoint: {errno:?}")))
}

/// Compares a stage on which everything has ended with a model that ran along.
///
/// # Errors
/// They differ.
pub fn finish(stage: &Stage, base: &Base, model: Model) -> Result<Executed, LiveError> {
    let history = stage.story.history();
    let oracle = Oracle::build(model, &history, &[])?;
    let tree = live::look(stage, base.volume)?;
    let differences = oracle.at(history.events.len()).check_live(&tree);
    if !differences.is_empty() {
        return Err(LiveError::Differs(differences));
    }
    Ok(Executed { history, oracle, log: stage.device.log() })
}

/// The operations of a workload with their numbers, for people.
pub fn listing(ops: &[Op]) -> String {
    ops.iter().enumerate().map(|(index, op)| format!("{index:>4}  {op}\n")).collect()
}
