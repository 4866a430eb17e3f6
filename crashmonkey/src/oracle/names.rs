//! Operations on names. Each looks its names up again: between the walk and the entry others may have changed them,
//! and the entry is what decides.

use bento_api::FileKind;
use rustix::io::Errno;

use super::model::{By, Effect, Fd, Model, Touch};
use super::state::{Ino, Inode, ROOT, State};
use super::walk::Place;
use crate::jlang::{OpenFlags, Path, RenameFlags, Special};

const SET_GROUP_ID: u32 = 0o2000;
const NAME_MAX: usize = 255;
const TARGET_MAX: usize = 4095;

impl Model {
    /// The inode that a place names now. The root, and whatever a path of dots names, has no name of its own.
    fn at(&self, place: &Place) -> Result<Option<Ino>, Errno> {
        if place.name.is_empty() {
            return Ok(place.ino);
        }
        let dir = self.state.get(place.dir)?;
        if !dir.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if place.name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(dir.entries.get(&place.name).copied())
    }

    /// A place for a new name.
    fn vacant(&self, place: &Place) -> Result<(), Errno> {
        if self.at(place)?.is_some() {
            return Err(Errno::EXIST);
        }
        self.live_dir(place.dir)
    }

    /// A directory that was removed takes no names.
    fn live_dir(&self, dir: Ino) -> Result<(), Errno> {
        if self.state.get(dir)?.nlink == 0 { Err(Errno::NOENT) } else { Ok(()) }
    }

    /// Puts a name into a directory; `subdir` if it names a directory.
    fn enter(&mut self, by: By, place: &Place, ino: Ino, effect: &mut Effect) -> Result<(), Errno> {
        let is_dir = self.state.get(ino)?.is_dir();
        let dir = self.state.get_mut(place.dir)?;
        dir.entries.insert(place.name.clone(), ino);
        dir.nlink += u32::from(is_dir);
        dir.change_content(by.op, by.time);
        effect.touch(place.dir, Touch::Content);
        if is_dir {
            self.state.get_mut(ino)?.parent = place.dir;
        }
        Ok(())
    }

    /// Takes a name out of a directory.
    fn leave(&mut self, by: By, place: &Place, effect: &mut Effect) -> Result<Ino, Errno> {
        let dir = self.state.get_mut(place.dir)?;
        let ino = dir.entries.remove(&place.name).ok_or(Errno::NOENT)?;
        dir.change_content(by.op, by.time);
        effect.touch(place.dir, Touch::Content);
        if self.state.get(ino)?.is_dir() {
            self.state.get_mut(place.dir)?.nlink -= 1;
        }
        Ok(ino)
    }

    /// An inode loses a name; a directory is gone with its only one.
    fn drop_link(&mut self, by: By, ino: Ino, effect: &mut Effect) -> Result<(), Errno> {
        let inode = self.state.get_mut(ino)?;
        inode.nlink = if inode.is_dir() { 0 } else { inode.nlink - 1 };
        inode.change_attributes(by.op, by.time);
        effect.touch(ino, Touch::Attributes);
        Ok(())
    }

    /// Makes `inode` under a new name. A set-group-id directory passes its group on, and the bit to directories.
    pub(super) fn create(&mut self, by: By, place: &Place, mut inode: Inode) -> Result<Effect, Errno> {
        self.vacant(place)?;
        let dir = self.state.get(place.dir)?;
        if dir.mode & SET_GROUP_ID != 0 {
            inode.gid = dir.gid;
            if inode.is_dir() {
                inode.mode |= SET_GROUP_ID;
            }
        }
        let ino = self.state.add(inode);
        let mut effect =
            Effect { touched: vec![(ino, Touch::Content)], opened: Some(ino), ..Effect::default() };
        self.enter(by, place, ino, &mut effect)?;
        Ok(effect)
    }

    pub(super) fn mknod(&mut self, by: By, place: &Place, what: Special, mode: u32) -> Result<Effect, Errno> {
        let (kind, rdev) = match what {
            Special::Fifo => (FileKind::Fifo, 0),
            Special::Char(device) => (FileKind::CharDevice, device),
            Special::Block(device) => (FileKind::BlockDevice, device),
            Special::Socket => (FileKind::Socket, 0),
        };
        let mut inode = Inode::new(kind, mode & 0o7777, by.op, by.time);
        inode.rdev = rdev;
        self.create(by, place, inode)
    }

    pub(super) fn symlink(&mut self, by: By, place: &Place, target: &str) -> Result<Effect, Errno> {
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if target.len() > TARGET_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut inode = Inode::new(FileKind::Symlink, 0o777, by.op, by.time);
        inode.target = target.to_owned();
        self.create(by, place, inode)
    }

    pub(super) fn open(
        &mut self,
        by: By,
        path: &Path,
        place: &Place,
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Effect, Errno> {
        let effect = match self.at(place)? {
            Some(_) if flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) => return Err(Errno::EXIST),
            Some(ino) => {
                match self.state.get(ino)?.kind {
                    FileKind::Directory => return Err(Errno::ISDIR),
                    FileKind::Regular => {}
                    // Other kinds belong to drivers, not to the file system.
                    _ => return Err(Errno::NXIO),
                }
                let mut effect = if flags.contains(OpenFlags::TRUNCATE) {
                    self.truncate(by, ino, 0)?
                } else {
                    Effect::default()
                };
                effect.opened = Some(ino);
                effect
            }
            None if flags.contains(OpenFlags::CREATE) => {
                self.create(by, place, Inode::new(FileKind::Regular, mode & 0o7777, by.op, by.time))?
            }
            None => return Err(Errno::NOENT),
        };
        if let Some(ino) = effect.opened {
            self.fds.insert((by.stream, path.clone()), Fd { ino, writable: true });
        }
        Ok(effect)
    }

    pub(super) fn open_dir(&mut self, by: By, path: &Path, ino: Ino) -> Result<Effect, Errno> {
        if !self.state.get(ino)?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        self.fds.insert((by.stream, path.clone()), Fd { ino, writable: false });
        Ok(Effect { opened: Some(ino), ..Effect::default() })
    }

    pub(super) fn tmpfile(&mut self, by: By, path: &Path, dir: Ino, mode: u32) -> Result<Effect, Errno> {
        if !self.state.get(dir)?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        self.live_dir(dir)?;
        let mut inode = Inode::new(FileKind::Regular, mode & 0o7777, by.op, by.time);
        inode.nlink = 0;
        let ino = self.state.add(inode);
        self.fds.insert((by.stream, path.clone()), Fd { ino, writable: true });
        Ok(Effect { touched: vec![(ino, Touch::Content)], opened: Some(ino), ..Effect::default() })
    }

    pub(super) fn unlink(&mut self, by: By, place: &Place) -> Result<Effect, Errno> {
        let ino = self.at(place)?.ok_or(Errno::NOENT)?;
        if self.state.get(ino)?.is_dir() {
            return Err(Errno::ISDIR);
        }
        let mut effect = Effect::default();
        self.leave(by, place, &mut effect)?;
        self.drop_link(by, ino, &mut effect)?;
        Ok(effect)
    }

    pub(super) fn rmdir(&mut self, by: By, place: &Place) -> Result<Effect, Errno> {
        let ino = self.at(place)?.ok_or(Errno::NOENT)?;
        if ino == ROOT {
            return Err(Errno::BUSY);
        }
        let inode = self.state.get(ino)?;
        if !inode.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if !inode.entries.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        let mut effect = Effect::default();
        self.leave(by, place, &mut effect)?;
        self.drop_link(by, ino, &mut effect)?;
        Ok(effect)
    }

    pub(super) fn link(&mut self, by: By, ino: Ino, place: &Place) -> Result<Effect, Errno> {
        self.vacant(place)?;
        let inode = self.state.get(ino)?;
        if inode.is_dir() {
            return Err(Errno::PERM);
        }
        if inode.nlink == 0 {
            return Err(Errno::NOENT);
        }
        let mut effect = Effect::default();
        self.enter(by, place, ino, &mut effect)?;
        let inode = self.state.get_mut(ino)?;
        inode.nlink += 1;
        inode.change_attributes(by.op, by.time);
        effect.touch(ino, Touch::Attributes);
        Ok(effect)
    }

    pub(super) fn rename(
        &mut self,
        by: By,
        from: &Place,
        to: &Place,
        flags: RenameFlags,
    ) -> Result<Effect, Errno> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        if exchange && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT) {
            return Err(Errno::INVAL);
        }
        if from.name.is_empty() || to.name.is_empty() {
            return Err(if flags.contains(RenameFlags::NOREPLACE) { Errno::EXIST } else { Errno::BUSY });
        }
        let moved = self.at(from)?.ok_or(Errno::NOENT)?;
        let target = self.at(to)?;
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Errno::EXIST);
        }
        if exchange && target.is_none() {
            return Err(Errno::NOENT);
        }
        let target_error = if exchange { Errno::INVAL } else { Errno::NOTEMPTY };
        if is_within(&self.state, to.dir, moved) {
            return Err(Errno::INVAL);
        }
        if target.is_some_and(|target| is_within(&self.state, from.dir, target)) {
            return Err(target_error);
        }
        self.live_dir(to.dir)?;
        if target == Some(moved) {
            return Ok(Effect::default());
        }
        if !exchange {
            self.check_replace(moved, target)?;
        }
        self.move_name(by, from, to, flags)
    }

    /// Like replaces like, and a directory must be empty.
    fn check_replace(&self, moved: Ino, target: Option<Ino>) -> Result<(), Errno> {
        let Some(target) = target else { return Ok(()) };
        let (moved, target) = (self.state.get(moved)?, self.state.get(target)?);
        match (moved.is_dir(), target.is_dir()) {
            (true, false) => Err(Errno::NOTDIR),
            (false, true) => Err(Errno::ISDIR),
            (true, true) if !target.entries.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    fn move_name(&mut self, by: By, from: &Place, to: &Place, flags: RenameFlags) -> Result<Effect, Errno> {
        let mut effect = Effect::default();
        let moved = self.leave(by, from, &mut effect)?;
        let target = match self.at(to)? {
            Some(_) => Some(self.leave(by, to, &mut effect)?),
            None => None,
        };
        self.enter(by, to, moved, &mut effect)?;
        let mut renamed = vec![moved];
        match target {
            Some(target) if flags.contains(RenameFlags::EXCHANGE) => {
                self.enter(by, from, target, &mut effect)?;
                renamed.push(target);
            }
            Some(target) => self.drop_link(by, target, &mut effect)?,
            None => {}
        }
        if flags.contains(RenameFlags::WHITEOUT) {
            let whiteout = Inode::new(FileKind::CharDevice, 0, by.op, by.time);
            let made = self.create(by, from, whiteout)?;
            made.touched.iter().for_each(|(ino, touch)| effect.touch(*ino, *touch));
        }
        for ino in renamed {
            // Whether the moved inode's own change time moves is the file system's choice.
            let inode = self.state.get_mut(ino)?;
            let before = inode.ctime.clone();
            inode.change_attributes(by.op, by.time);
            inode.ctime.or = Some(before.time.now);
            effect.touch(ino, Touch::Attributes);
        }
        Ok(effect)
    }
}

/// Whether a directory is `ancestor` or lies below it.
fn is_within(state: &State, mut dir: Ino, ancestor: Ino) -> bool {
    // No deeper than there are inodes, whatever the parents say.
    for _ in 0..=u16::MAX {
        if dir == ancestor {
            return true;
        }
        match state.get(dir) {
            Ok(inode) if dir != ROOT => dir = inode.parent,
            _ => return false,
        }
    }
    true
}
