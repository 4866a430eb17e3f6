//! `bento prov log`: every record about a place, in order.
use super::Asked;
use super::shown::{Gap, Inode, Record, gaps};
use anyhow::Result;
use bento_console::{Name, quoted_bytes};
use serde::Serialize;
use std::io::{self, Write};

/// The answer.
#[derive(Serialize)]
pub(super) struct Log {
    #[serde(flatten)]
    path: Name,
    #[serde(flatten)]
    object: Option<Inode>,
    /// Whether the path leads there now.
    exists: bool,
    /// The oldest records that were dropped to make room, of the whole volume.
    dropped: u64,
    records: Vec<Record>,
    gaps: Vec<Gap>,
    /// Lines for people: records and gaps in order.
    #[serde(skip)]
    lines: Vec<String>,
}

/// Collects the records.
pub(super) fn answer(asked: &Asked) -> Result<Log> {
    let history = &asked.history;
    let object = if asked.is_root() { None } else { Some(asked.object()?) };
    let mut log = Log {
        path: Name::new("path", &asked.path),
        object: object.map(|(ino, generation)| Inode { inode: ino.0, generation }),
        exists: asked.found.object.is_some(),
        dropped: history.dropped(),
        records: Vec::new(),
        gaps: Vec::new(),
        lines: Vec::new(),
    };
    let mut paths = asked.paths.clone();
    let mut gaps = gaps(history).into_iter().peekable();
    for (at, event) in history.events.iter().enumerate() {
        if let Some((_, gap)) = gaps.next_if(|(before, _)| *before == at) {
            log.lines.push(format!("--- until {}: {}", gap.until, gap.why));
            log.gaps.push(gap);
        }
        let wanted =
            object.is_none_or(|(ino, generation)| event.is_about(ino, generation) || event.is_in(ino));
        if wanted {
            let record = Record::of(history, &paths, event);
            log.lines.push(record.line());
            log.records.push(record);
        }
        paths.follow(event);
    }
    Ok(log)
}

impl Log {
    pub(super) fn print(&self, json: bool, to: &mut dyn Write) -> io::Result<()> {
        if json {
            return writeln!(to, "{}", serde_json::to_string_pretty(self)?);
        }
        let path = quoted_bytes(self.path.bytes().unwrap_or_default());
        if let (Some(object), false) = (self.object, self.exists) {
            writeln!(to, "{path} is gone; it was inode {}", object.inode)?;
        }
        for line in &self.lines {
            writeln!(to, "{line}")?;
        }
        if self.records.is_empty() {
            writeln!(to, "no record tells of {path}")?;
        }
        Ok(())
    }
}
