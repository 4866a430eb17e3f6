//! The guests' user land: Debian's programs on a disk image, the same for every kernel.

use super::apt::Mirror;
use super::place::Places;
use super::process::{run, step};
use super::toolbox::{SMALL, Toolbox};
use crate::setup;
use anyhow::{Context, Result};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

const SUITE: &str = "trixie";

/// Programs that tests use, and those that they are run with.
const PACKAGES: &[&str] = &[
    "acl",
    "attr",
    "bash",
    "bc",
    "coreutils",
    "dmsetup",
    "e2fsprogs",
    "fio",
    "findutils",
    "gawk",
    "git",
    "kmod",
    "libaio1t64",
    "mount",
    "perl",
    "procps",
    "psmisc",
    "rsync",
    "sqlite3",
    "strace",
    "tar",
    "util-linux",
    "uuid-runtime",
    "xz-utils",
];

const SIZE: &str = "2G";

/// The image; the first time, and when the list of packages has changed, makes it (a minute).
///
/// Guests write to a copy that they lose, so one image serves all.
pub fn image(places: &Places, toolbox: &Toolbox) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (SUITE, PACKAGES, SIZE).hash(&mut hasher);
    let dir = places.cache.join("userland");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let image = dir.join(format!("{:016x}.ext4", hasher.finish()));
    if image.is_file() {
        return Ok(image);
    }
    let _lock = places.lock_cache("userland/image")?;
    if !image.is_file() {
        step("user land from Debian's packages", || make(toolbox, &dir, &image))?;
    }
    Ok(image)
}

fn make(toolbox: &Toolbox, dir: &Path, image: &Path) -> Result<()> {
    setup::need(&[setup::TOOLBOX])?;
    let place = tempfile::tempdir_in(dir)?;
    let root = place.path().join("root");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase"]).arg(format!("--include={}", PACKAGES.join(",")));
    command.args(SMALL).args(EMPTIED).arg(SUITE).arg(&root).arg(Mirror::of_this_system()?.main);
    run(&mut command)?;
    let made = place.path().join("image");
    let mut mke2fs = toolbox.command(place.path(), "mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-L", "userland", "-d"]).arg(&root).arg(&made);
    run(mke2fs.arg(SIZE))?;
    fs::rename(&made, image).with_context(|| image.display().to_string())
}

/// What installing leaves behind.
const EMPTIED: &[&str] = &["--customize-hook=rm -rf \"$1\"/var/cache/apt/*.bin \"$1\"/var/lib/apt/lists/*"];
