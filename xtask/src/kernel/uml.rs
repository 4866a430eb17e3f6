//! User-mode Linux: the kernel as an ordinary program, with every check of locks and memory it has.

use super::apt::{self, Archive};
use super::config::Config;
use super::guest::Boot;
use super::place::{Places, write_if_changed};
use super::process::{capture, run, step};
use super::run::{Session, reported};
use super::toolbox::Toolbox;
use super::verdict::Verdict;
use anyhow::{Context, Result, bail};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's package of the source. Older ones save a fixed part of the floating point registers, which hosts
/// with wider ones refuse, and know one processor only.
const SOURCE: &str = "linux-source-7.2";

const BASE: &str = include_str!("uml.config");
const CHECKS: &str = include_str!("uml-debug.config");

/// Tells the builds apart in `uname -r`; the build's name and a quote follow.
const LOCAL_VERSION: &str = "CONFIG_LOCALVERSION=\"-bento";

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
            Build::Checked => format!("{BASE}{LOCAL_VERSION}-checked\"\n{CHECKS}"),
            // This option only opens the way to two of the others; it checks nothing itself.
            Build::Fast => format!("{BASE}{LOCAL_VERSION}-fast\"\nCONFIG_DEBUG_KERNEL=y\n"),
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

/// The command has the first console, the kernel a serial line; status and files go through the host's directory.
const FUNCTIONS: &str = r#"
prepare() {
	mkdir -p /host
	mount -t hostfs -o "$shared" host /host && mkdir -p /host/out && mount --bind /host/out /out
}
report() { echo "EXIT $1" >/host/status; }
fail() { echo "$1" >/dev/tty0; report 97; poweroff -f; }
"#;

/// Checks and poison for our own objects; for all of them it would make a boot take seconds.
const POISON: &str = "slab_debug=FZP,bento*";

/// Boots a build, runs the session's command in it, and tells how that ended.
pub fn boot(session: &Session<'_>, build: Build, cpus: u32) -> Result<Verdict> {
    let linux = Linux::open(&session.places, &session.toolbox, build)?;
    let (dir, options) = (session.dir.path(), session.options);
    let shared = dir.join("shared");
    fs::create_dir_all(shared.join("out"))?;
    let functions = format!("shared='{}'\n{FUNCTIONS}", shared.display());
    let boot = Boot { drivers: &[], terminal: "/dev/tty0", functions };
    let initrd = session.write_archive(&boot, &[])?;

    let mut command = Command::new(linux.dir.join("linux"));
    command.arg(format!("mem={}M", options.memory)).arg(format!("initrd={}", initrd.display()));
    command.args(["con=null", "con0=fd:0,fd:1", "ssl=null", "ssl0=fd:2", "console=ttyS0"]);
    command
        .args(["quiet", "loglevel=7", "panic=-1", "noreboot", "seccomp=auto", POISON])
        .arg(format!("ncpus={cpus}"));
    let disks = session.disks()?;
    for (number, disk) in disks.iter().enumerate() {
        command.arg(format!("ubd{number}={}", disk.display()));
    }
    if let Some(userland) = &session.userland {
        // What the guest writes goes to a file beside, gone with this run.
        let (number, changes) = (disks.len(), dir.join("userland"));
        command.arg(format!("ubd{number}={},{}", changes.display(), userland.display()));
        command.arg(format!("bento.userland=/dev/ubd{}", drive_letter(number)));
    }
    command.args(options.append.split_whitespace());
    // Its memory is a file, and its control socket must not lie in a home directory.
    command.arg(format!("uml_dir={}", dir.display())).env("TMPDIR", memory_dir());
    // It waits for its streams by epoll, which takes no plain files: pipes, or a person's terminal.
    command.stderr(Stdio::piped());
    if !session.is_shell() {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
    }

    let ended = session.run(command)?;
    let status = reported(&fs::read(shared.join("status")).unwrap_or_default());
    if let Some(target) = &options.out {
        fs::create_dir_all(target)?;
        run(Command::new("cp").arg("-a").arg(shared.join("out/.")).arg(target))?;
    }
    session.verdict(status, ended.is_none())
}

fn drive_letter(number: usize) -> char {
    (b'a'..=b'z').nth(number).map_or('z', char::from)
}

/// Where the guest's memory lies: in memory, if there is a file system for that.
fn memory_dir() -> &'static str {
    if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }
}

fn wanted_options(options: &str) -> impl Iterator<Item = &str> {
    options.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.strip_suffix("=y"))
}
