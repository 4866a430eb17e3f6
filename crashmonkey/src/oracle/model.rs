//! A file system by the book, in memory: what each operation answers and what it changes.
//!
//! It knows POSIX and Linux's manual pages, and nothing of the file system under test. Permission is not its
//! business: every caller is root, the umask is 0.

use std::collections::BTreeMap;

use bento_api::{FileKind, Time};
use rustix::io::Errno;

use super::history::{Issued, OpId, Stream};
use super::state::{Cell, Ino, Inode, ROOT, State};
use super::walk::{Last, Place, walk, walk_to};
use crate::jlang::{Op, OpenFlags, Path};

/// An open descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Fd {
    /// Of what.
    pub ino: Ino,
    /// A directory is open for reading only.
    pub writable: bool,
}

/// What an operation works on, its paths resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing, or the whole file system.
    None,
    /// An inode.
    Inode(Ino),
    /// A name in a directory.
    Name(Place),
    /// An inode, and the name that it is to get.
    Link(Ino, Place),
    /// Two names.
    Names(Place, Place),
}

/// Which kind of change an inode saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Attributes only: fdatasync does not wait for it.
    Attributes,
    /// Content, size, entries, or birth.
    Content,
}

/// What an operation changed.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// The inodes, each once.
    pub touched: Vec<(Ino, Touch)>,
    /// The inode that it made or opened.
    pub opened: Option<Ino>,
    /// The inode whose times it set in memory.
    pub timed: Option<Ino>,
}

impl Effect {
    /// Notes a change.
    pub fn touch(&mut self, ino: Ino, touch: Touch) {
        match self.touched.iter_mut().find(|(other, _)| *other == ino) {
            Some((_, noted)) => *noted = touch.max(*noted),
            None => self.touched.push((ino, touch)),
        }
    }
}

/// Who does it, and when.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// The operation.
    pub op: OpId,
    /// Its stream.
    pub stream: Stream,
    /// Its time.
    pub time: Time,
}

/// The running system: the tree, the contents of blocks, the open descriptors.
#[derive(Clone, Debug)]
pub struct Model {
    /// The tree now.
    pub state: State,
    /// All contents that blocks had, dead ones included.
    pub cells: Vec<Cell>,
    /// Descriptors by stream and the path that was opened.
    pub fds: BTreeMap<(Stream, Path), Fd>,
}

impl Model {
    /// A fresh file system, whose root directory has these attributes.
    pub fn new(root_mode: u32, made: Time) -> Model {
        let mut root = Inode::new(FileKind::Directory, root_mode, OpId(0), made);
        root.parent = ROOT;
        Model { state: State::new(root), cells: Vec::new(), fds: BTreeMap::new() }
    }

    /// Resolves the paths of an operation.
    ///
    /// # Errors
    /// The errno with which it fails before it reaches its entry.
    pub fn resolve(&self, issued: &Issued) -> Result<Target, Errno> {
        let state = &self.state;
        let fd = |path: &Path| self.fds.get(&(issued.stream, path.clone())).copied().ok_or(Errno::BADF);
        let writable = |path: &Path| match fd(path)? {
            fd if fd.writable => Ok(Target::Inode(fd.ino)),
            _ => Err(Errno::BADF),
        };
        let name = |path: &Path| walk(state, path.as_str(), Last::Itself).map(Target::Name);
        let existing = |path: &Path, last| walk_to(state, path.as_str(), last).map(Target::Inode);
        match &issued.op {
            Op::Mkdir { path, .. } | Op::Rmdir { path } | Op::Mknod { path, .. } => name(path),
            Op::Unlink { path } | Op::Remove { path } | Op::Symlink { path, .. } => name(path),
            Op::Open { path, flags, .. } if flags.contains(OpenFlags::TMPFILE) => {
                existing(path, Last::Follow)
            }
            Op::Open { path, flags, .. } => {
                let created = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
                let last = if created { Last::Itself } else { Last::Follow };
                walk(state, path.as_str(), last).map(Target::Name)
            }
            Op::OpenDir { path } => existing(path, Last::Follow),
            Op::Close { path } => fd(path).map(|fd| Target::Inode(fd.ino)),
            Op::Link { from, to } => {
                let from = walk_to(state, from.as_str(), Last::Itself)?;
                Ok(Target::Link(from, walk(state, to.as_str(), Last::Itself)?))
            }
            Op::Rename { from, to, .. } => Ok(Target::Names(
                walk(state, from.as_str(), Last::Itself)?,
                walk(state, to.as_str(), Last::Itself)?,
            )),
            Op::Fsync { path } | Op::Fdatasync { path } | Op::SetXattr { path, .. } => {
                fd(path).map(|fd| Target::Inode(fd.ino))
            }
            Op::Falloc { path, .. } | Op::Write { path, .. } | Op::Append { path, .. } => writable(path),
            Op::MmapWrite { path, .. } => writable(path),
            Op::RemoveXattr { path, .. } | Op::Truncate { path, .. } => existing(path, Last::Follow),
            Op::Chmod { path, .. } | Op::Utimens { path, .. } => existing(path, Last::Follow),
            Op::DirectWrite { path, .. } => existing(path, Last::Follow),
            Op::Chown { path, .. } => existing(path, Last::Itself),
            Op::Sync | Op::Nothing | Op::Checkpoint { .. } => Ok(Target::None),
        }
    }

    /// Does an operation whose paths are resolved. One that fails changes nothing.
    ///
    /// # Errors
    /// The errno that it must answer.
    pub fn apply(&mut self, by: By, op: &Op, target: &Target) -> Result<Effect, Errno> {
        match (op, target) {
            (Op::Mkdir { mode, .. }, Target::Name(place)) => {
                self.create(by, place, Inode::new(FileKind::Directory, mode & 0o7777, by.op, by.time))
            }
            (Op::Mknod { what, mode, .. }, Target::Name(place)) => self.mknod(by, place, *what, *mode),
            (Op::Symlink { target, .. }, Target::Name(place)) => self.symlink(by, place, target.as_str()),
            (Op::Open { path, flags, mode }, Target::Name(place)) => {
                self.open(by, path, place, *flags, *mode)
            }
            (Op::Open { path, mode, .. }, Target::Inode(dir)) => self.tmpfile(by, path, *dir, *mode),
            (Op::OpenDir { path }, Target::Inode(ino)) => self.open_dir(by, path, *ino),
            (Op::Close { path }, _) => {
                self.fds.remove(&(by.stream, path.clone()));
                Ok(Effect::default())
            }
            (Op::Unlink { .. }, Target::Name(place)) => self.unlink(by, place),
            (Op::Rmdir { .. }, Target::Name(place)) => self.rmdir(by, place),
            (Op::Remove { .. }, Target::Name(place)) => match self.unlink(by, place) {
                Err(Errno::ISDIR) => self.rmdir(by, place),
                result => result,
            },
            (Op::Link { .. }, Target::Link(ino, place)) => self.link(by, *ino, place),
            (Op::Rename { flags, .. }, Target::Names(from, to)) => self.rename(by, from, to, *flags),
            (Op::SetXattr { name, value, .. }, Target::Inode(ino)) => self.set_xattr(by, *ino, name, value),
            (Op::RemoveXattr { name, .. }, Target::Inode(ino)) => self.remove_xattr(by, *ino, name),
            (Op::Chmod { mode, .. }, Target::Inode(ino)) => {
                self.attributes(by, *ino, |inode| inode.mode = mode & 0o7777)
            }
            (Op::Chown { uid, gid, .. }, Target::Inode(ino)) => self.attributes(by, *ino, |inode| {
                (inode.uid, inode.gid) = (*uid, *gid);
                if !inode.is_dir() {
                    inode.mode = without_privileges(inode.mode);
                }
            }),
            (Op::Utimens { seconds, .. }, Target::Inode(ino)) => {
                self.attributes(by, *ino, |inode| inode.mtime.set(by.op, Time::new(*seconds, 0)))
            }
            (Op::Truncate { len, .. }, Target::Inode(ino)) => self.truncate(by, *ino, *len),
            (Op::Falloc { mode, off, len, .. }, Target::Inode(ino)) => {
                self.allocate(by, *ino, *mode, *off, *len)
            }
            // The original passes the offset as an unsigned 32-bit number; so a negative one lands near 4 GiB.
            (Op::Write { off, len, .. }, Target::Inode(ino)) => {
                self.write(by, *ino, wrapped(*off), u64::from(*len))
            }
            (Op::Append { len, .. }, Target::Inode(ino)) => {
                let end = self.state.get(*ino)?.size.now;
                self.write(by, *ino, end, u64::from(*len))
            }
            (Op::DirectWrite { path, off, len }, Target::Inode(ino)) => {
                self.direct_write(by, path, *ino, *off, *len)
            }
            (Op::MmapWrite { off, len, .. }, Target::Inode(ino)) => self.mapped_write(by, *ino, *off, *len),
            (Op::Fsync { .. } | Op::Fdatasync { .. }, Target::Inode(_)) => Ok(Effect::default()),
            (Op::Sync | Op::Nothing | Op::Checkpoint { .. }, _) => Ok(Effect::default()),
            _ => Err(Errno::INVAL),
        }
    }

    /// Resolves and does an operation at once.
    ///
    /// # Errors
    /// The errno that it must answer.
    pub fn run(&mut self, op: OpId, issued: &Issued) -> Result<Effect, Errno> {
        let target = self.resolve(issued)?;
        self.apply(By { op, stream: issued.stream, time: issued.time }, &issued.op, &target)
    }

    fn attributes(&mut self, by: By, ino: Ino, change: impl FnOnce(&mut Inode)) -> Result<Effect, Errno> {
        let inode = self.state.get_mut(ino)?;
        change(inode);
        inode.change_attributes(by.op, by.time);
        Ok(Effect { touched: vec![(ino, Touch::Attributes)], ..Effect::default() })
    }

    fn set_xattr(&mut self, by: By, ino: Ino, name: &str, value: &str) -> Result<Effect, Errno> {
        check_xattr(self.state.get(ino)?, name)?;
        self.attributes(by, ino, |inode| {
            inode.xattrs.insert(name.to_owned(), value.as_bytes().to_vec());
        })
    }

    fn remove_xattr(&mut self, by: By, ino: Ino, name: &str) -> Result<Effect, Errno> {
        let inode = self.state.get(ino)?;
        check_xattr(inode, name)?;
        if !inode.xattrs.contains_key(name) {
            return Err(Errno::NODATA);
        }
        self.attributes(by, ino, |inode| {
            inode.xattrs.remove(name);
        })
    }
}

/// User attributes are for files and directories only; a name has a known namespace.
fn check_xattr(inode: &Inode, name: &str) -> Result<(), Errno> {
    let (namespace, rest) = name.split_once('.').ok_or(Errno::OPNOTSUPP)?;
    if rest.is_empty() {
        return Err(Errno::INVAL);
    }
    let plain = matches!(inode.kind, FileKind::Regular | FileKind::Directory);
    match namespace {
        "user" if plain => Ok(()),
        "user" => Err(Errno::PERM),
        "trusted" | "security" => Ok(()),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// What chown leaves of a mode: no set-user-id, and no set-group-id on what the group may execute.
fn without_privileges(mode: u32) -> u32 {
    let mode = mode & !0o4000;
    if mode & 0o010 != 0 { mode & !0o2000 } else { mode }
}

/// An offset as the original's adapter passes it on.
pub fn wrapped(off: i64) -> u64 {
    if off < 0 { u64::from(off as u32) } else { off as u64 }
}
