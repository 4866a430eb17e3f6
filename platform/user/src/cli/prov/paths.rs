//! Names in directories as paths: where each directory was when something happened in it.
use crate::provenance::{Event, Named};
use bento_api::{FileKind, InodeNo};
use bento_fs::format::geometry::ROOT;
use bento_fs::format::prov::What;
use rustc_hash::FxHashMap;

/// Directories on the way to the root, at most: a longer way is a loop.
const DEEPEST: usize = 4096;

/// Where directories are.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    dirs: FxHashMap<InodeNo, Named>,
}

impl Paths {
    /// Starts with directories that are known from now.
    pub(super) fn new(way: &[(InodeNo, InodeNo, Vec<u8>)]) -> Self {
        let known = way.iter().map(|(ino, dir, name)| (*ino, Named { dir: *dir, name: name.clone() }));
        Self { dirs: known.collect() }
    }

    /// What an event makes of them.
    pub(super) fn follow(&mut self, event: &Event) {
        if FileKind::of_mode(event.object.mode.into()) != Some(FileKind::Directory) {
            return;
        }
        let now = match event.what {
            What::Create => &event.name,
            What::Rename | What::Exchange => &event.to,
            _ => return,
        };
        if let Some(now) = now {
            self.dirs.insert(event.object.ino, now.clone());
        }
    }

    /// The path of a name, from the volume's root.
    pub(super) fn of(&self, named: &Named) -> Vec<u8> {
        let mut parts = vec![named.name.clone()];
        let mut dir = named.dir;
        while dir != ROOT && parts.len() < DEEPEST {
            let Some(up) = self.dirs.get(&dir) else {
                parts.push(format!("<directory {dir}>").into_bytes());
                break;
            };
            parts.push(up.name.clone());
            dir = up.dir;
        }
        parts.push(Vec::new());
        parts.reverse();
        parts.join(&b'/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_nothing_tells_of_is_shown_by_its_number() {
        let paths =
            Paths::new(&[(InodeNo(20), ROOT, b"a".to_vec()), (InodeNo(21), InodeNo(20), b"b".to_vec())]);
        let of = |dir| paths.of(&Named { dir: InodeNo(dir), name: b"x".to_vec() });
        assert_eq!([of(1), of(21), of(30)], [&b"/x"[..], b"/a/b/x", b"/<directory 30>/x"]);
    }

    #[test]
    fn directories_that_lie_in_each_other_end_somewhere() {
        let paths = Paths::new(&[
            (InodeNo(20), InodeNo(21), b"a".to_vec()),
            (InodeNo(21), InodeNo(20), b"b".to_vec()),
        ]);
        assert!(paths.of(&Named { dir: InodeNo(20), name: b"x".to_vec() }).ends_with(b"/x"));
    }
}
