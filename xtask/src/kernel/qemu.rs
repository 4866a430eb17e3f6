//! Virtual machines: stock kernels in QEMU, by software emulation only, so that they run anywhere.

use super::debian::{Release, Series};
use super::guest::Boot;
use super::process::{TIED, run};
use super::run::{Session, reported};
use super::source::{Build, Linux};
use super::verdict::Verdict;
use anyhow::Result;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// Modules of the kernel that guests get if they are not built in: disks, and what tests set up on them.
const DRIVERS: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "crc32_pclmul",
    "crc32c_intel",
    "loop",
    "null_blk",
    "brd",
    "dm_mod",
    "dm_flakey",
    "dm_delay",
    "dm_log_writes",
    "dm_snapshot",
    "fuse",
    "overlay",
    "xfs",
    "btrfs",
];

/// The command has the first serial port, the kernel the second, the status the third.
const FUNCTIONS: &str = r#"
prepare() { :; }
report() {
	[ -z "$out" ] || tar -cf "$out" -C /out .
	echo "EXIT $1" >/dev/ttyS2
}
fail() { echo "$1" >/dev/ttyS0; report 97; poweroff -f; }
"#;

/// Modules that are loaded at once, as udev would: disks, and checksums for this processor.
const LOADED: &[&str] = &["virtio_pci", "virtio_blk", "loop", "crc32_pclmul", "crc32c_intel"];

/// What `/out` may hold.
const OUT_SIZE: u64 = 1 << 30;

/// Boots a kernel, runs the session's command in it, and tells how that ended.
///
/// Without a series it is the debug kernel, which has all drivers built in.
pub fn boot(session: &mut Session<'_>, series: Option<Series>, cpus: u32) -> Result<Verdict> {
    let (kernel, drivers) = match series {
        Some(series) => {
            let release = Release::open(&session.places, series)?;
            let drivers = release.modules_with_dependencies(&session.toolbox, DRIVERS)?;
            (release.uncompressed_image(&session.toolbox)?, drivers)
        }
        // As it comes: started as an ELF file it ends before its first word.
        None => {
            let linux = Linux::open(&session.places, &session.toolbox, Build::Debug)?;
            (linux.dir.join("arch/x86/boot/bzImage"), Vec::new())
        }
    };
    let boot = Boot { drivers: LOADED, terminal: "/dev/ttyS0", functions: FUNCTIONS.into() };
    let initrd = session.write_archive(&boot, &drivers)?;
    let disks = session.disks()?;
    for disk in &disks {
        session.toolbox.bind(disk)?;
    }
    let (dir, options) = (session.dir.path(), session.options);
    let (status, out) = (dir.join("status"), dir.join("out"));

    let [tie, tying @ ..] = TIED;
    let mut qemu = session.toolbox.command(dir, tie);
    qemu.args(tying).args(["qemu-system-x86_64", "-machine", "pc"]);
    if options.instruction_clock {
        // An instruction that moves many bytes counts as one for each step: not in steps of a byte.
        qemu.args(["-cpu", "max,-cx16,-erms,-fsrm,-fsrs"]);
        // Idle time passes at once: a timer that waits for nothing else need not be waited for.
        qemu.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]);
    } else {
        qemu.args(["-cpu", "max,-cx16", "-accel", "tcg,thread=multi"]);
    }
    qemu.args(["-smp", &cpus.to_string(), "-m", &options.memory.to_string()]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.args(["-device", "pvpanic", "-action", "panic=exit-failure"]);
    qemu.args(["-chardev", "stdio,id=terminal,signal=off", "-serial", "chardev:terminal"]);
    qemu.arg("-serial").arg(format!("file:{}", session.console().display()));
    qemu.arg("-serial").arg(format!("file:{}", status.display()));
    for (number, disk) in disks.iter().enumerate() {
        add_disk(&mut qemu, disk, &format!("disk{number}"), Keep::Yes);
    }
    if let Some(userland) = &session.userland {
        add_disk(&mut qemu, userland, "userland", Keep::No);
    }
    if options.out.is_some() {
        File::create(&out)?.set_len(OUT_SIZE)?;
        add_disk(&mut qemu, &out, "out", Keep::Yes);
    }
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    // bdev_allow_write_mounted: a server in userspace writes to the disk that its mount claims.
    // no_timer_check: emulated timers are late, and a kernel that measures them gives up on them.
    let line = "console=ttyS1 loglevel=7 panic=-1 oops=panic no_timer_check bdev_allow_write_mounted=1";
    qemu.arg("-append").arg(format!("{line} {}", options.append));

    qemu.stdin(if session.is_shell() { Stdio::inherit() } else { Stdio::null() });
    if options.power_cut.is_some() {
        qemu.stdout(Stdio::piped());
    }
    let ended = session.run(qemu)?;
    let status = reported(&fs::read(&status).unwrap_or_default());
    if let Some(target) = &options.out
        && status.is_some()
    {
        fs::create_dir_all(target)?;
        run(Command::new("tar").arg("-xf").arg(&out).arg("-C").arg(target))?;
    }
    session.verdict(status, ended.is_none())
}

/// Whether what the guest writes stays.
enum Keep {
    Yes,
    No,
}

/// The guest's disks answer a flush at once: the machine that could lose them does not exist.
fn add_disk(qemu: &mut Command, file: &Path, serial: &str, keep: Keep) {
    let snapshot = match keep {
        Keep::Yes => "off",
        Keep::No => "on",
    };
    // Without locks: user-mode Linux holds one of its own on the same user land, to which it does not write either.
    let drive = format!(
        "if=none,id={serial},format=raw,cache=unsafe,snapshot={snapshot},file.locking=off,file={}",
        file.display()
    );
    qemu.arg("-drive").arg(drive);
    qemu.arg("-device").arg(format!("virtio-blk-pci,drive={serial},serial={serial}"));
}
