//! The bench inside a guest: this very program, started there, on disks that lie in the guest's memory.
//!
//! Outside, [`run`] boots the guest and fetches what it wrote. Inside, [`device`] says which disk a group runs on.
//! All systems are measured in one boot: ratios within it mean something, also where everything is emulated.

use super::workloads::Disk;
use crate::build::in_guest;
use crate::kernel::inside;
use crate::kernel::tree::Kernel;
use crate::setup;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The disk in memory. The kernel's words for its driver are the same built in and as a module.
const MEMORY_DISK: (&str, &str) = ("/dev/ram0", "brd");
const MEMORY_DISK_WORDS: &str = "brd.rd_nr=1 brd.rd_size=1048576";

/// A disk whose flush is held back, and the one below it, which has a cache to flush.
const SLOW_DISK: &str = "bento-slow-flush";
const CACHED_DISK: (&str, &str) = ("/dev/nullb0", "null_blk");
const CACHED_DISK_WORDS: &str =
    "null_blk.nr_devices=1 null_blk.gb=1 null_blk.memory_backed=1 null_blk.cache_size=64";
const FLUSH_MILLISECONDS: u32 = 1;

/// Boots the guest and lets it measure; the JSON goes to `json`.
pub fn run(kernel: Kernel, json: Option<&Path>) -> Result<()> {
    let out = tempfile::tempdir()?;
    let mut arguments = inside::own_arguments(&["--kernel", "--json"]);
    arguments.extend(["--json".to_string(), "/out/bench.json".to_string()]);
    let guest = inside::Guest {
        memory: 3072,
        // Neither the noise of this machine nor the moods of its emulator.
        cpus: Some(1),
        instruction_clock: kernel.series().is_some(),
        out: Some(out.path().to_path_buf()),
        words: format!("{MEMORY_DISK_WORDS} {CACHED_DISK_WORDS}"),
        seconds: 4 * 3600,
        ..inside::Guest::default()
    };
    inside::run(kernel, &arguments, &guest)?;
    if let Some(json) = json {
        let made = out.path().join("bench.json");
        let text = fs::read_to_string(&made).with_context(|| made.display().to_string())?;
        fs::write(json, text).with_context(|| json.display().to_string())?;
        println!("written to {}", json.display());
    }
    Ok(())
}

/// Whether this machine's processor is QEMU's own.
pub fn is_emulated() -> bool {
    in_guest() && fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("QEMU TCG"))
}

/// Whether a group that wants such a disk can run here.
pub fn has(disk: Disk) -> bool {
    disk == Disk::Memory || in_guest()
}

/// The disk of that kind; none outside a guest, where an image in memory stands for it.
pub fn device(disk: Disk) -> Result<Option<PathBuf>> {
    if !in_guest() {
        return Ok(None);
    }
    match disk {
        Disk::Memory => loaded(MEMORY_DISK).map(Some),
        Disk::SlowFlush => slow_disk().map(Some),
    }
}

/// A disk, and its driver if that is not built in.
fn loaded((path, driver): (&str, &str)) -> Result<PathBuf> {
    if !Path::new(path).exists() {
        setup::quiet(Command::new("modprobe").arg(driver))?;
    }
    Ok(PathBuf::from(path))
}

fn slow_disk() -> Result<PathBuf> {
    let mapped = Path::new("/dev/mapper").join(SLOW_DISK);
    if mapped.exists() {
        return Ok(mapped);
    }
    let below = loaded(CACHED_DISK)?;
    let output = Command::new("blockdev").arg("--getsz").arg(&below).output()?;
    let sectors = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let below = below.display();
    // Reads and writes go through at once; only what is flushed waits.
    let table = format!("0 {sectors} delay {below} 0 0 {below} 0 0 {below} 0 {FLUSH_MILLISECONDS}");
    // Built in, or not there: then the next line says so.
    let _ = Command::new("modprobe").arg("dm_delay").status();
    // There is no udev to make the node in /dev.
    let mut dmsetup = Command::new("dmsetup");
    dmsetup.env("DM_DISABLE_UDEV", "1").args(["create", SLOW_DISK, "--table", &table]);
    setup::quiet(&mut dmsetup)?;
    Ok(mapped)
}
