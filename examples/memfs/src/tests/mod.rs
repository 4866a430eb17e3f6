//! What the file system answers, without a host.
mod data;
mod names;
mod platform;

use crate::Memfs;
use bento_api::{Attr, Call, Caller, Errno, FileKind, FileSystem, InodeNo, Name, NewNode, Stop, Time};
use platform::Clock;

const ROOT: InodeNo = InodeNo(1);

/// A file system of 1,000 blocks and the platform under it.
struct World {
    fs: Memfs,
    platform: Clock,
}

impl World {
    fn new() -> Self {
        Self { fs: Memfs::new(1001, 0, 0, Time::new(-1, 0)).unwrap(), platform: Clock::default() }
    }

    fn call(&self) -> Call<'_, Clock> {
        Call::new(&self.platform, Caller::default())
    }

    fn make(&self, dir: InodeNo, name: &str, kind: FileKind) -> Result<Attr, Stop> {
        let node = NewNode { mode: kind.mode_bits() | 0o644, uid: 1, gid: 2, rdev: 0, xattrs: &[] };
        self.fs.create(&mut self.call(), dir, named(name), &node).map(|made| made.value)
    }

    fn file(&self, dir: InodeNo, name: &str) -> InodeNo {
        self.make(dir, name, FileKind::Regular).unwrap().ino
    }

    fn dir(&self, dir: InodeNo, name: &str) -> InodeNo {
        self.make(dir, name, FileKind::Directory).unwrap().ino
    }

    fn attr(&self, ino: InodeNo) -> Attr {
        self.fs.getattr(&mut self.call(), ino).unwrap()
    }

    fn find(&self, dir: InodeNo, name: &str) -> Result<InodeNo, Stop> {
        self.fs.lookup(&mut self.call(), dir, named(name)).map(|attr| attr.ino)
    }
}

fn named(name: &str) -> Name<'_> {
    Name::new(name.as_bytes()).unwrap()
}

fn error<T: std::fmt::Debug>(reply: Result<T, Stop>) -> Errno {
    match reply {
        Err(Stop::Error(errno)) => errno,
        other => panic!("no error but {other:?}"),
    }
}
