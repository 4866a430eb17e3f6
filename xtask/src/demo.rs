//! `cargo xtask demo`: one image from mkfs to fsck, with an upgrade and a killed server between.

use crate::bench::worker::settle;
use crate::build::{self, Bento};
use crate::peers::{self, Programs, Shape, System, Volume};
use crate::scratch::Scratch;
use crate::{setup, tree};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Run on another system that has a server, without the upgrade
    #[arg(long, value_enum, default_value = "bento", hide = true)]
    on: System,
    /// Files of the unpacked tree
    #[arg(long, default_value_t = 4_000)]
    files: usize,
}

const IMAGE_SIZE: u64 = 2 << 30;
const TREE: &str = "tree";
const CLONE: &str = "clone";

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
    let programs = peers::programs(options.on)?;
    setup::become_root("mounting")?;
    setup::need(&[setup::MOUNT, setup::FILES])?;
    let place = Scratch::new("demo-", &build::own_dir("demo")?)?;
    let story = Story;
    let sources = story
        .step("made a tree to unpack and a git bundle to clone", || sources(place.path(), options.files))?;
    let shape = Shape { place: place.path(), size: IMAGE_SIZE, options: "" };
    let mut volume =
        story.step("made a 2 GiB image and mounted it", || Volume::create(options.on, &programs, &shape))?;
    work(&story, &volume, &sources, &programs)?;
    story.step("made it durable (fsync of the root directory)", || settle(volume.dir()))?;
    crash(&story, &mut volume)?;
    verify(&story, volume.dir(), &sources)?;
    story.step("deleted the tree", || Ok(fs::remove_dir_all(volume.dir().join(TREE))?))?;
    story.step("unmounted; the server has ended", || volume.unmount())?;
    story.step("checked the image: clean", || volume.check())?;
    println!("all of it worked");
    Ok(())
}

/// A tar file of a generated tree, and a bundle of this repository, or of the tree where there is none.
fn sources(place: &Path, files: usize) -> Result<Sources> {
    let top = place.join(TREE);
    tree::generate(&top, files)?;
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

/// Clones and unpacks while the core is upgraded again and again.
fn work(story: &Story, volume: &Volume, sources: &Sources, programs: &Programs) -> Result<()> {
    let busy = AtomicBool::new(true);
    let dir = volume.dir();
    let upgrades = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let upgrader = match programs {
            Programs::Bento(bento) => Some(scope.spawn(|| upgrade_while(bento, dir, &busy))),
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
fn upgrade_while(bento: &Bento, dir: &Path, busy: &AtomicBool) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        setup::quiet(bento.command("bento").arg("upgrade").arg(dir))?;
        times.push(start.elapsed());
        if !busy.load(Ordering::Relaxed) {
            return Ok(times);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kills the server in the middle of further, undurable work, and mounts again.
fn crash(story: &Story, volume: &mut Volume) -> Result<()> {
    let scratch = volume.dir().join("in-flight");
    fs::create_dir(&scratch)?;
    let started = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| write_until_cut_off(&scratch, &started));
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(30));
        story.step("killed the server (SIGKILL) in the middle of writes", || volume.kill_server())
    })?;
    story.step("mounted again; the journal was replayed", || volume.mount())
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
