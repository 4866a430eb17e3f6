//! Paths to inodes.

use bento_api::FileKind;
use rustix::io::Errno;

use super::state::{Ino, ROOT, State};

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Yes.
    Follow,
    /// No: the link itself is meant.
    Itself,
}

/// Where a path ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory that its last name is in.
    pub dir: Ino,
    /// The last name; empty for the root.
    pub name: String,
    /// What that name is at present.
    pub ino: Option<Ino>,
}

/// Links followed in one walk before ELOOP.
const LINKS: usize = 40;
/// The longest name.
const NAME_MAX: usize = 255;

/// Walks `path` from the root.
pub fn walk(state: &State, path: &str, last: Last) -> Result<Place, Errno> {
    let mut left: Vec<String> = components(path);
    let mut place = Place { dir: ROOT, name: String::new(), ino: Some(ROOT) };
    let mut links = 0;
    while let Some(name) = left.pop() {
        let dir = place.ino.ok_or(Errno::NOENT)?;
        let inode = state.get(dir)?;
        if !inode.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if name == ".." {
            place = Place { dir: inode.parent, name: String::new(), ino: Some(inode.parent) };
            continue;
        }
        let ino = inode.entries.get(&name).copied();
        place = Place { dir, name, ino };
        let Some(found) = ino else { continue };
        let found = state.get(found)?;
        if found.kind == FileKind::Symlink && (!left.is_empty() || last == Last::Follow) {
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP);
            }
            // Go on from the link's own directory.
            left.extend(components(&found.target));
            place = Place { dir, name: String::new(), ino: Some(dir) };
        }
    }
    Ok(place)
}

/// The names in a path, the last first.
fn components(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect()
}

/// Walks to something that must exist.
pub fn walk_to(state: &State, path: &str, last: Last) -> Result<Ino, Errno> {
    walk(state, path, last)?.ino.ok_or(Errno::NOENT)
}
