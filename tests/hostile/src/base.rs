//! The volumes that patches are applied to: one of each structure that there is.
use crate::device::Ram;
use crate::target::{Targets, find_home, find_log};
use crate::volume::{ROOT, Volume};
use bento_api::{Allocate, BLOCK, BatchSeq, BlockNo, Bytes, InodeNo};
use bento_fs::format::log::{
    BatchHeader, LogHeader, Tag, TagArea, epoch_seed, escape, seal_tag_block, tag_blocks, tag_place, tags_crc,
};
use bento_fs::format::{Geometry, Header, Superblock};
use bento_user::session::Purpose;
use bento_user::versions;
use std::sync::{Arc, LazyLock};

const LOG_BLOCKS: u64 = bento_api::limits::SMALLEST_LOG as u64;
const GROUP_BLOCKS: u32 = 512;
const GROUPS: u64 = 6;
/// Extents of the file whose tree has two levels of blocks.
const EXTENTS: u64 = 1290;
/// Names of the directory whose index has two levels of blocks.
const NAMES: usize = 700;
/// Copies in the forged record that needs a tag block.
const MANY_COPIES: usize = 300;

/// A volume, and what can be changed in it.
pub struct Base {
    /// What is on the device.
    pub blocks: Arc<Vec<Bytes>>,
    /// The superblock.
    pub superblock: Superblock,
    /// Every structure.
    pub targets: Targets,
    /// The records in the log.
    pub log: Vec<Record>,
    /// The epoch of the log.
    pub epoch: u64,
}

/// A record in the log, by the blocks in which its parts lie.
#[derive(Clone)]
pub struct Record {
    /// Its header.
    pub header: u64,
    /// Its tag blocks.
    pub tags: Vec<u64>,
    /// Its copies.
    pub copies: Vec<u64>,
    /// The batch.
    pub seq: BatchSeq,
}

impl Record {
    /// Where the tag of a copy lies: the block, and the byte in it.
    pub fn tag(&self, copy: usize) -> (u64, usize) {
        match tag_place(copy as u32) {
            (None, at) => (self.header, 128 + at as usize * 16),
            (Some(block), at) => (self.tags[block as usize], 32 + at as usize * 16),
        }
    }
}

/// All is home and the log is empty, but the volume was not unmounted and has orphans.
pub static HOME: LazyLock<Base> = LazyLock::new(|| {
    let blocks = populated();
    let superblock = superblock(&blocks);
    let epoch = log_header(&blocks, &superblock).epoch;
    let targets = find_home(&blocks, &superblock);
    Base { blocks: Arc::new(blocks), superblock, targets, log: Vec::new(), epoch }
});

/// The same, but some blocks are in the log only.
pub static LOGGED: LazyLock<Base> = LazyLock::new(|| {
    let mut blocks = (*HOME.blocks).clone();
    let superblock = HOME.superblock;
    let log = log_metadata(&mut blocks, &superblock);
    let targets = find_log(&blocks, &superblock, &log);
    Base { blocks: Arc::new(blocks), superblock, targets, log, epoch: HOME.epoch }
});

/// A new volume.
pub fn made(groups: u64) -> Ram {
    let blocks = 2 + LOG_BLOCKS + 1 + groups * u64::from(GROUP_BLOCKS);
    let device = Ram::zeros(blocks as usize);
    let mut options = bento_mkfs::Options::new(1_700_000_000);
    options.log_blocks = Some(LOG_BLOCKS);
    options.blocks_per_group = Some(GROUP_BLOCKS);
    options.inodes = Some(groups * 64);
    options.uuid = *b"hostile by plan.";
    options.entropy = bento_mkfs::Entropy::from_uuid(options.uuid);
    let plan = bento_mkfs::plan(&options, blocks).expect("a plan");
    bento_mkfs::make(&device, &plan, &mut |_, _| {}).expect("a volume");
    device
}

fn superblock(blocks: &[Bytes]) -> Superblock {
    Superblock::decode(&blocks[1]).expect("a superblock")
}

fn slot(geometry: &Geometry, slot: u64) -> usize {
    geometry.log_slot(slot).expect("a slot").0 as usize
}

fn log_header(blocks: &[Bytes], superblock: &Superblock) -> LogHeader {
    let [a, b] = [0, 1].map(|at| &blocks[slot(&superblock.geometry, at)]);
    LogHeader::choose(a, b, superblock.csum_seed).expect("a log header")
}

fn populated() -> Vec<Bytes> {
    let device = Arc::new(made(GROUPS));
    // Who did it is recorded: that has structures too.
    let mut volume = Volume::open_with(&device, Purpose::Write, versions::PROV).expect("mounts");
    populate(&mut volume);
    volume.sync().expect("syncs");
    volume.mount().checkpoint().expect("goes home");
    device.snapshot()
}

/// Makes one of everything. What is in use stays so, and what lost its name meanwhile is an orphan on disk.
fn populate(volume: &mut Volume) {
    let dir = volume.create(ROOT, b"dir", 0o040_755).expect("a directory");
    let sub = volume.create(dir, b"sub", 0o040_755).expect("a directory in it");
    let file = volume.create(ROOT, b"file", 0o100_644).expect("a file");
    volume.write(file, 0, &[0xf1; 20_000]).expect("some content");
    volume.link(file, sub, b"hard link").expect("a second name");
    volume.symlink(ROOT, b"short", b"dir/sub").expect("a link in its inode");
    volume.symlink(dir, b"long", &[b'l'; 1000]).expect("a link with a block");
    volume.create(dir, b"fifo", 0o010_644).expect("a fifo");
    volume.create(dir, b"null", 0o020_644).expect("a device");
    volume.setxattr(file, b"user.small", b"in the inode").expect("a small attribute");
    volume.setxattr(dir, b"user.large", &[7; 3000]).expect("a large attribute");
    volume.setxattr(dir, b"trusted.other", b"beside it").expect("another");
    many_extents(volume);
    let many = volume.create(ROOT, b"many", 0o040_755).expect("a large directory");
    (0..NAMES).for_each(|at| volume.link(file, many, format!("name {at}").as_bytes()).expect("a name"));
    volume.tmpfile().expect("an orphan that never had a name");
    let doomed = volume.create(ROOT, b"doomed", 0o100_600).expect("a file to lose its name");
    volume.write(doomed, 0, &[0xd0; 9000]).expect("content");
    volume.keep(ROOT, b"doomed").expect("is in use");
    volume.unlink(ROOT, b"doomed").expect("loses its name");
}

/// A file of extents that cannot be joined: every other block is written, the rest only reserved; then a hole.
fn many_extents(volume: &mut Volume) -> InodeNo {
    let ino = volume.create(ROOT, b"tree", 0o100_644).expect("a file");
    let block = BLOCK as u64;
    volume.fallocate(ino, Allocate::Reserve, 0..EXTENTS * block).expect("reserves");
    for at in (0..EXTENTS).step_by(2) {
        volume.write(ino, at * block, &[at as u8; BLOCK]).expect("writes");
    }
    volume.truncate(ino, 1 << 40).expect("grows");
    ino
}

/// Moves metadata into the log: one record of many copies, and one of few.
fn log_metadata(blocks: &mut [Bytes], superblock: &Superblock) -> Vec<Record> {
    let geometry = &superblock.geometry;
    let from = geometry.groups_start.0;
    let homes: Vec<u64> = (from..blocks.len() as u64)
        .filter(|no| Header::read(&blocks[*no as usize], superblock.csum_seed, BlockNo(*no)).is_some())
        .collect();
    let header = log_header(blocks, superblock);
    let mut log =
        Forge { blocks, geometry, header, seq: header.tail_seq, at: header.tail_at, crc: header.prev_crc };
    let many: Vec<u64> = homes.iter().copied().cycle().take(MANY_COPIES).collect();
    let records = vec![log.record(&many), log.record(&homes)];
    // What is in the log is not at home yet.
    homes.iter().for_each(|no| blocks[*no as usize].fill(0xa5));
    records
}

struct Forge<'a> {
    blocks: &'a mut [Bytes],
    geometry: &'a Geometry,
    header: LogHeader,
    seq: BatchSeq,
    at: u64,
    crc: u32,
}

impl Forge<'_> {
    fn next_block(&mut self) -> u64 {
        let no = self.geometry.log_block(self.at).expect("a block of the log").0;
        self.at += 1;
        self.blocks[no as usize].fill(0);
        no
    }

    fn record(&mut self, homes: &[u64]) -> Record {
        let epoch = self.header.epoch;
        let header = self.next_block();
        let tags = (0..tag_blocks(homes.len() as u32)).map(|_| self.next_block()).collect();
        let copies: Vec<u64> = homes.iter().map(|_| self.next_block()).collect();
        let record = Record { header, tags, copies, seq: self.seq };
        for (index, (home, to)) in homes.iter().zip(&record.copies).enumerate() {
            let mut copy = self.blocks[*home as usize];
            let tag = Tag::full(BlockNo(*home), escape(&mut copy), &copy, epoch);
            self.blocks[*to as usize] = copy;
            let (no, area) = match tag_place(index as u32).0 {
                None => (record.header, TagArea::Header),
                Some(block) => (record.tags[block as usize], TagArea::Block),
            };
            assert!(tag.write(&mut self.blocks[no as usize], area, tag_place(index as u32).1));
        }
        let tags = record.tags.iter().zip(0..).fold(epoch_seed(epoch), |crc, (no, index)| {
            tags_crc(crc, seal_tag_block(&mut self.blocks[*no as usize], index, epoch, self.seq))
        });
        let mut sealed = BatchHeader {
            crc: 0,
            prev_crc: self.crc,
            epoch,
            seq: self.seq,
            durable_through: BatchSeq(self.seq.0 - 1),
            copies: homes.len() as u32,
            totals: self.header.totals,
            time: 1_700_000_001,
            tags_crc: tags,
            unrecorded: 0,
        };
        self.crc = sealed.seal(&mut self.blocks[header as usize]);
        self.seq = BatchSeq(self.seq.0 + 1);
        record
    }
}
