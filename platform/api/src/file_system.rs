//! What a file system answers: values, or a [`Stop`].
//!
//! Every operation is one transaction: after a crash it happened or it did not. Long ones (truncate, evict,
//! fallocate, readdir) work in steps; each step is one transaction that leaves a legal image, and says whether it
//! was the last.
use crate::envelope::Refused;
use crate::limits::Cost;
use crate::{
    Attr, BatchSeq, Call, Caller, Corruption, Errno, FileBlock, FileKind, GroupNo, InodeNo, Mapping, Name,
    OpKind, Placement, PlacementId, Platform, SetAttr, StatFs, Stop, Totals, XattrName,
};

/// The result of an operation that reached the running batch; fsync waits for `batch`. Batch 0 says that nothing
/// had to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Committed<T> {
    /// The reply.
    pub value: T,
    /// The batch that must become durable.
    pub batch: BatchSeq,
}

impl<T> Committed<T> {
    /// The end of a transaction that joined `batch` and has merged.
    pub const fn in_batch(batch: BatchSeq, value: T) -> Self {
        Self { value, batch }
    }

    /// Nothing had to change.
    pub const fn unchanged(value: T) -> Self {
        Self { value, batch: BatchSeq(0) }
    }
}

/// What create, mkdir, mknod and tmpfile make.
#[derive(Clone, Copy, Debug)]
pub struct NewNode<'a> {
    /// Type and permission bits, the umask applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group. A set-group-id parent overrides it, and a directory inherits the bit.
    pub gid: u32,
    /// The device of a device node, in Linux's 32-bit encoding; else 0.
    pub rdev: u32,
    /// Attributes that are set in the same transaction: name with namespace, value.
    pub xattrs: &'a [(XattrName<'a>, &'a [u8])],
}

/// Permission bits that go, and those that come then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeChange {
    /// These go.
    pub clear: u32,
    /// These are there afterwards.
    pub set: u32,
}

/// How rename treats an existing target (renameat2(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// Replace it.
    Replace,
    /// Fail with EEXIST.
    NoReplace,
    /// Swap the two.
    Exchange,
    /// Replace it, and leave a whiteout (a 0:0 character device) under the old name.
    Whiteout,
}

/// A place in a directory: 0 is its start, other values come from [`DirEntry::next`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// One entry of a directory. `.` and `..` are listed first.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What it names.
    pub ino: InodeNo,
    /// What that is; unknown if the entry does not tell.
    pub kind: Option<FileKind>,
    /// Where to go on after this entry. Stable: it stays right however the directory changes.
    pub next: Cursor,
    /// Everything about the inode, if the caller asked for it and it could be had without waiting.
    pub attr: Option<&'a Attr>,
}

/// What [`FileSystem::readdir`] tells of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Names, numbers and kinds.
    Names,
    /// The attributes too (FUSE's READDIRPLUS).
    Attributes,
}

/// How setxattr treats an existing attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrSet {
    /// Create or replace.
    Any,
    /// EEXIST if it is there (`XATTR_CREATE`).
    Create,
    /// ENODATA if it is not (`XATTR_REPLACE`).
    Replace,
}

/// What fallocate(2) does with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Reserve blocks; the size grows to the end of the range.
    Reserve,
    /// Reserve blocks; the size stays.
    ReserveKeepSize,
    /// Free the whole blocks of the range. The host has zeroed the partial ones at its edges.
    Punch,
    /// Make the range read as zeros, its blocks reserved. The host has zeroed the partial blocks.
    Zero,
    /// As `Zero`; the size stays.
    ZeroKeepSize,
    /// Take the range out (collapse). Not yet: EOPNOTSUPP.
    Collapse,
    /// Push the rest back (insert). Not yet: EOPNOTSUPP.
    Insert,
}

/// What SEEK_DATA and SEEK_HOLE look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that may be data.
    Data,
    /// The next byte of a hole; the end of the file is one.
    Hole,
}

/// How far a step of evict came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The inode has links: it stays.
    InUse,
    /// Some blocks are free; call again.
    More,
    /// The inode is free.
    Gone,
}

/// What happened to the journal's I/O, or what somebody wants of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants the running batch durable.
    Commit,
    /// Goes on with a commit that answered [`Then::Again`].
    Log,
    /// All requests of this batch's record completed, or one failed.
    Written(BatchSeq, Result<(), Errno>),
    /// Somebody wants log space.
    Checkpoint,
    /// All home writes that were listed completed, or one failed.
    Homed(Result<(), Errno>),
    /// The new tail is written, or failed.
    Tail(Result<(), Errno>),
}

/// Why `drive` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Deliver this event when the requests completed; its result is filled in then.
    Deliver(Event),
    /// Submit the requests without waiting, and call again with this event at once: there is more.
    Again(Event),
    /// There is nothing to do.
    Idle,
    /// Not now: drive this to its end, and try again.
    First(Event),
    /// Not now: requests in flight must complete first.
    InFlight,
    /// The journal failed; the mount is shut down.
    Dead,
}

/// What to do next: the requests to submit, and what then.
pub struct Next<P: Platform> {
    /// Requests, in order.
    pub io: P::IoList,
    /// What comes after them.
    pub then: Then,
}

/// A file system. `P` is a parameter of the trait, so `dyn FileSystem<Host>` works and `P`'s generic methods still
/// inline.
///
/// Inodes are named by number; the platform guarantees that an inode in use (open, looked up) is not evicted
/// meanwhile. A number of a free inode answers ESTALE. Every operation may answer EIO (device, shut down),
/// EUCLEAN (corruption) and, if it changes something, EROFS and ENOSPC.
pub trait FileSystem<P: Platform>: Send + Sync {
    /// Name and version of the code, for `info` and for the upgrade.
    fn version(&self) -> &'static str;
    /// What each kind of operation takes before the gate; the table crosses to C at registration.
    fn cost(&self, kind: OpKind) -> Cost;
    /// The root directory.
    fn root(&self) -> InodeNo {
        InodeNo(1)
    }

    // Names.

    /// The inode of a name. ENOENT, ENOTDIR.
    fn lookup(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Attr, Stop>;
    /// A directory's parent; the root's is the root.
    fn parent(&self, call: &mut Call<'_, P>, dir: InodeNo) -> Result<Attr, Stop>;
    /// Makes a file, directory (`S_IFDIR`), device, fifo or socket, by the type bits of `node.mode`. EEXIST, EMLINK.
    ///
    /// # Crash
    /// The name, its inode and its attributes, or none of them.
    fn create(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        name: Name<'_>,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop>;
    /// Makes a symbolic link to `target`, 1 to 4095 bytes.
    ///
    /// # Crash
    /// The link with its whole target, or nothing.
    fn symlink(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        name: Name<'_>,
        target: &[u8],
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop>;
    /// Makes a file without a name (O_TMPFILE), which lives until it is linked or evicted.
    ///
    /// # Crash
    /// Recovery takes it away.
    fn tmpfile(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop>;
    /// Gives an inode one more name. EPERM for directories, EMLINK, EEXIST; ENOENT if its last name is gone and it is
    /// no O_TMPFILE.
    ///
    /// # Crash
    /// The name and the count, or neither.
    fn link(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Committed<Attr>, Stop>;
    /// Removes a name of something that is no directory (EISDIR). An inode without names becomes an orphan, which
    /// the platform evicts when nobody uses it. Answers the inode's attributes after it.
    ///
    /// # Crash
    /// The name is there or gone; an orphan is taken away by recovery.
    fn unlink(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop>;
    /// Removes an empty directory. ENOTEMPTY, ENOTDIR.
    ///
    /// # Crash
    /// As [`FileSystem::unlink`].
    fn rmdir(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop>;
    /// Moves a name; answers the attributes of the inode that lost its name, if one did.
    ///
    /// # Crash
    /// The old name or the new one, never both, never neither; a replaced inode is whole or gone.
    fn rename(
        &self,
        call: &mut Call<'_, P>,
        from: (InodeNo, Name<'_>),
        to: (InodeNo, Name<'_>),
        how: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop>;
    /// Lists a directory from a cursor until `sink` answers false or the directory ends; true at its end. What was
    /// listed before something was missing is an answer too.
    fn readdir(
        &self,
        call: &mut Call<'_, P>,
        dir: InodeNo,
        from: Cursor,
        emit: Emit,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop>;
    /// The target of a symbolic link: how many bytes were put into `to`. EINVAL if it is no link, ERANGE if `to` is
    /// too small.
    fn readlink(&self, call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop>;

    // Inodes.

    /// Everything about an inode, the slot's newer times included.
    fn getattr(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Attr, Stop>;
    /// Changes attributes. A lowered size takes effect in the first step; while the reply is `(_, true)` blocks
    /// past the end are left, and the host calls [`FileSystem::trim_past_end`] until it says false.
    ///
    /// # Crash
    /// All of the change or none; recovery finishes the freeing.
    fn setattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Committed<(Attr, bool)>, Stop>;
    /// One step of looking after what lies past the end of a file and would show if it grew: blocks of a truncate that is
    /// under way are freed, and data that a mount left there when it crashed becomes reserved space. Whether there is more;
    /// nothing happens if there is none. [`FileSystem::setattr`], [`FileSystem::place`] and [`FileSystem::fallocate`] answer
    /// EBUSY until it is done.
    fn trim_past_end(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<bool>, Stop>;
    /// Writes the slot's times to the inode, if they are newer.
    fn flush_times(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<()>, Stop>;
    /// One step of telling the disk what is free in the groups that were used since mount, from `from` on, so that the
    /// next mount finds space without reading them; the group to go on with. Advice, for a host to ask for when it
    /// writes home; what it does not say in time costs the next mount some reads.
    ///
    /// # Crash
    /// Each group has the old advice or the new.
    fn summarise(&self, call: &mut Call<'_, P>, from: GroupNo) -> Result<Committed<Option<GroupNo>>, Stop> {
        let _ = (call, from);
        Ok(Committed::unchanged(None))
    }
    /// One step of taking away an inode that nobody uses and nothing names.
    ///
    /// # Crash
    /// Recovery goes on where it stopped.
    fn evict(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<Evicted>, Stop>;
    /// The first orphan in a slot at or after `slot`, and the slot to go on with: what a mount takes away.
    fn orphan(&self, call: &mut Call<'_, P>, slot: u64) -> Result<Option<(InodeNo, u64)>, Stop>;

    // Attributes.

    /// An extended attribute: its length, and its value if `to` is not empty. ENODATA, ERANGE, EOPNOTSUPP for an unknown
    /// namespace.
    fn getxattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
        to: &mut [u8],
    ) -> Result<usize, Stop>;
    /// Sets an extended attribute. ENOSPC if it does not fit, EEXIST and ENODATA by `how`.
    ///
    /// # Crash
    /// The old value or the new.
    fn setxattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
        value: &[u8],
        how: XattrSet,
    ) -> Result<Committed<()>, Stop>;
    /// Names of the attributes, each ended by NUL: their length, and the names if `to` is not empty. ERANGE.
    fn listxattr(&self, call: &mut Call<'_, P>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop>;
    /// Removes an attribute. ENODATA.
    fn removexattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        name: XattrName<'_>,
    ) -> Result<Committed<()>, Stop>;
    /// Sets or removes the access control list (`system.posix_acl_access`), and changes the mode with it: a list's
    /// entries for owner, mask and others are the mode's bits too. Of the mode, `clear` goes and `set` comes.
    ///
    /// # Crash
    /// The old list and the old mode, or the new ones.
    fn set_acl(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        acl: Option<&[u8]>,
        mode: ModeChange,
    ) -> Result<Committed<Attr>, Stop> {
        let _ = (call, ino, acl, mode);
        Err(Errno::NotSupported.into())
    }

    // Data.

    /// What lies at the start of a range of a file's blocks; the answer is at most `blocks` long. FIEMAP is this, piece
    /// by piece.
    fn map(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
    ) -> Result<Mapping, Stop>;
    /// Chooses device blocks for a range that has none (or only unwritten ones), in memory; writes what it chose to
    /// `to`, which may cover less than was asked for, but not nothing.
    ///
    /// # Crash
    /// Nothing of it is on disk.
    fn place(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
        to: &mut Placement,
    ) -> Result<PlacementId, Stop>;
    /// Makes placed data part of its file: bitmap, extents, times and size in one transaction. `size` is the file's size
    /// as the host knows it; the disk's becomes max(size on disk, min(end of the placement, `size`)), clamped to
    /// `zero_from`. What lies past `size` is given back. ESTALE if the inode is gone: abandon it.
    ///
    /// # Crash
    /// The file's old blocks or the new ones, whose data is on the medium before.
    fn publish(&self, call: &mut Call<'_, P>, id: PlacementId, size: u64) -> Result<Committed<Attr>, Stop>;
    /// Gives a placement back.
    fn abandon(&self, call: &mut Call<'_, P>, id: PlacementId) -> Result<(), Stop>;
    /// One step of fallocate over a range of bytes; answers where to go on, or the end of the range. The host zeroes the
    /// partial blocks at the edges of a punch or a zeroing before the first step.
    ///
    /// # Crash
    /// Any number of steps happened; each left a legal file.
    fn fallocate(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        how: Allocate,
        range: core::ops::Range<u64>,
    ) -> Result<Committed<u64>, Stop>;
    /// SEEK_DATA, SEEK_HOLE: the offset found. ENXIO past the end.
    fn seek(&self, call: &mut Call<'_, P>, ino: InodeNo, from: u64, what: Seek) -> Result<u64, Stop>;
    /// Before the first write of an open file, if [`FileSystem::wants_first_write`].
    fn first_write(
        &self,
        call: &mut Call<'_, P>,
        caller: &Caller,
        ino: InodeNo,
    ) -> Result<Committed<()>, Stop> {
        let _ = (call, caller, ino);
        Ok(Committed::unchanged(()))
    }
    /// Whether the platform has to report first writes.
    fn wants_first_write(&self) -> bool {
        false
    }
    /// One step of telling the device which blocks are free. EOPNOTSUPP.
    fn trim(&self, call: &mut Call<'_, P>, from: u64) -> Result<u64, Stop> {
        let _ = (call, from);
        Err(Errno::NotSupported.into())
    }

    // The whole. Freezing and shutting down are the platform's alone: it keeps changes out, and drives until
    // [`FileSystem::is_clean`], or answers EIO.

    /// Gives the volume another label, at most 63 bytes without NUL. Not yet: EOPNOTSUPP.
    ///
    /// # Crash
    /// The old label or the new.
    fn set_label(&self, call: &mut Call<'_, P>, label: &[u8]) -> Result<Committed<()>, Stop> {
        let _ = (call, label);
        Err(Errno::NotSupported.into())
    }
    /// statfs(2), from the counters.
    fn statfs(&self, totals: &Totals) -> StatFs;
    /// What this number of a corruption means.
    fn describe(&self, what: Corruption) -> &'static str;
    /// One step of commit or checkpoint.
    fn drive(&self, platform: &P, event: Event) -> Next<P>;
    /// Whether everything is home and the log is empty: unmount may write a clean superblock.
    fn is_clean(&self, platform: &P) -> bool;
    /// What is not in a container, for the next version: see [`crate::envelope`]. How many bytes.
    fn export(&self, to: &mut [u8]) -> Result<usize, Refused>;
}
