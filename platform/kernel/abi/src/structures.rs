//! Structures and numbers.
use crate::describe::{constants, described, plain, structures};
use bento_api::control::{
    self, REASON_BYTES, STATUS_IOCTL, Status, UPGRADE_IOCTL, UpgradeReply, UpgradeRequest,
};
use bento_api::limits::{CLAIMS, CURSOR, JOURNAL_STATE, PINS, PLACEMENT_EXTENTS, WANTED};
use bento_api::{
    Attr, BatchSeq, BlockNo, Caller, Change, Claim, Cost, Extent, FileBlock, Freed, GroupNo, InodeNo, Map,
    Mounted, OpKind, Placement, Run, Slot, StatFs, Time, Totals,
};
use core::ffi::c_void;

constants! {
    /// Kinds of operations, by what they take before the gate.
    KINDS = bento_api::limits::OP_KINDS.len() as u32;
    /// Blocks that one call keeps pinned.
    PINS_MOST = PINS as u32;
    /// Blocks that one wait asks for.
    WANTED_MOST = WANTED as u32;
    /// Claims of one transaction.
    CLAIMS_MOST = CLAIMS as u32;
    /// Inode locks of one call.
    LOCKS_MOST = bento_api::limits::LOCKS as u32;
    /// Attempts before a call runs alone, and again as many before it fails.
    RESTARTS = bento_api::limits::RESTARTS;
    /// Blocks that one step of the journal handles.
    DRIVE_STEP = bento_api::limits::DRIVE_STEP;
    /// Sealed batches in flight.
    BATCHES_IN_FLIGHT = bento_api::limits::BATCHES_IN_FLIGHT;
    /// Bytes that an upgrade may hand over.
    ENVELOPE = bento_api::limits::ENVELOPE as u32;
    /// Bytes of the journal's own state.
    JOURNAL = JOURNAL_STATE as u32;
    /// Bytes in which a module keeps what its code knows of a volume.
    FS_BYTES = 256;
    /// Bytes for one attempt's view of its call.
    SCRATCH_BYTES = 12288;
    /// Bytes that mount and recovery work in.
    SPACE_BYTES = 16384;
    /// Operations that a table has.
    OP_COUNT = crate::OPS.len() as u32;

    /// A wanted block is read from the device.
    FETCH_READ = 0;
    /// A wanted block is read beside others, if that costs little, and not pinned.
    FETCH_AHEAD = 1;
    /// A wanted block is zeros, without reading.
    FETCH_ZEROED = 2;

    /// The call lacks blocks.
    WAIT_BLOCKS = 1;
    /// The call lacks log credits.
    WAIT_LOG = 2;
    /// The call waits for a batch.
    WAIT_BATCH = 3;
    /// The call lacks space.
    WAIT_SPACE = 4;
    /// The call starts over at once.
    WAIT_AGAIN = 5;

    /// See `Event::Commit`.
    EVENT_COMMIT = 0;
    /// See `Event::Log`.
    EVENT_LOG = 1;
    /// See `Event::Written`.
    EVENT_WRITTEN = 2;
    /// See `Event::Checkpoint`.
    EVENT_CHECKPOINT = 3;
    /// See `Event::Homed`.
    EVENT_HOMED = 4;
    /// See `Event::Tail`.
    EVENT_TAIL = 5;

    /// See `Then::Deliver`.
    THEN_DELIVER = 0;
    /// See `Then::Again`.
    THEN_AGAIN = 1;
    /// See `Then::Idle`.
    THEN_IDLE = 2;
    /// See `Then::First`.
    THEN_FIRST = 3;
    /// See `Then::InFlight`.
    THEN_IN_FLIGHT = 4;
    /// See `Then::Dead`.
    THEN_DEAD = 5;

    /// See `Seal::Batch`.
    SEAL_BATCH = 0;
    /// See `Seal::Empty`.
    SEAL_EMPTY = 1;
    /// See `Seal::TooManyInFlight`.
    SEAL_TOO_MANY = 2;
    /// See `Seal::Poisoned`.
    SEAL_POISONED = 3;

    /// The claim's busy bits go back if the attempt ends.
    CHANGE_TAKE = Change::Take as u32;
    /// The orphan slots' number as a group.
    ORPHANS = GroupNo::ORPHANS.0;

    /// A range without blocks.
    MAP_HOLE = 0;
    /// Blocks that read as zeros.
    MAP_UNWRITTEN = 1;
    /// Data.
    MAP_DATA = 2;

    /// Which attributes are set, as bits.
    SET_MODE = 1;
    /// See [`SetAttr`].
    SET_UID = 2;
    /// See [`SetAttr`].
    SET_GID = 4;
    /// See [`SetAttr`].
    SET_SIZE = 8;
    /// See [`SetAttr`].
    SET_ATIME = 16;
    /// See [`SetAttr`].
    SET_MTIME = 32;
    /// See [`SetAttr`].
    SET_CTIME = 64;
    /// See [`SetAttr`].
    SET_FLAGS = 128;
    /// See [`SetAttr`].
    SET_KILL_PRIVILEGES = 256;

    /// See `OpKind::Read`.
    KIND_READ = OpKind::Read as u32;
    /// See `OpKind::Place`.
    KIND_PLACE = OpKind::Place as u32;
    /// See `OpKind::ReadDir`.
    KIND_READDIR = OpKind::ReadDir as u32;
    /// See `OpKind::Create`.
    KIND_CREATE = OpKind::Create as u32;
    /// See `OpKind::TmpFile`.
    KIND_TMPFILE = OpKind::TmpFile as u32;
    /// See `OpKind::Link`.
    KIND_LINK = OpKind::Link as u32;
    /// See `OpKind::Unlink`.
    KIND_UNLINK = OpKind::Unlink as u32;
    /// See `OpKind::Rename`.
    KIND_RENAME = OpKind::Rename as u32;
    /// See `OpKind::SetAttr`.
    KIND_SETATTR = OpKind::SetAttr as u32;
    /// See `OpKind::Xattr`.
    KIND_XATTR = OpKind::Xattr as u32;
    /// See `OpKind::Publish`.
    KIND_PUBLISH = OpKind::Publish as u32;
    /// See `OpKind::Allocate`.
    KIND_ALLOCATE = OpKind::Allocate as u32;
    /// See `OpKind::Evict`.
    KIND_EVICT = OpKind::Evict as u32;
    /// See `OpKind::Times`.
    KIND_TIMES = OpKind::Times as u32;
    /// See `OpKind::Summarise`.
    KIND_SUMMARISE = OpKind::Summarise as u32;
    /// Bytes of a version's text.
    VERSION_BYTES = control::VERSION_BYTES as u32;
    /// See `bento_api::control`.
    UPGRADE = UPGRADE_IOCTL;
    /// See `bento_api::control`.
    STATUS = STATUS_IOCTL;
    /// See `OpKind::FirstWrite`.
    KIND_FIRST_WRITE = OpKind::FirstWrite as u32;

    /// Bytes of a directory entry before its name, in a listing.
    ENTRY_HEAD = 24;
}

described! { SHARED:
    Time as "bento_time" { seconds: i64, nanoseconds: u32, unused: u32 }
    Attr as "bento_attr" {
        ino: InodeNo, size: u64, sectors: u64, atime: Time, mtime: Time, ctime: Time, btime: Time, version: u64,
        mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, generation: u32, flags: u32, project: u32,
    }
    Caller as "bento_caller" {
        uid: u32, gid: u32, pid: u32, unused: u32, start_time: u64, command: [u8; 16],
    }
    StatFs as "bento_statfs" {
        blocks: u64, blocks_free: u64, blocks_available: u64, inodes: u64, inodes_free: u64, id: u64,
        name_max: u32, block_bytes: u32,
    }
    Cost as "bento_cost" { credits: u32, pages: u32 }
    Run as "bento_run" { start: u32, len: u32 }
    Claim as "bento_claim" { group: GroupNo, map: Map, run: Run, change: Change }
    Freed as "bento_freed" { group: GroupNo, map: Map, run: Run, block: BlockNo, logged: bool }
    Totals as "bento_totals" { blocks: u64, inodes: u64, orphans: u64 }
    Extent as "bento_extent" { file: FileBlock, block: BlockNo, blocks: u32, unused: u32 }
    Placement as "bento_placement" {
        ino: InodeNo, generation: u32, count: u32, file: FileBlock, blocks: u32, unwritten: u32,
        extents: [Extent; PLACEMENT_EXTENTS],
    }
    Slot as "bento_slot" {
        generation: u32, times_dirty: u32, atime: Time, mtime: Time, ctime: Time, version: u64,
        sync_seq: BatchSeq, datasync_seq: BatchSeq, zero_from: u64, map_version: u64,
        tail: u64,
    }
    UpgradeRequest as "bento_upgrade_request" { to: [u8; control::VERSION_BYTES], unused: [u8; 192] }
    UpgradeReply as "bento_upgrade_reply" {
        closed_ns: u64, total_ns: u64, refusals: u64, handed_over: u64, version: [u8; control::VERSION_BYTES],
        refused: [u8; REASON_BYTES], unused: [u8; 32],
    }
    Status as "bento_status" { version: [u8; control::VERSION_BYTES], read_only: u64, unused: [u8; 184] }
    Mounted as "bento_mounted" {
        journal: [u8; JOURNAL_STATE], next: BatchSeq, totals: Totals, log_credits: u32, batch_limit: u32, groups: u32,
        inodes_per_group: u32, blocks_per_group: u32, orphan_slots: u32, read_only: u32, replayed: u32,
    }
}

/// A device that blocks; C's own.
#[repr(C)]
pub struct Disk(());
plain! { Disk => "struct bento_disk" }

structures! { STRUCTURES:
    /// What Rust sees of a cached block.
    Block as "bento_block" {
        /// Its number.
        no: u64,
        /// 1 once its checksum was found right.
        verified: u32,
        /// Zero.
        unused: u32,
    }

    /// A wanted block.
    Want as "bento_want" {
        /// Its number.
        no: u64,
        /// `FETCH_*`.
        how: u64,
    }

    /// A group's busy bitmaps, lent.
    Lent as "bento_lent" {
        /// Whether the bits were read.
        loaded: *mut bool,
        /// One bit an inode.
        inodes: *mut u64,
        /// Words of it.
        inode_words: usize,
        /// One bit a block.
        blocks: *mut u64,
        /// Words of it.
        block_words: usize,
        /// Where the last search ended: two numbers.
        hints: *mut u32,
    }

    /// A sealed batch.
    SealedBatch as "bento_sealed_batch" {
        /// Its number.
        batch: u64,
        /// Its blocks.
        blocks: u64,
        /// The totals as of it.
        totals: Totals,
    }

    /// An attribute that is set with a new inode.
    NewXattr as "bento_new_xattr" {
        /// With its namespace.
        name: *const u8,
        /// Bytes of it.
        name_bytes: usize,
        /// The value.
        value: *const u8,
        /// Bytes of it.
        value_bytes: usize,
    }

    /// What setattr changes.
    SetAttr as "bento_set_attr" {
        /// `SET_*`.
        mask: u32,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Size in bytes.
        size: u64,
        /// Last access.
        atime: Time,
        /// Last change of the content.
        mtime: Time,
        /// Last change of the inode.
        ctime: Time,
        /// `FS_*_FL`.
        flags: u32,
        /// Zero.
        unused: u32,
    }

    /// What an operation is asked; which fields mean something, its thunk says.
    Args as "bento_args" {
        /// The inode, or the directory.
        ino: u64,
        /// The other directory.
        other: u64,
        /// A name.
        name: *const u8,
        /// The other name.
        other_name: *const u8,
        /// Bytes of the name.
        name_bytes: u32,
        /// Bytes of the other name.
        other_name_bytes: u32,
        /// Bytes that the operation fills or reads.
        buffer: *mut u8,
        /// How many.
        buffer_bytes: usize,
        /// A place: a file block, a cursor, an offset.
        at: u64,
        /// How much from there; or a size.
        length: u64,
        /// A flag of the operation's own.
        how: u32,
        /// The mode of a new inode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its device.
        rdev: u32,
        /// Attributes that it gets.
        xattr_count: u32,
        /// Where they lie.
        xattrs: *const NewXattr,
        /// What setattr changes.
        set: *const SetAttr,
        /// Where a placement is written.
        placement: *mut Placement,
        /// Where statfs answers.
        statfs: *mut StatFs,
    }

    /// What an operation answers.
    Reply as "bento_reply" {
        /// An inode.
        attr: Attr,
        /// The batch that must become durable.
        batch: u64,
        /// A number: bytes, an offset, a placement.
        value: u64,
        /// A second one.
        length: u64,
        /// What kind of answer.
        kind: u32,
        /// Whether there is an inode in it.
        has_attr: u32,
    }

    /// One operation: what Rust sees of it. An attempt's own state lies behind it, in C.
    Call as "bento_call" {
        /// Its time.
        now: Time,
        /// Who asks.
        caller: Caller,
        /// What is asked.
        args: Args,
        /// What is answered.
        reply: Reply,
        /// A small state that survives a wait.
        cursor: [u64; CURSOR],
        /// Whether the cursor was set in this attempt.
        progressed: u32,
        /// Log credits that are held.
        credits: u32,
        /// What is lacking.
        wait: u32,
        /// Credits that are lacking.
        wait_credits: u32,
        /// The batch that is waited for.
        wait_batch: u64,
        /// Blocks that are lacking.
        wanted_count: u32,
        /// Changes of allocation bits that are noted.
        claim_count: u32,
        /// The blocks.
        wanted: [Want; WANTED],
        /// The changes.
        claims: [Claim; CLAIMS],
        /// Room for one attempt's view of the call.
        scratch: *mut u8,
        /// Whether an attempt of this very code left a view there: then it need not be made anew.
        has_view: u64,
    }

    /// An event of the journal, or an answer that names one.
    Event as "bento_event" {
        /// `EVENT_*`.
        event: u32,
        /// `THEN_*`, in an answer.
        then: u32,
        /// The batch that it is about.
        batch: u64,
        /// 0 or a negative error number.
        result: i32,
        /// Zero.
        unused: u32,
    }

    /// What a mount or an unmount asks for, and what it learns.
    Mounting as "bento_mounting" {
        /// The device.
        disk: *mut Disk,
        /// `SPACE_BYTES` to work in.
        space: *mut u8,
        /// What the containers start with.
        mounted: *mut Mounted,
        /// Names the new epoch of the log.
        epoch: u64,
        /// The time of day.
        now: Time,
        /// 1 if nothing may be written.
        read_only: u32,
        /// Zero.
        unused: u32,
        /// The machine's boot id, for provenance records; zeros: unknown.
        boot: [u8; 16],
        /// The volume's UUID.
        uuid: [u8; 16],
        /// Blocks of the volume.
        blocks: u64,
    }

    /// What one version hands to the next.
    Handover as "bento_handover" {
        /// The envelope: `ENVELOPE` bytes.
        envelope: *mut u8,
        /// Bytes of it that are filled.
        bytes: usize,
        /// Why a version refuses, ended by a NUL.
        reason: [u8; REASON_BYTES],
    }

    /// A file system that registers.
    ///
    /// What is not an operation is called as `int (void *fs, struct bento_call *, struct NAME *)`.
    Registration as "bento_registration" {
        /// Compared with that of whom it registers with.
        fingerprint: u64,
        /// Bytes of its view of a call.
        scratch_bytes: u32,
        /// Bytes of what it knows of a volume.
        fs_bytes: u32,
        /// Bytes that a mount works in.
        space_bytes: u32,
        /// 1 if it is to be told of the first write of each open file.
        wants_first_write: u32,
        /// Name and version.
        version: *const u8,
        /// Bytes of it.
        version_bytes: usize,
        /// What each kind takes.
        costs: [Cost; bento_api::limits::OP_KINDS.len()],
        /// The operations: `int op(const void *fs, struct bento_call *call)`.
        ops: [*const c_void; crate::OPS.len()],
        /// Brings a volume up; `fs` is where the code keeps what it knows of it: `bento_mounting`.
        mount: *const c_void,
        /// Marks a volume clean, where everything is home; without the volume's code: `bento_mounting`.
        unmount: *const c_void,
        /// One step of the journal: `bento_event`.
        drive: *const c_void,
        /// Says what it knows, and changes nothing: `bento_handover`.
        export: *const c_void,
        /// Takes over what another version said; fills `fs`: `bento_handover`.
        import: *const c_void,
    }
}
