//! User-mode Linux: the kernel as an ordinary program, with every check of locks and memory it has.

use super::apt::{self, Archive};
use super::config::Config;
use super::place::{Places, write_if_changed};
use super::process::{capture, run, step};
use super::toolbox::Toolbox;
use anyhow::{Context, Result, bail};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's package of the source, and the suites whose builds of it we take.
const SOURCE: &str = "linux-source-6.12";
const SUITES: &[&str] = &["trixie-security", "trixie"];

const BASE: &str = include_str!("uml.config");
const CHECKS: &str = include_str!("uml-debug.config");

/// What `make` gets for the kernel and for modules.
pub const MAKE_ARGUMENTS: &[&str] = &["ARCH=um", "CC=gcc-14", "HOSTCC=gcc-14"];

/// How a kernel is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// With lockdep, sleep-in-atomic checks, poisoned memory.
    Checked,
    /// With none of them, for measuring.
    Fast,
}

impl Build {
    fn name(self) -> &'static str {
        match self {
            Build::Checked => "checked",
            Build::Fast => "fast",
        }
    }

    fn options(self) -> String {
        match self {
            Build::Checked => format!("{BASE}{CHECKS}"),
            Build::Fast => BASE.to_string(),
        }
    }
}

/// A built kernel.
pub struct Linux {
    /// Its build directory: the program `linux`, and what modules are built against.
    pub dir: PathBuf,
    /// What `uname -r` prints, with the build's name, as both builds have the same.
    pub release: String,
}

impl Linux {
    /// Opens a build; the first time, and when its options have changed, makes it (two to four minutes).
    pub fn open(places: &Places, toolbox: &Toolbox, build: Build) -> Result<Linux> {
        let top = places.cache.join("uml");
        fs::create_dir_all(&top).with_context(|| top.display().to_string())?;
        let _lock = places.lock_cache("uml/build")?;
        let source = source(places, &top)?;
        let options = build.options();
        let mut hasher = DefaultHasher::new();
        options.hash(&mut hasher);
        // Two checkouts may differ in their options: each set has its own directory.
        let dir = top.join(format!("{}-{:016x}", build.name(), hasher.finish()));
        let stamp = dir.join("built");
        if !stamp.is_file() {
            step(&format!("user-mode Linux ({})", build.name()), || make(toolbox, &source, &dir, &options))?;
            fs::write(&stamp, "")?;
        }
        let release = fs::read_to_string(dir.join("include/config/kernel.release"))?.trim().to_string();
        Ok(Linux { dir, release: format!("{release}-{}", build.name()) })
    }
}

/// The unpacked source.
fn source(places: &Places, top: &Path) -> Result<PathBuf> {
    let source = top.join("source");
    if source.join("Makefile").is_file() {
        return Ok(source);
    }
    step("kernel source from Debian's packages", || {
        let versions = Archive::open(places)?.versions(SOURCE)?;
        let newest = versions.iter().find(|version| SUITES.contains(&version.suite.as_str()));
        let newest = newest.with_context(|| format!("no suite of Debian has {SOURCE} any more"))?;
        let dir = tempfile::tempdir_in(top)?;
        Archive::open(places)?.download(&[format!("{SOURCE}={}", newest.version)], dir.path())?;
        apt::unpack(dir.path(), &dir.path().join("package"))?;
        let archive = dir.path().join("package/usr/src").join(format!("{SOURCE}.tar.xz"));
        run(Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(dir.path()))?;
        if source.exists() {
            fs::remove_dir_all(&source)?;
        }
        fs::rename(dir.path().join(SOURCE), &source).context("the source's directory")
    })?;
    Ok(source)
}

fn make(toolbox: &Toolbox, source: &Path, dir: &Path, options: &str) -> Result<()> {
    let wanted = dir.join("bento.config");
    write_if_changed(&wanted, options.as_bytes())?;
    let make = |program: &str| {
        let mut command = toolbox.command(source, program);
        if program == "env" {
            command.arg(format!("KCONFIG_ALLCONFIG={}", wanted.display())).arg("make");
        } else {
            command.args(["-n", "10", "make"]);
        }
        command.arg("-s").arg(format!("O={}", dir.display())).args(MAKE_ARGUMENTS);
        command
    };
    run(make("env").arg("allnoconfig"))?;
    // An option whose needs changed is dropped without a word; a missing check would never be noticed.
    let config = Config::read(&dir.join(".config"))?;
    let lost: Vec<&str> = wanted_options(options).filter(|option| !config.has(option)).collect();
    if !lost.is_empty() {
        bail!("this source drops the options {}", lost.join(", "));
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    capture(make("nice").arg(format!("-j{jobs}")).args(["linux", "modules_prepare", "modules"])).map(drop)
}

fn wanted_options(options: &str) -> impl Iterator<Item = &str> {
    options.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.strip_suffix("=y"))
}
