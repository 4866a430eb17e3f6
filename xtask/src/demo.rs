//! `cargo xtask demo`: one image from mkfs to fsck, with upgrades and a killed server between; or, in a guest, with the
//! power cut twice, the second time with the server in userspace to recover, and then the other way round.

use crate::bench::worker::settle;
use crate::build::{self, Bento, in_guest};
use crate::kernel::inside;
use crate::kernel::tree::Kernel;
use crate::peers::{self, Programs, Shape, System, Volume};
use crate::scratch::Scratch;
use crate::{setup, tree};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Show it in a guest with this kernel, with our modules there, and a power cut in place of a kill
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
    /// Run on another system, without what it lacks
    #[arg(long, value_enum, hide = true)]
    on: Option<System>,
    /// Unpack a generated tree of so many files instead of the sources of all crates used here
    #[arg(long)]
    files: Option<usize>,
    /// The part of the demonstration that a guest runs
    #[arg(long, value_enum, hide = true)]
    part: Option<Part>,
}

/// The lives of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Makes the volume, works on it, loses the power.
    Work,
    /// Recovers, looks, works again, loses the power again.
    Recover,
    /// Recovers what a killed server left, and comes to the end.
    End,
}

impl Options {
    fn system(&self) -> System {
        self.on.unwrap_or(if in_guest() { System::BentoKernel } else { System::Bento })
    }

    /// Files of a generated tree, if it is to be one: a guest has no crates, and takes its time.
    fn files(&self) -> Option<usize> {
        self.files.or(in_guest().then_some(FILES_IN_A_GUEST))
    }
}

const IMAGE_SIZE: u64 = 2 << 30;
const FILES_IN_A_GUEST: usize = 1_000;
const TREE: &str = "tree";
const CLONE: &str = "clone";
const RECORDED: &str = "recorded";

const MOUNTED_AGAIN: &str = "mounted again; the journal was replayed";
/// Where writes are cut off, each time in a directory of its own.
const IN_FLIGHT: &str = "in-flight";
/// What a guest prints when its power is to be cut.
const CUT: &str = "in the middle of writes: now the power goes";

/// Prints each step as it ends, with its time.
struct Story;

impl Story {
    fn step<T>(&self, what: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let value = action().with_context(|| what.to_string())?;
        self.line(what, start.elapsed());
        Ok(value)
    }

    fn line(&self, what: &str, took: Duration) {
        println!("{:10.1} ms  {what}", took.as_secs_f64() * 1000.0);
    }
}

/// What goes into the image.
struct Sources {
    archive: PathBuf,
    bundle: PathBuf,
    digest: tree::Digest,
}

/// `cargo xtask demo`.
pub fn run(options: &Options) -> Result<()> {
    if let Some(kernel) = options.kernel {
        return around_a_guest(kernel, options.files);
    }
    let system = options.system();
    let programs = peers::programs(system)?;
    setup::become_root("mounting")?;
    setup::need(&[setup::MOUNT, setup::FILES])?;
    let place = Scratch::new("demo-", &build::own_dir("demo")?)?;
    let story = Story;
    let sources = story
        .step("made a tree to unpack and a git bundle to clone", || sources(place.path(), options.files()))?;
    let disk = inside::disk();
    let shape = Shape { place: place.path(), size: IMAGE_SIZE, device: disk.as_deref(), options: "" };
    if let Some(Part::Recover | Part::End) = options.part {
        let volume = story.step(MOUNTED_AGAIN, || Volume::open(system, &programs, &shape))?;
        if options.part == Some(Part::End) {
            return finish(&story, volume, &sources, &programs);
        }
        verify(&story, volume.dir(), &sources)?;
        provenance(&story, &programs, volume.dir())?;
        return wait_for_the_end(volume.dir());
    }
    let mut volume =
        story.step("made a 2 GiB volume and mounted it", || Volume::create(system, &programs, &shape))?;
    work(&story, &volume, &sources, &programs, system)?;
    story.step("made it durable (syncfs)", || settle(volume.dir()))?;
    if options.part == Some(Part::Work) {
        return wait_for_the_end(volume.dir());
    }
    crash(&story, &mut volume)?;
    story.step(MOUNTED_AGAIN, || volume.mount())?;
    finish(&story, volume, &sources, &programs)
}

/// One disk, three lives of the guest, and a server in userspace before the last of them. Between them the power goes, and
/// the server is killed: each takes over what the one before left in its log.
fn around_a_guest(kernel: Kernel, files: Option<usize>) -> Result<()> {
    setup::become_root("mounting")?;
    setup::need(&[setup::MOUNT, setup::FILES])?;
    let place = Scratch::new("demo-", &build::own_dir("demo")?)?;
    let disk = place.path().join("disk");
    fs::File::create(&disk)?.set_len(IMAGE_SIZE)?;
    let mut guest = inside::Guest {
        memory: 1536,
        disks: vec![disk.display().to_string()],
        seconds: 1800,
        cpus: Some(2),
        ..inside::Guest::default()
    };
    let arguments = |part: &str| {
        let mut arguments = inside::own_arguments(&["--kernel"]);
        arguments.extend(["--part".to_string(), part.to_string()]);
        arguments
    };
    guest.power_cut = Some(CUT.to_string());
    println!("-- a machine with kernel {}, and a disk", kernel.name());
    inside::run(kernel, &arguments("work"), &guest)?;
    println!("-- the machine starts again, with the same disk");
    inside::run(kernel, &arguments("recover"), &guest)?;
    println!("-- the same disk, in userspace");
    in_userspace(place.path(), &disk, files)?;
    guest.power_cut = None;
    println!("-- the machine starts again");
    inside::run(kernel, &arguments("end"), &guest)
}

/// Recovers over FUSE what a kernel left, looks at all of it, and is killed in the middle of writes.
fn in_userspace(place: &Path, disk: &Path, files: Option<usize>) -> Result<()> {
    let story = Story;
    let sources = sources(place, Some(files.unwrap_or(FILES_IN_A_GUEST)))?;
    let programs = peers::programs(System::Bento)?;
    let shape = Shape { place, size: IMAGE_SIZE, device: Some(disk), options: "" };
    let mut volume = story.step(MOUNTED_AGAIN, || Volume::open(System::Bento, &programs, &shape))?;
    verify(&story, volume.dir(), &sources)?;
    provenance(&story, &programs, volume.dir())?;
    crash(&story, &mut volume)
}

/// Reads all of it back, then deletes, unmounts, checks.
fn finish(story: &Story, mut volume: Volume, sources: &Sources, programs: &Programs) -> Result<()> {
    verify(story, volume.dir(), sources)?;
    if in_guest() {
        provenance(story, programs, volume.dir())?;
    }
    story.step("deleted the tree", || Ok(fs::remove_dir_all(volume.dir().join(TREE))?))?;
    story.step("unmounted", || volume.unmount())?;
    story.step("checked the image: clean", || volume.check())?;
    println!("all of it worked");
    Ok(())
}

/// Asks where a file comes from that was written while the version that records served.
fn provenance(story: &Story, programs: &Programs, dir: &Path) -> Result<()> {
    let Programs::Bento(bento) = programs else { return Ok(()) };
    let told = story.step("asked why a file is there that bento-prov saw being made", || {
        let output = bento.command("bento").args(["prov", "why"]).arg(dir.join(RECORDED)).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    })?;
    told.lines().take(8).for_each(|line| println!("              | {line}"));
    Ok(())
}

/// A tar file of a tree, and a bundle of this repository, or of the tree where there is none.
fn sources(place: &Path, files: Option<usize>) -> Result<Sources> {
    let top = place.join(TREE);
    match files {
        Some(files) => tree::generate(&top, files)?,
        None => copy_crates(&top)?,
    }
    let digest = tree::digest(&top)?;
    let archive = place.join("tree.tar");
    tree::pack(place, TREE, &archive)?;
    let bundle = place.join("repository.bundle");
    let create = |dir: &Path| {
        setup::quiet(tree::git_command(dir).args(["bundle", "create", "-q"]).arg(&bundle).arg("HEAD"))
    };
    if create(&build::root()).is_err() {
        tree::make_repository(&top)?;
        create(&top)?;
    }
    fs::remove_dir_all(&top)?;
    Ok(Sources { archive, bundle, digest })
}

/// Copies the sources of the crates that `Cargo.lock` names: a real tree, which is wherever this was built.
fn copy_crates(to: &Path) -> Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let registries = fs::read_dir(&registries).with_context(|| registries.display().to_string())?;
    let registries = registries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let lock = fs::read_to_string(build::root().join("Cargo.lock"))?;
    let value = |line: &str, key: &str| {
        line.strip_prefix(key).map(|rest| rest.trim_matches([' ', '=', '"']).to_string())
    };
    let (mut crates, mut name) = (Vec::new(), String::new());
    for line in lock.lines() {
        name = value(line, "name").unwrap_or(name);
        let Some(version) = value(line, "version") else { continue };
        let places = registries.iter().map(|registry| registry.join(format!("{name}-{version}")));
        crates.extend(places.filter(|place| place.is_dir()));
    }
    ensure!(!crates.is_empty(), "cargo keeps the sources of no crate of Cargo.lock; try --files 4000");
    fs::create_dir(to)?;
    setup::quiet(Command::new("cp").args(["-r", "--"]).args(crates).arg(to))
}

/// Clones and unpacks while the core is upgraded again and again.
fn work(
    story: &Story,
    volume: &Volume,
    sources: &Sources,
    programs: &Programs,
    system: System,
) -> Result<()> {
    let busy = AtomicBool::new(true);
    let dir = volume.dir();
    let upgrades = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let upgrader = match programs {
            Programs::Bento(bento) => Some(scope.spawn(|| upgrade_while(bento, dir, &busy, system))),
            _ => None,
        };
        let load = load(story, dir, sources);
        busy.store(false, Ordering::Relaxed);
        let upgrades = match upgrader {
            Some(thread) => thread.join().map_err(|_| anyhow::anyhow!("the upgrading thread panicked"))?,
            None => Ok(Vec::new()),
        };
        load.and(upgrades)
    })?;
    if let Some(longest) = upgrades.iter().max() {
        story.line(&format!("the longest of {} upgrades of the core meanwhile", upgrades.len()), *longest);
    }
    if system == System::BentoKernel {
        // The last upgrade was to bento-prov.
        fs::copy(dir.join(CLONE).join(".git/HEAD"), dir.join(RECORDED))?;
    }
    Ok(())
}

fn load(story: &Story, dir: &Path, sources: &Sources) -> Result<()> {
    story.step("cloned the repository from the bundle", || {
        let mut clone = tree::git_command(dir);
        setup::quiet(clone.args(["clone", "-q"]).arg(&sources.bundle).arg(dir.join(CLONE)))
    })?;
    let digest = sources.digest;
    story.step(&format!("unpacked {} files, {} MiB", digest.files, digest.bytes >> 20), || {
        setup::quiet(Command::new("tar").arg("-xf").arg(&sources.archive).arg("-C").arg(dir))
    })
}

/// Upgrades every 50 ms as long as the load runs; at least once.
fn upgrade_while(bento: &Bento, dir: &Path, busy: &AtomicBool, system: System) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let mut upgrade = bento.command("bento");
        upgrade.arg("upgrade");
        if system == System::BentoKernel {
            // There and back, and there at the end.
            upgrade.args(["--to", if times.len() % 2 == 0 { "bento-prov" } else { "bento-fs" }]);
        }
        setup::quiet(upgrade.arg(dir))?;
        times.push(start.elapsed());
        if !busy.load(Ordering::Relaxed) && (system == System::Bento || times.len() % 2 == 1) {
            return Ok(times);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A directory for writes that are cut off.
fn in_flight(dir: &Path) -> Result<PathBuf> {
    let all = dir.join(IN_FLIGHT);
    fs::create_dir_all(&all)?;
    let scratch = all.join(fs::read_dir(&all)?.count().to_string());
    fs::create_dir(&scratch)?;
    Ok(scratch)
}

/// Kills the server in the middle of further, undurable work.
fn crash(story: &Story, volume: &mut Volume) -> Result<()> {
    let scratch = in_flight(volume.dir())?;
    let started = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| write_until_cut_off(&scratch, &started));
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(30));
        story.step("killed the server (SIGKILL) in the middle of writes", || volume.kill_server())
    })
}

/// Writes until nobody is there any more.
fn wait_for_the_end(dir: &Path) -> Result<()> {
    let scratch = in_flight(dir)?;
    let started = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| write_until_cut_off(&scratch, &started));
        std::thread::sleep(Duration::from_millis(500));
        println!("{CUT}");
        std::thread::sleep(Duration::from_secs(60));
        bail!("the power was not cut")
    })
}

fn write_until_cut_off(dir: &Path, started: &AtomicBool) {
    for number in 0..u32::MAX {
        let file = fs::File::create(dir.join(number.to_string()));
        // The error is the end that this waits for: the server is gone.
        if file.and_then(|mut file| file.write_all(&[1; 5000])).is_err() {
            break;
        }
        started.store(true, Ordering::Relaxed);
    }
    started.store(true, Ordering::Relaxed);
}

fn verify(story: &Story, dir: &Path, sources: &Sources) -> Result<()> {
    story.step("read the tree back: every byte is there", || {
        let found = tree::digest(&dir.join(TREE))?;
        ensure!(found == sources.digest, "found {found:?}, not {:?}", sources.digest);
        Ok(())
    })?;
    story.step("git fsck and git status of the clone: intact, unchanged", || {
        let clone = dir.join(CLONE);
        tree::git(&clone, &["fsck", "--full", "--strict", "--no-progress"])?;
        let status = tree::git_command(&clone).args(["status", "--porcelain"]).output()?;
        ensure!(status.status.success() && status.stdout.is_empty(), "{status:?}");
        Ok(())
    })
}
