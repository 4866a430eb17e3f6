//! A second life on the same disk: what the first left in the log must never come back.
//!
//! The power goes in the middle of a commit, the volume is recovered, other work is done in the same places, and the
//! power goes again. Log and blocks hold what two lives left there.

use bento_fs::Space;

use crate::check::afterlife;
use crate::check::{Data, Examiner, Finding};
use crate::disk::{Atom, Choice, Counts, CrashDisk, Explorer, Image, Lie, Point, Space as Media};
use crate::host::actor::Pace;
use crate::host::build::MADE;
use crate::host::volume::options;
use crate::host::{Actor, Base, Stage, steps};
use crate::jlang::{Op, Workload};
use crate::oracle::{Model, Oracle, Stream};
use crate::run::crash::Mode;
use crate::run::execute::time;
use crate::run::{Crashes, Homing, Limits, execute};

/// The life in which the second begins, and that of its recoveries.
const SECOND: u64 = 30;
const AFTER_SECOND: u64 = 40;
/// First crashes of one instant that are lived on from.
const STARTS: u64 = 64;
/// Runs of one enumeration of second crashes.
const RUNS: u64 = 512;

/// Lives two lives of each workload: the second does the same on what the first left, with other names.
///
/// # Errors
/// What is wrong.
pub fn lives(base: &Base, workloads: &[Workload]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for workload in workloads {
        let executed = execute(base, workload, Homing::Never).map_err(|error| error.to_string())?;
        let crashes = Crashes { base, executed: &executed, limits: Limits::default() };
        for point in crashes.points(Mode::Lazy) {
            for image in starts(&point) {
                second_life(base, workload, image, First::Add, &mut counts)?;
            }
            second_life(base, workload, point.space.newest(), First::Remove, &mut counts)?;
        }
    }
    Ok(counts)
}

/// Disks that the first life may leave: those that recovery can tell apart, as they are before recovery.
fn starts(point: &Point) -> Vec<Image> {
    let mut blocks: Vec<u64> = point.space.undecided.keys().copied().collect();
    blocks.sort_unstable();
    // Every one missing alone, every one there alone, all, none.
    let newest = point.space.newest();
    let oldest = point.space.durable.clone();
    let mut images = vec![newest.clone(), oldest.clone()];
    for no in blocks.into_iter().take(STARTS as usize) {
        let mut missing = newest.clone();
        missing.set(no, oldest.get(no));
        let mut alone = oldest.clone();
        alone.set(no, newest.get(no));
        images.extend([missing, alone]);
    }
    images
}

/// What a second life begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// New names beside the old ones.
    Add,
    /// The old ones go first: space is freed that nobody in this life has looked at.
    Remove,
}

/// Recovers a disk, works on it, and cuts the power again.
fn second_life(
    base: &Base,
    workload: &Workload,
    image: Image,
    first: First,
    counts: &mut Counts,
) -> Result<(), String> {
    let media = Media::only(image);
    let disk = CrashDisk::new(&media, Atom::Block, Vec::new());
    let recovered = (base.build.mount)(&disk, &options(SECOND, MADE), &mut Space::default());
    let (mounted, ..) = recovered.map_err(|why| format!("the first recovery: {why}"))?;
    let contents = |no: u64| disk.get(no);
    let walked = (base.build.walk)(base.volume, &contents, crate::check::reader::Checksums::Verify)
        .map_err(|error| error.to_string())?;
    let tree = walked.fill(&contents).map_err(|errno| format!("{errno:?}"))?;
    let second = Base { image: disk.image().freeze(), mounted, ..base.clone() };
    let stage = Stage::new(&second, Pace::Shipped);
    let mut actor = Actor::new(&stage, Stream::default());
    actor.evict_orphans().map_err(|errno| format!("taking orphans away: {errno:?}"))?;
    let old = if first == First::Remove { afterlife::remove_all(&tree) } else { Vec::new() };
    for (number, op) in (1000..).zip(old.into_iter().chain(workload.ops.iter().map(renamed))) {
        let _ = steps::block_on(actor.run(&op, time(number)));
    }
    drop(actor);
    let history = stage.story.history();
    let oracle = Oracle::build(Model::found(&tree), &history, &[]).map_err(|error| error.to_string())?;
    let mut examiner = Examiner::new(&second, 0);
    let explorer = Explorer { atom: Atom::Block, runs_at_most: RUNS };
    let log = stage.device.log();
    for point in log.points(Media::only(second.image.clone()), Lie::None) {
        let judge = oracle.at(point.events);
        let run = |disk: &CrashDisk<'_>| {
            examiner.examine(disk, AFTER_SECOND, &judge, Data::Apart, None).map(|_| ())
        };
        let explored = explorer.explore(&point.space, counts, run);
        explored.map_err(|(finding, _): (Finding, Vec<Choice>)| format!("in a second life: {finding}"))?;
    }
    Ok(())
}

/// The same operation on names that the first life did not use, of the same lengths.
fn renamed(op: &Op) -> Op {
    let line = op.to_string().replace("foo", "fox").replace("bar", "bat");
    line.parse().unwrap_or_else(|_| op.clone())
}
