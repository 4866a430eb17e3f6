//! What hangs on an inode: its extents, its data's places, its attributes; and how it is taken away.
mod data;
mod evict;
pub(crate) mod extents;
mod orphan;
mod place;
mod symlink;
mod xattr;
