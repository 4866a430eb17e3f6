//! What is known of an inode, in the shapes of stat(2), utimensat(2) and statfs(2).
use crate::InodeNo;

/// A point in time: seconds since 1970 (signed: far past and future are legal), and nanoseconds below 10^9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Time {
    /// Seconds since the epoch, UTC.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
    /// Zero.
    pub unused: u32,
}

impl Time {
    /// A time from its two parts.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds, unused: 0 }
    }
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A socket.
    Socket,
}

impl FileKind {
    /// From the type bits of a mode (`S_IFMT`); none if they name no type.
    pub const fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// The type bits of a mode.
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// `DT_*` of readdir(3).
    pub const fn dirent_type(self) -> u8 {
        match self {
            Self::Fifo => 1,
            Self::CharDevice => 2,
            Self::Directory => 4,
            Self::BlockDevice => 6,
            Self::Regular => 8,
            Self::Symlink => 10,
            Self::Socket => 12,
        }
    }
}

/// Everything that stat(2) and statx(2) tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Attr {
    /// The inode.
    pub ino: InodeNo,
    /// Size in bytes.
    pub size: u64,
    /// Blocks held, metadata of the file included, in units of 512 bytes.
    pub sectors: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Birth.
    pub btime: Time,
    /// Changes with every change of the inode.
    pub version: u64,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, in Linux's 32-bit user encoding (`new_encode_dev`).
    pub rdev: u32,
    /// Changes when the number is used again.
    pub generation: u32,
    /// `FS_*_FL` of chattr(1).
    pub flags: u32,
    /// Project id.
    pub project: u32,
}

impl Attr {
    /// What it is; none if the mode names no type.
    pub const fn kind(&self) -> Option<FileKind> {
        FileKind::of_mode(self.mode)
    }
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The operation's own time.
    Now,
    /// This time.
    To(Time),
}

/// What setattr changes; what is `None` stays. Any change sets ctime to the operation's time unless given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits (the type bits are ignored).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes; regular files only. Lowering it frees blocks in bounded steps.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the content.
    pub mtime: Option<SetTime>,
    /// Last change of the inode.
    pub ctime: Option<SetTime>,
    /// Birth.
    pub btime: Option<SetTime>,
    /// `FS_*_FL` of chattr(1).
    pub flags: Option<u32>,
    /// Project id.
    pub project: Option<u32>,
    /// Drop the set-user-id and set-group-id bits and `security.capability`, as a write by the unprivileged does.
    pub kill_privileges: bool,
}

/// Who asks. Plain data; permission was checked by the VFS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Process (thread group).
    pub pid: u32,
    /// Zero.
    pub unused: u32,
    /// When the process started, in clock ticks since boot: with `pid` it names a process for good.
    pub start_time: u64,
    /// The command, as `comm`: up to 15 bytes, the rest NUL.
    pub command: [u8; 16],
}

/// What statfs(2) tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StatFs {
    /// Blocks that files could use, in blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks that are not kept back.
    pub blocks_available: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
    /// The file-system id: from the UUID.
    pub id: u64,
    /// The longest name, in bytes.
    pub name_max: u32,
    /// Bytes in a block.
    pub block_bytes: u32,
}
