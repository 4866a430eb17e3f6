//! xfstests: the generic tests of the Linux file systems, from an unmodified tree that the caller names.
//!
//! Each test is one run of the tree's `check`, under a time limit, so that one hanging test costs only
//! itself. Results go to a table that a later run with `--resume` continues.

use super::Options as Common;
use crate::board::{Counts, spinner};
use crate::peers::{Programs, System};
use crate::scratch::Scratch;
use crate::{build, install, setup};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What `fstests xfstests` takes.
#[derive(clap::Args)]
pub struct Options {
    /// The tree of xfstests, a git clone or an unpacked archive, built there if it is not yet;
    /// $XFSTESTS by default
    #[arg(long)]
    tree: Option<PathBuf>,
    /// A group of generic tests
    #[arg(long, default_value = "quick")]
    group: String,
    /// Tests to run in place of a group: generic/001, or @FILE with one name a line
    tests: Vec<String>,
    /// Seconds for one test
    #[arg(long, default_value_t = 120)]
    test_limit: u64,
    /// Seconds for all
    #[arg(long, default_value_t = 7200)]
    limit: u64,
    /// Gibibytes of each of the two images
    #[arg(long, default_value_t = 3)]
    gibibytes: u64,
    /// Keep the results that are there, and run what is missing
    #[arg(long)]
    resume: bool,
}

/// What building and running the tree takes from Debian.
const PACKAGES: &[&str] = &[
    "build-essential",
    "autoconf",
    "automake",
    "libtool",
    "libtool-bin",
    "pkg-config",
    "gettext",
    "xfslibs-dev",
    "uuid-dev",
    "uuid-runtime",
    "libattr1-dev",
    "libacl1-dev",
    "libaio-dev",
    "libgdbm-dev",
    "libgdbm-compat-dev",
    "libssl-dev",
    "liburing-dev",
    "libcap-dev",
    "libcap2-bin",
    "xfsprogs",
    "e2fsprogs",
    "acl",
    "attr",
    "quota",
    "fio",
    "bc",
    "gawk",
    "psmisc",
    "keyutils",
    "python3",
];

/// Functions of the suite that know file systems by a list of names, and would pass over one that is
/// not on it. The suite calls its xfs_io through a variable once it has read everything else; that is
/// where these are put in its place.
const OVERRIDES: &str = r#"
_try_scratch_mkfs_sized() {
    [ "$1" -gt "$(blockdev --getsize64 "$SCRATCH_DEV")" ] && _notrun "scratch device too small"
    mkfs.bento -q -f "$SCRATCH_DEV" "$1"
}
_scratch_mkfs_blocksized() {
    [ "$1" = 4096 ] || _notrun "block size is 4096"
    mkfs.bento -q -f "$SCRATCH_DEV"
}
_fstyp_has_non_default_seek_data_hole() { true; }
_filesystem_timestamp_range() { echo "-9223372036854775808 9223372036854775807"; }
_require_names_are_bytes() { :; }
_small_fs_size_mb() { echo "$1"; }
"#;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Pass,
    Fail,
    Timeout,
    NotRun,
}

impl Verdict {
    const ALL: [Verdict; 4] = [Verdict::Pass, Verdict::Fail, Verdict::Timeout, Verdict::NotRun];

    fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Timeout => "timeout",
            Verdict::NotRun => "notrun",
        }
    }
}

/// One test's end, and why.
struct Ended {
    verdict: Verdict,
    seconds: u64,
    reason: String,
}

type Table = BTreeMap<String, Ended>;

/// Runs the tests.
pub fn run(own: &Options, common: &Common, programs: &Programs) -> Result<Counts> {
    let named = own.tree.clone().or_else(|| std::env::var_os("XFSTESTS").map(PathBuf::from));
    let Some(tree) = named else {
        bail!(
            "name a tree of xfstests with --tree DIR or XFSTESTS=DIR; upstream it is \
             git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git"
        );
    };
    setup::become_root("xfstests")?;
    let tree = fs::canonicalize(&tree).with_context(|| tree.display().to_string())?;
    prepare_tree(&tree)?;
    users()?;
    let results = build::own_dir("xfstests")?.join(common.system().name());
    fs::create_dir_all(&results)?;
    let bench = Bench::set_up(own, common, programs, &results)?;
    let list = wanted(own, &tree)?;
    let record = results.join("results.tsv");
    let mut table = if own.resume { load(&record)? } else { Table::new() };
    let start = Instant::now();
    let bar = spinner("xfstests");
    for (number, test) in list.iter().enumerate() {
        if table.contains_key(test) {
            continue;
        }
        if start.elapsed().as_secs() > own.limit {
            println!("the time limit came after {number} of {} tests; --resume goes on", list.len());
            break;
        }
        bar.set_message(format!("{test} ({number} of {})", list.len()));
        let ended = bench.run_test(&tree, test, Duration::from_secs(own.test_limit))?;
        table.insert(test.clone(), ended);
        save(&record, &table)?;
    }
    bar.finish_and_clear();
    Ok(summary(&table, &record))
}

fn prepare_tree(tree: &Path) -> Result<()> {
    if !tree.join("check").is_file() {
        bail!("{} is no tree of xfstests: it has no `check`", tree.display());
    }
    if tree.join("ltp/fsstress").is_file() {
        return Ok(());
    }
    setup::install_packages(PACKAGES)?;
    let bar = spinner("building xfstests");
    let built = setup::quiet(Command::new("make").args(["-j2"]).current_dir(tree));
    bar.finish_and_clear();
    built
}

/// The suite's tests change to these users.
fn users() -> Result<()> {
    let known = fs::read_to_string("/etc/passwd")?;
    for user in ["fsgqa", "fsgqa2", "123456-fsgqa"] {
        if !known.lines().any(|line| line.split(':').next() == Some(user)) {
            setup::quiet(Command::new("useradd").args(["-m", "-s", "/bin/bash", "--badname", user]))?;
        }
    }
    Ok(())
}

/// The tests asked for, sorted.
fn wanted(own: &Options, tree: &Path) -> Result<Vec<String>> {
    let mut list = Vec::new();
    for test in &own.tests {
        match test.strip_prefix('@') {
            Some(file) => {
                let text = fs::read_to_string(file).with_context(|| file.to_string())?;
                let names = text.lines().filter_map(|line| line.split_whitespace().next());
                list.extend(names.filter(|name| !name.starts_with('#')).map(str::to_string));
            }
            None => list.push(test.clone()),
        }
    }
    if own.tests.is_empty() {
        let groups = tree.join("tests/generic/group.list");
        for line in fs::read_to_string(&groups).with_context(|| groups.display().to_string())?.lines() {
            let mut words = line.split_whitespace();
            let number = words.next().unwrap_or("#");
            if !number.starts_with('#') && words.any(|group| group == own.group) {
                list.push(format!("generic/{number}"));
            }
        }
    }
    list.sort();
    list.dedup();
    Ok(list)
}

/// Two loop devices, two mount points, and the suite's configuration.
struct Bench {
    place: Scratch,
    devices: Vec<String>,
    config: PathBuf,
    results: PathBuf,
}

impl Bench {
    fn set_up(own: &Options, common: &Common, programs: &Programs, results: &Path) -> Result<Bench> {
        let (kind, mount, make) = match (common.system(), programs) {
            (System::Bento, Programs::Bento(bento)) => {
                install::ensure(bento)?;
                ("fuse.bento", "-o allow_other,default_permissions,suid,dev", "-f")
            }
            (System::Ext4Ordered, _) => ("ext4", "-o acl,user_xattr", "-F"),
            _ => bail!("xfstests runs on bento and on ext4-ordered"),
        };
        let place = Scratch::new("bento-xfstests-", &common.place)?;
        let mut bench = Bench {
            devices: Vec::new(),
            config: results.join("local.config"),
            results: results.to_path_buf(),
            place,
        };
        for name in ["test", "scratch"] {
            fs::create_dir(bench.mount_point(name))?;
            let image = bench.place.path().join(name).with_extension("img");
            File::create(&image)?.set_len(own.gibibytes << 30)?;
            let output = Command::new("losetup").args(["-f", "--show"]).arg(&image).output()?;
            let device = String::from_utf8_lossy(&output.stdout).trim().to_string();
            if !output.status.success() || device.is_empty() {
                bail!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            bench.devices.push(device);
        }
        fs::write(results.join("overrides"), OVERRIDES)?;
        fs::write(&bench.config, bench.configuration(kind, mount, make, common.system() == System::Bento))?;
        let mut mkfs = Command::new("mkfs");
        setup::quiet(mkfs.args(["-t", kind, make]).args(bench.devices.first()))?;
        Ok(bench)
    }

    fn mount_point(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn configuration(&self, kind: &str, mount: &str, make: &str, overrides: bool) -> String {
        let mut text = format!("export FSTYP={kind}\n");
        let sides = [("TEST_DEV", "TEST_DIR", "test"), ("SCRATCH_DEV", "SCRATCH_MNT", "scratch")];
        for ((device, dir, name), path) in sides.iter().zip(&self.devices) {
            let _ = writeln!(text, "export {device}={path} {dir}={}", self.mount_point(name).display());
        }
        let _ = writeln!(text, "export MOUNT_OPTIONS=\"{mount}\" TEST_FS_MOUNT_OPTS=\"{mount}\"");
        let _ = writeln!(text, "export MKFS_OPTIONS=\"{make}\" RECREATE_TEST_DEV=false");
        let _ = writeln!(text, "export RESULT_BASE={}", self.results.join("output").display());
        if overrides {
            let file = self.results.join("overrides");
            let _ = writeln!(
                text,
                "XFS_IO_PROG=_bento_overrides\n_bento_overrides() {{ XFS_IO_PROG=$(type -P xfs_io); . {}; \
                 $XFS_IO_PROG \"$@\"; }}",
                file.display()
            );
        }
        text
    }

    fn run_test(&self, tree: &Path, test: &str, limit: Duration) -> Result<Ended> {
        let log = self.results.join("check.out");
        let output = File::create(&log)?;
        // Tests of encryption put keys into the session's keyring: give them one.
        let mut command = match setup::which("keyctl") {
            Some(keyctl) => {
                let mut command = Command::new(keyctl);
                command.args(["session", "-", "./check"]);
                command
            }
            None => Command::new("./check"),
        };
        let start = Instant::now();
        let mut child = command
            .arg(test)
            .current_dir(tree)
            .env("HOST_OPTIONS", &self.config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut in_time = true;
        while child.try_wait()?.is_none() {
            if start.elapsed() > limit {
                in_time = false;
                end_tree(child.id())?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = String::from_utf8_lossy(&fs::read(&log)?).to_string();
        let (verdict, reason) = if in_time { judge(&text, test) } else { (Verdict::Timeout, String::new()) };
        if verdict != Verdict::Pass {
            self.tidy();
        }
        Ok(Ended { verdict, seconds: start.elapsed().as_secs(), reason })
    }

    /// Takes away what a test left mounted.
    fn tidy(&self) {
        for name in ["scratch", "test"] {
            let dir = self.mount_point(name);
            for _ in 0..8 {
                let done = Command::new("umount").arg("-l").arg(&dir).stderr(Stdio::null()).status();
                if !done.is_ok_and(|status| status.success()) {
                    break;
                }
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tidy();
        for device in &self.devices {
            let _ = Command::new("losetup").args(["-d", device]).status();
        }
    }
}

/// Kills a process and all that descends from it, whatever sessions they made for themselves.
fn end_tree(top: u32) -> Result<()> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        // Gone between the listing and the look: nothing to kill.
        let Ok(status) = fs::read_to_string(path.join("stat")) else { continue };
        let after_name = status.rsplit(')').next().unwrap_or("");
        let parent = after_name.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok());
        parents.push((pid, parent.unwrap_or(0)));
    }
    let mut doomed = vec![top];
    let mut next = 0;
    while let Some(parent) = doomed.get(next).copied() {
        doomed.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    for pid in doomed.iter().rev() {
        let pid = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// Reads what `check` printed for one test.
fn judge(text: &str, test: &str) -> (Verdict, String) {
    if let Some((_, reason)) = text.split_once("[not run]") {
        return (Verdict::NotRun, reason.lines().next().unwrap_or("").trim().to_string());
    }
    if text.contains("Passed all") {
        return (Verdict::Pass, String::new());
    }
    let of_test = text.lines().skip_while(|line| !line.starts_with(test));
    let reason: Vec<&str> = of_test.take(12).map(str::trim).collect();
    (Verdict::Fail, reason.join(" ; "))
}

fn save(path: &Path, table: &Table) -> Result<()> {
    let mut text = String::new();
    for (test, ended) in table {
        let reason = ended.reason.replace('\t', " ");
        let _ = writeln!(text, "{test}\t{}\t{}\t{reason}", ended.verdict.name(), ended.seconds);
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn load(path: &Path) -> Result<Table> {
    let mut table = Table::new();
    if !path.is_file() {
        return Ok(table);
    }
    for line in fs::read_to_string(path)?.lines() {
        let mut fields = line.split('\t');
        let (Some(test), Some(verdict), Some(seconds)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some(verdict) = Verdict::ALL.into_iter().find(|known| known.name() == verdict) else { continue };
        let reason = fields.next().unwrap_or("").to_string();
        table.insert(test.to_string(), Ended { verdict, seconds: seconds.parse().unwrap_or(0), reason });
    }
    Ok(table)
}

fn summary(table: &Table, record: &Path) -> Counts {
    let count = |verdict| table.values().filter(|ended| ended.verdict == verdict).count() as u64;
    for (test, ended) in table {
        if matches!(ended.verdict, Verdict::Fail | Verdict::Timeout) {
            println!("{} {test} ({} s) {}", ended.verdict.name(), ended.seconds, ended.reason);
        }
    }
    println!("{} tests found nothing to run on; the table is {}", count(Verdict::NotRun), record.display());
    Counts { passed: count(Verdict::Pass), failed: count(Verdict::Fail) + count(Verdict::Timeout) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_found_nothing_to_run_on_is_no_failure() {
        let text = "FSTYP -- ext4\n\ngeneric/116       [not run] Reflink not supported\nPassed all 1 tests\n";
        assert_eq!(judge(text, "generic/116"), (Verdict::NotRun, "Reflink not supported".to_string()));
    }

    #[test]
    fn a_test_without_the_closing_line_failed() {
        let (verdict, reason) = judge("generic/001 3s ... - output mismatch\n    --- a\n", "generic/001");
        assert_eq!(verdict, Verdict::Fail);
        assert!(reason.contains("output mismatch"), "{reason}");
    }
}
