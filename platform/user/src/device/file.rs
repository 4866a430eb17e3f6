//! Regular files and block devices.
use super::{Device, check_range, total};
use bento_api::{BLOCK_BYTES, Errno};
use bento_console::quoted;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, SeekFrom};
use rustix::io::Errno as Os;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Buffers that one system call takes.
const SLICES: usize = 256;

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading, beside other readers.
    ReadOnly,
    /// Reading and writing, alone.
    ReadWrite,
    /// Reading, without asking whether somebody writes: what is read may be inconsistent.
    Look,
    /// Reading, and only if nobody has it at all: to see what it is before the kernel is asked to claim it.
    Probe,
    /// Reading and writing what the kernel has claimed for a mount of ours.
    Claimed,
}

/// Why a device cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system call's answer.
    #[error("cannot open {}: {}", quoted(path), why(*errno))]
    System {
        /// What was opened.
        path: PathBuf,
        /// The answer.
        errno: Os,
    },
    /// Mounted, or being checked, already.
    #[error("{} is in use: it is mounted, or another program has it open; unmount it first", quoted(path))]
    InUse {
        /// What was opened.
        path: PathBuf,
    },
    /// Neither a regular file nor a block device.
    #[error("{} is neither a regular file nor a block device", quoted(path))]
    WrongKind {
        /// What was opened.
        path: PathBuf,
    },
}

fn why(errno: Os) -> String {
    match errno {
        Os::NOENT => "there is no such file; `mkfs.bento` makes one".into(),
        Os::ACCESS => "permission denied; try as its owner or as root".into(),
        // Of a file that is immutable or only to be appended to, whoever asks.
        Os::PERM => "it may not be written to, not even by root (see lsattr(1)); mount it with -o ro".into(),
        Os::ROFS => "it is write-protected; mount it with -o ro".into(),
        other => std::io::Error::from(other).to_string(),
    }
}

/// A regular file or a block device.
///
/// A writer has it alone: block devices are opened O_EXCL (which also keeps mount(2) out), files are locked with
/// flock(2); the lock ends with the process, however it ends. The image behind a loop device is locked too, so that it is
/// not mounted beside the device.
pub struct FileDevice {
    file: OwnedFd,
    blocks: u64,
    /// The locked image, if the file is a loop device.
    _image: Option<OwnedFd>,
}

impl FileDevice {
    /// Opens a file or a block device.
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        let system = |errno| OpenError::System { path: path.to_owned(), errno };
        let in_use = || OpenError::InUse { path: path.to_owned() };
        let found = rustix::fs::stat(path).map_err(system)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(OpenError::WrongKind { path: path.to_owned() });
        }
        let mut flags = OFlags::CLOEXEC;
        let writes = matches!(access, Access::ReadWrite | Access::Claimed);
        flags |= if writes { OFlags::RDWR } else { OFlags::RDONLY };
        if kind == FileType::BlockDevice && matches!(access, Access::ReadWrite | Access::Probe) {
            flags |= OFlags::EXCL;
        }
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Os::BUSY => in_use(),
            other => system(other),
        })?;
        let lock = match access {
            Access::ReadWrite | Access::Claimed => Some(FlockOperation::NonBlockingLockExclusive),
            Access::ReadOnly | Access::Probe => Some(FlockOperation::NonBlockingLockShared),
            Access::Look => None,
        };
        // One that is not there, or not ours to open, can't be mounted by its name.
        let image = (kind == FileType::BlockDevice)
            .then(|| bento_mkfs::backing_file(found.st_rdev))
            .flatten()
            .and_then(|image| rustix::fs::open(image, OFlags::CLOEXEC, Mode::empty()).ok());
        let locked = if kind == FileType::RegularFile { Some(&file) } else { image.as_ref() };
        if let (Some(lock), Some(locked)) = (lock, locked) {
            rustix::fs::flock(locked, lock).map_err(|errno| match errno {
                Os::WOULDBLOCK => in_use(),
                other => system(other),
            })?;
        }
        // lseek tells the size of files and of block devices alike, where BLKGETSIZE64 needs an ioctl.
        let bytes = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(system)?;
        Ok(Self { file, blocks: bytes / BLOCK_BYTES, _image: image })
    }
}

fn errno_of(errno: Os) -> Errno {
    match errno {
        Os::NOSPC | Os::DQUOT => Errno::NoSpace,
        Os::ROFS | Os::BADF | Os::PERM => Errno::ReadOnly,
        _ => Errno::Io,
    }
}

impl Device for FileDevice {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read(&self, mut offset: u64, mut to: &mut [u8]) -> Result<(), Errno> {
        check_range(self.blocks, offset, to.len() as u64)?;
        while !to.is_empty() {
            match rustix::io::pread(&self.file, &mut *to, offset) {
                Ok(0) => return Err(Errno::Io), // the file was cut under us
                Ok(n) => {
                    to = &mut to[n..];
                    offset += n as u64;
                }
                Err(Os::INTR) => {}
                Err(errno) => return Err(errno_of(errno)),
            }
        }
        Ok(())
    }

    fn write(&self, mut offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        check_range(self.blocks, offset, total(from))?;
        for chunk in from.chunks(SLICES) {
            let mut buffers = [IoSlice::new(&[]); SLICES];
            buffers[..chunk.len()].copy_from_slice(chunk);
            let mut rest = &mut buffers[..chunk.len()];
            while total(rest) > 0 {
                match rustix::io::pwritev(&self.file, rest, offset) {
                    Ok(0) => return Err(Errno::Io),
                    Ok(n) => {
                        IoSlice::advance_slices(&mut rest, n);
                        offset += n as u64;
                    }
                    Err(Os::INTR) => {}
                    Err(errno) => return Err(errno_of(errno)),
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        // Not retried: after a failed fsync the kernel may have dropped what it could not write.
        rustix::fs::fdatasync(&self.file).map_err(|_| Errno::Io)
    }

    fn will_read(&self, offset: u64, bytes: u64) {
        let len = std::num::NonZeroU64::new(bytes);
        let _ = rustix::fs::fadvise(&self.file, offset, len, rustix::fs::Advice::WillNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(blocks: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.as_file().set_len(blocks * BLOCK_BYTES).expect("its size");
        file
    }

    #[test]
    fn two_writers_of_one_image_are_refused_with_a_way_out() {
        let file = image(4);
        let first = FileDevice::open(file.path(), Access::ReadWrite).expect("the first");
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = FileDevice::open(file.path(), access).err().expect("the second is refused");
            assert!(error.to_string().contains("unmount it first"), "{error}");
        }
        drop(first);
        let _reader = FileDevice::open(file.path(), Access::ReadOnly).expect("a reader");
        let _beside = FileDevice::open(file.path(), Access::ReadOnly).expect("another reader");
        assert!(matches!(FileDevice::open(file.path(), Access::ReadWrite), Err(OpenError::InUse { .. })));
    }

    #[test]
    fn a_missing_file_and_a_directory_are_named() {
        let missing =
            FileDevice::open(Path::new("/nonexistent/image"), Access::ReadWrite).err().expect("none");
        assert!(missing.to_string().contains("/nonexistent/image"), "{missing}");
        assert!(matches!(
            FileDevice::open(Path::new("/"), Access::ReadOnly),
            Err(OpenError::WrongKind { .. })
        ));
    }

    #[test]
    fn what_may_not_be_written_can_still_be_read() {
        for errno in [Os::PERM, Os::ROFS] {
            let error = OpenError::System { path: "image".into(), errno }.to_string();
            assert!(error.contains("mount it with -o ro"), "{error}");
        }
    }

    #[test]
    fn buffers_are_written_one_behind_the_other() {
        let file = image(4);
        let device = FileDevice::open(file.path(), Access::ReadWrite).expect("opens");
        let parts: Vec<Vec<u8>> = (0..600_u32).map(|i| vec![i as u8; 9]).collect();
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        device.write(4095, &slices).expect("writes");
        let mut back = vec![0; 600 * 9];
        device.read(4095, &mut back).expect("reads");
        assert_eq!(back, parts.concat());
        device.flush().expect("flushes");
    }

    #[test]
    fn nothing_lies_past_the_end() {
        let file = image(2);
        let device = FileDevice::open(file.path(), Access::ReadWrite).expect("opens");
        assert_eq!(device.read(8191, &mut [0; 2]), Err(Errno::Io));
        assert_eq!(device.write(u64::MAX, &[IoSlice::new(b"x")]), Err(Errno::Io));
    }
}
