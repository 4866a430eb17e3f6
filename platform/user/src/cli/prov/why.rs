//! `bento prov why`: how what is at a path came there.
//!
//! The chain of an inode is every record about it: made, named, moved, written, cut. What it replaced on its way to its
//! name came before it at that name, and has a chain of its own. The processes of a chain are shown with what else they
//! made or wrote before they last touched it: what they read is not recorded yet.
use super::Asked;
use super::paths::Paths;
use super::shown::{self, Gap, Inode, Process, Record, gaps};
use crate::provenance::{Event, History, Process as Identity};
use anyhow::{Result, bail};
use bento_api::InodeNo;
use bento_console::{Name, quoted, quoted_bytes};
use bento_fs::format::prov::What;
use rustc_hash::FxHashSet;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Predecessors that are looked back at.
const BACK: usize = 16;
/// Other files of a process that people are shown.
const SHOWN: usize = 12;

/// The answer.
#[derive(Serialize)]
pub(super) struct Why {
    #[serde(flatten)]
    path: Name,
    #[serde(flatten)]
    object: Inode,
    /// Whether the path leads there now.
    exists: bool,
    /// Whether the record of its making is there.
    complete: bool,
    chain: Vec<Record>,
    /// What was at its name before, the last first.
    replaced: Vec<Replaced>,
    processes: Vec<Writer>,
    /// Stretches of time since the chain begins of which nothing is recorded.
    gaps: Vec<Gap>,
}

#[derive(Serialize)]
struct Replaced {
    #[serde(flatten)]
    object: Inode,
    chain: Vec<Record>,
}

#[derive(Serialize)]
struct Writer {
    #[serde(flatten)]
    process: Process,
    /// Every name that its command had; the records have them with every byte.
    commands: Vec<String>,
    /// What it did to the chain.
    did: Vec<&'static str>,
    /// What else it made, named, wrote or took away before it last touched the chain.
    also: Vec<Also>,
}

#[derive(Serialize)]
struct Also {
    #[serde(flatten)]
    object: Inode,
    /// Its last known name.
    #[serde(flatten)]
    path: Name,
    did: Vec<&'static str>,
}

type Object = (InodeNo, u32);

fn inode((ino, generation): Object) -> Inode {
    Inode { inode: ino.0, generation }
}

fn object_of(event: &Event) -> Object {
    (event.object.ino, event.object.generation)
}

/// Looks for the chain.
pub(super) fn answer(asked: &Asked) -> Result<Why> {
    if asked.is_root() {
        let path = quoted(&asked.path);
        bail!("{path}: the root directory was made with the volume; ask for `bento prov log`");
    }
    let object = asked.object()?;
    let shown = Shown::new(asked);
    let chain = shown.about(object);
    let (Some(first), Some(last)) = (chain.first().copied(), chain.last().copied()) else {
        bail!(
            "{}: no record tells of it: it was made while nothing was recorded, or its records were dropped",
            quoted(&asked.path)
        );
    };
    let mut replaced: Vec<Replaced> = Vec::new();
    let mut before = shown.replaced_by(object);
    while let Some(object) = before.filter(|_| replaced.len() < BACK) {
        if replaced.iter().any(|earlier| earlier.object == inode(object)) {
            break;
        }
        replaced.push(Replaced { object: inode(object), chain: shown.records(&shown.about(object)) });
        before = shown.replaced_by(object);
    }
    let gaps =
        gaps(&asked.history).into_iter().filter(|(at, gap)| *at > first || gap.before == 1 && first == 0);
    Ok(Why {
        path: Name::new("path", &asked.path),
        object: inode(object),
        exists: asked.found.object.is_some(),
        complete: shown.is_made(first, object),
        chain: shown.records(&chain),
        replaced,
        processes: shown.writers(object, &chain, last),
        gaps: gaps.map(|(_, gap)| gap).collect(),
    })
}

/// A history with every record as it is shown.
struct Shown<'a> {
    history: &'a History,
    records: Vec<Record>,
}

impl<'a> Shown<'a> {
    fn new(asked: &'a Asked) -> Self {
        let mut paths: Paths = asked.paths.clone();
        let show = |event: &Event| {
            let record = Record::of(&asked.history, &paths, event);
            paths.follow(event);
            record
        };
        Self { history: &asked.history, records: asked.history.events.iter().map(show).collect() }
    }

    fn event(&self, at: usize) -> Option<&'a Event> {
        self.history.events.get(at)
    }

    /// The places of all records whose object is this one, or whose names it exchanged.
    fn about(&self, object: Object) -> Vec<usize> {
        let is_it = |event: &Event| {
            object_of(event) == object || (event.what == What::Exchange && event.other == Some(object))
        };
        let events = self.history.events.iter().enumerate();
        events.filter(|(_, event)| is_it(event)).map(|(at, _)| at).collect()
    }

    fn records(&self, places: &[usize]) -> Vec<Record> {
        places.iter().filter_map(|at| self.records.get(*at).cloned()).collect()
    }

    /// Whether a chain begins with the making of its object.
    fn is_made(&self, first: usize, object: Object) -> bool {
        self.event(first).is_some_and(|event| {
            object_of(event) == object && matches!(event.what, What::Create | What::TmpFile)
        })
    }

    /// What this object replaced when it came to its last name: by a rename, or by being made where something was
    /// taken away.
    fn replaced_by(&self, object: Object) -> Option<Object> {
        let mut seen: Option<(usize, &crate::provenance::Named)> = None;
        for at in self.about(object) {
            let event = self.event(at)?;
            match event.what {
                What::Rename if event.other.is_some() => return event.other,
                What::Rename => seen = event.to.as_ref().map(|to| (at, to)),
                What::Create | What::Link => seen = event.name.as_ref().map(|name| (at, name)),
                _ => {}
            }
        }
        let (at, named) = seen?;
        let earlier = self.history.events.get(..at)?.iter().rev();
        let taken = earlier
            .clone()
            .find(|event| event.name.as_ref() == Some(named) || event.to.as_ref() == Some(named))?;
        (taken.what == What::Unlink && object_of(taken) != object).then(|| object_of(taken))
    }

    fn writers(&self, object: Object, chain: &[usize], last: usize) -> Vec<Writer> {
        let mut writers: Vec<(Identity, Writer)> = Vec::new();
        for event in chain.iter().filter_map(|at| self.event(*at)) {
            let identity = self.history.process_of(event);
            let process = shown::process(self.history.session_of(event), &event.who);
            let at = writers.iter().position(|(known, _)| *known == identity).unwrap_or_else(|| {
                let (commands, did, also) = (Vec::new(), Vec::new(), Vec::new());
                writers.push((identity, Writer { process: process.clone(), commands, did, also }));
                writers.len() - 1
            });
            let Some((_, writer)) = writers.get_mut(at) else { continue };
            add(&mut writer.did, shown::what(event.what));
            let command = process.command.bytes().unwrap_or_default();
            add(&mut writer.commands, String::from_utf8_lossy(command).into_owned());
        }
        for (identity, writer) in &mut writers {
            // A process that nobody could name is not one process.
            if identity.pid != 0 {
                writer.also = self.others(*identity, object, last);
            }
        }
        writers.into_iter().map(|(_, writer)| writer).collect()
    }

    /// What else a process did before the record at `last`.
    fn others(&self, process: Identity, object: Object, last: usize) -> Vec<Also> {
        let mut others: BTreeMap<(u64, u32), Also> = BTreeMap::new();
        let mut order: Vec<(u64, u32)> = Vec::new();
        let mut mine: FxHashSet<Object> = FxHashSet::default();
        for (event, record) in self.history.events.iter().zip(&self.records).take(last + 1) {
            let of = object_of(event);
            if of == object || self.history.process_of(event) != process {
                continue;
            }
            let key = (of.0.0, of.1);
            if mine.insert(of) {
                order.push(key);
            }
            let also = others.entry(key).or_insert_with(|| Also {
                object: inode(of),
                path: Name::of("path", None),
                did: Vec::new(),
            });
            add(&mut also.did, record.what);
        }
        for (event, record) in self.history.events.iter().zip(&self.records).take(last + 1) {
            let of = object_of(event);
            if let Some(also) = others.get_mut(&(of.0.0, of.1)) {
                let path = record.to.bytes().or(record.path.bytes());
                if path.is_some() {
                    also.path = Name::of("path", path);
                }
            }
        }
        order.into_iter().filter_map(|key| others.remove(&key)).collect()
    }
}

fn add<T: PartialEq>(to: &mut Vec<T>, item: T) {
    if !to.contains(&item) {
        to.push(item);
    }
}

impl Why {
    pub(super) fn print(&self, json: bool, to: &mut dyn Write) -> io::Result<()> {
        if json {
            return writeln!(to, "{}", serde_json::to_string_pretty(self)?);
        }
        let gone = if self.exists { "" } else { ", which is gone" };
        writeln!(
            to,
            "{} is inode {}, generation {}{gone}",
            quoted_bytes(self.path.bytes().unwrap_or_default()),
            self.object.inode,
            self.object.generation
        )?;
        if !self.complete {
            writeln!(to, "  made while nothing was recorded, or the record was dropped")?;
        }
        for record in &self.chain {
            writeln!(to, "  {}", record.line())?;
        }
        for replaced in &self.replaced {
            writeln!(to, "before it, that name was inode {}'s", replaced.object.inode)?;
            for record in &replaced.chain {
                writeln!(to, "  {}", record.line())?;
            }
        }
        for writer in &self.processes {
            writer.print(to)?;
        }
        for gap in &self.gaps {
            writeln!(to, "not recorded: until {}: {}", gap.until, gap.why)?;
        }
        Ok(())
    }
}

impl Writer {
    fn print(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{} (uid {}): {}", self.process.line(), self.process.uid, self.did.join(", "))?;
        for also in self.also.iter().take(SHOWN) {
            let path = also
                .path
                .quoted()
                .map_or_else(|| format!("inode {}", also.object.inode), |path| path.to_string());
            writeln!(to, "  before that: {} {path}", also.did.join(", "))?;
        }
        match self.also.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(to, "  and {more} more (--json has them all)"),
        }
    }
}
