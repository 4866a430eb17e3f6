//! Writes what the plan says.
use crate::Plan;
use bento_api::{
    BLOCK, BLOCK_BYTES, BatchSeq, BlockNo, Bytes, Disk, Errno, FileBlock, FileKind, GroupNo, Time,
};
use bento_fs::format::block::{self, BlockKind};
use bento_fs::format::geometry::{
    FIRST_INODE, INODE_SIZE, INODES_PER_BLOCK, LOST_AND_FOUND, ORPHANS, ROOT, SUMMARY_ENTRIES, SUPERBLOCK,
};
use bento_fs::format::group::{self, Counts, Summary};
use bento_fs::format::log::{LogHeader, Totals};
use bento_fs::format::node::NodeMut;
use bento_fs::format::record::Extent;
use bento_fs::format::{Geometry, Inode, dirent};

/// A volume of so many groups gets as many blocks of orphan slots: inodes of different groups use different ones. A
/// smaller volume gets one.
const SPREAD: u32 = 8;

/// Blocks of orphan slots that a new volume has.
fn orphan_blocks(geometry: &Geometry) -> u32 {
    if geometry.groups < SPREAD { 1 } else { SPREAD }
}

/// Data blocks that mkfs itself uses: one each for the root directory and lost+found, and the orphan slots.
fn own_blocks(geometry: &Geometry) -> u32 {
    2 + orphan_blocks(geometry)
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Blocks written.
    pub written: u64,
    /// Blocks that are free for files.
    pub free_blocks: u64,
    /// Inodes that are free for files.
    pub free_inodes: u64,
}

/// A write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// The device failed.
    #[error("cannot write block {block} ({what}): error {}", errno.number())]
    Write {
        /// What was to be written.
        what: &'static str,
        /// Where.
        block: BlockNo,
        /// Why not.
        errno: Errno,
    },
    /// The device could not make its writes durable.
    #[error("cannot flush the device: error {}", .0.number())]
    Flush(Errno),
    /// The plan names a place that its own geometry does not have: a bug.
    #[error("the plan has no place for {0}")]
    Place(&'static str),
}

/// Makes the file system. `progress` hears how many of how many groups are done.
///
/// # Crash
/// Leaves the old file system, none, or the new one whole: see the crate's own words.
pub fn make(disk: &dyn Disk, plan: &Plan, progress: &mut dyn FnMut(u32, u32)) -> Result<Made, MakeError> {
    let mut maker = Maker { disk, plan, bytes: [0; BLOCK], written: 0 };
    maker.zero(SUPERBLOCK, "the old superblock")?;
    maker.flush()?;
    let geometry = plan.superblock.geometry;
    let mut summary = Vec::new();
    for number in 0..geometry.groups {
        summary.push(maker.group(GroupNo(number))?);
        progress(number + 1, geometry.groups);
    }
    maker.files()?;
    maker.summary(&summary)?;
    let totals = Totals {
        free_blocks: summary.iter().map(|group| u64::from(group.free_blocks)).sum(),
        free_inodes: summary.iter().map(|group| u64::from(group.free_inodes)).sum(),
        orphans: 0,
    };
    maker.log(totals)?;
    maker.copies()?;
    maker.flush()?;
    plan.superblock.encode(&mut maker.bytes);
    maker.write(SUPERBLOCK, "the superblock")?;
    maker.flush()?;
    Ok(Made { written: maker.written, free_blocks: totals.free_blocks, free_inodes: totals.free_inodes })
}

struct Maker<'a> {
    disk: &'a dyn Disk,
    plan: &'a Plan,
    bytes: Bytes,
    written: u64,
}

impl Maker<'_> {
    fn geometry(&self) -> &Geometry {
        &self.plan.superblock.geometry
    }

    fn write(&mut self, no: BlockNo, what: &'static str) -> Result<(), MakeError> {
        self.written += 1;
        self.disk.write(no, &self.bytes).map_err(|errno| MakeError::Write { what, block: no, errno })
    }

    fn zero(&mut self, no: BlockNo, what: &'static str) -> Result<(), MakeError> {
        self.bytes.fill(0);
        self.write(no, what)
    }

    fn seal_and_write(&mut self, no: BlockNo, what: &'static str) -> Result<(), MakeError> {
        block::seal(&mut self.bytes, self.plan.superblock.csum_seed, BatchSeq(0));
        self.write(no, what)
    }

    fn flush(&self) -> Result<(), MakeError> {
        self.disk.flush().map_err(MakeError::Flush)
    }

    /// A group's allocation block. Group 0 has the reserved inodes and the files that mkfs makes.
    fn group(&mut self, number: GroupNo) -> Result<Summary, MakeError> {
        let geometry = *self.geometry();
        let place = geometry.alloc_block(number).ok_or(MakeError::Place("an allocation block"))?;
        let missing = MakeError::Place("a group");
        let mut counts = group::start_alloc(&mut self.bytes, &geometry, number).ok_or(missing)?;
        if number == GroupNo(0) {
            let first = geometry.data_start(number).ok_or(missing)?;
            let blocks = group::block_bitmap_mut(&mut self.bytes);
            use_bits(blocks, first..first + own_blocks(&geometry));
            let inodes = group::inode_bitmap_mut(&mut self.bytes);
            use_bits(inodes, 0..FIRST_INODE);
            counts = Counts {
                free_blocks: counts.free_blocks - own_blocks(&geometry),
                free_inodes: counts.free_inodes - FIRST_INODE,
                inodes_init: INODES_PER_BLOCK,
            };
            group::set_counts(&mut self.bytes, counts);
        }
        self.seal_and_write(place, "an allocation block")?;
        // All free blocks of a new group are one run.
        let class = Summary::class_of(counts.free_blocks);
        Ok(Summary { free_blocks: counts.free_blocks, free_inodes: counts.free_inodes, class })
    }

    fn summary(&mut self, groups: &[Summary]) -> Result<(), MakeError> {
        let geometry = *self.geometry();
        let missing = MakeError::Place("the group summary");
        let mut number = 0;
        for index in 0..geometry.summary_len {
            let place = group::start_summary(&mut self.bytes, &geometry, index).ok_or(missing)?;
            let here = groups.get(number as usize..).unwrap_or(&[]).iter().take(SUMMARY_ENTRIES as usize);
            for entry in here {
                let (_, at) = geometry.summary_place(GroupNo(number)).ok_or(missing)?;
                entry.write(&mut self.bytes, at);
                number += 1;
            }
            self.seal_and_write(place, "the group summary")?;
        }
        Ok(())
    }

    /// Root directory, lost+found, orphan slots, and the table block of their inodes.
    fn files(&mut self) -> Result<(), MakeError> {
        let geometry = *self.geometry();
        let missing = MakeError::Place("the first files");
        let group = GroupNo(0);
        let first = geometry.data_start(group).ok_or(missing)?;
        let at = |index: u32| geometry.block_no(group, first + index).ok_or(missing);
        let ([root, lost, orphans], slots) = ([at(0)?, at(1)?, at(2)?], orphan_blocks(&geometry));
        self.root_block(root)?;
        block::start(&mut self.bytes, BlockKind::Dir, lost, LOST_AND_FOUND.into());
        dirent::start(&mut self.bytes);
        self.seal_and_write(lost, "lost+found")?;
        for index in 0..slots {
            let place = at(2 + index)?;
            block::start(&mut self.bytes, BlockKind::Orphan, place, ORPHANS.into());
            self.seal_and_write(place, "the orphan slots")?;
        }

        let owner = self.plan.root_owner;
        let directory = FileKind::Directory;
        let root_inode =
            Inode { nlink: 3, parent: ROOT, ..self.inode(directory, self.plan.root_mode, owner, root, 1) };
        let lost_inode = Inode { nlink: 2, parent: ROOT, ..self.inode(directory, 0o700, (0, 0), lost, 1) };
        let orphan_inode = self.inode(FileKind::Regular, 0o600, (0, 0), orphans, slots);
        self.bytes.fill(0);
        let mut table = None;
        for (ino, inode) in [(ROOT, root_inode), (LOST_AND_FOUND, lost_inode), (ORPHANS, orphan_inode)] {
            let (place, at) = geometry.inode_place(ino).ok_or(missing)?;
            let record = self.bytes.get_mut(at..at + INODE_SIZE).ok_or(missing)?;
            inode.encode(record, ino, self.plan.superblock.csum_seed);
            table = Some(place);
        }
        self.write(table.ok_or(missing)?, "the inode table")
    }

    fn root_block(&mut self, root: BlockNo) -> Result<(), MakeError> {
        block::start(&mut self.bytes, BlockKind::Dir, root, ROOT.into());
        dirent::start(&mut self.bytes);
        let name = b"lost+found";
        let hash = self.plan.superblock.hash_key.hash(name);
        dirent::insert_at(&mut self.bytes, dirent::FIRST, name, hash, LOST_AND_FOUND, FileKind::Directory)
            .map_err(|_| MakeError::Place("lost+found"))?;
        self.seal_and_write(root, "the root directory")
    }

    /// An inode with one run of blocks.
    fn inode(&self, kind: FileKind, mode: u16, owner: (u32, u32), start: BlockNo, len: u32) -> Inode {
        let now = Time::new(self.plan.superblock.mkfs_time, 0);
        let mut inode = Inode {
            mode: u16::try_from(kind.mode_bits()).unwrap_or(0) | mode,
            nlink: 1,
            uid: owner.0,
            gid: owner.1,
            size: BLOCK_BYTES * u64::from(len),
            blocks: len.into(),
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            version: 1,
            ..Inode::free(1)
        };
        let extent = Extent { file: FileBlock(0), start, len, unwritten: false };
        // A root area that was just zeroed has room for one record.
        let _ = NodeMut::root(inode.extent_root_mut()).insert(0, extent.into());
        inode
    }

    /// Both header slots, and a start of the log where no record is.
    fn log(&mut self, totals: Totals) -> Result<(), MakeError> {
        let geometry = *self.geometry();
        let missing = MakeError::Place("the log");
        let zeroed = if self.plan.zero_log { geometry.log_area() } else { 1 };
        for position in 0..zeroed {
            self.zero(geometry.log_block(position).ok_or(missing)?, "the log")?;
        }
        for counter in 0..2 {
            let header = LogHeader {
                counter,
                epoch: self.plan.epoch,
                tail_seq: BatchSeq(1),
                tail_at: 0,
                prev_crc: 0,
                totals,
                unrecorded: 0,
            };
            header.encode(&mut self.bytes, self.plan.superblock.csum_seed);
            self.write(geometry.log_slot(header.slot()).ok_or(missing)?, "a log header")?;
        }
        Ok(())
    }

    fn copies(&mut self) -> Result<(), MakeError> {
        for (group, place) in self.geometry().copies() {
            let mut copy = self.plan.superblock;
            copy.copy_group = group;
            copy.encode(&mut self.bytes);
            self.write(place, "a superblock copy")?;
        }
        Ok(())
    }
}

fn use_bits(bitmap: &mut [u8], bits: std::ops::Range<u32>) {
    for bit in bits {
        block::set_bit(bitmap, bit.into(), true);
    }
}
