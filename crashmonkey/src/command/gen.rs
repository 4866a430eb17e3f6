//! `crashmonkey gen`: workloads, their number, their fingerprint.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bento_api::Time;
use bento_crashmonkey::ace::bounds::Profile;
use bento_crashmonkey::ace::{Fingerprint, Generator};
use bento_crashmonkey::oracle::{Event, History, Model};
use clap::Args;

#[derive(Args)]
pub struct Gen {
    /// The bounds.
    #[arg(long, value_enum)]
    profile: Profile,
    /// How many core operations a workload has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    seq: u8,
    /// Print how many there are.
    #[arg(long)]
    count: bool,
    /// Generate all, and print how many are different and the sum of their hashes.
    #[arg(long)]
    fingerprint: bool,
    /// Run every different one in the model, and print which operations fail there, and how.
    #[arg(long)]
    validate: bool,
    /// Print one.
    #[arg(long, value_name = "I", conflicts_with_all = ["count", "fingerprint", "out"])]
    nth: Option<u64>,
    /// Write each different workload to a file named by its identity.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub fn generate(args: &Gen) -> Result<()> {
    let generator = Generator::new(args.profile, args.seq.into());
    let mut stdout = io::stdout().lock();
    if let Some(index) = args.nth {
        let Some(workload) = generator.nth(index) else {
            bail!("the set has {} workloads, counted from 0", generator.count());
        };
        writeln!(stdout, "{workload}")?;
        return Ok(());
    }
    if let Some(dir) = &args.out {
        return write_files(&generator, dir);
    }
    if args.validate {
        return validate(&generator, args.json);
    }
    if args.fingerprint {
        let print = Fingerprint::of(&generator);
        if args.json {
            let figures = serde_json::json!({
                "profile": args.profile.name(), "seq": args.seq, "raw": print.raw,
                "distinct": print.distinct, "sum_fnv1a64": format!("{:016x}", print.sum),
            });
            writeln!(stdout, "{figures}")?;
        } else {
            let Fingerprint { raw, distinct, sum } = print;
            writeln!(stdout, "raw {raw}  distinct {distinct}  sum-fnv1a64 {sum:016x}")?;
        }
    } else if args.count {
        let count = generator.count();
        if args.json {
            let figures = serde_json::json!({
                "profile": args.profile.name(), "seq": args.seq, "raw": count,
            });
            writeln!(stdout, "{figures}")?;
        } else {
            writeln!(stdout, "{count}")?;
        }
    } else {
        for (index, workload) in generator.iter().enumerate() {
            writeln!(stdout, "# {index} {:016x}\n{workload}\n", workload.id())?;
        }
    }
    Ok(())
}

/// Counts the workloads that fail in the model, by the first operation that does.
fn validate(generator: &Generator, json: bool) -> Result<()> {
    let start = Time::new(1_000_000_000, 0);
    let mut seen = HashSet::new();
    let mut failures: BTreeMap<String, u64> = BTreeMap::new();
    for workload in generator.iter().filter(|workload| seen.insert(workload.id())) {
        let history = History::predicted(Model::new(0o755, start), &workload.ops, start);
        let failed = history.events.iter().find_map(|event| match event {
            Event::End(op, Err(errno)) => Some((history.issued(*op)?.op.to_string(), *errno)),
            _ => None,
        });
        if let Some((line, errno)) = failed {
            let operation = line.split(' ').next().unwrap_or_default();
            *failures.entry(format!("{operation}: {errno}")).or_default() += 1;
        }
    }
    let invalid: u64 = failures.values().sum();
    let mut stdout = io::stdout().lock();
    if json {
        let figures = serde_json::json!({
            "distinct": seen.len(), "invalid": invalid, "first_failures": failures,
        });
        writeln!(stdout, "{figures}")?;
    } else {
        writeln!(stdout, "distinct {}  invalid {invalid}", seen.len())?;
        for (what, count) in &failures {
            writeln!(stdout, "{count:>8}  {what}")?;
        }
    }
    Ok(())
}

fn write_files(generator: &Generator, dir: &std::path::Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    for workload in generator.iter() {
        let file = dir.join(format!("{:016x}.jl", workload.id()));
        fs::write(&file, format!("{workload}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
