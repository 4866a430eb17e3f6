//! The provenance log: who made, named, moved, cut or wrote which inode, one record for each operation, in the order in
//! which the operations were merged.
//!
//! It is the file of inode 5: a head in its first block, then a ring of record blocks. Each record block says which
//! *session* wrote it: one mount of one version of the file system, in one boot of one machine. So no record depends on
//! another block, and the ring can drop its oldest block whole.
//!
//! # Crash
//! A record is in the transaction of the operation that it tells of: both are there or neither is.
use super::Corruption;
use super::block::{HEADER, RawHeader};
use super::num::{all_zero, index32, narrow16, narrow32};
use bento_api::{BLOCK, BLOCK_BYTES, BlockNo, Bytes, Caller, FileBlock, InodeNo, Name, Time};
use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The block of the log that holds its head; record blocks follow it.
pub const HEAD_BLOCK: FileBlock = FileBlock(0);
/// The first record block.
pub const FIRST_BLOCK: FileBlock = FileBlock(1);
/// Record blocks of a log, at least and at most.
pub const LIMITS: core::ops::RangeInclusive<u64> = 64..=65_536;
/// The share of a volume's data blocks that its log may grow to: one of so many.
pub const SHARE: u64 = 128;
/// The byte of a record block at which the records begin.
pub const RECORDS_AT: usize = size_of::<RawBlock>();
/// Bytes of a record before its names.
pub const RECORD: usize = size_of::<RawRecord>();
/// The byte of a record block at which what an append changes lies: count and bytes used.
pub const FILL_AT: usize = offset_of!(RawBlock, count);
/// Bytes of that.
pub const FILL: usize = 8;
/// The byte of the head at which the newest block's number lies.
pub const TAIL_AT: usize = offset_of!(RawHead, tail);

/// Record lengths are multiples of this.
const ALIGN: usize = 8;
/// The flag of a rename that left a whiteout.
const WHITEOUT: u8 = 1;

raw! {
    /// The head of the log, at the start of its first block. The rest of the block is zero.
    pub struct RawHead [64] {
        /// `BPRH`; owner: inode 5.
        0 => header: RawHeader,
        /// The newest record block, as a block of the file: 1 or more.
        32 => tail: U64,
        /// How many record blocks there may be.
        40 => limit: U64,
        /// Zero.
        48 => unused: [u8; 16],
    }
}

raw! {
    /// What begins a record block. Records follow, then zeros.
    pub struct RawBlock [128] {
        /// `BPRV`; owner: inode 5.
        0 => header: RawHeader,
        /// Counts up with every record block that is begun, from 1.
        32 => turn: U64,
        /// The number of the first record: records are counted from 1 over the life of the log.
        40 => first: U64,
        /// Records.
        48 => count: U32,
        /// Bytes of the block in use, from its start.
        52 => used: U32,
        /// The session: the machine's boot id, as `/proc/sys/kernel/random/boot_id`; zeros: unknown.
        56 => boot: [u8; 16],
        /// The session: the volume's mount count.
        72 => mount: U32,
        /// The session: how often the code was replaced since that mount.
        76 => takeover: U32,
        /// When the session's first block was begun: seconds since 1970.
        80 => since: I64,
        /// And nanoseconds.
        88 => since_nanoseconds: U32,
        /// How the session began.
        92 => began: u8,
        /// Zero.
        93 => unused: [u8; 35],
    }
}

raw! {
    /// A record. Its names follow, then zeros up to its length.
    pub struct RawRecord [112] {
        /// Bytes of the record, names and padding included: a multiple of 8.
        0 => len: U16,
        /// What was done.
        2 => what: u8,
        /// 1: a rename left a whiteout.
        3 => flags: u8,
        /// The process: its effective user.
        4 => uid: U32,
        /// The process: its number (thread group); 0: unknown.
        8 => pid: U32,
        /// The object: its generation.
        12 => generation: U32,
        /// The process: when it was started, in clock ticks (1/100 s) since boot; 0: unknown.
        16 => start: U64,
        /// The object: its inode number.
        24 => ino: U64,
        /// When: seconds since 1970.
        32 => seconds: I64,
        /// And nanoseconds.
        40 => nanoseconds: U32,
        /// Bytes of the first name.
        44 => name_len: u8,
        /// Bytes of the second name.
        45 => to_len: u8,
        /// The object: type and permissions, as `st_mode`.
        46 => mode: U16,
        /// The process: its command, as `comm`, padded with NUL.
        48 => command: [u8; 16],
        /// The directory of the first name: the one that was made, taken away, or moved from.
        64 => dir: U64,
        /// The directory of the second name, which a rename moved to.
        72 => to_dir: U64,
        /// Rename: the inode that was replaced or exchanged; 0: none.
        80 => other: U64,
        /// And its generation.
        88 => other_generation: U32,
        /// The object: links after the operation.
        92 => nlink: U32,
        /// The object: size after the operation, in bytes.
        96 => size: U64,
        /// The object: version after the operation.
        104 => version: U64,
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// An inode and its first name were made: create, mkdir, mknod, symlink.
    Create,
    /// An inode without a name was made.
    TmpFile,
    /// A further name was made.
    Link,
    /// A name was taken away: unlink, rmdir.
    Unlink,
    /// A name was moved.
    Rename,
    /// Two names were exchanged.
    Exchange,
    /// The size was set.
    Truncate,
    /// A process was about to write to a file that it has open, for the first time.
    FirstWrite,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::TmpFile,
        Self::Link,
        Self::Unlink,
        Self::Rename,
        Self::Exchange,
        Self::Truncate,
        Self::FirstWrite,
    ];

    /// The byte on disk.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Create => 1,
            Self::TmpFile => 2,
            Self::Link => 3,
            Self::Unlink => 4,
            Self::Rename => 5,
            Self::Exchange => 6,
            Self::Truncate => 7,
            Self::FirstWrite => 8,
        }
    }

    /// From the byte on disk.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.byte() == byte)
    }

    /// How many names a record of this kind has.
    pub const fn names(self) -> usize {
        match self {
            Self::TmpFile | Self::Truncate | Self::FirstWrite => 0,
            Self::Create | Self::Link | Self::Unlink => 1,
            Self::Rename | Self::Exchange => 2,
        }
    }
}

/// How a session began, and whether something may have happened between it and the one before that no record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Began {
    /// It is the first of the log: nothing before it was recorded.
    First,
    /// By a mount, right after the session before.
    Mount,
    /// By a mount; meanwhile a version that records nothing changed the volume.
    MountAfterGap,
    /// By taking over from a version that recorded.
    Takeover,
    /// By taking over from a version that recorded nothing.
    TakeoverAfterGap,
}

impl Began {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::First, Self::Mount, Self::MountAfterGap, Self::Takeover, Self::TakeoverAfterGap];

    /// The byte on disk.
    pub const fn byte(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Mount => 2,
            Self::MountAfterGap => 3,
            Self::Takeover => 4,
            Self::TakeoverAfterGap => 5,
        }
    }

    /// From the byte on disk.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|began| began.byte() == byte)
    }

    /// Whether operations before it may be missing.
    pub const fn is_after_gap(self) -> bool {
        matches!(self, Self::First | Self::MountAfterGap | Self::TakeoverAfterGap)
    }
}

/// The head of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The newest record block.
    pub tail: FileBlock,
    /// How many record blocks there may be.
    pub limit: u64,
}

impl Head {
    /// Reads the head; the block's header was verified.
    pub fn decode(bytes: &Bytes) -> Result<Self, Corruption> {
        let (raw, rest) = RawHead::ref_from_prefix(bytes).map_err(|_| Corruption::ProvHead)?;
        let (tail, limit) = (raw.tail.get(), raw.limit.get());
        if !LIMITS.contains(&limit) || tail < FIRST_BLOCK.0 || tail > limit {
            return Err(Corruption::ProvHead);
        }
        if !all_zero(&raw.unused) || !all_zero(rest) {
            return Err(Corruption::ProvTail);
        }
        Ok(Self { tail: FileBlock(tail), limit })
    }

    /// Writes the head behind the header of an empty block.
    pub fn encode(&self, bytes: &mut Bytes) {
        if let Ok((raw, _)) = RawHead::mut_from_prefix(bytes) {
            raw.tail = self.tail.0.into();
            raw.limit = self.limit.into();
        }
    }
}

/// Who wrote a record block: one mount of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The machine's boot id; zeros: unknown.
    pub boot: [u8; 16],
    /// The volume's mount count.
    pub mount: u32,
    /// How often the code was replaced since that mount.
    pub takeover: u32,
    /// When its first block was begun.
    pub since: Time,
    /// How it began.
    pub began: Began,
}

/// What begins a record block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// Counts up with every record block that is begun.
    pub turn: u64,
    /// The number of the first record.
    pub first: u64,
    /// Records.
    pub count: u32,
    /// Bytes in use, from the block's start.
    pub used: u32,
    /// Who wrote it.
    pub session: Session,
}

impl BlockHead {
    /// A block without records.
    pub fn new(turn: u64, first: u64, session: Session) -> Self {
        Self { turn, first, count: 0, used: narrow32(RECORDS_AT), session }
    }

    /// Reads what begins a record block; the block's header was verified.
    pub fn decode(bytes: &Bytes) -> Result<Self, Corruption> {
        let (raw, _) = RawBlock::ref_from_prefix(bytes).map_err(|_| Corruption::ProvFill)?;
        let (used, count) = (raw.used.get(), raw.count.get());
        let room = narrow32(RECORDS_AT)..=narrow32(BLOCK);
        let most = index32(used).saturating_sub(RECORDS_AT) / RECORD;
        if !room.contains(&used) || !index32(used).is_multiple_of(ALIGN) || index32(count) > most {
            return Err(Corruption::ProvFill);
        }
        let began = Began::from_byte(raw.began).ok_or(Corruption::ProvSession)?;
        let nanoseconds = raw.since_nanoseconds.get();
        if nanoseconds >= 1_000_000_000 {
            return Err(Corruption::ProvSession);
        }
        if raw.turn.get() == 0 || raw.first.get() == 0 {
            return Err(Corruption::ProvFill);
        }
        if !all_zero(&raw.unused) {
            return Err(Corruption::ProvTail);
        }
        let session = Session {
            boot: raw.boot,
            mount: raw.mount.get(),
            takeover: raw.takeover.get(),
            since: Time::new(raw.since.get(), nanoseconds),
            began,
        };
        Ok(Self { turn: raw.turn.get(), first: raw.first.get(), count, used, session })
    }

    /// Writes it behind the header of an empty block.
    pub fn encode(&self, bytes: &mut Bytes) {
        if let Ok((raw, _)) = RawBlock::mut_from_prefix(bytes) {
            raw.turn = self.turn.into();
            raw.first = self.first.into();
            raw.count = self.count.into();
            raw.used = self.used.into();
            raw.boot = self.session.boot;
            raw.mount = self.session.mount.into();
            raw.takeover = self.session.takeover.into();
            raw.since = self.session.since.seconds.into();
            raw.since_nanoseconds = self.session.since.nanoseconds.into();
            raw.began = self.session.began.byte();
        }
    }

    /// Where the next record goes, if one of `len` bytes fits.
    pub fn place_for(&self, len: usize) -> Option<usize> {
        let at = index32(self.used);
        at.checked_add(len).filter(|end| *end <= BLOCK).map(|_| at)
    }

    /// The block with one more record, of `len` bytes.
    pub fn with_record(&self, len: usize) -> Self {
        let used = self.used.saturating_add(narrow32(len));
        Self { count: self.count.saturating_add(1), used, ..*self }
    }

    /// What an append writes at [`FILL_AT`].
    pub fn fill(&self) -> [u8; FILL] {
        let mut bytes = [0; FILL];
        let (count, used) = bytes.split_at_mut(4);
        count.copy_from_slice(U32::new(self.count).as_bytes());
        used.copy_from_slice(U32::new(self.used).as_bytes());
        bytes
    }
}

/// A name, in its directory. An empty one is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry<'b> {
    /// The directory.
    pub dir: InodeNo,
    /// The name.
    pub name: &'b [u8],
}

/// The inode that an operation is about, as it is after the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its number.
    pub ino: InodeNo,
    /// Which use of that number.
    pub generation: u32,
    /// Its version.
    pub version: u64,
    /// Type and permissions.
    pub mode: u16,
    /// Links.
    pub nlink: u32,
    /// Size in bytes.
    pub size: u64,
}

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    /// What was done.
    pub what: What,
    /// A rename left a whiteout under the old name.
    pub whiteout: bool,
    /// Who did it: user, process, start time, command. The group is not recorded.
    pub who: Caller,
    /// When.
    pub when: Time,
    /// To which inode.
    pub object: Object,
    /// The name that was made, taken away, or moved from.
    pub name: Entry<'b>,
    /// The name that was moved to.
    pub to: Entry<'b>,
    /// The inode that was replaced or exchanged, and its generation.
    pub other: Option<(InodeNo, u32)>,
}

impl<'b> Record<'b> {
    /// Its length on disk.
    pub fn length(&self) -> usize {
        let names = self.name.name.len().saturating_add(self.to.name.len());
        RECORD.saturating_add(names).next_multiple_of(ALIGN)
    }

    /// What comes before the names.
    pub fn head(&self) -> [u8; RECORD] {
        let mut raw = RawRecord::new_zeroed();
        let (other, other_generation) = self.other.unwrap_or_default();
        raw.len = narrow16(self.length()).into();
        raw.what = self.what.byte();
        raw.flags = if self.whiteout { WHITEOUT } else { 0 };
        raw.uid = self.who.uid.into();
        raw.pid = self.who.pid.into();
        raw.start = self.who.start_time.into();
        raw.command = self.who.command;
        raw.generation = self.object.generation.into();
        raw.ino = self.object.ino.0.into();
        raw.mode = self.object.mode.into();
        raw.nlink = self.object.nlink.into();
        raw.size = self.object.size.into();
        raw.version = self.object.version.into();
        raw.seconds = self.when.seconds.into();
        raw.nanoseconds = self.when.nanoseconds.into();
        raw.name_len = u8::try_from(self.name.name.len()).unwrap_or(0);
        raw.to_len = u8::try_from(self.to.name.len()).unwrap_or(0);
        raw.dir = self.name.dir.0.into();
        raw.to_dir = self.to.dir.0.into();
        raw.other = other.0.into();
        raw.other_generation = other_generation.into();
        let mut bytes = [0; RECORD];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Reads the record at the start of `bytes`, and says how long it is.
    pub fn decode(bytes: &'b [u8]) -> Result<(Self, usize), Corruption> {
        let bad = Corruption::ProvRecord;
        let (raw, _) = RawRecord::ref_from_prefix(bytes).map_err(|_| bad)?;
        let what = What::from_byte(raw.what).ok_or(bad)?;
        let len = usize::from(raw.len.get());
        let (first, second) = (usize::from(raw.name_len), usize::from(raw.to_len));
        let names = bytes.get(RECORD..len).ok_or(bad)?;
        let (name, rest) = names.split_at_checked(first).ok_or(bad)?;
        let (to, padding) = rest.split_at_checked(second).ok_or(bad)?;
        let wanted = what.names();
        let named = |at: usize, dir: u64, name: &[u8]| match wanted > at {
            true => dir != 0 && Name::new(name).is_ok(),
            false => dir == 0 && name.is_empty(),
        };
        let (dir, to_dir) = (raw.dir.get(), raw.to_dir.get());
        let formed = padding.len() < ALIGN
            && len.is_multiple_of(ALIGN)
            && all_zero(padding)
            && named(0, dir, name)
            && named(1, to_dir, to)
            && raw.flags & !WHITEOUT == 0
            && raw.ino.get() != 0
            && raw.nanoseconds.get() < 1_000_000_000;
        if !formed {
            return Err(bad);
        }
        let other = (raw.other.get() != 0).then(|| (InodeNo(raw.other.get()), raw.other_generation.get()));
        let who = Caller {
            uid: raw.uid.get(),
            pid: raw.pid.get(),
            start_time: raw.start.get(),
            command: raw.command,
            ..Caller::default()
        };
        let object = Object {
            ino: InodeNo(raw.ino.get()),
            generation: raw.generation.get(),
            version: raw.version.get(),
            mode: raw.mode.get(),
            nlink: raw.nlink.get(),
            size: raw.size.get(),
        };
        let record = Self {
            what,
            whiteout: raw.flags & WHITEOUT != 0,
            who,
            when: Time::new(raw.seconds.get(), raw.nanoseconds.get()),
            object,
            name: Entry { dir: InodeNo(dir), name },
            to: Entry { dir: InodeNo(to_dir), name: to },
            other,
        };
        Ok((record, len))
    }
}

/// The records of a block, each with its number; it ends at the first that is wrong.
pub fn records(
    bytes: &Bytes,
) -> Result<impl Iterator<Item = Result<(u64, Record<'_>), Corruption>>, Corruption> {
    let head = BlockHead::decode(bytes)?;
    let mut rest = bytes.get(RECORDS_AT..index32(head.used)).unwrap_or(&[]);
    let mut at = 0_u32;
    Ok(core::iter::from_fn(move || {
        if at >= head.count {
            // All that is used is records.
            let left = core::mem::take(&mut rest);
            return (!left.is_empty()).then_some(Err(Corruption::ProvRecord));
        }
        let number = head.first.saturating_add(at.into());
        let decoded = Record::decode(rest);
        match decoded {
            Ok((_, len)) => {
                rest = rest.get(len..).unwrap_or(&[]);
                at = at.saturating_add(1);
            }
            Err(_) => (at, rest) = (head.count, &[]),
        }
        Some(decoded.map(|(record, _)| (number, record)))
    }))
}

/// How many record blocks the log of a volume with so many data blocks may have.
pub fn limit_for(data_blocks: u64) -> u64 {
    (data_blocks / SHARE).clamp(*LIMITS.start(), *LIMITS.end())
}

/// Whether an inode could be the log's, by its size: whole blocks, and no more than there may be.
pub fn is_log_size(size: u64) -> bool {
    size.is_multiple_of(BLOCK_BYTES) && size / BLOCK_BYTES <= LIMITS.end().saturating_add(1)
}

/// Where nothing is: the block of a problem of the log as a whole.
pub const NOWHERE: BlockNo = BlockNo(0);
const _: () = assert!(RECORDS_AT > HEADER);
