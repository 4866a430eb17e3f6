//! The model run along a history: a state for each place in the order of transactions, and what was promised when.

use std::collections::BTreeMap;

use bento_api::{FileKind, Time};
use rustix::io::Errno;
use thiserror::Error;

use super::data::MSYNC_LEN;
use super::history::{Event, History, Issued, OpId};
use super::judge::Judge;
use super::model::{By, Effect, Model, Target, Touch};
use super::state::{Cell, Ino, State};
use crate::jlang::Op;

/// The model after a transaction. Which ones precede it is what a crash may keep.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How many events had happened when it came to be.
    pub events: usize,
    /// By which operation; the first state is by none.
    pub by: Option<OpId>,
    /// The tree.
    pub state: State,
    /// Every path in it.
    pub paths: Vec<(String, Ino)>,
    touched: Vec<(Ino, Touch)>,
}

/// What a persistence operation that returned has promised.
#[derive(Clone, Debug)]
pub struct Promise {
    /// It holds for crashes after so many events.
    pub from: usize,
    /// It covers what had ended after so many events.
    pub through: usize,
    /// No earlier state may be recovered.
    pub at_least: usize,
    /// The file; none is all.
    pub file: Option<Ino>,
    /// The bytes whose data is durable.
    pub data: std::ops::Range<u64>,
    /// Whether times that writes set are durable too.
    pub times: bool,
}

/// The file system under test and the model answered differently: an error before any crash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("operation {} ({line}): expected {}, got {}", op.0, answer(expected), answer(got))]
pub struct Disagreement {
    /// The operation.
    pub op: OpId,
    /// It as text.
    pub line: String,
    /// What the model says.
    pub expected: Result<(), Errno>,
    /// What happened.
    pub got: Result<(), Errno>,
}

fn answer(result: &Result<(), Errno>) -> String {
    match result {
        Ok(()) => "success".to_owned(),
        Err(errno) => errno.to_string(),
    }
}

/// The model's account of a run.
#[derive(Debug)]
pub struct Oracle {
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) cells: Vec<Cell>,
    /// By operation: events after which it had started.
    pub(super) starts: Vec<usize>,
    /// By operation: events after which it had ended.
    pub(super) ends: Vec<Option<usize>>,
    /// By operation: the state from which on all of it is committed.
    pub(super) settled: Vec<Option<usize>>,
    pub(super) promises: Vec<Promise>,
    /// By operation: its place among all that took effect, from 1.
    pub(super) order: Vec<usize>,
    /// Times that operations set in memory, by inode.
    pub(super) timed: BTreeMap<Ino, Vec<(OpId, Time)>>,
    /// Times of operations on one inode that overlapped: any of them may be the one that stays.
    pub(super) contested: BTreeMap<Ino, Vec<Time>>,
    /// Inode numbers that the host saw.
    pub(super) numbers: BTreeMap<Ino, u64>,
}

/// The account in the making.
struct Run<'a> {
    history: &'a History,
    tolerated: &'a [Errno],
    model: Model,
    oracle: Oracle,
    targets: Vec<Option<Result<Target, Errno>>>,
    applied: Vec<Option<Effect>>,
    last_join: Vec<Option<usize>>,
    failed: Vec<bool>,
    /// How often something took effect.
    effects: usize,
}

impl Oracle {
    /// Runs the model, from `start` on, along a history. `tolerated` are errors that no rule predicts (ENOSPC and EIO,
    /// where they were provoked): an operation that ends with one may have done any part of its work.
    ///
    /// # Errors
    /// The first operation that answered something the model does not allow.
    pub fn build(start: Model, history: &History, tolerated: &[Errno]) -> Result<Oracle, Disagreement> {
        let ops = history.ops.len();
        let first = Snapshot {
            events: 0,
            by: None,
            paths: start.state.paths(),
            state: start.state.clone(),
            touched: Vec::new(),
        };
        let oracle = Oracle {
            snapshots: vec![first],
            cells: Vec::new(),
            starts: vec![0; ops],
            ends: vec![None; ops],
            settled: vec![None; ops],
            promises: Vec::new(),
            order: vec![0; ops],
            timed: BTreeMap::new(),
            contested: BTreeMap::new(),
            numbers: BTreeMap::new(),
        };
        let mut run = Run {
            history,
            tolerated,
            model: start,
            oracle,
            targets: vec![None; ops],
            applied: vec![None; ops],
            last_join: vec![None; ops],
            failed: vec![false; ops],
            effects: 0,
        };
        for (index, event) in history.events.iter().enumerate() {
            match event {
                Event::Join(op) => run.last_join[op.0 as usize] = Some(index + 1),
                Event::End(op, Err(_)) => run.failed[op.0 as usize] = true,
                _ => {}
            }
        }
        for (index, event) in history.events.iter().enumerate() {
            run.event(index + 1, event)?;
        }
        run.finish_open_ends();
        run.oracle.cells = run.model.cells;
        Ok(run.oracle)
    }

    /// The judge of a crash after so many events of the history.
    pub fn at(&self, events: usize) -> Judge<'_> {
        Judge::new(self, events)
    }

    /// How many states there are.
    pub fn states(&self) -> usize {
        self.snapshots.len()
    }

    /// A state.
    pub fn snapshot(&self, index: usize) -> Option<&Snapshot> {
        self.snapshots.get(index)
    }

    /// The last state that had come to be after so many events.
    pub fn last_state(&self, events: usize) -> usize {
        self.snapshots.partition_point(|snapshot| snapshot.events <= events).saturating_sub(1)
    }

    /// The event counts at which a persistence operation had just returned: where a checkpoint state is due.
    pub fn persistence_points(&self) -> Vec<usize> {
        let mut points: Vec<usize> = self.promises.iter().map(|promise| promise.from).collect();
        points.dedup();
        points
    }
}

impl Run<'_> {
    fn issued(&self, op: OpId) -> &Issued {
        &self.history.ops[op.0 as usize]
    }

    fn by(&self, op: OpId) -> By {
        let issued = self.issued(op);
        By { op, stream: issued.stream, time: issued.time }
    }

    fn event(&mut self, events: usize, event: &Event) -> Result<(), Disagreement> {
        match event {
            Event::Start(op) => {
                let index = op.0 as usize;
                self.oracle.starts[index] = events;
                self.targets[index] = Some(self.model.resolve(self.issued(*op)));
                Ok(())
            }
            Event::Join(op) => self.join(events, *op),
            Event::End(op, Ok(number)) => {
                self.oracle.ends[op.0 as usize] = Some(events);
                self.success(events, *op, *number)
            }
            Event::End(op, Err(errno)) => {
                self.oracle.ends[op.0 as usize] = Some(events);
                self.failure(events, *op, *errno)
            }
        }
    }

    fn join(&mut self, events: usize, op: OpId) -> Result<(), Disagreement> {
        let index = op.0 as usize;
        let first = self.applied[index].is_none();
        if first {
            self.apply(op).map_err(|errno| self.disagreement(op, Err(errno), Ok(())))?;
        }
        let mut changed = first || self.stamp_again(op);
        if self.last_join[index] == Some(events) && !self.failed[index] {
            let before = self.model.state.clone();
            self.model.state.settle(op);
            changed |= !before.shares_all(&self.model.state);
            self.oracle.settled[index] =
                Some(if changed { self.oracle.snapshots.len() } else { self.oracle.snapshots.len() - 1 });
        }
        if changed {
            self.push(events, op);
        }
        Ok(())
    }

    /// Each transaction of an operation on data sets the file's times, though another operation may have set them since
    /// the first; whether it had.
    fn stamp_again(&mut self, op: OpId) -> bool {
        let by = self.by(op);
        let touched = self.applied[op.0 as usize].as_ref().map_or(&[][..], |effect| &effect.touched);
        let mut changed = false;
        for (ino, _) in touched.iter().filter(|(_, touch)| *touch == Touch::Content) {
            let Ok(inode) = self.model.state.get(*ino) else { continue };
            if inode.kind != FileKind::Regular || (inode.mtime.op, inode.ctime.op) == (op, op) {
                continue;
            }
            if let Ok(inode) = self.model.state.get_mut(*ino) {
                inode.change_content(op, by.time);
                changed = true;
            }
        }
        if changed {
            self.effects += 1;
            self.oracle.order[op.0 as usize] = self.effects;
        }
        changed
    }

    /// An operation on data may set times in memory as its last step; if another one set them meanwhile, either stays.
    fn contest(&mut self, op: OpId) {
        let by = self.by(op);
        let Some(ino) = self.applied[op.0 as usize].as_ref().and_then(|effect| effect.timed) else { return };
        let Ok(inode) = self.model.state.get(ino) else { return };
        if (inode.mtime.op, inode.ctime.op) != (op, op) {
            let times = [by.time, inode.mtime.time.now, inode.ctime.time.now];
            self.oracle.contested.entry(ino).or_default().extend(times);
        }
    }

    /// Does the operation in the model.
    fn apply(&mut self, op: OpId) -> Result<(), Errno> {
        let index = op.0 as usize;
        let target = self.targets[index].clone().unwrap_or(Err(Errno::INVAL))?;
        let by = self.by(op);
        let effect = self.model.apply(by, &self.history.ops[index].op, &target)?;
        self.effects += 1;
        self.oracle.order[index] = self.effects;
        if let Some(ino) = effect.timed {
            self.oracle.timed.entry(ino).or_default().push((op, by.time));
        }
        self.applied[index] = Some(effect);
        Ok(())
    }

    fn push(&mut self, events: usize, op: OpId) {
        let touched = self.applied[op.0 as usize].as_ref().map(|effect| effect.touched.clone());
        self.oracle.snapshots.push(Snapshot {
            events,
            by: Some(op),
            state: self.model.state.clone(),
            paths: self.model.state.paths(),
            touched: touched.unwrap_or_default(),
        });
    }

    fn success(&mut self, events: usize, op: OpId, number: Option<u64>) -> Result<(), Disagreement> {
        let index = op.0 as usize;
        if self.applied[index].is_none() && !self.was_idle(op) {
            self.apply(op).map_err(|errno| self.disagreement(op, Err(errno), Ok(())))?;
            let visible = |effect: &Effect| !effect.touched.is_empty() || effect.timed.is_some();
            if self.applied[index].as_ref().is_some_and(visible) {
                self.push(events, op);
            }
        }
        self.contest(op);
        let opened = self.applied[index].as_ref().and_then(|effect| effect.opened);
        if let (Some(ino), Some(number)) = (opened, number) {
            self.oracle.numbers.insert(ino, number);
        }
        if let Some(promise) = self.promise(events, op) {
            self.oracle.promises.push(promise);
        }
        Ok(())
    }

    /// Whether an operation without a transaction changed nothing at some moment between its start and now, though it
    /// would not do so, or fail, now: others ran beside it.
    fn was_idle(&mut self, op: OpId) -> bool {
        let index = op.0 as usize;
        let Some(Ok(target)) = self.targets[index].clone() else { return false };
        let by = self.by(op);
        let line = &self.history.ops[index].op;
        let mut now = self.model.clone();
        if now.apply(by, line, &target).is_ok() {
            return false;
        }
        for state in self.oracle.last_state(self.oracle.starts[index])..self.oracle.snapshots.len() {
            let mut then = self.model.clone();
            then.state = self.oracle.snapshots[state].state.clone();
            if let Ok(effect) = then.apply(by, line, &target)
                && effect.touched.is_empty()
                && effect.timed.is_none()
            {
                self.model.fds = then.fds;
                self.applied[index] = Some(effect);
                return true;
            }
        }
        false
    }

    fn failure(&mut self, events: usize, op: OpId, errno: Errno) -> Result<(), Disagreement> {
        let index = op.0 as usize;
        if self.tolerated.contains(&errno) {
            // What it wrote in place may be there.
            if self.applied[index].is_none() && self.apply(op).is_ok() {
                self.push(events, op);
            }
            return Ok(());
        }
        if self.applied[index].is_some() {
            return Err(self.disagreement(op, Ok(()), Err(errno)));
        }
        let target = match self.targets[index].clone() {
            Some(Ok(target)) => target,
            Some(Err(expected)) if expected != errno => {
                return Err(self.disagreement(op, Err(expected), Err(errno)));
            }
            _ => return Ok(()),
        };
        // Others ran beside it: the error must be right at some moment between its start and its end.
        let mut expected = Ok(());
        for index in self.oracle.last_state(self.oracle.starts[index])..self.oracle.snapshots.len() {
            let mut model = self.model.clone();
            model.state = self.oracle.snapshots[index].state.clone();
            expected = model.apply(self.by(op), &self.issued(op).op, &target).map(|_| ());
            if expected == Err(errno) {
                return Ok(());
            }
        }
        Err(self.disagreement(op, expected, Err(errno)))
    }

    /// Operations that never ended: what they write in place may be on disk all the same.
    fn finish_open_ends(&mut self) {
        let beyond = self.history.events.len() + 1;
        for index in 0..self.history.ops.len() {
            let op = OpId(index as u32);
            let begun = self.targets[index].is_some() && self.oracle.ends[index].is_none();
            if begun && self.applied[index].is_none() && self.apply(op).is_ok() {
                self.push(beyond, op);
            }
        }
    }

    fn promise(&self, events: usize, op: OpId) -> Option<Promise> {
        let started = self.oracle.starts[op.0 as usize];
        let file = match self.targets[op.0 as usize] {
            Some(Ok(Target::Inode(ino))) => Some(ino),
            _ => None,
        };
        let all = 0..u64::MAX;
        // A synchronous write promises its own effect too; others only what had ended when they began.
        let (through, data, times) = match &self.issued(op).op {
            Op::Fsync { .. } | Op::Sync => (started, all, true),
            Op::Fdatasync { .. } => (started, all, false),
            Op::DirectWrite { off, len, .. } => {
                let off = u64::try_from(*off).ok()?;
                (events, off..off + u64::from(*len), true)
            }
            Op::MmapWrite { off, .. } => {
                let from = u64::try_from(*off).ok()? & !4095;
                (events, from..from + MSYNC_LEN, true)
            }
            _ => return None,
        };
        let needed = if times { Touch::Attributes } else { Touch::Content };
        let concerns = |snapshot: &Snapshot| match file {
            Some(file) => snapshot.touched.iter().any(|(ino, touch)| *ino == file && *touch >= needed),
            None => true,
        };
        let at_least =
            (0..=self.oracle.last_state(through)).rev().find(|i| concerns(&self.oracle.snapshots[*i]));
        Some(Promise { from: events, through, at_least: at_least.unwrap_or(0), file, data, times })
    }

    fn disagreement(&self, op: OpId, expected: Result<(), Errno>, got: Result<(), Errno>) -> Disagreement {
        Disagreement { op, line: self.issued(op).op.to_string(), expected, got }
    }
}
