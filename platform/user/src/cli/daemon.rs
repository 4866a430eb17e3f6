//! The daemon: opens the volume, attaches it, serves until it is unmounted, and leaves it clean.
//!
//! # Crash
//! An image is locked, and recovered, before it is attached: what cannot be mounted is never seen. A block device is
//! attached first, because the kernel claims it for the mount from then until it is unmounted: nobody else writes to
//! it in between. Whoever looks into the directory meanwhile waits.
use super::log_output;
use super::mount::Args;
use super::mount_options::Parsed;
use super::utab;
use crate::fuse::mount::{
    Access, Detach, Mount as Attached, MountError, MountOptions, Source, clear_dead, mount,
};
use crate::fuse::{Connection, Errno, InitConfig, Opens, Server, ServerOptions, prime};
use crate::mount_table;
use crate::server::{Bento, SyncLevel};
use crate::session::{self, Purpose, Session};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bento_console::quoted;
use rustix::mount::MountFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// What the daemon says when the mount is usable.
pub(super) const READY: &str = "ready";

/// How far the kernel reads ahead, in KiB.
const READ_AHEAD: u32 = 1024;

/// Serves until unmounted.
pub(super) fn serve(args: &Args, parsed: &Parsed) -> Result<()> {
    // Signals are ours from here on: one that comes while we open must not leave a volume half open.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot catch signals")?;
    let options = options_of(args, parsed)?;
    let dir = &args.dir;
    clear(dir)?;
    ensure!(dir.is_dir(), "cannot mount on {}: not a directory", quoted(&dir));
    let (session, device, attached) = match options.kind {
        Source::Image => attach_image(dir, parsed, &options)?,
        Source::BlockDevice => attach_device(dir, parsed, &options)?,
    };
    tell_what_was_found(&session);
    let attached = Arc::new(attached);
    let served = match signals.pending().next() {
        Some(_) => Err(anyhow!("interrupted")),
        None => {
            if needs_helper(&options) {
                utab::note(Path::new(&options.source), attached.dir());
            }
            // Opens are asked for only if somebody wants to know of them: a request for each open and each close.
            let opens = if parsed.records { Opens::Handled } else { Opens::Stateless };
            let sync = SyncLevel::of(parsed.flags);
            run((args, opens, sync, options.access), &session, device, &attached, signals)
        }
    };
    if served.is_err() {
        let _ = attached.unmount(Detach::Lazily);
    }
    if needs_helper(&options) {
        utab::forget(attached.dir());
    }
    let closed = session.close();
    served?;
    Ok(closed?)
}

/// Takes a dead mount away, with what umount(8) was told of it.
fn clear(dir: &Path) -> Result<()> {
    let place = dir.canonicalize().with_context(|| format!("cannot mount on {}", quoted(&dir)))?;
    let occupied = mount_table::at(&place).is_some_and(|mount| mount.is_bento);
    clear_dead(dir)
        .map_err(std::io::Error::from)
        .with_context(|| format!("cannot mount on {}", quoted(&dir)))?;
    if occupied {
        utab::forget(&place);
    }
    Ok(())
}

/// Whether umount(8) has to be told to call our helper: of a block device it waits for the daemon by itself, and users
/// other than root have no table to tell it by.
fn needs_helper(options: &MountOptions) -> bool {
    options.kind == Source::Image && rustix::process::geteuid().is_root()
}

fn options_of(args: &Args, parsed: &Parsed) -> Result<MountOptions> {
    let source =
        args.source.canonicalize().with_context(|| format!("cannot open {}", quoted(&args.source)))?;
    let options =
        MountOptions::for_path(&source).with_context(|| format!("cannot open {}", quoted(&source)))?;
    // For others than root, letting everybody in takes a line in /etc/fuse.conf.
    let usual = if rustix::process::geteuid().is_root() { Access::Everybody } else { Access::Owner };
    Ok(MountOptions { flags: parsed.flags, access: parsed.access.unwrap_or(usual), ..options })
}

type Parts = (Arc<Session>, OwnedFd, Attached);

fn attach_image(dir: &Path, parsed: &Parsed, options: &MountOptions) -> Result<Parts> {
    let session = Arc::new(Session::open(Path::new(&options.source), &parsed.session)?);
    match mount(dir, options) {
        Ok((device, attached)) => Ok((session, device, attached)),
        Err(why) => {
            session.close()?;
            Err(why.into())
        }
    }
}

fn attach_device(dir: &Path, parsed: &Parsed, options: &MountOptions) -> Result<Parts> {
    let source = Path::new(&options.source);
    session::probe(source, &parsed.session)?;
    let mut session = parsed.session;
    let (device, attached) = match mount(dir, options) {
        // As mount(8) does it.
        Err(MountError::Refused { errno: Errno::ACCESS, .. }) => {
            log::warn!("{} is write-protected; it is mounted read-only", quoted(source));
            session.purpose = Purpose::Read;
            mount(dir, &MountOptions { flags: options.flags | MountFlags::RDONLY, ..options.clone() })?
        }
        mounted => mounted?,
    };
    match Session::open_claimed(source, &session) {
        Ok(session) => Ok((Arc::new(session), device, attached)),
        Err(why) => {
            // Closing the connection ends whoever waits for it; the mount is empty then.
            drop(device);
            let _ = attached.unmount(Detach::Lazily);
            Err(why.into())
        }
    }
}

fn tell_what_was_found(session: &Session) {
    let opened = session.opened();
    if opened.replayed > 0 || opened.orphans > 0 {
        log::info!(
            "{}: recovered {} batches, took away {} files without a name, in {:?}",
            quoted(session.path()),
            opened.replayed,
            opened.orphans,
            opened.took
        );
    }
}

fn run(
    (args, opens, sync, access): (&Args, Opens, SyncLevel, Access),
    session: &Arc<Session>,
    device: OwnedFd,
    attached: &Arc<Attached>,
    signals: Signals,
) -> Result<()> {
    let connection = Connection::handshake(device, &InitConfig::for_access(access))?;
    let options = ServerOptions { opens, ..ServerOptions::default() };
    let handler = Bento::new(session.clone(), opens);
    handler.set_sync(sync);
    let server = Server::start(connection, handler, options).context("cannot start the server")?;
    let ready = prime_from_outside(&args.dir, opens)
        .context("the new mount does not answer")
        .and_then(|()| watch_signals(signals, attached.clone(), session.clone()))
        .and_then(|()| if args.ready { detach_from_terminal() } else { Ok(()) });
    if let Err(why) = attached.set_read_ahead(READ_AHEAD) {
        log::debug!("read-ahead stays as it is: {why}");
    }
    if ready.is_err() {
        let _ = attached.unmount(Detach::Lazily);
    }
    let end = server.wait();
    log::debug!("served to the end: {end}");
    ready
}

/// Arguments of `bento prime`.
#[derive(clap::Args)]
pub(super) struct PrimeArgs {
    /// Opens are the file system's, not the server's alone.
    #[arg(long)]
    handled: bool,
    dir: PathBuf,
}

/// Looks at the mount by a process that does not serve it. A daemon that is killed while it waits for its own answer keeps its
/// connection open, and waits for ever; another process gets an error then.
fn prime_from_outside(dir: &Path, opens: Opens) -> Result<()> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("prime");
    if opens == Opens::Handled {
        command.arg("--handled");
    }
    // Standard output belongs to whoever waits for the mount to be ready.
    let status = command.arg("--").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "the look at it ended with {status}");
    Ok(())
}

/// The other side of [`prime_from_outside`].
pub(super) fn prime_here(args: &PrimeArgs) -> Result<()> {
    let opens = if args.handled { Opens::Handled } else { Opens::Stateless };
    prime::prime(&args.dir, opens).with_context(|| format!("cannot open {}", quoted(&args.dir)))
}

/// Says that the mount is usable, and lets go of the terminal.
fn detach_from_terminal() -> Result<()> {
    let mut output = std::io::stdout();
    if writeln!(output, "{READY}").and_then(|()| output.flush()).is_err() {
        bail!("interrupted: nobody waits for this mount any more");
    }
    let _ = rustix::process::setsid();
    log_output::leave_the_terminal();
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").context("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // No directory is kept from being unmounted by where this was started.
    std::env::set_current_dir("/").context("/")
}

/// SIGINT, SIGTERM and SIGHUP unmount. While the mount is busy the first one makes everything durable, for whoever sends
/// these goes on to SIGKILL; a second one takes the mount out of sight.
fn watch_signals(mut signals: Signals, attached: Arc<Attached>, session: Arc<Session>) -> Result<()> {
    let watch = move || {
        let mut how = Detach::IfIdle;
        for _ in signals.forever() {
            match attached.unmount(how) {
                Ok(()) => return,
                Err(why) => log::warn!("{why}; a second signal detaches it"),
            }
            let mount = session.mount();
            if let Err(why) = mount.syncfs(&mut mount.call()) {
                log::error!("not everything could be made durable: {why:?}");
            }
            how = Detach::Lazily;
        }
    };
    std::thread::Builder::new().name("bento-signals".into()).spawn(watch).context("cannot watch signals")?;
    Ok(())
}
