//! Records as they are shown: to people in a line, to machines as JSON.
use super::paths::Paths;
use crate::provenance::{Event, History};
use bento_api::{Caller, Time};
use bento_console::{Name, quoted_bytes};
use bento_fs::format::prov::{Began, Session, What};
use serde::Serialize;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Process {
    pub boot: Option<String>,
    /// 0: unknown.
    pub pid: u32,
    /// In clock ticks since boot; none: unknown.
    pub start: Option<u64>,
    #[serde(flatten)]
    pub command: Name,
    pub uid: u32,
}

/// An inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Inode {
    pub inode: u64,
    pub generation: u32,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    pub number: u64,
    pub what: &'static str,
    pub when: String,
    pub process: Process,
    #[serde(flatten)]
    pub object: Inode,
    pub version: u64,
    /// In octal, as stat(1) has it.
    pub mode: String,
    pub links: u32,
    pub size: u64,
    #[serde(flatten)]
    pub path: Name,
    #[serde(flatten)]
    pub to: Name,
    /// What was replaced or exchanged.
    pub other: Option<Inode>,
    pub whiteout: bool,
}

/// A stretch of time of which nothing is recorded, up to this session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gap {
    /// The number of the first record behind it.
    pub before: u64,
    /// When recording went on.
    pub until: String,
    pub why: &'static str,
}

pub(super) fn time(time: Time) -> String {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    match jiff::Timestamp::new(time.seconds, nanoseconds) {
        Ok(stamp) => format!("{stamp:.6}"),
        Err(_) => format!("{}.{:09}", time.seconds, time.nanoseconds),
    }
}

pub(super) fn what(what: What) -> &'static str {
    match what {
        What::Create => "create",
        What::TmpFile => "tmpfile",
        What::Link => "link",
        What::Unlink => "unlink",
        What::Rename => "rename",
        What::Exchange => "exchange",
        What::Truncate => "truncate",
        What::FirstWrite => "write",
    }
}

pub(super) fn process(session: Option<&Session>, who: &Caller) -> Process {
    let boot = session.map(|session| session.boot).filter(|boot| *boot != [0; 16]);
    let command = who.command.split(|byte| *byte == 0).next().unwrap_or_default();
    Process {
        boot: boot.map(|boot| uuid::Uuid::from_bytes(boot).to_string()),
        pid: who.pid,
        start: (who.start_time != 0).then_some(who.start_time),
        command: Name::of("command", Some(command)),
        uid: who.uid,
    }
}

impl Process {
    /// For people: `cp[1234]`.
    pub(super) fn line(&self) -> String {
        match (self.pid, self.command.bytes().unwrap_or_default()) {
            (0, _) => "an unknown process".into(),
            (pid, b"") => format!("[{pid}]"),
            (pid, command) => format!("{}[{pid}]", quoted_bytes(command)),
        }
    }
}

impl Record {
    pub(super) fn of(history: &History, paths: &Paths, event: &Event) -> Self {
        let inode = |ino: bento_api::InodeNo, generation| Inode { inode: ino.0, generation };
        Self {
            number: event.number,
            what: what(event.what),
            when: time(event.when),
            process: process(history.session_of(event), &event.who),
            object: inode(event.object.ino, event.object.generation),
            version: event.object.version,
            mode: format!("{:o}", event.object.mode),
            links: event.object.nlink,
            size: event.object.size,
            path: Name::of("path", event.name.as_ref().map(|name| paths.of(name)).as_deref()),
            to: Name::of("to", event.to.as_ref().map(|to| paths.of(to)).as_deref()),
            other: event.other.map(|(ino, generation)| inode(ino, generation)),
            whiteout: event.whiteout,
        }
    }

    /// For people, in one line.
    pub(super) fn line(&self) -> String {
        let subject = match (self.path.quoted(), self.to.quoted()) {
            (Some(path), Some(to)) if self.what == "exchange" => format!("{path} <-> {to}"),
            (Some(path), Some(to)) => format!("{path} -> {to}"),
            (Some(path), None) => path.to_string(),
            _ => format!("inode {}", self.object.inode),
        };
        let more = match self.what {
            "truncate" => format!(" to {} bytes", self.size),
            "rename" if self.whiteout => " (left a whiteout)".into(),
            "rename" => {
                self.other.map(|other| format!(" (replaced inode {})", other.inode)).unwrap_or_default()
            }
            "unlink" if self.links > 0 => format!(" ({} links left)", self.links),
            _ => String::new(),
        };
        format!(
            "{}  {:<9} {subject}{more}  by {} uid {}",
            self.when,
            self.what,
            self.process.line(),
            self.process.uid
        )
    }
}

/// Every stretch of time that no record tells of, with the place in the history at which it ends.
pub(super) fn gaps(history: &History) -> Vec<(usize, Gap)> {
    let mut gaps = Vec::new();
    let mut session = None;
    for (at, event) in history.events.iter().enumerate() {
        if session == Some(event.session) {
            continue;
        }
        session = Some(event.session);
        let Some(of) = history.session_of(event) else { continue };
        let dropped = at == 0 && history.dropped() > 0;
        let why = match of.began {
            _ if dropped => "older records were dropped to make room",
            Began::First => "nothing was recorded before this",
            Began::MountAfterGap => "mounted meanwhile by a version that does not record",
            Began::TakeoverAfterGap => "served until then by a version that does not record",
            Began::Mount | Began::Takeover => continue,
        };
        let until = time(if dropped { event.when } else { of.since });
        gaps.push((at, Gap { before: event.number, until, why }));
    }
    gaps
}
