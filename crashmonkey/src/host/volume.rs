//! The small volume that every workload starts on: made once, mounted once, shared by all.

use bento_api::{Disk, Mounted, Time};
use bento_fs::format::superblock::Superblock;
use bento_fs::{Space, Volume};
use bento_mkfs::Entropy;

use super::build::{Build, MADE};
use crate::disk::{Image, Recorder};

/// Blocks of the volume: 22 MiB.
pub const BLOCKS: u64 = 5632;
/// Blocks of its log: the smallest that there is.
const LOG: u64 = 1024;
/// Blocks of a group: as few as there can be, so that there are eight, and orphan slots in as many blocks.
const GROUP: u32 = 512;
/// Permissions of the root directory.
pub const ROOT_MODE: u16 = 0o755;
/// Epochs of the log are this, and the number of the life.
const EPOCH: u64 = 0x5eed_0000_0000;

/// A volume that was just mounted: what is on its disk, and what containers start with.
#[derive(Clone, Debug)]
pub struct Base {
    /// The file system that mounted it.
    pub build: &'static Build,
    /// The disk.
    pub image: Image,
    /// What the containers start with.
    pub mounted: Mounted,
    /// What the code knows of it.
    pub volume: Volume,
    /// Its superblock.
    pub superblock: Superblock,
}

/// How a volume is mounted in its `life`-th life: each has an epoch of its own.
pub fn options(life: u64, now: Time) -> bento_fs::Options {
    bento_fs::Options { read_only: false, epoch: EPOCH + life, now, boot: *b"crashmonkey-boot" }
}

/// Makes a volume on a disk.
fn make(disk: &dyn Disk) -> Result<(), String> {
    let uuid = *b"crashmonkey-base";
    let options = bento_mkfs::Options {
        log_blocks: Some(LOG),
        blocks_per_group: Some(GROUP),
        uuid,
        root_mode: ROOT_MODE,
        entropy: Entropy::from_uuid(uuid),
        ..bento_mkfs::Options::new(MADE.seconds)
    };
    let plan = bento_mkfs::plan(&options, disk.blocks()).map_err(|error| error.to_string())?;
    bento_mkfs::make(disk, &plan, &mut |_, _| ()).map_err(|error| error.to_string())?;
    Ok(())
}

impl Base {
    /// Makes a volume and mounts it.
    ///
    /// # Errors
    /// What went wrong: nothing should.
    pub fn new(build: &'static Build) -> Result<Base, String> {
        let disk = Recorder::new(Image::new(BLOCKS));
        make(&disk)?;
        Base::mount(build, disk.image().freeze(), 1)
    }

    /// Mounts a volume as it lies on a disk, in a life of its own.
    ///
    /// # Errors
    /// Why it can't be mounted.
    pub fn mount(build: &'static Build, image: Image, life: u64) -> Result<Base, String> {
        let disk = Recorder::new(image);
        let (mounted, volume, superblock) = (build.mount)(&disk, &options(life, MADE), &mut Space::default())
            .map_err(|why| why.to_string())?;
        Ok(Base { build, image: disk.image().freeze(), mounted, volume, superblock })
    }
}
