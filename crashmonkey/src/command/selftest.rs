//! `crashmonkey selftest`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use bento_crashmonkey::selftest::{Caught, Effort, selftest as run};
use clap::Args;

#[derive(Args)]
pub struct Selftest {
    /// Seeds of streams that meet.
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,
    /// A bug that one way has caught is not looked for in other ways.
    #[arg(long)]
    quick: bool,
    /// Print results as JSON.
    #[arg(long)]
    json: bool,
}

pub fn selftest(args: &Selftest) -> Result<ExitCode> {
    let effort = Effort { seeds: args.seeds, every_way: !args.quick };
    let verdict = run(effort).map_err(|why| anyhow!("cannot make the volume: {why}"))?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string(&verdict)?)?;
    } else {
        let all =
            verdict.seeded_bugs.iter().chain(&verdict.lying_drives).chain([&verdict.plain, &verdict.prov]);
        for Caught { name, caught_by, first } in all {
            let ways = if caught_by.is_empty() { "nothing".to_owned() } else { caught_by.join(", ") };
            writeln!(stdout, "{name:<20} caught by {ways}")?;
            if let Some(first) = first {
                let short: String = first.chars().take(160).collect();
                writeln!(stdout, "{:<20} {short}", "")?;
            }
        }
    }
    Ok(if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
