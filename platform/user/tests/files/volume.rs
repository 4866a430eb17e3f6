//! A volume in memory, and the operations on files.
use bento_api::{
    Allocate, Attr, BlockNo, Call, Disk as _, Errno, FileSystem, InodeNo, ModeChange, Name, NewNode, OpKind,
    Seek, SetAttr, Stop, Time, XattrName, XattrSet,
};
use bento_fs::{BentoFs, Plain, Space};
use bento_user::containers::{self, Containers, UserCall};
use bento_user::device::{BlockingDisk, Medium, RamDevice};
use bento_user::run::{Mount, Privileges};
use std::ops::Range;
use std::sync::Arc;

pub const ROOT: InodeNo = InodeNo(1);
pub const BLOCK: u64 = 4096;

pub struct Volume {
    device: Arc<RamDevice>,
    pub mount: Arc<Mount>,
    pub call: UserCall,
}

/// What the containers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    Keeps,
    /// Every first use of a block in a call misses.
    AlwaysMisses,
}

impl Volume {
    pub fn new(blocks: u64) -> Self {
        Self::with(blocks, |_| {})
    }

    pub fn with(blocks: u64, change: impl FnOnce(&mut bento_mkfs::Options)) -> Self {
        let device = Arc::new(RamDevice::new(blocks));
        let mut options = bento_mkfs::Options::new(0);
        options.log_blocks = Some(1200);
        change(&mut options);
        let plan = bento_mkfs::plan(&options, blocks).unwrap();
        bento_mkfs::make(&BlockingDisk(&*device), &plan, &mut |_, _| {}).unwrap();
        Self::mounted(device)
    }

    fn mounted(device: Arc<RamDevice>) -> Self {
        let epoch = u64::from_le_bytes(*bento_mkfs::Options::new(0).uuid.first_chunk().unwrap());
        let options = bento_fs::Options { read_only: false, epoch, now: Time::new(1, 0), boot: [0; 16] };
        let disk = BlockingDisk(&*device);
        let (mounted, volume, _) = bento_fs::mount::<Plain>(&disk, &options, &mut Space::default()).unwrap();
        let medium = Arc::new(Medium::new(device.clone()));
        let containers = Containers::new(medium, &mounted, containers::Options::default());
        let core: Box<dyn FileSystem<UserCall>> = Box::new(BentoFs::<Plain>::new(volume));
        let mount = Mount::new(core, containers, false);
        let call = mount.call();
        let mut this = Self { device, mount, call };
        if mounted.totals.orphans > 0 {
            this.mount.evict_orphans(&mut this.call).unwrap();
        }
        this
    }

    pub fn set_cache(&self, cache: Cache) {
        self.mount.containers().set_always_miss(cache == Cache::AlwaysMisses);
    }

    /// Goes on with what is on the device now, as after a kill.
    pub fn kill(self) -> Self {
        Self::mounted(self.device)
    }

    /// Goes on after everything is durable.
    pub fn remount(self) -> Self {
        self.mount.tick().unwrap();
        self.kill()
    }

    /// Fills a block of the device, behind everyone's back.
    pub fn scribble(&self, no: u64, byte: u8) {
        BlockingDisk(&*self.device).write(BlockNo(no), &[byte; 4096]).unwrap();
    }

    /// What fsck finds after a commit: nothing.
    pub fn check(&self) {
        self.mount.commit().unwrap();
        let report = bento_fsck::check(&BlockingDisk(&*self.device), &bento_fsck::Options::default());
        assert!(report.is_clean(), "{:#?}", report.problems);
    }

    /// Blocks that are free once everything that waits for the journal is.
    pub fn free_blocks(&self) -> u64 {
        self.mount.commit().unwrap();
        self.mount.checkpoint().unwrap();
        assert!(!self.mount.containers().has_pending_frees());
        let free = self.mount.statfs().blocks_free;
        assert_eq!(self.mount.containers().available(bento_api::Map::Blocks), free, "no claim is lost");
        assert_eq!(self.mount.containers().open_placements(), 0);
        free
    }

    pub fn run<R>(
        &mut self,
        kind: OpKind,
        mut op: impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<R, Errno> {
        let reply = self.mount.run(&mut self.call, kind, &mut op);
        self.healthy();
        reply
    }

    /// No entry panicked, ran out of attempts, outgrew a capacity, or met corruption.
    pub fn healthy(&self) {
        let counted = self.mount.counters();
        assert_eq!((counted.panics, counted.exhausted), (0, 0));
        assert_eq!(self.mount.containers().reports().0, []);
    }

    fn new_node(&mut self, name: &[u8], mode: u32, xattrs: &[(&[u8], &[u8])]) -> Result<Attr, Errno> {
        let xattrs: Vec<_> =
            xattrs.iter().map(|(name, value)| (XattrName::new(name).unwrap(), *value)).collect();
        let node = NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &xattrs };
        let made = self.run(OpKind::Create, |fs, call| fs.create(call, ROOT, Name::new(name)?, &node))?;
        Ok(made.value)
    }

    /// Makes a file and uses it: to be forgotten once.
    pub fn create(&mut self, name: &[u8]) -> Result<InodeNo, Errno> {
        self.create_with(name, &[])
    }

    pub fn create_with(&mut self, name: &[u8], xattrs: &[(&[u8], &[u8])]) -> Result<InodeNo, Errno> {
        let attr = self.new_node(name, 0o100_644, xattrs)?;
        self.mount.keep(&self.call, &attr);
        Ok(attr.ino)
    }

    pub fn mkdir(&mut self, name: &[u8]) -> Result<InodeNo, Errno> {
        Ok(self.new_node(name, 0o040_755, &[])?.ino)
    }

    pub fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<InodeNo, Errno> {
        let node = NewNode { mode: 0o777, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let made =
            self.run(OpKind::Create, |fs, call| fs.symlink(call, ROOT, Name::new(name)?, target, &node))?;
        Ok(made.value.ino)
    }

    pub fn readlink(&mut self, ino: InodeNo) -> Result<Vec<u8>, Errno> {
        let mut to = vec![0; 4096];
        let len = self.run(OpKind::Read, |fs, call| fs.readlink(call, ino, &mut to))?;
        to.truncate(len);
        Ok(to)
    }

    pub fn tmpfile(&mut self) -> Result<InodeNo, Errno> {
        let node = NewNode { mode: 0o100_600, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let attr = self.run(OpKind::TmpFile, |fs, call| fs.tmpfile(call, ROOT, &node))?.value;
        self.mount.keep(&self.call, &attr);
        self.mount.note_names(&mut self.call, &attr)?;
        Ok(attr.ino)
    }

    pub fn link(&mut self, ino: InodeNo, name: &[u8]) -> Result<(), Errno> {
        let attr = self.run(OpKind::Link, |fs, call| fs.link(call, ino, ROOT, Name::new(name)?))?.value;
        self.mount.note_names(&mut self.call, &attr)
    }

    /// Looks a name up and uses the inode: to be forgotten once.
    pub fn open(&mut self, name: &[u8]) -> Result<InodeNo, Errno> {
        let attr = self.run(OpKind::Read, |fs, call| fs.lookup(call, ROOT, Name::new(name)?))?;
        self.mount.keep(&self.call, &attr);
        Ok(attr.ino)
    }

    pub fn stat(&mut self, ino: InodeNo) -> Result<Attr, Errno> {
        self.run(OpKind::Read, |fs, call| fs.getattr(call, ino))
    }

    pub fn unlink(&mut self, name: &[u8]) -> Result<(), Errno> {
        let gone = self.run(OpKind::Unlink, |fs, call| fs.unlink(call, ROOT, Name::new(name)?))?;
        let done = self.mount.note_names(&mut self.call, &gone.value);
        self.healthy();
        done
    }

    pub fn rmdir(&mut self, name: &[u8]) -> Result<(), Errno> {
        let gone = self.run(OpKind::Unlink, |fs, call| fs.rmdir(call, ROOT, Name::new(name)?))?;
        self.mount.note_names(&mut self.call, &gone.value)
    }

    pub fn forget(&mut self, ino: InodeNo) {
        self.mount.forget(&mut self.call, ino, 1).unwrap();
        self.healthy();
    }

    pub fn write(&mut self, ino: InodeNo, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let done = self.mount.write(&mut self.call, ino, offset, data, Privileges::Keep);
        self.healthy();
        done
    }

    pub fn read(&mut self, ino: InodeNo, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let mut to = vec![0xee; len];
        let done = self.mount.read(&mut self.call, ino, offset, &mut to)?;
        self.healthy();
        to.truncate(done);
        Ok(to)
    }

    pub fn truncate(&mut self, ino: InodeNo, size: u64) -> Result<Attr, Errno> {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        let done = self.mount.setattr(&mut self.call, ino, &set);
        self.healthy();
        done
    }

    pub fn fallocate(&mut self, ino: InodeNo, how: Allocate, range: Range<u64>) -> Result<(), Errno> {
        let done = self.mount.fallocate(&mut self.call, ino, how, range);
        self.healthy();
        done
    }

    pub fn seek(&mut self, ino: InodeNo, from: u64, what: Seek) -> Result<u64, Errno> {
        let done = self.mount.seek(&mut self.call, ino, from, what);
        self.healthy();
        done
    }

    pub fn setxattr(&mut self, ino: InodeNo, name: &[u8], value: &[u8], how: XattrSet) -> Result<(), Errno> {
        let set = |fs: &dyn FileSystem<UserCall>, call: &mut Call<'_, UserCall>| {
            fs.setxattr(call, ino, XattrName::new(name)?, value, how)
        };
        self.run(OpKind::Xattr, set).map(drop)
    }

    pub fn removexattr(&mut self, ino: InodeNo, name: &[u8]) -> Result<(), Errno> {
        self.run(OpKind::Xattr, |fs, call| fs.removexattr(call, ino, XattrName::new(name)?)).map(drop)
    }

    /// Sets or removes the access list; the mode afterwards.
    pub fn set_acl(&mut self, ino: InodeNo, list: Option<&[u8]>, mode: ModeChange) -> Result<u32, Errno> {
        self.run(OpKind::Xattr, |fs, call| fs.set_acl(call, ino, list, mode)).map(|done| done.value.mode)
    }

    pub fn getxattr(&mut self, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut to = vec![0; 4096];
        let len =
            self.run(OpKind::Read, |fs, call| fs.getxattr(call, ino, XattrName::new(name)?, &mut to))?;
        let mut none = [];
        let asked =
            self.run(OpKind::Read, |fs, call| fs.getxattr(call, ino, XattrName::new(name)?, &mut none))?;
        assert_eq!(len, asked);
        to.truncate(len);
        Ok(to)
    }

    /// The names, sorted.
    pub fn listxattr(&mut self, ino: InodeNo) -> Result<Vec<Vec<u8>>, Errno> {
        let mut to = vec![0; 8192];
        let len = self.run(OpKind::Read, |fs, call| fs.listxattr(call, ino, &mut to))?;
        let mut names: Vec<_> = to[..len].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        assert_eq!(names.pop(), Some(Vec::new()), "the last name is ended, too");
        names.sort();
        Ok(names)
    }
}
