//! The `fsck.bento` command.
mod arguments;
mod device;
mod output;
mod progress;

use crate::check::is_of_another_version;
use crate::{Note, Options, Outcome, Report, check};
use arguments::{Arguments, Mode};
use bento_api::BlockNo;
use bento_console::{complain, fail, judge, quoted};
use bento_fs::format::Corruption;
use clap::Parser;
use device::{Device, InUse};
use progress::Display;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The name that it goes by in every message, whatever the file is called.
const NAME: &str = "fsck.bento";

/// Bits of the exit status, by fsck(8). Status 1 would say that something was repaired, 2 that the machine must be
/// restarted: a wrong option or a panic may never end with those.
mod exit {
    pub(super) const UNCORRECTED: u8 = 4;
    pub(super) const OPERATIONAL: u8 = 8;
    pub(super) const USAGE: u8 = 16;
    pub(super) const CANCELLED: u8 = 32;
}

/// Runs `fsck.bento` with these arguments, the program's name first. The exit status is that of fsck(8).
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = std::iter::once(NAME.into()).chain(args.skip(1));
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let told = error.print();
            if error.use_stderr() {
                return ExitCode::from(exit::USAGE);
            }
            let told = judge(told).map_err(|why| complain(NAME, why));
            return told.map_or(ExitCode::from(exit::OPERATIONAL), |()| ExitCode::SUCCESS);
        }
    };
    match catch_unwind(AssertUnwindSafe(|| run(&arguments))) {
        Ok(Ok(status)) => ExitCode::from(status),
        Ok(Err(failure)) => {
            fail(NAME, failure, arguments.json);
            ExitCode::from(exit::OPERATIONAL)
        }
        Err(_) => {
            let what = "a bug in the checker, not in the volume; nothing was changed. Please report it";
            fail(NAME, what, arguments.json);
            ExitCode::from(exit::OPERATIONAL)
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, String> {
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&cancelled)).map_err(|error| error.to_string())?;
    }
    let started = Instant::now();
    let (device, in_use) = Device::open(&arguments.device, arguments.mode())?;
    if in_use == InUse::Yes {
        let device = quoted(&arguments.device);
        complain(
            NAME,
            format_args!("{device} is in use; what changes while it is checked looks like a problem"),
        );
    }
    let display = Display::new(arguments)?;
    let hear = |progress| display.update(progress);
    let options = Options {
        superblock: arguments.superblock.map(BlockNo),
        progress: Some(&hear),
        cancelled: Some(&cancelled),
        ..Options::default()
    };
    let report = look(arguments, &device, &options);
    display.end();
    let status = status(arguments, &report);
    let told = print(arguments, &report, status);
    if arguments.timing {
        let (seconds, reads) = (started.elapsed().as_secs_f64(), device.reads());
        complain(NAME, format_args!("{seconds:.2} s, {reads} blocks read"));
    }
    Ok(status | told)
}

/// What helps, if nothing is repaired.
fn advice(arguments: &Arguments, report: &Report) -> String {
    let device = quoted(&arguments.device);
    let copy = report.notes.iter().find_map(|note| match note {
        Note::SuperblockCopy(no) => Some(*no),
        _ => None,
    });
    let lacks = report.totals.contains_key(&Corruption::SuperblockDevice);
    let needs = report.superblock.filter(|_| lacks).map(|superblock| superblock.geometry.blocks_total);
    let other = report.problems.first().is_some_and(|problem| is_of_another_version(problem.code));
    match (report.outcome, needs, copy) {
        (Outcome::NoSuperblock, ..) if other => "another version made this volume: use its tools".into(),
        (Outcome::NoSuperblock, ..) => "there is nothing here to repair".into(),
        (_, Some(blocks), _) => format!(
            "this version repairs nothing; {device} cannot be mounted until it has its {blocks} blocks of 4096 bytes again"
        ),
        (_, None, Some(no)) => format!(
            "this version repairs nothing; `bento mount -o ro,sb={no} {device} DIR` shows what is there, to be saved"
        ),
        (_, None, None) => format!(
            "this version repairs nothing; `bento mount -o ro {device} DIR` shows what is there, to be saved"
        ),
    }
}

/// At boot a volume without a sign of trouble is not read through: the next mount replays its log.
fn look(arguments: &Arguments, device: &Device, options: &Options<'_>) -> Report {
    if arguments.trusts_clean() {
        let report = check(device, &Options { quick: true, ..*options });
        let met_errors = report.notes.iter().any(|note| matches!(note, Note::ErrorsMet(_)));
        if report.outcome == Outcome::Quick && report.is_clean() && !met_errors {
            return report;
        }
    }
    check(device, options)
}

fn status(arguments: &Arguments, report: &Report) -> u8 {
    let problems = match (report.is_clean(), arguments.mode()) {
        (true, _) => 0,
        (false, Mode::Repair) => exit::UNCORRECTED | exit::OPERATIONAL,
        (false, Mode::Look | Mode::LookOnly) => exit::UNCORRECTED,
    };
    let unreadable = if report.unreadable > 0 { exit::OPERATIONAL } else { 0 };
    match report.outcome {
        Outcome::Cancelled => exit::CANCELLED,
        Outcome::NoSuperblock => exit::OPERATIONAL,
        Outcome::Complete | Outcome::Quick | Outcome::GaveUp => problems | unreadable,
    }
}

/// Writes the report; what the exit status gains by it.
fn print(arguments: &Arguments, report: &Report, status: u8) -> u8 {
    let told = bento_console::print(|to| {
        if arguments.json {
            output::json(to, arguments, report, status)
        } else if arguments.list_lost {
            output::lost(to, report)
        } else {
            output::text(to, arguments, report)
        }
    });
    if arguments.mode() == Mode::Repair && !report.is_clean() {
        complain(NAME, advice(arguments, report));
    }
    // A check of which nobody can hear has not been done.
    told.map_or_else(
        |why| {
            complain(NAME, why);
            exit::OPERATIONAL
        },
        |()| 0,
    )
}
