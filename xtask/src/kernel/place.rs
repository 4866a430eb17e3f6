//! Where things lie: the cache that every checkout shares, and this checkout's own build tree.

use crate::build;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The directories that the kernel commands work in.
pub struct Places {
    /// The top of the checkout.
    pub repo: PathBuf,
    /// What was fetched or takes minutes to make: the tool box, kernels, user-mode Linux.
    pub cache: PathBuf,
    /// What is built from this checkout.
    pub build: PathBuf,
}

impl Places {
    /// Finds the places and makes those that are missing.
    ///
    /// The cache is `$BENTO_CACHE`, else `bento` in `$XDG_CACHE_HOME` or `~/.cache`, else `.cache` in the checkout.
    pub fn find() -> Result<Places> {
        let repo = build::root();
        let below = |base: &str, path: &str| std::env::var_os(base).map(|dir| PathBuf::from(dir).join(path));
        let cache = below("BENTO_CACHE", "")
            .or_else(|| below("XDG_CACHE_HOME", "bento"))
            .or_else(|| below("HOME", ".cache/bento"))
            .unwrap_or_else(|| repo.join(".cache"));
        let build = build::target_dir()?.join("kernel");
        for dir in [&cache, &build] {
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        // The same names must hold inside the tool box, where a link may lead nowhere.
        Ok(Places { repo: repo.canonicalize()?, cache: cache.canonicalize()?, build: build.canonicalize()? })
    }

    /// Keeps other runs of this command, in any checkout, from making `name` in the cache meanwhile.
    pub fn lock_cache(&self, name: &str) -> Result<Lock> {
        Lock::take(&self.cache.join(format!("{name}.lock")))
    }

    /// Keeps other runs from building `name` in this checkout meanwhile.
    pub fn lock_build(&self, name: &str) -> Result<Lock> {
        Lock::take(&self.build.join(format!("{name}.lock")))
    }
}

/// An exclusive lock on a name, given back when dropped.
pub struct Lock {
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> Result<Lock> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        file.lock().with_context(|| format!("locking {}", path.display()))?;
        Ok(Lock { _file: file })
    }
}

/// Writes a file only if that changes it, so that make sees what really changed.
pub fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// Copies the files of one directory to another, touching only those that differ.
pub fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            write_if_changed(&to.join(entry.file_name()), &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
