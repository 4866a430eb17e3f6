//! A device with a volatile cache, which can lose power.
use crate::device::Device;
use bento_api::{BLOCK, BLOCK_BYTES, Bytes, Errno};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

type Image = BTreeMap<u64, Box<Bytes>>;

#[derive(Default, Clone)]
struct Contents {
    now: Image,
    durable: Image,
    /// Requests to write since the last flush, in order.
    volatile: Vec<Vec<(u64, Box<Bytes>)>>,
}

/// Blocks in memory; what was not flushed may be lost.
#[derive(Default)]
pub(super) struct Volatile {
    contents: Mutex<Contents>,
    pub(super) delay: Mutex<Duration>,
    pub(super) fail_writes: AtomicBool,
    pub(super) reads: AtomicU64,
}

impl Volatile {
    pub(super) fn of(image: Image) -> Self {
        let contents = Contents { now: image.clone(), durable: image, volatile: Vec::new() };
        Self { contents: Mutex::new(contents), ..Self::default() }
    }

    /// What is left after a power cut now; `keep` chooses among the requests that were not flushed.
    pub(super) fn cut(&self, mut keep: impl FnMut() -> bool) -> Image {
        let Contents { durable, volatile, .. } = self.contents.lock().clone();
        let mut image = durable;
        image.extend(volatile.into_iter().filter(|_| keep()).flatten());
        image
    }

    fn sleep(&self) {
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
}

impl Device for Volatile {
    fn blocks(&self) -> u64 {
        32 << 10
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.sleep();
        self.reads.fetch_add(1, SeqCst);
        let contents = self.contents.lock();
        for (byte, at) in to.iter_mut().zip(offset..) {
            let block = contents.now.get(&(at / BLOCK_BYTES));
            *byte = block.map_or(0, |block| block[(at % BLOCK_BYTES) as usize]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        self.sleep();
        if self.fail_writes.load(SeqCst) {
            return Err(Errno::Io);
        }
        let bytes: Vec<u8> = from.iter().flat_map(|slice| slice.iter().copied()).collect();
        let Contents { now, volatile, .. } = &mut *self.contents.lock();
        let mut written = Vec::new();
        let mut rest = &bytes[..];
        let mut at = offset;
        while !rest.is_empty() {
            let (no, within) = (at / BLOCK_BYTES, (at % BLOCK_BYTES) as usize);
            let (piece, behind) = rest.split_at(rest.len().min(BLOCK - within));
            let block = now.entry(no).or_insert_with(|| Box::new([0; BLOCK]));
            block[within..within + piece.len()].copy_from_slice(piece);
            written.push((no, block.clone()));
            (rest, at) = (behind, at + piece.len() as u64);
        }
        volatile.push(written);
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        self.sleep();
        let mut contents = self.contents.lock();
        let volatile = std::mem::take(&mut contents.volatile);
        contents.durable.extend(volatile.into_iter().flatten());
        Ok(())
    }
}
