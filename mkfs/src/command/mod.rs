//! The `mkfs.bento` command.
mod arguments;
pub(crate) mod mounted;
mod report;
pub(crate) mod signature;
mod size;
mod target;

use crate::{Entropy, Options, Plan, make, plan};
use arguments::Arguments;
use bento_api::{BLOCK_BYTES, Disk};
use bento_console::{complain, fail, judge};
use clap::Parser;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};
use target::Target;

/// The name that it goes by in every message, whatever the file is called.
const NAME: &str = "mkfs.bento";

/// What goes wrong, in words that name the thing and the way out.
pub(crate) type Failure = String;

/// Runs `mkfs.bento` with these arguments, the program's name first. Exit status 0: made, or shown with `-n`;
/// 1: anything else, and then the device is as it was, or has no file system.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = std::iter::once(NAME.into()).chain(args.skip(1));
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap's own status for a wrong option is 2; mkfs(8) knows 0 and 1.
            let told = error.print();
            let asked = !error.use_stderr() && judge(told).map_err(|why| complain(NAME, why)).is_ok();
            return if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            fail(NAME, failure, arguments.json);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = options(arguments)?;
    let mut target = Target::look(arguments)?;
    let plan = plan(&options, target.blocks()).map_err(|error| format!("{}: {error}", target.name()))?;
    if arguments.dry_run {
        return report::layout(arguments, &target, &plan);
    }
    let done = write(arguments, &mut target, &plan);
    if done.is_err() {
        target.forget();
    }
    done
}

fn write(arguments: &Arguments, target: &mut Target, plan: &Plan) -> Result<(), Failure> {
    target.open(arguments)?;
    let target = &*target;
    let started = Instant::now();
    let bar = progress(arguments, "discarded", (target.blocks() * BLOCK_BYTES) >> 30);
    let zeroed = target.clear(arguments.discard()?, &|done| bar.set_position(done >> 30));
    bar.finish_and_clear();
    let zeroed = zeroed?;
    let plan = Plan { zero_log: plan.zero_log && !zeroed, ..plan.clone() };
    let bar = progress(arguments, "groups made", plan.superblock.geometry.groups.into());
    let made = make(target, &plan, &mut |done, _| bar.set_position(done.into()));
    bar.finish_and_clear();
    let made = made.map_err(|error| match target.last_error() {
        Some(cause) => format!("{}: {error}: {cause}", target.name()),
        None => format!("{}: {error}", target.name()),
    })?;
    // The file system is there, whoever hears of it: as after mke2fs(8), that is no failure.
    if let Err(why) = report::made(arguments, target, &plan, &made, started.elapsed()) {
        complain(NAME, format_args!("{} is made, but {why}", target.name()));
    }
    Ok(())
}

/// A bar on a terminal, if this will take long enough to look at.
fn progress(arguments: &Arguments, what: &'static str, steps: u64) -> indicatif::ProgressBar {
    if arguments.quiet || arguments.json || steps < 64 || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    indicatif::ProgressBar::new(steps).with_prefix(what).with_style(style())
}

fn style() -> indicatif::ProgressStyle {
    let style = indicatif::ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}");
    style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar())
}

/// What the command line asks for, as the library's options.
fn options(arguments: &Arguments) -> Result<Options, Failure> {
    let epoch = source_date_epoch()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = epoch.unwrap_or(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let mut options = Options::new(time);
    let fixed = arguments.uuid(&mut options.uuid)?;
    if fixed && epoch.is_some() {
        // The same time and UUID make the same image, bit for bit.
        options.entropy = Entropy::from_uuid(options.uuid);
        options.zero_log = true;
    }
    arguments.check_fixed()?;
    options.bytes_per_inode = arguments.bytes_per_inode.unwrap_or(options.bytes_per_inode);
    options.inodes = arguments.inodes;
    options.log_blocks = arguments.log_bytes()?.map(|bytes| bytes / BLOCK_BYTES);
    options.blocks_per_group = arguments.blocks_per_group;
    options.reserved_percent = arguments.reserved_percent;
    options.label = arguments.label.clone().unwrap_or_default().into_bytes();
    options.compat = arguments.features()?;
    options.errors = arguments.errors.into();
    arguments.extended(&mut options)?;
    options.blocks = arguments.size()?.map(|bytes| bytes / BLOCK_BYTES);
    Ok(options)
}

fn source_date_epoch() -> Result<Option<i64>, Failure> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.map(Some).ok_or("SOURCE_DATE_EPOCH is not a number of seconds; unset it or correct it".into())
}
