//! Between FUSE's structures and ours.
use crate::fuse::{Errno, Header, abi};
use bento_api::{Attr, Caller, SetAttr, SetTime, Time};

/// `STATX_BASIC_STATS | STATX_BTIME`.
const STATX_MASK: u32 = 0x7ff | 0x800;

/// An error number of ours as the kernel's.
pub(super) fn errno(errno: bento_api::Errno) -> Errno {
    Errno::from_raw_os_error(errno.number())
}

pub(super) fn caller(header: &Header) -> Caller {
    Caller { uid: header.uid, gid: header.gid, pid: header.pid, ..Caller::default() }
}

pub(super) fn fuse_attr(attr: &Attr) -> abi::Attr {
    abi::Attr {
        ino: attr.ino.0,
        size: attr.size,
        blocks: attr.sectors,
        atime: attr.atime.seconds.cast_unsigned(),
        mtime: attr.mtime.seconds.cast_unsigned(),
        ctime: attr.ctime.seconds.cast_unsigned(),
        atimensec: attr.atime.nanoseconds,
        mtimensec: attr.mtime.nanoseconds,
        ctimensec: attr.ctime.nanoseconds,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// An entry that may be cached for ever: nobody else writes to the volume.
pub(super) fn entry(attr: &Attr) -> abi::EntryOut {
    abi::EntryOut {
        nodeid: attr.ino.0,
        generation: attr.generation.into(),
        entry_valid: abi::FOREVER_S,
        attr_valid: abi::FOREVER_S,
        attr: fuse_attr(attr),
        ..abi::EntryOut::default()
    }
}

/// That a name is not there, to be cached too.
pub(super) fn no_entry() -> abi::EntryOut {
    abi::EntryOut { entry_valid: abi::FOREVER_S, ..abi::EntryOut::default() }
}

fn statx_time(time: Time) -> abi::SxTime {
    abi::SxTime { sec: time.seconds, nsec: time.nanoseconds, reserved: 0 }
}

pub(super) fn statx(attr: &Attr) -> abi::StatxOut {
    let (major, minor) = ((attr.rdev >> 8) & 0xfff, (attr.rdev & 0xff) | (attr.rdev >> 12) & 0xf_ff00);
    let stat = abi::Statx {
        mask: STATX_MASK,
        blksize: 4096,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        mode: u16::try_from(attr.mode).unwrap_or(0),
        ino: attr.ino.0,
        size: attr.size,
        blocks: attr.sectors,
        atime: statx_time(attr.atime),
        btime: statx_time(attr.btime),
        ctime: statx_time(attr.ctime),
        mtime: statx_time(attr.mtime),
        rdev_major: major,
        rdev_minor: minor,
        ..abi::Statx::default()
    };
    abi::StatxOut { attr_valid: abi::FOREVER_S, stat, ..abi::StatxOut::default() }
}

fn time(seconds: u64, nanoseconds: u32) -> SetTime {
    SetTime::To(Time::new(seconds.cast_signed(), nanoseconds.min(999_999_999)))
}

pub(super) fn setattr_of(arg: &abi::SetattrIn) -> SetAttr {
    let valid = abi::SetattrValid::from_bits_truncate(arg.valid);
    let has = |bit| valid.contains(bit);
    let owner = has(abi::SetattrValid::UID) || has(abi::SetattrValid::GID);
    let set_time = |to: abi::SetattrValid, now: abi::SetattrValid, seconds, nanoseconds| match () {
        () if has(now) => Some(SetTime::Now),
        () if has(to) => Some(time(seconds, nanoseconds)),
        () => None,
    };
    use abi::SetattrValid as Valid;
    SetAttr {
        mode: has(Valid::MODE).then_some(arg.mode),
        uid: has(Valid::UID).then_some(arg.uid),
        gid: has(Valid::GID).then_some(arg.gid),
        size: has(Valid::SIZE).then_some(arg.size),
        atime: set_time(Valid::ATIME, Valid::ATIME_NOW, arg.atime, arg.atimensec),
        mtime: set_time(Valid::MTIME, Valid::MTIME_NOW, arg.mtime, arg.mtimensec),
        ctime: has(Valid::CTIME).then(|| time(arg.ctime, arg.ctimensec)),
        // With HANDLE_KILLPRIV_V2 the kernel leaves it to us that a new owner ends set-id bits.
        kill_privileges: has(Valid::KILL_SUIDGID) || owner,
        ..SetAttr::default()
    }
}
