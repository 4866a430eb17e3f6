//! What /dev/fuse speaks: opcodes, flags and wire structures of FUSE 7.45.
//!
//! Facts of the kernel's `include/uapi/linux/fuse.h`, and nothing else: no decisions are taken here. Every
//! structure is native-endian (both ends run on one machine), has its size asserted, and has no padding that
//! is not a field, so it can be viewed as bytes without `unsafe`. Reserved fields are called `reserved*`.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The only major protocol version there is.
pub const MAJOR: u32 = 7;
/// The newest minor version whose structures are described here.
pub const MINOR: u32 = 45;
/// The oldest minor version that we accept: the first with the long form of SETXATTR (Linux 5.13).
pub const MINOR_MIN: u32 = 33;
/// The node id of the root directory.
pub const ROOT_ID: u64 = 1;
/// Set in [`InHeader::unique`] when the kernel repeats a request after [`NotifyCode::Resend`].
pub const UNIQUE_RESEND: u64 = 1 << 63;
/// Uid and gid of a caller when the kernel does not tell them (idmapped mounts).
pub const INVALID_ID: u32 = u32::MAX;
/// Records of a directory listing start at multiples of this.
pub const DIRENT_ALIGN: usize = 8;
/// A page, the unit in which the kernel counts the payload of a request.
pub const PAGE: usize = 4096;

macro_rules! opcodes {
    ($($name:ident = $code:literal, $doc:literal;)*) => {
        /// The requests that we decode.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Opcode {
            $(#[doc = $doc] $name = $code,)*
        }

        impl Opcode {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Opcode] = &[$(Opcode::$name,)*];

            /// The opcode with this number, if we speak it.
            pub const fn from_raw(raw: u32) -> Option<Opcode> {
                match raw {
                    $($code => Some(Opcode::$name),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn raw(self) -> u32 {
                self as u32
            }
        }
    };
}

opcodes! {
    Lookup = 1, "Finds a name in a directory.";
    Forget = 2, "Gives references to an inode back; has no reply.";
    Getattr = 3, "Reads attributes.";
    Setattr = 4, "Changes attributes, the size among them.";
    Readlink = 5, "Reads the target of a symbolic link.";
    Symlink = 6, "Makes a symbolic link.";
    Mknod = 8, "Makes a file of any type but directory and link.";
    Mkdir = 9, "Makes a directory.";
    Unlink = 10, "Removes a name that is not a directory.";
    Rmdir = 11, "Removes an empty directory.";
    Rename = 12, "Moves a name.";
    Link = 13, "Makes a hard link.";
    Open = 14, "Opens a file.";
    Read = 15, "Reads from a file.";
    Write = 16, "Writes to a file.";
    Statfs = 17, "Reports the space of the file system.";
    Release = 18, "Ends an open file.";
    Fsync = 20, "Makes a file durable.";
    Setxattr = 21, "Sets an extended attribute.";
    Getxattr = 22, "Reads an extended attribute.";
    Listxattr = 23, "Lists extended attributes.";
    Removexattr = 24, "Removes an extended attribute.";
    Flush = 25, "Announces each close(2).";
    Init = 26, "Opens the connection.";
    Opendir = 27, "Opens a directory.";
    Readdir = 28, "Lists a directory.";
    Releasedir = 29, "Ends an open directory.";
    Fsyncdir = 30, "Makes a directory durable.";
    Access = 34, "Asks for a permission check.";
    Create = 35, "Makes and opens a regular file.";
    Interrupt = 36, "Asks to cut a request short.";
    Bmap = 37, "Maps a file block to a device block.";
    Destroy = 38, "Closes the connection of a block device.";
    Ioctl = 39, "Device control, inode flags among them.";
    NotifyReply = 41, "Cached data that a notification asked for; has no reply.";
    BatchForget = 42, "Many Forgets in one; has no reply.";
    Fallocate = 43, "Allocates, punches, or zeroes a range.";
    Readdirplus = 44, "Lists a directory, with the attributes of each entry.";
    Rename2 = 45, "Rename, with flags.";
    Lseek = 46, "Finds data or a hole.";
    CopyFileRange = 47, "Copies between files; the count in the reply is 32 bits wide.";
    Syncfs = 50, "Makes the file system durable.";
    Tmpfile = 51, "Makes and opens a regular file without a name.";
    Statx = 52, "Reads attributes, the time of birth among them.";
    CopyFileRange64 = 53, "CopyFileRange with a 64-bit count in the reply.";
}

/// Unsolicited messages from us to the kernel: the `error` field of a reply whose `unique` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum NotifyCode {
    /// Drop cached attributes, and a range of cached data.
    InvalInode = 2,
    /// Drop a cached name.
    InvalEntry = 3,
    /// Send again every request that was read and not answered.
    Resend = 7,
}

bitflags! {
    /// Features negotiated by INIT. The low half travels in `flags`, the high half in `flags2`.
    ///
    /// Only features that we know how to use are named: a bit that is not named here is never echoed.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct InitFlags: u64 {
        /// Several reads of one file may be outstanding.
        const ASYNC_READ = 1 << 0;
        /// LOOKUP of "." and ".." works, so inodes can be found by number (NFS).
        const EXPORT_SUPPORT = 1 << 4;
        /// Writes may be larger than a page.
        const BIG_WRITES = 1 << 5;
        /// The umask is ours to apply (default ACLs).
        const DONT_MASK = 1 << 6;
        /// Directories are listed by READDIRPLUS.
        const DO_READDIRPLUS = 1 << 13;
        /// Several direct reads and writes of one file may be outstanding.
        const ASYNC_DIO = 1 << 15;
        /// Writes stay in the page cache until later; the kernel owns size and times.
        const WRITEBACK_CACHE = 1 << 16;
        /// The kernel understands ENOSYS as an answer to OPEN.
        const NO_OPEN_SUPPORT = 1 << 17;
        /// Lookups and listings of one directory may run in parallel.
        const PARALLEL_DIROPS = 1 << 18;
        /// The kernel caches and checks POSIX ACLs.
        const POSIX_ACL = 1 << 20;
        /// Reading from an aborted connection says ECONNABORTED rather than ENODEV.
        const ABORT_ERROR = 1 << 21;
        /// `max_pages` of the INIT reply counts.
        const MAX_PAGES = 1 << 22;
        /// Targets of symbolic links are cached.
        const CACHE_SYMLINKS = 1 << 23;
        /// The kernel understands ENOSYS as an answer to OPENDIR.
        const NO_OPENDIR_SUPPORT = 1 << 24;
        /// Cached data goes only when we say so.
        const EXPLICIT_INVAL_DATA = 1 << 25;
        /// We drop set-id bits and capabilities when the `KILL_SUIDGID` flags say so.
        const HANDLE_KILLPRIV_V2 = 1 << 28;
        /// SETXATTR has its long form.
        const SETXATTR_EXT = 1 << 29;
        /// `flags2` counts.
        const INIT_EXT = 1 << 30;
        /// The security label of a new file comes with its creation.
        const SECURITY_CTX = 1 << 32;
        /// The kernel knows [`NotifyCode::Resend`].
        const HAS_RESEND = 1 << 39;
        /// Idmapped mounts are allowed; most requests then carry no uid and gid ([`INVALID_ID`]).
        const ALLOW_IDMAP = 1 << 40;
    }
}

bitflags! {
    /// What SETATTR sets ([`SetattrIn::valid`]).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SetattrValid: u32 {
        /// Permission bits.
        const MODE = 1 << 0;
        /// Owner.
        const UID = 1 << 1;
        /// Group.
        const GID = 1 << 2;
        /// Size.
        const SIZE = 1 << 3;
        /// Time of the last access.
        const ATIME = 1 << 4;
        /// Time of the last change of the data.
        const MTIME = 1 << 5;
        /// The file handle counts.
        const FH = 1 << 6;
        /// `atime` is now.
        const ATIME_NOW = 1 << 7;
        /// `mtime` is now.
        const MTIME_NOW = 1 << 8;
        /// The lock owner counts.
        const LOCKOWNER = 1 << 9;
        /// Time of the last change of the inode (writeback cache only).
        const CTIME = 1 << 10;
        /// Drop set-id bits and capabilities.
        const KILL_SUIDGID = 1 << 11;
    }
}

bitflags! {
    /// What an open file may do without asking ([`OpenOut::open_flags`]).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct OpenOutFlags: u32 {
        /// Bypass the page cache.
        const DIRECT_IO = 1 << 0;
        /// Keep what is cached of this file.
        const KEEP_CACHE = 1 << 1;
        /// Cache the listing of this directory.
        const CACHE_DIR = 1 << 3;
        /// Send no FLUSH.
        const NOFLUSH = 1 << 5;
    }
}

/// [`WriteIn::write_flags`]: written back from the page cache; pid, uid and handle mean nothing.
pub const WRITE_CACHE: u32 = 1 << 0;
/// [`WriteIn::write_flags`]: drop set-id bits and capabilities.
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// [`OpenIn::open_flags`], [`CreateIn::open_flags`]: drop set-id bits and capabilities.
pub const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// [`GetattrIn::getattr_flags`], [`StatxIn::getattr_flags`]: the handle counts.
pub const GETATTR_FH: u32 = 1 << 0;
/// [`FsyncIn::fsync_flags`]: the data only.
pub const FSYNC_FDATASYNC: u32 = 1 << 0;
/// [`SetxattrIn::setxattr_flags`]: drop the set-gid bit (a new access ACL).
pub const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// [`IoctlIn::flags`]: the node is a directory.
pub const IOCTL_DIR: u32 = 1 << 4;

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident[$size:literal] { $($field:ident: $ty:ty = $field_doc:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            pub struct $name {
                $(#[doc = $field_doc] pub $field: $ty,)*
            }
            const _: () = assert!(size_of::<$name>() == $size);
        )*
    };
}

wire! {
    /// Starts every request.
    InHeader[40] {
        len: u32 = "Length of the whole request.",
        opcode: u32 = "See [`Opcode`].",
        unique: u64 = "Names the request; the reply repeats it.",
        nodeid: u64 = "The inode that it is about.",
        uid: u32 = "Caller's user, or [`INVALID_ID`].",
        gid: u32 = "Caller's group, or [`INVALID_ID`].",
        pid: u32 = "Caller's process, or 0.",
        total_extlen: u16 = "Length of the extensions at the end, in 8-byte units.",
        reserved: u16 = "Zero.",
    }
    /// Starts every reply and every notification.
    OutHeader[16] {
        len: u32 = "Length of the whole reply.",
        error: i32 = "0, or a negative error number; a [`NotifyCode`] in a notification.",
        unique: u64 = "The request that this answers; 0 in a notification.",
    }
    /// INIT from the kernel.
    InitIn[64] {
        major: u32 = "Its major version.",
        minor: u32 = "Its newest minor version.",
        max_readahead: u32 = "The most that it will read ahead.",
        flags: u32 = "What it offers, low half.",
        flags2: u32 = "What it offers, high half, given [`InitFlags::INIT_EXT`].",
        reserved: [u32; 11] = "Zero.",
    }
    /// The reply to INIT.
    InitOut[64] {
        major: u32 = "Our major version.",
        minor: u32 = "Our newest minor version.",
        max_readahead: u32 = "The most to read ahead.",
        flags: u32 = "What we take, low half.",
        max_background: u16 = "How many requests nobody waits for may be outstanding.",
        congestion_threshold: u16 = "From how many of them on the device counts as congested.",
        max_write: u32 = "The largest WRITE.",
        time_gran: u32 = "Granularity of times, in ns.",
        max_pages: u16 = "The largest payload, in pages.",
        map_alignment: u16 = "For DAX.",
        flags2: u32 = "What we take, high half.",
        max_stack_depth: u32 = "For passthrough.",
        request_timeout: u16 = "Seconds until the kernel gives up on us; 0 = never.",
        reserved: [u16; 11] = "Zero.",
    }
    /// Attributes of an inode.
    Attr[88] {
        ino: u64 = "Inode number.",
        size: u64 = "Size in bytes.",
        blocks: u64 = "Space taken, in 512-byte units.",
        atime: u64 = "Last access, seconds (two's complement).",
        mtime: u64 = "Last change of the data, seconds.",
        ctime: u64 = "Last change of the inode, seconds.",
        atimensec: u32 = "Last access, ns.",
        mtimensec: u32 = "Last change of the data, ns.",
        ctimensec: u32 = "Last change of the inode, ns.",
        mode: u32 = "Type and permission bits.",
        nlink: u32 = "Links.",
        uid: u32 = "Owner.",
        gid: u32 = "Group.",
        rdev: u32 = "Device number, in the kernel's new encoding.",
        blksize: u32 = "Preferred size of I/O.",
        flags: u32 = "For submounts and DAX.",
    }
    /// The reply to LOOKUP and to whatever makes a name. `nodeid` 0 is a name known to be absent.
    EntryOut[128] {
        nodeid: u64 = "Node id.",
        generation: u64 = "Tells reuses of a node id apart.",
        entry_valid: u64 = "How long the name may be cached, seconds.",
        attr_valid: u64 = "How long the attributes may be cached, seconds.",
        entry_valid_nsec: u32 = "And nanoseconds.",
        attr_valid_nsec: u32 = "And nanoseconds.",
        attr: Attr = "The attributes.",
    }
    /// The reply to GETATTR and SETATTR.
    AttrOut[104] {
        attr_valid: u64 = "How long the attributes may be cached, seconds.",
        attr_valid_nsec: u32 = "And nanoseconds.",
        reserved: u32 = "Zero.",
        attr: Attr = "The attributes.",
    }
    /// A time in [`Statx`].
    SxTime[16] {
        sec: i64 = "Seconds.",
        nsec: u32 = "Nanoseconds.",
        reserved: i32 = "Zero.",
    }
    /// Attributes, as in `struct statx`.
    Statx[256] {
        mask: u32 = "Which fields are set (`STATX_*`).",
        blksize: u32 = "Preferred size of I/O.",
        attributes: u64 = "`STATX_ATTR_*` bits.",
        nlink: u32 = "Links.",
        uid: u32 = "Owner.",
        gid: u32 = "Group.",
        mode: u16 = "Type and permission bits.",
        reserved0: u16 = "Zero.",
        ino: u64 = "Inode number.",
        size: u64 = "Size in bytes.",
        blocks: u64 = "Space taken, in 512-byte units.",
        attributes_mask: u64 = "Which `attributes` are supported.",
        atime: SxTime = "Last access.",
        btime: SxTime = "Birth.",
        ctime: SxTime = "Last change of the inode.",
        mtime: SxTime = "Last change of the data.",
        rdev_major: u32 = "Device number, major.",
        rdev_minor: u32 = "Device number, minor.",
        dev_major: u32 = "Filled by the kernel.",
        dev_minor: u32 = "Filled by the kernel.",
        reserved1: [u64; 14] = "Zero.",
    }
    /// STATX.
    StatxIn[24] {
        getattr_flags: u32 = "[`GETATTR_FH`].",
        reserved: u32 = "Zero.",
        fh: u64 = "Handle, if there is one.",
        sx_flags: u32 = "`AT_STATX_*`.",
        sx_mask: u32 = "Which fields are wanted.",
    }
    /// The reply to STATX.
    StatxOut[288] {
        attr_valid: u64 = "How long the attributes may be cached, seconds.",
        attr_valid_nsec: u32 = "And nanoseconds.",
        flags: u32 = "As [`Attr::flags`].",
        reserved: [u64; 2] = "Zero.",
        stat: Statx = "The attributes.",
    }
    /// The reply to STATFS.
    StatfsOut[80] {
        blocks: u64 = "All blocks, in `frsize` units.",
        bfree: u64 = "Free ones.",
        bavail: u64 = "Free ones for everyone.",
        files: u64 = "All inodes.",
        ffree: u64 = "Free ones.",
        bsize: u32 = "Preferred size of I/O.",
        namelen: u32 = "Longest name.",
        frsize: u32 = "Unit of the block counts.",
        reserved: [u32; 7] = "Zero.",
    }
    /// FORGET.
    ForgetIn[8] {
        nlookup: u64 = "How many references to give back.",
    }
    /// BATCH_FORGET; [`ForgetOne`] records follow.
    BatchForgetIn[8] {
        count: u32 = "How many follow.",
        reserved: u32 = "Zero.",
    }
    /// One record of BATCH_FORGET.
    ForgetOne[16] {
        nodeid: u64 = "The inode.",
        nlookup: u64 = "How many references to give back.",
    }
    /// GETATTR.
    GetattrIn[16] {
        getattr_flags: u32 = "[`GETATTR_FH`].",
        reserved: u32 = "Zero.",
        fh: u64 = "Handle, if there is one.",
    }
    /// SETATTR.
    SetattrIn[88] {
        valid: u32 = "See [`SetattrValid`].",
        reserved0: u32 = "Zero.",
        fh: u64 = "Handle, if valid.",
        size: u64 = "New size.",
        lock_owner: u64 = "Lock owner, if valid.",
        atime: u64 = "Last access, seconds (two's complement).",
        mtime: u64 = "Last change of the data, seconds.",
        ctime: u64 = "Last change of the inode, seconds.",
        atimensec: u32 = "Last access, ns.",
        mtimensec: u32 = "Last change of the data, ns.",
        ctimensec: u32 = "Last change of the inode, ns.",
        mode: u32 = "New mode.",
        reserved1: u32 = "Zero.",
        uid: u32 = "New owner.",
        gid: u32 = "New group.",
        reserved2: u32 = "Zero.",
    }
    /// MKNOD; the name follows.
    MknodIn[16] {
        mode: u32 = "Type and permission bits.",
        rdev: u32 = "Device number.",
        umask: u32 = "Caller's umask.",
        reserved: u32 = "Zero.",
    }
    /// MKDIR; the name follows.
    MkdirIn[8] {
        mode: u32 = "Permission bits.",
        umask: u32 = "Caller's umask.",
    }
    /// RENAME; the old and the new name follow.
    RenameIn[8] {
        newdir: u64 = "New parent.",
    }
    /// RENAME2; the old and the new name follow.
    Rename2In[16] {
        newdir: u64 = "New parent.",
        flags: u32 = "`RENAME_*`.",
        reserved: u32 = "Zero.",
    }
    /// LINK; the new name follows.
    LinkIn[8] {
        oldnodeid: u64 = "The inode that gets a name.",
    }
    /// OPEN, OPENDIR.
    OpenIn[8] {
        flags: u32 = "`O_*`.",
        open_flags: u32 = "[`OPEN_KILL_SUIDGID`].",
    }
    /// CREATE, TMPFILE; a name follows.
    CreateIn[16] {
        flags: u32 = "`O_*`.",
        mode: u32 = "Type and permission bits.",
        umask: u32 = "Caller's umask.",
        open_flags: u32 = "[`OPEN_KILL_SUIDGID`].",
    }
    /// The reply to OPEN and OPENDIR, and the second half of that to CREATE and TMPFILE.
    OpenOut[16] {
        fh: u64 = "Handle.",
        open_flags: u32 = "See [`OpenOutFlags`].",
        backing_id: i32 = "For passthrough.",
    }
    /// RELEASE, RELEASEDIR.
    ReleaseIn[24] {
        fh: u64 = "Handle.",
        flags: u32 = "`O_*`.",
        release_flags: u32 = "For remote locks.",
        lock_owner: u64 = "Lock owner.",
    }
    /// FLUSH.
    FlushIn[24] {
        fh: u64 = "Handle.",
        reserved: [u32; 2] = "Zero.",
        lock_owner: u64 = "Lock owner.",
    }
    /// READ, READDIR, READDIRPLUS.
    ReadIn[40] {
        fh: u64 = "Handle.",
        offset: u64 = "Position; in a directory the cookie of the last entry seen.",
        size: u32 = "How many bytes.",
        read_flags: u32 = "For remote locks.",
        lock_owner: u64 = "Lock owner.",
        flags: u32 = "`O_*`.",
        reserved: u32 = "Zero.",
    }
    /// WRITE; the data follows.
    WriteIn[40] {
        fh: u64 = "Handle.",
        offset: u64 = "Position.",
        size: u32 = "How many bytes.",
        write_flags: u32 = "[`WRITE_CACHE`], [`WRITE_KILL_SUIDGID`].",
        lock_owner: u64 = "Lock owner.",
        flags: u32 = "`O_*`.",
        reserved: u32 = "Zero.",
    }
    /// The reply to WRITE and COPY_FILE_RANGE.
    WriteOut[8] {
        size: u32 = "How many bytes were taken.",
        reserved: u32 = "Zero.",
    }
    /// FSYNC, FSYNCDIR.
    FsyncIn[16] {
        fh: u64 = "Handle.",
        fsync_flags: u32 = "[`FSYNC_FDATASYNC`].",
        reserved: u32 = "Zero.",
    }
    /// SETXATTR, long form; name and value follow.
    SetxattrIn[16] {
        size: u32 = "Length of the value.",
        flags: u32 = "`XATTR_*`.",
        setxattr_flags: u32 = "[`SETXATTR_ACL_KILL_SGID`].",
        reserved: u32 = "Zero.",
    }
    /// GETXATTR (the name follows), LISTXATTR.
    GetxattrIn[8] {
        size: u32 = "Room for the answer; 0 asks for its length.",
        reserved: u32 = "Zero.",
    }
    /// The reply when only the length was asked for.
    GetxattrOut[8] {
        size: u32 = "The length.",
        reserved: u32 = "Zero.",
    }
    /// ACCESS.
    AccessIn[8] {
        mask: u32 = "`R_OK`, `W_OK`, `X_OK`.",
        reserved: u32 = "Zero.",
    }
    /// INTERRUPT.
    InterruptIn[8] {
        unique: u64 = "The request to cut short.",
    }
    /// BMAP.
    BmapIn[16] {
        block: u64 = "Block of the file.",
        blocksize: u32 = "Unit of both blocks, in bytes.",
        reserved: u32 = "Zero.",
    }
    /// The reply to BMAP.
    BmapOut[8] {
        block: u64 = "Block of the device; 0 is a hole.",
    }
    /// IOCTL; the argument's bytes follow.
    IoctlIn[32] {
        fh: u64 = "Handle.",
        flags: u32 = "[`IOCTL_DIR`] and others.",
        cmd: u32 = "Which one.",
        arg: u64 = "Argument: a number, or the caller's pointer.",
        in_size: u32 = "How many bytes follow.",
        out_size: u32 = "Room for the answer.",
    }
    /// The reply to IOCTL; the answer's bytes follow.
    IoctlOut[16] {
        result: i32 = "What ioctl(2) returns.",
        flags: u32 = "For retries.",
        in_iovs: u32 = "For retries.",
        out_iovs: u32 = "For retries.",
    }
    /// FALLOCATE.
    FallocateIn[32] {
        fh: u64 = "Handle.",
        offset: u64 = "Start.",
        length: u64 = "Length.",
        mode: u32 = "`FALLOC_FL_*`.",
        reserved: u32 = "Zero.",
    }
    /// LSEEK.
    LseekIn[24] {
        fh: u64 = "Handle.",
        offset: u64 = "Start.",
        whence: u32 = "`SEEK_DATA`, `SEEK_HOLE`.",
        reserved: u32 = "Zero.",
    }
    /// The reply to LSEEK.
    LseekOut[8] {
        offset: u64 = "Where it was found.",
    }
    /// COPY_FILE_RANGE, both of them.
    CopyFileRangeIn[56] {
        fh_in: u64 = "Handle of the source.",
        off_in: u64 = "Start in the source.",
        nodeid_out: u64 = "Target.",
        fh_out: u64 = "Handle of the target.",
        off_out: u64 = "Start in the target.",
        len: u64 = "Length.",
        flags: u64 = "None yet.",
    }
    /// The reply to COPY_FILE_RANGE_64.
    CopyFileRangeOut[8] {
        bytes_copied: u64 = "How many bytes were copied.",
    }
    /// SYNCFS.
    SyncfsIn[8] {
        reserved: u64 = "Zero.",
    }
    /// Starts a record of READDIR, and follows an [`EntryOut`] in READDIRPLUS; the name follows.
    Dirent[24] {
        ino: u64 = "Inode number.",
        off: u64 = "Cookie of the place after this entry.",
        namelen: u32 = "Length of the name.",
        kind: u32 = "`DT_*`.",
    }
    /// [`NotifyCode::InvalInode`].
    NotifyInvalInodeOut[24] {
        ino: u64 = "The inode.",
        off: i64 = "Start of the data to drop; negative: attributes only.",
        len: i64 = "Length of the data to drop; 0: to the end.",
    }
    /// [`NotifyCode::InvalEntry`]; the name and a NUL follow.
    NotifyInvalEntryOut[16] {
        parent: u64 = "The directory.",
        namelen: u32 = "Length of the name.",
        flags: u32 = "1: expire only.",
    }
    /// NOTIFY_REPLY; the data follows.
    NotifyRetrieveIn[40] {
        reserved0: u64 = "Zero.",
        offset: u64 = "Start.",
        size: u32 = "Length.",
        reserved1: u32 = "Zero.",
        reserved2: [u64; 2] = "Zero.",
    }
}

/// How long the kernel may cache what only we can change: a year, which is for ever.
pub const FOREVER_S: u64 = 365 * 24 * 3600;
