//! The core alone on a RAM device: no FUSE, no system calls, no disk.
//!
//! `cargo bench -p bento-bench` measures times with criterion; `core-numbers` counts what does not depend on the
//! machine's mood: allocations, commits for each fsync, the gain of a second thread, and, under
//! `valgrind --tool=callgrind`, instructions.
use bento_api::{Attr, Errno, InodeNo, Name, NewNode, OpKind};
use bento_user::containers::UserCall;
use bento_user::device::{BlockingDisk, RamDevice};
use bento_user::run::{Fsync, Mount, Privileges};
use bento_user::session::{Session, SessionOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

/// A mounted volume in memory.
pub struct Volume {
    session: Session,
    device: Arc<RamDevice>,
}

impl Volume {
    /// A new volume of so many MiB, mounted, with a commit only when somebody asks.
    pub fn new(mebibytes: u64) -> Self {
        let blocks = mebibytes * 256;
        let device = Arc::new(RamDevice::new(blocks));
        let plan = bento_mkfs::plan(&bento_mkfs::Options::new(0), blocks).expect("the size fits");
        bento_mkfs::make(&BlockingDisk(&*device), &plan, &mut |_, _| {}).expect("memory does not fail");
        let options = SessionOptions { commit_every: Duration::from_secs(3600), ..SessionOptions::default() };
        let session =
            Session::on_device(Path::new("memory"), device.clone(), &options).expect("a new volume mounts");
        Self { session, device }
    }

    /// The mount.
    pub fn mount(&self) -> &Mount {
        self.session.mount()
    }

    /// Makes each flush of the device take this long.
    pub fn slow_flushes(&self, flush: Duration) {
        self.device.set_delays(Duration::ZERO, Duration::ZERO, flush);
    }

    /// One user of the volume.
    pub fn user(&self) -> User<'_> {
        User { mount: self.mount(), call: self.mount().call() }
    }
}

/// One thread's use of a volume.
pub struct User<'v> {
    mount: &'v Mount,
    call: UserCall,
}

fn node(mode: u32) -> NewNode<'static> {
    NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &[] }
}

impl User<'_> {
    fn make(&mut self, dir: InodeNo, name: &str, mode: u32) -> Result<Attr, Errno> {
        let name = Name::new(name.as_bytes())?;
        let made = self
            .mount
            .run(&mut self.call, OpKind::Create, |fs, call| fs.create(call, dir, name, &node(mode)));
        made.map(|done| done.value)
    }

    /// Makes a directory in the root.
    pub fn mkdir(&mut self, name: &str) -> InodeNo {
        self.make(InodeNo(1), name, S_IFDIR | 0o755).expect("a new name").ino
    }

    /// Makes a file.
    pub fn create(&mut self, dir: InodeNo, name: &str) -> InodeNo {
        self.make(dir, name, S_IFREG | 0o644).expect("a new name").ino
    }

    /// Looks a name up.
    pub fn lookup(&mut self, dir: InodeNo, name: &str) -> InodeNo {
        let name = Name::new(name.as_bytes()).expect("a name");
        let found = self.mount.run(&mut self.call, OpKind::Read, |fs, call| fs.lookup(call, dir, name));
        found.expect("the name is there").ino
    }

    /// Removes a file, and what it held.
    pub fn unlink(&mut self, dir: InodeNo, name: &str) {
        let name = Name::new(name.as_bytes()).expect("a name");
        let gone = self.mount.run(&mut self.call, OpKind::Unlink, |fs, call| fs.unlink(call, dir, name));
        let attr = gone.expect("the name is there").value;
        self.mount.note_names(&mut self.call, &attr).expect("memory does not fail");
    }

    /// Writes at the start of a file, and makes it durable.
    pub fn write_and_sync(&mut self, ino: InodeNo, data: &[u8]) {
        self.mount.write(&mut self.call, ino, 0, data, Privileges::Keep).expect("there is room");
        self.mount.fsync(&mut self.call, ino, Fsync::All).expect("memory does not fail");
    }
}
