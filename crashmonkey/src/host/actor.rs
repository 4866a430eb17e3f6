//! One stream of operations: what system calls do, on entries of the file system.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bento_api::{
    Attr, Call, FileKind, FileSystem, InodeNo, Name, NewNode, OpKind, Rename, SetAttr, SetTime, Stop, Time,
    XattrName, XattrSet,
};
use bento_user::containers::{Containers, Options, UserCall};
use bento_user::device::Medium;
use bento_user::run::{Budget, Mount};
use rustix::io::Errno;

use super::build::{Build, MADE};
use super::data::At;
use super::device::RecordingDevice;
use super::paths::{Last, Place};
use super::story::Story;
use super::volume::Base;
use super::watched::Watched;
use crate::jlang::{FallocMode, Op, OpenFlags, Path, RenameFlags, Special};
use crate::oracle::{OpId, Stream};

/// Who decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The loop of the shipped host: one operation runs to its end.
    Shipped,
    /// A scheduler, at every wait and after every attempt.
    Stepped,
}

/// A mounted volume on a recording device.
pub struct Stage {
    /// The mount.
    pub mount: Arc<Mount>,
    /// Its device.
    pub device: Arc<RecordingDevice>,
    /// What happened on it.
    pub story: Arc<Story>,
    /// The file system.
    pub build: &'static Build,
    pub(super) pace: Pace,
    /// Inodes whose data somebody changes, where the pace is ours.
    pub(super) data_locks: RefCell<BTreeSet<InodeNo>>,
}

/// Bytes of clean blocks that a mount keeps.
const CACHE: u64 = 8 << 20;
/// Blocks that may be away from home.
const NOT_HOME: u32 = 400;

impl Stage {
    /// A mount of a volume as it was left by [`Base::mount`].
    pub fn new(base: &Base, pace: Pace) -> Stage {
        let device = Arc::new(RecordingDevice::new(base.image.clone()));
        let story = Arc::new(Story::new(device.clone(), MADE));
        let clock = story.clone();
        let options = Options {
            cache_bytes: Some(CACHE),
            not_home: Some(NOT_HOME),
            clock: Box::new(move || clock.now()),
        };
        let medium = Arc::new(Medium::new(device.clone()));
        let containers = Containers::new(medium, &base.mounted, options);
        let core = Watched::over((base.build.start)(base.volume), story.clone());
        let mount = Mount::new(core, containers, false);
        Stage { mount, device, story, build: base.build, pace, data_locks: RefCell::default() }
    }

    /// Lets another version of the file system take over.
    ///
    /// # Errors
    /// Why it did not.
    pub fn upgrade(&self) -> Result<(), String> {
        let story = self.story.clone();
        let import = self.build.other;
        let done = self.mount.upgrade(Budget::default(), |bytes| Ok(Watched::over(import(bytes)?, story)));
        done.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// An open descriptor.
#[derive(Clone, Copy, Debug)]
struct Fd {
    ino: InodeNo,
    writable: bool,
}

/// A stream of operations on a stage.
pub struct Actor<'s> {
    pub(super) stage: &'s Stage,
    pub(super) call: UserCall,
    pub(super) op: Option<OpId>,
    stream: Stream,
    fds: BTreeMap<Path, Fd>,
    /// Inodes that the running operation counts as used.
    pub(super) held: Vec<InodeNo>,
}

/// An error of the file system as a number of the system.
pub(super) fn os(errno: bento_api::Errno) -> Errno {
    Errno::from_raw_os_error(errno.number())
}

impl<'s> Actor<'s> {
    /// A stream with nothing open.
    pub fn new(stage: &'s Stage, stream: Stream) -> Actor<'s> {
        let call = stage.mount.call();
        Actor { stage, call, op: None, stream, fds: BTreeMap::new(), held: Vec::new() }
    }

    /// Runs one operation, and notes what happened.
    pub async fn run(&mut self, op: &Op, time: Time) -> Result<Option<u64>, Errno> {
        let id = self.stage.story.start(self.stream, op.clone(), time);
        self.op = Some(id);
        let result = self.perform(op, id).await;
        self.stage.story.end(id, result);
        self.op = None;
        for ino in std::mem::take(&mut self.held) {
            // The operation has its answer; what is left of a file is the next mount's if this fails.
            let _ = self.forget(ino).await;
        }
        result
    }

    fn fd(&self, path: &Path) -> Result<InodeNo, Errno> {
        self.fds.get(path).map(|fd| fd.ino).ok_or(Errno::BADF)
    }

    fn writable(&self, path: &Path) -> Result<InodeNo, Errno> {
        self.fds.get(path).filter(|fd| fd.writable).map(|fd| fd.ino).ok_or(Errno::BADF)
    }

    /// Runs one entry to its end.
    pub(super) async fn entry<R>(
        &mut self,
        kind: OpKind,
        op: impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<R, Errno> {
        match self.stage.pace {
            Pace::Shipped => self.stage.mount.run(&mut self.call, kind, op).map_err(os),
            Pace::Stepped => self.stepped(kind, op).await,
        }
    }

    async fn perform(&mut self, op: &Op, id: OpId) -> Result<Option<u64>, Errno> {
        match op {
            Op::Mkdir { path, mode } => {
                let place = self.walk(path, Last::Itself)?;
                self.make(&place, FileKind::Directory.mode_bits() | mode & 0o7777, 0).await.map(Some)
            }
            Op::Mknod { path, what, mode } => {
                let place = self.walk(path, Last::Itself)?;
                let (kind, device) = match what {
                    Special::Fifo => (FileKind::Fifo, 0),
                    Special::Char(device) => (FileKind::CharDevice, *device),
                    Special::Block(device) => (FileKind::BlockDevice, *device),
                    Special::Socket => (FileKind::Socket, 0),
                };
                self.make(&place, kind.mode_bits() | mode & 0o7777, device).await.map(Some)
            }
            Op::Symlink { target, path } => {
                let place = self.walk(path, Last::Itself)?;
                self.symlink(&place, target.as_str()).await.map(Some)
            }
            Op::Open { path, flags, mode } => self.open(path, *flags, *mode).await,
            Op::OpenDir { path } => {
                let attr = self.walk_to(path, Last::Follow)?;
                if attr.kind() != Some(FileKind::Directory) {
                    return Err(Errno::NOTDIR);
                }
                self.install(path, &attr, false);
                Ok(Some(attr.ino.0))
            }
            Op::Close { path } => {
                let fd = self.fds.remove(path).ok_or(Errno::BADF)?;
                self.held.push(fd.ino);
                Ok(None)
            }
            Op::Unlink { path } => {
                let place = self.walk(path, Last::Itself)?;
                self.unlink(&place).await.map(|()| None)
            }
            Op::Rmdir { path } => {
                let place = self.walk(path, Last::Itself)?;
                self.rmdir(&place).await.map(|()| None)
            }
            Op::Remove { path } => {
                let place = self.walk(path, Last::Itself)?;
                match self.unlink(&place).await {
                    Err(Errno::ISDIR) => self.rmdir(&place).await.map(|()| None),
                    result => result.map(|()| None),
                }
            }
            Op::Link { from, to } => self.link(from, to).await.map(|()| None),
            Op::Rename { from, to, flags } => self.rename(from, to, *flags).await.map(|()| None),
            Op::SetXattr { path, name, value } => {
                let ino = self.fd(path)?;
                let name = XattrName::new(name.as_bytes()).map_err(os)?;
                let value = value.as_bytes();
                let _ = self
                    .entry(OpKind::Xattr, |fs, call| fs.setxattr(call, ino, name, value, XattrSet::Any))
                    .await?;
                Ok(None)
            }
            Op::RemoveXattr { path, name } => {
                let ino = self.walk_to(path, Last::Follow)?.ino;
                let name = XattrName::new(name.as_bytes()).map_err(os)?;
                let _ = self.entry(OpKind::Xattr, |fs, call| fs.removexattr(call, ino, name)).await?;
                Ok(None)
            }
            Op::Chmod { path, mode } => {
                let set = SetAttr { mode: Some(mode & 0o7777), ..SetAttr::default() };
                self.set_attributes(path, Last::Follow, &set).await
            }
            Op::Chown { path, uid, gid } => {
                // Who changes the owner drops privileges; only regular files and the like have them.
                let set = SetAttr { uid: Some(*uid), gid: Some(*gid), ..SetAttr::default() };
                self.chown(path, set).await
            }
            Op::Utimens { path, seconds } => {
                let to = Some(SetTime::To(Time::new(*seconds, 0)));
                let set = SetAttr { atime: to, mtime: to, ..SetAttr::default() };
                self.set_attributes(path, Last::Follow, &set).await
            }
            _ => self.perform_on_data(op, id).await.map(|()| None),
        }
    }

    async fn perform_on_data(&mut self, op: &Op, id: OpId) -> Result<(), Errno> {
        match op {
            Op::Truncate { path, len } => {
                let attr = self.walk_to(path, Last::Follow)?;
                let len = u64::try_from(*len).map_err(|_| match attr.kind() {
                    Some(FileKind::Directory) => Errno::ISDIR,
                    _ => Errno::INVAL,
                })?;
                self.truncate(attr.ino, len).await
            }
            Op::Falloc { path, mode, off, len } => {
                let ino = self.writable(path)?;
                self.allocate(ino, *mode, *off, *len).await
            }
            Op::Write { path, off, len } => {
                let ino = self.writable(path)?;
                self.write(ino, id, At::Offset(crate::oracle::model::wrapped(*off)), *len).await
            }
            Op::Append { path, len } => {
                let ino = self.writable(path)?;
                self.write(ino, id, At::End, *len).await
            }
            Op::DirectWrite { path, off, len } => {
                let attr = self.walk_to(path, Last::Follow)?;
                regular(&attr)?;
                let off = u64::try_from(*off).map_err(|_| Errno::INVAL)?;
                if !off.is_multiple_of(512) || !len.is_multiple_of(512) {
                    return Err(Errno::INVAL);
                }
                self.write(attr.ino, id, At::Offset(off), *len).await?;
                if let Some(fd) = self.fds.remove(path) {
                    self.held.push(fd.ino);
                }
                self.fsync(attr.ino, bento_user::run::Fsync::All).await
            }
            Op::MmapWrite { path, off, len } => {
                let ino = self.writable(path)?;
                self.allocate(ino, FallocMode::empty(), *off, i64::from(*len)).await?;
                let off = u64::try_from(*off).map_err(|_| Errno::INVAL)?;
                self.write(ino, id, At::Offset(off), *len).await?;
                self.fsync(ino, bento_user::run::Fsync::All).await
            }
            Op::Fsync { path } => {
                let ino = self.fd(path)?;
                self.fsync(ino, bento_user::run::Fsync::All).await
            }
            Op::Fdatasync { path } => {
                let ino = self.fd(path)?;
                self.fsync(ino, bento_user::run::Fsync::Data).await
            }
            Op::Sync => self.sync_all().await,
            _ => Ok(()),
        }
    }

    fn install(&mut self, path: &Path, attr: &Attr, writable: bool) {
        // Counted by the walk that found it; the descriptor keeps that count. One that is replaced stays open.
        if let Some(at) = self.held.iter().position(|ino| *ino == attr.ino) {
            self.held.swap_remove(at);
        }
        self.fds.insert(path.clone(), Fd { ino: attr.ino, writable });
    }

    /// Runs an entry that makes an inode, which counts as used from then on.
    async fn made(
        &mut self,
        kind: OpKind,
        mut op: impl FnMut(
            &dyn FileSystem<UserCall>,
            &mut Call<'_, UserCall>,
        ) -> Result<bento_api::Committed<Attr>, Stop>,
    ) -> Result<Attr, Errno> {
        let attr = self
            .entry(kind, |fs, call| {
                let made = op(fs, call)?.value;
                call.platform.keep(made.ino, made.generation);
                Ok(made)
            })
            .await?;
        self.held.push(attr.ino);
        let _ = self.stage.mount.is_left(&attr);
        Ok(attr)
    }

    async fn make(&mut self, place: &Place, mode: u32, rdev: u32) -> Result<u64, Errno> {
        let (dir, name) = place.vacant()?;
        let node = NewNode { mode, uid: 0, gid: 0, rdev, xattrs: &[] };
        let made =
            self.made(OpKind::Create, |fs, call| fs.create(call, dir, Name::new(name)?, &node)).await?;
        Ok(made.ino.0)
    }

    async fn symlink(&mut self, place: &Place, target: &str) -> Result<u64, Errno> {
        let (dir, name) = place.vacant()?;
        let node = NewNode { mode: 0o777, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let target = target.as_bytes();
        let made = self
            .made(OpKind::Create, |fs, call| fs.symlink(call, dir, Name::new(name)?, target, &node))
            .await?;
        Ok(made.ino.0)
    }

    async fn open(&mut self, path: &Path, flags: OpenFlags, mode: u32) -> Result<Option<u64>, Errno> {
        let mode = FileKind::Regular.mode_bits() | mode & 0o7777;
        if flags.contains(OpenFlags::TMPFILE) {
            let dir = self.walk_to(path, Last::Follow)?.ino;
            let node = NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
            let made = self.made(OpKind::TmpFile, |fs, call| fs.tmpfile(call, dir, &node)).await?;
            self.install(path, &made, true);
            return Ok(Some(made.ino.0));
        }
        let exclusive = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        let last = if exclusive { Last::Itself } else { Last::Follow };
        let mut place = self.walk(path, last)?;
        if place.found.is_none() && flags.contains(OpenFlags::CREATE) {
            match self.make(&place, mode, 0).await {
                Ok(number) => {
                    let attr = Attr { ino: InodeNo(number), ..Attr::default() };
                    self.install(path, &attr, true);
                    return Ok(Some(number));
                }
                // Somebody was faster.
                Err(Errno::EXIST) if !exclusive => place = self.look_again(place)?,
                Err(errno) => return Err(errno),
            }
        }
        let attr = place.found.ok_or(Errno::NOENT)?;
        if exclusive {
            return Err(Errno::EXIST);
        }
        match attr.kind() {
            Some(FileKind::Directory) => return Err(Errno::ISDIR),
            Some(FileKind::Regular) => {}
            _ => return Err(Errno::NXIO),
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            self.truncate(attr.ino, 0).await?;
        }
        self.install(path, &attr, true);
        Ok(Some(attr.ino.0))
    }

    async fn unlink(&mut self, place: &Place) -> Result<(), Errno> {
        if place.name.is_empty() {
            return Err(Errno::ISDIR);
        }
        let (dir, name) = (place.dir, place.name.as_bytes());
        let done = self.entry(OpKind::Unlink, |fs, call| fs.unlink(call, dir, Name::new(name)?)).await?;
        self.lost_a_name(&done.value).await
    }

    async fn rmdir(&mut self, place: &Place) -> Result<(), Errno> {
        if place.name.is_empty() {
            return Err(Errno::BUSY);
        }
        let (dir, name) = (place.dir, place.name.as_bytes());
        let done = self.entry(OpKind::Unlink, |fs, call| fs.rmdir(call, dir, Name::new(name)?)).await?;
        self.lost_a_name(&done.value).await
    }

    async fn link(&mut self, from: &Path, to: &Path) -> Result<(), Errno> {
        let from = self.walk_to(from, Last::Itself)?;
        let place = self.walk(to, Last::Itself)?;
        let (dir, name) = place.vacant()?;
        let done = self
            .entry(OpKind::Link, |fs, call| {
                // A file that lost its last name meanwhile gets no new one: for the VFS to see, which knows O_TMPFILE.
                if fs.getattr(call, from.ino)?.nlink == 0 {
                    fs.lookup(call, dir, Name::new(name)?)?;
                    return Err(bento_api::Errno::Exists.into());
                }
                fs.link(call, from.ino, dir, Name::new(name)?)
            })
            .await?;
        let _ = self.stage.mount.is_left(&done.value);
        Ok(())
    }

    async fn rename(&mut self, from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
        let from = self.walk(from, Last::Itself)?;
        let to = self.walk(to, Last::Itself)?;
        let how = match flags {
            RenameFlags::NOREPLACE => Rename::NoReplace,
            RenameFlags::EXCHANGE => Rename::Exchange,
            RenameFlags::WHITEOUT => Rename::Whiteout,
            flags if flags.is_empty() => Rename::Replace,
            _ => return Err(Errno::INVAL),
        };
        if from.name.is_empty() || to.name.is_empty() {
            return Err(if how == Rename::NoReplace { Errno::EXIST } else { Errno::BUSY });
        }
        let done = self
            .entry(OpKind::Rename, |fs, call| {
                let (from_name, to_name) = (Name::new(from.name.as_bytes())?, Name::new(to.name.as_bytes())?);
                fs.rename(call, (from.dir, from_name), (to.dir, to_name), how)
            })
            .await?;
        match done.value {
            Some(lost) => self.lost_a_name(&lost).await,
            None => Ok(()),
        }
    }

    async fn set_attributes(&mut self, path: &Path, last: Last, set: &SetAttr) -> Result<Option<u64>, Errno> {
        let ino = self.walk_to(path, last)?.ino;
        let _ = self.entry(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, set)).await?;
        Ok(None)
    }

    async fn chown(&mut self, path: &Path, mut set: SetAttr) -> Result<Option<u64>, Errno> {
        let attr = self.walk_to(path, Last::Itself)?;
        if attr.kind() != Some(FileKind::Directory) {
            let mode = attr.mode & !0o4000;
            set.mode = Some(if mode & 0o010 != 0 { mode & !0o2000 } else { mode });
        }
        let _ = self.entry(OpKind::SetAttr, |fs, call| fs.setattr(call, attr.ino, &set)).await?;
        Ok(None)
    }

    /// An inode lost a name: nobody's goes.
    async fn lost_a_name(&mut self, attr: &Attr) -> Result<(), Errno> {
        if self.stage.mount.is_left(attr) { self.evict(attr.ino).await } else { Ok(()) }
    }
}

/// Refuses what has no data of its own.
pub(super) fn regular(attr: &Attr) -> Result<(), Errno> {
    match attr.kind() {
        Some(FileKind::Regular) => Ok(()),
        Some(FileKind::Directory) => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}
