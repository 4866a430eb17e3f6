//! Requests per system call: what the kernel's caches save, and what nothing saves.

use super::*;
use std::fs::File;

type Act<'a> = Box<dyn FnOnce() + 'a>;
/// What is done, how, and the requests that it costs.
type Row<'a> = (&'a str, Act<'a>, &'a [(Opcode, u64)]);

/// A directory of everything, and nothing of it cached.
fn cold() -> Fixture {
    let f = Fixture::new();
    for dir in ["a", "b", "c"] {
        fs::create_dir(f.path(dir)).unwrap();
    }
    for file in ["a/file", "a/other", "b/one", "b/two", "b/log", "c/x", "c/y"] {
        fs::write(f.path(file), vec![7; 16384]).unwrap();
    }
    symlink("file", f.path("a/link")).unwrap();
    f.remount(ServerOptions::default())
}

#[test]
fn each_system_call_costs_the_requests_of_the_table() {
    use Opcode::*;
    let f = &cold();
    // The directories are known from here on, with fresh attributes.
    for dir in ["a", "b", "c"] {
        rustix::fs::lstat(f.path(dir)).unwrap();
    }
    let stat = |name| -> Act<'_> { Box::new(move || look(&f.path(name))) };
    let birth = |name| -> Act<'_> { Box::new(move || assert!(fs::symlink_metadata(f.path(name)).is_ok())) };
    let read_all = |name| -> Act<'_> {
        Box::new(move || {
            let file = File::open(f.path(name)).unwrap();
            assert_eq!(rustix::io::read(&file, &mut [0; 16384]), Ok(16384));
        })
    };
    let list = |name: &'static str| -> Act<'_> {
        Box::new(move || {
            let name = f.path(name);
            names(&name).iter().for_each(|entry| look(&name.join(entry)));
        })
    };
    let create = |name| -> Act<'_> { Box::new(move || drop(File::create_new(f.path(name)).unwrap())) };
    let append = || -> Act<'_> {
        Box::new(|| {
            let mut file = OpenOptions::new().append(true).open(f.path("b/log")).unwrap();
            file.write_all(b"line").unwrap();
        })
    };
    let readlink = || -> Act<'_> { Box::new(|| drop(fs::read_link(f.path("a/link")))) };
    // Linux 6.6 and later; before, the kernel says that it does not know.
    let asks_for_birth = f.server.connection().negotiated().minor >= 39;
    let table: Vec<Row<'_>> = vec![
        ("stat, cold", stat("a/file"), &[(Lookup, 1)]),
        ("stat, warm", stat("a/file"), &[]),
        (
            "statx with the time of birth, cold",
            birth("a/file"),
            if asks_for_birth { &[(Statx, 1)] } else { &[] },
        ),
        ("statx with the time of birth, warm", birth("a/file"), &[]),
        ("stat of no file, cold", stat("a/none"), &[(Lookup, 1)]),
        ("stat of no file, warm", stat("a/none"), &[]),
        ("open, read, close, cold", read_all("a/other"), &[(Lookup, 1), (Read, 1)]),
        ("open, read, close, warm", read_all("a/other"), &[]),
        ("stat after the first read: the time of access is stale", stat("a/other"), &[(Getattr, 1)]),
        ("stat after that", stat("a/other"), &[]),
        ("readlink, cold", readlink(), &[(Lookup, 1), (Readlink, 1)]),
        ("readlink, warm", readlink(), &[]),
        ("readdir and stat of all, cold", list("c"), &[(Readdirplus, 2)]),
        ("readdir and stat of all: the time of access is stale", list("c"), &[(Getattr, 1)]),
        ("readdir and stat of all, warm", list("c"), &[]),
        ("append, first", append(), &[(Lookup, 1), (Getxattr, 1), (Write, 1)]),
        ("append, then", append(), &[(Write, 1)]),
        ("create in a directory just looked at", create("b/new"), &[(Lookup, 1), (Create, 1)]),
        ("create", create("b/newer"), &[(Getattr, 1), (Lookup, 1), (Create, 1)]),
        ("unlink", Box::new(|| fs::remove_file(f.path("b/new")).unwrap()), &[(Getattr, 1), (Unlink, 1)]),
        (
            "rename",
            Box::new(|| fs::rename(f.path("b/newer"), f.path("b/newest")).unwrap()),
            &[(Getattr, 1), (Lookup, 1), (Rename, 1)],
        ),
        ("statfs", Box::new(|| assert!(rustix::fs::statfs(f.dir.path()).is_ok())), &[(Statfs, 1)]),
        ("fsync", Box::new(|| File::open(f.path("a")).unwrap().sync_all().unwrap()), &[(Fsyncdir, 1)]),
    ];
    let mut wrong = Vec::new();
    for (what, act, expected) in table {
        let counted = f.requests(act);
        if sorted(&counted) != sorted(expected) {
            wrong.push(format!("{what}: {counted:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// stat(2), which unlike statx(2) does not ask for the time of birth.
fn look(path: &Path) {
    let _ = rustix::fs::lstat(path);
}

fn sorted(counts: &[(Opcode, u64)]) -> Vec<(u32, u64)> {
    let mut counts: Vec<_> = counts.iter().map(|&(op, count)| (op.raw(), count)).collect();
    counts.sort_unstable();
    counts
}

#[test]
fn opens_and_closes_are_asked_about_once_in_the_life_of_a_mount() {
    let f = Fixture::new();
    let prime = std::ffi::OsStr::new(".\u{1}prime");
    assert!(!f.dir.path().join(prime).exists(), "the file that the kernel learned from is gone");
    let first = f.requests(|| {
        fs::write(f.path("file"), b"data").unwrap();
        read(&f.path("file"));
        names(f.dir.path());
    });
    for op in [Opcode::Open, Opcode::Opendir, Opcode::Flush, Opcode::Release, Opcode::Releasedir] {
        assert!(first.iter().all(|&(seen, _)| seen != op), "{first:?}");
        assert!(f.server.counts().get(op) <= 1, "{op:?}");
    }
}

#[test]
fn the_kernel_gives_back_every_reference_that_it_was_given() {
    let f = cold();
    for dir in ["a", "b", "c"] {
        names(&f.path(dir)).iter().for_each(|name| drop(fs::symlink_metadata(f.path(dir).join(name))));
    }
    let memory = f.server.handler();
    let inodes = memory.inodes();
    fs::remove_file(f.path("a/file")).unwrap();
    wait_until(|| memory.inodes() == inodes - 1);
    let open = File::open(f.path("a/other")).unwrap();
    fs::remove_file(f.path("a/other")).unwrap();
    assert_eq!(memory.inodes(), inodes - 1, "an open file lives on without a name");
    drop(open);
    wait_until(|| memory.inodes() == inodes - 2);
}

/// FORGETs have no reply, so nothing else tells that one has come.
fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < BUDGET, "the FORGET never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}
