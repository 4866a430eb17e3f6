//! What hangs on an inode: its extents, its data's places, its attributes.
pub(crate) mod extents;
