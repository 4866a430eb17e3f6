//! Numbers as types, so that a block is never taken for an inode.

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($int:ty)),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

numbers! {
    /// A block of the device, counted from its start.
    BlockNo(u64),
    /// An inode; 0 is none.
    InodeNo(u64),
    /// An allocation group. [`GroupNo::ORPHANS`] is not a group of the disk: its bits are the orphan slots.
    GroupNo(u32),
    /// A batch of the journal, counted from 1 over the life of the volume; 0 is before the first.
    BatchSeq(u64),
    /// A block of a file, counted from its start.
    FileBlock(u64),
}

impl GroupNo {
    /// The pseudo-group whose block bits are the orphan slots.
    pub const ORPHANS: Self = Self(u32::MAX);
}
