//! `bento info`: what a volume is, and how full.
use crate::mount_table;
use crate::session::{Purpose, Session, SessionOptions};
use anyhow::{Context, Result};
use bento_api::BlockNo;
use bento_console::{Name, quoted};
use bento_fs::format::superblock::State;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Arguments of `bento info`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Image, device, or mount point.
    place: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Go by the copy of the superblock in this block.
    #[arg(long = "sb", value_name = "BLOCK")]
    superblock: Option<u64>,
}

#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    source: Name,
    #[serde(flatten)]
    label: Name,
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

/// Features by name.
#[derive(Serialize)]
struct Features {
    compat: Vec<String>,
    ro_compat: Vec<String>,
    incompat: Vec<String>,
}

/// The names of features, as mkfs.bento takes them; what has no name here, in hexadecimal.
fn names_of<F: bitflags::Flags<Bits = u32>>(flags: F) -> Vec<String> {
    let mut unnamed = flags.bits();
    let mut names: Vec<String> = Vec::new();
    for (name, flag) in flags.iter_names() {
        unnamed &= !flag.bits();
        names.push(name.to_lowercase().replace('_', "-"));
    }
    names.extend((unnamed != 0).then(|| format!("{unnamed:#x}")));
    names
}

/// The image of a mount point, or the path itself.
pub(super) fn volume_at(place: &Path) -> Result<PathBuf> {
    let full = place.canonicalize().with_context(|| quoted(&place).to_string())?;
    if !full.is_dir() {
        return Ok(full);
    }
    let mount = mount_table::at(&full).filter(|mount| mount.is_bento);
    Ok(mount.with_context(|| format!("{} is no mounted Bento volume", quoted(&place)))?.source)
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let source = volume_at(&args.place)?;
    let options = SessionOptions {
        purpose: Purpose::Look,
        superblock: args.superblock.map(BlockNo),
        ..SessionOptions::default()
    };
    let session = Session::open(&source, &options)?;
    let mut info = gather(&source, &session);
    if args.superblock.is_some() {
        info.state = "unknown: told by a copy of the superblock";
    }
    if args.json {
        bento_console::print_json(&info)?;
    } else {
        bento_console::print(|to| print(&info, to))?;
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
        source: Name::new("source", source),
        label: Name::of("label", Some(superblock.label())),
        uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
        state,
        errors: superblock.error_count,
        features: Features {
            compat: names_of(superblock.compat),
            ro_compat: names_of(superblock.ro_compat),
            incompat: names_of(superblock.incompat),
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

fn features_line(features: &Features) -> String {
    let Features { compat, ro_compat, incompat } = features;
    let all = [compat, ro_compat, incompat].map(|names| names.join(", "));
    let named: Vec<&str> = all.iter().map(String::as_str).filter(|names| !names.is_empty()).collect();
    if named.is_empty() { "(none)".into() } else { named.join(", ") }
}

fn shown(name: &Name) -> String {
    match name.quoted() {
        Some(quoted) if name.bytes() != Some(b"") => quoted.to_string(),
        _ => "(none)".into(),
    }
}

fn print(info: &Info, to: &mut dyn Write) -> io::Result<()> {
    let size = |blocks: u64| bytesize::ByteSize::b(blocks.saturating_mul(info.block_bytes)).to_string();
    let lines: [(&str, String); 12] = [
        ("Source", shown(&info.source)),
        ("Label", shown(&info.label)),
        ("UUID", info.uuid.clone()),
        ("State", format!("{}, {} errors", info.state, info.errors)),
        ("Features", features_line(&info.features)),
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
    lines.iter().try_for_each(|(name, value)| writeln!(to, "{name:<10}{value}"))
}
