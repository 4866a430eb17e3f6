//! The connection: /dev/fuse, its INIT handshake, and what was agreed there.
//!
//! One read(2) takes one request, one writev(2) gives one reply. What INIT agreed on is plain data
//! ([`Negotiated`]): the kernel sends INIT once in the life of a mount, so a process that takes a live
//! connection over gets the descriptor and this data, and continues with [`Connection::adopt`].

use super::abi::{self, InitFlags};
use super::mount::Access;
use super::reply::{NOTIFICATION_MAX, Notification, ReplyBuf};
use super::request::{Op, decode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;
use zerocopy::IntoBytes;

/// What to ask for in the handshake.
#[derive(Clone, Copy, Debug)]
pub struct InitConfig {
    /// Features to take if the kernel offers them.
    pub flags: InitFlags,
    /// Largest WRITE, and largest READ, in bytes; a multiple of the page size.
    pub max_write: u32,
    /// Most read-ahead, in bytes. The kernel never takes more than the mount's `read_ahead_kb`, which
    /// [`Mount::set_read_ahead`](super::mount::Mount::set_read_ahead) raises afterwards.
    pub max_readahead: u32,
    /// How many requests nobody waits for (read-ahead, write-back) may be outstanding.
    pub max_background: u16,
}

/// What a single-owner file system wants: every cache, no open files, write-through.
///
/// Left out on purpose: ATOMIC_O_TRUNC (with opens suppressed, O_TRUNC would be lost), READDIRPLUS_AUTO (plain
/// listings fill the directory cache, and each stat after them is a LOOKUP), AUTO_INVAL_DATA (nobody changes
/// files behind the kernel), remote locks (they would not survive a hand-over), request time-outs (they abort
/// the mount of a paused server). POSIX_ACL is for who checks permissions ([`InitConfig::for_access`]); DONT_MASK would go
/// with default lists. WRITEBACK_CACHE and SECURITY_CTX are options.
pub const WANTED: InitFlags = InitFlags::ASYNC_READ
    .union(InitFlags::EXPORT_SUPPORT)
    .union(InitFlags::BIG_WRITES)
    .union(InitFlags::DO_READDIRPLUS)
    .union(InitFlags::ASYNC_DIO)
    .union(InitFlags::NO_OPEN_SUPPORT)
    .union(InitFlags::PARALLEL_DIROPS)
    .union(InitFlags::ABORT_ERROR)
    .union(InitFlags::MAX_PAGES)
    .union(InitFlags::CACHE_SYMLINKS)
    .union(InitFlags::NO_OPENDIR_SUPPORT)
    .union(InitFlags::EXPLICIT_INVAL_DATA)
    .union(InitFlags::HANDLE_KILLPRIV_V2)
    .union(InitFlags::SETXATTR_EXT)
    .union(InitFlags::INIT_EXT)
    .union(InitFlags::HAS_RESEND)
    .union(InitFlags::ALLOW_IDMAP);

impl InitConfig {
    /// For a mount that these may use. Where the kernel checks no permissions it refuses to be asked for what only matters
    /// to the check: since 6.12 it ends such a mount at once.
    pub fn for_access(access: Access) -> Self {
        let usual = Self::default();
        let flags = match access {
            Access::Everybody | Access::Owner => usual.flags.union(InitFlags::POSIX_ACL),
            Access::OwnerUnchecked => usual.flags.difference(InitFlags::ALLOW_IDMAP),
        };
        Self { flags, ..usual }
    }
}

impl Default for InitConfig {
    /// For a mount whose permissions the kernel checks, and of no access control lists.
    fn default() -> Self {
        Self { flags: WANTED, max_write: 1 << 20, max_readahead: 1 << 20, max_background: 64 }
    }
}

/// What the handshake agreed on; travels with the descriptor when another process takes the mount over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negotiated {
    /// The smaller of the two minor versions.
    pub minor: u32,
    /// Bits of [`InitFlags`] in force.
    pub flags: u64,
    /// Largest WRITE in bytes.
    pub max_write: u32,
    /// Largest payload in pages.
    pub max_pages: u16,
    /// Most read-ahead in bytes.
    pub max_readahead: u32,
    /// Outstanding requests nobody waits for.
    pub max_background: u16,
}

impl Negotiated {
    /// The features in force.
    pub fn flags(&self) -> InitFlags {
        InitFlags::from_bits_truncate(self.flags)
    }

    fn payload_max(&self) -> usize {
        let write = usize::try_from(self.max_write).unwrap_or(usize::MAX);
        write.max(usize::from(self.max_pages) * abi::PAGE)
    }

    /// Answers an INIT, or says which version we would have needed.
    fn agree(config: &InitConfig, init: &abi::InitIn) -> Result<(Self, abi::InitOut), HandshakeError> {
        let (major, minor) = (init.major, init.minor);
        let old = HandshakeError::TooOld { major, minor };
        if major < abi::MAJOR || minor < abi::MINOR_MIN {
            return Err(old);
        }
        let mut offered = u64::from(init.flags);
        if InitFlags::from_bits_truncate(offered).contains(InitFlags::INIT_EXT) {
            offered |= u64::from(init.flags2) << 32;
        }
        let flags = InitFlags::from_bits_truncate(offered).intersection(config.flags);
        // The decoder knows only the long SETXATTR, so this one feature is a condition.
        if !flags.contains(InitFlags::SETXATTR_EXT) {
            return Err(old);
        }
        let page = u32::try_from(abi::PAGE).unwrap_or(u32::MAX);
        let agreed = Self {
            minor: minor.min(abi::MINOR),
            flags: flags.bits(),
            max_write: config.max_write.max(page),
            max_pages: u16::try_from(config.max_write.div_ceil(page)).unwrap_or(u16::MAX).max(1),
            max_readahead: config.max_readahead.min(init.max_readahead),
            max_background: config.max_background,
        };
        let [low, high] = halves(agreed.flags);
        let out = abi::InitOut {
            major: abi::MAJOR,
            minor: abi::MINOR,
            max_readahead: agreed.max_readahead,
            flags: low,
            max_background: agreed.max_background,
            congestion_threshold: agreed.max_background - agreed.max_background / 4,
            max_write: agreed.max_write,
            time_gran: 1,
            max_pages: agreed.max_pages,
            flags2: high,
            ..abi::InitOut::default()
        };
        Ok((agreed, out))
    }
}

fn halves(wide: u64) -> [u32; 2] {
    [wide, wide >> 32].map(|half| u32::try_from(half & u64::from(u32::MAX)).unwrap_or(0))
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum End {
    /// Unmounted: nothing more will come.
    #[error("unmounted")]
    Unmounted,
    /// Aborted, through /sys/fs/fuse/connections or because every descriptor was closed; clients get errors.
    #[error("the connection was aborted")]
    Aborted,
    /// We stopped serving; the mount waits for another server.
    #[error("stopped")]
    Stopped,
    /// The device failed in a way that it should not.
    #[error("cannot read from /dev/fuse: {0}")]
    Failed(Errno),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The other end is gone.
    #[error("the mount ended before it began: {0}")]
    Ended(End),
    /// The kernel speaks an older protocol than we can.
    #[error("the kernel speaks FUSE {major}.{minor}, at least 7.{} is needed: Linux 5.13", abi::MINOR_MIN)]
    TooOld {
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// The first message is no INIT: this connection is in use already, and can only be adopted.
    #[error("the first message was no INIT: another server has had this connection")]
    NotInit,
    /// The reply was not taken.
    #[error("the kernel refused our answer to INIT: {0}")]
    Refused(Errno),
}

/// Why a reply or notification did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// Nobody waits for it any more (reply), or the kernel does not know the inode or name (notification).
    #[error("nobody waits for it")]
    NoSuchRequest,
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
    /// The kernel found it malformed. The caller got EIO.
    #[error("the kernel refused it: {0}")]
    Refused(Errno),
}

/// A /dev/fuse descriptor after its handshake.
#[derive(Debug)]
pub struct Connection {
    device: OwnedFd,
    state: Negotiated,
}

impl Connection {
    /// Answers the kernel's INIT on a fresh mount.
    pub fn handshake(device: OwnedFd, config: &InitConfig) -> Result<Self, HandshakeError> {
        let mut buffer = Buffer::new(usize::try_from(config.max_write).unwrap_or(0), 0);
        loop {
            let received = receive(device.as_fd(), buffer.bytes()).map_err(HandshakeError::Ended)?;
            let Some(len) = received else { continue };
            let message = buffer.bytes().get(..len).unwrap_or_default();
            let Ok((header, Op::Init(init))) = decode(message) else {
                return Err(HandshakeError::NotInit);
            };
            if init.major > abi::MAJOR {
                // The protocol's own rule: name our major version, and expect another INIT.
                let ours = abi::InitOut { major: abi::MAJOR, minor: abi::MINOR, ..abi::InitOut::default() };
                answer_init(device.as_fd(), header.unique, &ours)?;
                continue;
            }
            return match Negotiated::agree(config, &init) {
                Ok((state, out)) => {
                    answer_init(device.as_fd(), header.unique, &out)?;
                    Ok(Self { device, state })
                }
                Err(error) => {
                    let _ = send(device.as_fd(), -Errno::PROTO.raw_os_error(), header.unique, [&[]; 3]);
                    Err(error)
                }
            };
        }
    }

    /// Takes over a connection whose handshake another server has done.
    pub fn adopt(device: OwnedFd, state: Negotiated) -> Self {
        Self { device, state }
    }

    /// What was agreed.
    pub fn negotiated(&self) -> &Negotiated {
        &self.state
    }

    /// Memory for one request at a time. The data of a WRITE starts on a page.
    pub fn request_buffer(&self) -> Buffer {
        Buffer::new(self.state.payload_max(), size_of::<abi::InHeader>() + size_of::<abi::WriteIn>())
    }

    /// Memory for one reply at a time. It starts on a page, and so does the data of a READ.
    pub fn reply_buffer(&self) -> Buffer {
        Buffer::new(self.state.payload_max(), 0)
    }

    /// Waits for a request; its length, or `None` if a signal came first.
    pub fn receive(&self, buffer: &mut Buffer) -> Result<Option<usize>, End> {
        receive(self.device.as_fd(), buffer.bytes())
    }

    /// Whether a request waits.
    pub fn readable(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&now)), Ok(1..))
    }

    /// Answers a request: a payload, or an error number.
    pub fn reply(&self, unique: u64, result: Result<&[u8], Errno>) -> Result<(), SendError> {
        let (error, payload) = match result {
            Ok(payload) => (0, payload),
            Err(errno) => (-errno.raw_os_error(), &[][..]),
        };
        send(self.device.as_fd(), error, unique, [payload, &[], &[]])
    }

    /// Tells the kernel something unasked. See [`Notification`] for where this may be called.
    pub fn notify(&self, notification: Notification<'_>) -> Result<(), SendError> {
        let mut space = [0; NOTIFICATION_MAX];
        let (fixed, [name, nul]) = notification.encode(&mut space);
        send(self.device.as_fd(), notification.code() as i32, 0, [fixed, name, nul])
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

fn answer_init(device: BorrowedFd<'_>, unique: u64, out: &abi::InitOut) -> Result<(), HandshakeError> {
    let mut space = [0; size_of::<abi::InitOut>()];
    let mut reply = ReplyBuf::new(&mut space);
    reply.init(out).map_err(HandshakeError::Refused)?;
    send(device, 0, unique, [reply.payload(), &[], &[]]).map_err(|error| match error {
        SendError::Refused(errno) => HandshakeError::Refused(errno),
        SendError::NoSuchRequest | SendError::Gone => HandshakeError::Ended(End::Aborted),
    })
}

fn receive(device: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<usize>, End> {
    loop {
        match rustix::io::read(device, &mut *buffer) {
            // A stream that ends is no device: the far side of a test's socket.
            Ok(0) => return Err(End::Unmounted),
            Ok(len) => return Ok(Some(len)),
            Err(Errno::INTR) => return Ok(None),
            // The request was taken back before we got it.
            Err(Errno::NOENT) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&device, PollFlags::IN)], None);
            }
            Err(Errno::NODEV) => return Err(End::Unmounted),
            Err(Errno::CONNABORTED) => return Err(End::Aborted),
            Err(errno) => return Err(End::Failed(errno)),
        }
    }
}

/// A short message in one piece on one page. The kernel looks up the memory behind each piece of a reply, which costs
/// more than to copy these few bytes here.
#[repr(align(256))]
struct Small([u8; 256]);

impl Small {
    /// The parts, one behind the other, if they are short enough.
    fn join(&mut self, parts: [&[u8]; 4]) -> Option<&[u8]> {
        let mut len = 0;
        for part in parts {
            let end = len + part.len();
            self.0.get_mut(len..end)?.copy_from_slice(part);
            len = end;
        }
        self.0.get(..len)
    }
}

fn send(device: BorrowedFd<'_>, error: i32, unique: u64, parts: [&[u8]; 3]) -> Result<(), SendError> {
    let len = size_of::<abi::OutHeader>() + parts.iter().map(|part| part.len()).sum::<usize>();
    let len = u32::try_from(len).map_err(|_| SendError::Refused(Errno::TOOBIG))?;
    let header = abi::OutHeader { len, error, unique };
    let [a, b, c] = parts;
    let mut space = Small([0; _]);
    let small = space.join([header.as_bytes(), a, b, c]);
    let slices = [header.as_bytes(), a, b, c].map(IoSlice::new);
    // The kernel walks empty slices too; a reply is a header and at most one payload.
    let used = if b.is_empty() && c.is_empty() { &slices[..2] } else { &slices[..] };
    loop {
        let sent = match small {
            Some(message) => rustix::io::write(device, message),
            None => rustix::io::writev(device, used),
        };
        return match sent {
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(Errno::NOENT) => Err(SendError::NoSuchRequest),
            Err(Errno::NODEV | Errno::CONNABORTED | Errno::NOTCONN) => Err(SendError::Gone),
            Err(errno) => Err(SendError::Refused(errno)),
        };
    }
}

/// Memory for messages, placed so that its byte `lead` starts a page: the kernel copies page by page, and
/// data that starts on a page costs it half as many steps (and can go to a device with O_DIRECT).
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new(payload: usize, lead: usize) -> Self {
        // A page more than the payload for headers (the kernel asks for that), and two to shift the start.
        // Zeroed memory of this size is not touched before it is used.
        let memory = vec![0; payload + 3 * abi::PAGE];
        let to_page = memory.as_ptr().align_offset(abi::PAGE).min(abi::PAGE);
        let start = if to_page >= lead { to_page - lead } else { to_page + abi::PAGE - lead };
        Self { memory, start }
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_features_that_are_offered_wanted_and_known_are_taken() {
        let everything = abi::InitIn {
            major: 7,
            minor: 99,
            max_readahead: 1 << 17,
            flags: u32::MAX,
            flags2: u32::MAX,
            ..abi::InitIn::default()
        };
        let (state, out) = Negotiated::agree(&InitConfig::default(), &everything).unwrap();
        assert_eq!(state.flags(), WANTED);
        assert_eq!(u64::from(out.flags) | u64::from(out.flags2) << 32, WANTED.bits());
        assert_eq!((state.minor, state.max_pages, state.max_readahead), (abi::MINOR, 256, 1 << 17));
        for trap in [3, 12, 14, 16, 42, 41, 10, 1] {
            assert_eq!(state.flags & (1 << trap), 0, "bit {trap}");
        }
    }

    #[test]
    fn a_kernel_without_the_long_setxattr_is_refused() {
        let init = abi::InitIn { major: 7, minor: 31, flags: u32::MAX, ..abi::InitIn::default() };
        let error = Negotiated::agree(&InitConfig::default(), &init).unwrap_err();
        assert_eq!(error, HandshakeError::TooOld { major: 7, minor: 31 });
        let init = abi::InitIn { minor: 45, flags: 0, ..init };
        assert!(Negotiated::agree(&InitConfig::default(), &init).is_err());
    }

    #[test]
    fn the_agreed_state_survives_serialisation() {
        let init =
            abi::InitIn { major: 7, minor: 45, flags: u32::MAX, flags2: u32::MAX, ..Default::default() };
        let (state, _) = Negotiated::agree(&InitConfig::default(), &init).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<Negotiated>(&text).unwrap(), state);
    }

    #[test]
    fn the_payload_of_a_write_starts_on_a_page() {
        for lead in [0, 80] {
            let mut buffer = Buffer::new(1 << 20, lead);
            assert_eq!(buffer.bytes()[lead..].as_ptr().align_offset(abi::PAGE), 0);
            assert!(buffer.bytes().len() >= (1 << 20) + abi::PAGE);
        }
    }
}
