//! Where everything will lie.
use bento_api::{BLOCK_BYTES, BlockNo, GroupNo};
use bento_fs::format::geometry::{
    Geometry, INODE_SIZE, INODES_PER_BLOCK, MAX_BLOCKS_PER_GROUP, MAX_INODES_PER_GROUP, MAX_LOG,
    MIN_BLOCKS_PER_GROUP, MIN_LAST_DATA, MIN_LOG, SUMMARY_ENTRIES, SUPERBLOCK, has_copy,
};
use bento_fs::format::superblock::{Compat, ErrorRecord, Incompat, OnError, RoCompat, State, Superblock};
use bento_fs::format::{Corruption, HashKey, block::BLOCK_LIMIT};

/// The default: one inode for this many bytes.
pub const BYTES_PER_INODE: u64 = 16 << 10;
/// The fewest bytes for an inode that can be asked for.
pub const MIN_BYTES_PER_INODE: u64 = 1 << 10;
/// The smallest log that the command makes, in blocks: 4 MiB, below which the file system cannot work.
pub const SMALL_LOG: u64 = bento_api::limits::SMALLEST_LOG as u64;
/// The largest log that is chosen by default, in blocks: 1 GiB.
const LARGE_LOG: u64 = 262_144;
/// The share of the volume that the log gets between these two.
const LOG_SHARE: u64 = 64;
/// The blocks kept for unlink and for growing the orphan file, unless more are asked for.
const RESERVED_BLOCKS: u64 = 64;

/// What is random in a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy {
    /// The seed of all checksums.
    pub csum_seed: u32,
    /// The key of the directory hash.
    pub hash_key: [u8; 16],
    /// The log's first epoch.
    pub epoch: u64,
}

impl Entropy {
    /// From the system's random numbers.
    pub fn random() -> Self {
        Self { csum_seed: rand::random(), hash_key: rand::random(), epoch: rand::random() }
    }

    /// From the UUID alone, for images that must come out the same twice. Such an image's log must be zeroed: an
    /// older one of the same UUID has the same epoch.
    pub fn from_uuid(uuid: [u8; 16]) -> Self {
        let [a, b, c] = [b"seed", b"hash", b"log ".as_slice()].map(|what| HashKey(uuid).hash(what).0);
        let mut hash_key = [0; 16];
        let (low, high) = hash_key.split_at_mut(8);
        low.copy_from_slice(&b.to_le_bytes());
        high.copy_from_slice(&HashKey(uuid).hash(b"high").0.to_le_bytes());
        let [s0, s1, s2, s3, ..] = a.to_le_bytes();
        Self { csum_seed: u32::from_le_bytes([s0, s1, s2, s3]), hash_key, epoch: c }
    }
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// Blocks to use, if not the whole device.
    pub blocks: Option<u64>,
    /// Bytes of the volume for each inode.
    pub bytes_per_inode: u64,
    /// Inodes of the whole volume, rounded up; instead of `bytes_per_inode`.
    pub inodes: Option<u64>,
    /// Blocks of the log, its two headers included.
    pub log_blocks: Option<u64>,
    /// Blocks of a group, a multiple of 64.
    pub blocks_per_group: Option<u32>,
    /// Blocks kept for unlink, in percent of the volume; at least 64 blocks are.
    pub reserved_percent: u8,
    /// The label.
    pub label: Vec<u8>,
    /// The UUID.
    pub uuid: [u8; 16],
    /// Compatible features to switch on.
    pub compat: Compat,
    /// What a mount does at an error.
    pub errors: OnError,
    /// User and group of the root directory.
    pub root_owner: (u32, u32),
    /// Permissions of the root directory.
    pub root_mode: u16,
    /// The time of everything, in seconds since 1970.
    pub time: i64,
    /// What is random.
    pub entropy: Entropy,
    /// Zero the whole log, not only its start.
    pub zero_log: bool,
}

impl Options {
    /// The defaults, with a UUID and entropy of their own.
    pub fn new(time: i64) -> Self {
        Self {
            blocks: None,
            bytes_per_inode: BYTES_PER_INODE,
            inodes: None,
            log_blocks: None,
            blocks_per_group: None,
            reserved_percent: 0,
            label: Vec::new(),
            uuid: uuid::Uuid::new_v4().into_bytes(),
            compat: Compat::empty(),
            errors: OnError::default(),
            root_owner: (0, 0),
            root_mode: 0o755,
            time,
            entropy: Entropy::random(),
            zero_log: false,
        }
    }
}

/// Why there can be no such volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More blocks are asked for than there are.
    #[error("the device has {have} blocks of 4 KiB, fewer than the {want} asked for")]
    DeviceTooSmall {
        /// Blocks of the device.
        have: u64,
        /// Blocks asked for.
        want: u64,
    },
    /// No group fits behind the log.
    #[error(
        "{blocks} blocks of 4 KiB are too few for a log of {log} and one group; use a larger device or a smaller log"
    )]
    TooSmall {
        /// Blocks of the volume.
        blocks: u64,
        /// Blocks of the log.
        log: u64,
    },
    /// The device is too large.
    #[error("{0} blocks are more than the format can number")]
    TooLarge(u64),
    /// The log's size is out of range.
    #[error("a log has {MIN_LOG} to {MAX_LOG} blocks of 4 KiB, not {0}")]
    Log(u64),
    /// The blocks of a group are out of range.
    #[error("a group has {MIN_BLOCKS_PER_GROUP} to {MAX_BLOCKS_PER_GROUP} blocks, a multiple of 64, not {0}")]
    GroupSize(u32),
    /// Too few bytes for an inode.
    #[error("bytes for each inode: at least {MIN_BYTES_PER_INODE}, not {0}")]
    InodeRatio(u64),
    /// Too many inodes.
    #[error("{0} inodes do not fit this volume; at most {1} do")]
    Inodes(u64, u64),
    /// The label is not possible.
    #[error("a label has at most 63 bytes and no NUL")]
    Label,
    /// More is reserved than there is.
    #[error("{0} % reserved leaves nothing; at most 50 % can be")]
    Reserved(u8),
    /// The plan does not pass the format's own check: a bug here.
    #[error("this size gives a layout that the format refuses ({0}); please report it")]
    Refused(Corruption),
}

/// A volume to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The superblock to write last.
    pub superblock: Superblock,
    /// The log's first epoch.
    pub epoch: u64,
    /// User and group of the root directory.
    pub root_owner: (u32, u32),
    /// Permissions of the root directory.
    pub root_mode: u16,
    /// Zero the whole log, not only its start.
    pub zero_log: bool,
}

/// Decides where everything lies on a device of so many blocks.
pub fn plan(options: &Options, device_blocks: u64) -> Result<Plan, PlanError> {
    let blocks = options.blocks.unwrap_or(device_blocks);
    if blocks > device_blocks {
        return Err(PlanError::DeviceTooSmall { have: device_blocks, want: blocks });
    }
    if blocks >= BLOCK_LIMIT {
        return Err(PlanError::TooLarge(blocks));
    }
    let geometry = geometry(options, blocks)?;
    geometry.check().map_err(PlanError::Refused)?;
    let superblock = superblock(options, geometry)?;
    Ok(Plan {
        superblock,
        epoch: options.entropy.epoch,
        root_owner: options.root_owner,
        root_mode: options.root_mode & 0o7777,
        zero_log: options.zero_log,
    })
}

fn superblock(options: &Options, geometry: Geometry) -> Result<Superblock, PlanError> {
    if options.reserved_percent > 50 {
        return Err(PlanError::Reserved(options.reserved_percent));
    }
    let share = geometry.data_blocks() / 100 * u64::from(options.reserved_percent);
    let mut superblock = Superblock {
        compat: options.compat,
        ro_compat: RoCompat::empty(),
        incompat: Incompat::empty(),
        csum_seed: options.entropy.csum_seed,
        uuid: options.uuid,
        label: [0; 64],
        hash_key: HashKey(options.entropy.hash_key),
        errors: options.errors,
        geometry,
        reserved_blocks: share.max(RESERVED_BLOCKS.min(geometry.data_blocks() / 8)),
        copy_group: GroupNo(0),
        mount_options: 0,
        state: State::CLEAN,
        mount_count: 0,
        mkfs_time: options.time,
        mount_time: 0,
        write_time: options.time,
        error_count: 0,
        first_error: ErrorRecord::default(),
        last_error: ErrorRecord::default(),
    };
    if superblock.set_label(&options.label) { Ok(superblock) } else { Err(PlanError::Label) }
}

fn geometry(options: &Options, blocks: u64) -> Result<Geometry, PlanError> {
    let log = options.log_blocks.unwrap_or((blocks / LOG_SHARE).clamp(SMALL_LOG, LARGE_LOG));
    if !(MIN_LOG..=MAX_LOG).contains(&log) {
        return Err(PlanError::Log(log));
    }
    // Superblock, log and one summary block are always needed.
    let too_small = PlanError::TooSmall { blocks, log };
    let rest =
        blocks.checked_sub(SUPERBLOCK.0 + 1 + log + 1).filter(|rest| *rest > 0).ok_or(too_small.clone())?;
    let largest = group_size(options, rest)?;
    let smallest = if options.blocks_per_group.is_some() { largest } else { MIN_BLOCKS_PER_GROUP };
    let mut most = 0;
    // Rounding may leave fewer inodes than asked for; smaller groups have more of them.
    for size in (smallest..=largest).rev().step_by(64) {
        let inodes = group_inodes(options, rest, size)?;
        let geometry = layout(blocks, log, size, inodes).ok_or(PlanError::TooLarge(blocks))?;
        if geometry.groups == 0 {
            return Err(too_small);
        }
        most = most.max(geometry.inodes_total());
        if options.inodes.is_none_or(|inodes| inodes <= geometry.inodes_total()) {
            return Ok(geometry);
        }
    }
    Err(PlanError::Inodes(options.inodes.unwrap_or(0), most))
}

/// One thing behind the other; `None` if there would be too many groups to number.
fn layout(blocks: u64, log_len: u64, blocks_per_group: u32, inodes_per_group: u32) -> Option<Geometry> {
    let log_start = BlockNo(SUPERBLOCK.0 + 1);
    let summary_start = BlockNo(log_start.0 + log_len);
    let group = u64::from(blocks_per_group);
    let groups = blocks.saturating_sub(summary_start.0 + 1).div_ceil(group);
    let summary_len = groups.div_ceil(SUMMARY_ENTRIES.into()).max(1);
    let groups_start = BlockNo(summary_start.0 + summary_len);
    let space = blocks.saturating_sub(groups_start.0);
    let (whole, tail) = (u32::try_from(space / group).ok()?, space % group);
    let mut geometry = Geometry {
        blocks_total: blocks,
        groups_start,
        groups: whole,
        blocks_per_group,
        inodes_per_group,
        log_start,
        log_len,
        summary_start,
        summary_len,
    };
    let least = 1 + geometry.table_len() + u32::from(has_copy(GroupNo(whole))) + MIN_LAST_DATA;
    if tail >= u64::from(least) {
        geometry.groups = whole.checked_add(1)?;
    } else {
        // A tail that is too short for a group stays unused.
        geometry.blocks_total = blocks - tail;
    }
    Some(geometry)
}

/// Blocks of a group: the most that its bitmap holds, less on a small volume, so that it has a superblock copy and
/// threads need not share one group; and less if there are to be very many inodes.
fn group_size(options: &Options, rest: u64) -> Result<u32, PlanError> {
    if let Some(size) = options.blocks_per_group {
        let fits = (MIN_BLOCKS_PER_GROUP..=MAX_BLOCKS_PER_GROUP).contains(&size) && size.is_multiple_of(64);
        return if fits { Ok(size) } else { Err(PlanError::GroupSize(size)) };
    }
    let quarter = rest.div_ceil(4).max(rest.div_ceil(2).min(2048));
    let ratio = bytes_per_inode(options, rest)?;
    let by_inodes = u64::from(MAX_INODES_PER_GROUP) * ratio / BLOCK_BYTES;
    let wanted = quarter.next_multiple_of(64).min(by_inodes / 64 * 64);
    let size = wanted.clamp(MIN_BLOCKS_PER_GROUP.into(), MAX_BLOCKS_PER_GROUP.into());
    Ok(u32::try_from(size).unwrap_or(MAX_BLOCKS_PER_GROUP))
}

fn bytes_per_inode(options: &Options, rest: u64) -> Result<u64, PlanError> {
    let bytes = rest.saturating_mul(BLOCK_BYTES);
    match options.inodes {
        None if options.bytes_per_inode < MIN_BYTES_PER_INODE => {
            Err(PlanError::InodeRatio(options.bytes_per_inode))
        }
        None => Ok(options.bytes_per_inode),
        Some(inodes) if bytes / inodes.max(1) < MIN_BYTES_PER_INODE => {
            Err(PlanError::Inodes(inodes, bytes / MIN_BYTES_PER_INODE))
        }
        Some(inodes) => Ok(bytes / inodes.max(1)),
    }
}

fn group_inodes(options: &Options, rest: u64, blocks_per_group: u32) -> Result<u32, PlanError> {
    let blocks = u64::from(blocks_per_group);
    let wanted = match options.inodes {
        // Rounded up: whoever names a number of inodes gets at least that many.
        Some(inodes) => inodes.div_ceil(rest.div_ceil(blocks)),
        None => blocks * BLOCK_BYTES / bytes_per_inode(options, rest)?,
    };
    let step = u64::from(INODES_PER_BLOCK) * 4;
    // A group must keep room for data beside its table.
    let table_room = u64::from(blocks_per_group - 2 - MIN_LAST_DATA);
    let most = (table_room * BLOCK_BYTES / INODE_SIZE as u64).min(MAX_INODES_PER_GROUP.into()) / step * step;
    let inodes = wanted.next_multiple_of(step).clamp(step, most);
    Ok(u32::try_from(inodes).unwrap_or(MAX_INODES_PER_GROUP))
}
