//! Directories for images and mounts that are gone when the run is, also when it is interrupted.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once, PoisonError};

static PLACES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// A directory of its own, removed at the end.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// Makes one below `parent`.
    pub fn new(prefix: &str, parent: &Path) -> Result<Scratch> {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
        let dir = dir.with_context(|| parent.display().to_string())?;
        remember(dir.path())?;
        Ok(Scratch { dir })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The temporary directory removes its own files; a mount left there would lose its content too.
        unmount_below(self.dir.path());
    }
}

/// A symbolic link, removed at the end.
pub struct PassingLink {
    path: PathBuf,
}

impl PassingLink {
    /// Makes `path` point to `target`; none if something that works is there already.
    pub fn new(target: &Path, path: &Path) -> Result<Option<PassingLink>> {
        // One that a killed run left counts as ours.
        let ours = std::fs::read_link(path).is_ok_and(|there| there == target);
        if path.exists() && !ours {
            return Ok(None);
        }
        remember(path)?;
        crate::build::link(target, path)?;
        Ok(Some(PassingLink { path: path.to_path_buf() }))
    }
}

impl Drop for PassingLink {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Notes what is to be gone when the program ends by a signal.
fn remember(path: &Path) -> Result<()> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_path_buf());
    let mut watched = Ok(());
    WATCH.call_once(|| watched = watch());
    watched
}

/// On a signal that ends the program: unmount, remove, end.
fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for place in PLACES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                unmount_below(place);
                // What cannot be removed now is no reason not to end. Of a link this removes the link alone.
                let _ = std::fs::remove_dir_all(place);
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Takes away, newest first, what is mounted below `place`.
fn unmount_below(place: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let ours: Vec<&Path> = points.filter(|point| point.starts_with(place)).collect();
    for point in ours.iter().rev() {
        let _ = Command::new("umount").arg("-l").arg(point).status();
    }
}
