//! Extended attributes: in the inode as far as they fit, the others in one block.
//!
//! # Locking
//! The inode's lock: shared to read, exclusive to change.
//!
//! # Crash
//! Part of the operation's transaction: the old value or the new.
use crate::bitmap::Reserve;
use crate::format::xattr::{self, Namespace, Xattr};
use crate::format::{BlockKind, Corruption, Inode};
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::{BlockNo, Bytes, Errno, InodeNo, Platform, Stop, XattrName, XattrSet};

/// A name as it is stored.
#[derive(Clone, Copy, Debug)]
struct Stored<'n> {
    namespace: Namespace,
    name: &'n [u8],
}

/// Splits a name. EOPNOTSUPP for a namespace that there is not, EINVAL for one without a name behind it.
fn stored<'n>(name: &XattrName<'n>) -> Result<Stored<'n>, Errno> {
    let full = name.bytes();
    match Namespace::split(full) {
        Some((namespace, name)) => Ok(Stored { namespace, name }),
        None if Namespace::ALL.iter().any(|namespace| namespace.prefix() == full) => Err(Errno::Invalid),
        None => Err(Errno::NotSupported),
    }
}

/// The length of a value, which is copied if it is asked for. ERANGE.
fn answer(value: &[u8], to: &mut [u8]) -> Result<usize, Errno> {
    if !to.is_empty() {
        to.get_mut(..value.len()).ok_or(Errno::Range)?.copy_from_slice(value);
    }
    Ok(value.len())
}

/// A list of names that is written, or only measured.
struct List<'t> {
    to: &'t mut [u8],
    len: usize,
    /// Whether names of `trusted.` are listed.
    trusted: bool,
}

impl List<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let end = self.len.saturating_add(bytes.len());
        if !self.to.is_empty() {
            self.to.get_mut(self.len..end).ok_or(Errno::Range)?.copy_from_slice(bytes);
        }
        self.len = end;
        Ok(())
    }

    fn put_area(&mut self, area: &[u8]) -> Result<Result<(), Errno>, Corruption> {
        for xattr in xattr::xattrs(area) {
            let Xattr { namespace, name, .. } = xattr?;
            if namespace == Namespace::Trusted && !self.trusted {
                continue;
            }
            if let Err(errno) =
                [namespace.prefix(), name, &[0]].into_iter().try_for_each(|part| self.put(part))
            {
                return Ok(Err(errno));
            }
        }
        Ok(Ok(()))
    }
}

/// Puts an attribute into a block, with the count; false if it does not fit.
fn insert_in_block(bytes: &mut Bytes, stored: Stored<'_>, value: &[u8]) -> Result<bool, Corruption> {
    let done = xattr::insert(xattr::block_area_mut(bytes), stored.namespace, stored.name, value)?;
    xattr::count_block(bytes)?;
    Ok(done)
}

fn remove_in_block(bytes: &mut Bytes, stored: Stored<'_>) -> Result<bool, Corruption> {
    let done = xattr::remove(xattr::block_area_mut(bytes), stored.namespace, stored.name)?;
    xattr::count_block(bytes)?;
    Ok(done)
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    fn bad_area(&self, what: Corruption, ino: InodeNo) -> Stop {
        self.corrupt(what, BlockNo(0), ino)
    }

    /// Looks at the area of the attribute block.
    fn look_block<R>(
        &self,
        no: BlockNo,
        ino: InodeNo,
        f: impl FnOnce(&[u8]) -> Result<R, Corruption>,
    ) -> Result<R, Stop> {
        let look = |bytes: &Bytes| f(xattr::block_area(bytes));
        self.view(no, BlockKind::Xattr, ino, look)?.map_err(|what| self.corrupt(what, no, ino))
    }

    fn change_block<R>(
        &mut self,
        no: BlockNo,
        at: Locked,
        f: impl FnOnce(&mut Bytes) -> Result<R, Corruption>,
    ) -> Result<R, Stop> {
        let draft = self.edit(no, BlockKind::Xattr, at)?;
        self.draft_mut(draft, f)?.map_err(|what| self.corrupt(what, no, at.no()))
    }

    /// A value's length, and the value if `to` is not empty. ENODATA, ERANGE.
    pub(crate) fn xattr_get(
        &self,
        ino: InodeNo,
        inode: &Inode,
        name: XattrName<'_>,
        to: &mut [u8],
    ) -> Result<usize, Stop> {
        let Stored { namespace, name } = stored(&name)?;
        let here = xattr::find(&inode.xattrs, namespace, name).map_err(|what| self.bad_area(what, ino))?;
        if let Some(here) = here {
            return Ok(answer(here.value, to)?);
        }
        let Some(no) = inode.xattr_block else { return Err(Errno::NoAttribute.into()) };
        let found = self.look_block(no, ino, |area| {
            Ok(xattr::find(area, namespace, name)?.map(|xattr| answer(xattr.value, to)))
        })?;
        Ok(found.ok_or(Errno::NoAttribute)??)
    }

    /// The names, each ended by NUL: their length, and the names if `to` is not empty. Those of `trusted.` are for the
    /// superuser, which the VFS leaves to the file system. ERANGE.
    pub(crate) fn xattr_list(&self, ino: InodeNo, inode: &Inode, to: &mut [u8]) -> Result<usize, Stop> {
        let mut list = List { to, len: 0, trusted: self.call.caller.uid == 0 };
        list.put_area(&inode.xattrs).map_err(|what| self.bad_area(what, ino))??;
        if let Some(no) = inode.xattr_block {
            self.look_block(no, ino, |area| list.put_area(area))??;
        }
        Ok(list.len)
    }

    fn xattr_is_there(&self, ino: InodeNo, inode: &Inode, stored: Stored<'_>) -> Result<bool, Stop> {
        let Stored { namespace, name } = stored;
        if xattr::find(&inode.xattrs, namespace, name).map_err(|what| self.bad_area(what, ino))?.is_some() {
            return Ok(true);
        }
        match inode.xattr_block {
            Some(no) => self.look_block(no, ino, |area| Ok(xattr::find(area, namespace, name)?.is_some())),
            None => Ok(false),
        }
    }

    /// Takes an attribute out of the inode or the block, and leaves the block, however empty.
    fn xattr_take(&mut self, at: Locked, inode: &mut Inode, stored: Stored<'_>) -> Result<(), Stop> {
        let removed = xattr::remove(&mut inode.xattrs, stored.namespace, stored.name);
        if removed.map_err(|what| self.bad_area(what, at.no()))? {
            return Ok(());
        }
        if let Some(no) = inode.xattr_block {
            self.change_block(no, at, |bytes| remove_in_block(bytes, stored))?;
        }
        Ok(())
    }

    /// Sets an attribute. The caller writes the inode. ENOSPC if it does not fit, EEXIST and ENODATA by `how`.
    pub(crate) fn xattr_set(
        &mut self,
        at: Locked,
        inode: &mut Inode,
        name: XattrName<'_>,
        value: &[u8],
        how: XattrSet,
    ) -> Result<(), Stop> {
        let stored = stored(&name)?;
        let there = self.xattr_is_there(at.no(), inode, stored)?;
        match (there, how) {
            (true, XattrSet::Create) => return Err(Errno::Exists.into()),
            (false, XattrSet::Replace) => return Err(Errno::NoAttribute.into()),
            (true, _) => self.xattr_take(at, inode, stored)?,
            (false, _) => {}
        }
        let inserted = xattr::insert(&mut inode.xattrs, stored.namespace, stored.name, value);
        if inserted.map_err(|what| self.bad_area(what, at.no()))? {
            return self.xattr_tidy(at, inode);
        }
        if xattr::xattr_len(stored.name.len(), value.len()) > xattr::BLOCK_ROOM {
            return Err(Errno::NoSpace.into());
        }
        let no = match inode.xattr_block {
            Some(no) => no,
            None => self.xattr_start(at, inode)?,
        };
        if self.change_block(no, at, |bytes| insert_in_block(bytes, stored, value))? {
            Ok(())
        } else {
            Err(Errno::NoSpace.into())
        }
    }

    fn xattr_start(&mut self, at: Locked, inode: &mut Inode) -> Result<BlockNo, Stop> {
        let no = self.claim_meta(self.home_of(at.no()), Reserve::Keep)?;
        self.fresh(no, BlockKind::Xattr, at)?;
        inode.xattr_block = Some(no);
        inode.blocks = inode.blocks.saturating_add(1);
        Ok(no)
    }

    /// Removes an attribute. The caller writes the inode. ENODATA.
    pub(crate) fn xattr_remove(
        &mut self,
        at: Locked,
        inode: &mut Inode,
        name: XattrName<'_>,
    ) -> Result<(), Stop> {
        let stored = stored(&name)?;
        if !self.xattr_is_there(at.no(), inode, stored)? {
            return Err(Errno::NoAttribute.into());
        }
        self.xattr_take(at, inode, stored)?;
        self.xattr_tidy(at, inode)
    }

    /// Frees an attribute block that became empty.
    fn xattr_tidy(&mut self, at: Locked, inode: &mut Inode) -> Result<(), Stop> {
        let Some(no) = inode.xattr_block else { return Ok(()) };
        let (count, _) = self.look_block(no, at.no(), xattr::usage)?;
        if count == 0 { self.xattrs_free(inode) } else { Ok(()) }
    }

    /// Frees the attribute block.
    pub(super) fn xattrs_free(&mut self, inode: &mut Inode) -> Result<(), Stop> {
        let Some(no) = inode.xattr_block.take() else { return Ok(()) };
        inode.blocks = inode.blocks.saturating_sub(1);
        self.free_meta(no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> XattrName<'_> {
        XattrName::new(bytes).unwrap()
    }

    #[test]
    fn a_name_is_split_or_refused_as_linux_does() {
        assert_eq!(stored(&name(b"user.mime_type")).unwrap().name, b"mime_type");
        assert_eq!(stored(&name(b"system.posix_acl_access")).unwrap().namespace, Namespace::AclAccess);
        assert_eq!(stored(&name(b"user.")).unwrap_err(), Errno::Invalid);
        assert_eq!(stored(&name(b"system.other")).unwrap_err(), Errno::NotSupported);
        assert_eq!(stored(&name(b"nothing")).unwrap_err(), Errno::NotSupported);
    }

    #[test]
    fn a_list_is_measured_or_written_whole() {
        let mut area = [0; 48];
        assert_eq!(xattr::insert(&mut area, Namespace::User, b"a", b"1"), Ok(true));
        assert_eq!(xattr::insert(&mut area, Namespace::Trusted, b"b", b"2"), Ok(true));
        let list = |to: &mut [u8], trusted| {
            let mut list = List { to, len: 0, trusted };
            list.put_area(&area).unwrap().map(|()| list.len)
        };
        let all = b"user.a\0trusted.b\0";
        assert_eq!(list(&mut [], true), Ok(all.len()));
        assert_eq!(list(&mut [], false), Ok(7));
        let mut to = [0; 17];
        assert_eq!(list(&mut to, true), Ok(17));
        assert_eq!(&to, all);
        assert_eq!(list(&mut to[..16], true), Err(Errno::Range));
    }

    #[test]
    fn a_value_is_measured_copied_or_out_of_range() {
        assert_eq!(answer(b"four", &mut []), Ok(4));
        assert_eq!(answer(b"four", &mut [0; 3]), Err(Errno::Range));
        let mut to = [0; 8];
        assert_eq!(answer(b"four", &mut to), Ok(4));
        assert_eq!(&to, b"four\0\0\0\0");
    }
}
