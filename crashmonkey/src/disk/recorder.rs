//! A disk that does as it is told, writes down what it was told, and fails when it is told to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use bento_api::{BlockNo, Bytes, Disk, Errno};

use super::image::{Content, Image};
use super::log::{Entry, Flags, Log, Request, RequestId};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Reads of a block.
    Read,
    /// Write requests.
    Write,
    /// Flush requests.
    Flush,
}

/// An I/O error to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What it hits.
    pub target: Target,
    /// The how-manieth of them, from 0.
    pub nth: u64,
    /// Only that one, or all from then on.
    pub lasting: bool,
}

/// The recording disk. Requests can be submitted and completed one by one, in any order of completion;
/// through [`Disk`] each completes at once. A read shows what has completed.
///
/// Not `Sync`: a run that is to be repeated exactly has one thread.
#[derive(Debug)]
pub struct Recorder {
    blocks: u64,
    inner: RefCell<Inner>,
    reads: Cell<u64>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
struct Inner {
    image: Image,
    log: Log,
    in_flight: BTreeMap<RequestId, Request>,
    next: u32,
    writes: u64,
    flushes: u64,
    doomed: Vec<RequestId>,
    overlaps: u64,
}

impl Recorder {
    /// A disk with this content.
    pub fn new(image: Image) -> Recorder {
        Recorder::with_faults(image, Vec::new())
    }

    /// A disk that fails as planned.
    pub fn with_faults(image: Image, faults: Vec<Fault>) -> Recorder {
        let inner = Inner {
            image,
            log: Log::default(),
            in_flight: BTreeMap::new(),
            next: 0,
            writes: 0,
            flushes: 0,
            doomed: Vec::new(),
            overlaps: 0,
        };
        let blocks = inner.image.blocks();
        Recorder { blocks, inner: RefCell::new(inner), reads: Cell::new(0), faults }
    }

    fn fails(&self, target: Target, number: u64) -> bool {
        let hit = |f: &Fault| f.target == target && (f.nth == number || (f.lasting && f.nth < number));
        self.faults.iter().any(hit)
    }

    /// Starts a request. Nothing of it is visible to a read before it completes; all of it may be on the medium
    /// from now on.
    pub fn submit(&self, request: Request) -> RequestId {
        let inner = &mut *self.inner.borrow_mut();
        let id = RequestId(inner.next);
        inner.next += 1;
        let fails = match &request {
            Request::Write { at, contents, .. } => {
                let number = inner.writes;
                inner.writes += 1;
                let end = at.saturating_add(contents.len() as u64);
                inner.overlaps += u64::from(inner.in_flight.values().any(|other| overlaps(other, *at, end)));
                end > self.blocks || self.fails(Target::Write, number)
            }
            Request::Flush => {
                let number = inner.flushes;
                inner.flushes += 1;
                self.fails(Target::Flush, number)
            }
        };
        if fails {
            inner.doomed.push(id);
        }
        inner.log.entries.push(Entry::Submitted(id, request.clone()));
        inner.in_flight.insert(id, request);
        id
    }

    /// Ends a request. EIO if a fault was planned for it, EINVAL if it is not in flight.
    pub fn complete(&self, id: RequestId) -> Result<(), Errno> {
        let inner = &mut *self.inner.borrow_mut();
        let request = inner.in_flight.remove(&id).ok_or(Errno::Invalid)?;
        let good = !inner.doomed.contains(&id);
        inner.log.entries.push(Entry::Completed(id, good));
        if !good {
            return Err(Errno::Io);
        }
        if let Request::Write { at, contents, .. } = request {
            for (no, content) in (at..).zip(contents) {
                inner.image.set(no, content);
            }
        }
        Ok(())
    }

    /// Requests that were submitted and not completed, in order of submission.
    pub fn in_flight(&self) -> Vec<RequestId> {
        self.inner.borrow().in_flight.keys().copied().collect()
    }

    /// How many writes were submitted while another write of the same block was in flight: their order on the
    /// medium is undefined, so this must stay 0.
    pub fn overlaps(&self) -> u64 {
        self.inner.borrow().overlaps
    }

    /// Notes that the workload's history has so many events.
    pub fn mark(&self, events: usize) {
        let log = &mut self.inner.borrow_mut().log;
        match log.entries.last_mut() {
            Some(Entry::Mark(last)) => *last = events,
            _ => log.entries.push(Entry::Mark(events)),
        }
    }

    /// What a reader would see.
    pub fn image(&self) -> Image {
        self.inner.borrow().image.clone()
    }

    /// Blocks on the device.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Reads a block without a copy.
    pub fn get(&self, no: u64) -> Result<Content, Errno> {
        let number = self.reads.get();
        self.reads.set(number + 1);
        if no >= self.blocks || self.fails(Target::Read, number) {
            return Err(Errno::Io);
        }
        Ok(self.inner.borrow().image.get(no))
    }

    /// A copy of the log so far.
    pub fn log(&self) -> Log {
        self.inner.borrow().log.clone()
    }

    /// Ends the recording.
    pub fn into_log(self) -> Log {
        self.inner.into_inner().log
    }
}

fn overlaps(request: &Request, from: u64, to: u64) -> bool {
    match request {
        Request::Write { at, contents, .. } => *at < to && from < at + contents.len() as u64,
        Request::Flush => false,
    }
}

impl Disk for Recorder {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        *to = *self.get(no.0)?;
        Ok(())
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        let contents = vec![Arc::new(*from)];
        self.complete(self.submit(Request::Write { at: no.0, contents, flags: Flags::empty() }))
    }

    fn flush(&self) -> Result<(), Errno> {
        self.complete(self.submit(Request::Flush))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: u64, byte: u8) -> Request {
        Request::Write { at, contents: vec![Arc::new([byte; 4096])], flags: Flags::empty() }
    }

    #[test]
    fn a_read_shows_a_write_when_it_has_completed() {
        let disk = Recorder::new(Image::new(4));
        let id = disk.submit(write(2, 7));
        assert_eq!(disk.get(2).map(|c| c[0]), Ok(0));
        assert_eq!(disk.complete(id), Ok(()));
        assert_eq!(disk.get(2).map(|c| c[0]), Ok(7));
        assert_eq!(disk.complete(id), Err(Errno::Invalid));
        assert_eq!(disk.get(4).map(|c| c[0]), Err(Errno::Io));
    }

    #[test]
    fn a_planned_fault_hits_its_request_and_leaves_the_rest() {
        let faults = vec![Fault { target: Target::Write, nth: 1, lasting: false }];
        let disk = Recorder::with_faults(Image::new(4), faults);
        let results: Vec<_> = (0..3).map(|at| disk.write(BlockNo(at), &[1; 4096])).collect();
        assert_eq!(results, [Ok(()), Err(Errno::Io), Ok(())]);
        let lasting = vec![Fault { target: Target::Flush, nth: 1, lasting: true }];
        let disk = Recorder::with_faults(Image::new(4), lasting);
        let results: Vec<_> = (0..3).map(|_| disk.flush()).collect();
        assert_eq!(results, [Ok(()), Err(Errno::Io), Err(Errno::Io)]);
    }

    #[test]
    fn two_writes_of_one_block_in_flight_are_counted() {
        let disk = Recorder::new(Image::new(4));
        disk.submit(write(1, 1));
        disk.submit(write(2, 1));
        assert_eq!(disk.overlaps(), 0);
        disk.submit(write(2, 2));
        assert_eq!(disk.overlaps(), 1);
    }
}
