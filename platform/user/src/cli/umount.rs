//! `umount.fuse.bento`: unmounts, and returns when the volume is clean.
use crate::device::{Access, FileDevice, OpenError};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a daemon may take to write everything home.
const PATIENCE: Duration = Duration::from_secs(300);

/// Arguments of `bento umount`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The mount point.
    dir: PathBuf,
    /// Detach it now, and clean up when its last user is gone.
    #[arg(short, long)]
    lazy: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    match unmount(&args.dir, args.lazy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bento umount: {}: {why}", args.dir.display());
            ExitCode::from(32)
        }
    }
}

/// `umount.fuse.bento DIR [-flnrv]`, as umount(8) calls it.
pub(super) fn helper(args: &[OsString]) -> ExitCode {
    let (flags, places): (Vec<_>, Vec<_>) = args.iter().skip(1).partition(|arg| arg.as_bytes().starts_with(b"-"));
    let [dir] = places.as_slice() else {
        eprintln!("usage: umount.fuse.bento DIR [-flnrv]");
        return ExitCode::from(1);
    };
    run(&Args { dir: PathBuf::from(dir), lazy: flags.iter().any(|flag| flag.as_bytes().contains(&b'l')) })
}

fn unmount(dir: &Path, lazy: bool) -> Result<(), String> {
    let dir = dir.canonicalize().map_err(|error| error.to_string())?;
    let source = source_of(&dir).ok_or("no Bento volume is mounted there")?;
    let flags = if lazy { rustix::mount::UnmountFlags::DETACH } else { rustix::mount::UnmountFlags::empty() };
    rustix::mount::unmount(&dir, flags).map_err(|errno| match errno {
        rustix::io::Errno::BUSY => format!("it is in use; `fuser -vm {}` shows by whom", dir.display()),
        other => std::io::Error::from(other).to_string(),
    })?;
    if lazy { Ok(()) } else { wait_until_free(&source) }
}

/// Waits until the daemon has let go of the image: it locks it for as long as it lives.
fn wait_until_free(source: &Path) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match FileDevice::open(source, Access::ReadOnly) {
            Err(OpenError::InUse { .. }) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(OpenError::InUse { .. }) => return Err("unmounted, but the daemon still writes".into()),
            _ => return Ok(()),
        }
    }
}

/// The image or device of the newest mount at a directory, if that is ours.
pub(super) fn source_of(dir: &Path) -> Option<PathBuf> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let mut found = None;
    for line in table.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == b"-") else { continue };
        let (Some(place), Some(kind), Some(source)) = (fields.get(4), fields.get(dash + 1), fields.get(dash + 2)) else {
            continue;
        };
        if unescape(place) == dir.as_os_str().as_bytes() {
            let ours = matches!(*kind, b"fuse.bento" | b"fuseblk.bento");
            found = ours.then(|| PathBuf::from(OsString::from_vec(unescape(source))));
        }
    }
    found
}

/// Undoes the octal escapes of the mount table.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().filter(|digits| digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match digits {
            Some(digits) if *first == b'\\' => {
                plain.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_the_mount_table_are_undone() {
        assert_eq!(unescape(b"/a\\040b\\134c"), b"/a b\\c");
        assert_eq!(unescape(b"\\04"), b"\\04");
    }
}
