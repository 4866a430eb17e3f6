//! What a variant's hook sees of an operation: its caller, its volume, and the blocks of the provenance log, which it
//! changes in the operation's own transaction.
//!
//! # Locking
//! The lock of inode 5, exclusive, from the first look at the log to the merge. It is the last that an operation takes,
//! whatever its number says: who holds it waits for no other, so waiting for it is safe. It orders the records as the
//! merges are ordered; reading the log takes it shared.
//!
//! # Crash
//! Part of the operation: its records are there if and only if it is.
use super::{Locked, Op, Touch, Volume};
use crate::bitmap::Reserve;
use crate::format::geometry::PROVENANCE;
use crate::format::num::index;
use crate::format::prov::is_log_size;
use crate::format::record::Extent;
use crate::format::{BlockKind, Corruption, Inode, block, prov};
use crate::inode::extents::{block_in, device_end};
use crate::variant::{Event, Recording, Variant};
use bento_api::{
    BLOCK_BYTES, BlockNo, Bytes, Caller, Errno, FileBlock, FileKind, Mode, Platform, Stop, Time, Wait,
};

/// Free blocks that there must be before a log is begun: its first blocks come from what is kept for unlink.
const TO_BEGIN: u64 = 8;
/// Blocks that are allocated even if only the reserve is left, so that a log that has a head has a record block.
const FIRST_BLOCKS: u64 = 2;
/// Permissions of the log's inode, which no directory names.
const PRIVATE: u16 = 0o600;

/// The provenance log, as one operation sees and changes it.
pub struct RecordLog<'o, 'c, 'p, P: Platform, V: Variant> {
    op: &'o mut Op<'c, 'p, P, V>,
    at: Locked,
    inode: &'o mut Inode,
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Tells the variant what this operation is about to do. Last before the commit: from here on the log is locked.
    #[inline]
    pub(crate) fn tell<'e>(
        &mut self,
        event: impl FnOnce(&Self) -> Result<Event<'e>, Stop>,
    ) -> Result<(), Stop> {
        match V::RECORDING {
            Recording::No => Ok(()),
            Recording::Yes => {
                let event = event(self)?;
                self.tell_variant(&event)
            }
        }
    }

    #[inline(never)] // an inode and a record are large, and most callers are deep
    fn tell_variant(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        let at = self.lock_last()?;
        let mut inode = Inode::free(0);
        self.load_log(&mut inode)?;
        V::record(&mut RecordLog { op: self, at, inode: &mut inode }, event)
    }

    fn lock_last(&mut self) -> Result<Locked, Stop> {
        self.take(PROVENANCE, Mode::Exclusive)?;
        Ok(Locked::claimed(PROVENANCE))
    }

    /// The log's inode; free if there is no log yet.
    fn load_log(&self, inode: &mut Inode) -> Result<(), Stop> {
        self.load_record(PROVENANCE, inode)?;
        let fits = inode.is_free() || (inode.kind() == Some(FileKind::Regular) && is_log_size(inode.size));
        if fits { Ok(()) } else { Err(self.corrupt(Corruption::ProvPlace, prov::NOWHERE, PROVENANCE)) }
    }

    /// Copies a block of the log out, as it is now, its checksum perhaps not yet set. ENODATA if there is none, ERANGE if
    /// it does not fit.
    pub(crate) fn log_block(mut self, file: FileBlock, to: &mut [u8]) -> Result<usize, Stop> {
        self.share(PROVENANCE)?;
        let mut inode = Inode::free(0);
        self.load_log(&mut inode)?;
        if file.0 >= inode.size / BLOCK_BYTES {
            return Err(Errno::NoAttribute.into());
        }
        let len = index(BLOCK_BYTES);
        if to.is_empty() {
            return Ok(len);
        }
        let to = to.get_mut(..len).ok_or(Errno::Range)?;
        let no = self.log_place(&inode, file)?;
        self.view(no, kind_of(file), PROVENANCE, |bytes| to.copy_from_slice(bytes))?;
        Ok(len)
    }

    #[inline(never)] // a walk in a tree, below a record that is being built
    fn log_place(&self, inode: &Inode, file: FileBlock) -> Result<BlockNo, Stop> {
        match self.extent_at(PROVENANCE, inode, file)? {
            Some(extent) => Ok(block_in(&extent, file)),
            None => Err(self.corrupt(Corruption::ProvPlace, prov::NOWHERE, PROVENANCE)),
        }
    }
}

/// What a block of the log is.
fn kind_of(file: FileBlock) -> BlockKind {
    if file == prov::HEAD_BLOCK { BlockKind::ProvHead } else { BlockKind::Prov }
}

impl<P: Platform, V: Variant> RecordLog<'_, '_, '_, P, V> {
    /// Who does it.
    pub fn caller(&self) -> Caller {
        self.op.call.caller
    }

    /// When.
    pub fn now(&self) -> Time {
        self.op.now()
    }

    /// The volume.
    pub fn volume(&self) -> &Volume {
        self.op.volume
    }

    /// How many blocks the log has; 0: there is none yet.
    pub fn blocks(&self) -> u64 {
        self.inode.size / BLOCK_BYTES
    }

    /// Whether there is room to begin a log.
    pub fn may_begin(&self) -> bool {
        self.op.platform().available(bento_api::Map::Blocks) >= TO_BEGIN
    }

    /// Looks at a block.
    pub fn view<R>(
        &self,
        file: FileBlock,
        f: impl FnOnce(&Bytes) -> Result<R, Corruption>,
    ) -> Result<R, Stop> {
        let no = self.op.log_place(self.inode, file)?;
        let seen = self.op.view(no, kind_of(file), PROVENANCE, f)?;
        seen.map_err(|what| self.op.corrupt(what, no, PROVENANCE))
    }

    /// Changes a few bytes of a block: at most [`bento_api::limits::WRITE_BYTES`].
    pub fn put(&mut self, file: FileBlock, offset: usize, bytes: &[u8]) -> Result<(), Stop> {
        let no = self.op.log_place(self.inode, file)?;
        let block = self.op.meta(no, kind_of(file), PROVENANCE.into())?;
        self.op.put(block, offset, bytes)
    }

    /// Begins a block anew: empty but for what `fill` writes behind its header.
    pub fn replace(&mut self, file: FileBlock, fill: impl FnOnce(&mut Bytes)) -> Result<(), Stop> {
        let no = self.op.log_place(self.inode, file)?;
        let draft = self.op.edit(no, kind_of(file), self.at)?;
        self.op.draft_mut(draft, |bytes| {
            block::start(bytes, kind_of(file), no, PROVENANCE.into());
            fill(bytes);
        })
    }

    /// Appends a block: empty but for what `fill` writes behind its header. Which one it is; none if the volume has no
    /// block to spare.
    pub fn append(&mut self, fill: impl FnOnce(&mut Bytes)) -> Result<Option<FileBlock>, Stop> {
        let file = FileBlock(self.blocks());
        let goal = match self.op.extent_before(PROVENANCE, self.inode, file)? {
            Some(extent) => device_end(&extent),
            None => self.op.home_of(PROVENANCE),
        };
        let reserve = if file.0 < FIRST_BLOCKS { Reserve::Use } else { Reserve::Keep };
        let start = match self.op.claim_meta(goal, reserve) {
            Ok(start) => start,
            // Nobody waits for room for a record: the log makes do with what it has.
            Err(Stop::Wait(Wait::Space) | Stop::Error(Errno::NoSpace)) if file.0 != 1 => return Ok(None),
            Err(stop) => return Err(stop),
        };
        if self.inode.is_free() {
            self.make_inode();
        }
        let draft = self.op.fresh(start, kind_of(file), self.at)?;
        self.op.draft_mut(draft, fill)?;
        let extent = Extent { file, start, len: 1, unwritten: false };
        self.op.extent_insert(self.at, self.inode, extent)?;
        self.inode.size = self.inode.size.saturating_add(BLOCK_BYTES);
        self.inode.mtime = self.op.now();
        self.op.put_inode(self.at, self.inode, Touch::Data)?;
        Ok(Some(file))
    }

    fn make_inode(&mut self) {
        let now = self.op.now();
        let mode = u16::try_from(FileKind::Regular.mode_bits()).unwrap_or(0) | PRIVATE;
        *self.inode = Inode::free(self.inode.generation.wrapping_add(1));
        (self.inode.mode, self.inode.nlink) = (mode, 1);
        (self.inode.atime, self.inode.mtime, self.inode.ctime, self.inode.btime) = (now, now, now, now);
    }
}
