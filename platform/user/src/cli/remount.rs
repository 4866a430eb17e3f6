//! `mount -o remount`: changes the flags of a mount that exists. The daemon has no part in it but to say whether it
//! could write, and to make durable what came before a mount becomes read-only.
use super::mount_options::{self, Parsed};
use crate::mount_table;
use crate::server::SyncLevel;
use anyhow::{Context, Result, anyhow, bail, ensure};
use bento_api::control::{STATUS_IOCTL, SYNC_IOCTL, Status};
use bento_console::quoted;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::fs::File;
use std::path::Path;
use zerocopy::FromBytes;

/// Changes the mount at a directory.
pub(super) fn run(dir: &Path, options: &[String]) -> Result<()> {
    let shown = quoted(&dir);
    let place = dir.canonicalize().with_context(|| shown.to_string())?;
    let mount = mount_table::at(&place).filter(|mount| mount.is_bento);
    ensure!(mount.is_some(), "{shown}: no Bento volume is mounted there");
    let dirsync = mount.is_some_and(|mount| mount.is_dirsync);
    let parsed = mount_options::parse(options, flags_of(&place, dirsync)?).map_err(|why| anyhow!(why))?;
    for option in &parsed.fixed {
        log::warn!("{shown}: {option} is for the next mount; this one keeps what it has");
    }
    change(&place, &parsed)
}

fn change(place: &Path, parsed: &Parsed) -> Result<()> {
    let shown = quoted(&place);
    let root = File::open(place).with_context(|| shown.to_string())?;
    let becomes_read_only = parsed.flags.contains(MountFlags::RDONLY);
    if !becomes_read_only {
        ensure!(
            status(&root)?.read_only == 0,
            "{shown}: the volume was opened read-only; unmount it, and mount it again for writing"
        );
    }
    if let Err(errno) = rustix::mount::mount_remount(place, parsed.flags, c"") {
        match errno {
            Errno::BUSY => bail!("{shown}: files are open for writing; `fuser -vm {shown}` shows by whom"),
            Errno::PERM => bail!("{shown}: only root may change a mount"),
            other => bail!("{shown}: {}", std::io::Error::from(other)),
        }
    }
    tell_sync(&root, SyncLevel::of(parsed.flags))?;
    if becomes_read_only {
        root.sync_all()
            .with_context(|| format!("{shown} is read-only now, but not all of it is on the disk"))?;
    }
    Ok(())
}

/// What mount(2) would have to be told to change nothing: a flag that a remount does not repeat is lost.
fn flags_of(place: &Path, dirsync: bool) -> Result<MountFlags> {
    let found = rustix::fs::statvfs(place)
        .map_err(std::io::Error::from)
        .with_context(|| quoted(&place).to_string())?;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::SYNCHRONOUS, MountFlags::SYNCHRONOUS),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let seen = pairs.iter().filter(|(seen, _)| found.f_flag.contains(*seen)).map(|(_, flag)| *flag);
    // statvfs(3) has no bit for it.
    Ok(seen.chain(dirsync.then_some(MountFlags::DIRSYNC)).collect())
}

/// Tells the daemon what the kernel does not tell it.
fn tell_sync(root: &File, sync: SyncLevel) -> Result<()> {
    let mut bytes = [0; 256];
    bytes[..8].copy_from_slice(&sync.number().to_ne_bytes());
    match crate::sys::exchange::<SYNC_IOCTL, 256>(root, &mut bytes) {
        // The host in the kernel obeys the flags by itself.
        Ok(()) | Err(Errno::NOTTY) => Ok(()),
        Err(errno) => Err(std::io::Error::from(errno))
            .context("telling the daemon what has to be durable when answered"),
    }
}

fn status(root: &File) -> Result<Status> {
    let mut bytes = [0; 256];
    crate::sys::exchange::<STATUS_IOCTL, 256>(root, &mut bytes)
        .map_err(std::io::Error::from)
        .context("asking the daemon")?;
    let (status, _) =
        Status::read_from_prefix(&bytes).map_err(|_| anyhow!("the daemon's answer is too short"))?;
    Ok(status)
}
