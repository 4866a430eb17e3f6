//! Names: create, link, unlink, rename, readdir.
use super::{ROOT, World, error, named};
use bento_api::{Attr, Cursor, Emit, Errno, Evicted, FileKind, FileSystem, InodeNo, NewNode, Rename, Stop};

impl World {
    fn rename(&self, from: (InodeNo, &str), to: (InodeNo, &str), how: Rename) -> Result<Option<Attr>, Stop> {
        let moved = self.fs.rename(&mut self.call(), (from.0, named(from.1)), (to.0, named(to.1)), how);
        moved.map(|moved| moved.value)
    }

    fn list(&self, dir: InodeNo, from: Cursor, most: usize) -> (Vec<String>, Cursor) {
        let (mut names, mut next) = (Vec::new(), from);
        let end = self.fs.readdir(&mut self.call(), dir, from, Emit::Attributes, &mut |entry| {
            if names.len() == most {
                return false;
            }
            assert_eq!(entry.attr.map(|attr| attr.ino), Some(entry.ino));
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            next = entry.next;
            true
        });
        end.unwrap();
        (names, next)
    }
}

#[test]
fn a_name_is_found_until_it_is_removed() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    assert_eq!(world.find(ROOT, "a"), Ok(file));
    assert_eq!(error(world.make(ROOT, "a", FileKind::Regular)), Errno::Exists);
    let gone = world.fs.unlink(&mut world.call(), ROOT, named("a")).unwrap().value;
    assert_eq!(gone.nlink, 0);
    assert_eq!(error(world.find(ROOT, "a")), Errno::NotFound);
    assert_eq!(world.attr(file).nlink, 0);
    assert_eq!(world.fs.evict(&mut world.call(), file).unwrap().value, Evicted::Gone);
    assert_eq!(error(world.fs.getattr(&mut world.call(), file)), Errno::Stale);
}

#[test]
fn links_are_counted_and_a_linked_file_is_not_evicted() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    assert_eq!(world.fs.link(&mut world.call(), file, ROOT, named("b")).unwrap().value.nlink, 2);
    let _ = world.fs.unlink(&mut world.call(), ROOT, named("a")).unwrap();
    assert_eq!(world.fs.evict(&mut world.call(), file).unwrap().value, Evicted::InUse);
    let _ = world.fs.unlink(&mut world.call(), ROOT, named("b")).unwrap();
    assert_eq!(error(world.fs.link(&mut world.call(), file, ROOT, named("c"))), Errno::NotFound);
    let dir = world.dir(ROOT, "d");
    assert_eq!(error(world.fs.link(&mut world.call(), dir, ROOT, named("e"))), Errno::NotPermitted);
}

#[test]
fn a_file_without_a_name_can_get_one() {
    let world = World::new();
    let node = NewNode { mode: 0o600, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
    let file = world.fs.tmpfile(&mut world.call(), ROOT, &node).unwrap().value;
    assert_eq!((file.nlink, file.kind()), (0, Some(FileKind::Regular)));
    assert_eq!(world.fs.link(&mut world.call(), file.ino, ROOT, named("a")).unwrap().value.nlink, 1);
}

#[test]
fn directories_count_their_parents_and_are_removed_only_when_empty() {
    let world = World::new();
    let dir = world.dir(ROOT, "d");
    let inner = world.dir(dir, "e");
    assert_eq!((world.attr(ROOT).nlink, world.attr(dir).nlink, world.attr(inner).nlink), (3, 3, 2));
    assert_eq!(error(world.fs.rmdir(&mut world.call(), ROOT, named("d"))), Errno::NotEmpty);
    assert_eq!(error(world.fs.unlink(&mut world.call(), ROOT, named("d"))), Errno::IsDirectory);
    let _ = world.fs.rmdir(&mut world.call(), dir, named("e")).unwrap();
    let _ = world.fs.rmdir(&mut world.call(), ROOT, named("d")).unwrap();
    assert_eq!(world.attr(ROOT).nlink, 2);
    assert_eq!(error(world.make(dir, "f", FileKind::Regular)), Errno::NotFound);
}

#[test]
fn a_move_of_a_directory_takes_its_parent_and_its_link_along() {
    let world = World::new();
    let (a, b) = (world.dir(ROOT, "a"), world.dir(ROOT, "b"));
    let moved = world.dir(a, "m");
    assert_eq!(world.rename((a, "m"), (b, "n"), Rename::Replace), Ok(None));
    assert_eq!(world.find(b, "n"), Ok(moved));
    assert_eq!(world.fs.parent(&mut world.call(), moved).unwrap().ino, b);
    assert_eq!((world.attr(a).nlink, world.attr(b).nlink), (2, 3));
    assert_eq!(error(world.rename((ROOT, "b"), (moved, "x"), Rename::Replace)), Errno::Invalid);
    assert_eq!(error(world.rename((moved, "none"), (b, "n"), Rename::Replace)), Errno::NotFound);
    world.file(moved, "f");
    assert_eq!(error(world.rename((moved, "f"), (ROOT, "b"), Rename::Replace)), Errno::NotEmpty);
    assert_eq!(error(world.rename((ROOT, "a"), (b, "n"), Rename::Replace)), Errno::NotEmpty);
}

#[test]
fn rename_answers_who_lost_its_name() {
    let world = World::new();
    let (a, b) = (world.file(ROOT, "a"), world.file(ROOT, "b"));
    assert_eq!(error(world.rename((ROOT, "a"), (ROOT, "b"), Rename::NoReplace)), Errno::Exists);
    let lost = world.rename((ROOT, "a"), (ROOT, "b"), Rename::Replace).unwrap().unwrap();
    assert_eq!((lost.ino, lost.nlink), (b, 0));
    assert_eq!(world.find(ROOT, "b"), Ok(a));
    assert_eq!(error(world.find(ROOT, "a")), Errno::NotFound);
    let dir = world.dir(ROOT, "d");
    assert_eq!(error(world.rename((ROOT, "b"), (ROOT, "d"), Rename::Replace)), Errno::IsDirectory);
    assert_eq!(error(world.rename((ROOT, "d"), (ROOT, "b"), Rename::Replace)), Errno::NotDirectory);
    let inner = world.dir(dir, "e");
    assert_eq!(world.rename((dir, "e"), (ROOT, "b"), Rename::Exchange), Ok(None));
    assert_eq!((world.find(dir, "e"), world.find(ROOT, "b")), (Ok(a), Ok(inner)));
    assert_eq!((world.attr(ROOT).nlink, world.attr(dir).nlink), (4, 2));
}

#[test]
fn a_whiteout_stays_where_the_name_was() {
    let world = World::new();
    world.file(ROOT, "a");
    assert_eq!(world.rename((ROOT, "a"), (ROOT, "b"), Rename::Whiteout), Ok(None));
    let whiteout = world.attr(world.find(ROOT, "a").unwrap());
    assert_eq!((whiteout.kind(), whiteout.rdev), (Some(FileKind::CharDevice), 0));
}

#[test]
fn a_listing_goes_on_where_it_stopped_however_the_directory_changes() {
    let world = World::new();
    for name in ["a", "b", "c", "d", "e"] {
        world.file(ROOT, name);
    }
    let (first, next) = world.list(ROOT, Cursor(0), 4);
    assert_eq!(first, [".", "..", "a", "b"]);
    for name in ["a", "b", "d"] {
        let _ = world.fs.unlink(&mut world.call(), ROOT, named(name)).unwrap();
    }
    assert_eq!(world.list(ROOT, next, 100).0, ["c", "e"]);
}

#[test]
fn threads_that_move_directories_across_each_other_make_no_loop_and_no_deadlock() {
    let world = World::new();
    let (a, b) = (world.dir(ROOT, "a"), world.dir(ROOT, "b"));
    let (x, y) = (world.dir(a, "x"), world.dir(b, "y"));
    std::thread::scope(|scope| {
        for (from, to) in
            [((a, "x"), (y, "x")), ((b, "y"), (x, "y")), ((y, "x"), (a, "x")), ((x, "y"), (b, "y"))]
        {
            let world = &world;
            scope
                .spawn(move || (0..2000).filter(|_| world.rename(from, to, Rename::Replace).is_ok()).count());
        }
        let world = &world;
        scope.spawn(move || {
            for _ in 0..2000 {
                let _ = world.fs.rmdir(&mut world.call(), a, named("x"));
            }
        });
    });
    for dir in [x, y] {
        let mut at = dir;
        let steps = (0..5).take_while(|_| {
            at = world.fs.parent(&mut world.call(), at).unwrap().ino;
            at != ROOT
        });
        assert!(steps.count() < 5, "directory {dir} is in a loop");
    }
}
