//! xfstests: the generic tests of the Linux file systems, from an unmodified tree that the caller names.
//!
//! One run of the tree's `check` takes some tests, since starting it takes as long as a short one; each test has its time limit,
//! and one that hangs costs only itself. Results go to a table that a later run with `--resume` continues.

use super::Options as Common;
use crate::board::{Counts, spinner};
use crate::kernel::tree::Kernel;
use crate::kernel::{inside, userland};
use crate::peers::{Programs, System};
use crate::scratch::Scratch;
use crate::{build, install, setup};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, VecDeque};
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

/// Groups that need what this file system does not have (yet): each of their tests would only find that out, and say "not run".
const ABSENT: &[&str] = &[
    "clone",
    "clone_stress",
    "dedupe",
    "quota",
    "verity",
    "encrypt",
    "casefold",
    "dax",
    "fiemap",
    "fiexchange",
    "collapse",
    "insert",
    "swap",
    "swapext",
];

/// Functions of the suite that know file systems by a list of names, and would pass over one that is
/// not on it. The suite calls its xfs_io through a variable once it has read everything else; that is
/// where these are put in its place.
const OVERRIDES: &str = r#"
_try_scratch_mkfs_sized() {
    [ "$1" -gt "$(blockdev --getsize64 "$SCRATCH_DEV")" ] && _notrun "scratch device too small"
    mkfs.bento -q -f "$SCRATCH_DEV" "$(($1 / 4096))"
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

/// Tests in one run of `check`.
const AT_ONCE: usize = 20;

/// Where results are kept, in the directory of a run.
const RECORD: &str = "results.tsv";

type Table = BTreeMap<String, Ended>;

/// The tree that was named.
fn tree(own: &Options) -> Result<PathBuf> {
    let named = own.tree.clone().or_else(|| std::env::var_os("XFSTESTS").map(PathBuf::from));
    let Some(tree) = named else {
        bail!(
            "name a tree of xfstests with --tree DIR or XFSTESTS=DIR; upstream it is \
             git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git"
        );
    };
    let tree = fs::canonicalize(&tree).with_context(|| tree.display().to_string())?;
    if !tree.join("check").is_file() {
        bail!("{} is no tree of xfstests: it has no `check`", tree.display());
    }
    Ok(tree)
}

/// Runs the tests in a guest, whose user land has the tree, built there.
pub fn in_guest(own: &Options, memory: u32, kernel: Kernel) -> Result<()> {
    let results = build::own_dir("xfstests")?.join(kernel.name());
    let record = results.join(RECORD);
    let guest = inside::Guest {
        memory,
        disks: vec![format!("{}G", own.gibibytes); 2],
        programs: if own.resume && record.is_file() { vec![record] } else { Vec::new() },
        userland: Some(userland::with_tree("xfstests", &tree(own)?, PACKAGES, "6G")?),
        out: Some(results),
        seconds: own.limit + 900,
        ..inside::Guest::default()
    };
    let mut arguments = inside::own_arguments(&["--kernel", "--memory", "--tree"]);
    arguments.extend(["--tree".into(), "/xfstests".into()]);
    inside::run(kernel, &arguments, &guest)
}

/// Runs the tests.
pub fn run(own: &Options, common: &Common, programs: &Programs) -> Result<Counts> {
    setup::become_root("xfstests")?;
    let tree = tree(own)?;
    build_tree(&tree)?;
    users()?;
    let results = if build::in_guest() {
        // The machine around the guest gets it.
        PathBuf::from("/out")
    } else {
        build::own_dir("xfstests")?.join(common.system().name())
    };
    fs::create_dir_all(&results)?;
    let bench = Bench::set_up(own, common, programs, &results)?;
    let list = wanted(own, &tree)?;
    let record = results.join(RECORD);
    let earlier = if build::in_guest() { build::guest_program(RECORD) } else { record.clone() };
    let mut table = if own.resume { load(&earlier)? } else { Table::new() };
    let start = Instant::now();
    let bar = spinner("xfstests");
    let mut left: VecDeque<String> = list.iter().filter(|test| !table.contains_key(*test)).cloned().collect();
    while !left.is_empty() {
        if start.elapsed().as_secs() > own.limit {
            println!("the time limit came before {} of {} tests; --resume goes on", left.len(), list.len());
            break;
        }
        let tests: Vec<&str> = left.iter().take(AT_ONCE).map(String::as_str).collect();
        let done = list.len() - left.len();
        let ended = bench.run_tests(&tree, &tests, Duration::from_secs(own.test_limit), |test, number| {
            bar.set_message(format!("{test} ({} of {})", done + number + 1, list.len()));
        })?;
        left.drain(..ended.len());
        table.extend(ended);
        save(&record, &table)?;
    }
    bar.finish_and_clear();
    Ok(summary(&table, &record))
}

fn build_tree(tree: &Path) -> Result<()> {
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
        let index = tree.join("tests/generic/group.list");
        let mut absent = 0;
        for line in fs::read_to_string(&index).with_context(|| index.display().to_string())?.lines() {
            let mut words = line.split_whitespace();
            let number = words.next().unwrap_or("#");
            let groups: Vec<&str> = words.collect();
            if number.starts_with('#') || !groups.contains(&own.group.as_str()) {
                continue;
            }
            if groups.iter().any(|group| ABSENT.contains(group)) {
                absent += 1;
            } else {
                list.push(format!("generic/{number}"));
            }
        }
        println!("{absent} tests are of {}, which bento does not have: not started", ABSENT.join(", "));
    }
    list.sort();
    list.dedup();
    Ok(list)
}

/// Two devices, two mount points, and the suite's configuration.
struct Bench {
    place: Scratch,
    devices: Vec<String>,
    loops: Vec<String>,
    config: PathBuf,
    results: PathBuf,
    keyctl: Option<PathBuf>,
}

impl Bench {
    fn set_up(own: &Options, common: &Common, programs: &Programs, results: &Path) -> Result<Bench> {
        let (kind, mount, make) = match (common.system(), programs) {
            (System::Bento, Programs::Bento(bento)) => {
                install::ensure(bento)?;
                ("fuse.bento", "-o allow_other,default_permissions,suid,dev", "-f")
            }
            (System::BentoKernel, _) => ("bento", "", "-f"),
            (System::Ext4Ordered, _) => ("ext4", "-o acl,user_xattr", "-F"),
            _ => bail!("xfstests runs on bento and on ext4-ordered"),
        };
        let place = Scratch::new("bento-xfstests-", &common.place)?;
        let mut bench = Bench {
            devices: inside::disks().iter().map(|disk| disk.display().to_string()).collect(),
            loops: Vec::new(),
            config: results.join("local.config"),
            results: results.to_path_buf(),
            keyctl: keyrings(),
            place,
        };
        for name in ["test", "scratch"] {
            fs::create_dir(bench.mount_point(name))?;
            if build::in_guest() {
                continue;
            }
            let image = bench.place.path().join(name).with_extension("img");
            File::create(&image)?.set_len(own.gibibytes << 30)?;
            let output = Command::new("losetup").args(["-f", "--show"]).arg(&image).output()?;
            let device = String::from_utf8_lossy(&output.stdout).trim().to_string();
            if !output.status.success() || device.is_empty() {
                bail!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            bench.devices.push(device.clone());
            bench.loops.push(device);
        }
        fs::write(results.join("overrides"), OVERRIDES)?;
        fs::write(
            &bench.config,
            bench.configuration(kind, mount, make, common.system() != System::Ext4Ordered),
        )?;
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
        if !mount.is_empty() {
            let _ = writeln!(text, "export MOUNT_OPTIONS=\"{mount}\" TEST_FS_MOUNT_OPTS=\"{mount}\"");
        }
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

    /// Runs some tests, in this order; tells of the first ones, those that were reached. `limit` is one test's.
    fn run_tests(
        &self,
        tree: &Path,
        tests: &[&str],
        limit: Duration,
        mut begins: impl FnMut(&str, usize),
    ) -> Result<Vec<(String, Ended)>> {
        let log = self.results.join("check.out");
        let output = File::create(&log)?;
        let mut child = self.check(tree).args(tests).stdout(output.try_clone()?).stderr(output).spawn()?;
        let mut starts = vec![Instant::now()];
        let mut in_time = true;
        while child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(100));
            let begun = blocks(&fs::read_to_string(&log).unwrap_or_default(), tests).len();
            while starts.len() < begun + 1 {
                begins(tests.get(starts.len() - 1).copied().unwrap_or(""), starts.len() - 1);
                starts.push(Instant::now());
            }
            if in_time && starts.last().is_some_and(|start| start.elapsed() > limit) {
                in_time = false;
                end_tree(child.id())?;
            }
        }
        let text = String::from_utf8_lossy(&fs::read(&log)?).to_string();
        let blocks = blocks(&text, tests);
        let mut ended = Vec::new();
        for (number, test) in tests.iter().enumerate() {
            let (verdict, reason) = match blocks.get(number) {
                Some(_) if !in_time && number + 1 == blocks.len() => (Verdict::Timeout, String::new()),
                Some(block) => judge(block),
                // It could not even begin: this costs the first test, and the others are tried again.
                None if number == 0 => (Verdict::Fail, one_line(&text)),
                None => break,
            };
            let end = starts.get(number + 2).copied().unwrap_or_else(Instant::now);
            let seconds = starts.get(number + 1).map_or(0, |start| end.duration_since(*start).as_secs());
            ended.push(((*test).to_string(), Ended { verdict, seconds, reason }));
        }
        if ended.iter().any(|(_, ended)| ended.verdict != Verdict::Pass) {
            self.tidy();
        }
        Ok(ended)
    }

    fn check(&self, tree: &Path) -> Command {
        let mut command = match &self.keyctl {
            Some(keyctl) => {
                let mut command = Command::new(keyctl);
                command.args(["session", "-", "./check"]);
                command
            }
            None => Command::new("./check"),
        };
        command.current_dir(tree).env("HOST_OPTIONS", &self.config).stdin(Stdio::null());
        if build::in_guest() {
            // A guest has no udev that would make the nodes of mapped devices.
            command.env("DM_DISABLE_UDEV", "1");
        }
        command
    }

    /// Takes away what a test left mounted.
    fn tidy(&self) {
        for name in ["scratch", "test"] {
            let dir = self.mount_point(name);
            // One that was ended while it had frozen the file system leaves it so, and its device in use.
            let _ = Command::new("fsfreeze").arg("-u").arg(&dir).stderr(Stdio::null()).status();
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
        for device in &self.loops {
            let _ = Command::new("losetup").args(["-d", device]).status();
        }
    }
}

/// keyctl(1), where the kernel has keyrings: tests of encryption put keys into the session's, so each test gets one.
fn keyrings() -> Option<PathBuf> {
    let keyctl = setup::which("keyctl")?;
    let mut tried = Command::new(&keyctl);
    tried.args(["session", "-", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    tried.status().ok()?.success().then_some(keyctl)
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

/// What `check` printed for each test that it began, in order; behind the last one its summary.
fn blocks<'a>(text: &'a str, tests: &[&str]) -> Vec<&'a str> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let next = tests.get(starts.len());
        let rest = next.and_then(|test| line.strip_prefix(test));
        if rest.is_some_and(|rest| rest.starts_with([' ', '\t'])) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| text.get(*start..end)).collect()
}

/// Reads what `check` printed for one test.
fn judge(block: &str) -> (Verdict, String) {
    if let Some((_, reason)) = block.split_once("[not run]") {
        return (Verdict::NotRun, reason.lines().next().unwrap_or("").trim().to_string());
    }
    // Behind its name and the time of the run before, a test that passed has its own time and nothing else.
    let last = block.lines().next().and_then(|line| line.split_whitespace().skip(1).last());
    let seconds =
        last.and_then(|word| word.strip_suffix('s')).is_some_and(|word| word.parse::<u32>().is_ok());
    if seconds { (Verdict::Pass, String::new()) } else { (Verdict::Fail, one_line(block)) }
}

fn one_line(text: &str) -> String {
    text.lines().take(12).map(str::trim).collect::<Vec<_>>().join(" ; ")
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

    const OUTPUT: &str = "FSTYP         -- bento\n\ngeneric/001 3s ...  2s\ngeneric/116       [not run] Reflink not supported\n\
         generic/002 1s ... - output mismatch (see 002.out.bad)\n    --- a\n\ngeneric/009 7s ... \n";

    #[test]
    fn each_test_has_its_own_end() {
        let tests = ["generic/001", "generic/116", "generic/002", "generic/009", "generic/010"];
        let ends: Vec<_> = blocks(OUTPUT, &tests).into_iter().map(judge).collect();
        assert_eq!(ends.len(), 4);
        assert_eq!(ends[0], (Verdict::Pass, String::new()));
        assert_eq!(ends[1], (Verdict::NotRun, "Reflink not supported".to_string()));
        assert_eq!(ends[2].0, Verdict::Fail);
        assert!(ends[2].1.contains("output mismatch"), "{}", ends[2].1);
        assert_eq!(ends[3].0, Verdict::Fail, "one that never ended passed");
    }
}
