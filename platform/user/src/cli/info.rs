//! `bento info`: what a volume is, and how full.
use crate::mount_table;
use crate::session::{Purpose, Session, SessionOptions};
use anyhow::{Context, Result};
use bento_fs::format::superblock::State;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Arguments of `bento info`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Image, device, or mount point.
    place: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info {
    source: String,
    label: String,
    uuid: String,
    state: &'static str,
    errors: u32,
    features: Features,
    block_bytes: u64,
    blocks: u64,
    data_blocks: u64,
    free_blocks: u64,
    inodes: u64,
    free_inodes: u64,
    groups: u32,
    blocks_per_group: u32,
    inodes_per_group: u32,
    log_blocks: u64,
    log_batches: u32,
    orphans: u64,
    mounts: u32,
    made: i64,
    mounted: i64,
    written: i64,
}

#[derive(Serialize)]
struct Features {
    compat: u32,
    ro_compat: u32,
    incompat: u32,
}

/// The image of a mount point, or the path itself.
pub(super) fn volume_at(place: &Path) -> Result<PathBuf> {
    let full = place.canonicalize().with_context(|| place.display().to_string())?;
    if !full.is_dir() {
        return Ok(full);
    }
    let mount = mount_table::at(&full).filter(|mount| mount.is_bento);
    Ok(mount.with_context(|| format!("{} is no mounted Bento volume", place.display()))?.source)
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let source = volume_at(&args.place)?;
    let options = SessionOptions { purpose: Purpose::Look, ..SessionOptions::default() };
    let session = Session::open(&source, &options)?;
    let info = gather(&source, &session);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&info)?);
    } else {
        print(&info);
    }
    Ok(())
}

fn gather(source: &Path, session: &Session) -> Info {
    let superblock = session.superblock();
    let geometry = &superblock.geometry;
    let usage = session.mount().statfs();
    let totals = session.mount().containers().totals();
    let state = match (superblock.state.contains(State::ERROR), superblock.state.contains(State::CLEAN)) {
        (true, _) => "errors",
        (false, true) => "clean",
        (false, false) => "in use, or not unmounted",
    };
    Info {
        source: source.display().to_string(),
        label: String::from_utf8_lossy(superblock.label()).into_owned(),
        uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
        state,
        errors: superblock.error_count,
        features: Features {
            compat: superblock.compat.bits(),
            ro_compat: superblock.ro_compat.bits(),
            incompat: superblock.incompat.bits(),
        },
        block_bytes: bento_api::BLOCK_BYTES,
        blocks: geometry.blocks_total,
        data_blocks: usage.blocks,
        free_blocks: usage.blocks_free,
        inodes: usage.inodes,
        free_inodes: usage.inodes_free,
        groups: geometry.groups,
        blocks_per_group: geometry.blocks_per_group,
        inodes_per_group: geometry.inodes_per_group,
        log_blocks: geometry.log_len,
        log_batches: session.opened().replayed,
        orphans: totals.orphans,
        mounts: superblock.mount_count,
        made: superblock.mkfs_time,
        mounted: superblock.mount_time,
        written: superblock.write_time,
    }
}

fn print(info: &Info) {
    let size = |blocks: u64| bytesize::ByteSize::b(blocks.saturating_mul(info.block_bytes)).to_string();
    let lines: [(&str, String); 12] = [
        ("Source", info.source.clone()),
        ("Label", if info.label.is_empty() { "(none)".into() } else { info.label.clone() }),
        ("UUID", info.uuid.clone()),
        ("State", format!("{}, {} errors", info.state, info.errors)),
        (
            "Features",
            format!(
                "compat {:#x}, ro-compat {:#x}, incompat {:#x}",
                info.features.compat, info.features.ro_compat, info.features.incompat
            ),
        ),
        ("Size", format!("{} blocks of {} bytes ({})", info.blocks, info.block_bytes, size(info.blocks))),
        (
            "Free",
            format!("{} of {} data blocks ({})", info.free_blocks, info.data_blocks, size(info.free_blocks)),
        ),
        ("Inodes", format!("{} free of {}", info.free_inodes, info.inodes)),
        (
            "Groups",
            format!(
                "{}, of {} blocks and {} inodes",
                info.groups, info.blocks_per_group, info.inodes_per_group
            ),
        ),
        (
            "Log",
            format!(
                "{} blocks ({}), {} batches to replay",
                info.log_blocks,
                size(info.log_blocks),
                info.log_batches
            ),
        ),
        ("Orphans", info.orphans.to_string()),
        ("Mounts", info.mounts.to_string()),
    ];
    for (name, value) in lines {
        println!("{name:<10}{value}");
    }
}
