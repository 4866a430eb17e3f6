//! What happened in a run, in order, as the host saw it.
//!
//! Operations of one or more streams overlap. What decides the order in which a journaled file system makes them
//! durable is when their transactions joined a batch, so the host notes three things of each operation: that it
//! began (its paths are resolved, nothing has changed), each join of a transaction that belongs to it, and its end.
//! Transactions that belong to no operation (a checkpoint, a periodic flush of times) are not noted.

use bento_api::Time;
use rustix::io::Errno;

use super::model::Model;
use crate::jlang::Op;

/// Names an operation: its number in order of issue, over all streams. Also the seed of the bytes that it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u32);

/// Names a stream: who shares open descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u8);

/// An operation that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// By whom.
    pub stream: Stream,
    /// What.
    pub op: Op,
    /// Its time, which is the time of everything it changes.
    pub time: Time,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The operation resolved its paths, atomically, and goes on to its entry.
    Start(OpId),
    /// A transaction of the operation joined the running batch.
    Join(OpId),
    /// The operation returned; with the number of the inode that it made or opened, if the host knows it.
    End(OpId, Result<Option<u64>, Errno>),
}

/// A run. [`crate::disk::Recorder::mark`] ties it to the disk's log: note the event, then mark `events.len()`.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By [`OpId`].
    pub ops: Vec<Issued>,
    /// In order.
    pub events: Vec<Event>,
}

impl History {
    /// Notes that an operation begins, and names it.
    pub fn start(&mut self, stream: Stream, op: Op, time: Time) -> OpId {
        let id = OpId(u32::try_from(self.ops.len()).unwrap_or(u32::MAX));
        self.ops.push(Issued { stream, op, time });
        self.events.push(Event::Start(id));
        id
    }

    /// Notes a join.
    pub fn join(&mut self, op: OpId) {
        self.events.push(Event::Join(op));
    }

    /// Notes the end.
    pub fn end(&mut self, op: OpId, result: Result<Option<u64>, Errno>) {
        self.events.push(Event::End(op, result));
    }

    /// The history of one stream on a file system that does what `model` does, each operation that changes something in
    /// one transaction. Operation `n` happens at second `n` after `start`.
    pub fn predicted(mut model: Model, ops: &[Op], start: Time) -> History {
        let mut history = History::default();
        for (second, op) in (1..).zip(ops) {
            let time = Time::new(start.seconds + second, start.nanoseconds);
            let id = history.start(Stream::default(), op.clone(), time);
            let issued = Issued { stream: Stream::default(), op: op.clone(), time };
            let result = model.run(id, &issued);
            if result.as_ref().is_ok_and(|effect| !effect.touched.is_empty()) {
                history.join(id);
            }
            history.end(id, result.map(|_| None));
        }
        history
    }

    /// The first events, for people.
    pub fn listing(&self, events: usize) -> Vec<String> {
        let line = |event: &Event| {
            let (what, op) = match event {
                Event::Start(op) => ("begins".to_owned(), op),
                Event::Join(op) => ("joins".to_owned(), op),
                Event::End(op, Ok(_)) => ("ends".to_owned(), op),
                Event::End(op, Err(errno)) => (format!("ends: {errno}"), op),
            };
            match self.issued(*op) {
                Some(issued) => format!("{:>3} stream {}: {} {what}", op.0, issued.stream.0, issued.op),
                None => format!("{:>3} {what}", op.0),
            }
        };
        self.events.iter().take(events).map(line).collect()
    }

    /// An operation by its name.
    pub fn issued(&self, op: OpId) -> Option<&Issued> {
        self.ops.get(op.0 as usize)
    }
}
