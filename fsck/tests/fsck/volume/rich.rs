//! A volume with one of everything.
use super::Volume;
use bento_api::{FileKind, InodeNo};
use bento_fs::format::xattr::Namespace;

/// Where things are in a rich volume.
#[derive(Clone, Copy)]
pub struct Places {
    /// A file with two extents and 600 more names.
    pub file: InodeNo,
    /// A file with a tree of extents, two levels deep.
    pub tree: InodeNo,
    pub prealloc: InodeNo,
    pub short: InodeNo,
    pub long: InodeNo,
    pub fifo: InodeNo,
    pub xattrs: InodeNo,
    /// A directory, with one in it, with a file in it.
    pub dir: InodeNo,
    pub sub: InodeNo,
    pub deep: InodeNo,
    /// A directory with an index, two levels deep, and a free map.
    pub big: InodeNo,
    /// A file without a name, in slot 3.
    pub orphan: InodeNo,
}

impl Volume {
    /// One of everything.
    pub fn rich() -> (Self, Places) {
        let mut volume = Self::empty();
        let root = InodeNo(1);
        let file = volume.file(root, b"file", &[(0, 3, false), (7, 2, false)]);
        let runs: Vec<_> = (0..40).map(|at| (at * 3, 1 + (at % 2) as u32, at % 5 == 4)).collect();
        let tree = volume.file(root, b"tree", &runs);
        let prealloc = volume.file(root, b"prealloc", &[(0, 1, false), (1, 4, true)]);
        let short = volume.symlink(root, b"short", b"file");
        let long = volume.symlink(root, b"long", &[b'x'; 4095]);
        let device = volume.node(FileKind::CharDevice);
        volume.link(root, b"device", device, FileKind::CharDevice);
        let fifo = volume.node(FileKind::Fifo);
        volume.link(root, b"fifo", fifo, FileKind::Fifo);
        let xattrs = volume.file(root, b"xattrs", &[]);
        let acl = (Namespace::AclAccess, &b""[..], &[2, 0, 0, 0][..]);
        volume.xattrs(xattrs, &[(Namespace::User, b"a", b"1"), (Namespace::Security, b"b", &[3; 900]), acl]);
        let dir = volume.dir(root, b"dir");
        let sub = volume.dir(dir, b"sub");
        let deep = volume.file(sub, b"deep", &[(0, 1, false)]);
        let big = volume.dir(root, b"big");
        for number in 0..600 {
            volume.link(big, format!("a name, number {number}").as_bytes(), file, FileKind::Regular);
        }
        volume.edit_inode(file, |inode| inode.nlink += 600);
        let orphan = volume.node(FileKind::Regular);
        volume.fill(orphan, &[(0, 2, false)]);
        volume.edit_inode(orphan, |inode| {
            inode.nlink = 0;
            inode.orphan = Some(3);
        });
        volume.provenance();
        let volume = volume.finish();
        volume.put_orphan(3, orphan);
        let places = Places { file, tree, prealloc, short, long, fifo, xattrs, dir, sub, deep, big, orphan };
        (volume, places)
    }
}
