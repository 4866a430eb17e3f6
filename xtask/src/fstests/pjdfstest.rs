//! pjdfstest: what POSIX says about names, modes, times and errors, call by call.

use super::{Field, crate_tool};
use crate::board::{Counts, spinner};
use crate::setup;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `fstests pjdfstest` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Only tests whose name holds one of these
    filters: Vec<String>,
}

/// Finds or builds the suite.
pub fn tool() -> Result<PathBuf> {
    crate_tool("pjdfstest", "0.2.2")
}

/// Runs the suite in two passes.
///
/// The tests of read-only mounts remount the file system, which fails while any file of it is open
/// for writing; a process of their own sees to that.
pub fn run(options: &Options, tool: &Path, field: &mut Field) -> Result<Counts> {
    users()?;
    // Short: the suite's names for sockets must fit into 108 bytes.
    let work = field.volume.dir().join("p");
    fs::create_dir(&work)?;
    fs::set_permissions(&work, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let second = field.place.join("second");
    fs::create_dir(&second)?;
    let mut counts = Counts::default();
    for (remounts, filters) in [(false, options.filters.clone()), (true, vec!["erofs".to_string()])] {
        if remounts && !options.filters.is_empty() {
            continue;
        }
        let config = field.place.join("pjdfstest.toml");
        fs::write(&config, configuration(remounts))?;
        let bar = spinner("pjdfstest");
        let output = Command::new(tool)
            .arg("-c")
            .arg(&config)
            .arg("-p")
            .arg(&work)
            .arg("-s")
            .arg(&second)
            .args(&filters)
            .current_dir(field.place)
            .stdin(Stdio::null())
            .output()
            .context("pjdfstest")?;
        bar.finish_and_clear();
        counts += read(&String::from_utf8_lossy(&output.stdout), remounts);
        if counts == Counts::default() {
            print!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    fs::remove_dir_all(&work)?;
    Ok(counts)
}

/// The suite changes to two users that own nothing.
fn users() -> Result<()> {
    let known = fs::read_to_string("/etc/passwd")?;
    if known.lines().any(|line| line.starts_with("tests:")) {
        return Ok(());
    }
    setup::quiet(Command::new("useradd").args(["--no-create-home", "--shell", "/usr/sbin/nologin", "tests"]))
}

/// Which optional features are there: all that Linux offers on a file system of full function.
fn configuration(remounts: bool) -> String {
    let features: String = ["posix_fallocate", "rename_ctime", "utime_now", "utimensat", "stat_st_birthtime"]
        .map(|name| format!("{name} = {{}}\n"))
        .concat();
    format!(
        "[features]\n{features}\n[settings]\nnaptime = 0.02\nallow_remount = {remounts}\n\
         expected_failures = []\n\n[dummy_auth]\n\
         entries = [ [\"nobody\", \"nogroup\"], [\"tests\", \"tests\"] ]\n"
    )
}

/// Reads lines of the form `chmod::enoent::regular  ok`, and names each failure.
fn read(output: &str, remounts: bool) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(verdict)) = (words.next(), words.next_back()) else { continue };
        if !name.contains("::") {
            continue;
        }
        match verdict {
            "ok" | "success" => counts.passed += 1,
            "FAILED" => {
                println!("FAILED {name}");
                counts.failed += 1;
            }
            // Without remounts the tests that need them are left for the second pass.
            "skipped" if remounts || !name.contains("erofs") => {
                println!("skipped {name}: the file system or the machine lacks what it needs");
            }
            _ => {}
        }
    }
    counts
}
