//! The tool box: a small Debian of its own, with the compilers and the QEMU that all our kernels take.
//!
//! The kernels' own build tools need a newer C library than the oldest supported Debian has, and each kernel
//! wants a compiler of its time. One directory with trixie's packages serves them all, whatever the machine
//! runs. Commands enter it in a mount namespace of their own, so nothing stays mounted behind them.

use super::apt::Mirror;
use super::place::Places;
use super::process::{run, step};
use crate::setup;
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SUITE: &str = "trixie";

/// Its packages; kernels built by a newer compiler than these are built with the newest of them.
const PACKAGES: &[&str] = &[
    "gcc-12",
    "gcc-14",
    "make",
    "libc6-dev",
    "libelf-dev",
    "libssl-dev",
    "flex",
    "bison",
    "bc",
    "perl",
    "kmod",
    "e2fsprogs",
    "busybox-static",
    "lz4",
    "xz-utils",
    "zstd",
    "qemu-system-x86",
    "seabios",
];

/// Binds each directory named before `--` at its own name below the first argument, then enters that.
const ENTER: &str = r#"set -e
root=$1
cwd=$2
shift 2
for system in /proc /dev; do
    mount --rbind "$system" "$root$system"
done
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    shift
done
shift
exec chroot "$root" /usr/bin/env -C "$cwd" PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
"#;

/// The tool box, ready for use.
pub struct Toolbox {
    root: PathBuf,
    binds: Vec<PathBuf>,
}

impl Toolbox {
    /// Opens the tool box; the first time, and when its list of packages has changed, makes it (a minute).
    pub fn open(places: &Places) -> Result<Toolbox> {
        let root = places.cache.join("box");
        let stamp = root.join(".bento-packages");
        let wanted = format!("{SUITE} {}\n", PACKAGES.join(" "));
        let _lock = places.lock_cache("box")?;
        if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
            step("tool box from Debian's packages", || make(&root))?;
            fs::write(&stamp, wanted)?;
        }
        Ok(Toolbox { root, binds: vec![places.cache.clone(), places.repo.clone(), places.build.clone()] })
    }

    /// Makes the directory of a file visible inside, under its own name.
    pub fn bind(&mut self, file: &Path) -> Result<()> {
        let dir = file.parent().with_context(|| file.display().to_string())?;
        if !self.binds.iter().any(|bound| dir.starts_with(bound)) {
            self.binds.push(dir.to_path_buf());
        }
        Ok(())
    }

    /// A file of the tool box, for use from outside.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A command that runs inside, in the directory `cwd`; the checkout and the caches have the same names there.
    pub fn command(&self, cwd: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("unshare");
        if !setup::is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", ENTER, "box"]).arg(&self.root).arg(cwd);
        command.args(&self.binds).arg("--").arg(program);
        command
    }

    /// Whether a program of that name is inside.
    pub fn has(&self, program: &str) -> bool {
        self.file("usr/bin").join(program).exists()
    }
}

fn make(root: &Path) -> Result<()> {
    setup::need(&[setup::TOOLBOX])?;
    let mirror = Mirror::of_this_system()?;
    // Made aside: an interrupted run must not look finished.
    let aside = root.with_extension("new");
    for stale in [&aside, &root.to_path_buf()] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| stale.display().to_string())?;
        }
    }
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=apt"]).arg(format!("--include={}", PACKAGES.join(",")));
    command.args(SMALL).arg(SUITE).arg(&aside).arg(&mirror.main);
    run(&mut command)?;
    fs::rename(&aside, root).with_context(|| root.display().to_string())
}

/// Options of mmdebstrap that leave out what no program reads.
pub const SMALL: &[&str] = &[
    "--aptopt=Acquire::Languages \"none\"",
    "--aptopt=APT::Install-Recommends \"false\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    // What is half made after a power cut is made again.
    "--dpkgopt=force-unsafe-io",
];
