//! Why an entry returned without a reply.
use crate::BatchSeq;

/// A structure on disk that is wrong: a stable number, whose meaning the format documents. Mount, recovery and
/// fsck share the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Corruption(pub u16);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        /// Why an operation failed for good. The numbers are Linux's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Errno {
            $($(#[$doc])* $name,)*
            /// A structure on disk is wrong (EUCLEAN).
            Corrupt(Corruption),
        }

        impl Errno {
            /// Linux's number, positive.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$name => $number,)*
                    Self::Corrupt(_) => 117,
                }
            }
        }
    };
}

errnos! {
    /// EPERM: not allowed on this kind of object, or by a flag of it.
    NotPermitted = 1,
    /// ENOENT: no such name.
    NotFound = 2,
    /// EIO: the device failed, or the file system was shut down.
    Io = 5,
    /// EACCES.
    Access = 13,
    /// EBUSY.
    Busy = 16,
    /// EEXIST: the name is taken.
    Exists = 17,
    /// EXDEV.
    CrossDevice = 18,
    /// ENODEV.
    NoDevice = 19,
    /// ENOTDIR.
    NotDirectory = 20,
    /// EISDIR.
    IsDirectory = 21,
    /// EINVAL: the arguments make no sense.
    Invalid = 22,
    /// EFBIG: past the largest file.
    FileTooBig = 27,
    /// ENOSPC: no blocks or no inodes.
    NoSpace = 28,
    /// EROFS.
    ReadOnly = 30,
    /// EMLINK: too many links.
    TooManyLinks = 31,
    /// ERANGE: the buffer is too small.
    Range = 34,
    /// ENAMETOOLONG.
    NameTooLong = 36,
    /// ENOTEMPTY.
    NotEmpty = 39,
    /// ELOOP.
    Loop = 40,
    /// ENODATA: no such attribute.
    NoAttribute = 61,
    /// EOVERFLOW: an operation outgrew a capacity that a constant promised. A bug, not a state of the disk.
    Capacity = 75,
    /// EOPNOTSUPP: this file system, or this version of it, cannot do that.
    NotSupported = 95,
    /// ESTALE: the inode is gone, or its number was used again.
    Stale = 116,
    /// ENXIO: SEEK_DATA or SEEK_HOLE past the end.
    NoSuchAddress = 6,
    /// E2BIG.
    TooBig = 7,
}

/// What an entry lacks. Plain data; the blocks are listed in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Fetch what the call wants, pin it in the call, call again.
    Blocks,
    /// Hold these log credits *in total* (give back what is held first: never hold and wait).
    LogSpace(u32),
    /// Wait until this batch is durable.
    Batch(BatchSeq),
    /// Find space: commit, advance the tail, write others back; a second request after all of that is ENOSPC.
    Space,
    /// What was looked up changed while locks were taken in order: call again at once.
    Again,
}

/// Why an entry returned without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// For good.
    Error(Errno),
    /// For now.
    Wait(Wait),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

impl From<Corruption> for Errno {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

impl From<Corruption> for Stop {
    fn from(corruption: Corruption) -> Self {
        Self::Error(Errno::Corrupt(corruption))
    }
}

impl From<Wait> for Stop {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}
