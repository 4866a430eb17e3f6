//! Rename: one name moves, another may go.
//!
//! # Locking
//! The rename lock if a move crosses directories; then both directories, then the moved and the replaced inode.
//!
//! # Crash
//! One transaction: the old name or the new one, never both, never neither.
use super::node::fill;
use crate::dir::Found;
use crate::format::prov::{Entry, What};
use crate::format::{Corruption, Inode};
use crate::op::{Locked, Op, Touch, attr};
use crate::variant::{Event, Fault, Recording, Variant};
use bento_api::{
    Attr, BlockNo, Committed, Errno, FileKind, InodeNo, Name, NewNode, Platform, Rename, Stop, Wait,
};

/// Marks the part of the cursor that holds a walk to the root.
const WALK: u64 = 0x5741_4c4b;
/// Blocks that a walk pins before it lets go of them.
const WALK_PINS: u32 = 48;
/// Directories on the way to the root, at most: a longer way is a loop.
const DEEPEST: u64 = 1 << 24;

/// One end of a move.
struct End<'n> {
    dir: Locked,
    name: Name<'n>,
    found: Option<Found>,
}

/// The directories of a move: one or two.
struct Parents {
    from: Inode,
    to: Inode,
    are_two: bool,
}

impl Parents {
    fn to(&mut self) -> &mut Inode {
        if self.are_two { &mut self.to } else { &mut self.from }
    }
}

fn is_directory(inode: &Inode) -> bool {
    inode.kind() == Some(FileKind::Directory)
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    #[inline(never)] // two inodes are large: not in the caller's frame too
    pub(super) fn rename(
        self,
        (from_dir, from): (InodeNo, Name<'_>),
        (to_dir, to): (InodeNo, Name<'_>),
        how: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        let mut op = self;
        if from_dir != to_dir {
            op.platform().lock_rename();
        }
        let (from_dir, to_dir) = op.lock_first([from_dir, to_dir])?;
        let mut parents = Parents { from: Inode::free(0), to: Inode::free(0), are_two: from_dir != to_dir };
        op.load_directory(from_dir.no(), &mut parents.from)?;
        if parents.are_two {
            op.load_directory(to_dir.no(), &mut parents.to)?;
        }
        let source = op.dir_find(from_dir.no(), &parents.from, from)?.ok_or(Errno::NotFound)?;
        let target = op.dir_find(to_dir.no(), parents.to(), to)?;
        match (target, how) {
            (Some(_), Rename::NoReplace) => return Err(Errno::Exists.into()),
            (None, Rename::Exchange) => return Err(Errno::NotFound.into()),
            (Some(target), _) if V::FAULT == Fault::SplitRename && target.ino == source.ino => {
                op.dir_remove(from_dir, &mut parents.from, from, &source)?;
                op.put_parent(from_dir, &mut parents.from)?;
                return op.commit(None);
            }
            // Two names of one inode: POSIX wants nothing to happen.
            (Some(target), _) if target.ino == source.ino => return Ok(op.unchanged(None)),
            _ => {}
        }
        let from = End { dir: from_dir, name: from, found: Some(source) };
        let to = End { dir: to_dir, name: to, found: target };
        let moved = op.lock_found(source.ino)?;
        let replaced = match target {
            Some(target) => Some(op.lock_found(target.ino)?),
            None => None,
        };
        op.check_loops(&from, &to, how)?;
        if how == Rename::Exchange {
            return op.exchange(&mut parents, &from, &to);
        }
        op.move_name(&mut parents, (&from, moved), (&to, replaced), how)
    }

    #[inline(never)] // an inode is large, and only one fact of it is wanted
    fn is_directory_at(&self, ino: InodeNo) -> Result<bool, Stop> {
        let mut inode = Inode::free(0);
        self.load_named(ino, &mut inode)?;
        Ok(is_directory(&inode))
    }

    /// A directory must not move below itself.
    #[inline(never)] // as move_name()
    fn check_loops(&mut self, from: &End<'_>, to: &End<'_>, how: Rename) -> Result<(), Stop> {
        if from.dir == to.dir {
            return Ok(());
        }
        let exchanged = if how == Rename::Exchange { to.found } else { None };
        if let Some(source) = from.found
            && self.is_directory_at(source.ino)?
            && !exchanged.is_some_and(|target| self.is_walking_for(target.ino))
        {
            self.check_not_below(to.dir.no(), source.ino)?;
        }
        if let Some(target) = exchanged
            && self.is_directory_at(target.ino)?
        {
            self.check_not_below(from.dir.no(), target.ino)?;
        }
        Ok(())
    }

    /// Whether an earlier attempt began this walk, and so ended the one before it.
    fn is_walking_for(&self, above: InodeNo) -> bool {
        let [.., kind, _, version, _] = self.platform().cursor();
        kind == (WALK ^ above.0) && version == self.platform().tree_version()
    }

    /// Walks from a directory to the root; EINVAL if `above` is on the way. A long way is walked in several attempts,
    /// which hold as long as no directory moved in between.
    #[inline(never)] // what it walks through is large
    fn check_not_below(&mut self, dir: InodeNo, above: InodeNo) -> Result<(), Stop> {
        let [a, b, c, d, kind, at, version, steps] = self.platform().cursor();
        let now = self.platform().tree_version();
        let goes_on = kind == (WALK ^ above.0) && version == now;
        let (mut at, mut steps) = if goes_on { (InodeNo(at), steps) } else { (dir, 0) };
        let mut pins = 0;
        let mut inode = Inode::free(0);
        while at != crate::format::geometry::ROOT {
            if at == above {
                return Err(Errno::Invalid.into());
            }
            if steps > DEEPEST {
                return Err(self.corrupt(Corruption::InodeParent, BlockNo(0), at));
            }
            if pins >= WALK_PINS {
                self.platform().set_cursor([a, b, c, d, WALK ^ above.0, at.0, now, steps]);
                return Err(Wait::Again.into());
            }
            self.load_named(at, &mut inode)?;
            at = inode.parent;
            pins += 1;
            steps = steps.saturating_add(1);
        }
        if above == at { Err(Errno::Invalid.into()) } else { Ok(()) }
    }

    #[inline(never)] // the search before it needs none of what is here
    fn move_name(
        self,
        parents: &mut Parents,
        (from, moved): (&End<'_>, Locked),
        (to, replaced): (&End<'_>, Option<Locked>),
        how: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        let mut op = self;
        let source = from.found.ok_or(Errno::NotFound)?;
        let directory = op.adopt(moved, to)?;
        let lost = op.displace(directory, parents, to, replaced)?;
        let other = lost.map(|lost| (lost.ino, lost.generation));
        let kind = source.kind;
        if V::FAULT == Fault::SplitRename {
            // The seeded fault: the new name in a transaction of its own; the next attempt finds both, and removes one.
            op.enter(parents, to, moved.no(), kind)?;
            op.put_parents(from, to, parents)?;
            let _ = op.commit(())?;
            return Err(Wait::Again.into());
        }
        op.enter(parents, to, moved.no(), kind)?;
        if how == Rename::Whiteout {
            op.leave_whiteout(&parents.from, from, &source)?;
        } else {
            op.dir_remove(from.dir, &mut parents.from, from.name, &source)?;
        }
        if directory && from.dir != to.dir {
            parents.from.nlink = parents.from.nlink.saturating_sub(1);
            parents.to().nlink = parents.to().nlink.saturating_add(1);
        }
        op.put_parents(from, to, parents)?;
        op.tell_move(What::Rename, from, to, (moved.no(), other), how)?;
        if directory && from.dir != to.dir {
            op.platform().raise_tree_version();
        }
        op.commit(lost)
    }

    /// Puts the moved inode under its new directory; whether it is one itself.
    #[inline(never)] // an inode is large, and the directories' are on the stack already
    fn adopt(&mut self, moved: Locked, to: &End<'_>) -> Result<bool, Stop> {
        let mut inode = Inode::free(0);
        self.load_named(moved.no(), &mut inode)?;
        let directory = is_directory(&inode);
        if directory {
            inode.parent = to.dir.no();
        }
        inode.ctime = self.now();
        self.put_inode(moved, &mut inode, Touch::Data)?;
        Ok(directory)
    }

    /// Takes the replaced inode's name away.
    #[inline(never)] // as adopt()
    fn displace(
        &mut self,
        directory: bool,
        parents: &mut Parents,
        to: &End<'_>,
        replaced: Option<Locked>,
    ) -> Result<Option<Attr>, Stop> {
        let Some(at) = replaced else { return Ok(None) };
        let mut inode = Inode::free(0);
        self.load_named(at.no(), &mut inode)?;
        match (directory, is_directory(&inode)) {
            (true, false) => return Err(Errno::NotDirectory.into()),
            (false, true) => return Err(Errno::IsDirectory.into()),
            (true, true) => {
                if at == to.dir || !self.dir_is_empty(at.no(), &inode)? {
                    return Err(Errno::NotEmpty.into());
                }
                parents.to().nlink = parents.to().nlink.saturating_sub(1);
            }
            (false, false) => {}
        }
        self.drop_link(at, &mut inode)?;
        Ok(Some(attr(at.no(), &inode)))
    }

    fn enter(&mut self, parents: &mut Parents, to: &End<'_>, ino: InodeNo, kind: u8) -> Result<(), Stop> {
        match &to.found {
            Some(found) => self.dir_replace(to.dir, parents.to(), found, ino, kind),
            None => self.dir_insert(to.dir, parents.to(), to.name, ino, kind),
        }
    }

    #[inline(never)] // as adopt()
    fn leave_whiteout(&mut self, parent: &Inode, from: &End<'_>, source: &Found) -> Result<(), Stop> {
        let group = self.volume.geometry.inode_bit(from.dir.no()).ok_or(Errno::Stale)?.0;
        let mut inode = Inode::free(0);
        let whiteout = self.new_inode(group, &mut inode)?;
        let (uid, gid) = (self.call.caller.uid, self.call.caller.gid);
        let node = NewNode { mode: 0, uid, gid, rdev: 0, xattrs: &[] };
        fill(&mut inode, (from.dir.no(), parent), FileKind::CharDevice, &node, self.now());
        self.put_inode(whiteout, &mut inode, Touch::Data)?;
        self.dir_replace(from.dir, parent, source, whiteout.no(), FileKind::CharDevice.dirent_type())
    }

    #[inline(never)] // as move_name()
    fn exchange(
        self,
        parents: &mut Parents,
        from: &End<'_>,
        to: &End<'_>,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        let mut op = self;
        let (Some(source), Some(target)) = (from.found, to.found) else { return Err(Errno::NotFound.into()) };
        let (source_at, target_at) = (op.lock_found(source.ino)?, op.lock_found(target.ino)?);
        let source_dir = op.adopt(source_at, to)?;
        let target_dir = op.adopt(target_at, from)?;
        op.dir_replace(from.dir, &parents.from, &source, target.ino, target.kind)?;
        op.dir_replace(to.dir, parents.to(), &target, source.ino, source.kind)?;
        if source_dir != target_dir && from.dir != to.dir {
            let (less, more) = if source_dir { (1, 0) } else { (0, 1) };
            parents.from.nlink = parents.from.nlink.saturating_add(more).saturating_sub(less);
            parents.to().nlink = parents.to().nlink.saturating_add(less).saturating_sub(more);
        }
        op.put_parents(from, to, parents)?;
        let other = op.other(target.ino)?;
        op.tell_move(What::Exchange, from, to, (source.ino, other), Rename::Exchange)?;
        if (source_dir || target_dir) && from.dir != to.dir {
            op.platform().raise_tree_version();
        }
        op.commit(None)
    }

    /// The generation of an exchanged inode, if somebody wants to record it.
    #[inline(never)] // an inode is large
    fn other(&self, ino: InodeNo) -> Result<Option<(InodeNo, u32)>, Stop> {
        match V::RECORDING {
            Recording::No => Ok(None),
            Recording::Yes => {
                let mut inode = Inode::free(0);
                self.load_named(ino, &mut inode)?;
                Ok(Some((ino, inode.generation)))
            }
        }
    }

    #[inline(never)] // an inode is large, and rename is deep
    fn tell_move(
        &mut self,
        what: What,
        from: &End<'_>,
        to: &End<'_>,
        (moved, other): (InodeNo, Option<(InodeNo, u32)>),
        how: Rename,
    ) -> Result<(), Stop> {
        self.tell(|op| {
            let mut inode = Inode::free(0);
            op.load_named(moved, &mut inode)?;
            let object = inode.object(moved);
            let to = Entry { dir: to.dir.no(), name: to.name.bytes() };
            let whiteout = how == Rename::Whiteout;
            Ok(Event { to, other, whiteout, ..Event::named(what, object, from.dir.no(), from.name) })
        })
    }

    fn put_parents(&mut self, from: &End<'_>, to: &End<'_>, parents: &mut Parents) -> Result<(), Stop> {
        self.put_parent(from.dir, &mut parents.from)?;
        if parents.are_two { self.put_parent(to.dir, &mut parents.to) } else { Ok(()) }
    }
}
