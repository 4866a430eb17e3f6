//! The records of a log in order, and which session wrote each.
use bento_api::{Bytes, Caller, InodeNo, Time};
use bento_fs::format::Corruption;
use bento_fs::format::prov::{BlockHead, Entry, Object, Record, Session, What, records};

/// A process for good: its number may be another's after it ended, or after the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// The machine's boot.
    pub boot: [u8; 16],
    /// Its number; 0: unknown.
    pub pid: u32,
    /// When it started, in clock ticks since that boot.
    pub start: u64,
}

/// A name in its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// The directory.
    pub dir: InodeNo,
    /// The name.
    pub name: Vec<u8>,
}

impl Named {
    fn of(entry: &Entry<'_>) -> Option<Self> {
        (!entry.name.is_empty()).then(|| Self { dir: entry.dir, name: entry.name.to_vec() })
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number: they are counted over the life of the log.
    pub number: u64,
    /// Its session, as a place in [`History::sessions`].
    pub session: usize,
    /// What was done.
    pub what: What,
    /// By whom.
    pub who: Caller,
    /// When.
    pub when: Time,
    /// To which inode.
    pub object: Object,
    /// The name that was made, taken away, or moved from.
    pub name: Option<Named>,
    /// The name that was moved to.
    pub to: Option<Named>,
    /// The inode that was replaced or exchanged, and its generation.
    pub other: Option<(InodeNo, u32)>,
    /// A whiteout was left under the old name.
    pub whiteout: bool,
}

impl Event {
    fn of(number: u64, session: usize, record: &Record<'_>) -> Self {
        let Record { what, whiteout, who, when, object, name, to, other } = *record;
        let (name, to) = (Named::of(&name), Named::of(&to));
        Self { number, session, what, who, when, object, name, to, other, whiteout }
    }

    /// Whether it is about this inode: as what was changed, replaced, or exchanged.
    pub fn is_about(&self, ino: InodeNo, generation: u32) -> bool {
        (self.object.ino, self.object.generation) == (ino, generation)
            || self.other == Some((ino, generation))
    }

    /// Whether it made, took away, or moved a name of this directory.
    pub fn is_in(&self, dir: InodeNo) -> bool {
        [&self.name, &self.to].into_iter().flatten().any(|named| named.dir == dir)
    }
}

/// Why blocks are no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// A block.
    #[error("block {0} of the provenance log: {1}")]
    Block(u64, Corruption),
    /// Records are missing between two blocks.
    #[error("records {0} to {1} of the provenance log are missing")]
    Missing(u64, u64),
}

/// What the log tells.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every session that wrote records, in order.
    pub sessions: Vec<Session>,
    /// Every record, in order.
    pub events: Vec<Event>,
}

impl History {
    /// The history in the record blocks of a log, in any order.
    ///
    /// # Errors
    /// The first block that is wrong.
    pub fn of_blocks<'b>(blocks: impl IntoIterator<Item = &'b Bytes>) -> Result<Self, Damaged> {
        let mut heads = Vec::new();
        for (at, bytes) in (1..).zip(blocks) {
            let head = BlockHead::decode(bytes).map_err(|what| Damaged::Block(at, what))?;
            heads.push((head, at, bytes));
        }
        heads.sort_by_key(|(head, ..)| head.turn);
        let mut history = Self::default();
        let mut next = None;
        for (head, at, bytes) in heads {
            if let Some(next) = next.filter(|next| *next != head.first) {
                return Err(Damaged::Missing(next, head.first.saturating_sub(1)));
            }
            next = Some(head.first.saturating_add(head.count.into()));
            history.add(&head, bytes).map_err(|what| Damaged::Block(at, what))?;
        }
        Ok(history)
    }

    fn add(&mut self, head: &BlockHead, bytes: &Bytes) -> Result<(), Corruption> {
        if self.sessions.last() != Some(&head.session) {
            self.sessions.push(head.session);
        }
        let session = self.sessions.len() - 1;
        for record in records(bytes)? {
            let (number, record) = record?;
            self.events.push(Event::of(number, session, &record));
        }
        Ok(())
    }

    /// How many records the ring dropped: the oldest.
    pub fn dropped(&self) -> u64 {
        self.events.first().map_or(0, |first| first.number.saturating_sub(1))
    }

    /// The session of an event.
    pub fn session_of(&self, event: &Event) -> Option<&Session> {
        self.sessions.get(event.session)
    }

    /// The process of an event.
    pub fn process_of(&self, event: &Event) -> Process {
        let boot = self.session_of(event).map_or([0; 16], |session| session.boot);
        Process { boot, pid: event.who.pid, start: event.who.start_time }
    }
}
