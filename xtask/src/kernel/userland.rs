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
use std::time::SystemTime;

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
    cached(places, (SUITE, PACKAGES, SIZE), |dir, image| make(toolbox, dir, image, PACKAGES, SIZE, &[]))
}

/// The same with further packages, and with a source tree at `/NAME` that `make` has built there; made anew when a file of
/// the tree's top directory changes.
pub fn with_tree(name: &str, tree: &Path, packages: &[&str], size: &str) -> Result<PathBuf> {
    let places = Places::find()?;
    let toolbox = Toolbox::open(&places)?;
    let packages: Vec<&str> = PACKAGES.iter().chain(packages).copied().collect();
    let mut files: Vec<(PathBuf, SystemTime)> = Vec::new();
    for entry in fs::read_dir(tree).with_context(|| tree.display().to_string())? {
        let entry = entry?;
        files.push((entry.path(), entry.metadata()?.modified()?));
    }
    files.sort();
    let commands = [
        format!("mkdir \"$1\"/{name} && cp -a '{}'/. \"$1\"/{name}", tree.display()),
        format!("chroot \"$1\" make -C /{name} -j2"),
    ];
    cached(&places, (SUITE, &packages, size, &commands, files), |dir, image| {
        make(&toolbox, dir, image, &packages, size, &commands)
    })
}

/// The image of that recipe, in the cache; made if it is not there.
fn cached(
    places: &Places,
    recipe: impl Hash,
    make: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let dir = places.cache.join("userland");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let image = dir.join(format!("{:016x}.ext4", hasher.finish()));
    if image.is_file() {
        return Ok(image);
    }
    let _lock = places.lock_cache("userland/image")?;
    if !image.is_file() {
        step("user land from Debian's packages", || make(&dir, &image))?;
    }
    Ok(image)
}

fn make(
    toolbox: &Toolbox,
    dir: &Path,
    image: &Path,
    packages: &[&str],
    size: &str,
    commands: &[String],
) -> Result<()> {
    setup::need(&[setup::TOOLBOX])?;
    let place = tempfile::tempdir_in(dir)?;
    let root = place.path().join("root");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase"]).arg(format!("--include={}", packages.join(",")));
    command.args(SMALL);
    for hook in commands.iter().map(String::as_str).chain([EMPTIED]) {
        command.arg(format!("--customize-hook={hook}"));
    }
    command.arg(SUITE).arg(&root).arg(Mirror::of_this_system()?.main);
    run(&mut command)?;
    let made = place.path().join("image");
    let mut mke2fs = toolbox.command(place.path(), "mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-L", "userland", "-d"]).arg(&root).arg(&made);
    run(mke2fs.arg(size))?;
    fs::rename(&made, image).with_context(|| image.display().to_string())
}

/// Takes away what installing leaves behind.
const EMPTIED: &str = "rm -rf \"$1\"/var/cache/apt/*.bin \"$1\"/var/lib/apt/lists/*";
