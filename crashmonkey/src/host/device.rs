//! The recorder as a device of the userspace platform.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_api::{BLOCK, BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use bento_user::device::Device;

use crate::disk::{Flags, Image, Log, Recorder, Request};

/// A recorder that a mount can run on. Every request completes at once.
#[derive(Debug)]
pub struct RecordingDevice(Mutex<Recorder>);

impl RecordingDevice {
    /// A device with this content.
    pub fn new(image: Image) -> RecordingDevice {
        RecordingDevice::over(Recorder::new(image))
    }

    /// A recorder that may have faults planned.
    pub fn over(recorder: Recorder) -> RecordingDevice {
        RecordingDevice(Mutex::new(recorder))
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the history has so many events.
    pub fn mark(&self, events: usize) {
        self.recorder().mark(events);
    }

    /// A copy of the log so far.
    pub fn log(&self) -> Log {
        self.recorder().log()
    }

    /// What a reader would see.
    pub fn image(&self) -> Image {
        self.recorder().image()
    }
}

/// The part of a block that a range of bytes covers.
fn part(offset: u64, left: usize) -> (u64, usize, usize) {
    let at = (offset % BLOCK_BYTES) as usize;
    (offset / BLOCK_BYTES, at, left.min(BLOCK - at))
}

impl Device for RecordingDevice {
    fn blocks(&self) -> u64 {
        self.recorder().blocks()
    }

    fn read(&self, mut offset: u64, mut to: &mut [u8]) -> Result<(), Errno> {
        let recorder = self.recorder();
        while !to.is_empty() {
            let (no, at, len) = part(offset, to.len());
            let (now, rest) = to.split_at_mut(len);
            now.copy_from_slice(&recorder.get(no)?[at..at + len]);
            to = rest;
            offset += len as u64;
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        let recorder = self.recorder();
        let (first, start, _) = part(offset, 0);
        let bytes = start + from.iter().map(|slice| slice.len()).sum::<usize>();
        let mut blocks: Vec<Bytes> = Vec::with_capacity(bytes.div_ceil(BLOCK));
        for no in (first..).take(bytes.div_ceil(BLOCK)) {
            let whole = (no > first || start == 0) && (no + 1 - first) * BLOCK_BYTES <= bytes as u64;
            // What is written in part keeps the rest, sector by sector.
            blocks.push(if whole { [0; BLOCK] } else { *recorder.get(no)? });
        }
        let mut at = start;
        for slice in from {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                let (index, within, len) = part(at as u64, rest.len());
                blocks[index as usize][within..within + len].copy_from_slice(&rest[..len]);
                rest = &rest[len..];
                at += len;
            }
        }
        let contents = blocks.into_iter().map(Arc::new).collect();
        recorder.complete(recorder.submit(Request::Write { at: first, contents, flags: Flags::empty() }))
    }

    fn flush(&self) -> Result<(), Errno> {
        Disk::flush(&*self.recorder())
    }
}

impl Disk for RecordingDevice {
    fn blocks(&self) -> u64 {
        Device::blocks(self)
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        Disk::read(&*self.recorder(), no, to)
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        Disk::write(&*self.recorder(), no, from)
    }

    fn flush(&self) -> Result<(), Errno> {
        Disk::flush(&*self.recorder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_bytes_keeps_what_lies_around_them() {
        let device = RecordingDevice::new(Image::new(8));
        Device::write(&device, 4096, &[IoSlice::new(&[1; 8192])]).expect("no fault is planned");
        Device::write(&device, 4096 + 512, &[IoSlice::new(&[2; 512]), IoSlice::new(&[3; 4096])])
            .expect("no fault is planned");
        let mut back = vec![0; 8192];
        Device::read(&device, 4096, &mut back).expect("no fault is planned");
        let mut expected = vec![1; 8192];
        expected[512..1024].fill(2);
        expected[1024..1024 + 4096].fill(3);
        assert_eq!(back, expected);
        assert_eq!(device.log().block_writes(), 4);
        assert!(Device::write(&device, 7 * 4096, &[IoSlice::new(&[0; 4097])]).is_err());
    }
}
