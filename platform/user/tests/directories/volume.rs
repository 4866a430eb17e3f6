//! A volume in memory, mounted on the userspace platform, and the operations on names.
use bento_api::{
    Attr, BlockNo, Bytes, Cursor, Disk, Emit, Errno, FileSystem, InodeNo, Name, NewNode, OpKind, Rename, Time,
};
use bento_fs::format::block::Owner;
use bento_fs::format::{BlockKind, Header, Superblock};
use bento_fs::{BentoFs, Plain, Space};
use bento_user::containers::{self, Containers, UserCall};
use bento_user::device::{BlockingDisk, Medium, RamDevice};
use bento_user::run::Mount;
use std::sync::Arc;

pub const ROOT: InodeNo = InodeNo(1);

/// A listed name: the name, its inode, and the cursor behind it.
pub type Listed = (Vec<u8>, InodeNo, Cursor);

pub struct Volume {
    device: Arc<RamDevice>,
    pub mount: Arc<Mount>,
    call: UserCall,
    expects: Expects,
}

/// What operations may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// No corruption.
    Health,
    /// Any: a test has written to the device.
    Damage,
}

impl Volume {
    pub fn new(blocks: u64) -> Self {
        let device = Arc::new(RamDevice::new(blocks));
        let mut options = bento_mkfs::Options::new(0);
        options.uuid = *b"a directory test";
        options.entropy = bento_mkfs::Entropy::from_uuid(options.uuid);
        let plan = bento_mkfs::plan(&options, blocks).unwrap();
        bento_mkfs::make(&BlockingDisk(&*device), &plan, &mut |_, _| {}).unwrap();
        Self::mounted(device, Expects::Health)
    }

    fn mounted(device: Arc<RamDevice>, expects: Expects) -> Self {
        let options = bento_fs::Options {
            read_only: false,
            epoch: rand::random(),
            now: Time::new(1, 0),
            boot: [0; 16],
        };
        let disk = BlockingDisk(&*device);
        let (mounted, volume, _) = bento_fs::mount::<Plain>(&disk, &options, &mut Space::default()).unwrap();
        let medium = Arc::new(Medium::new(device.clone()));
        let containers = Containers::new(medium, &mounted, containers::Options::default());
        let core: Box<dyn FileSystem<UserCall>> = Box::new(BentoFs::<Plain>::new(volume));
        let mount = Mount::new(core, containers, false);
        let mut call = mount.call();
        mount.evict_orphans(&mut call).unwrap();
        Self { device, mount, call, expects }
    }

    /// What fsck finds after a commit: nothing.
    pub fn check(&self) {
        self.mount.commit().unwrap();
        let report = bento_fsck::check(&BlockingDisk(&*self.device), &bento_fsck::Options::default());
        assert!(report.is_clean(), "{:#?}", report.problems);
    }

    /// Goes on with what is durable, by recovery.
    pub fn remount(self) -> Self {
        self.check();
        Self::mounted(self.device, self.expects)
    }

    /// Goes on with the device as `f` leaves it, everything being home before.
    pub fn remount_changed(self, expects: Expects, f: impl FnOnce(&dyn Disk)) -> Self {
        self.mount.commit().unwrap();
        self.mount.checkpoint().unwrap();
        f(&BlockingDisk(&*self.device));
        Self::mounted(self.device, expects)
    }

    /// Reads a block of the device.
    pub fn block(disk: &dyn Disk, no: BlockNo) -> Bytes {
        let mut bytes = [0; bento_api::BLOCK];
        disk.read(no, &mut bytes).unwrap();
        bytes
    }

    /// The seed of the volume's checksums.
    pub fn seed(disk: &dyn Disk) -> u32 {
        Superblock::decode(&Self::block(disk, BlockNo(1))).unwrap().csum_seed
    }

    /// The blocks of a directory's names, index, free map and extents, in order of number.
    pub fn blocks_of(disk: &dyn Disk, dir: InodeNo) -> Vec<(BlockNo, BlockKind)> {
        let seed = Self::seed(disk);
        let header = |no| Header::read(&Self::block(disk, no), seed, no).map(|header| (no, header));
        let mine = |(no, header): (BlockNo, Header)| {
            let kinds = [BlockKind::Dir, BlockKind::Index, BlockKind::FreeMap, BlockKind::Extent];
            let is_mine = header.owner == Owner(dir.0) && kinds.contains(&header.kind);
            is_mine.then_some((no, header.kind))
        };
        let outside_of_the_log =
            Superblock::decode(&Self::block(disk, BlockNo(1))).unwrap().geometry.groups_start.0;
        (outside_of_the_log..disk.blocks()).filter_map(|no| header(BlockNo(no))).filter_map(mine).collect()
    }

    fn run<R>(
        &mut self,
        kind: OpKind,
        mut op: impl FnMut(
            &dyn FileSystem<UserCall>,
            &mut bento_api::Call<'_, UserCall>,
        ) -> Result<R, bento_api::Stop>,
    ) -> Result<R, Errno> {
        let reply = self.mount.run(&mut self.call, kind, &mut op);
        let counted = self.mount.counters();
        assert_eq!((counted.panics, counted.exhausted), (0, 0));
        if self.expects == Expects::Health {
            assert_eq!(self.mount.containers().reports().0, []);
        }
        reply
    }

    pub fn create(&mut self, dir: InodeNo, name: &[u8], mode: u32) -> Result<InodeNo, Errno> {
        let node = NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let made = self.run(OpKind::Create, |fs, call| fs.create(call, dir, Name::new(name)?, &node))?;
        Ok(made.value.ino)
    }

    pub fn mkdir(&mut self, dir: InodeNo, name: &[u8]) -> Result<InodeNo, Errno> {
        self.create(dir, name, 0o040_755)
    }

    pub fn link(&mut self, ino: InodeNo, dir: InodeNo, name: &[u8]) -> Result<(), Errno> {
        self.run(OpKind::Link, |fs, call| fs.link(call, ino, dir, Name::new(name)?)).map(drop)
    }

    pub fn lookup(&mut self, dir: InodeNo, name: &[u8]) -> Result<Option<InodeNo>, Errno> {
        match self.run(OpKind::Read, |fs, call| fs.lookup(call, dir, Name::new(name)?)) {
            Ok(attr) => Ok(Some(attr.ino)),
            Err(Errno::NotFound) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub fn stat(&mut self, ino: InodeNo) -> Result<Attr, Errno> {
        self.run(OpKind::Read, |fs, call| fs.getattr(call, ino))
    }

    fn removed(&mut self, attr: &Attr) -> Result<(), Errno> {
        self.mount.note_names(&mut self.call, attr)
    }

    pub fn unlink(&mut self, dir: InodeNo, name: &[u8]) -> Result<(), Errno> {
        let gone = self.run(OpKind::Unlink, |fs, call| fs.unlink(call, dir, Name::new(name)?))?;
        self.removed(&gone.value)
    }

    pub fn rmdir(&mut self, dir: InodeNo, name: &[u8]) -> Result<(), Errno> {
        let gone = self.run(OpKind::Unlink, |fs, call| fs.rmdir(call, dir, Name::new(name)?))?;
        self.removed(&gone.value)
    }

    pub fn rename(&mut self, from: (InodeNo, &[u8]), to: (InodeNo, &[u8]), how: Rename) -> Result<(), Errno> {
        let lost = self.run(OpKind::Rename, |fs, call| {
            fs.rename(call, (from.0, Name::new(from.1)?), (to.0, Name::new(to.1)?), how)
        })?;
        lost.value.map_or(Ok(()), |lost| self.removed(&lost))
    }

    /// Up to `most` names at or after a cursor, without `.` and `..`; and whether the directory ended.
    pub fn list_from(
        &mut self,
        dir: InodeNo,
        from: Cursor,
        most: usize,
    ) -> Result<(Vec<Listed>, bool), Errno> {
        let mut listed = Vec::new();
        let ended = self.run(OpKind::ReadDir, |fs, call| {
            listed.clear();
            fs.readdir(call, dir, from, Emit::Names, &mut |entry| {
                let room = listed.len() < most;
                if room {
                    listed.push((entry.name.to_vec(), entry.ino, entry.next));
                }
                room
            })
        })?;
        Ok((listed, ended))
    }

    /// All names, with their inodes, in the order in which they lie.
    pub fn list(&mut self, dir: InodeNo) -> Result<Vec<Listed>, Errno> {
        let (mut all, mut from) = (Vec::new(), Cursor(0));
        loop {
            let (listed, ended) = self.list_from(dir, from, 1000)?;
            from = listed.last().map_or(from, |last| last.2);
            all.extend(listed.into_iter().filter(|(name, ..)| name != b"." && name != b".."));
            if ended {
                return Ok(all);
            }
        }
    }
}
