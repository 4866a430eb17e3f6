//! What was made, or would be: for people, and in JSON.
use super::{Failure, arguments::Arguments, size, target::Target};
use crate::{Made, Plan};
use bento_api::BLOCK_BYTES;
use bento_console::{Name, quoted};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    device: Name,
    dry_run: bool,
    uuid: String,
    #[serde(flatten)]
    label: Name,
    block_size: u64,
    blocks: u64,
    groups: u32,
    blocks_per_group: u32,
    inodes: u64,
    inodes_per_group: u32,
    inode_size: u32,
    log_start: u64,
    log_blocks: u64,
    summary_start: u64,
    summary_blocks: u64,
    groups_start: u64,
    reserved_blocks: u64,
    superblock_copies: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_blocks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_inodes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_blocks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

fn report(target: &Target, plan: &Plan) -> Report {
    let superblock = &plan.superblock;
    let geometry = &superblock.geometry;
    Report {
        device: Name::new("device", target.path()),
        dry_run: true,
        uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
        label: Name::of("label", Some(superblock.label())),
        block_size: BLOCK_BYTES,
        blocks: geometry.blocks_total,
        groups: geometry.groups,
        blocks_per_group: geometry.blocks_per_group,
        inodes: geometry.inodes_total(),
        inodes_per_group: geometry.inodes_per_group,
        inode_size: 256,
        log_start: geometry.log_start.0,
        log_blocks: geometry.log_len,
        summary_start: geometry.summary_start.0,
        summary_blocks: geometry.summary_len,
        groups_start: geometry.groups_start.0,
        reserved_blocks: superblock.reserved_blocks,
        superblock_copies: geometry.copies().map(|(_, block)| block.0).collect(),
        free_blocks: None,
        free_inodes: None,
        written_blocks: None,
        seconds: None,
    }
}

/// What `-n` shows.
pub(crate) fn layout(arguments: &Arguments, target: &Target, plan: &Plan) -> Result<(), Failure> {
    print(arguments, &report(target, plan), Duration::ZERO)
}

/// What was made.
pub(crate) fn made(
    arguments: &Arguments,
    target: &Target,
    plan: &Plan,
    made: &Made,
    took: Duration,
) -> Result<(), Failure> {
    let report = Report {
        dry_run: false,
        free_blocks: Some(made.free_blocks),
        free_inodes: Some(made.free_inodes),
        written_blocks: Some(made.written),
        seconds: Some(took.as_secs_f64()),
        ..report(target, plan)
    };
    print(arguments, &report, took)
}

fn print(arguments: &Arguments, report: &Report, took: Duration) -> Result<(), Failure> {
    let told = if arguments.json {
        bento_console::print_json(report)
    } else if arguments.quiet && !report.dry_run {
        Ok(())
    } else {
        bento_console::print(|to| to.write_all(words(arguments, report, took).as_bytes()))
    };
    told.map_err(|why| why.to_string())
}

fn words(arguments: &Arguments, report: &Report, took: Duration) -> String {
    let label = report.label.quoted().filter(|_| report.label.bytes() != Some(b""));
    let label = label.map_or("no label".into(), |label| format!("label {label}"));
    let mut text = format!(
        "{}: {} in {} groups, {} inodes, journal of {}\nUUID {}, {label}\n",
        quoted(&arguments.device),
        size::show(report.blocks * BLOCK_BYTES),
        report.groups,
        report.inodes,
        size::show(report.log_blocks * BLOCK_BYTES),
        report.uuid,
    );
    if arguments.verbose || report.dry_run {
        text += &format!(
            "blocks of {}: superblock 1, journal {}, summary {}, groups from {} ({} blocks, {} inodes each)\n",
            report.block_size,
            range(report.log_start, report.log_blocks),
            range(report.summary_start, report.summary_blocks),
            report.groups_start,
            report.blocks_per_group,
            report.inodes_per_group,
        );
        text += &format!("superblock copies in blocks {:?}\n", report.superblock_copies);
    }
    if report.dry_run {
        text += "Nothing was written.\n";
    } else if let Some(written) = report.written_blocks {
        text +=
            &format!("Made in {:.2} s, {} written.\n", took.as_secs_f64(), size::show(written * BLOCK_BYTES));
    }
    text
}

fn range(start: u64, len: u64) -> String {
    format!("{start}-{}", start + len.saturating_sub(1))
}
