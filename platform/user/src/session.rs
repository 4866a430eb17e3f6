//! A session: one volume, from the opened device to the clean superblock.
//!
//! # Crash
//! Opening recovers what the last session left. Closing writes everything home and marks the volume clean; a session that
//! is not closed (kill -9, power cut) loses nothing that was synced, and the next one recovers.
use crate::containers::{Containers, Options as ContainerOptions, system_time};
use crate::device::{Access, BlockingDisk, Device, FileDevice, Medium, OpenError};
use crate::mount_table;
use crate::run::{Background, Mount};
use crate::versions::{self, Version};
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Disk, Errno, GroupNo, OpKind};
use bento_console::quoted;
use bento_fs::format::geometry::{ROOT, SUPERBLOCK};
use bento_fs::format::superblock::ErrorRecord;
use bento_fs::format::{Corruption, Superblock};
use bento_fs::{Copy, Failed, Space};
use bento_fsck::Searched;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::io::{IoSlice, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a volume is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading and writing, alone.
    Write,
    /// Reading, beside other readers; what the log holds is overlaid in memory.
    Read,
    /// Reading, without asking whether somebody writes.
    Look,
}

/// How a volume is opened.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// What for.
    pub purpose: Purpose,
    /// How often everything is committed without being asked.
    pub commit_every: Duration,
    /// Bytes of clean blocks kept in memory; the default is an eighth of the memory, at most 1 GiB.
    pub cache_bytes: Option<u64>,
    /// The version of the file system to start with.
    pub version: Version,
    /// The copy of the superblock to go by; the volume is only read then.
    pub superblock: Option<BlockNo>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            purpose: Purpose::Write,
            commit_every: Duration::from_secs(5),
            cache_bytes: None,
            version: versions::PLAIN,
            superblock: None,
        }
    }
}

/// Why a volume cannot be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The device.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The volume.
    #[error("{}: {why}", quoted(path))]
    Volume {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: Failed,
    },
    /// There is a volume, but what its mount begins with is damaged or gone.
    #[error(
        "{}: its superblock is damaged or gone ({why}); there is a copy in block {copy}: `bento mount -o ro,sb={copy}` mounts by it",
        quoted(path)
    )]
    Lost {
        /// Which.
        path: PathBuf,
        /// What is wrong with the superblock.
        why: Failed,
        /// Where a copy is.
        copy: BlockNo,
    },
    /// What is left of a volume does not even have its superblock whole.
    #[error(
        "{} is cut short: it has {bytes} bytes, which is not even the whole superblock of its Bento volume",
        quoted(path)
    )]
    CutShort {
        /// What was opened.
        path: PathBuf,
        /// What there is of it.
        bytes: u64,
    },
    /// A copy was named that is none.
    #[error("{}: block {no} holds no copy of its superblock; `fsck.bento -n` finds one", quoted(path))]
    NoCopy {
        /// Which volume.
        path: PathBuf,
        /// Where the copy should be.
        no: BlockNo,
    },
    /// A copy is not to be written by.
    #[error("{}: by a copy of its superblock a volume is only read: mount it with -o ro", quoted(path))]
    CopyIsRead {
        /// Which volume.
        path: PathBuf,
    },
    /// Something else, or nothing.
    #[error("{} holds no Bento volume{}", quoted(path), but(holds.as_deref()))]
    NotBento {
        /// What was opened.
        path: PathBuf,
        /// What it holds instead, if that is known.
        holds: Option<String>,
    },
    /// In use by a mount.
    #[error("{} is already mounted on {}", quoted(path), quoted(dir))]
    Mounted {
        /// What was opened.
        path: PathBuf,
        /// Where.
        dir: PathBuf,
    },
    /// The random numbers of the system.
    #[error("no random numbers for the new epoch of the log: {0}")]
    Random(rustix::io::Errno),
    /// Something in the background.
    #[error("cannot start the background thread: {0}")]
    Thread(std::io::Error),
    /// The one directory that everything is reached through.
    #[error("{}: the root directory cannot be read: {}; run fsck.bento", quoted(path), explain(*errno))]
    Root {
        /// Which volume.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// An operation of the file system itself.
    #[error("{}: {what} failed: {}", quoted(path), explain(*errno))]
    Operation {
        /// Which volume.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The answer.
        errno: Errno,
    },
}

fn but(holds: Option<&str>) -> String {
    holds.map_or_else(|| "; `mkfs.bento` makes one".into(), |what| format!(", but {what}"))
}

/// An error number in words.
fn explain(errno: Errno) -> String {
    match errno {
        Errno::Corrupt(what) => {
            let text = Corruption::from_code(what.0).map_or("damaged", |what| what.text());
            return format!("{text} (problem {})", what.0);
        }
        Errno::Stale => return "it is not in use".into(),
        _ => {}
    }
    std::io::Error::from_raw_os_error(errno.number()).to_string()
}

/// What the opening found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opened {
    /// Batches that recovery replayed.
    pub replayed: u32,
    /// Inodes without a name that were taken away.
    pub orphans: u64,
    /// How long all of it took.
    pub took: Duration,
}

/// An open volume.
pub struct Session {
    path: PathBuf,
    device: Arc<dyn Device>,
    mount: Arc<Mount>,
    superblock: Superblock,
    opened: Opened,
    closed: Mutex<bool>,
}

impl Session {
    /// Opens the volume in a file or on a block device.
    pub fn open(path: &Path, options: &SessionOptions) -> Result<Self, SessionError> {
        let access = match options.purpose {
            Purpose::Write => Access::ReadWrite,
            Purpose::Read => Access::ReadOnly,
            Purpose::Look => Access::Look,
        };
        Self::on_device(path, open_volume(path, access, options)?, options)
    }

    /// Opens the volume on a block device that the kernel has claimed for a mount of ours.
    pub fn open_claimed(path: &Path, options: &SessionOptions) -> Result<Self, SessionError> {
        let access = if options.purpose == Purpose::Write { Access::Claimed } else { Access::Look };
        Self::on_device(path, open_volume(path, access, options)?, options)
    }

    /// Opens the volume on a device; `path` only names it.
    pub fn on_device(
        path: &Path,
        device: Arc<dyn Device>,
        options: &SessionOptions,
    ) -> Result<Self, SessionError> {
        let started = Instant::now();
        let read_only = options.purpose != Purpose::Write;
        let volume_error = |why| volume_error(path, why);
        let mut space = Box::<Space>::default();
        let how = bento_fs::Options {
            read_only,
            epoch: random_u64().map_err(SessionError::Random)?,
            now: system_time(),
            boot: boot_id(),
        };
        let disk = BlockingDisk(&*device);
        let (mounted, volume, superblock) =
            (options.version.mount)(&disk, &how, &mut space).map_err(volume_error)?;
        let device: Arc<dyn Device> = if read_only {
            Arc::new(Overlay::new(device, &superblock, &mut space).map_err(volume_error)?)
        } else {
            device
        };
        let container_options =
            ContainerOptions { cache_bytes: options.cache_bytes, ..ContainerOptions::default() };
        let medium = Arc::new(Medium::new(device.clone()));
        let containers = Containers::new(medium, &mounted, container_options);
        let core = (options.version.start)(volume);
        let mount = Mount::new(core, containers, read_only);
        let mut session = Self {
            path: path.to_owned(),
            device,
            mount,
            superblock,
            opened: Opened::default(),
            closed: Mutex::new(false),
        };
        if options.purpose != Purpose::Look {
            session.look_at_root()?;
        }
        let orphans = if read_only || mounted.totals.orphans == 0 { 0 } else { session.evict_orphans()? };
        let background = Background { commit_every: options.commit_every };
        session.mount.start_background(background).map_err(SessionError::Thread)?;
        session.opened = Opened { replayed: mounted.replayed, orphans, took: started.elapsed() };
        Ok(session)
    }

    /// A volume without a root is refused before anybody sees it.
    fn look_at_root(&self) -> Result<(), SessionError> {
        let root = self.mount.run(&mut self.mount.call(), OpKind::Read, |fs, call| fs.getattr(call, ROOT));
        root.map(drop).map_err(|errno| SessionError::Root { path: self.path.clone(), errno })
    }

    fn evict_orphans(&self) -> Result<u64, SessionError> {
        let mut call = self.mount.call();
        let what = "taking away files without a name";
        self.mount.evict_orphans(&mut call).map_err(|errno| self.operation(what, errno))
    }

    fn operation(&self, what: &'static str, errno: Errno) -> SessionError {
        SessionError::Operation { path: self.path.clone(), what, errno }
    }

    /// What the opening found.
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The superblock as it was when the volume was opened.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The mount, for operations.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// Replaces the code by another version.
    pub fn upgrade(&self, to: &Version) -> Result<crate::run::Upgraded, crate::run::UpgradeError> {
        self.mount.upgrade(crate::run::Budget::default(), to.import)
    }

    /// Writes everything home and marks the volume clean. Nobody may be calling any more; a second time does nothing.
    pub fn close(&self) -> Result<(), SessionError> {
        let mut closed = self.closed.lock();
        if self.mount.is_read_only() || *closed {
            return Ok(());
        }
        let noted = bento_fs::note_errors(&BlockingDisk(&*self.device), &self.errors(), &mut Box::default());
        if let Err(why) = noted {
            log::warn!("{}: what is wrong could not be noted: {why}", quoted(&self.path));
        }
        let clean = self.mount.unmount().map_err(|errno| self.operation("writing everything home", errno))?;
        if !clean {
            return Ok(());
        }
        let disk = BlockingDisk(&*self.device);
        bento_fs::unmount(&disk, system_time(), &mut Box::default())
            .map_err(|why| SessionError::Volume { path: self.path.clone(), why })?;
        *closed = true;
        Ok(())
    }

    /// What operations met, as the superblock keeps it.
    fn errors(&self) -> Vec<ErrorRecord> {
        let time = system_time().seconds;
        let (reports, _) = self.mount.containers().reports();
        let record = |report: &crate::containers::Report| ErrorRecord {
            time,
            code: report.what.0,
            block: report.block,
            inode: report.ino,
        };
        reports.iter().map(record).collect()
    }

    /// The device, with what the log holds laid over it if the volume is only read.
    pub fn device(&self) -> &dyn Device {
        &*self.device
    }
}

/// Checks that a block device is nobody's and holds a volume, before the kernel is asked to claim it for a mount.
pub fn probe(path: &Path, options: &SessionOptions) -> Result<(), SessionError> {
    open_volume(path, Access::Probe, options).map(drop)
}

/// Opens a device that holds a volume; one that a daemon is just letting go of is waited for.
fn open_volume(
    path: &Path,
    access: Access,
    options: &SessionOptions,
) -> Result<Arc<dyn Device>, SessionError> {
    let patience = Instant::now() + Duration::from_secs(10);
    let device = loop {
        match FileDevice::open(path, access) {
            Err(OpenError::InUse { path: shown }) => {
                if let Some(mount) = mount_table::of_source(path) {
                    return Err(SessionError::Mounted { path: shown, dir: mount.dir });
                }
                if Instant::now() > patience {
                    return Err(OpenError::InUse { path: shown }.into());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other?,
        }
    };
    if let Some(no) = options.superblock {
        if options.purpose == Purpose::Write {
            return Err(SessionError::CopyIsRead { path: path.to_owned() });
        }
        let copy = bento_fsck::copy_at(&BlockingDisk(&device), no);
        let copy = copy.ok_or_else(|| SessionError::NoCopy { path: path.to_owned(), no })?;
        return Ok(Arc::new(ByCopy::new(device, copy)));
    }
    match bento_fs::read_superblock(&BlockingDisk(&device), &mut Box::default()) {
        Ok(_) => Ok(Arc::new(device)),
        Err(why) => Err(volume_error(path, why)),
    }
}

/// Why there is no volume, or what is wrong with it.
fn volume_error(path: &Path, why: Failed) -> SessionError {
    let path = path.to_owned();
    let nothing = matches!(
        why,
        Failed::Corrupt(Corruption::SuperblockMagic, _) | Failed::DeviceTooSmall { device: 0..=1, .. }
    );
    // A version that is not known is no damage, and its copies may be of another.
    let at_superblock = matches!(why, Failed::Corrupt(what, SUPERBLOCK)
        if !matches!(what, Corruption::SuperblockVersion | Corruption::SuperblockIncompat));
    let opened = std::fs::File::open(&path).and_then(|mut file| {
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok((file, bytes))
    });
    let (Ok((mut file, bytes)), true) = (opened, nothing || at_superblock) else {
        return SessionError::Volume { path, why };
    };
    let holds = if nothing { bento_mkfs::find_signature(&mut file, bytes, &path) } else { None };
    let is_ours = holds.as_deref() == Some(bento_mkfs::BENTO);
    if is_ours && bytes < 2 * BLOCK_BYTES {
        return SessionError::CutShort { path, bytes };
    }
    let holds = holds.filter(|_| !is_ours);
    // What is somebody else's by now is not searched for what it was.
    let copy = if holds.is_none() { bento_fsck::find_copy(&Searched::new(&file, bytes)) } else { None };
    match copy {
        Some((copy, _)) => SessionError::Lost { path, why, copy },
        None if nothing && !is_ours => SessionError::NotBento { path, holds },
        None => SessionError::Volume { path, why },
    }
}

fn random_u64() -> Result<u64, rustix::io::Errno> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

/// The boot id of this machine; zeros if it cannot be read.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    uuid::Uuid::parse_str(text.trim()).map(uuid::Uuid::into_bytes).unwrap_or_default()
}

/// A device whose superblock reads as a copy of it says, and that is only read.
struct ByCopy {
    under: FileDevice,
    superblock: Box<Bytes>,
}

impl ByCopy {
    fn new(under: FileDevice, copy: Superblock) -> Self {
        let mut superblock = Box::new([0; bento_api::BLOCK]);
        Superblock { copy_group: GroupNo(0), ..copy }.encode(&mut *superblock);
        Self { under, superblock }
    }
}

impl Device for ByCopy {
    fn blocks(&self) -> u64 {
        self.under.blocks()
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        let mut at = offset;
        for piece in split_blocks(offset, to) {
            let within = (at % bento_api::BLOCK_BYTES) as usize;
            if at / bento_api::BLOCK_BYTES == SUPERBLOCK.0 {
                piece.copy_from_slice(&self.superblock[within..within + piece.len()]);
            } else {
                self.under.read(at, piece)?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn write(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// A device as recovery would leave it, nothing written: blocks that the log holds are read from there.
struct Overlay {
    under: Arc<dyn Device>,
    copies: FxHashMap<u64, Copy>,
}

impl Overlay {
    fn new(under: Arc<dyn Device>, superblock: &Superblock, space: &mut Space) -> Result<Self, Failed> {
        let mut copies = FxHashMap::default();
        let disk = BlockingDisk(&*under);
        bento_fs::replay(&disk, &superblock.geometry, superblock.csum_seed, space, &mut |copy| {
            copies.insert(copy.home.0, copy);
            Ok(())
        })?;
        Ok(Self { under, copies })
    }
}

impl Device for Overlay {
    fn blocks(&self) -> u64 {
        self.under.blocks()
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.under.read(offset, to)?;
        if self.copies.is_empty() {
            return Ok(());
        }
        let mut block: Bytes = [0; bento_api::BLOCK];
        let mut at = offset;
        for piece in split_blocks(offset, to) {
            let (no, within) = (at / bento_api::BLOCK_BYTES, (at % bento_api::BLOCK_BYTES) as usize);
            at += piece.len() as u64;
            if let Some(copy) = self.copies.get(&no) {
                copy.read(&BlockingDisk(&*self.under), &mut block)?;
                piece.copy_from_slice(&block[within..within + piece.len()]);
            }
        }
        Ok(())
    }

    fn write(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// Cuts a buffer that begins at `offset` of a device at the device's block boundaries.
fn split_blocks(offset: u64, to: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let block = bento_api::BLOCK;
    let first = (block - offset as usize % block).min(to.len());
    let (head, rest) = to.split_at_mut(first);
    std::iter::once(head).chain(rest.chunks_mut(block))
}

/// Reads one block of a device, for those who show it.
pub fn read_block(device: &dyn Device, no: BlockNo) -> Result<Box<Bytes>, Errno> {
    let mut bytes = Box::new([0; bento_api::BLOCK]);
    BlockingDisk(device).read(no, &mut bytes)?;
    Ok(bytes)
}
