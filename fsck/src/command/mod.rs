//! The `fsck.bento` command.
mod arguments;
mod device;
mod output;
mod progress;

use crate::{Note, Options, Outcome, Report, check};
use arguments::{Arguments, Mode};
use bento_api::BlockNo;
use clap::Parser;
use device::{Device, InUse};
use progress::Display;
use std::ffi::OsString;
use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

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
    // The name that it goes by in every message, whatever the file is called.
    let args = std::iter::once("fsck.bento".into()).chain(args.skip(1));
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) };
        }
    };
    match catch_unwind(AssertUnwindSafe(|| run(&arguments))) {
        Ok(Ok(status)) => ExitCode::from(status),
        Ok(Err(failure)) => {
            eprintln!("fsck.bento: {failure}");
            ExitCode::from(exit::OPERATIONAL)
        }
        Err(_) => {
            eprintln!(
                "fsck.bento: a bug in the checker, not in the volume; nothing was changed. Please report it"
            );
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
        eprintln!(
            "fsck.bento: {} is in use; what changes while it is checked looks like a problem",
            arguments.device.display()
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
    print(arguments, &report, status);
    if arguments.timing {
        let (seconds, reads) = (started.elapsed().as_secs_f64(), device.reads());
        eprintln!("fsck.bento: {seconds:.2} s, {reads} blocks read");
    }
    Ok(status)
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

fn print(arguments: &Arguments, report: &Report, status: u8) {
    let mut page = Vec::new();
    let written = if arguments.json {
        output::json(&mut page, arguments, report, status)
    } else if arguments.list_lost {
        output::lost(&mut page, report)
    } else {
        output::text(&mut page, arguments, report)
    };
    // Whoever closes the pipe early has read enough; the status says the rest.
    let _ = written.and_then(|()| stdout().write_all(&page));
    if arguments.mode() == Mode::Repair && !report.is_clean() {
        eprintln!(
            "fsck.bento: this version repairs nothing; mount {} read-only to save what is there",
            arguments.device.display()
        );
    }
}
