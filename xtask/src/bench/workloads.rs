//! The workloads: groups that share a fresh volume, each a fixed row of measured steps.

use super::worker::{self, Action, Outcome, settle};
use crate::peers::{System, Volume};
use crate::tree::{self, Digest};
use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How a figure is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds for all of it: lower is better.
    Seconds,
    /// Operations a second: higher is better.
    PerSecond,
    /// Mebibytes a second: higher is better.
    MebibytesPerSecond,
}

impl Unit {
    /// The unit's name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::PerSecond => "ops/s",
            Unit::MebibytesPerSecond => "MiB/s",
        }
    }

    /// Which direction is better, as JSON says it.
    pub fn better(self) -> &'static str {
        if self == Unit::Seconds { "lower" } else { "higher" }
    }

    /// How many times as fast `own` is as `other`.
    pub fn ratio(self, own: f64, other: f64) -> f64 {
        if self == Unit::Seconds { other / own } else { own / other }
    }
}

/// A workload's name, unit, and what its goals are.
pub struct Workload {
    /// Name in tables and JSON.
    pub name: &'static str,
    /// Unit of its figure.
    pub unit: Unit,
    /// How many times as fast as fuse2fs it should be, if that is a goal.
    fuse2fs_goal: Option<f64>,
    /// What it is about: sets the other goals.
    about: About,
}

/// What a workload is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Names and attributes.
    Metadata,
    /// Bytes.
    Data,
    /// How soon fsync returns, of data.
    DataSync,
    /// How soon fsync returns, of new names.
    MetadataSync,
}

/// One side of a goal, the other, and how many times as fast the first should be.
pub type Goal = (System, System, f64);

impl Workload {
    /// Every goal of it, wherever it is measured.
    pub fn goals(&self) -> Vec<Goal> {
        let is_metadata = matches!(self.about, About::Metadata | About::MetadataSync);
        let syncs = matches!(self.about, About::DataSync | About::MetadataSync);
        let mut goals = vec![
            (System::Bento, System::Ceiling, if is_metadata { 0.6 } else { 0.7 }),
            (System::BentoKernel, System::Ext4Ordered, if syncs { 0.8 } else { 0.5 }),
        ];
        if let Some(goal) = self.fuse2fs_goal {
            goals.insert(0, (System::Bento, System::Fuse2fs, goal));
        }
        if is_metadata {
            goals.push((System::BentoKernel, System::Bento, 3.0));
        }
        goals
    }
}

const fn workload(name: &'static str, unit: Unit, fuse2fs_goal: Option<f64>, about: About) -> Workload {
    Workload { name, unit, fuse2fs_goal, about }
}

/// Every workload, in the order of the tables.
pub const WORKLOADS: &[Workload] = &[
    workload("untar", Unit::Seconds, Some(3.0), About::Metadata),
    workload("find_cold", Unit::Seconds, Some(3.0), About::Metadata),
    workload("find_warm", Unit::Seconds, Some(3.0), About::Metadata),
    workload("tar_cold", Unit::Seconds, None, About::Data),
    workload("rm_rf", Unit::Seconds, Some(3.0), About::Metadata),
    workload("git_clone", Unit::Seconds, None, About::Metadata),
    workload("create_1t", Unit::PerSecond, Some(2.0), About::Metadata),
    workload("delete_1t", Unit::PerSecond, Some(2.0), About::Metadata),
    workload("create_32t", Unit::PerSecond, Some(2.0), About::Metadata),
    workload("delete_32t", Unit::PerSecond, Some(2.0), About::Metadata),
    workload("rename_1t", Unit::PerSecond, None, About::Metadata),
    workload("rename_32t", Unit::PerSecond, None, About::Metadata),
    workload("seqwrite1m", Unit::MebibytesPerSecond, None, About::Data),
    workload("seqread1m", Unit::MebibytesPerSecond, None, About::Data),
    workload("randread4k", Unit::PerSecond, None, About::Data),
    workload("randwrite4k", Unit::PerSecond, None, About::Data),
    workload("append4k_fsync", Unit::PerSecond, None, About::DataSync),
    workload("varmail_16t", Unit::PerSecond, None, About::MetadataSync),
    workload("append4k_slow_flush", Unit::PerSecond, None, About::DataSync),
    workload("varmail_slow_flush", Unit::PerSecond, None, About::MetadataSync),
];

/// The workload of that name.
pub fn find(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

/// How much of everything.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Files of the unpacked tree.
    pub tree_files: usize,
    /// Files of the cloned repository.
    pub repository_files: usize,
    /// Files of create and delete.
    pub small_files: usize,
    /// Milliseconds of loops that end by time.
    pub milliseconds: u64,
    /// Size of the large file.
    pub mebibytes: u64,
    /// Rounds over all systems.
    pub repetitions: usize,
}

/// What the workloads read: a tar file of a tree, and a repository.
pub struct Sources {
    archive: PathBuf,
    repository: PathBuf,
    digest: Digest,
}

/// The directory that the tar file unpacks to.
const TREE: &str = "src";

impl Sources {
    /// Generates both below `place`.
    pub fn generate(place: &Path, scale: &Scale) -> Result<Sources> {
        let top = place.join(TREE);
        let sources = Sources {
            archive: place.join("src.tar"),
            repository: place.join("repository"),
            digest: {
                tree::generate(&top, scale.tree_files)?;
                tree::digest(&top)?
            },
        };
        tree::pack(place, TREE, &sources.archive)?;
        std::fs::remove_dir_all(&top)?;
        tree::generate(&sources.repository, scale.repository_files)?;
        tree::make_repository(&sources.repository)?;
        Ok(sources)
    }
}

/// What a group's volume lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Memory, where a flush costs next to nothing.
    Memory,
    /// A disk whose flush takes its time; guests have one.
    SlowFlush,
}

/// Workloads that share a volume.
#[derive(Clone, Copy)]
pub struct Group {
    /// What it measures, in order.
    pub workloads: &'static [&'static str],
    /// The kind of disk that it runs on.
    pub disk: Disk,
    run: fn(&mut Run) -> Result<()>,
}

const fn group(workloads: &'static [&'static str], run: fn(&mut Run) -> Result<()>) -> Group {
    Group { workloads, disk: Disk::Memory, run }
}

const fn slow_flush(workloads: &'static [&'static str], run: fn(&mut Run) -> Result<()>) -> Group {
    Group { workloads, disk: Disk::SlowFlush, run }
}

/// Every group.
pub const GROUPS: &[Group] = &[
    group(&["untar", "find_cold", "find_warm", "tar_cold", "rm_rf"], tree_group),
    group(&["git_clone"], git_group),
    group(&["create_1t", "delete_1t"], |run| files_group(run, 1, ["create_1t", "delete_1t"])),
    group(&["create_32t", "delete_32t"], |run| files_group(run, 32, ["create_32t", "delete_32t"])),
    group(&["rename_1t", "rename_32t"], rename_group),
    group(&["seqwrite1m", "seqread1m", "randread4k", "randwrite4k"], data_group),
    group(&["append4k_fsync"], |run| run.timed("append4k_fsync", Action::AppendFsync, 1)),
    group(&["varmail_16t"], |run| run.timed("varmail_16t", Action::Varmail, 16)),
    slow_flush(&["append4k_slow_flush"], |run| run.timed("append4k_slow_flush", Action::AppendFsync, 1)),
    slow_flush(&["varmail_slow_flush"], |run| run.timed("varmail_slow_flush", Action::Varmail, 16)),
];

impl Group {
    /// Runs the group on a fresh volume; `record` gets each figure.
    pub fn run(&self, run: &mut Run) -> Result<()> {
        (self.run)(run)
    }
}

/// One group on one volume.
pub struct Run<'a, 'b> {
    /// The volume.
    pub volume: &'a mut Volume<'b>,
    /// What the workloads read.
    pub sources: &'a Sources,
    /// How much.
    pub scale: Scale,
    /// Gets each figure.
    pub record: &'a mut dyn FnMut(&'static str, f64),
}

impl Run<'_, '_> {
    fn root(&self) -> PathBuf {
        self.volume.dir().to_path_buf()
    }

    /// Times a command and the sync after it.
    fn command(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let start = Instant::now();
        crate::setup::quiet(command)?;
        self.stop(name, start)
    }

    fn stop(&mut self, name: &'static str, start: Instant) -> Result<()> {
        settle(self.volume.dir())?;
        (self.record)(name, start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Runs a worker loop and records its rate.
    fn worker(&mut self, name: &'static str, action: Action, dir: &str, threads: usize) -> Result<()> {
        let outcome = self.spawn_worker(action, dir, threads).with_context(|| name)?;
        ensure!(outcome.operations > 0, "{name} did nothing");
        (self.record)(name, outcome.operations as f64 / outcome.seconds);
        Ok(())
    }

    fn timed(&mut self, name: &'static str, action: Action, threads: usize) -> Result<()> {
        self.worker(name, action, "work", threads)
    }

    fn spawn_worker(&self, action: Action, dir: &str, threads: usize) -> Result<Outcome> {
        let action = clap::ValueEnum::to_possible_value(&action).context("a worker loop without a name")?;
        let output = Command::new(std::env::current_exe()?)
            .args(["bench-worker", action.get_name()])
            .arg(self.volume.dir().join(dir))
            .arg("--root")
            .arg(self.volume.dir())
            .args(["--threads", &threads.to_string()])
            .args(["--files", &self.scale.small_files.to_string()])
            .args(["--milliseconds", &self.scale.milliseconds.to_string()])
            .args(["--mebibytes", &self.scale.mebibytes.to_string()])
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(serde_json::from_slice::<worker::Outcome>(&output.stdout)?)
    }
}

fn tree_group(run: &mut Run) -> Result<()> {
    let root = run.root();
    let top = root.join(TREE);
    let archive = run.sources.archive.clone();
    run.command("untar", Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&root))?;
    run.volume.chill()?;
    let find = || {
        let mut command = Command::new("find");
        command.arg(&top).args(["-printf", "%s %n %T@\\n"]);
        command
    };
    run.command("find_cold", &mut find())?;
    run.command("find_warm", &mut find())?;
    run.volume.chill()?;
    tar_cold(run, &root)?;
    let found = tree::digest(&top)?;
    ensure!(
        found == run.sources.digest,
        "the tree read back differs: {found:?}, not {:?}",
        run.sources.digest
    );
    run.command("rm_rf", Command::new("rm").arg("-rf").arg(&top))
}

/// Packs the tree into a pipe: to /dev/null tar would not even read the files.
fn tar_cold(run: &mut Run, root: &Path) -> Result<()> {
    let start = Instant::now();
    let mut command = Command::new("tar");
    command.args(["-cf", "-", "-C"]).arg(root).arg(TREE);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut pipe = child.stdout.take().context("tar has no output")?;
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match pipe.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    ensure!(child.wait()?.success(), "tar failed");
    ensure!(bytes >= run.sources.digest.bytes, "tar packed {bytes} of {} bytes", run.sources.digest.bytes);
    run.stop("tar_cold", start)
}

fn git_group(run: &mut Run) -> Result<()> {
    let root = run.root();
    let clone = root.join("clone");
    let url = format!("file://{}", run.sources.repository.display());
    let start = Instant::now();
    crate::setup::quiet(tree::git_command(&root).args(["clone", "-q", "--no-hardlinks", &url]).arg(&clone))?;
    crate::setup::quiet(tree::git_command(&clone).args(["status", "--porcelain"]))?;
    run.stop("git_clone", start)?;
    let changes = tree::git_command(&clone).args(["status", "--porcelain"]).output()?;
    ensure!(changes.status.success() && changes.stdout.is_empty(), "the clone is not clean");
    Ok(())
}

fn files_group(run: &mut Run, threads: usize, names: [&'static str; 2]) -> Result<()> {
    run.worker(names[0], Action::Create, "files", threads)?;
    run.volume.chill()?;
    run.worker(names[1], Action::Delete, "files", threads)
}

fn rename_group(run: &mut Run) -> Result<()> {
    run.worker("rename_1t", Action::Rename, "one", 1)?;
    run.worker("rename_32t", Action::Rename, "many", 32)
}

fn data_group(run: &mut Run) -> Result<()> {
    run.worker("seqwrite1m", Action::SeqWrite, "data", 1)?;
    run.volume.chill()?;
    run.worker("seqread1m", Action::SeqRead, "data", 1)?;
    run.volume.chill()?;
    run.worker("randread4k", Action::RandRead, "data", 1)?;
    run.worker("randwrite4k", Action::RandWrite, "data", 1)
}
