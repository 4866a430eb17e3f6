//! A sparse device in memory, for tests and benchmarks.
use super::{Device, check_range, total};
use bento_api::{BLOCK, BLOCK_BYTES, Bytes, Errno};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use std::io::IoSlice;
use std::time::Duration;

const SHARDS: u64 = 64;

/// A device in memory; blocks that were never written take no memory and read as zeros.
pub struct RamDevice {
    blocks: u64,
    shards: Vec<RwLock<FxHashMap<u64, Box<Bytes>>>>,
    delays: RwLock<Delays>,
}

/// How long requests take.
#[derive(Clone, Copy, Debug, Default)]
struct Delays {
    read: Duration,
    write: Duration,
    flush: Duration,
}

/// The part of one block that a range of bytes covers.
struct Piece {
    block: u64,
    at: usize,
    len: usize,
}

fn piece(offset: u64, left: usize) -> Piece {
    let at = (offset % BLOCK_BYTES) as usize;
    Piece { block: offset / BLOCK_BYTES, at, len: left.min(BLOCK - at) }
}

impl RamDevice {
    /// A device of so many blocks, all zero.
    pub fn new(blocks: u64) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { blocks, shards, delays: RwLock::default() }
    }

    /// Makes each read, write and flush take this long.
    pub fn set_delays(&self, read: Duration, write: Duration, flush: Duration) {
        *self.delays.write() = Delays { read, write, flush };
    }

    /// Blocks that were written.
    pub fn used(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn shard(&self, block: u64) -> &RwLock<FxHashMap<u64, Box<Bytes>>> {
        &self.shards[(block % SHARDS) as usize]
    }
}

fn pause(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

impl Device for RamDevice {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read(&self, mut offset: u64, mut to: &mut [u8]) -> Result<(), Errno> {
        check_range(self.blocks, offset, to.len() as u64)?;
        pause(self.delays.read().read);
        while !to.is_empty() {
            let Piece { block, at, len } = piece(offset, to.len());
            let (now, rest) = to.split_at_mut(len);
            match self.shard(block).read().get(&block) {
                Some(bytes) => now.copy_from_slice(&bytes[at..at + len]),
                None => now.fill(0),
            }
            to = rest;
            offset += len as u64;
        }
        Ok(())
    }

    fn write(&self, mut offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        check_range(self.blocks, offset, total(from))?;
        pause(self.delays.read().write);
        for slice in from {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                let Piece { block, at, len } = piece(offset, rest.len());
                let mut shard = self.shard(block).write();
                let bytes = shard.entry(block).or_insert_with(|| Box::new([0; BLOCK]));
                bytes[at..at + len].copy_from_slice(&rest[..len]);
                rest = &rest[len..];
                offset += len as u64;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        pause(self.delays.read().flush);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritten_blocks_are_zero_and_take_no_memory() {
        let device = RamDevice::new(1 << 30);
        device.write(4090, &[IoSlice::new(b"hello "), IoSlice::new(b"world")]).expect("writes");
        let mut back = [1; 13];
        device.read(4089, &mut back).expect("reads");
        assert_eq!(&back, b"\0hello world\0");
        assert_eq!(device.used(), 2);
    }
}
