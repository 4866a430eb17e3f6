//! Requests per system call on the real file system: what the kernel's caches save, and what nothing saves. The table is
//! that of the FUSE host's own test; here the file system could break it, by answers that may not be cached.

use super::Place;
use bento_user::fuse::abi::Opcode;
use bento_user::fuse::mount::{Access, Detach, Mount, MountOptions, mount};
use bento_user::fuse::prime::prime;
use bento_user::fuse::{Connection, InitConfig, Opens, Server, ServerOptions};
use bento_user::server::Bento;
use bento_user::session::{Session, SessionOptions};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done, how, and the requests that it costs.
type Row<'a> = (&'a str, Box<dyn Fn() + 'a>, &'a [(Opcode, u64)]);

/// A volume served by the test itself.
pub struct Served {
    place: Place,
    mount: Mount,
    server: Server<Bento>,
    session: Arc<Session>,
}

impl Served {
    fn on(place: Place) -> Self {
        let session = Session::open(&place.image(), &SessionOptions::default()).unwrap();
        Self::by(place, session)
    }

    /// Serves an open session.
    pub fn by(place: Place, session: Session) -> Self {
        let session = Arc::new(session);
        let (device, mount) = mount(&place.dir(), &MountOptions::image(place.image())).unwrap();
        let connection = Connection::handshake(device, &InitConfig::for_access(Access::Everybody)).unwrap();
        let server = Server::start(
            connection,
            Bento::new(session.clone(), Opens::Stateless),
            ServerOptions::default(),
        )
        .unwrap();
        prime(&place.dir(), Opens::Stateless).unwrap();
        Self { place, mount, server, session }
    }

    pub fn end(self) -> Place {
        self.mount.unmount(Detach::IfIdle).unwrap();
        self.server.wait();
        self.session.close().unwrap();
        self.place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.file(name)
    }

    /// The requests that something causes. FORGETs are left out: they come when the kernel likes.
    fn requests(&self, act: impl FnOnce()) -> Vec<(Opcode, u64)> {
        let counts = || Opcode::ALL.iter().map(|&op| (op, self.server.counts().get(op)));
        let before: Vec<_> = counts().collect();
        act();
        let risen = counts().zip(before).map(|((op, after), (_, before))| (op, after - before));
        risen.filter(|&(op, n)| n > 0 && !matches!(op, Opcode::Forget | Opcode::BatchForget)).collect()
    }
}

/// A directory of everything, and nothing of it cached.
fn cold() -> Served {
    let place = Place::with_image(64);
    place.mount("").well();
    for dir in ["a", "b", "c"] {
        fs::create_dir(place.file(dir)).unwrap();
    }
    for file in ["a/file", "a/other", "b/log", "b/old", "c/x", "c/y"] {
        fs::write(place.file(file), vec![7; 16384]).unwrap();
    }
    std::os::unix::fs::symlink("file", place.file("a/link")).unwrap();
    place.umount().well();
    Served::on(place)
}

/// stat(2), which unlike statx(2) does not ask for the time of birth.
fn look(path: &Path) {
    let _ = rustix::fs::lstat(path);
}

fn read(path: &Path) {
    let file = File::open(path).unwrap();
    assert_eq!(rustix::io::read(&file, &mut [0; 16384]), Ok(16384));
}

fn list(path: &Path) {
    let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.iter().for_each(|name| look(name));
}

fn append(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"line").unwrap();
}

#[test]
fn each_system_call_costs_the_requests_of_the_table_on_the_real_file_system() {
    use Opcode::*;
    let served = &cold();
    let path = |name| served.path(name);
    // The directories are known from here on, with fresh attributes.
    ["a", "b", "c"].iter().for_each(|dir| look(&path(dir)));
    let table: Vec<Row<'_>> = vec![
        ("stat, cold", Box::new(|| look(&path("a/file"))), &[(Lookup, 1)]),
        ("stat, warm", Box::new(|| look(&path("a/file"))), &[]),
        ("stat of no file, cold", Box::new(|| look(&path("a/none"))), &[(Lookup, 1)]),
        ("stat of no file, warm", Box::new(|| look(&path("a/none"))), &[]),
        ("open, read, close, cold", Box::new(|| read(&path("a/other"))), &[(Lookup, 1), (Read, 1)]),
        ("open, read, close, warm", Box::new(|| read(&path("a/other"))), &[]),
        ("readlink, cold", Box::new(|| drop(fs::read_link(path("a/link")))), &[(Lookup, 1), (Readlink, 1)]),
        ("readlink, warm", Box::new(|| drop(fs::read_link(path("a/link")))), &[]),
        ("readdir and stat of all, cold", Box::new(|| list(&path("c"))), &[(Readdirplus, 2)]),
        ("the time of access of a directory is stale", Box::new(|| look(&path("c"))), &[(Getattr, 1)]),
        ("readdir and stat of all, warm", Box::new(|| list(&path("c"))), &[]),
        ("append, first", Box::new(|| append(&path("b/log"))), &[(Lookup, 1), (Getxattr, 1), (Write, 1)]),
        ("append, then", Box::new(|| append(&path("b/log"))), &[(Write, 1)]),
        (
            "create in a directory just looked at",
            Box::new(|| drop(File::create_new(path("b/new")).unwrap())),
            &[(Lookup, 1), (Create, 1)],
        ),
        (
            "create",
            Box::new(|| drop(File::create_new(path("b/newer")).unwrap())),
            &[(Getattr, 1), (Lookup, 1), (Create, 1)],
        ),
        ("unlink", Box::new(|| fs::remove_file(path("b/new")).unwrap()), &[(Getattr, 1), (Unlink, 1)]),
        (
            "rename",
            Box::new(|| fs::rename(path("b/newer"), path("b/newest")).unwrap()),
            &[(Getattr, 1), (Lookup, 1), (Rename, 1)],
        ),
        ("statfs", Box::new(|| assert!(rustix::fs::statfs(path("")).is_ok())), &[(Statfs, 1)]),
        ("fsync", Box::new(|| File::open(path("a")).unwrap().sync_all().unwrap()), &[(Fsyncdir, 1)]),
    ];
    let mut wrong = Vec::new();
    for (what, act, expected) in &table {
        let counted = served.requests(act);
        if sorted(&counted) != sorted(expected) {
            wrong.push(format!("{what}: {counted:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sorted(counts: &[(Opcode, u64)]) -> Vec<(u32, u64)> {
    let mut counts: Vec<_> = counts.iter().map(|&(op, count)| (op.raw(), count)).collect();
    counts.sort_unstable();
    counts
}

#[test]
fn what_is_warm_stays_warm_through_an_upgrade() {
    let served = cold();
    let all = || {
        for name in ["a/file", "a/none"] {
            look(&served.path(name));
        }
        read(&served.path("a/other"));
        list(&served.path("c"));
    };
    // The second round fetches what the first made stale: times of access.
    all();
    all();
    assert_eq!(served.requests(all), []);
    let version = |name| bento_user::versions::choose(Some(name), "").unwrap();
    served.session.upgrade(version("bento-fs-second")).unwrap();
    assert_eq!(served.requests(all), [], "the kernel's caches are not the file system's");
    let place = served.end();
    place.expect_clean();
}
