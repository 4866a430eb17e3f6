//! `crashmonkey run` and `crashmonkey replay`.

use std::collections::HashSet;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use bento_crashmonkey::ace::Generator;
use bento_crashmonkey::ace::bounds::Profile;
use bento_crashmonkey::check::Examiner;
use bento_crashmonkey::host::{Base, Build, FAULTY, PLAIN, PROV};
use bento_crashmonkey::jlang::Workload;
use bento_crashmonkey::run::execute::listing;
use bento_crashmonkey::run::{Batch, Crashes, Failure, Homing, Limits, Mode, Results, execute};
use clap::Args;

/// Nothing failed, but an enumeration was cut off: that is no pass.
const INCOMPLETE: u8 = 3;

#[derive(Args)]
pub struct Run {
    /// Run the workloads of this profile.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// How many core operations a workload has.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    seq: u8,
    /// Only one of so many workloads.
    #[arg(long, value_name = "S", default_value_t = 1)]
    stride: usize,
    /// At most so many workloads.
    #[arg(long, value_name = "K")]
    limit: Option<usize>,
    /// So many workloads, spread evenly over the set.
    #[arg(long, value_name = "K", conflicts_with_all = ["stride", "limit"])]
    sample: Option<u64>,
    /// Threads; as many as there are cores, unless given.
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
    /// Which crash states.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Checkpoint, Mode::Lazy])]
    states: Vec<Mode>,
    /// An enumeration of more runs than this is cut off.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    cap: u64,
    /// Go on working on one of so many different recovered disks; 0: on none.
    #[arg(long, value_name = "N", default_value_t = 16)]
    work_every: u64,
    /// Stop after so many failures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    max_failures: usize,
    /// Seed this fault into the file system; or run the provenance variant, `prov`.
    #[arg(long, value_name = "FAULT")]
    fault: Option<String>,
    /// Write each failure to a file here, for `replay`.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print results as JSON.
    #[arg(long)]
    json: bool,
    /// Files with a workload each.
    #[arg(value_name = "WORKLOAD")]
    files: Vec<PathBuf>,
}

#[derive(Args)]
pub struct Replay {
    /// What `run --report` or `explore --report` wrote.
    failure: PathBuf,
}

pub fn build(name: Option<&str>) -> Result<&'static Build> {
    match name {
        None | Some("plain") => Ok(&PLAIN),
        Some("prov") => Ok(&PROV),
        Some(name) => FAULTY.iter().find(|build| build.name == name).ok_or_else(|| {
            let all: Vec<&str> = FAULTY.iter().map(|build| build.name).collect();
            anyhow!("there is no fault {name}; there are {}", all.join(", "))
        }),
    }
}

pub fn base(build: &'static Build) -> Result<Base> {
    Base::new(build).map_err(|why| anyhow!("cannot make the volume: {why}"))
}

pub fn jobs(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn read_workload(path: &PathBuf) -> Result<Workload> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| path.display().to_string())
}

fn workloads(args: &Run) -> Result<Vec<Workload>> {
    let mut all: Vec<Workload> = args.files.iter().map(read_workload).collect::<Result<_>>()?;
    if let Some(profile) = args.profile {
        let generator = Generator::new(profile, args.seq.into());
        let generated: Box<dyn Iterator<Item = Workload>> = match args.sample {
            Some(wanted) => {
                let count = generator.count();
                let wanted = wanted.min(count);
                Box::new(
                    (0..wanted)
                        .filter_map(|nth| generator.nth(nth * count / wanted))
                        .collect::<Vec<_>>()
                        .into_iter(),
                )
            }
            None => Box::new(generator.iter().step_by(args.stride.max(1))),
        };
        let mut seen = HashSet::new();
        all.extend(
            generated.filter(|workload| seen.insert(workload.id())).take(args.limit.unwrap_or(usize::MAX)),
        );
    }
    if all.is_empty() {
        bail!("nothing to run: name a profile or files");
    }
    Ok(all)
}

pub fn run(args: &Run) -> Result<ExitCode> {
    let started = Instant::now();
    let base = base(build(args.fault.as_deref())?)?;
    let workloads = workloads(args)?;
    let batch = Batch {
        modes: args.states.clone(),
        homings: vec![Homing::Never, Homing::Always],
        limits: Limits { runs: args.cap, ..Limits::default() },
        work_every: args.work_every,
        jobs: jobs(args.jobs),
        failures: args.max_failures,
    };
    let done = AtomicUsize::new(0);
    let shown = std::io::stderr().is_terminal();
    let progress = |_: usize| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if shown && done.is_multiple_of(64) {
            eprint!("\r{done} of {}", workloads.len());
        }
    };
    let results = batch.run(&base, &workloads, &progress);
    if shown {
        eprint!("\r");
    }
    write_failures(args.report.as_ref(), &results.failures)?;
    print(&results, args.json, started.elapsed().as_secs_f64())?;
    Ok(exit_code(&results))
}

pub fn exit_code(results: &Results) -> ExitCode {
    match (results.failures.len(), results.figures.capped()) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(INCOMPLETE),
        _ => ExitCode::FAILURE,
    }
}

pub fn write_failures(report: Option<&PathBuf>, failures: &[Failure]) -> Result<()> {
    let Some(dir) = report else { return Ok(()) };
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for failure in failures {
        let mode = failure.crash.as_ref().map_or("live", |crash| crash.mode.name());
        let file = dir.join(format!("{}-{mode}.json", failure.id));
        let text = serde_json::to_string_pretty(failure)?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

pub fn print(results: &Results, json: bool, seconds: f64) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let figures = &results.figures;
    if json {
        let all = serde_json::json!({
            "figures": figures, "seconds": seconds, "failures": results.failures,
            "complete": figures.capped() == 0,
        });
        writeln!(stdout, "{all}")?;
        return Ok(());
    }
    for failure in &results.failures {
        print_failure(&mut stdout, failure)?;
    }
    writeln!(stdout, "{:<12} {:>12} {:>12} {:>8}", "states", "instants", "runs", "cut off")?;
    for (mode, counts) in &figures.modes {
        writeln!(stdout, "{mode:<12} {:>12} {:>12} {:>8}", counts.points, counts.runs, counts.capped)?;
    }
    writeln!(
        stdout,
        "{} workloads, {} different disks looked at, {} worked on, {} failures, {seconds:.1} s",
        figures.workloads,
        figures.looked.disks,
        figures.looked.worked_on,
        results.failures.len()
    )?;
    Ok(())
}

fn print_failure(stdout: &mut impl std::io::Write, failure: &Failure) -> Result<()> {
    writeln!(stdout, "FAILED {} ({}, blocks go home: {:?})", failure.id, failure.build, failure.homing)?;
    if let Some(crash) = &failure.crash {
        writeln!(
            stdout,
            "  {}: instant {}, {} log entries, {} events, {} decisions{}",
            crash.mode.name(),
            crash.point,
            crash.entries,
            crash.events,
            crash.decisions.len(),
            if crash.again.is_some() { ", and again during recovery" } else { "" }
        )?;
    }
    writeln!(stdout, "  {}", failure.message)?;
    for line in failure.workload.lines() {
        writeln!(stdout, "    {line}")?;
    }
    Ok(())
}

pub fn replay(args: &Replay) -> Result<ExitCode> {
    let text = fs::read_to_string(&args.failure)
        .with_context(|| format!("cannot read {}", args.failure.display()))?;
    let failure: Failure = serde_json::from_str(&text).with_context(|| args.failure.display().to_string())?;
    let base = base(build(Some(&failure.build))?)?;
    let workload: Workload = failure.workload.parse()?;
    println!("{}", listing(&workload.ops));
    let executed = match execute(&base, &workload, failure.homing) {
        Ok(executed) => executed,
        Err(error) => {
            println!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(crash) = &failure.crash else {
        println!("the running system is right");
        return Ok(ExitCode::SUCCESS);
    };
    executed.history.listing(crash.events).iter().for_each(|line| println!("{line}"));
    println!("-- the power goes; decisions {:?}", crash.decisions);
    let crashes = Crashes { base: &base, executed: &executed, limits: Limits::default() };
    match crashes.repeat(crash, &mut Examiner::new(&base, 1)) {
        Ok(state) => {
            println!("state {state} was recovered, and it is one that may be");
            Ok(ExitCode::SUCCESS)
        }
        Err(finding) => {
            println!("{finding}");
            Ok(ExitCode::FAILURE)
        }
    }
}
