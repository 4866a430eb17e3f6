//! `cargo xtask bench`: the same workloads on Bento and its peers, on images in memory, in one run.
//!
//! The systems take turns within each group of workloads (A, B, A, B), so what disturbs one disturbs
//! all; each group starts on a fresh image, and the figure is the median over the rounds. Clients and
//! servers share one CPU unless told otherwise: on small virtual machines a wake-up across CPUs costs
//! ten times a request.

pub mod guest;
mod report;
mod varmail;
pub mod worker;
mod workloads;

use crate::board::spinner;
use crate::build::in_guest;
use crate::kernel::tree::Kernel;
use crate::peers::{Programs, Shape, System, Volume, programs};
use crate::scratch::Scratch;
use crate::setup;
use anyhow::{Context, Result, bail};
use report::Results;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use workloads::{GROUPS, Group, Run, Scale, Sources};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Write the medians to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// One round, a tenth of the work: to see the shape
    #[arg(long)]
    quick: bool,
    /// One round, next to no work: to see that everything runs
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,
    /// Rounds over all systems
    #[arg(long)]
    repetitions: Option<usize>,
    /// Systems to measure
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<System>,
    /// Workloads to measure; their whole group is run
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Let the scheduler spread clients and servers over the CPUs
    #[arg(long)]
    unpinned: bool,
    /// Where the images go: a directory in memory
    #[arg(long, default_value = "/dev/shm")]
    place: PathBuf,
    /// Measure inside a guest that runs this kernel: our module, ext4, our own FUSE mount
    #[arg(long, value_enum, conflicts_with_all = ["place", "unpinned"])]
    kernel: Option<Kernel>,
}

const IMAGE_SIZE: u64 = 3 << 30;

const NORMAL: Scale = Scale {
    tree_files: 15_000,
    repository_files: 3_000,
    small_files: 10_000,
    milliseconds: 2_000,
    mebibytes: 192,
    repetitions: 3,
};

const QUICK: Scale = Scale {
    tree_files: 3_000,
    repository_files: 600,
    small_files: 2_000,
    milliseconds: 500,
    mebibytes: 64,
    repetitions: 1,
};

/// For machines that are emulated: thirty times as slow.
const EMULATED: Scale = Scale {
    tree_files: 1_500,
    repository_files: 200,
    small_files: 1_200,
    milliseconds: 2_000,
    mebibytes: 64,
    repetitions: 3,
};

const SMOKE: Scale = Scale {
    tree_files: 300,
    repository_files: 60,
    small_files: 320,
    milliseconds: 50,
    mebibytes: 8,
    repetitions: 1,
};

impl Options {
    fn scale(&self) -> Scale {
        let mut scale = match (self.smoke, self.quick) {
            (true, _) => SMOKE,
            (_, true) => QUICK,
            _ if guest::is_emulated() => EMULATED,
            _ => NORMAL,
        };
        scale.repetitions = self.repetitions.unwrap_or(scale.repetitions);
        scale
    }

    /// The groups that hold a wanted workload.
    fn groups(&self) -> Result<Vec<&'static Group>> {
        if let Some(unknown) = self.workloads.iter().find(|name| workloads::find(name).is_none()) {
            let names: Vec<&str> = workloads::WORKLOADS.iter().map(|workload| workload.name).collect();
            bail!("no workload is named {unknown}; there are {}", names.join(", "));
        }
        let wanted = |group: &&Group| {
            guest::has(group.disk)
                && (self.workloads.is_empty()
                    || group.workloads.iter().any(|name| self.workloads.iter().any(|w| w == name)))
        };
        Ok(GROUPS.iter().filter(wanted).collect())
    }
}

/// `cargo xtask bench`.
pub fn run(options: &Options) -> Result<()> {
    if let Some(kernel) = options.kernel {
        return guest::run(kernel, options.json.as_deref());
    }
    let groups = options.groups()?;
    let mut results = Results::default();
    let all: &[System] = if in_guest() { &System::IN_GUEST } else { &System::OUTSIDE };
    let systems = if options.systems.is_empty() { all } else { &options.systems };
    let ready = ready_systems(systems, &mut results);
    if ready.is_empty() {
        bail!("no system can be measured: {}", results.missing.join("; "));
    }
    setup::become_root("mounting")?;
    setup::need(&[setup::MOUNT, setup::FILES])?;
    let scale = options.scale();
    let place = Scratch::new("bento-bench-", &options.place)?;
    let bar = spinner("generating sources");
    let sources = Sources::generate(place.path(), &scale)?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = if options.unpinned { None } else { Some(pin()?) };
    let mut noise = Vec::new();
    for round in 0..scale.repetitions {
        for group in &groups {
            if round == 0 {
                bar.set_message(format!("rehearsing {}", group.workloads[0]));
                rehearse(group, &ready[0], place.path(), &sources)?;
            }
            for (system, programs) in &ready {
                let turn = Turn { system: *system, programs, place: place.path(), sources: &sources, scale };
                let label = format!("round {}: {} on {}", round + 1, group.workloads[0], system.name());
                bar.set_message(label.clone());
                match turn.take_quietly(group) {
                    Ok(taken) => {
                        if in_guest() {
                            eprintln!("{label}: {:?}", taken.figures);
                        }
                        noise.push(taken.drift);
                        for (workload, value) in taken.figures {
                            results.add(workload, *system, value);
                        }
                    }
                    Err(error) => {
                        bar.suspend(|| eprintln!("{label}: {error:#}"));
                        results.missing.push(format!("{label}: {error:#}"));
                    }
                }
            }
        }
    }
    bar.finish_and_clear();
    let systems: Vec<System> = ready.iter().map(|(system, _)| *system).collect();
    print_report(&results, &systems, cpu, &noise);
    if let Some(path) = &options.json {
        results.write_json(path, about(&scale, cpus, cpu, &noise))?;
        println!("written to {}", path.display());
    }
    if !results.missing.is_empty() {
        bail!("the table has gaps: {}", results.missing.join("; "));
    }
    Ok(())
}

/// The systems whose programs are there; the others are named, with the reason.
fn ready_systems(systems: &[System], results: &mut Results) -> Vec<(System, Programs)> {
    let mut ready = Vec::new();
    for system in systems {
        match programs(*system) {
            Ok(programs) => ready.push((*system, programs)),
            Err(error) => {
                eprintln!("{} is left out: {error:#}", system.name());
                results.missing.push(format!("{}: {error:#}", system.name()));
            }
        }
    }
    ready
}

/// One short turn, of which nobody keeps the figures: whoever runs `find` first would pay for reading it from the disk.
fn rehearse(group: &Group, first: &(System, Programs), place: &Path, sources: &Sources) -> Result<()> {
    let turn = Turn { system: first.0, programs: &first.1, place, sources, scale: SMOKE };
    turn.take(group).with_context(|| format!("rehearsing {}", group.workloads[0]))?;
    Ok(())
}

/// One system's turn in a group.
struct Turn<'a> {
    system: System,
    programs: &'a Programs,
    place: &'a Path,
    sources: &'a Sources,
    scale: Scale,
}

/// What a turn measured, and by what share the machine's own speed changed meanwhile.
struct Taken {
    figures: Vec<(&'static str, f64)>,
    drift: f64,
}

impl Turn<'_> {
    /// Takes the turn again when it was noisy, a few times; the quietest counts.
    fn take_quietly(&self, group: &Group) -> Result<Taken> {
        let mut best = self.take(group)?;
        for _ in 1..TRIES {
            if best.drift <= NOISY {
                break;
            }
            let again = self.take(group)?;
            if again.drift < best.drift {
                best = again;
            }
        }
        Ok(best)
    }

    fn take(&self, group: &Group) -> Result<Taken> {
        let before = calibrate();
        let device = guest::device(group.disk)?;
        let shape = Shape { place: self.place, size: IMAGE_SIZE, device: device.as_deref(), options: "" };
        let mut volume = Volume::create(self.system, self.programs, &shape)?;
        let mut figures = Vec::new();
        let mut record = |name: &'static str, value| figures.push((name, value));
        let mut run =
            Run { volume: &mut volume, sources: self.sources, scale: self.scale, record: &mut record };
        group.run(&mut run)?;
        volume.unmount()?;
        volume.check().context("after the run")?;
        Ok(Taken { figures, drift: (calibrate() / before - 1.0).abs() })
    }
}

/// Ties this process, and so all that it starts from here on, to its last CPU.
fn pin() -> Result<usize> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let cpu =
        (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).context("no CPU")?;
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)?;
    Ok(cpu)
}

/// How long a fixed loop takes just now: 20 ms or so on an idle machine.
fn calibrate() -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let mut state = 1u64;
        for _ in 0..4_000_000 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64()
}

/// Turns between whose ends the machine's own speed changed by more than this are noisy.
const NOISY: f64 = 0.05;

/// How often a noisy turn is taken.
const TRIES: usize = 3;

fn noisy(noise: &[f64]) -> usize {
    noise.iter().filter(|change| **change > NOISY).count()
}

fn print_report(results: &Results, systems: &[System], cpu: Option<usize>, noise: &[f64]) {
    println!("{}", results.table(systems));
    for table in [results.ratios(systems), results.goals()].into_iter().flatten() {
        println!("{table}");
    }
    match cpu {
        Some(cpu) => println!("clients and servers on CPU {cpu}"),
        None => println!("clients and servers on any CPU"),
    }
    println!("{} of {} turns noisy (the machine's speed changed by over 5 %)", noisy(noise), noise.len());
    for missing in &results.missing {
        println!("missing: {missing}");
    }
}

fn about(scale: &Scale, cpus: usize, cpu: Option<usize>, noise: &[f64]) -> serde_json::Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // In a guest there is no repository to ask.
    let revision = crate::tree::git_command(&crate::build::root()).args(["rev-parse", "HEAD"]).output();
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    json!({
        "revision": revision.unwrap_or_default(),
        "kernel": kernel.trim(),
        "cpus": cpus,
        "pinned_to": cpu,
        "repetitions": scale.repetitions,
        "turns": noise.len(),
        "noisy_turns": noisy(noise),
    })
}
