//! Source trees made from a seed: as many files, as deep, as large as a kernel's, without a download.

use anyhow::{Context, Result, bail};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

const SEED: u64 = 0x6265_6e74_6f66_7331;

/// Words of file names and of their text.
const WORDS: &[&str] = &[
    "core", "drv", "pci", "net", "block", "queue", "alloc", "inode", "super", "xfer", "hash", "table", "io",
    "dma", "irq", "sched", "timer", "event", "sysfs", "debug", "config", "power", "clock", "phy", "regs",
    "main", "init", "util", "string", "crypto", "sound", "video", "usb", "i2c", "spi", "gpio", "mmu",
    "trace",
];

const EXTENSIONS: &[(&str, u32)] =
    &[("c", 46), ("h", 34), ("rst", 6), ("dts", 6), ("S", 3), ("yaml", 3), ("txt", 2)];

/// What a tree holds, for checking a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Regular files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// A hash over every path and content.
    pub hash: u64,
}

/// Writes a tree of `files` regular files below `top`.
///
/// Sizes are log-normal (median 3.7 KB, mean 11 KB, up to 1 MiB), a directory holds 1 to 40 files and
/// up to 12 directories (22 at the top), fewer the deeper it lies: the figures of a kernel tree.
pub fn generate(top: &Path, files: usize) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let text = text(&mut random);
    let mut written = 0;
    // Breadth first: a queue of directories still to fill.
    let mut queue = std::collections::VecDeque::from([(top.to_path_buf(), 0)]);
    while let Some((dir, depth)) = queue.pop_front() {
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let here = random.random_range(1..=40).min(files - written);
        for number in 0..here {
            write_file(&dir.join(file_name(&mut random, number)), size(&mut random), &text, &mut random)?;
        }
        written += here;
        if written == files {
            return Ok(());
        }
        // Never fewer than two when these are the last, or a small tree would end early.
        let least = if queue.is_empty() { 2 } else { 0 };
        let children = if depth == 0 { 22 } else { random.random_range(least..=(12 / depth).max(least)) };
        for number in 0..children {
            let name = format!("{}{number}", WORDS[random.random_range(0..WORDS.len())]);
            queue.push_back((dir.join(name), depth + 1));
        }
    }
    bail!("the tree ended after {written} of {files} files")
}

/// A mebibyte of words to cut files from.
fn text(random: &mut SmallRng) -> Vec<u8> {
    let mut text = Vec::with_capacity(1 << 20);
    while text.len() < 1 << 20 {
        text.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
        text.push(if random.random_range(0..9) == 0 { b'\n' } else { b' ' });
    }
    text
}

fn file_name(random: &mut SmallRng, number: usize) -> String {
    if number == 0 {
        return "Makefile".to_string();
    }
    let mut pick = random.random_range(0..EXTENSIONS.iter().map(|(_, weight)| weight).sum());
    let mut extension = "c";
    for (name, weight) in EXTENSIONS {
        if pick < *weight {
            extension = name;
            break;
        }
        pick -= weight;
    }
    let (first, second) = (random.random_range(0..WORDS.len()), random.random_range(0..WORDS.len()));
    format!("{}_{}-{number}.{extension}", WORDS[first], WORDS[second])
}

/// Log-normal: Box-Muller gives the normal part.
fn size(random: &mut SmallRng) -> usize {
    let (u, v): (f64, f64) = (random.random_range(f64::EPSILON..1.0), random.random());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    (3700.0 * (1.48 * normal).exp()).clamp(20.0, 1_048_576.0) as usize
}

fn write_file(path: &Path, size: usize, text: &[u8], random: &mut SmallRng) -> Result<()> {
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let start = random.random_range(0..=text.len() - size.min(text.len()));
    file.write_all(&text[start..start + size.min(text.len())])?;
    Ok(())
}

/// Packs the directory `name` below `parent` into a tar file, the same bytes every time.
pub fn pack(parent: &Path, name: &str, archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--format=gnu", "-cf"]);
    crate::setup::quiet(command.arg(archive).arg("-C").arg(parent).arg(name))
}

/// Makes a git repository with one commit of everything below `dir`.
pub fn make_repository(dir: &Path) -> Result<()> {
    git(dir, &["init", "-q"])?;
    git(dir, &["add", "-A"])?;
    git(dir, &["commit", "-q", "-m", "A tree made for measuring"])
}

/// Runs git in `dir` under a fixed name, free of the caller's configuration.
pub fn git(dir: &Path, arguments: &[&str]) -> Result<()> {
    crate::setup::quiet(git_command(dir).args(arguments))
}

/// The command behind [`git`].
pub fn git_command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "bento").env(format!("GIT_{role}_EMAIL"), "bento@localhost");
        command.env(format!("GIT_{role}_DATE"), "2023-11-14T22:13:20Z");
    }
    // A repository of root's, read by root, wherever it lies.
    command
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    command
}

/// Reads everything below `top` and sums it up.
pub fn digest(top: &Path) -> Result<Digest> {
    let mut sum = Digest { files: 0, bytes: 0, hash: 0 };
    let mut hasher = DefaultHasher::new();
    add(top, top, &mut sum, &mut hasher)?;
    sum.hash = hasher.finish();
    Ok(sum)
}

fn add(top: &Path, dir: &Path, sum: &mut Digest, hasher: &mut DefaultHasher) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        path.strip_prefix(top)?.hash(hasher);
        if path.symlink_metadata()?.is_dir() {
            add(top, &path, sum, hasher)?;
        } else {
            let mut content = Vec::new();
            File::open(&path)?.read_to_end(&mut content).with_context(|| path.display().to_string())?;
            sum.files += 1;
            sum.bytes += content.len() as u64;
            content.hash(hasher);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_tree_is_the_same_every_time_and_of_the_shape_asked_for() -> Result<()> {
        let place = tempfile::tempdir()?;
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        generate(&one, 600)?;
        generate(&two, 600)?;
        let sum = digest(&one)?;
        assert_eq!(sum, digest(&two)?);
        assert_eq!(sum.files, 600);
        assert!((4_000..20_000).contains(&(sum.bytes / sum.files)), "{sum:?}");
        Ok(())
    }
}
