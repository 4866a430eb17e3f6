//! The device or image: looked at, opened so that nobody else has it, cleared, written.
use super::{Failure, arguments::Arguments, mounted, signature};
use bento_api::{BLOCK, BLOCK_BYTES, BlockNo, Bytes, Disk, Errno};
use bento_console::quoted;
use rustix::fs::{FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bytes at the start and at the end that are zeroed if the device cannot discard: every known file system has its
/// mark there.
const CLEAR_START: u64 = 4 << 20;
const CLEAR_END: u64 = 1 << 20;
/// Bytes that are discarded at a time.
const DISCARD_STEP: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// An image to be made.
    Missing,
    /// An image that is there.
    Image,
    /// A block device.
    Device,
}

/// The device or image.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    what: What,
    /// Bytes that there are, or will be.
    bytes: u64,
    file: Option<File>,
    /// The last error of the system, which says more than an [`Errno`].
    error: Mutex<Option<io::Error>>,
}

impl Target {
    /// Finds out what the path is and how large, and refuses what must not be overwritten. Nothing is changed.
    pub(crate) fn look(arguments: &Arguments) -> Result<Self, Failure> {
        let path = arguments.device.clone();
        let wanted = arguments.size()?;
        let name = quoted(&path).to_string();
        let (what, bytes) = match rustix::fs::stat(&path) {
            Err(rustix::io::Errno::NOENT) => match wanted {
                Some(bytes) => (What::Missing, bytes),
                None => {
                    return Err(format!(
                        "{name}: no such device; to make an image, give its size, as in 64m"
                    ));
                }
            },
            Err(error) => return Err(format!("{name}: {error}")),
            Ok(stat) => Self::existing(&path, &stat, arguments, wanted)?,
        };
        if bytes < 8 << 20 {
            // In bytes: rounded, what lacks one of them would look large enough.
            return Err(format!(
                "{name}: {bytes} bytes are too small; a Bento file system has at least 8388608 (8 MiB)"
            ));
        }
        Ok(Self { path, what, bytes, file: None, error: Mutex::new(None) })
    }

    fn existing(
        path: &Path,
        stat: &Stat,
        arguments: &Arguments,
        wanted: Option<u64>,
    ) -> Result<(What, u64), Failure> {
        let name = quoted(&path);
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => What::Image,
            FileType::BlockDevice => What::Device,
            FileType::Directory => {
                return Err(format!("{name}: a directory; give a device or an image file"));
            }
            _ => return Err(format!("{name}: neither a block device nor an image file")),
        };
        if arguments.force < 2
            && let Some(user) = mounted::user_of(path, stat)
        {
            return Err(format!("{name}: in use: {user}; nothing was written (-FF writes nevertheless)"));
        }
        let mut file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(|error| format!("{name}: {error}"))?;
        if arguments.force == 0
            && let Some(found) = signature::find(&mut file, bytes, path)
        {
            return Err(format!("{name}: holds {found}; nothing was written (-F overwrites it)"));
        }
        // A volume that lost its superblock can still be read; made anew it cannot.
        if arguments.force == 0
            && let Some((no, _)) = bento_fsck::find_copy(&bento_fsck::Searched::new(&file, bytes))
        {
            return Err(format!(
                "{name}: holds a Bento file system whose superblock is damaged or gone, with a copy in block {no} \
                 (`bento mount -o ro,sb={no}` mounts by it); nothing was written (-F overwrites it)"
            ));
        }
        match (what, wanted) {
            (What::Image, Some(wanted)) => Ok((what, bytes.max(wanted))),
            (What::Image, None) if bytes == 0 => {
                Err(format!("{name}: an empty file; give the size of the image, as in 64m"))
            }
            _ => Ok((what, bytes)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path, to name in messages.
    pub(crate) fn name(&self) -> String {
        quoted(&self.path).to_string()
    }

    /// Opens for writing, alone: `O_EXCL` on a device, which refuses one that is mounted or part of another; a
    /// lock on both, which keeps udev from reading a file system that is half made, and a second mkfs away.
    pub(crate) fn open(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        let name = self.name();
        let flags = OFlags::RDWR
            | OFlags::CLOEXEC
            | match self.what {
                What::Missing => OFlags::CREATE | OFlags::EXCL,
                What::Device if arguments.force < 2 => OFlags::EXCL,
                What::Device | What::Image => OFlags::empty(),
            };
        let mode = Mode::from_raw_mode(0o666);
        let file = File::from(rustix::fs::open(&self.path, flags, mode).map_err(|error| match error {
            rustix::io::Errno::BUSY => format!("{name}: in use by the system; nothing was written"),
            error => format!("{name}: cannot open for writing: {error}"),
        })?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(_) if arguments.force >= 2 => {}
            Err(error) => {
                return Err(format!(
                    "{name}: in use: another program holds its lock ({error}); nothing was written"
                ));
            }
        }
        let file = self.file.insert(file);
        if self.what != What::Device {
            let length = file.metadata().map_err(|error| format!("{name}: {error}"))?.len();
            if length < self.bytes {
                file.set_len(self.bytes)
                    .map_err(|error| format!("{name}: cannot grow the image: {error}"))?;
            }
        }
        Ok(())
    }

    /// Takes an image away that was made for a file system which came to nothing.
    pub(crate) fn forget(&self) {
        if self.what == What::Missing && self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Makes the old content go away: by a discard that leaves zeros, where that is possible and wanted, else by
    /// zeros over every place where a file system has its mark. True if everything reads as zeros now.
    ///
    /// `progress` hears how many bytes of a discard are done.
    pub(crate) fn clear(&self, discard: bool, progress: &dyn Fn(u64)) -> Result<bool, Failure> {
        let Some(file) = &self.file else { return Ok(false) };
        if self.what == What::Missing || (discard && self.discard(file, progress)) {
            return Ok(true);
        }
        let start = CLEAR_START.min(self.bytes);
        let end = self.bytes.saturating_sub(CLEAR_END).max(start);
        for (from, to) in [(0, start), (end, self.bytes)] {
            self.zero(file, from, to).map_err(|error| format!("{}: cannot clear: {error}", self.name()))?;
        }
        Ok(false)
    }

    /// Punches a hole as large as the device. A piece at a time: a large device takes its time, and shows it.
    fn discard(&self, file: &File, progress: &dyn Fn(u64)) -> bool {
        let holes = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let mut at = 0;
        while at < self.bytes {
            let len = DISCARD_STEP.min(self.bytes - at);
            if rustix::fs::fallocate(file, holes, at, len).is_err() {
                return false;
            }
            at += len;
            progress(at);
        }
        true
    }

    fn zero(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; 256 << 10];
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all_at(zeros.get(..len).unwrap_or(&zeros), at)?;
            at += len as u64;
        }
        Ok(())
    }

    /// What the system said last.
    pub(crate) fn last_error(&self) -> Option<io::Error> {
        self.error.lock().ok()?.take()
    }

    fn file(&self) -> Result<&File, Errno> {
        self.file.as_ref().ok_or(Errno::NoDevice)
    }

    fn note(&self, error: io::Error) -> Errno {
        let errno = match error.kind() {
            io::ErrorKind::StorageFull => Errno::NoSpace,
            io::ErrorKind::PermissionDenied => Errno::Access,
            _ => Errno::Io,
        };
        if let Ok(mut last) = self.error.lock() {
            *last = Some(error);
        }
        errno
    }
}

impl Disk for Target {
    fn blocks(&self) -> u64 {
        self.bytes / BLOCK_BYTES
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        self.file()?.read_exact_at(to, no.0 * BLOCK_BYTES).map_err(|error| self.note(error))
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        self.file()?.write_all_at(from, no.0 * BLOCK_BYTES).map_err(|error| self.note(error))
    }

    fn flush(&self) -> Result<(), Errno> {
        self.file()?.sync_all().map_err(|error| self.note(error))
    }
}

/// Reads bytes of a file, as far as there are any.
pub(crate) fn read_some(file: &mut File, at: u64) -> Option<[u8; BLOCK]> {
    let mut bytes = [0; BLOCK];
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).ok()? {
            0 => break,
            more => filled += more,
        }
    }
    Some(bytes)
}
