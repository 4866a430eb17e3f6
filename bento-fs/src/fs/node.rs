//! What a new inode is filled with.
use crate::format::Inode;
use crate::op::decode_device;
use bento_api::{FileKind, InodeNo, NewNode, Time};

const SET_GID: u32 = 0o2000;
const PERMISSIONS: u32 = 0o7777;

/// Fills a new inode's record: owner, mode, times, links. A directory with the set-group-id bit hands its group on,
/// and to directories the bit too (inode_init_owner of the VFS does the same).
pub(super) fn fill(
    inode: &mut Inode,
    (parent_ino, parent): (InodeNo, &Inode),
    kind: FileKind,
    node: &NewNode<'_>,
    now: Time,
) {
    let inherits = u32::from(parent.mode) & SET_GID != 0;
    let extra = if inherits && kind == FileKind::Directory { SET_GID } else { 0 };
    let mode = kind.mode_bits() | node.mode & PERMISSIONS | extra;
    inode.mode = u16::try_from(mode).unwrap_or(0);
    inode.uid = node.uid;
    inode.gid = if inherits { parent.gid } else { node.gid };
    inode.project = parent.project;
    (inode.atime, inode.mtime, inode.ctime, inode.btime) = (now, now, now, now);
    inode.nlink = 1;
    match kind {
        FileKind::Directory => {
            inode.nlink = 2;
            inode.parent = parent_ino;
        }
        FileKind::CharDevice | FileKind::BlockDevice => {
            let (major, minor) = decode_device(node.rdev);
            inode.set_device(major, minor);
        }
        FileKind::Fifo | FileKind::Regular | FileKind::Symlink | FileKind::Socket => {}
    }
}
