//! The report, for people and for programs.
use super::arguments::Arguments;
use crate::{Journal, Outcome, Problem, Report};
use bento_console::{Name, quoted, quoted_bytes};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// The version of the JSON report; raised when a field changes its meaning or goes.
const SCHEMA: u32 = 2;

/// Writes the report for people.
pub(super) fn text(to: &mut dyn Write, arguments: &Arguments, report: &Report) -> io::Result<()> {
    let device = quoted(&arguments.device);
    for problem in &report.problems {
        writeln!(to, "{problem}")?;
    }
    let kept = report.problems.len() as u64;
    if report.count() > kept {
        writeln!(to, "... and {} more", report.count() - kept)?;
    }
    if arguments.verbose && !report.is_clean() {
        for (what, count) in &report.totals {
            writeln!(to, "{count:>8} x {}: {}", what.code(), what.text())?;
        }
    }
    for note in &report.notes {
        writeln!(to, "note: {note}")?;
    }
    match report.journal {
        Journal::Replayable(1) => {
            writeln!(to, "{device}: one batch in the log, which the next mount replays")?
        }
        Journal::Replayable(batches @ 2..) => {
            writeln!(to, "{device}: {batches} batches in the log, which the next mount replays")?;
        }
        Journal::Damaged(batches) => writeln!(
            to,
            "{device}: the log is damaged behind {batches} whole batches; the volume can be mounted read-only only"
        )?,
        Journal::Unknown | Journal::Clean | Journal::Replayable(0) => {}
    }
    if arguments.verbose {
        volume(to, report)?;
    }
    match (report.outcome, report.count()) {
        (Outcome::Cancelled, _) => writeln!(to, "{device}: cancelled"),
        (Outcome::GaveUp, count) => {
            writeln!(to, "{device}: {count} problems and no end; the check ended early")
        }
        (Outcome::NoSuperblock, _) => writeln!(
            to,
            "{device}: no superblock, and no copy of one: this is no Bento file system, or -b has to name where a copy is"
        ),
        (Outcome::Quick, 0) => writeln!(to, "{device}: clean"),
        (Outcome::Complete, 0) => {
            let stats = report.stats;
            let (files, dirs) = (stats.files + stats.symlinks + stats.special, stats.directories);
            writeln!(
                to,
                "{device}: clean, {files} files, {dirs} directories, {} blocks free",
                stats.blocks_free
            )
        }
        (_, 1) => writeln!(to, "{device}: 1 problem, which is left as it is"),
        (_, count) => writeln!(to, "{device}: {count} problems, which are left as they are"),
    }
}

fn volume(to: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Some(superblock) = &report.superblock else { return Ok(()) };
    let geometry = superblock.geometry;
    let stats = report.stats;
    writeln!(to, "UUID {}", uuid::Uuid::from_bytes(superblock.uuid))?;
    writeln!(
        to,
        "{} blocks of 4096 bytes, {} groups, {} inodes, log of {} blocks",
        geometry.blocks_total,
        geometry.groups,
        geometry.inodes_total(),
        geometry.log_len
    )?;
    writeln!(
        to,
        "{} files, {} directories, {} symbolic links, {} special files, {} names, {} orphans",
        stats.files, stats.directories, stats.symlinks, stats.special, stats.names, stats.orphans
    )?;
    writeln!(
        to,
        "{} blocks used by files, {} free; {} inodes free",
        stats.blocks_used, stats.blocks_free, stats.inodes_free
    )
}

/// Lists what cannot be read any more: by path, or by number where nothing leads to it.
pub(super) fn lost(to: &mut dyn Write, report: &Report) -> io::Result<()> {
    let lost: BTreeSet<String> =
        report.problems.iter().filter(|problem| problem.is_loss()).filter_map(thing).collect();
    for thing in lost {
        writeln!(to, "{thing}")?;
    }
    Ok(())
}

/// What a problem has damaged: a name in a directory, an inode.
fn thing(problem: &Problem) -> Option<String> {
    let ino = problem.ino?;
    Some(match (&problem.path, &problem.name) {
        (Some(path), Some(name)) => {
            let dir = path.strip_suffix(b"/").unwrap_or(path);
            quoted_bytes(&[dir, b"/", name].concat()).to_string()
        }
        (Some(path), None) => quoted_bytes(path).to_string(),
        (None, Some(name)) => format!("inode {ino}, name {}", quoted_bytes(name)),
        (None, None) => format!("inode {ino}"),
    })
}

#[derive(Serialize)]
struct JsonProblem {
    code: u16,
    name: &'static str,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u64>,
    #[serde(flatten)]
    entry: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_disk: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<u64>,
    #[serde(flatten)]
    path: Option<Name>,
    unreadable: bool,
    loss: bool,
}

impl From<&Problem> for JsonProblem {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.code(),
            name: problem.code.name(),
            what: problem.code.text(),
            inode: problem.ino.map(|ino| ino.0),
            group: problem.group.map(|group| group.0),
            block: problem.block.map(|block| block.0),
            blocks: problem.block.map(|_| problem.blocks),
            entry: problem.name.as_ref().map(|name| Name::of("entry", Some(name))),
            target: problem.target.map(|ino| ino.0),
            on_disk: problem.counts.map(|counts| counts.0),
            counted: problem.counts.map(|counts| counts.1),
            path: problem.path.as_ref().map(|path| Name::of("path", Some(path))),
            unreadable: problem.unreadable,
            loss: problem.is_loss(),
        }
    }
}

#[derive(Serialize)]
struct JsonVolume {
    uuid: String,
    #[serde(flatten)]
    label: Name,
    blocks: u64,
    groups: u32,
    inodes: u64,
}

#[derive(Serialize)]
struct JsonStats {
    files: u64,
    directories: u64,
    symlinks: u64,
    special: u64,
    orphans: u64,
    names: u64,
    blocks_used: u64,
    blocks_free: u64,
    inodes_free: u64,
}

#[derive(Serialize)]
struct JsonJournal {
    state: &'static str,
    batches: u64,
}

#[derive(Serialize)]
struct JsonReport {
    schema: u32,
    #[serde(flatten)]
    device: Name,
    outcome: &'static str,
    clean: bool,
    exit: u8,
    volume: Option<JsonVolume>,
    journal: JsonJournal,
    count: u64,
    problems: Vec<JsonProblem>,
    counts: BTreeMap<u16, u64>,
    notes: Vec<String>,
    stats: JsonStats,
}

/// Writes the report as JSON.
pub(super) fn json(to: &mut dyn Write, arguments: &Arguments, report: &Report, exit: u8) -> io::Result<()> {
    let (state, batches) = match report.journal {
        Journal::Unknown => ("unknown", 0),
        Journal::Clean => ("clean", 0),
        Journal::Replayable(batches) => ("replayable", batches),
        Journal::Damaged(batches) => ("damaged", batches),
    };
    let outcome = match report.outcome {
        Outcome::Complete => "complete",
        Outcome::Quick => "quick",
        Outcome::Cancelled => "cancelled",
        Outcome::GaveUp => "gave up",
        Outcome::NoSuperblock => "no superblock",
    };
    let stats = report.stats;
    let whole = JsonReport {
        schema: SCHEMA,
        device: Name::new("device", &arguments.device),
        outcome,
        clean: report.is_clean() && matches!(report.outcome, Outcome::Complete | Outcome::Quick),
        exit,
        volume: report.superblock.as_ref().map(|superblock| JsonVolume {
            uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
            label: Name::of("label", Some(superblock.label())),
            blocks: superblock.geometry.blocks_total,
            groups: superblock.geometry.groups,
            inodes: superblock.geometry.inodes_total(),
        }),
        journal: JsonJournal { state, batches },
        count: report.count(),
        problems: report.problems.iter().map(JsonProblem::from).collect(),
        counts: report.totals.iter().map(|(what, count)| (what.code(), *count)).collect(),
        notes: report.notes.iter().map(ToString::to_string).collect(),
        stats: JsonStats {
            files: stats.files,
            directories: stats.directories,
            symlinks: stats.symlinks,
            special: stats.special,
            orphans: stats.orphans,
            names: stats.names,
            blocks_used: stats.blocks_used,
            blocks_free: stats.blocks_free,
            inodes_free: stats.inodes_free,
        },
    };
    serde_json::to_writer_pretty(&mut *to, &whole).map_err(io::Error::from)?;
    writeln!(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bento_api::InodeNo;
    use bento_fs::format::Corruption;

    #[test]
    fn names_are_quoted_for_people_and_whole_for_programs() {
        let problem = Problem {
            path: Some(b"/a\n\x1b[2J"[..].into()),
            ..Problem::new(Corruption::InodeType).ino(InodeNo(20)).name(b"\xff", InodeNo(21))
        };
        let shown = problem.to_string();
        assert!(shown.contains("name $'\\xFF'") && shown.contains("($'/a\\n\\x1B[2J')"), "{shown}");
        assert!(!shown.contains(char::is_control));
        let lost = thing(&problem).unwrap();
        assert!(lost.starts_with("$'/a\\n") && !lost.contains(char::is_control), "{lost}");
        let json = serde_json::to_value(JsonProblem::from(&problem)).unwrap();
        assert_eq!((&json["path"], &json["path_bytes"]), (&"/a\n\x1b[2J".into(), &serde_json::Value::Null));
        assert_eq!((&json["entry"], &json["entry_bytes"]), (&"\u{fffd}".into(), &"ff".into()));
        let nameless = serde_json::to_value(JsonProblem::from(&Problem::new(Corruption::InodeType))).unwrap();
        assert!(nameless.get("path").is_none());
    }
}
