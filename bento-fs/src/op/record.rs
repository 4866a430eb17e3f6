//! Inode records: shared blocks, one exclusive record each.
use super::{Locked, Op};
use crate::bitmap;
use crate::format::geometry::{FIRST_INODE, INODE_SIZE, INODES_PER_BLOCK};
use crate::format::{BlockKind, Inode, group};
use crate::variant::Variant;
use bento_api::platform::Fetch;
use bento_api::{Attr, BLOCK, BLOCK_BYTES, BlockNo, Errno, GroupNo, InodeNo, Platform, Stop, Wait, Write};

/// Sectors of 512 bytes in a block.
const SECTORS: u64 = BLOCK_BYTES / 512;
const _: () = assert!(BLOCK.is_multiple_of(INODE_SIZE));

/// Blocks of an inode table that are read together, in one request where they lie side by side.
const TABLE_AHEAD: u64 = 8;

/// What a change of an inode means for fdatasync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Times, mode, owner, links: only fsync waits for it.
    Metadata,
    /// Size or block map: fdatasync waits too.
    Data,
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    fn place(&self, ino: InodeNo) -> Result<(BlockNo, usize), Stop> {
        Ok(self.volume.geometry.inode_place(ino).ok_or(Errno::Stale)?)
    }

    /// The record of an inode, free or not, as this operation has changed it, without the slot's newer times.
    #[inline(never)] // decoding takes a frame of its own
    pub(crate) fn load_record(&self, ino: InodeNo, to: &mut Inode) -> Result<(), Stop> {
        let (no, offset) = self.place(ino)?;
        let block = match self.platform().pin(no)? {
            Some(block) => block,
            None => return Err(self.want_record(ino, no)?),
        };
        let seed = self.volume.seed;
        let private = self.call.writes.iter().find(|write| write.is_at(block, offset));
        let decoded = match private {
            Some(write) => to.read(write.object(), ino, seed),
            None => {
                self.platform().read(block, |bytes| to.read(bytes.get(offset..).unwrap_or(&[]), ino, seed))
            }
        };
        decoded.map_err(|what| self.corrupt(what, no, ino))
    }

    /// Asks for a missing block of the inode table, and for those around it: who looks at one inode soon looks at its
    /// neighbours. ESTALE if the record was never written: what lies there is somebody else's, and must not be read.
    fn want_record(&self, ino: InodeNo, no: BlockNo) -> Result<Stop, Stop> {
        let geometry = &self.volume.geometry;
        let (group, bit) = geometry.inode_bit(ino).ok_or(Errno::Stale)?;
        let alloc =
            self.meta(geometry.alloc_block(group).ok_or(Errno::Capacity)?, BlockKind::Alloc, group.into())?;
        let mark =
            self.platform().read(alloc, |bytes| group::counts(bytes)).map(|counts| counts.inodes_init)?;
        if bit >= mark {
            return Err(Errno::Stale.into());
        }
        let (start, _) = geometry.table_range(group).ok_or(Errno::Capacity)?;
        let written = start.0.saturating_add(u64::from(mark.div_ceil(INODES_PER_BLOCK)));
        let place = no.0.saturating_sub(start.0);
        let first = no.0.saturating_sub(place % TABLE_AHEAD);
        // In order: neighbours share a request.
        for other in first..first.saturating_add(TABLE_AHEAD).min(written) {
            let how = if other == no.0 { Fetch::Read } else { Fetch::Ahead };
            self.platform().want(BlockNo(other), how);
        }
        Ok(Wait::Blocks.into())
    }

    /// An inode in use, with the slot's newer times. ESTALE if it is free.
    #[inline(never)]
    pub(crate) fn load(&self, ino: InodeNo, inode: &mut Inode) -> Result<(), Stop> {
        // The slot first: times that are written to the record in between are newer than those in the slot, by version.
        let slot = self.platform().slot(ino, |slot| *slot).filter(|slot| slot.times_dirty != 0);
        self.load_record(ino, inode)?;
        if inode.is_free() {
            return Err(Errno::Stale.into());
        }
        if let Some(slot) = slot
            && slot.generation == inode.generation
            && slot.version > inode.version
        {
            inode.atime = slot.atime;
            inode.mtime = slot.mtime;
            inode.ctime = slot.ctime;
            inode.version = slot.version;
        }
        Ok(())
    }

    /// Changes a locked inode's record. Counts its version up; times are the caller's business.
    #[inline(never)] // the record's bytes, in one frame only
    pub(crate) fn put_inode(&mut self, at: Locked, inode: &mut Inode, touch: Touch) -> Result<(), Stop> {
        let ino = at.no();
        let (no, offset) = self.place(ino)?;
        let block = self.pin(no)?;
        inode.version = inode.version.wrapping_add(1);
        let mut object = [0; INODE_SIZE];
        inode.encode(&mut object, ino, self.volume.seed);
        self.put(block, offset, &object)?;
        self.touch(at, inode.generation, inode.version, touch == Touch::Data)
    }

    /// Keeps a small object's new value; a later one replaces it.
    #[inline(never)] // so that the copy is in no other frame
    pub(crate) fn put(&mut self, block: P::Block, offset: usize, object: &[u8]) -> Result<(), Stop> {
        let write = Write::new(block, offset, object)?;
        if let Some(earlier) = self.call.writes.iter_mut().find(|earlier| earlier.is_at(block, offset)) {
            *earlier = write;
            return Ok(());
        }
        self.call.writes.push(write)?;
        Ok(())
    }

    /// Claims an inode number near `near`, and makes `inode` the record to fill: free, its generation raised.
    pub(crate) fn new_inode(&mut self, near: GroupNo, inode: &mut Inode) -> Result<Locked, Stop> {
        let at = self.claim_inode(near)?;
        let (group, bit) = self.volume.geometry.inode_bit(at.no()).ok_or(Errno::Capacity)?;
        let (no, _) = self.place(at.no())?;
        let above_mark = bit >= self.mark_of(group)?;
        if above_mark {
            self.raise_mark(at)?;
            if self.platform().pin(no)?.is_none() {
                self.platform().want(no, Fetch::Zeroed);
                return Err(Wait::Blocks.into());
            }
        }
        self.load_record(at.no(), inode)?;
        if !inode.is_free() {
            let what = crate::format::Corruption::InodeUnused;
            return Err(self.corrupt(what, no, at.no()));
        }
        *inode = Inode::free(inode.generation.wrapping_add(1));
        Ok(at)
    }

    /// Frees an inode's number; only its generation stays in the record.
    pub(crate) fn free_inode(&mut self, at: Locked, inode: &Inode) -> Result<(), Stop> {
        // The bits of reserved numbers are always set.
        if at.no().0 >= FIRST_INODE.into() {
            self.free_inode_bit(at)?;
        }
        let mut free = Inode::free(inode.generation);
        let (no, offset) = self.place(at.no())?;
        let block = self.pin(no)?;
        let mut object = [0; INODE_SIZE];
        free.version = 0;
        free.encode(&mut object, at.no(), self.volume.seed);
        self.put(block, offset, &object)?;
        self.touch(at, inode.generation, inode.version.wrapping_add(1), true)
    }

    /// Whose claimed number becomes a locked inode: nobody else can know it.
    pub(crate) fn claimed(&self, ino: InodeNo) -> Locked {
        Locked::claimed(ino)
    }

    /// A block near which an inode's data and metadata should lie.
    pub(crate) fn home_of(&self, ino: InodeNo) -> BlockNo {
        let geometry = &self.volume.geometry;
        let group = geometry.inode_bit(ino).map_or(GroupNo(0), |(group, _)| group);
        let bit = geometry.data_start(group).unwrap_or(0);
        geometry.block_no(group, bit).unwrap_or(geometry.groups_start)
    }

    /// Claims one block for an inode's metadata, near its others.
    pub(crate) fn claim_meta(&mut self, goal: BlockNo, reserve: bitmap::Reserve) -> Result<BlockNo, Stop> {
        Ok(self.claim_run(goal, 1, reserve)?.0)
    }
}

/// What stat(2) tells of an inode.
pub(crate) fn attr(ino: InodeNo, inode: &Inode) -> Attr {
    Attr {
        ino,
        size: inode.size,
        sectors: inode.blocks.saturating_mul(SECTORS),
        atime: inode.atime,
        mtime: inode.mtime,
        ctime: inode.ctime,
        btime: inode.btime,
        version: inode.version,
        mode: inode.mode.into(),
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.device().map_or(0, encode_device),
        generation: inode.generation,
        flags: inode.flags.bits(),
        project: inode.project,
    }
}

/// Linux's 32-bit device numbers: 12 bits of major, 20 of minor, the minor's low 8 bits lowest.
fn encode_device((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// The major and minor number in Linux's 32-bit encoding.
pub(crate) fn decode_device(rdev: u32) -> (u32, u32) {
    ((rdev >> 8) & 0xfff, (rdev & 0xff) | (rdev >> 12) & 0xf_ff00)
}
