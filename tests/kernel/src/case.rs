//! One case: a sentence that must hold, and the ground that it is tried on.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A sentence, and the code that tries it.
pub struct Case {
    /// The sentence, with underscores.
    pub name: &'static str,
    /// Returns an error that says what came out instead.
    pub run: fn(&Ground) -> Result<()>,
}

/// Cases by the names of their functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// The cases of this part.
        pub const CASES: &[crate::case::Case] =
            &[$(crate::case::Case { name: stringify!($name), run: $name }),*];
    };
}
pub(crate) use cases;

/// An empty directory on the file system under test.
pub struct Ground {
    top: PathBuf,
}

impl Ground {
    /// Makes it.
    pub fn new(top: &Path, number: usize) -> Result<Ground> {
        let top = top.join(format!("case{number}"));
        fs::create_dir(&top).with_context(|| top.display().to_string())?;
        // Cases that act as another user come through here.
        fs::set_permissions(&top, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        Ok(Ground { top })
    }

    /// Removes all that a case left, which must be possible.
    pub fn clear(&self) -> Result<()> {
        fs::remove_dir_all(&self.top).context("removing what the case left")
    }

    /// The directory itself.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// A name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// A new file with some content.
    pub fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("writing {name}"))?;
        Ok(path)
    }

    /// A new directory.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path).with_context(|| format!("mkdir {name}"))?;
        Ok(path)
    }

    /// A new file, open for reading and writing.
    pub fn open_new(&self, name: &str) -> Result<File> {
        open_rw(&self.path(name), OFlags::CREATE | OFlags::EXCL)
    }
}

/// Opens for reading and writing, with further flags.
pub fn open_rw(path: &Path, flags: OFlags) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | flags;
    let opened = rustix::fs::open(path, flags, Mode::from_bits_retain(0o644));
    Ok(opened.with_context(|| format!("opening {}", path.display()))?.into())
}

/// Attributes, links not followed.
pub fn stat(path: &Path) -> Result<Stat> {
    rustix::fs::lstat(path).with_context(|| format!("lstat {}", path.display()))
}

/// Fails unless the two are the same.
pub fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<()> {
    ensure!(found == expected, "{what}: found {found:?}, not {expected:?}");
    Ok(())
}

/// Fails unless a call answered exactly this error.
pub fn refused<T>(what: &str, result: Result<T, Errno>, expected: Errno) -> Result<()> {
    match result {
        Ok(_) => bail!("{what} succeeded, where {expected:?} was due"),
        Err(error) if error == expected => Ok(()),
        Err(error) => bail!("{what}: {error:?}, where {expected:?} was due"),
    }
}

/// The names in a directory, without the two that every one has; fails if one comes twice.
pub fn list(dir: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(names.insert(name.clone()), "{name} is listed twice");
    }
    Ok(names)
}

/// Makes a directory's changes durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    Ok(File::open(dir)?.sync_all()?)
}

/// Drops what the page cache holds of a file, once that is on the disk.
pub fn forget_cached(file: &File) -> Result<()> {
    file.sync_all()?;
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Fails unless the file's whole content is this, read through a new descriptor.
pub fn holds(path: &Path, expected: &[u8]) -> Result<()> {
    let found = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    same_bytes(&path.display().to_string(), &found, expected)
}

/// Fails at the first byte that differs.
pub fn same_bytes(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{what}: {} bytes, not {}", found.len(), expected.len());
    if let Some(at) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
        bail!("{what}: byte {at} is {:#x}, not {:#x}", found[at], expected[at]);
    }
    Ok(())
}

/// Bytes that no layer can take for zeros, others for each seed.
pub fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ seed | 1).collect()
}

/// Reads a range that must lie inside the file.
pub fn read_at(file: &File, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).with_context(|| format!("reading {length} at {offset}"))?;
    Ok(bytes)
}

/// A file opened for appending.
pub fn open_append(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).open(path).with_context(|| path.display().to_string())
}
