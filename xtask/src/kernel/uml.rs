//! User-mode Linux: the kernel as an ordinary program, with every check of locks and memory it has.

use super::guest::Boot;
use super::process::{TIED, run};
use super::run::{Session, reported};
use super::source::{Build, Linux};
use super::verdict::Verdict;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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

/// A server in userspace writes to the disk that its mount claims, which this build forbids unless asked.
const SERVERS: &str = "bdev_allow_write_mounted=1";

/// Boots a build, runs the session's command in it, and tells how that ended.
pub fn boot(session: &Session<'_>, build: Build, cpus: u32) -> Result<Verdict> {
    let linux = Linux::open(&session.places, &session.toolbox, build)?;
    let (dir, options) = (session.dir.path(), session.options);
    let shared = dir.join("shared");
    fs::create_dir_all(shared.join("out"))?;
    let functions = format!("shared='{}'\n{FUNCTIONS}", shared.display());
    let boot = Boot { drivers: &[], terminal: "/dev/tty0", functions };
    let initrd = session.write_archive(&boot, &[])?;

    let [tie, tying @ ..] = TIED;
    let mut command = Command::new(tie);
    command.args(tying).arg(linux.dir.join("linux"));
    command.arg(format!("mem={}M", options.memory)).arg(format!("initrd={}", initrd.display()));
    command.args(["con=null", "con0=fd:0,fd:1", "ssl=null", "ssl0=fd:2", "console=ttyS0"]);
    command
        .args(["quiet", "loglevel=7", "panic=-1", "noreboot", "seccomp=auto", POISON, SERVERS])
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
