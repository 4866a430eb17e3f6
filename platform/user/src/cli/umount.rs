//! `umount.fuse.bento`: unmounts, and returns when the volume is clean.
use super::utab;
use crate::device::{Access, FileDevice, OpenError};
use crate::fuse::mount::{Detach, unmount_at};
use crate::mount_table::{self, Mounted};
use bento_console::quoted;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// umount(8): incorrect invocation.
const USAGE: u8 = 1;
/// umount(8): the unmount failed.
const FAILED: u8 = 32;
/// How long a daemon may take to write everything home.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long to wait before saying why.
const SILENCE: Duration = Duration::from_secs(1);

/// Arguments of `bento umount`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The mount point, or the image or the device that is mounted.
    dir: PathBuf,
    /// Detach it now, and clean up when its last user is gone.
    #[arg(short, long)]
    lazy: bool,
    /// Do not wait for a daemon that hangs.
    #[arg(short, long, conflicts_with = "lazy")]
    force: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let place = mount_of(&args.dir).map(|mount| mount.dir);
    let done = run_helper(args);
    if let (true, Ok(place)) = (rustix::process::geteuid().is_root(), place) {
        utab::forget(&place);
    }
    done
}

fn run_helper(args: &Args) -> ExitCode {
    let how = match (args.lazy, args.force) {
        (true, _) => Detach::Lazily,
        (false, true) => Detach::Forcibly,
        (false, false) => Detach::IfIdle,
    };
    match unmount(&args.dir, how) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            bento_console::complain("bento umount", why);
            ExitCode::from(FAILED)
        }
    }
}

/// `umount.fuse.bento DIR [-flnrv] [-N namespace] [-t type]`, as umount(8) calls it.
pub(super) fn helper(args: &[OsString]) -> ExitCode {
    let (mut places, mut lazy, mut force) = (Vec::new(), false, false);
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        match arg.as_bytes() {
            b"-N" | b"-t" => drop(rest.next()),
            [b'-', flags @ ..] => {
                lazy |= flags.contains(&b'l');
                force |= flags.contains(&b'f');
            }
            _ => places.push(PathBuf::from(arg)),
        }
    }
    let Ok([dir]) = <[PathBuf; 1]>::try_from(places) else {
        bento_console::complain("usage", "umount.fuse.bento DIR [-flnrv]");
        return ExitCode::from(USAGE);
    };
    // umount(8) keeps its table itself.
    run_helper(&Args { dir, lazy, force })
}

/// The mount at a directory, or of an image or a device.
fn mount_of(what: &Path) -> Result<Mounted, String> {
    let place = what.canonicalize().map_err(|error| format!("{}: {error}", quoted(what)))?;
    let mount = mount_table::at(&place).filter(|mount| mount.is_bento);
    if mount.is_none() && !place.is_dir() {
        let mut mounts =
            mount_table::all().into_iter().filter(|mount| mount.is_bento && mount.source == place);
        let mount = mounts.next().ok_or_else(|| format!("{}: is not mounted", quoted(what)))?;
        return match mounts.next() {
            Some(_) => Err(format!("{}: is mounted in several places: name one of them", quoted(what))),
            None => Ok(mount),
        };
    }
    mount.ok_or_else(|| format!("{}: no Bento volume is mounted there", quoted(what)))
}

fn unmount(dir: &Path, how: Detach) -> Result<(), String> {
    let mount = mount_of(dir)?;
    unmount_at(&mount.dir, how).map_err(|why| why.to_string())?;
    if how == Detach::IfIdle { wait_until_free(&mount) } else { Ok(()) }
}

/// Waits until the daemon has let go of the image: it locks it for as long as it lives. umount(2) of a block device has
/// waited for the daemon already. Who has the mount in a namespace of his own keeps the daemon alive.
fn wait_until_free(mount: &Mounted) -> Result<(), String> {
    let (source, begun) = (&mount.source, Instant::now());
    let mut look_elsewhere = true;
    while matches!(FileDevice::open(source, Access::ReadOnly), Err(OpenError::InUse { .. })) {
        if mount_table::of_source(source).is_some() {
            return Ok(()); // mounted again by somebody: the lock is theirs
        }
        if begun.elapsed() > PATIENCE {
            let why = held_elsewhere(mount).unwrap_or("unmounted, but the daemon still writes".to_owned());
            return Err(format!("{}: {why}", quoted(source)));
        }
        if look_elsewhere && begun.elapsed() > SILENCE {
            look_elsewhere = false;
            if let Some(why) = held_elsewhere(mount) {
                bento_console::complain("bento umount", format!("{}: {why}; waiting", quoted(source)));
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn held_elsewhere(mount: &Mounted) -> Option<String> {
    let (process, name) = mount_table::elsewhere(&mount.device)?;
    let name = quoted(&name);
    Some(format!("unmounted here, but process {process} ({name}) has it in a mount namespace of its own"))
}
