//! `same-volume A B`: whether two volumes hold the same bytes, block by block, but for the log and the clock.
//!
//! Left out: the log's region, every field that holds a time, the checksums that cover those, in which batch a
//! block was written last (a server hears of the last close of a removed file later than a kernel, so it may free
//! the file's blocks one batch later), and how often an inode changed (a kernel with a page cache publishes in one
//! transaction what reaches a server as several requests). For volumes that began as copies of one another and saw the same operations,
//! one at a time, through two hosts.

use anyhow::{Context, Result, bail, ensure};
use bento_api::{BLOCK, Bytes};
use bento_fs::format::Superblock;
use bento_hostile::home;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Fields that the clock or the order of batches decides, or that follow from those.
const LEFT_OUT: &[&str] = &[
    "crc",
    "seq",
    "atime",
    "mtime",
    "ctime",
    "btime",
    "atime_ns",
    "mtime_ns",
    "ctime_ns",
    "btime_ns",
    "mkfs_time",
    "mount_time",
    "write_time",
];

/// The field that counts an inode's changes.
const CHANGES: (&str, &str) = ("RawInode", "version");

/// More lines than this say nothing new.
const MOST_LINES: usize = 40;

struct Volume {
    blocks: Vec<Bytes>,
    /// The name of the structure in each block, as far as it is one.
    names: BTreeMap<u64, String>,
}

impl Volume {
    fn read(path: &str) -> Result<(Volume, Superblock)> {
        let bytes = std::fs::read(path).with_context(|| path.to_string())?;
        let mut blocks: Vec<Bytes> = bytes.as_chunks::<BLOCK>().0.to_vec();
        let first = blocks.get(1).context("no volume is so small")?;
        let superblock = Superblock::decode(first).map_err(|what| anyhow::anyhow!("{path}: {what:?}"))?;
        let mut names = BTreeMap::new();
        for (layout, targets) in home(&blocks, &superblock) {
            for (block, at) in targets {
                names.entry(block).or_insert_with(|| layout.name.to_string());
                let mut offset = at;
                for field in layout.fields {
                    if LEFT_OUT.contains(&field.name) || (layout.name, field.name) == CHANGES {
                        let bytes = blocks.get_mut(block as usize).context("a block")?;
                        bytes.get_mut(offset..offset + field.size).context("a field")?.fill(0);
                    }
                    offset += field.size;
                }
            }
        }
        Ok((Volume { blocks, names }, superblock))
    }
}

fn run() -> Result<usize> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [one, two] = paths.as_slice() else { bail!("usage: same-volume A B") };
    let ((a, superblock), (b, _)) = (Volume::read(one)?, Volume::read(two)?);
    ensure!(a.blocks.len() == b.blocks.len(), "{} and {} blocks", a.blocks.len(), b.blocks.len());
    let geometry = &superblock.geometry;
    let log = geometry.log_start.0..geometry.log_start.0 + geometry.log_len;
    let mut different = 0;
    for (number, (left, right)) in (0u64..).zip(a.blocks.iter().zip(&b.blocks)) {
        if log.contains(&number) || left == right {
            continue;
        }
        different += 1;
        if different <= MOST_LINES {
            let places: Vec<usize> = (0..BLOCK).filter(|at| left.get(*at) != right.get(*at)).collect();
            let name = a.names.get(&number).or_else(|| b.names.get(&number));
            println!(
                "block {number} ({}): {} bytes differ, the first at {:?}",
                name.map_or("data", String::as_str),
                places.len(),
                places.first()
            );
        }
    }
    println!("{different} of {} blocks differ", a.blocks.len());
    Ok(different)
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("same-volume: {error:#}");
            ExitCode::from(2)
        }
    }
}
