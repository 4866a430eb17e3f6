//! `bento mount`: reads the arguments, starts the daemon, and waits until it serves.
use super::daemon::{self, READY};
use super::{mount_options, remount};
use anyhow::{Context, Result, anyhow};
use rustix::mount::MountFlags;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// mount(8): incorrect invocation.
pub(super) const USAGE: u8 = 1;
/// mount(8): the mount failed.
const FAILED: u8 = 32;

/// Arguments of `bento mount`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Image file or block device.
    pub(super) source: PathBuf,
    /// Where to mount it.
    pub(super) dir: PathBuf,
    /// Options: ro, noatime, suid, dev, noexec, sync, dirsync, allow_other, private (root alone, faster),
    /// commit=SECONDS (5), cache=SIZE, prov (record who does what), sb=BLOCK (with ro: go by the copy of the superblock in this block); remount, with ro or rw and the like, changes a mount that exists.
    #[arg(short, long = "options", value_name = "OPTIONS")]
    pub(super) options: Vec<String>,
    /// Stay in the foreground.
    #[arg(short, long)]
    foreground: bool,
    /// Say on standard output when the mount is usable, and let go of the terminal.
    #[arg(long, hide = true)]
    pub(super) ready: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    // Set-id bits and device nodes of an image that anybody may have made mean nothing unless asked for.
    let parsed = match mount_options::parse(&args.options, MountFlags::NOSUID | MountFlags::NODEV) {
        Ok(parsed) => parsed,
        Err(why) => {
            bento_console::complain("bento mount", why);
            return ExitCode::from(USAGE);
        }
    };
    let done = match () {
        () if parsed.remount => remount::run(&args.dir, &args.options),
        () if args.foreground => daemon::serve(args, &parsed),
        () => launch(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bento_console::complain("bento mount", format_args!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

/// `mount.fuse.bento SOURCE DIR [-sfnv] [-N namespace] [-o options] [-t type]`, as mount(8) calls it.
pub(super) fn helper(args: &[OsString]) -> ExitCode {
    let usage = || {
        bento_console::complain("usage", "mount.fuse.bento SOURCE DIR [-sfnvrw] [-o OPTIONS] [-t TYPE]");
        ExitCode::from(USAGE)
    };
    let (mut places, mut options, mut fake) = (Vec::new(), Vec::new(), false);
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        match arg.to_string_lossy().as_ref() {
            "-o" => match rest.next() {
                Some(value) => options.push(value.to_string_lossy().into_owned()),
                None => return usage(),
            },
            "-t" | "-N" => drop(rest.next()),
            "-r" => options.push("ro".into()),
            flags if flags.starts_with('-') => fake |= flags.contains('f'),
            _ => places.push(PathBuf::from(arg)),
        }
    }
    let Ok([source, dir]) = <[PathBuf; 2]>::try_from(places) else { return usage() };
    if fake {
        return ExitCode::SUCCESS;
    }
    run(&Args { source, dir, options, foreground: false, ready: false })
}

/// Starts the daemon, and waits until it serves or has said why not.
fn launch(args: &Args) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.arg("mount").arg("--foreground").arg("--ready");
    args.options.iter().for_each(|option| {
        command.arg("-o").arg(option);
    });
    command.arg("--").arg(&args.source).arg(&args.dir);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the daemon")?;
    let said = child.stdout.take().ok_or_else(|| anyhow!("the daemon has no output"))?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line).context("cannot hear the daemon")?;
    if line.trim_end() == READY {
        return Ok(());
    }
    // It has said why on standard error.
    let status = child.wait().context("cannot wait for the daemon")?;
    std::process::exit(status.code().unwrap_or(i32::from(FAILED)))
}
