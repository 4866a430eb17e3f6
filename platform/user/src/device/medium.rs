//! A device, and what its flushes cover.
use super::{Device, offset_of};
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use parking_lot::Mutex;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// Adjacent blocks that go out in one write.
const MERGED: usize = 128;

/// One request of an I/O list.
#[derive(Clone)]
pub enum Request {
    /// Write a block.
    Write(BlockNo, Arc<Bytes>),
    /// Flush what was written before.
    Flush,
}

/// How often the device was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediumCounters {
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Flushes.
    pub flushes: u64,
}

#[derive(Default)]
struct Counters {
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    flushes: AtomicU64,
}

/// A device, counting which writes completed and which of them a flush covers.
pub struct Medium {
    device: Arc<dyn Device>,
    /// Writes that completed.
    written: AtomicU64,
    /// `written` when the newest flush that returned was issued.
    flushed: AtomicU64,
    /// Held over a flush: two at once could share one error, and one of them think that all is well.
    flushing: Mutex<()>,
    /// A flush failed. What it covered may be lost although a later one succeeds (the kernel tells of an error once, and
    /// may drop the pages), so none is believed any more.
    failed: AtomicBool,
    counters: Counters,
}

impl Medium {
    /// A medium over a device.
    pub fn new(device: Arc<dyn Device>) -> Self {
        // The first flush is never left out: what a former life wrote may be unflushed.
        let written = AtomicU64::new(1);
        let (flushed, flushing, failed, counters) = Default::default();
        Self { device, written, flushed, flushing, failed, counters }
    }

    /// Reads bytes.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.counters.reads.fetch_add(1, Relaxed);
        self.counters.bytes_read.fetch_add(to.len() as u64, Relaxed);
        self.device.read(offset, to)
    }

    /// Writes bytes.
    pub fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        self.counters.writes.fetch_add(1, Relaxed);
        self.counters.bytes_written.fetch_add(super::total(from), Relaxed);
        let result = self.device.write(offset, from);
        self.written.fetch_add(1, SeqCst);
        result
    }

    /// These blocks will be read soon.
    pub fn will_read(&self, no: BlockNo, blocks: u64) {
        if let (Ok(offset), Some(bytes)) = (offset_of(no), blocks.checked_mul(BLOCK_BYTES)) {
            self.device.will_read(offset, bytes);
        }
    }

    /// A mark: [`Medium::flush_through`] makes durable what completed before it was taken.
    pub fn mark(&self) -> u64 {
        self.written.load(SeqCst)
    }

    /// Whether a write completed that no flush which has returned covers.
    pub fn needs_flush(&self) -> bool {
        self.written.load(SeqCst) > self.flushed.load(SeqCst)
    }

    /// Flushes. EIO for ever after the first failure.
    pub fn flush(&self) -> Result<(), Errno> {
        let _one = self.flushing.lock();
        self.flush_alone()
    }

    fn flush_alone(&self) -> Result<(), Errno> {
        if self.failed.load(SeqCst) {
            return Err(Errno::Io);
        }
        self.counters.flushes.fetch_add(1, Relaxed);
        let covers = self.written.load(SeqCst);
        let result = self.device.flush();
        match result {
            Ok(()) => drop(self.flushed.fetch_max(covers, SeqCst)),
            Err(_) => self.failed.store(true, SeqCst),
        }
        result
    }

    /// Makes durable every write that completed before `mark` was taken; callers that come while a flush runs
    /// share the next one.
    pub fn flush_through(&self, mark: u64) -> Result<(), Errno> {
        if self.flushed.load(SeqCst) >= mark {
            return Ok(());
        }
        let _one = self.flushing.lock();
        if self.flushed.load(SeqCst) >= mark { Ok(()) } else { self.flush_alone() }
    }

    /// Carries out requests, adjacent writes in one; stops at the first that fails. Only flushes are in order with what
    /// is before and behind them: until one returns, the writes before it may reach the medium in any order anyway.
    pub fn submit(&self, requests: &mut [Request]) -> Result<(), Errno> {
        for part in requests.split_inclusive_mut(|request| matches!(request, Request::Flush)) {
            // A record is listed with its header last, which lies before the rest of it.
            part.sort_by_key(|request| match request {
                Request::Write(no, _) => no.0,
                Request::Flush => u64::MAX,
            });
            let mut rest = &*part;
            while let Some(first) = rest.first() {
                let taken = match first {
                    Request::Flush => {
                        self.flush()?;
                        1
                    }
                    Request::Write(no, _) => self.write_adjacent(*no, rest)?,
                };
                rest = &rest[taken..];
            }
        }
        Ok(())
    }

    /// Writes the longest run of adjacent blocks at the start of `requests`; says how many those were.
    fn write_adjacent(&self, start: BlockNo, requests: &[Request]) -> Result<usize, Errno> {
        let mut buffers = [IoSlice::new(&[]); MERGED];
        let mut count = 0;
        for (request, (buffer, distance)) in requests.iter().zip(buffers.iter_mut().zip(0_u64..)) {
            match request {
                Request::Write(no, page) if no.0.checked_sub(distance) == Some(start.0) => {
                    *buffer = IoSlice::new(&**page);
                    count += 1;
                }
                _ => break,
            }
        }
        self.write(offset_of(start)?, &buffers[..count])?;
        Ok(count)
    }

    /// How often the device was asked.
    pub fn counters(&self) -> MediumCounters {
        let Counters { reads, bytes_read, writes, bytes_written, flushes } = &self.counters;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        MediumCounters {
            reads: get(reads),
            bytes_read: get(bytes_read),
            writes: get(writes),
            bytes_written: get(bytes_written),
            flushes: get(flushes),
        }
    }
}

impl Disk for Medium {
    fn blocks(&self) -> u64 {
        self.device.blocks()
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        Medium::read(self, offset_of(no)?, to)
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        Medium::write(self, offset_of(no)?, &[IoSlice::new(from)])
    }

    fn flush(&self) -> Result<(), Errno> {
        Medium::flush(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::RamDevice;
    use bento_api::BLOCK;

    fn page(byte: u8) -> Arc<Bytes> {
        Arc::new([byte; BLOCK])
    }

    #[test]
    fn adjacent_writes_go_out_in_one() {
        let medium = Medium::new(Arc::new(RamDevice::new(1000)));
        let mut list: Vec<_> = (10..14).map(|no| Request::Write(BlockNo(no), page(no as u8))).collect();
        list.push(Request::Flush);
        list.extend([20, 22, 21].map(|no| Request::Write(BlockNo(no), page(no as u8))));
        medium.submit(&mut list).expect("writes");
        assert_eq!((medium.counters().writes, medium.counters().flushes), (2, 1));
        for no in [10, 13, 20, 21, 22] {
            let mut bytes = [0; BLOCK];
            Disk::read(&medium, BlockNo(no), &mut bytes).expect("reads");
            assert_eq!(bytes, [no as u8; BLOCK]);
        }
    }

    #[test]
    fn a_flush_covers_what_completed_before_it_was_issued_and_nothing_later() {
        let medium = Medium::new(Arc::new(RamDevice::new(10)));
        assert!(medium.needs_flush(), "nobody knows what a former life left");
        medium.flush().expect("flushes");
        assert!(!medium.needs_flush());
        medium.write(0, &[IoSlice::new(b"x")]).expect("writes");
        let mark = medium.mark();
        assert!(medium.needs_flush());
        medium.flush_through(mark).expect("flushes");
        medium.flush_through(mark).expect("has nothing to do");
        assert_eq!(medium.counters().flushes, 2);
    }

    #[test]
    fn a_list_with_a_block_past_the_end_fails() {
        let medium = Medium::new(Arc::new(RamDevice::new(10)));
        assert_eq!(medium.submit(&mut [Request::Write(BlockNo(10), page(1))]), Err(Errno::Io));
        assert_eq!(medium.submit(&mut [Request::Write(BlockNo(u64::MAX), page(1))]), Err(Errno::Io));
    }
}
