//! One attempt of one operation: its private write set over the platform's call.
//!
//! A `Call` lives for one attempt, in memory that the platform brings (its layout is a secret of the code that
//! was compiled with it). What survives a wait is the platform's.
use crate::limits::{CLAIMED_GROUPS, LOCKS, PRIVATE, TOUCHED, WRITE_BYTES, WRITES};
use crate::{BLOCK, Bytes, Caller, Errno, Few, GroupNo, InodeNo, Mode, Placement, Platform, Totals};

/// A new value for `len` bytes of a shared block, private until the merge.
#[derive(Clone, Copy, Debug)]
pub struct Write<B> {
    /// The block.
    pub block: B,
    offset: u16,
    len: u16,
    bytes: [u8; WRITE_BYTES],
}

impl<B: Copy + PartialEq> Write<B> {
    /// Checks the place once, so that the merge has nothing left to check.
    #[inline(never)] // it is large while it is built
    pub fn new(block: B, offset: usize, object: &[u8]) -> Result<Self, Errno> {
        let mut bytes = [0; WRITE_BYTES];
        bytes.get_mut(..object.len()).ok_or(Errno::Capacity)?.copy_from_slice(object);
        if offset.checked_add(object.len()).is_none_or(|end| end > BLOCK) {
            return Err(Errno::Capacity);
        }
        let (Ok(offset), Ok(len)) = (u16::try_from(offset), u16::try_from(object.len())) else {
            return Err(Errno::Capacity);
        };
        Ok(Self { block, offset, len, bytes })
    }

    /// Whether this is the object at that place.
    pub fn is_at(&self, block: B, offset: usize) -> bool {
        self.block == block && usize::from(self.offset) == offset
    }

    /// The new bytes.
    pub fn object(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Puts them into the block.
    pub fn apply(&self, block: &mut Bytes) {
        let at = usize::from(self.offset);
        if let Some(to) = block.get_mut(at..at + usize::from(self.len)) {
            to.copy_from_slice(self.object());
        }
    }
}

/// A whole block that belongs to one locked inode, changed privately in a page.
#[derive(Clone, Copy, Debug)]
pub struct Private<B, G> {
    /// The block.
    pub block: B,
    /// Its new content.
    pub page: G,
}

/// An inode that an attempt is about to change, for its slot.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// Which.
    pub ino: InodeNo,
    /// Of this generation.
    pub generation: u32,
    /// Its version behind the change.
    pub version: u64,
    /// Whether fdatasync has to wait for it.
    pub data: bool,
}

/// One attempt: who asks, and what it is about to change. All tables are here, in the memory of the call, since they are
/// too large for a stack.
pub struct Call<'p, P: Platform> {
    /// The containers, as this call sees them.
    pub platform: &'p P,
    /// Who asks.
    pub caller: Caller,
    /// New values of objects in shared blocks.
    pub writes: Few<Write<P::Block>, WRITES>,
    /// New contents of exclusive blocks.
    pub private: Few<Private<P::Block, P::Page>, PRIVATE>,
    /// Inodes that change.
    pub touched: Few<Touched, TOUCHED>,
    /// Allocation blocks with claims, pinned.
    pub groups: Few<(GroupNo, P::Block), CLAIMED_GROUPS>,
    /// Inodes that are locked, and how.
    pub locks: Few<(InodeNo, Mode), LOCKS>,
    /// How the volume's totals change.
    pub totals: Totals,
    /// The placement that this attempt ends.
    pub placement: Option<Placement>,
}

impl<'p, P: Platform> Call<'p, P> {
    /// An attempt that has changed nothing yet.
    pub fn new(platform: &'p P, caller: Caller) -> Self {
        Self {
            platform,
            caller,
            writes: Few::default(),
            private: Few::default(),
            touched: Few::default(),
            groups: Few::default(),
            locks: Few::default(),
            totals: Totals::default(),
            placement: None,
        }
    }
}
