//! An inode's own record: stat, setattr, times.
use crate::format::Inode;
use crate::format::inode::Flags;
use crate::format::prov::What;
use crate::op::{Locked, Op, Touch, attr};
use crate::variant::{Event, Variant};
use bento_api::{
    Attr, Committed, Errno, Evicted, FileKind, InodeNo, ModeChange, Platform, SetAttr, SetTime, Stop, Time,
    XattrName, XattrSet,
};

const SET_UID: u16 = 0o4000;
const SET_GID: u16 = 0o2000;
const GROUP_EXECUTE: u16 = 0o010;
const TYPE: u16 = 0o170_000;

fn time(set: SetTime, now: Time) -> Time {
    match set {
        SetTime::Now => now,
        SetTime::To(time) => time,
    }
}

/// Applies what needs nothing but the record.
fn apply(inode: &mut Inode, set: &SetAttr, now: Time) -> Result<(), Errno> {
    if let Some(mode) = set.mode {
        let permissions = u16::try_from(mode & 0o7777).map_err(|_| Errno::Invalid)?;
        inode.mode = inode.mode & TYPE | permissions;
    }
    inode.uid = set.uid.unwrap_or(inode.uid);
    inode.gid = set.gid.unwrap_or(inode.gid);
    inode.project = set.project.unwrap_or(inode.project);
    inode.flags = set.flags.map_or(inode.flags, Flags::from_bits_retain);
    if set.kill_privileges && inode.kind() == Some(FileKind::Regular) {
        inode.mode &= !SET_UID;
        if inode.mode & GROUP_EXECUTE != 0 {
            inode.mode &= !SET_GID;
        }
    }
    if set.size.is_some() {
        inode.mtime = now;
    }
    inode.atime = set.atime.map_or(inode.atime, |to| time(to, now));
    inode.mtime = set.mtime.map_or(inode.mtime, |to| time(to, now));
    inode.btime = set.btime.map_or(inode.btime, |to| time(to, now));
    inode.ctime = set.ctime.map_or(now, |to| time(to, now));
    Ok(())
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Under the inode's lock, so that a host which notes newer times in the slot in the same attempt cannot race with
    /// an operation that writes the older ones.
    pub(super) fn getattr(self, ino: InodeNo) -> Result<Attr, Stop> {
        let mut op = self;
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        Ok(attr(ino, &inode))
    }

    pub(super) fn setattr(self, ino: InodeNo, set: &SetAttr) -> Result<Committed<(Attr, bool)>, Stop> {
        let mut op = self;
        let at = op.lock(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        let now = op.now();
        apply(&mut inode, set, now)?;
        if set.kill_privileges {
            match op.xattr_remove(at, &mut inode, XattrName::new(b"security.capability")?) {
                Ok(()) | Err(Stop::Error(Errno::NoAttribute)) => {}
                Err(stop) => return Err(stop),
            }
        }
        let mut more = false;
        let mut touch = Touch::Metadata;
        if let Some(size) = set.size {
            match inode.kind() {
                Some(FileKind::Regular) => more = op.set_size(at, &mut inode, size)?,
                Some(FileKind::Directory) => return Err(Errno::IsDirectory.into()),
                _ => return Err(Errno::Invalid.into()),
            }
            touch = Touch::Data;
        }
        op.put_inode(at, &mut inode, touch)?;
        if set.size.is_some() {
            op.tell(|_| Ok(Event::of(What::Truncate, inode.object(ino))))?;
        }
        op.commit((attr(ino, &inode), more))
    }

    /// Writes the slot's times, if they are newer.
    pub(super) fn flush_times(self, ino: InodeNo) -> Result<Committed<()>, Stop> {
        let mut op = self;
        let at = op.lock(ino)?;
        if op.platform().slot(ino, |slot| slot.times_dirty) != Some(1) {
            return Ok(op.unchanged(()));
        }
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.put_inode(at, &mut inode, Touch::Metadata)?;
        op.commit(())
    }

    /// One step of looking after what lies past the end and must not show.
    pub(super) fn trim_past_end(self, ino: InodeNo) -> Result<Committed<bool>, Stop> {
        let mut op = self;
        let at = op.lock(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        // Somebody else may have been here, and put data there since.
        let Some(more) = op.settle_tail_step(at, &mut inode)? else { return Ok(op.unchanged(false)) };
        op.put_inode(at, &mut inode, Touch::Data)?;
        op.commit(more)
    }

    /// One step of taking away an inode that nobody uses.
    pub(super) fn evict(self, ino: InodeNo) -> Result<Committed<Evicted>, Stop> {
        let mut op = self;
        let at = op.lock(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        if inode.nlink > 0 && inode.orphan.is_none() {
            return Ok(op.unchanged(Evicted::InUse));
        }
        if inode.nlink > 0 {
            let more = op.trim_past_end_step(at, &mut inode)?;
            op.put_inode(at, &mut inode, Touch::Data)?;
            return op.commit(if more { Evicted::More } else { Evicted::InUse });
        }
        if op.evict_step(at, &mut inode)? {
            op.put_inode(at, &mut inode, Touch::Data)?;
            return op.commit(Evicted::More);
        }
        op.commit(Evicted::Gone)
    }

    /// Changes the access control list and the mode, which says the same of owner, mask and others.
    pub(super) fn set_acl(
        self,
        ino: InodeNo,
        acl: Option<&[u8]>,
        mode: ModeChange,
    ) -> Result<Committed<Attr>, Stop> {
        let mut op = self;
        let at = op.lock(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        let permissions = u32::from(inode.mode) & !mode.clear | mode.set;
        let set = SetAttr { mode: Some(permissions), ..SetAttr::default() };
        apply(&mut inode, &set, op.now())?;
        let name = XattrName::new(b"system.posix_acl_access")?;
        let stored = match acl {
            Some(value) => op.xattr_set(at, &mut inode, name, value, XattrSet::Any),
            None => op.xattr_remove(at, &mut inode, name),
        };
        match stored {
            Ok(()) | Err(Stop::Error(Errno::NoAttribute)) => {}
            Err(stop) => return Err(stop),
        }
        op.put_inode(at, &mut inode, Touch::Metadata)?;
        op.commit(attr(ino, &inode))
    }

    /// Changes an inode's attributes.
    pub(super) fn change_xattr(
        self,
        ino: InodeNo,
        change: impl FnOnce(&mut Self, Locked, &mut Inode) -> Result<(), Stop>,
    ) -> Result<Committed<()>, Stop> {
        let mut op = self;
        let at = op.lock(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        change(&mut op, at, &mut inode)?;
        inode.ctime = op.now();
        op.put_inode(at, &mut inode, Touch::Metadata)?;
        op.commit(())
    }
}
