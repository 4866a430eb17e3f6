//! Attaching a FUSE connection to a directory, and detaching it.
//!
//! Root mounts by mount(2); everybody else has `fusermount3` do it, and gets the descriptor back over a socket.
//! A block device is mounted as `fuseblk`: only then does the kernel claim the device, send SYNCFS and DESTROY,
//! and let umount(2) wait for the answer.
//!
//! A path says nothing about what is mounted there by the time one looks. So everything here first compares
//! device numbers and mount ids, by a statx(2) that is answered without asking any server, and leaves foreign
//! mounts alone.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;
pub use rustix::mount::MountFlags;
use rustix::mount::UnmountFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use thiserror::Error;

/// The part after the dot in the types `fuse.bento` and `fuseblk.bento`.
pub const SUBTYPE: &str = "bento";

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Anything but a block device; the source is only a text in the mount table.
    Image,
    /// A block device, loop devices included. Probe it with O_EXCL before, and reopen it without: the kernel
    /// claims it for the mount. Root only.
    BlockDevice,
}

/// Who may use the mount, and who checks that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, by the permissions of the files, checked by the kernel (`allow_other,default_permissions`).
    Everybody,
    /// The mounting user, with permissions checked by the kernel.
    Owner,
    /// The mounting user, unchecked: a request less for each create, unlink and rename. For root alone, whom
    /// the checks would not stop.
    OwnerUnchecked,
}

/// How to mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// The device, or what the mount table shows instead.
    pub source: OsString,
    /// What that is.
    pub kind: Source,
    /// `nosuid`, `ro` and the like.
    pub flags: MountFlags,
    /// Who may use it.
    pub access: Access,
    /// Largest READ in bytes.
    pub max_read: u32,
}

impl MountOptions {
    /// For an image file: everybody may use it; set-id bits and device nodes mean nothing.
    pub fn image(source: impl Into<OsString>) -> Self {
        Self {
            source: source.into(),
            kind: Source::Image,
            flags: MountFlags::NOSUID | MountFlags::NODEV,
            access: Access::Everybody,
            max_read: 1 << 20,
        }
    }

    /// For an image file or block device, whichever `path` is.
    pub fn for_path(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let block = fs::metadata(path)?.file_type().is_block_device();
        let kind = if block { Source::BlockDevice } else { Source::Image };
        Ok(Self { kind, ..Self::image(path) })
    }

    fn common(&self) -> String {
        let access = match self.access {
            Access::Everybody => ",default_permissions,allow_other",
            Access::Owner => ",default_permissions",
            Access::OwnerUnchecked => "",
        };
        format!("max_read={}{access}", self.max_read)
    }

    /// The data of mount(2).
    fn kernel_data(&self, device: i32, uid: u32, gid: u32) -> String {
        let blksize = match self.kind {
            Source::Image => "",
            Source::BlockDevice => ",blksize=4096",
        };
        format!("fd={device},rootmode=40000,user_id={uid},group_id={gid},{}{blksize}", self.common())
    }

    /// The argument of `fusermount3 -o`. Commas and backslashes of the source are escaped.
    fn helper_options(&self) -> OsString {
        let mut options = OsString::from(self.common());
        options.push(format!(",subtype={SUBTYPE}"));
        for (flag, name) in [
            (MountFlags::RDONLY, ",ro"),
            (MountFlags::NOEXEC, ",noexec"),
            (MountFlags::NOATIME, ",noatime"),
            (MountFlags::SYNCHRONOUS, ",sync"),
            (MountFlags::DIRSYNC, ",dirsync"),
        ] {
            if self.flags.contains(flag) {
                options.push(name);
            }
        }
        options.push(",fsname=");
        let mut escaped = Vec::new();
        for &byte in self.source.as_bytes() {
            if matches!(byte, b',' | b'\\') {
                escaped.push(b'\\');
            }
            escaped.push(byte);
        }
        options.push(OsStr::from_bytes(&escaped));
        options
    }
}

/// Why nothing is mounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// No device to talk through.
    #[error("cannot open {DEVICE}: {0}; is the fuse module loaded (modprobe fuse)?")]
    Device(Errno),
    /// The directory is not usable.
    #[error("cannot mount on {}: {errno}", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// mount(2) said no.
    #[error("cannot mount {} on {}: {errno}", .from.display(), .dir.display())]
    Refused {
        /// What.
        from: PathBuf,
        /// Where.
        dir: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Only root mounts block devices.
    #[error("only root can mount the block device {}", .0.display())]
    NeedsRoot(PathBuf),
    /// The helper is missing or cannot run.
    #[error("cannot run {HELPER}, which mounts for users other than root: {0}; install the package fuse3")]
    NoHelper(io::Error),
    /// The helper said no.
    #[error("{HELPER} cannot mount on {}: {said}", .dir.display())]
    Helper {
        /// Where.
        dir: PathBuf,
        /// What it printed.
        said: String,
    },
}

/// Why something is still mounted.
#[derive(Debug, Error)]
pub enum UnmountError {
    /// In use.
    #[error("{dir} is in use; `fuser -vm {dir}` shows by whom", dir = .0.display())]
    Busy(PathBuf),
    /// Somebody else's mount, or none, is at this path now. It was left alone.
    #[error("{} is not our mount any more", .0.display())]
    NotOurs(PathBuf),
    /// umount(2) or the helper said no.
    #[error("cannot unmount {}: {reason}", .dir.display())]
    Refused {
        /// Where.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How hard to unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// Only if nobody uses it.
    IfIdle,
    /// Out of sight now, and for good when its last user is gone.
    Lazily,
    /// Only if nobody uses it, but without waiting for its server: what that has not answered fails. Root only.
    Forcibly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    Direct,
    Helper,
}

/// A mount of ours: plain data, so that it can go to another process with the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    dir: PathBuf,
    identity: Identity,
    kind: Source,
    way: Way,
}

/// Mounts on `dir`. The descriptor waits for its handshake; until then every access to `dir` waits too.
///
/// A dead mount of ours in the same place (its server was killed) is detached first.
pub fn mount(dir: &Path, options: &MountOptions) -> Result<(OwnedFd, Mount), MountError> {
    let directory = |errno| MountError::Directory { dir: dir.to_owned(), errno };
    clear_dead(dir).map_err(directory)?;
    // What is shown and compared later must not depend on the current directory.
    let dir = &fs::canonicalize(dir).map_err(|error| directory(errno_of(&error)))?;
    let (fd, way) = if rustix::process::geteuid().is_root() {
        (mount_directly(dir, options)?, Way::Direct)
    } else {
        (mount_by_helper(dir, options)?, Way::Helper)
    };
    let place = Place::at(dir).map_err(directory)?;
    Ok((fd, Mount { dir: dir.clone(), identity: place.identity, kind: options.kind, way }))
}

fn mount_directly(dir: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(MountError::Device)?;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let data = options.kernel_data(device.as_fd().as_raw_fd(), uid, gid);
    let kind = match options.kind {
        Source::Image => format!("fuse.{SUBTYPE}"),
        Source::BlockDevice => format!("fuseblk.{SUBTYPE}"),
    };
    let refused =
        |errno| MountError::Refused { from: options.source.clone().into(), dir: dir.to_owned(), errno };
    let data = CString::new(data).map_err(|_| refused(Errno::INVAL))?;
    rustix::mount::mount(options.source.as_os_str(), dir, kind, options.flags, data.as_c_str())
        .map_err(refused)?;
    Ok(device)
}

fn mount_by_helper(dir: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    if options.kind == Source::BlockDevice {
        return Err(MountError::NeedsRoot(options.source.clone().into()));
    }
    let no_helper = |errno: Errno| MountError::NoHelper(errno.into());
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(no_helper)?;
    let output = {
        let mut command = Command::new(HELPER);
        command.arg("-o").arg(options.helper_options()).arg("--").arg(dir);
        // The socket goes as standard input: no descriptor has to lose its close-on-exec mark.
        command.env("_FUSE_COMMFD", "0").stdin(Stdio::from(theirs));
        command.output().map_err(MountError::NoHelper)?
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(MountError::Helper { dir: dir.to_owned(), said });
    }
    receive_descriptor(&ours).map_err(no_helper)
}

fn receive_descriptor(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or(Errno::BADMSG)
}

impl Mount {
    /// Where, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Major and minor number of its `st_dev`.
    pub fn device(&self) -> (u32, u32) {
        self.identity.device
    }

    /// Whether it is still what one finds at its path.
    pub fn is_in_place(&self) -> bool {
        Place::at(&self.dir).is_ok_and(|place| place.is_root && place.identity.matches(&self.identity))
    }

    /// Unmounts it, unless something else is at its path by now. Never call this from a thread that serves it.
    pub fn unmount(&self, how: Detach) -> Result<(), UnmountError> {
        if !self.is_in_place() {
            return Err(UnmountError::NotOurs(self.dir.clone()));
        }
        match self.way {
            Way::Direct => unmount_directly(&self.dir, how),
            Way::Helper => unmount_by_helper(&self.dir, how),
        }
    }

    /// Sets how far the kernel reads ahead. To be called after the handshake, which lowers it; root only.
    pub fn set_read_ahead(&self, kib: u32) -> io::Result<()> {
        let (major, minor) = self.device();
        let suffix = match self.kind {
            Source::Image => "",
            Source::BlockDevice => "-fuseblk",
        };
        fs::write(format!("/sys/class/bdi/{major}:{minor}{suffix}/read_ahead_kb"), kib.to_string())
    }
}

/// Unmounts whatever is at a directory.
pub fn unmount_at(dir: &Path, how: Detach) -> Result<(), UnmountError> {
    if rustix::process::geteuid().is_root() {
        unmount_directly(dir, how)
    } else {
        unmount_by_helper(dir, how)
    }
}

fn unmount_directly(dir: &Path, how: Detach) -> Result<(), UnmountError> {
    let flags = match how {
        Detach::IfIdle => UnmountFlags::NOFOLLOW,
        Detach::Lazily => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
        Detach::Forcibly => UnmountFlags::NOFOLLOW | UnmountFlags::FORCE,
    };
    rustix::mount::unmount(dir, flags).map_err(|errno| match errno {
        Errno::BUSY => UnmountError::Busy(dir.to_owned()),
        errno => UnmountError::Refused { dir: dir.to_owned(), reason: errno.to_string() },
    })
}

fn unmount_by_helper(dir: &Path, how: Detach) -> Result<(), UnmountError> {
    let mut command = Command::new(HELPER);
    command.arg("-u").args((how == Detach::Lazily).then_some("-z")).arg("--").arg(dir);
    let refused = |reason: String| UnmountError::Refused { dir: dir.to_owned(), reason };
    let output = command.stdin(Stdio::null()).output().map_err(|error| refused(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("busy") {
        return Err(UnmountError::Busy(dir.to_owned()));
    }
    Err(refused(said.trim().to_owned()))
}

/// Tells mounts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    /// Reused as soon as its mount is gone.
    device: (u32, u32),
    /// Never reused; Linux 6.8 and later.
    unique: Option<u64>,
}

impl Identity {
    fn matches(&self, other: &Self) -> bool {
        let unique = match (self.unique, other.unique) {
            (Some(this), Some(that)) => this == that,
            _ => true,
        };
        self.device == other.device && unique
    }
}

/// What is at a path, found out without a request to whoever serves it.
struct Place {
    identity: Identity,
    is_root: bool,
}

impl Place {
    /// `STATX_MNT_ID_UNIQUE`, which rustix does not name.
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

    fn at(path: &Path) -> Result<Self, Errno> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        // Not even root may ask anything of a mount that belongs to another user alone; nothing, it may.
        let found: Statx = statx(CWD, path, flags, Self::UNIQUE)
            .or_else(|_| statx(CWD, path, flags, StatxFlags::empty()))?;
        let is_unique = found.stx_mask & Self::UNIQUE.bits() != 0;
        let identity = Identity {
            device: (found.stx_dev_major, found.stx_dev_minor),
            unique: is_unique.then_some(found.stx_mnt_id),
        };
        Ok(Self { identity, is_root: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) })
    }

    /// Whether this is a mount of our type.
    fn is_bento(&self) -> bool {
        let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return false };
        is_bento_in(&table, self.identity.device)
    }
}

fn is_bento_in(table: &str, (major, minor): (u32, u32)) -> bool {
    let device = format!("{major}:{minor}");
    let types = [format!("fuse.{SUBTYPE}"), format!("fuseblk.{SUBTYPE}")];
    table.lines().any(|line| {
        let Some((place, kind)) = line.split_once(" - ") else { return false };
        place.split(' ').nth(2) == Some(&device)
            && kind.split(' ').next().is_some_and(|kind| types.iter().any(|ours| ours == kind))
    })
}

/// Detaches mounts of ours whose server is gone, from the top of the stack at `dir` down.
pub fn clear_dead(dir: &Path) -> Result<(), Errno> {
    // Each round takes one mount off; the bound is for a stack that grows meanwhile.
    for _ in 0..16 {
        let place = Place::at(dir)?;
        if !place.is_root || !place.is_bento() {
            return Ok(());
        }
        // Cached attributes outlive the server, so the question must be one that only it can answer.
        let alive =
            statx(CWD, dir, AtFlags::STATX_FORCE_SYNC | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS);
        if !matches!(alive, Err(Errno::NOTCONN | Errno::CONNABORTED)) {
            return Ok(());
        }
        log::warn!("detaching a dead mount from {}: its server is gone", dir.display());
        if let Err(error) = unmount_at(dir, Detach::Lazily) {
            log::error!("{error}");
            return Err(Errno::NOTCONN);
        }
    }
    Ok(())
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_gets_permission_checks_whenever_it_gets_allow_other() {
        let image = MountOptions::image("a");
        let data = image.kernel_data(5, 0, 0);
        assert_eq!(
            data,
            "fd=5,rootmode=40000,user_id=0,group_id=0,max_read=1048576,default_permissions,allow_other"
        );
        let block = MountOptions { kind: Source::BlockDevice, access: Access::OwnerUnchecked, ..image };
        assert_eq!(
            block.kernel_data(5, 0, 0),
            "fd=5,rootmode=40000,user_id=0,group_id=0,max_read=1048576,blksize=4096"
        );
    }

    #[test]
    fn a_source_cannot_smuggle_options_past_the_helper() {
        let options = MountOptions::image("x,allow_root\\,dev");
        let text = options.helper_options();
        assert!(text.to_str().unwrap().ends_with(r",fsname=x\,allow_root\\\,dev"), "{text:?}");
    }

    #[test]
    fn only_mounts_of_our_type_count_as_ours() {
        let table = "21 1 0:40 / /a rw - fuse.sshfs host rw\n\
                     22 1 0:41 / /b rw shared:1 - fuse.bento img rw\n\
                     23 1 7:0 / /c rw - fuseblk.bento /dev/loop0 rw\n";
        assert!(!is_bento_in(table, (0, 40)));
        assert!(is_bento_in(table, (0, 41)));
        assert!(is_bento_in(table, (7, 0)));
        assert!(!is_bento_in(table, (0, 4)));
    }
}
