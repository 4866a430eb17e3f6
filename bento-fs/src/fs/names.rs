//! Names: look up, create, link, unlink, rmdir.
//!
//! Each operation is: lock, look, change, commit.
use super::node::fill;
use crate::format::prov::What;
use crate::format::{Corruption, Inode};
use crate::op::{Locked, Op, Touch, attr};
use crate::variant::{Event, Fault, Variant};
use bento_api::{Attr, BlockNo, Committed, Errno, FileKind, GroupNo, InodeNo, Name, NewNode, Platform, Stop};

/// Marks the cursor of a create that is done and not recorded: a seeded fault.
const LATE: u64 = 0x4c41_5445;
/// Links of an inode, at most.
const MAX_LINKS: u32 = u32::MAX - 1;

/// Where a name leads, for those who move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removes {
    /// Anything but a directory.
    File,
    /// An empty directory.
    Directory,
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// A directory that has a name. ENOTDIR; ENOENT if it was removed.
    pub(super) fn load_directory(&self, ino: InodeNo, inode: &mut Inode) -> Result<(), Stop> {
        self.load(ino, inode)?;
        match inode.kind() {
            Some(FileKind::Directory) if inode.nlink == 0 => Err(Errno::NotFound.into()),
            Some(FileKind::Directory) => Ok(()),
            _ => Err(Errno::NotDirectory.into()),
        }
    }

    /// The inode that an entry names: one that is free is corruption, not a race, under the directory's lock.
    pub(super) fn load_named(&self, ino: InodeNo, inode: &mut Inode) -> Result<(), Stop> {
        match self.load(ino, inode) {
            Err(Stop::Error(Errno::Stale)) => Err(self.corrupt(Corruption::InodeUnused, BlockNo(0), ino)),
            other => other,
        }
    }

    /// Stamps a directory whose entries changed, and writes it.
    pub(super) fn put_parent(&mut self, at: Locked, inode: &mut Inode) -> Result<(), Stop> {
        inode.mtime = self.now();
        inode.ctime = self.now();
        self.put_inode(at, inode, Touch::Data)
    }

    pub(super) fn lookup(self, dir: InodeNo, name: Name<'_>) -> Result<Attr, Stop> {
        let mut op = self;
        op.share(dir)?;
        let mut parent = Inode::free(0);
        op.load_directory(dir, &mut parent)?;
        let found = op.dir_find(dir, &parent, name)?.ok_or(Errno::NotFound)?;
        let mut inode = Inode::free(0);
        op.load_named(found.ino, &mut inode)?;
        Ok(attr(found.ino, &inode))
    }

    pub(super) fn parent(self, dir: InodeNo) -> Result<Attr, Stop> {
        let mut op = self;
        op.share(dir)?;
        let mut inode = Inode::free(0);
        op.load(dir, &mut inode)?;
        let up = inode.parent;
        if up.0 == 0 {
            return Err(Errno::NotDirectory.into());
        }
        op.load_named(up, &mut inode)?;
        Ok(attr(up, &inode))
    }

    /// The group of a new inode: that of its directory, but directories of the root are spread over the volume.
    fn group_for(&self, dir: InodeNo, name: Name<'_>, kind: FileKind) -> GroupNo {
        let geometry = &self.volume.geometry;
        if kind == FileKind::Directory && dir == crate::format::geometry::ROOT {
            let hash = self.volume.hash_key.hash(name.bytes()).0;
            let group = hash.checked_rem(geometry.groups.into()).and_then(|group| u32::try_from(group).ok());
            return GroupNo(group.unwrap_or(0));
        }
        geometry.inode_bit(dir).map_or(GroupNo(0), |(group, _)| group)
    }

    /// A new inode with everything but a name; its record becomes `inode`.
    pub(super) fn make(
        &mut self,
        group: GroupNo,
        parent: (InodeNo, &Inode),
        kind: FileKind,
        node: &NewNode<'_>,
        inode: &mut Inode,
    ) -> Result<Locked, Stop> {
        let child = self.new_inode(group, inode)?;
        fill(inode, parent, kind, node, self.now());
        for (name, value) in node.xattrs {
            self.xattr_set(child, inode, *name, value, bento_api::XattrSet::Any)?;
        }
        if kind == FileKind::Directory {
            self.dir_start(child, inode)?;
        }
        Ok(child)
    }

    #[inline(never)] // as tmpfile()
    pub(super) fn create(
        self,
        dir: InodeNo,
        name: Name<'_>,
        node: &NewNode<'_>,
        target: Option<&[u8]>,
    ) -> Result<Committed<Attr>, Stop> {
        let mut op = self;
        let kind = if target.is_some() { Some(FileKind::Symlink) } else { FileKind::of_mode(node.mode) };
        let kind = kind.ok_or(Errno::Invalid)?;
        let (dir, _) = op.lock_first([dir, InodeNo(0)])?;
        let mut parent = Inode::free(0);
        op.load_directory(dir.no(), &mut parent)?;
        if let Some(found) = op.dir_find(dir.no(), &parent, name)? {
            if V::FAULT == Fault::LateRecord && op.is_to_record() {
                let mut inode = Inode::free(0);
                op.load_named(found.ino, &mut inode)?;
                op.tell(|_| Ok(Event::named(What::Create, inode.object(found.ino), dir.no(), name)))?;
                return op.commit(attr(found.ino, &inode));
            }
            return Err(Errno::Exists.into());
        }
        if kind == FileKind::Directory && parent.nlink >= MAX_LINKS {
            return Err(Errno::TooManyLinks.into());
        }
        let group = op.group_for(dir.no(), name, kind);
        let mut inode = Inode::free(0);
        let child = op.make(group, (dir.no(), &parent), kind, node, &mut inode)?;
        if let Some(target) = target {
            op.target_store(child, &mut inode, target)?;
        }
        op.dir_insert(dir, &mut parent, name, child.no(), kind.dirent_type())?;
        if kind == FileKind::Directory {
            parent.nlink = parent.nlink.saturating_add(1);
        }
        op.put_inode(child, &mut inode, Touch::Data)?;
        op.put_parent(dir, &mut parent)?;
        if V::FAULT == Fault::LateRecord {
            return op.record_later();
        }
        op.tell(|_| Ok(Event::named(What::Create, inode.object(child.no()), dir.no(), name)))?;
        op.commit(attr(child.no(), &inode))
    }

    /// The seeded fault: the create in a transaction of its own; the next attempt finds it, and records it.
    fn record_later<T>(self) -> Result<Committed<T>, Stop> {
        let platform = self.platform();
        let _ = self.commit(())?;
        platform.set_cursor([LATE, 0, 0, 0, 0, 0, 0, 0]);
        Err(bento_api::Wait::Again.into())
    }

    fn is_to_record(&self) -> bool {
        self.platform().cursor().first() == Some(&LATE)
    }

    #[inline(never)] // an inode is large: not in the caller's frame too
    pub(super) fn tmpfile(self, dir: InodeNo, node: &NewNode<'_>) -> Result<Committed<Attr>, Stop> {
        let mut op = self;
        let kind =
            FileKind::of_mode(node.mode).filter(|kind| *kind == FileKind::Regular).ok_or(Errno::Invalid)?;
        op.share(dir)?;
        let mut parent = Inode::free(0);
        op.load_directory(dir, &mut parent)?;
        let group = op.volume.geometry.inode_bit(dir).map_or(GroupNo(0), |(group, _)| group);
        let mut inode = Inode::free(0);
        let child = op.make(group, (dir, &parent), kind, node, &mut inode)?;
        inode.nlink = 0;
        op.orphan_add(child, &mut inode)?;
        op.put_inode(child, &mut inode, Touch::Data)?;
        op.tell(|_| Ok(Event::of(What::TmpFile, inode.object(child.no()))))?;
        op.commit(attr(child.no(), &inode))
    }

    #[inline(never)] // as tmpfile()
    pub(super) fn link(self, ino: InodeNo, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        let mut op = self;
        let (dir, file) = op.lock_first([dir, ino])?;
        let mut parent = Inode::free(0);
        op.load_directory(dir.no(), &mut parent)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        let kind = inode.kind().ok_or(Errno::Stale)?;
        if kind == FileKind::Directory {
            return Err(Errno::NotPermitted.into());
        }
        if op.dir_find(dir.no(), &parent, name)?.is_some() {
            return Err(Errno::Exists.into());
        }
        if inode.nlink >= MAX_LINKS {
            return Err(Errno::TooManyLinks.into());
        }
        if inode.nlink == 0 {
            op.orphan_remove(file, &mut inode)?;
        }
        inode.nlink = inode.nlink.saturating_add(1);
        inode.ctime = op.now();
        op.dir_insert(dir, &mut parent, name, ino, kind.dirent_type())?;
        op.put_inode(file, &mut inode, Touch::Data)?;
        op.put_parent(dir, &mut parent)?;
        op.tell(|_| Ok(Event::named(What::Link, inode.object(ino), dir.no(), name)))?;
        op.commit(attr(ino, &inode))
    }

    /// Takes a name's inode out of the count: without names it becomes an orphan.
    pub(super) fn drop_link(&mut self, at: Locked, inode: &mut Inode) -> Result<(), Stop> {
        let directory = inode.kind() == Some(FileKind::Directory);
        inode.nlink = if directory { 0 } else { inode.nlink.saturating_sub(1) };
        inode.ctime = self.now();
        if inode.nlink == 0 && V::FAULT != Fault::NoOrphan {
            self.orphan_add(at, inode)?;
        }
        self.put_inode(at, inode, Touch::Data)
    }

    #[inline(never)] // as tmpfile()
    pub(super) fn unlink(self, dir: InodeNo, name: Name<'_>, what: Removes) -> Result<Committed<Attr>, Stop> {
        let mut op = self;
        let (dir, _) = op.lock_first([dir, InodeNo(0)])?;
        let mut parent = Inode::free(0);
        op.load_directory(dir.no(), &mut parent)?;
        let found = op.dir_find(dir.no(), &parent, name)?.ok_or(Errno::NotFound)?;
        let child = op.lock_found(found.ino)?;
        let mut inode = Inode::free(0);
        op.load_named(child.no(), &mut inode)?;
        match (what, inode.kind()) {
            (Removes::File, Some(FileKind::Directory)) => return Err(Errno::IsDirectory.into()),
            (Removes::Directory, Some(FileKind::Directory)) => {
                if !op.dir_is_empty(child.no(), &inode)? {
                    return Err(Errno::NotEmpty.into());
                }
                parent.nlink = parent.nlink.saturating_sub(1);
            }
            (Removes::Directory, _) => return Err(Errno::NotDirectory.into()),
            (Removes::File, _) => {}
        }
        op.dir_remove(dir, &mut parent, name, &found)?;
        op.drop_link(child, &mut inode)?;
        op.put_parent(dir, &mut parent)?;
        op.tell(|_| Ok(Event::named(What::Unlink, inode.object(child.no()), dir.no(), name)))?;
        op.commit(attr(child.no(), &inode))
    }
}
