//! The command line.
//!
//! One program with several names: which command it is depends on the name by which it is called, as the tools of other
//! file systems do (`fsck.fuse.bento` is `fsck.bento`). Exit statuses are those of each command's manual: fsck(8) for fsck,
//! mount(8) for mount and unmount, 1 for the rest (2 for wrong usage).
mod daemon;
mod dump;
mod info;
mod log_output;
mod mount;
mod mount_options;
mod prov;
mod remount;
mod umount;
mod upgrade;
mod utab;

use clap::{Parser, Subcommand};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// The Bento file system.
#[derive(Parser)]
#[command(name = "bento", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mount an image or a device.
    Mount(mount::Args),
    /// Unmount, and wait until the volume is clean.
    Umount(umount::Args),
    /// Replace the file system's code under a mount.
    Upgrade(upgrade::Args),
    /// Show superblock, features, usage and journal.
    Info(info::Args),
    /// Show an inode, a directory or a block.
    Dump(dump::Args),
    /// Ask who did what to a file (provenance).
    Prov(prov::Args),
    /// Look at a new mount for its daemon.
    #[command(hide = true)]
    Prime(daemon::PrimeArgs),
    /// Make a volume (also called mkfs.bento).
    #[command(disable_help_flag = true)]
    Mkfs {
        /// Its own arguments: see `bento mkfs --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Check a volume (also called fsck.bento).
    #[command(disable_help_flag = true)]
    Fsck {
        /// Its own arguments: see `bento fsck --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Runs what the arguments ask for; the first one is the name that the program was called by.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let called = args.first().map(OsString::as_os_str).unwrap_or(OsStr::new("bento"));
    let name = Path::new(called).file_name().unwrap_or(called).to_string_lossy().into_owned();
    match name.as_str() {
        "mkfs.bento" | "mkfs.fuse.bento" => return bento_mkfs::main(args.into_iter()),
        "fsck.bento" | "fsck.fuse.bento" => return bento_fsck::main(args.into_iter()),
        _ => log_output::init(),
    }
    match name.as_str() {
        "mount.fuse.bento" | "mount.fuseblk.bento" | "mount.bento" => mount::helper(&args),
        "umount.fuse.bento" | "umount.fuseblk.bento" | "umount.bento" => umount::helper(&args),
        _ => command(args),
    }
}

fn command(args: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&args, &error),
    };
    let json = cli.command.asks_for_json();
    let result = match cli.command {
        Command::Mount(args) => return mount::run(&args),
        Command::Umount(args) => return umount::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Prov(args) => prov::run(&args),
        Command::Prime(args) => daemon::prime_here(&args),
        Command::Mkfs { args } => return bento_mkfs::main(named("mkfs.bento", args)),
        Command::Fsck { args } => return bento_fsck::main(named("fsck.bento", args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bento_console::fail("bento", format_args!("{error:#}"), json);
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn asks_for_json(&self) -> bool {
        match self {
            Self::Upgrade(args) => args.json,
            Self::Info(args) => args.json,
            Self::Dump(args) => args.json,
            Self::Prov(args) => args.json,
            _ => false,
        }
    }
}

/// What clap has to say: help, which was asked for, or what is wrong with the arguments.
fn usage(args: &[OsString], error: &clap::Error) -> ExitCode {
    let told = error.print();
    if !error.use_stderr() {
        return match bento_console::judge(told) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                bento_console::complain("bento", why);
                ExitCode::FAILURE
            }
        };
    }
    // clap's own status is 2, which mount(8) has for an error of the system.
    let is_mount = args.get(1).is_some_and(|command| command == "mount" || command == "umount");
    ExitCode::from(if is_mount { mount::USAGE } else { 2 })
}

fn named(name: &str, args: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(name)).chain(args)
}
