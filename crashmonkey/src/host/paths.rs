//! Paths to inodes, by lookups. A walk happens at once, whatever the pace.

use bento_api::{Attr, BLOCK, FileKind, InodeNo, Name, OpKind};
use rustix::io::Errno;

use super::actor::{Actor, os};
use crate::jlang::Path;

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Follow,
    Itself,
}

/// Where a path ends.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: InodeNo,
    /// Empty for the root.
    pub(super) name: String,
    pub(super) found: Option<Attr>,
}

impl Place {
    /// A place for a new name. Whether it is taken is for the entry to say, unless it can have no name.
    pub(super) fn vacant(&self) -> Result<(InodeNo, &[u8]), Errno> {
        if self.name.is_empty() { Err(Errno::EXIST) } else { Ok((self.dir, self.name.as_bytes())) }
    }
}

/// Links followed in one walk before ELOOP.
const LINKS: usize = 40;

/// The names in a path, the last first.
fn components(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect()
}

impl Actor<'_> {
    /// Walks from the root. Inodes on the way count as used until the operation ends.
    pub(super) fn walk(&mut self, path: &Path, last: Last) -> Result<Place, Errno> {
        let root = self.look(InodeNo(0), "")?;
        let mut left = components(path.as_str());
        let mut place = Place { dir: root.ino, name: String::new(), found: Some(root) };
        let mut links = 0;
        while let Some(name) = left.pop() {
            let dir = place.found.ok_or(Errno::NOENT)?;
            if dir.kind() != Some(FileKind::Directory) {
                return Err(Errno::NOTDIR);
            }
            if name == ".." {
                let parent = self.look(dir.ino, "..")?;
                place = Place { dir: parent.ino, name: String::new(), found: Some(parent) };
                continue;
            }
            let found = match self.look(dir.ino, &name) {
                Ok(attr) => Some(attr),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno),
            };
            place = Place { dir: dir.ino, name, found };
            let Some(attr) = found else { continue };
            if attr.kind() == Some(FileKind::Symlink) && (!left.is_empty() || last == Last::Follow) {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP);
                }
                left.extend(components(&self.target(attr.ino)?));
                place = Place { dir: dir.ino, name: String::new(), found: Some(dir) };
            }
        }
        Ok(place)
    }

    /// Walks to something that must exist.
    pub(super) fn walk_to(&mut self, path: &Path, last: Last) -> Result<Attr, Errno> {
        self.walk(path, last)?.found.ok_or(Errno::NOENT)
    }

    /// Looks again where a walk ended.
    pub(super) fn look_again(&mut self, place: Place) -> Result<Place, Errno> {
        let found = match self.look(place.dir, &place.name) {
            Err(Errno::NOENT) => None,
            found => Some(found?),
        };
        Ok(Place { found, ..place })
    }

    /// Looks a name up; no directory is the root's.
    fn look(&mut self, dir: InodeNo, name: &str) -> Result<Attr, Errno> {
        let mount = &self.stage.mount;
        let found = mount.run(&mut self.call, OpKind::Read, |fs, call| {
            let attr = match name {
                "" => fs.getattr(call, fs.root()),
                ".." => fs.parent(call, dir),
                _ => fs.lookup(call, dir, Name::new(name.as_bytes())?),
            }?;
            call.platform.keep(attr.ino, attr.generation);
            Ok(attr)
        });
        let attr = found.map_err(os)?;
        self.held.push(attr.ino);
        Ok(attr)
    }

    fn target(&mut self, ino: InodeNo) -> Result<String, Errno> {
        let mut target = vec![0; BLOCK];
        let mount = &self.stage.mount;
        let len = mount
            .run(&mut self.call, OpKind::Read, |fs, call| fs.readlink(call, ino, &mut target))
            .map_err(os)?;
        target.truncate(len);
        String::from_utf8(target).map_err(|_| Errno::INVAL)
    }
}
