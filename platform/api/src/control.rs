//! What `bento upgrade` and its like say to whoever serves a mount: ioctls on any directory of it. A host in userspace and
//! one in the kernel answer the same bytes.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `_IOWR(0xBE, 1, [u8; 256])`: upgrade. A request of 256 bytes is replaced by a reply of as many.
pub const UPGRADE_IOCTL: u32 = 3 << 30 | 256 << 16 | 0xBE << 8 | 1;
/// `_IOWR(0xBE, 2, [u8; 256])`: how the volume is served.
pub const STATUS_IOCTL: u32 = 3 << 30 | 256 << 16 | 0xBE << 8 | 2;
/// `_IOWR(0xBE, 3, [u8; 256])`: what is durable when it is answered changed by a remount, which a host in userspace is not
/// told of by the kernel.
pub const SYNC_IOCTL: u32 = 3 << 30 | 256 << 16 | 0xBE << 8 | 3;
/// Bytes of a version's name or text, the NUL at its end included.
pub const VERSION_BYTES: usize = 64;
/// Bytes of the reason why an upgrade was refused, the NUL at its end included.
pub const REASON_BYTES: usize = 128;

/// What `bento upgrade` asks for.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UpgradeRequest {
    /// The version's name, padded with NUL; empty: another one than now.
    pub to: [u8; VERSION_BYTES],
    /// Zero.
    pub unused: [u8; 192],
}

/// How it went.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UpgradeReply {
    /// How long operations were kept out, in nanoseconds.
    pub closed_ns: u64,
    /// From the first try to the end, in nanoseconds.
    pub total_ns: u64,
    /// Tries that were given up because operations did not drain in time.
    pub refusals: u64,
    /// Bytes that were handed over.
    pub handed_over: u64,
    /// The version that serves now, padded with NUL.
    pub version: [u8; VERSION_BYTES],
    /// Why the upgrade was refused and the old version serves on, padded with NUL; empty if it was not.
    pub refused: [u8; REASON_BYTES],
    /// Zero.
    pub unused: [u8; 32],
}

/// How the volume is served.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Status {
    /// The version that serves, padded with NUL.
    pub version: [u8; VERSION_BYTES],
    /// 1 if the host has the volume open for reading only: then no remount makes it writable.
    pub read_only: u64,
    /// Zero.
    pub unused: [u8; 184],
}

/// What is to be durable when it is answered.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SyncRequest {
    /// 0: what was synced; 1: names too (`dirsync`); 2: every change (`sync`).
    pub level: u64,
    /// Zero.
    pub unused: [u8; 248],
}

const _: () = assert!(
    size_of::<UpgradeRequest>() == 256
        && size_of::<UpgradeReply>() == 256
        && size_of::<Status>() == 256
        && size_of::<SyncRequest>() == 256
);
