//! The device or image, to read.
use super::arguments::Mode;
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use bento_console::quoted;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Where the superblock ends.
const SMALLEST: u64 = 2 * BLOCK_BYTES;

/// A device that is only read.
pub(super) struct Device {
    file: File,
    blocks: u64,
    reads: Cell<u64>,
}

/// Whether somebody else has the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InUse {
    No,
    Yes,
}

impl Device {
    /// Opens a device. One that is in use is opened only if nobody minds.
    pub(super) fn open(path: &Path, mode: Mode) -> Result<(Self, InUse), String> {
        let name = quoted(&path);
        let kind = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(format!("{name}: neither an image file nor a block device"));
        }
        let open = |flags: OFlags| {
            let flags = i32::try_from(flags.bits()).unwrap_or(0);
            OpenOptions::new().read(true).custom_flags(flags).open(path)
        };
        // A block device that is mounted by the kernel cannot be opened exclusively.
        let first = open(if kind.is_block_device() { OFlags::EXCL } else { OFlags::empty() });
        let (opened, mut in_use) = match first {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                (open(OFlags::empty()), InUse::Yes)
            }
            other => (other, InUse::No),
        };
        let mut file = opened.map_err(|error| format!("{name}: {error}"))?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            in_use = InUse::Yes;
        }
        if in_use == InUse::Yes && mode != Mode::LookOnly {
            return Err(format!(
                "{name} is in use: mounted, or in the hands of another program; unmount it, or look only, with -n"
            ));
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(|error| format!("{name}: {error}"))?;
        match bytes {
            0 => return Err(format!("{name} is empty")),
            1..SMALLEST => {
                return Err(format!("{name} has {bytes} bytes: no file system, or what a cut left of one"));
            }
            _ => {}
        }
        Ok((Self { file, blocks: bytes / BLOCK_BYTES, reads: Cell::new(0) }, in_use))
    }

    /// Blocks read so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
    }
}

impl Disk for Device {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        self.reads.set(self.reads.get() + 1);
        let at = no.0.checked_mul(BLOCK_BYTES).filter(|_| no.0 < self.blocks).ok_or(Errno::Io)?;
        self.file.read_exact_at(to, at).map_err(|_| Errno::Io)
    }

    fn write(&self, _no: BlockNo, _from: &Bytes) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}
