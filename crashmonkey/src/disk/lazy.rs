//! Every medium of a [`Space`], without building every medium.
//!
//! An undecided block gets a version when it is first read. Media that agree on what is read give the same run, so
//! one run stands for all of them, and the enumeration of runs is as exact as that of media, which no machine could
//! finish. The list of decisions names the run: given again, it repeats it.

use std::cell::RefCell;
use std::hash::Hasher;
use std::sync::Arc;

use bento_api::{BLOCK, BlockNo, Bytes, Disk, Errno};
use rustc_hash::{FxHashMap, FxHasher};

use super::image::{Content, Image, same};
use super::log::{Entry, Flags, Log, Request, RequestId};
use super::space::{Lie, Point, Space};

const SECTOR: usize = 512;

/// The unit that reaches the medium whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    /// Whole blocks.
    Block,
    /// Sectors of 512 bytes: a block may hold the first or the last few sectors of a version, and the rest of the
    /// version before it.
    Sector,
}

/// One decision: which version an undecided block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Choice {
    /// The block.
    pub block: u64,
    /// The version, 0 the newest.
    pub chosen: usize,
    /// How many there are.
    pub of: usize,
}

/// All contents that a block may have, the newest first.
fn alternatives(versions: &[Content], atom: Atom) -> Vec<Content> {
    let mut all: Vec<Content> = Vec::with_capacity(versions.len());
    let mut add = |content: Content| {
        if !all.iter().any(|other| same(other, &content)) {
            all.push(content);
        }
    };
    versions.iter().rev().for_each(|version| add(version.clone()));
    if atom == Atom::Sector {
        for pair in versions.windows(2) {
            let [before, after] = pair else { continue };
            for cut in (SECTOR..BLOCK).step_by(SECTOR) {
                add(joined(after, before, cut));
                add(joined(before, after, cut));
            }
        }
    }
    all
}

/// The first `cut` bytes of one content and the rest of the other.
fn joined(head: &Content, tail: &Content, cut: usize) -> Content {
    let mut bytes = **tail;
    bytes[..cut].copy_from_slice(&head[..cut]);
    Arc::new(bytes)
}

/// A disk after a power cut, whose undecided blocks are decided as they are read. It records what is written to it,
/// so that the power can go again.
#[derive(Debug)]
pub struct CrashDisk<'a> {
    space: &'a Space,
    atom: Atom,
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Decisions to repeat.
    plan: Vec<Choice>,
    /// Decisions taken, the repeated ones included.
    taken: Vec<Choice>,
    pinned: FxHashMap<u64, Content>,
    written: FxHashMap<u64, Content>,
    log: Log,
    /// When recovery ended: its decisions and its log entries.
    recovered: Option<(usize, usize)>,
}

impl<'a> CrashDisk<'a> {
    /// A medium out of the space: the one that these decisions name, the newest version where they end.
    pub fn new(space: &'a Space, atom: Atom, plan: Vec<Choice>) -> CrashDisk<'a> {
        let inner = Inner {
            plan,
            taken: Vec::new(),
            pinned: FxHashMap::default(),
            written: FxHashMap::default(),
            log: Log::default(),
            recovered: None,
        };
        CrashDisk { space, atom, inner: RefCell::new(inner) }
    }

    /// The content of a block; decides it if it is undecided. EIO past the end.
    pub fn get(&self, no: u64) -> Result<Content, Errno> {
        if no >= self.space.durable.blocks() {
            return Err(Errno::Io);
        }
        let inner = &mut *self.inner.borrow_mut();
        if let Some(content) = inner.written.get(&no).or_else(|| inner.pinned.get(&no)) {
            return Ok(content.clone());
        }
        let Some(versions) = self.space.undecided.get(&no) else {
            return Ok(self.space.durable.get(no));
        };
        let all = alternatives(versions, self.atom);
        let planned = inner.plan.get(inner.taken.len()).map_or(0, |choice| choice.chosen);
        let chosen = planned.min(all.len() - 1);
        inner.taken.push(Choice { block: no, chosen, of: all.len() });
        inner.pinned.insert(no, all[chosen].clone());
        Ok(all[chosen].clone())
    }

    /// Recovery is over: later reads and writes do not belong to it. Whether this recovery is a new one: runs that
    /// differ only in what was read afterwards share it.
    pub fn end_of_recovery(&self) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        inner.recovered = Some((inner.taken.len(), inner.log.entries.len()));
        inner.plan.len() <= inner.taken.len()
    }

    /// The decisions of this run: its name.
    pub fn decisions(&self) -> Vec<Choice> {
        self.inner.borrow().taken.clone()
    }

    /// The instants at which the power may go again during recovery (all that was done up to
    /// [`CrashDisk::end_of_recovery`]): what recovery read is as it was read, what nobody read is still undecided.
    pub fn second_crashes(&self) -> Vec<Point> {
        let inner = self.inner.borrow();
        let (decisions, entries) = inner.recovered.unwrap_or((inner.taken.len(), inner.log.entries.len()));
        let mut start = self.space.clone();
        for choice in &inner.taken[..decisions] {
            if let Some(content) = inner.pinned.get(&choice.block) {
                start.undecided.remove(&choice.block);
                start.durable.set(choice.block, content.clone());
            }
        }
        let log = Log { entries: inner.log.entries[..entries].to_vec() };
        log.points(start, Lie::None).collect()
    }

    /// The contents that a block may have, the newest first, if nothing decided it yet; else the one that it has.
    /// Decides nothing.
    pub fn versions(&self, no: u64) -> Vec<Content> {
        let inner = self.inner.borrow();
        if let Some(content) = inner.written.get(&no).or_else(|| inner.pinned.get(&no)) {
            return vec![content.clone()];
        }
        match self.space.undecided.get(&no) {
            Some(versions) => versions.iter().rev().cloned().collect(),
            None => vec![self.space.durable.get(no)],
        }
    }

    /// How many decisions were taken.
    pub fn decided(&self) -> usize {
        self.inner.borrow().taken.len()
    }

    /// A hash of everything on the disk that `counts`, undecided blocks with all their versions: two disks with the same
    /// hash look the same to whoever looks only at blocks that count.
    pub fn fingerprint(&self, counts: impl Fn(u64) -> bool) -> u64 {
        let inner = self.inner.borrow();
        let mut sum = 0_u64;
        let mut add = |no: u64, contents: &[Content]| {
            let mut hasher = FxHasher::default();
            hasher.write_u64(no);
            contents.iter().for_each(|content| hasher.write(&content[..]));
            sum = sum.wrapping_add(hasher.finish());
        };
        for (no, content) in inner.written.iter().filter(|(no, _)| counts(**no)) {
            add(*no, std::slice::from_ref(content));
        }
        let unwritten = |no: u64| counts(no) && !inner.written.contains_key(&no);
        for (no, content) in inner.pinned.iter().filter(|(no, _)| unwritten(**no)) {
            add(*no, std::slice::from_ref(content));
        }
        let unpinned = |no: u64| unwritten(no) && !inner.pinned.contains_key(&no);
        for (no, versions) in self.space.undecided.iter().filter(|(no, _)| unpinned(**no)) {
            add(*no, versions);
        }
        let decided = |no: u64| unpinned(no) && !self.space.undecided.contains_key(&no);
        for (no, content) in self.space.durable.changed().filter(|(no, _)| decided(*no)) {
            add(no, std::slice::from_ref(content));
        }
        sum
    }

    /// How many blocks were written.
    pub fn block_writes(&self) -> usize {
        self.inner.borrow().log.block_writes()
    }

    /// The disk as it is now, for a second life: undecided blocks get their newest version.
    pub fn image(&self) -> Image {
        let inner = self.inner.borrow();
        let mut image = self.space.newest();
        for (no, content) in inner.pinned.iter().chain(&inner.written) {
            image.set(*no, content.clone());
        }
        image
    }

    fn record(&self, request: Request) {
        let inner = &mut *self.inner.borrow_mut();
        let id = RequestId(u32::try_from(inner.log.entries.len()).unwrap_or(u32::MAX));
        inner.log.entries.extend([Entry::Submitted(id, request), Entry::Completed(id, true)]);
    }
}

impl Disk for CrashDisk<'_> {
    fn blocks(&self) -> u64 {
        self.space.durable.blocks()
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        *to = *self.get(no.0)?;
        Ok(())
    }

    /// Decides a block only if its versions answer differently.
    fn starts_with(&self, no: BlockNo, bytes: &[u8], _: &mut Bytes) -> Result<bool, Errno> {
        if no.0 >= self.space.durable.blocks() {
            return Err(Errno::Io);
        }
        if !self.space.undecided.contains_key(&no.0) {
            let inner = self.inner.borrow();
            return Ok(match inner.written.get(&no.0) {
                Some(content) => content.starts_with(bytes),
                None => self.space.durable.starts_with(no.0, bytes),
            });
        }
        let versions = self.versions(no.0);
        let yes = versions.iter().filter(|content| content.starts_with(bytes)).count();
        // Torn at a sector a block has the start of one of its versions.
        if yes == 0 || yes == versions.len() {
            return Ok(yes > 0);
        }
        Ok(self.get(no.0)?.starts_with(bytes))
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        if no.0 >= self.space.durable.blocks() {
            return Err(Errno::Io);
        }
        let content: Content = Arc::new(*from);
        self.record(Request::Write { at: no.0, contents: vec![content.clone()], flags: Flags::empty() });
        self.inner.borrow_mut().written.insert(no.0, content);
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        self.record(Request::Flush);
        Ok(())
    }
}

/// Figures of an enumeration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Sets of media that were looked at.
    pub points: u64,
    /// Runs, each of which stands for all media that agree on what it read.
    pub runs: u64,
    /// Enumerations that were cut off: what they left out is untested, and must be reported.
    pub capped: u64,
}

/// Runs something on every medium of a space.
#[derive(Clone, Copy, Debug)]
pub struct Explorer {
    /// What is written whole.
    pub atom: Atom,
    /// After so many runs an enumeration is cut off.
    pub runs_at_most: u64,
}

impl Explorer {
    /// Calls `run` with one disk after another until all media are covered, or `run` fails, or the limit is hit.
    ///
    /// # Errors
    /// The first that `run` returned, with the decisions that lead to it.
    pub fn explore<E>(
        &self,
        space: &Space,
        counts: &mut Counts,
        mut run: impl FnMut(&CrashDisk<'_>) -> Result<(), E>,
    ) -> Result<(), (E, Vec<Choice>)> {
        counts.points += 1;
        let mut plan = Vec::new();
        for number in 0.. {
            if number == self.runs_at_most {
                counts.capped += 1;
                break;
            }
            counts.runs += 1;
            let disk = CrashDisk::new(space, self.atom, plan);
            let result = run(&disk);
            plan = disk.decisions();
            if let Err(error) = result {
                return Err((error, plan));
            }
            if !next_plan(&mut plan) {
                break;
            }
        }
        Ok(())
    }
}

/// The decisions that come after these: the last one that has an alternative left takes it, later ones are open.
fn next_plan(plan: &mut Vec<Choice>) -> bool {
    while let Some(last) = plan.last_mut() {
        if last.chosen + 1 < last.of {
            last.chosen += 1;
            return true;
        }
        plan.pop();
    }
    false
}
