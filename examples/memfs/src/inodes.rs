//! Operations on one inode: attributes, extended attributes, eviction.
use crate::Memfs;
use crate::node::{Meta, Node, sectors};
use bento_api::{
    Attr, BLOCK_BYTES, Errno, Evicted, FileKind, InodeNo, Platform, SetAttr, SetTime, Stop, Time, XattrName,
    XattrSet,
};

/// The largest value of an attribute, as Linux has it.
const XATTR_VALUE: usize = 65_536;

impl Memfs {
    pub(crate) fn do_setattr<P: Platform>(
        &self,
        platform: &P,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Attr, Stop> {
        let node = self.inodes.get(ino)?;
        let now = platform.now();
        let Some(size) = set.size else {
            return Ok(node.change(platform, |meta| set_plain(meta, set, now)).0);
        };
        if i64::try_from(size).is_err() {
            return Err(Errno::FileTooBig.into());
        }
        let mut held = node.file()?.write();
        let zero_from = platform.slot(ino, |slot| slot.zero_from).unwrap_or(u64::MAX);
        self.free_range(&mut held, size.div_ceil(BLOCK_BYTES)..u64::MAX);
        let (attr, ()) = node.change(platform, |meta| {
            meta.attr.size = size.min(zero_from.max(meta.attr.size));
            meta.attr.sectors = sectors(held.extents.held());
            meta.modified(now);
            set_plain(meta, set, now);
        });
        Ok(attr)
    }

    pub(crate) fn do_evict<P: Platform>(&self, platform: &P, ino: InodeNo) -> Result<Evicted, Stop> {
        let node = self.inodes.get(ino)?;
        if node.attr(platform).nlink > 0 {
            return Ok(Evicted::InUse);
        }
        self.inodes.remove(ino);
        self.free_all(&node);
        Ok(Evicted::Gone)
    }

    pub(crate) fn do_getxattr(
        &self,
        ino: InodeNo,
        name: XattrName<'_>,
        to: &mut [u8],
    ) -> Result<usize, Stop> {
        check_namespace(name)?;
        let node = self.inodes.get(ino)?;
        let meta = node.meta.lock();
        let value = meta.xattrs.get(name.bytes()).ok_or(Errno::NoAttribute)?;
        if !to.is_empty() {
            to.get_mut(..value.len()).ok_or(Errno::Range)?.copy_from_slice(value);
        }
        Ok(value.len())
    }

    pub(crate) fn do_setxattr<P: Platform>(
        &self,
        platform: &P,
        ino: InodeNo,
        name: XattrName<'_>,
        value: &[u8],
        how: XattrSet,
    ) -> Result<(), Stop> {
        check_namespace(name)?;
        if value.len() > XATTR_VALUE {
            return Err(Errno::NoSpace.into());
        }
        let now = platform.now();
        let (_, set) = self.inodes.get(ino)?.change(platform, |meta| {
            match (how, meta.xattrs.contains_key(name.bytes())) {
                (XattrSet::Create, true) => return Err(Errno::Exists),
                (XattrSet::Replace, false) => return Err(Errno::NoAttribute),
                _ => {}
            }
            meta.xattrs.insert(name.bytes().into(), value.into());
            meta.changed(now);
            Ok(())
        });
        Ok(set?)
    }

    pub(crate) fn do_listxattr(&self, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        let node = self.inodes.get(ino)?;
        let meta = node.meta.lock();
        let len = meta.xattrs.keys().map(|name| name.len() + 1).sum();
        if to.is_empty() {
            return Ok(len);
        }
        let mut rest = to.get_mut(..len).ok_or(Errno::Range)?;
        for name in meta.xattrs.keys() {
            let (place, behind) = rest.split_at_mut(name.len() + 1);
            place[..name.len()].copy_from_slice(name);
            place[name.len()] = 0;
            rest = behind;
        }
        Ok(len)
    }

    pub(crate) fn do_removexattr<P: Platform>(
        &self,
        platform: &P,
        ino: InodeNo,
        name: XattrName<'_>,
    ) -> Result<(), Stop> {
        check_namespace(name)?;
        let now = platform.now();
        let (_, removed) = self.inodes.get(ino)?.change(platform, |meta| {
            meta.xattrs.remove(name.bytes()).ok_or(Errno::NoAttribute)?;
            meta.changed(now);
            Ok::<_, Errno>(())
        });
        Ok(removed?)
    }

    pub(crate) fn do_readlink(&self, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        let node = self.inodes.get(ino)?;
        let target = target(&node)?;
        to.get_mut(..target.len()).ok_or(Errno::Range)?.copy_from_slice(target);
        Ok(target.len())
    }
}

fn target(node: &Node) -> Result<&[u8], Errno> {
    match &node.body {
        crate::node::Body::Symlink(target) => Ok(target),
        _ => Err(Errno::Invalid),
    }
}

/// Everything that setattr sets but the size.
fn set_plain(meta: &mut Meta, set: &SetAttr, now: Time) {
    meta.changed(now);
    let time = |set: SetTime| match set {
        SetTime::Now => now,
        SetTime::To(time) => time,
    };
    let attr = &mut meta.attr;
    if let Some(mode) = set.mode {
        attr.mode = attr.mode & 0o170_000 | mode & 0o7777;
    }
    attr.uid = set.uid.unwrap_or(attr.uid);
    attr.gid = set.gid.unwrap_or(attr.gid);
    attr.atime = set.atime.map_or(attr.atime, time);
    attr.mtime = set.mtime.map_or(attr.mtime, time);
    attr.ctime = set.ctime.map_or(attr.ctime, time);
    attr.btime = set.btime.map_or(attr.btime, time);
    attr.flags = set.flags.unwrap_or(attr.flags);
    attr.project = set.project.unwrap_or(attr.project);
    if set.kill_privileges && attr.kind() != Some(FileKind::Directory) {
        // Set-group-id without group execute is not a privilege: it once meant mandatory locking.
        let group = if attr.mode & 0o010 != 0 { 0o2000 } else { 0 };
        attr.mode &= !(0o4000 | group);
        meta.xattrs.remove(&b"security.capability"[..]);
    }
}

fn check_namespace(name: XattrName<'_>) -> Result<(), Errno> {
    let name = name.bytes();
    let named = [&b"user."[..], b"trusted.", b"security."];
    let known = named.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    if known { Ok(()) } else { Err(Errno::NotSupported) }
}
