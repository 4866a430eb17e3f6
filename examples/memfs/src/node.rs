//! An inode: attributes under one small lock, the names or the blocks under another.
use crate::extents::Extents;
use bento_api::{Attr, BLOCK_BYTES, Errno, FileKind, InodeNo, NewNode, Platform, Stop, Time};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What is known of an inode. Its lock is a leaf: nobody takes another while holding it.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) attr: Attr,
    pub(crate) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// An O_TMPFILE that was never linked: no link counts as its last one yet.
    pub(crate) unnamed: bool,
}

impl Meta {
    /// Notes a change of the inode itself.
    pub(crate) fn changed(&mut self, now: Time) {
        self.attr.ctime = now;
        self.attr.version += 1;
    }

    /// Notes a change of the content.
    pub(crate) fn modified(&mut self, now: Time) {
        self.attr.mtime = now;
        self.changed(now);
    }
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<[u8]>,
    pub(crate) node: Arc<Node>,
}

/// The names of a directory. An entry stays in its slot, whose number is its cookie.
#[derive(Debug, Default)]
pub(crate) struct Names {
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    index: HashMap<Arc<[u8]>, usize>,
    /// The directory was removed: nothing can be made in it.
    pub(crate) removed: bool,
}

impl Names {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<Node>> {
        self.slots.get(*self.index.get(name)?)?.as_ref().map(|entry| &entry.node)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The entries at and after a slot, with their slots.
    pub(crate) fn from(&self, slot: usize) -> impl Iterator<Item = (usize, &Entry)> {
        let rest = self.slots.iter().enumerate().skip(slot);
        rest.filter_map(|(slot, entry)| entry.as_ref().map(|entry| (slot, entry)))
    }

    /// Adds a name that is not there.
    pub(crate) fn insert(&mut self, name: &[u8], node: Arc<Node>) {
        let name: Arc<[u8]> = name.into();
        let entry = Some(Entry { name: Arc::clone(&name), node });
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        if let Some(place) = self.slots.get_mut(slot) {
            *place = entry;
        }
        self.index.insert(name, slot);
    }

    /// Makes a name that is there name another inode; answers the one before.
    pub(crate) fn replace(&mut self, name: &[u8], node: Arc<Node>) -> Option<Arc<Node>> {
        let entry = self.slots.get_mut(*self.index.get(name)?)?.as_mut()?;
        Some(std::mem::replace(&mut entry.node, node))
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let slot = self.index.remove(name)?;
        let entry = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(entry.node)
    }
}

/// A directory's own part.
#[derive(Debug)]
pub(crate) struct Dir {
    pub(crate) names: RwLock<Names>,
    pub(crate) parent: AtomicU64,
}

/// What makes an inode what it is.
#[derive(Debug)]
pub(crate) enum Body {
    Dir(Dir),
    File(RwLock<File>),
    Symlink(Box<[u8]>),
    Special,
}

/// A regular file's blocks, and the ranges that placements are open for.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) extents: Extents,
    pub(crate) open: Vec<(u32, std::ops::Range<u64>)>,
}

/// An inode.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) ino: InodeNo,
    pub(crate) kind: FileKind,
    pub(crate) meta: Mutex<Meta>,
    pub(crate) body: Body,
}

impl Node {
    /// An inode as `node` asks for, in a directory whose attributes are `parent`.
    pub(crate) fn new(
        ino: InodeNo,
        node: &NewNode<'_>,
        parent: &Attr,
        now: Time,
        target: &[u8],
    ) -> Result<Self, Errno> {
        let kind = FileKind::of_mode(node.mode).ok_or(Errno::Invalid)?;
        let is_dir = kind == FileKind::Directory;
        let inherits = parent.mode & 0o2000 != 0;
        let attr = Attr {
            ino,
            size: if is_dir { BLOCK_BYTES } else { u64::try_from(target.len()).unwrap_or(0) },
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            version: 1,
            mode: node.mode | if inherits && is_dir { 0o2000 } else { 0 },
            nlink: if is_dir { 2 } else { 1 },
            uid: node.uid,
            gid: if inherits { parent.gid } else { node.gid },
            rdev: node.rdev,
            generation: 1,
            project: parent.project,
            ..Attr::default()
        };
        let body = match kind {
            FileKind::Directory => {
                Body::Dir(Dir { names: RwLock::default(), parent: AtomicU64::new(parent.ino.0) })
            }
            FileKind::Regular => Body::File(RwLock::default()),
            FileKind::Symlink => Body::Symlink(target.into()),
            _ => Body::Special,
        };
        let xattrs = node.xattrs.iter().map(|(name, value)| (name.bytes().into(), (*value).into())).collect();
        Ok(Self { ino, kind, meta: Mutex::new(Meta { attr, xattrs, unnamed: false }), body })
    }

    /// The attributes, with what the slot knows better. The platform's slot is looked at under the inode's lock, and
    /// its newer times move here, so that they are newer in one place only.
    pub(crate) fn attr<P: Platform>(&self, platform: &P) -> Attr {
        let mut meta = self.meta.lock();
        self.fold_times(platform, &mut meta);
        meta.attr
    }

    /// Changes the attributes.
    pub(crate) fn change<P: Platform, R>(&self, platform: &P, f: impl FnOnce(&mut Meta) -> R) -> (Attr, R) {
        let mut meta = self.meta.lock();
        self.fold_times(platform, &mut meta);
        let reply = f(&mut meta);
        (meta.attr, reply)
    }

    fn fold_times<P: Platform>(&self, platform: &P, meta: &mut Meta) {
        platform.slot(self.ino, |slot| {
            if slot.times_dirty != 0 {
                slot.times_dirty = 0;
                meta.attr.atime = slot.atime;
                meta.attr.mtime = slot.mtime;
                meta.attr.ctime = slot.ctime;
                meta.attr.version = slot.version;
            }
        });
    }

    pub(crate) fn dir(&self) -> Result<&Dir, Stop> {
        match &self.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::NotDirectory.into()),
        }
    }

    /// The names of a directory, to look at.
    pub(crate) fn names(&self) -> Result<RwLockReadGuard<'_, Names>, Stop> {
        Ok(self.dir()?.names.read())
    }

    /// The names of a directory that was not removed, to change.
    pub(crate) fn names_mut(&self) -> Result<RwLockWriteGuard<'_, Names>, Stop> {
        let names = self.dir()?.names.write();
        if names.removed { Err(Errno::NotFound.into()) } else { Ok(names) }
    }

    /// The blocks of a regular file.
    pub(crate) fn file(&self) -> Result<&RwLock<File>, Stop> {
        match &self.body {
            Body::File(file) => Ok(file),
            Body::Dir(_) => Err(Errno::IsDirectory.into()),
            _ => Err(Errno::Invalid.into()),
        }
    }
}

/// `st_blocks` of so many blocks.
pub(crate) fn sectors(blocks: u64) -> u64 {
    blocks * (BLOCK_BYTES / 512)
}
