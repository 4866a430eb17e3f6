//! The FUSE layer through a real kernel: needs root and /dev/fuse.

#![allow(clippy::unit_arg, reason = "a handler's arm that returns nothing reads best as Ok(call)")]

mod helper;
mod life;
mod memory;
mod requests;

use bento_user::fuse::abi::Opcode;
use bento_user::fuse::mount::{Detach, Mount, MountOptions, UnmountError, mount};
use bento_user::fuse::prime::prime;
use bento_user::fuse::{Connection, End, InitConfig, Notification, Opens, Server, ServerOptions};
use memory::Memory;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUDGET: Duration = Duration::from_secs(5);

/// A mounted [`Memory`]; unmounted whatever happens to the test.
struct Fixture {
    dir: TempDir,
    mount: Mount,
    server: Server<Arc<Memory>>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Arc::new(Memory::new()), ServerOptions::default())
    }

    fn with(memory: Arc<Memory>, options: ServerOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (device, mount) = mount(dir.path(), &MountOptions::image("memory")).unwrap();
        let connection = Connection::handshake(device, &InitConfig::default()).unwrap();
        let server = Server::start(connection, memory, options).unwrap();
        prime(dir.path(), Opens::Stateless).unwrap();
        Self { dir, mount, server }
    }

    /// The same files, and nothing of them in the kernel's caches.
    fn remount(self, options: ServerOptions) -> Self {
        unmount(&self.mount);
        self.server.wait();
        self.server.handler().unmounted();
        Self::with(Arc::clone(self.server.handler()), options)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The requests that something causes. FORGETs are left out: they come when the kernel likes.
    fn requests(&self, act: impl FnOnce()) -> Vec<(Opcode, u64)> {
        let before: Vec<u64> = Opcode::ALL.iter().map(|&op| self.server.counts().get(op)).collect();
        act();
        let after = Opcode::ALL.iter().map(|&op| (op, self.server.counts().get(op)));
        after
            .zip(before)
            .map(|((op, after), before)| (op, after - before))
            .filter(|&(op, count)| count > 0 && !matches!(op, Opcode::Forget | Opcode::BatchForget))
            .collect()
    }
}

/// Unmounts what is idle. Other tests start processes; between fork and exec those hold copies of descriptors.
fn unmount(mount: &Mount) {
    let start = Instant::now();
    while let Err(error) = mount.unmount(Detach::IfIdle) {
        assert!(matches!(error, UnmountError::Busy(_)) && start.elapsed() < BUDGET, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if self.mount.is_in_place() {
            let _ = self.mount.unmount(Detach::Lazily);
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_system_works_through_the_kernel() {
    let fixture = Fixture::new();
    let big: Vec<u8> = (0..3_000_001u32).map(|n| (n % 251) as u8).collect();
    fs::create_dir(fixture.path("d")).unwrap();
    fs::write(fixture.path("d/small"), b"hello").unwrap();
    fs::write(fixture.path("d/big"), &big).unwrap();
    symlink("small", fixture.path("d/link")).unwrap();
    fs::hard_link(fixture.path("d/small"), fixture.path("d/hard")).unwrap();
    assert_eq!(read(&fixture.path("d/link")), b"hello");
    assert_eq!(fs::metadata(fixture.path("d/hard")).unwrap().nlink(), 2);
    assert_eq!(names(&fixture.path("d")), ["big", "hard", "link", "small"]);

    // Cold: all that the kernel cached goes, the file system answers again.
    let inode = fs::metadata(fixture.path("d/big")).unwrap().ino();
    fixture.server.connection().notify(Notification::InvalInode { nodeid: inode, off: 0, len: 0 }).unwrap();
    let reads = fixture.requests(|| assert_eq!(read(&fixture.path("d/big")), big));
    assert!(reads.iter().any(|&(op, _)| op == Opcode::Read), "{reads:?}");

    fs::rename(fixture.path("d/small"), fixture.path("moved")).unwrap();
    fs::remove_file(fixture.path("d/big")).unwrap();
    OpenOptions::new().write(true).open(fixture.path("moved")).unwrap().set_len(2).unwrap();
    assert_eq!(read(&fixture.path("moved")), b"he");
    assert_eq!(read(&fixture.path("d/hard")), b"he");
    assert_eq!(names(&fixture.path("d")), ["hard", "link"]);
    assert!(fs::remove_dir(fixture.path("d")).is_err());
    if let Ok(born) = fs::metadata(fixture.path("moved")).unwrap().created() {
        assert_eq!(born.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 42);
    }

    let mut unnamed = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(0o20_200_000)
        .open(fixture.dir.path())
        .unwrap();
    unnamed.write_all(b"no name").unwrap();
    unnamed.sync_all().unwrap();
    drop(unnamed);

    assert_eq!(fixture.mount.device().0, 0, "an anonymous device");
    unmount(&fixture.mount);
    assert_eq!(fixture.server.wait(), End::Unmounted);
}

#[test]
fn ten_thousand_names_are_listed_once_each() {
    let fixture = Fixture::new();
    for n in 0..10_000 {
        symlink("x", fixture.path(&format!("name-{n:05}"))).unwrap();
    }
    let listed = names(fixture.dir.path());
    assert_eq!(listed.len(), 10_000);
    assert!(listed.windows(2).all(|pair| pair[0] < pair[1]));
}
