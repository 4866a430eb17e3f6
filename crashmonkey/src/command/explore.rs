//! `crashmonkey explore`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use bento_crashmonkey::explore::{Failure, Figures, explore as explore_seed};
use bento_crashmonkey::run::{Limits, Mode};
use clap::Args;

use super::run::{base, build, jobs};

#[derive(Args)]
pub struct Explore {
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// Threads; as many as there are cores, unless given.
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
    /// Which crash states.
    #[arg(long, value_enum, default_value_t = Mode::Lazy)]
    states: Mode,
    /// An enumeration of more runs than this is cut off.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    cap: u64,
    /// Stop after so many failures.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_failures: usize,
    /// Seed this fault into the file system.
    #[arg(long, value_name = "FAULT")]
    fault: Option<String>,
    /// Print results as JSON.
    #[arg(long)]
    json: bool,
}

pub fn explore(args: &Explore) -> Result<ExitCode> {
    let started = Instant::now();
    let base = base(build(args.fault.as_deref())?)?;
    let limits = Limits { runs: args.cap, ..Limits::default() };
    let next = AtomicU64::new(args.seed);
    let collected = Mutex::new((Figures::default(), Vec::<Failure>::new()));
    let end = args.seed.saturating_add(args.seeds);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let full = collected.lock().unwrap_or_else(PoisonError::into_inner).1.len() >= args.max_failures;
            if seed >= end || full {
                return;
            }
            let mut figures = Figures::default();
            let done = explore_seed(&base, seed, args.states, limits, &mut figures);
            let mut all = collected.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.add(&figures);
            all.1.extend(done.err().map(|failure| *failure));
        }
    };
    std::thread::scope(|scope| {
        (1..jobs(args.jobs)).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let (figures, mut failures) = collected.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    print(&figures, &failures, args.json, started.elapsed().as_secs_f64())?;
    Ok(match (failures.len(), figures.crashes.capped) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    })
}

fn print(figures: &Figures, failures: &[Failure], json: bool, seconds: f64) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    if json {
        let all = serde_json::json!({ "figures": figures, "failures": failures, "seconds": seconds });
        writeln!(stdout, "{all}")?;
        return Ok(());
    }
    for failure in failures {
        writeln!(stdout, "FAILED seed {}", failure.seed)?;
        if let Some(crash) = &failure.crash {
            writeln!(
                stdout,
                "  instant {}, {} events, decisions {:?}",
                crash.point, crash.events, crash.decisions
            )?;
        }
        writeln!(stdout, "  {}\n{}", failure.message, failure.program)?;
        failure.events.iter().try_for_each(|line| writeln!(stdout, "  {line}"))?;
    }
    let Figures { seeds, operations, switches, joins, upgrades, crashes, disks } = figures;
    writeln!(
        stdout,
        "{seeds} seeds, {operations} operations, {joins} joins, {switches} switches, {upgrades} upgrades, \
         {} instants, {} runs, {} cut off, {disks} different disks, {} failures, {seconds:.1} s",
        crashes.points,
        crashes.runs,
        crashes.capped,
        failures.len()
    )?;
    Ok(())
}
