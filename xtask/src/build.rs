//! The workspace as cargo sees it, and the programs it builds.

use crate::setup;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The names that `bento` answers to besides its own.
pub const LINKS: &[&str] = &[
    "mkfs.bento",
    "fsck.bento",
    "mkfs.fuse.bento",
    "fsck.fuse.bento",
    "mount.fuse.bento",
    "umount.fuse.bento",
    "mount.fuseblk.bento",
];

/// The top of the checkout.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Set where this program runs inside a guest: programs are there, nothing can be built.
pub const GUEST_VARIABLE: &str = "BENTO_GUEST";

/// Where a guest has what was built outside for one run.
const GUEST_FILES: &str = "/bento/files";

/// Whether this is a guest, given its programs by the machine around it.
pub fn in_guest() -> bool {
    std::env::var_os(GUEST_VARIABLE).is_some()
}

/// A program that the machine around a guest has given it.
pub fn guest_program(name: &str) -> PathBuf {
    Path::new(GUEST_FILES).join(name)
}

/// Cargo, set up to run at the top of the checkout.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub fn target_dir() -> Result<PathBuf> {
    if in_guest() {
        return Ok(PathBuf::from("/tmp/target"));
    }
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(root().join(dir));
    }
    let output = cargo().args(["metadata", "--no-deps", "--format-version=1"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let dir = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(dir))
}

/// A directory of ours below the target directory, made if needed.
pub fn own_dir(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join("xtask").join(name);
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// Builds one package's program in release mode and returns its path.
///
/// As root under sudo an existing program is taken as it is: the build went before.
pub fn release_program(package: &str, program: &str) -> Result<PathBuf> {
    let path = target_dir()?.join("release").join(program);
    if setup::is_root() && std::env::var_os("SUDO_UID").is_some() && path.is_file() {
        return Ok(path);
    }
    setup::need(&[setup::BUILD])?;
    let output = cargo()
        .args(["build", "--quiet", "--release", "--package", package, "--bin", program])
        .stdin(Stdio::null())
        .output()
        .context("cargo build")?;
    if !output.status.success() {
        bail!("building {program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(path)
}

/// The directory that holds `bento` under all its names.
pub struct Bento {
    dir: PathBuf,
}

impl Bento {
    /// Builds `bento` and links its names beside each other.
    pub fn build() -> Result<Bento> {
        if in_guest() {
            return Ok(Bento { dir: PathBuf::from("/usr/local/bin") });
        }
        let program = release_program("bento-user", "bento")?;
        let dir = own_dir("bin")?;
        for name in std::iter::once(&"bento").chain(LINKS) {
            link(&program, &dir.join(name))?;
        }
        Ok(Bento { dir })
    }

    /// The program under one of its names.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command for the program under one of its names.
    pub fn command(&self, name: &str) -> Command {
        Command::new(self.path(name))
    }
}

/// Points `link` at `target`, replacing what an earlier run left.
pub fn link(target: &Path, link: &Path) -> Result<()> {
    if std::fs::read_link(link).is_ok_and(|there| there == target) {
        return Ok(());
    }
    // Two runs may link at the same time: make it aside, then rename over.
    let aside = link.with_extension(format!("new{}", std::process::id()));
    std::os::unix::fs::symlink(target, &aside).with_context(|| aside.display().to_string())?;
    std::fs::rename(&aside, link).with_context(|| link.display().to_string())
}
