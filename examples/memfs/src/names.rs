//! Operations on names.
//!
//! # Locking
//! the lock of moves -> names of directories, an ancestor before its descendants and else by number -> attributes,
//! a leaf. Only a move between directories changes who is whose ancestor, so only it takes the lock of moves.
use crate::Memfs;
use crate::node::{Names, Node};
use bento_api::{
    Attr, Cursor, DirEntry, Emit, Errno, FileKind, InodeNo, Name, NewNode, Platform, Rename, Stop, Time,
};
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Cookies 1 and 2 are behind `.` and `..`.
const FIRST_COOKIE: u64 = 2;

impl Memfs {
    pub(crate) fn do_lookup<P: Platform>(
        &self,
        platform: &P,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Attr, Stop> {
        let dir = self.inodes.get(dir)?;
        let node = dir.names()?.get(name.bytes()).cloned().ok_or(Errno::NotFound)?;
        Ok(node.attr(platform))
    }

    pub(crate) fn do_create<P: Platform>(
        &self,
        platform: &P,
        dir: InodeNo,
        name: Name<'_>,
        new: &NewNode<'_>,
        target: &[u8],
    ) -> Result<Attr, Stop> {
        let dir = self.inodes.get(dir)?;
        let now = platform.now();
        let mut names = dir.names_mut()?;
        if names.get(name.bytes()).is_some() {
            return Err(Errno::Exists.into());
        }
        let is_dir = FileKind::of_mode(new.mode).ok_or(Errno::Invalid)? == FileKind::Directory;
        let (parent, ()) = dir.change(platform, |meta| {
            meta.modified(now);
            meta.attr.nlink += u32::from(is_dir);
        });
        let node = Node::new(self.inodes.number(), new, &parent, now, target)?;
        let attr = node.meta.lock().attr;
        names.insert(name.bytes(), self.inodes.insert(node));
        Ok(attr)
    }

    pub(crate) fn do_tmpfile<P: Platform>(
        &self,
        platform: &P,
        dir: InodeNo,
        new: &NewNode<'_>,
    ) -> Result<Attr, Stop> {
        let dir = self.inodes.get(dir)?;
        dir.dir()?;
        let mode = FileKind::Regular.mode_bits() | new.mode & 0o7777;
        let new = NewNode { mode, ..*new };
        let mut node = Node::new(self.inodes.number(), &new, &dir.attr(platform), platform.now(), &[])?;
        let meta = node.meta.get_mut();
        meta.attr.nlink = 0;
        meta.unnamed = true;
        let attr = meta.attr;
        self.inodes.insert(node);
        Ok(attr)
    }

    pub(crate) fn do_link<P: Platform>(
        &self,
        platform: &P,
        ino: InodeNo,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Attr, Stop> {
        let (node, dir) = (self.inodes.get(ino)?, self.inodes.get(dir)?);
        if node.kind == FileKind::Directory {
            return Err(Errno::NotPermitted.into());
        }
        let now = platform.now();
        let mut names = dir.names_mut()?;
        if names.get(name.bytes()).is_some() {
            return Err(Errno::Exists.into());
        }
        let (attr, linked) = node.change(platform, |meta| {
            if meta.attr.nlink == 0 && !meta.unnamed {
                return Err(Errno::NotFound);
            }
            meta.attr.nlink = meta.attr.nlink.checked_add(1).ok_or(Errno::TooManyLinks)?;
            meta.unnamed = false;
            meta.changed(now);
            Ok(())
        });
        linked?;
        names.insert(name.bytes(), node);
        dir.change(platform, |meta| meta.modified(now));
        Ok(attr)
    }

    pub(crate) fn do_unlink<P: Platform>(
        &self,
        platform: &P,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Attr, Stop> {
        let dir = self.inodes.get(dir)?;
        let now = platform.now();
        let mut names = dir.names_mut()?;
        let node = names.get(name.bytes()).ok_or(Errno::NotFound)?;
        if node.kind == FileKind::Directory {
            return Err(Errno::IsDirectory.into());
        }
        let node = names.remove(name.bytes()).ok_or(Errno::NotFound)?;
        dir.change(platform, |meta| meta.modified(now));
        Ok(lose_name(platform, &node, now))
    }

    pub(crate) fn do_rmdir<P: Platform>(
        &self,
        platform: &P,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Attr, Stop> {
        let dir = self.inodes.get(dir)?;
        let now = platform.now();
        let mut names = dir.names_mut()?;
        let node = names.get(name.bytes()).cloned().ok_or(Errno::NotFound)?;
        bury(&node)?;
        names.remove(name.bytes());
        dir.change(platform, |meta| {
            meta.attr.nlink -= 1;
            meta.modified(now);
        });
        Ok(lose_name(platform, &node, now))
    }

    pub(crate) fn do_readdir<P: Platform>(
        &self,
        platform: &P,
        dir: InodeNo,
        from: Cursor,
        emit: Emit,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop> {
        let dir = self.inodes.get(dir)?;
        let mut give = |name: &[u8], node: &Node, next: u64| {
            let attr = (emit == Emit::Attributes).then(|| node.attr(platform));
            let entry = DirEntry {
                name,
                ino: node.ino,
                kind: Some(node.kind),
                next: Cursor(next),
                attr: attr.as_ref(),
            };
            sink(&entry)
        };
        if from.0 < 1 && !give(b".", &dir, 1) {
            return Ok(false);
        }
        if from.0 < FIRST_COOKIE && !give(b"..", self.parent_of(&dir)?.as_ref(), FIRST_COOKIE) {
            return Ok(false);
        }
        let start = usize::try_from(from.0.saturating_sub(FIRST_COOKIE)).map_err(|_| Errno::Invalid)?;
        for (slot, entry) in dir.names()?.from(start) {
            let next = u64::try_from(slot).map_err(|_| Errno::Capacity)? + FIRST_COOKIE + 1;
            if !give(&entry.name, &entry.node, next) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn parent_of(&self, dir: &Node) -> Result<Arc<Node>, Stop> {
        Ok(self.inodes.get(InodeNo(dir.dir()?.parent.load(Relaxed)))?)
    }

    /// Whether `node` is `of` or one of the directories above it. The lock of moves is held.
    fn is_above(&self, node: &Node, of: &Arc<Node>) -> Result<bool, Stop> {
        let mut at = Arc::clone(of);
        while at.ino != node.ino {
            let parent = self.parent_of(&at)?;
            if parent.ino == at.ino {
                return Ok(false);
            }
            at = parent;
        }
        Ok(true)
    }

    pub(crate) fn do_rename<P: Platform>(
        &self,
        platform: &P,
        from: (InodeNo, Name<'_>),
        to: (InodeNo, Name<'_>),
        how: Rename,
    ) -> Result<Option<Attr>, Stop> {
        let (old_dir, new_dir) = (self.inodes.get(from.0)?, self.inodes.get(to.0)?);
        let crosses = old_dir.ino != new_dir.ino;
        let _moves = crosses.then(|| self.moves.lock());
        let mut pair = self.lock_pair(&old_dir, &new_dir)?;
        let moved = pair.source().get(from.1.bytes()).cloned().ok_or(Errno::NotFound)?;
        let target = pair.target().get(to.1.bytes()).cloned();
        match (how, &target) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::Exists.into()),
            (Rename::Exchange, None) => return Err(Errno::NotFound.into()),
            (_, Some(target)) if target.ino == moved.ino => return Ok(None),
            _ => {}
        }
        if crosses {
            self.check_loops((&old_dir, &moved), (&new_dir, target.as_deref()), how)?;
        }
        let now = platform.now();
        let lost = match (how, target) {
            (Rename::Exchange, Some(target)) => {
                pair.source().replace(from.1.bytes(), Arc::clone(&target));
                pair.target().replace(to.1.bytes(), Arc::clone(&moved));
                arrive(platform, &target, &new_dir, &old_dir, now);
                None
            }
            (_, Some(target)) => {
                replace_kind(&moved, &target)?;
                pair.target().replace(to.1.bytes(), Arc::clone(&moved));
                pair.source().remove(from.1.bytes());
                if target.kind == FileKind::Directory {
                    new_dir.change(platform, |meta| meta.attr.nlink -= 1);
                }
                Some(lose_name(platform, &target, now))
            }
            (_, None) => {
                pair.target().insert(to.1.bytes(), Arc::clone(&moved));
                pair.source().remove(from.1.bytes());
                None
            }
        };
        if how == Rename::Whiteout {
            let new =
                NewNode { mode: FileKind::CharDevice.mode_bits(), uid: 0, gid: 0, rdev: 0, xattrs: &[] };
            let node = Node::new(self.inodes.number(), &new, &old_dir.attr(platform), now, &[])?;
            pair.source().insert(from.1.bytes(), self.inodes.insert(node));
        }
        arrive(platform, &moved, &old_dir, &new_dir, now);
        old_dir.change(platform, |meta| meta.modified(now));
        if crosses {
            new_dir.change(platform, |meta| meta.modified(now));
        }
        Ok(lost)
    }

    /// Neither of the two that move may be above the directory that it moves to.
    fn check_loops(
        &self,
        (old_dir, moved): (&Arc<Node>, &Node),
        (new_dir, target): (&Arc<Node>, Option<&Node>),
        how: Rename,
    ) -> Result<(), Stop> {
        if moved.kind == FileKind::Directory && self.is_above(moved, new_dir)? {
            return Err(Errno::Invalid.into());
        }
        match target {
            Some(target) if target.kind == FileKind::Directory && self.is_above(target, old_dir)? => {
                Err(if how == Rename::Exchange { Errno::Invalid } else { Errno::NotEmpty }.into())
            }
            _ => Ok(()),
        }
    }

    /// Locks the names of the two directories of a rename, in order.
    fn lock_pair<'n>(&self, old: &'n Arc<Node>, new: &'n Arc<Node>) -> Result<Pair<'n>, Stop> {
        if old.ino == new.ino {
            return Ok(Pair { old: old.names_mut()?, new: None });
        }
        let old_first = self.is_above(old, new)? || !self.is_above(new, old)? && old.ino < new.ino;
        if old_first {
            let old = old.names_mut()?;
            Ok(Pair { old, new: Some(new.names_mut()?) })
        } else {
            let new = new.names_mut()?;
            Ok(Pair { old: old.names_mut()?, new: Some(new) })
        }
    }
}

/// The names of the two directories of a rename, which may be one.
struct Pair<'n> {
    old: RwLockWriteGuard<'n, Names>,
    new: Option<RwLockWriteGuard<'n, Names>>,
}

impl Pair<'_> {
    fn source(&mut self) -> &mut Names {
        &mut self.old
    }

    fn target(&mut self) -> &mut Names {
        self.new.as_deref_mut().unwrap_or(&mut self.old)
    }
}

/// `node` moved from one directory to another.
fn arrive<P: Platform>(platform: &P, node: &Node, from: &Node, to: &Node, now: Time) {
    node.change(platform, |meta| meta.changed(now));
    if let (Ok(dir), true) = (node.dir(), from.ino != to.ino) {
        dir.parent.store(to.ino.0, Relaxed);
        from.change(platform, |meta| meta.attr.nlink -= 1);
        to.change(platform, |meta| meta.attr.nlink += 1);
    }
}

/// Whether `moved` may replace `target`; a directory is buried at once.
fn replace_kind(moved: &Node, target: &Node) -> Result<(), Stop> {
    match (moved.kind, target.kind) {
        (FileKind::Directory, FileKind::Directory) => bury(target),
        (FileKind::Directory, _) => Err(Errno::NotDirectory.into()),
        (_, FileKind::Directory) => Err(Errno::IsDirectory.into()),
        _ => Ok(()),
    }
}

/// Marks an empty directory as removed.
fn bury(node: &Node) -> Result<(), Stop> {
    let mut names = node.dir()?.names.write();
    if !names.is_empty() {
        return Err(Errno::NotEmpty.into());
    }
    names.removed = true;
    Ok(())
}

/// A name of the inode is gone; a directory has only one.
fn lose_name<P: Platform>(platform: &P, node: &Node, now: Time) -> Attr {
    let lost = node.change(platform, |meta| {
        let links = if node.kind == FileKind::Directory { 0 } else { meta.attr.nlink - 1 };
        meta.attr.nlink = links;
        meta.changed(now);
    });
    lost.0
}
