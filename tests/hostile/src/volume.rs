//! A mounted volume, and the operations on it, as a host calls them.
use crate::device::Ram;
use bento_api::{
    Attr, Call, Cursor, Emit, Errno, FileKind, FileSystem, InodeNo, Name, NewNode, OpKind, Rename, SetAttr,
    Stop, XattrName, XattrSet,
};
use bento_user::containers::UserCall;
use bento_user::device::Device;
use bento_user::run::{Mount, Privileges};
use bento_user::session::{Purpose, Session, SessionError, SessionOptions};
use bento_user::versions::{self, Version};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The root directory.
pub const ROOT: InodeNo = InodeNo(1);
/// Names that a listing gives at most: more than the volume could hold.
const MOST_NAMES: usize = 100_000;

/// A listed name: what it names, and what that is said to be.
pub type Listed = (Vec<u8>, InodeNo, Option<FileKind>);

/// A mounted volume.
pub struct Volume {
    session: Session,
    /// For operations that have no method here.
    pub call: UserCall,
}

impl Volume {
    /// Mounts, recovering what is in the log.
    pub fn open(device: &Arc<Ram>, purpose: Purpose) -> Result<Self, SessionError> {
        Self::open_with(device, purpose, versions::PLAIN)
    }

    /// Mounts with one version of the file system.
    pub fn open_with(device: &Arc<Ram>, purpose: Purpose, version: Version) -> Result<Self, SessionError> {
        // Nothing happens in the background that a case did not ask for.
        let commit_every = Duration::from_secs(3600);
        let cache_bytes = Some(4 << 20);
        let options = SessionOptions { purpose, commit_every, cache_bytes, version, superblock: None };
        let device: Arc<dyn Device> = device.clone();
        let session = Session::on_device(Path::new("image"), device, &options)?;
        let call = session.mount().call();
        Ok(Self { session, call })
    }

    /// The mount.
    pub fn mount(&self) -> &Mount {
        self.session.mount()
    }

    /// Unmounts.
    pub fn close(self) -> Result<(), SessionError> {
        drop(self.call);
        let closed = self.session.close();
        let counted = self.session.mount().counters();
        assert_eq!(
            (counted.panics, counted.exhausted),
            (0, 0),
            "entries panicked, or were restarted without an end"
        );
        closed
    }

    /// No entry panicked, ran out of attempts, or outgrew a capacity.
    fn done<T>(&self, reply: Result<T, Errno>) -> Result<T, Errno> {
        let counted = self.mount().counters();
        assert_eq!(
            (counted.panics, counted.exhausted),
            (0, 0),
            "entries panicked, or were restarted without an end"
        );
        assert_ne!(reply.as_ref().err(), Some(&Errno::Capacity), "an operation outgrew a capacity");
        reply
    }

    fn run<R>(
        &mut self,
        kind: OpKind,
        mut op: impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<R, Errno> {
        let reply = self.session.mount().run(&mut self.call, kind, &mut op);
        self.done(reply)
    }

    /// Makes a file, a directory or something special.
    pub fn create(&mut self, dir: InodeNo, name: &[u8], mode: u32) -> Result<InodeNo, Errno> {
        let node = NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        Ok(self.run(OpKind::Create, |fs, call| fs.create(call, dir, Name::new(name)?, &node))?.value.ino)
    }

    /// Makes a symbolic link.
    pub fn symlink(&mut self, dir: InodeNo, name: &[u8], target: &[u8]) -> Result<InodeNo, Errno> {
        let node = NewNode { mode: 0o777, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let made =
            self.run(OpKind::Create, |fs, call| fs.symlink(call, dir, Name::new(name)?, target, &node))?;
        Ok(made.value.ino)
    }

    /// Makes a file without a name, in use.
    pub fn tmpfile(&mut self) -> Result<InodeNo, Errno> {
        let node = NewNode { mode: 0o100_600, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let attr = self.run(OpKind::TmpFile, |fs, call| fs.tmpfile(call, ROOT, &node))?.value;
        self.mount().keep(&self.call, &attr);
        Ok(attr.ino)
    }

    /// Gives an inode a name.
    pub fn link(&mut self, ino: InodeNo, dir: InodeNo, name: &[u8]) -> Result<(), Errno> {
        let attr = self.run(OpKind::Link, |fs, call| fs.link(call, ino, dir, Name::new(name)?))?.value;
        self.named(&attr)
    }

    fn named(&mut self, attr: &Attr) -> Result<(), Errno> {
        let reply = self.session.mount().note_names(&mut self.call, attr);
        self.done(reply)
    }

    /// Looks a name up.
    pub fn lookup(&mut self, dir: InodeNo, name: &[u8]) -> Result<Attr, Errno> {
        self.run(OpKind::Read, |fs, call| fs.lookup(call, dir, Name::new(name)?))
    }

    /// Looks a name up and uses what it names, for as long as the volume is mounted.
    pub fn keep(&mut self, dir: InodeNo, name: &[u8]) -> Result<InodeNo, Errno> {
        let attr = self.lookup(dir, name)?;
        self.mount().keep(&self.call, &attr);
        Ok(attr.ino)
    }

    /// A directory's parent.
    pub fn parent(&mut self, dir: InodeNo) -> Result<Attr, Errno> {
        self.run(OpKind::Read, |fs, call| fs.parent(call, dir))
    }

    /// Attributes.
    pub fn stat(&mut self, ino: InodeNo) -> Result<Attr, Errno> {
        self.run(OpKind::Read, |fs, call| fs.getattr(call, ino))
    }

    /// Removes a name.
    pub fn unlink(&mut self, dir: InodeNo, name: &[u8]) -> Result<(), Errno> {
        let gone = self.run(OpKind::Unlink, |fs, call| fs.unlink(call, dir, Name::new(name)?))?;
        self.named(&gone.value)
    }

    /// Removes a directory.
    pub fn rmdir(&mut self, dir: InodeNo, name: &[u8]) -> Result<(), Errno> {
        let gone = self.run(OpKind::Unlink, |fs, call| fs.rmdir(call, dir, Name::new(name)?))?;
        self.named(&gone.value)
    }

    /// Moves a name.
    pub fn rename(&mut self, from: (InodeNo, &[u8]), to: (InodeNo, &[u8]), how: Rename) -> Result<(), Errno> {
        let lost = self.run(OpKind::Rename, |fs, call| {
            fs.rename(call, (from.0, Name::new(from.1)?), (to.0, Name::new(to.1)?), how)
        })?;
        lost.value.map_or(Ok(()), |lost| self.named(&lost))
    }

    /// All names but `.` and `..`.
    pub fn list(&mut self, dir: InodeNo) -> Result<Vec<Listed>, Errno> {
        let (mut all, mut from) = (Vec::new(), Cursor(0));
        loop {
            let before = (all.len(), from);
            let ended = self.run(OpKind::ReadDir, |fs, call| {
                all.truncate(before.0);
                from = before.1;
                fs.readdir(call, dir, before.1, Emit::Attributes, &mut |entry| {
                    if all.len() > before.0 + 200 {
                        return false;
                    }
                    all.push((entry.name.to_vec(), entry.ino, entry.kind));
                    from = entry.next;
                    true
                })
            })?;
            if ended {
                all.retain(|(name, ..)| name != b"." && name != b"..");
                return Ok(all);
            }
            assert!(from.0 > before.1.0, "a listing that goes on gets on");
            assert!(all.len() < MOST_NAMES, "a listing without an end");
        }
    }

    /// The target of a symbolic link.
    pub fn readlink(&mut self, ino: InodeNo) -> Result<Vec<u8>, Errno> {
        let mut to = vec![0; 4096];
        let len = self.run(OpKind::Read, |fs, call| fs.readlink(call, ino, &mut to))?;
        to.truncate(len);
        Ok(to)
    }

    /// Writes.
    pub fn write(&mut self, ino: InodeNo, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let reply = self.session.mount().write(&mut self.call, ino, offset, data, Privileges::Keep);
        self.done(reply)
    }

    /// Reads.
    pub fn read(&mut self, ino: InodeNo, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let mut to = vec![0xee; len];
        let reply = self.session.mount().read(&mut self.call, ino, offset, &mut to);
        to.truncate(self.done(reply)?);
        Ok(to)
    }

    /// Changes the size.
    pub fn truncate(&mut self, ino: InodeNo, size: u64) -> Result<(), Errno> {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        let reply = self.session.mount().setattr(&mut self.call, ino, &set);
        self.done(reply).map(drop)
    }

    /// fallocate(2).
    pub fn fallocate(
        &mut self,
        ino: InodeNo,
        how: bento_api::Allocate,
        range: std::ops::Range<u64>,
    ) -> Result<(), Errno> {
        let reply = self.session.mount().fallocate(&mut self.call, ino, how, range);
        self.done(reply)
    }

    /// SEEK_DATA, SEEK_HOLE.
    pub fn seek(&mut self, ino: InodeNo, from: u64, what: bento_api::Seek) -> Result<u64, Errno> {
        let reply = self.session.mount().seek(&mut self.call, ino, from, what);
        self.done(reply)
    }

    /// Sets an attribute.
    pub fn setxattr(&mut self, ino: InodeNo, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        self.run(OpKind::Xattr, |fs, call| {
            fs.setxattr(call, ino, XattrName::new(name)?, value, XattrSet::Any)
        })
        .map(drop)
    }

    /// Removes an attribute.
    pub fn removexattr(&mut self, ino: InodeNo, name: &[u8]) -> Result<(), Errno> {
        self.run(OpKind::Xattr, |fs, call| fs.removexattr(call, ino, XattrName::new(name)?)).map(drop)
    }

    /// An attribute.
    pub fn getxattr(&mut self, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut to = vec![0; 1 << 16];
        let len =
            self.run(OpKind::Read, |fs, call| fs.getxattr(call, ino, XattrName::new(name)?, &mut to))?;
        to.truncate(len);
        Ok(to)
    }

    /// The names of the attributes.
    pub fn listxattr(&mut self, ino: InodeNo) -> Result<Vec<Vec<u8>>, Errno> {
        let mut to = vec![0; 1 << 16];
        let len = self.run(OpKind::Read, |fs, call| fs.listxattr(call, ino, &mut to))?;
        to.truncate(len.saturating_sub(1));
        Ok(to.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> Result<(), Errno> {
        let reply = self.session.mount().syncfs(&mut self.call);
        self.done(reply)
    }
}
