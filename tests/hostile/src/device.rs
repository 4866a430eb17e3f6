//! A device in memory over a shared first state, that can fail and that counts what it is asked for.
use bento_api::{BLOCK, BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use bento_user::device::Device;
use rustc_hash::FxHashMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Requests of one case. A healthy one takes a few thousand.
const MOST_REQUESTS: u64 = 400_000;

/// Blocks that were written; the others are those of the base.
type Changed = FxHashMap<u64, Box<Bytes>>;

/// The device.
pub struct Ram {
    base: Arc<Vec<Bytes>>,
    changed: Mutex<Changed>,
    requests: AtomicU64,
    /// Writes and flushes until they fail.
    healthy: AtomicU64,
}

impl Ram {
    /// A device of zeros.
    pub fn zeros(blocks: usize) -> Self {
        Self::over(Arc::new(vec![[0; BLOCK]; blocks]))
    }

    /// A device that begins as `base` is.
    pub fn over(base: Arc<Vec<Bytes>>) -> Self {
        Self {
            base,
            changed: Mutex::default(),
            requests: AtomicU64::new(0),
            healthy: AtomicU64::new(u64::MAX),
        }
    }

    /// What is on it now.
    pub fn snapshot(&self) -> Vec<Bytes> {
        let mut blocks = (*self.base).clone();
        self.with(|changed| {
            for (no, bytes) in changed.iter() {
                blocks[*no as usize] = **bytes;
            }
        });
        blocks
    }

    /// Lets so many writes and flushes through, and fails all behind them.
    pub fn fail_after(&self, writes: u64) {
        self.healthy.store(writes, Relaxed);
    }

    /// Whether writes fail, or soon will.
    pub fn is_failing(&self) -> bool {
        self.healthy.load(Relaxed) != u64::MAX
    }

    /// Writes work again.
    pub fn heal(&self) {
        self.fail_after(u64::MAX);
    }

    /// A block.
    pub fn get(&self, no: u64) -> Bytes {
        self.with(|changed| changed.get(&no).map_or_else(|| self.base[no as usize], |bytes| **bytes))
    }

    /// Changes a block.
    pub fn edit<R>(&self, no: u64, f: impl FnOnce(&mut Bytes) -> R) -> R {
        self.with(|changed| f(changed.entry(no).or_insert_with(|| Box::new(self.base[no as usize]))))
    }

    fn with<R>(&self, f: impl FnOnce(&mut Changed) -> R) -> R {
        f(&mut self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn asked(&self) {
        let asked = self.requests.fetch_add(1, Relaxed);
        assert!(asked < MOST_REQUESTS, "the device is asked without an end");
    }

    fn may_write(&self) -> Result<(), Errno> {
        let take = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(1) };
        self.healthy.fetch_update(Relaxed, Relaxed, take).map(drop).map_err(|_| Errno::Io)
    }

    fn check(&self, offset: u64, bytes: usize) -> Result<(), Errno> {
        let end = offset.checked_add(bytes as u64).ok_or(Errno::Io)?;
        if end <= self.base.len() as u64 * BLOCK_BYTES { Ok(()) } else { Err(Errno::Io) }
    }
}

/// The parts of blocks that a range of bytes covers: block, place in it, length.
fn pieces(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + bytes as u64;
    std::iter::successors(Some(offset), |at| Some(at / BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES))
        .take_while(move |at| *at < end)
        .map(move |at| {
            let within = (at % BLOCK_BYTES) as usize;
            (at / BLOCK_BYTES, within, ((end - at) as usize).min(BLOCK - within))
        })
}

impl Device for Ram {
    fn blocks(&self) -> u64 {
        self.base.len() as u64
    }

    fn read(&self, offset: u64, mut to: &mut [u8]) -> Result<(), Errno> {
        self.asked();
        self.check(offset, to.len())?;
        for (no, at, len) in pieces(offset, to.len()) {
            let (now, rest) = to.split_at_mut(len);
            now.copy_from_slice(&self.get(no)[at..at + len]);
            to = rest;
        }
        Ok(())
    }

    fn write(&self, mut offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        self.asked();
        self.may_write()?;
        for slice in from {
            self.check(offset, slice.len())?;
            let mut rest: &[u8] = slice;
            for (no, at, len) in pieces(offset, slice.len()) {
                let (now, later) = rest.split_at(len);
                self.edit(no, |bytes| bytes[at..at + len].copy_from_slice(now));
                rest = later;
            }
            offset += slice.len() as u64;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        self.asked();
        self.may_write()
    }
}

impl Disk for Ram {
    fn blocks(&self) -> u64 {
        Device::blocks(self)
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        Device::read(self, no.0.checked_mul(BLOCK_BYTES).ok_or(Errno::Io)?, to)
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        Device::write(self, no.0.checked_mul(BLOCK_BYTES).ok_or(Errno::Io)?, &[IoSlice::new(from)])
    }

    fn flush(&self) -> Result<(), Errno> {
        Device::flush(self)
    }
}
