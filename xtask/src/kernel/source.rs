//! Kernels that we build ourselves, from Debian's source: user-mode Linux, and one for QEMU with KASAN.

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

/// Debian's package of the source. Older ones save a fixed part of the floating point registers, which hosts
/// with wider ones refuse, and know one processor only.
const SOURCE: &str = "linux-source-7.2";

const BASE: &str = include_str!("uml.config");
const CHECKS: &str = include_str!("uml-debug.config");
const DEBUG: &str = include_str!("debug.config");

/// What only a kernel that is a program has.
const USER_MODE_ONLY: &[&str] =
    &["STATIC_LINK", "STDERR_CONSOLE", "SSL", "NULL_CHAN", "BLK_DEV_UBD", "HOSTFS"];

/// Tells the builds apart in `uname -r`; the build's name and a quote follow.
const LOCAL_VERSION: &str = "CONFIG_LOCALVERSION=\"-bento";

/// How a kernel is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// With lockdep, sleep-in-atomic checks, poisoned memory.
    Checked,
    /// With none of them, for measuring.
    Fast,
    /// For a machine, with KASAN and all of the checks.
    Debug,
}

impl Build {
    fn name(self) -> &'static str {
        match self {
            Build::Checked => "checked",
            Build::Fast => "fast",
            Build::Debug => "debug",
        }
    }

    /// Whether it runs as a program.
    pub fn is_user_mode(self) -> bool {
        self != Build::Debug
    }

    /// What `make` gets for the kernel and for modules.
    pub fn make_arguments(self) -> &'static [&'static str] {
        match self {
            Build::Checked | Build::Fast => &["ARCH=um", "CC=gcc-14", "HOSTCC=gcc-14"],
            Build::Debug => &["ARCH=x86_64", "CC=gcc-14", "HOSTCC=gcc-14"],
        }
    }

    /// What is made.
    fn targets(self) -> &'static [&'static str] {
        match self {
            Build::Checked | Build::Fast => &["linux", "modules_prepare", "modules"],
            Build::Debug => &["bzImage", "modules_prepare", "modules"],
        }
    }

    fn options(self) -> String {
        match self {
            Build::Checked => format!("{BASE}{LOCAL_VERSION}-checked\"\n{CHECKS}"),
            // This option only opens the way to two of the others; it checks nothing itself.
            Build::Fast => format!("{BASE}{LOCAL_VERSION}-fast\"\nCONFIG_DEBUG_KERNEL=y\n"),
            Build::Debug => {
                let is_common = |line: &&str| {
                    !USER_MODE_ONLY.iter().any(|option| line.starts_with(&format!("CONFIG_{option}=")))
                };
                let base: String = BASE.lines().filter(is_common).map(|line| format!("{line}\n")).collect();
                format!("{base}{LOCAL_VERSION}-debug\"\n{CHECKS}{DEBUG}")
            }
        }
    }
}

/// A built kernel.
pub struct Linux {
    /// Its build directory: the program `linux`, and what modules are built against.
    pub dir: PathBuf,
    /// What `uname -r` prints.
    pub release: String,
}

impl Linux {
    /// Opens a build; the first time, and when its options have changed, makes it (two to eight minutes of two processors).
    pub fn open(places: &Places, toolbox: &Toolbox, build: Build) -> Result<Linux> {
        let top = places.cache.join("uml");
        fs::create_dir_all(&top).with_context(|| top.display().to_string())?;
        let options = build.options();
        let mut hasher = DefaultHasher::new();
        options.hash(&mut hasher);
        // Two checkouts may differ in their options: each set has its own directory.
        let dir = top.join(format!("{}-{:016x}", build.name(), hasher.finish()));
        let stamp = dir.join("built");
        // Whoever needs a build that is there does not wait for who makes another.
        if !stamp.is_file() {
            let _lock = places.lock_cache("uml/build")?;
            let source = source(places, &top)?;
            if stamp.is_file() {
                return Linux::of(dir);
            }
            let what = if build.is_user_mode() { "user-mode Linux" } else { "a kernel from its source" };
            step(&format!("{what} ({})", build.name()), || make(toolbox, &source, &dir, &options, build))?;
            fs::write(&stamp, "")?;
        }
        Linux::of(dir)
    }

    fn of(dir: PathBuf) -> Result<Linux> {
        let release = fs::read_to_string(dir.join("include/config/kernel.release"))?.trim().to_string();
        Ok(Linux { dir, release })
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
        let newest = versions.first().with_context(|| format!("no suite of Debian has {SOURCE} any more"))?;
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

fn make(toolbox: &Toolbox, source: &Path, dir: &Path, options: &str, build: Build) -> Result<()> {
    let wanted = dir.join("bento.config");
    write_if_changed(&wanted, options.as_bytes())?;
    let make = |program: &str| {
        let mut command = toolbox.command(source, program);
        if program == "env" {
            command.arg(format!("KCONFIG_ALLCONFIG={}", wanted.display())).arg("make");
        } else {
            command.args(["-n", "10", "make"]);
        }
        command.arg("-s").arg(format!("O={}", dir.display())).args(build.make_arguments());
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
    capture(make("nice").arg(format!("-j{jobs}")).args(build.targets())).map(drop)
}

fn wanted_options(options: &str) -> impl Iterator<Item = &str> {
    options.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.strip_suffix("=y"))
}
