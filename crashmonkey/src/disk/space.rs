//! Which contents a medium may have when the power goes.
//!
//! The drive has a volatile cache. What was written may be on the medium at once, or not before a flush; each block
//! by itself, each 512-byte sector of it by itself, sectors whole. A flush that completed makes durable what had
//! *completed* before it was *submitted*; a completed FUA write makes durable its own blocks and nothing else.
//!
//! A [`Space`] is a set of media: for every undecided block the versions that it may have. The set grows with every
//! write and shrinks only when a flush or a FUA write completes, so it is enough to look at the instants just before
//! that, and at the end: everything possible earlier is possible then.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::image::{Content, Image, same};
use super::log::{Entry, Flags, Log, Request, RequestId};

/// A set of possible media.
#[derive(Clone, Debug)]
pub struct Space {
    /// The blocks that are decided. Of an undecided one, the oldest version.
    pub durable: Image,
    /// The versions of each undecided block, oldest first: at least two, different from their neighbours.
    pub undecided: FxHashMap<u64, Vec<Content>>,
}

impl Space {
    /// Exactly this medium.
    pub fn only(image: Image) -> Space {
        Space { durable: image, undecided: FxHashMap::default() }
    }

    /// How many media these are, if blocks are not torn; saturates.
    pub fn media(&self) -> f64 {
        self.undecided.values().map(|versions| versions.len() as f64).product()
    }

    /// The medium with the newest version of everything.
    pub fn newest(&self) -> Image {
        let mut image = self.durable.clone();
        for (no, versions) in &self.undecided {
            if let Some(newest) = versions.last() {
                image.set(*no, newest.clone());
            }
        }
        image
    }
}

/// An instant at which the power may go.
#[derive(Clone, Debug)]
pub struct Point {
    /// How many entries of the log had happened.
    pub entries: usize,
    /// The last mark: how many events the workload's history had.
    pub events: usize,
    /// What the medium may hold.
    pub space: Space,
}

/// A drive that lies: which of its promises it does not keep. Flushes are counted in order of submission, those
/// before a write (`PREFLUSH`) among the others; FUA writes for themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lie {
    /// Keeps all.
    #[default]
    None,
    /// The `n`-th flush does nothing.
    Flush(usize),
    /// No flush does anything.
    EveryFlush,
    /// The `n`-th FUA write is an ordinary one.
    Fua(usize),
    /// Every FUA write is an ordinary one.
    EveryFua,
}

/// One write of one block.
#[derive(Clone, Debug)]
struct Version {
    content: Content,
    request: RequestId,
    /// Entry number of the completion.
    completed: Option<usize>,
}

/// What is known of a block that was written.
#[derive(Clone, Debug)]
struct Block {
    /// What the medium held at least: one content, or what an earlier crash left undecided.
    floor: Vec<Content>,
    versions: Vec<Version>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    submitted: usize,
    flushes: bool,
    fua: bool,
}

/// Follows a log, and stops where the set of media shrinks.
#[derive(Clone, Debug)]
pub struct Points<'a> {
    log: &'a Log,
    lie: Lie,
    start: Space,
    position: usize,
    events: usize,
    blocks: BTreeMap<u64, Block>,
    in_flight: BTreeMap<RequestId, InFlight>,
    /// Writes with a flush before them, in flight: until it is done none of their data can be on the medium.
    gates: Vec<RequestId>,
    flushes: usize,
    fuas: usize,
    ready: Vec<Point>,
}

/// More writes with preflush in flight at once than this are taken to have flushed.
const GATES: usize = 6;

impl Log {
    /// The instants at which the power may go, on a medium out of `start`.
    pub fn points(&self, start: Space, lie: Lie) -> Points<'_> {
        Points {
            log: self,
            lie,
            start,
            position: 0,
            events: 0,
            blocks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            gates: Vec::new(),
            flushes: 0,
            fuas: 0,
            ready: Vec::new(),
        }
    }

    /// The medium after each write, if nothing is lost and nothing reordered: the prefix states.
    pub fn prefixes(&self, mut image: Image) -> impl Iterator<Item = Point> {
        let mut events = 0;
        self.entries.iter().enumerate().filter_map(move |(number, entry)| {
            match entry {
                Entry::Mark(mark) => events = *mark,
                Entry::Submitted(_, Request::Write { at, contents, .. }) => {
                    for (no, content) in (*at..).zip(contents) {
                        image.set(no, content.clone());
                    }
                    return Some(Point { entries: number + 1, events, space: Space::only(image.clone()) });
                }
                _ => {}
            }
            None
        })
    }

    /// The medium at each mark that `wanted` chooses, if nothing is lost: the checkpoint states.
    pub fn checkpoints(
        &self,
        mut image: Image,
        mut wanted: impl FnMut(usize) -> bool,
    ) -> impl Iterator<Item = Point> {
        self.entries.iter().enumerate().filter_map(move |(number, entry)| match entry {
            Entry::Submitted(_, Request::Write { at, contents, .. }) => {
                for (no, content) in (*at..).zip(contents) {
                    image.set(no, content.clone());
                }
                None
            }
            Entry::Mark(events) if wanted(*events) => {
                Some(Point { entries: number + 1, events: *events, space: Space::only(image.clone()) })
            }
            _ => None,
        })
    }
}

impl Points<'_> {
    fn submit(&mut self, id: RequestId, request: &Request) {
        let submitted = self.position;
        let (flush, fua) = match request {
            Request::Flush => (true, false),
            Request::Write { flags, .. } => (flags.contains(Flags::PREFLUSH), flags.contains(Flags::FUA)),
        };
        let flushes = flush && ![Lie::EveryFlush, Lie::Flush(self.flushes)].contains(&self.lie);
        let fua_kept = fua && ![Lie::EveryFua, Lie::Fua(self.fuas)].contains(&self.lie);
        self.flushes += usize::from(flush);
        self.fuas += usize::from(fua);
        self.in_flight.insert(id, InFlight { submitted, flushes, fua: fua_kept });
        if let Request::Write { at, contents, .. } = request {
            if flushes {
                self.gates.push(id);
            }
            for (no, content) in (*at..).zip(contents) {
                let start = &self.start;
                let block = self.blocks.entry(no).or_insert_with(|| Block {
                    floor: start.undecided.get(&no).cloned().unwrap_or_else(|| vec![start.durable.get(no)]),
                    versions: Vec::new(),
                });
                block.versions.push(Version { content: content.clone(), request: id, completed: None });
            }
        }
    }

    /// A request completed.
    fn complete(&mut self, id: RequestId, good: bool) {
        let Some(request) = self.in_flight.get(&id).copied() else { return };
        if good && (request.flushes || request.fua) {
            self.complete_barrier(id, request);
        } else if good {
            for block in self.blocks.values_mut() {
                block.versions.iter_mut().filter(|v| v.request == id).for_each(|version| {
                    version.completed = Some(self.position);
                });
            }
        }
        self.in_flight.remove(&id);
        self.gates.retain(|gate| *gate != id);
    }

    /// A request with a promise completed. The set of media just before is worth a stop if it shrinks now.
    fn complete_barrier(&mut self, id: RequestId, request: InFlight) {
        let mut after = self.blocks.clone();
        if request.flushes {
            flush(&mut after, request.submitted);
        }
        // Data behind a flush of its own cannot be seen without it, which is one more way to shrink.
        let mut shrinks = lengths(&after) != lengths(&self.blocks) || self.gates.contains(&id);
        for block in after.values_mut() {
            let Some(index) = block.versions.iter().position(|version| version.request == id) else {
                continue;
            };
            block.versions[index].completed = Some(self.position);
            if request.fua {
                settle(block, index);
                shrinks = true;
            }
        }
        if shrinks {
            self.stop();
        }
        self.blocks = after;
    }

    /// Notes the sets of media that are possible now: one for each choice of which preflushes are done.
    fn stop(&mut self) {
        let gates: Vec<RequestId> = self.gates.iter().copied().take(GATES).collect();
        for done in 0..1_usize << gates.len() {
            let mut blocks = self.blocks.clone();
            for (bit, gate) in gates.iter().enumerate() {
                if done & (1 << bit) != 0 {
                    flush(&mut blocks, self.in_flight[gate].submitted);
                } else {
                    blocks.values_mut().for_each(|block| block.versions.retain(|v| v.request != *gate));
                }
            }
            let space = self.space(&blocks);
            self.ready.push(Point { entries: self.position, events: self.events, space });
        }
        self.ready.reverse();
    }

    fn space(&self, blocks: &BTreeMap<u64, Block>) -> Space {
        let mut space = self.start.clone();
        for (no, block) in blocks {
            let mut versions = block.floor.clone();
            versions.extend(block.versions.iter().map(|version| version.content.clone()));
            versions.dedup_by(|later, earlier| same(later, earlier));
            if let Some(oldest) = versions.first() {
                space.durable.set(*no, oldest.clone());
            }
            if versions.len() > 1 {
                space.undecided.insert(*no, versions);
            } else {
                space.undecided.remove(no);
            }
        }
        space
    }
}

fn lengths(blocks: &BTreeMap<u64, Block>) -> usize {
    blocks.values().map(|block| block.versions.len()).sum()
}

/// Makes version `index` the floor.
fn settle(block: &mut Block, index: usize) {
    block.floor = vec![block.versions[index].content.clone()];
    block.versions.drain(..=index);
}

/// A flush that was submitted at `submitted` is done.
fn flush(blocks: &mut BTreeMap<u64, Block>, submitted: usize) {
    for block in blocks.values_mut() {
        let covered = |version: &Version| version.completed.is_some_and(|at| at < submitted);
        if let Some(index) = block.versions.iter().rposition(covered) {
            settle(block, index);
        }
    }
}

impl Iterator for Points<'_> {
    type Item = Point;

    fn next(&mut self) -> Option<Point> {
        loop {
            if let Some(point) = self.ready.pop() {
                return Some(point);
            }
            let Some(entry) = self.log.entries.get(self.position) else {
                if self.position > self.log.entries.len() {
                    return None;
                }
                self.stop();
                self.position += 1;
                continue;
            };
            match entry {
                Entry::Mark(events) => self.events = *events,
                Entry::Submitted(id, request) => self.submit(*id, request),
                Entry::Completed(id, good) => self.complete(*id, *good),
            }
            self.position += 1;
        }
    }
}
