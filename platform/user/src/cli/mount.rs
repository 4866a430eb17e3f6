//! `bento mount`: a daemon that serves one volume.
use super::mount_options::{self, Parsed};
use crate::fuse::mount::{Detach, Mount as Attached, mount};
use crate::fuse::{Connection, InitConfig, Server, ServerOptions, prime};
use crate::server::Bento;
use crate::session::Session;
use anyhow::{Context, Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

/// mount(8): incorrect invocation.
const USAGE: u8 = 1;
/// mount(8): the mount failed.
const FAILED: u8 = 32;
/// What the daemon says when the mount is usable.
const READY: &str = "ready";

/// Arguments of `bento mount`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Image file or block device.
    source: PathBuf,
    /// Where to mount it.
    dir: PathBuf,
    /// Options: ro, noatime, suid, dev, noexec, sync, dirsync, private (root alone, faster), commit=SECONDS (5),
    /// cache=SIZE.
    #[arg(short, long = "options", value_name = "OPTIONS")]
    options: Vec<String>,
    /// Stay in the foreground.
    #[arg(short, long)]
    foreground: bool,
    /// Say on standard output when the mount is usable.
    #[arg(long, hide = true)]
    ready: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let parsed = match mount_options::parse(&args.source, &args.options) {
        Ok(parsed) => parsed,
        Err(why) => {
            eprintln!("bento mount: {why}");
            return ExitCode::from(USAGE);
        }
    };
    let done = if args.foreground { serve(args, &parsed) } else { launch(args) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bento mount: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// `mount.fuse.bento SRC DIR [-sfnv] [-N namespace] [-o options] [-t type]`, as mount(8) calls it.
pub(super) fn helper(args: &[OsString]) -> ExitCode {
    let usage = || {
        eprintln!("usage: mount.fuse.bento SOURCE DIR [-sfnv] [-o OPTIONS] [-t TYPE]");
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
    let [source, dir] = places.as_slice() else { return usage() };
    if fake {
        return ExitCode::SUCCESS;
    }
    run(&Args { source: source.clone(), dir: dir.clone(), options, foreground: false, ready: false })
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
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the daemon")?;
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

/// Serves until unmounted.
fn serve(args: &Args, parsed: &Parsed) -> Result<()> {
    if args.ready {
        let _ = rustix::process::setsid();
    }
    // Signals are ours from here on: one that comes while we open must not leave a volume half open.
    let signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    let session = Arc::new(Session::open(&args.source, &parsed.session)?);
    let served = attach_and_serve(args, parsed, &session, signals);
    let closed = session.close();
    served?;
    closed?;
    Ok(())
}

fn attach_and_serve(args: &Args, parsed: &Parsed, session: &Arc<Session>, signals: Signals) -> Result<()> {
    let opened = session.opened();
    if opened.replayed > 0 || opened.orphans > 0 {
        log::info!(
            "{}: recovered {} batches, took away {} files without a name, in {:?}",
            args.source.display(),
            opened.replayed,
            opened.orphans,
            opened.took
        );
    }
    let (device, attached) = mount(&args.dir, &parsed.mount)?;
    let attached = Arc::new(attached);
    let connection = Connection::handshake(device, &InitConfig::default())?;
    let handler = Bento::new(session.clone());
    let server = Server::start(connection, handler, ServerOptions::default()).context("cannot start the server")?;
    prime::prime(&args.dir).context("the new mount does not answer")?;
    if let Err(why) = attached.set_read_ahead(1024) {
        log::debug!("read-ahead stays as it is: {why}");
    }
    watch_signals(signals, attached.clone(), &args.dir)?;
    if args.ready {
        detach_from_terminal()?;
    }
    let end = server.wait();
    log::debug!("served to the end: {end}");
    Ok(())
}

/// Says that the mount is usable, and lets go of the terminal.
fn detach_from_terminal() -> Result<()> {
    println!("{READY}");
    std::io::stdout().flush().context("cannot tell that the mount is ready")?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").context("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// SIGINT and SIGTERM unmount; a second one while the mount is busy takes it out of sight.
fn watch_signals(mut signals: Signals, attached: Arc<Attached>, dir: &Path) -> Result<()> {
    let dir = dir.to_owned();
    let watch = move || {
        let mut how = Detach::IfIdle;
        for _ in signals.forever() {
            match attached.unmount(how) {
                Ok(()) => return,
                Err(why) => eprintln!("bento mount: {}: {why}; a second signal detaches it", dir.display()),
            }
            how = Detach::Lazily;
        }
    };
    std::thread::Builder::new().name("bento-signals".into()).spawn(watch).context("cannot watch signals")?;
    Ok(())
}
