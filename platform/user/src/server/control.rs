//! Talking to the daemon of a mount: an ioctl on its root directory, which the kernel passes on.
use super::Bento;
use crate::fuse::{Errno, ReplyBuf, Request, abi};
use crate::versions;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// `_IOWR(0xBE, 1, [u8; 256])`: upgrade. The kernel reads a request of 256 bytes and writes a reply of as many.
pub const UPGRADE_IOCTL: u32 = 3 << 30 | 256 << 16 | 0xBE << 8 | 1;
/// `_IOWR(0xBE, 2, [u8; 256])`: how the volume is served.
pub const STATUS_IOCTL: u32 = 3 << 30 | 256 << 16 | 0xBE << 8 | 2;

/// What `bento upgrade` asks for.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UpgradeRequest {
    /// The version's name, padded with NUL; empty: another one than now.
    pub to: [u8; 64],
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
    pub version: [u8; 64],
    /// Why the upgrade was refused and the old version serves on, padded with NUL; empty if it was not.
    pub refused: [u8; 128],
    /// Zero.
    pub unused: [u8; 32],
}

/// How the volume is served.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Status {
    /// The version that serves, padded with NUL.
    pub version: [u8; 64],
    /// 1 if the daemon has the volume open for reading only: then no remount makes it writable.
    pub read_only: u64,
    /// Zero.
    pub unused: [u8; 184],
}

/// Text in a fixed field.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

fn put_text(field: &mut [u8], text: &str) {
    for (place, byte) in field.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
}

/// Who asks. On mounts that may be idmapped the kernel does not say it in the request; the process does.
fn caller_of(request: &Request<'_>) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    match request.header.uid {
        abi::INVALID_ID => {
            std::fs::metadata(format!("/proc/{}", request.header.pid)).ok().map(|process| process.uid())
        }
        uid => Some(uid),
    }
}

impl Bento {
    pub(super) fn control(
        &self,
        request: &Request<'_>,
        arg: &abi::IoctlIn,
        data: &[u8],
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        match arg.cmd {
            UPGRADE_IOCTL => {
                let caller = caller_of(request).ok_or(Errno::PERM)?;
                if caller != 0 && caller != rustix::process::getuid().as_raw() {
                    return Err(Errno::PERM);
                }
                request.will_block();
                reply.ioctl(0, self.upgrade(data)?.as_bytes())
            }
            STATUS_IOCTL => reply.ioctl(0, self.status().as_bytes()),
            _ => Err(Errno::NOTTY),
        }
    }

    fn upgrade(&self, data: &[u8]) -> Result<UpgradeReply, Errno> {
        let (wanted, _) = UpgradeRequest::read_from_prefix(data).map_err(|_| Errno::INVAL)?;
        let wanted = text(&wanted.to);
        let running = self.mount().with_core(|fs| fs.version());
        let name = (!wanted.is_empty()).then_some(wanted.as_str());
        let version = versions::choose(name, running).ok_or(Errno::NOENT)?;
        let mut report = UpgradeReply::new_zeroed();
        match self.session.upgrade(version) {
            Ok(done) => {
                let nanoseconds =
                    |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
                report.closed_ns = nanoseconds(done.closed);
                report.total_ns = nanoseconds(done.total);
                report.refusals = done.refusals.into();
                report.handed_over = done.handed_over as u64;
            }
            Err(why) => {
                log::error!("upgrade to {}: {why}", version.name);
                put_text(&mut report.refused, &why.to_string());
            }
        }
        put_text(&mut report.version, self.mount().with_core(|fs| fs.version()));
        Ok(report)
    }

    fn status(&self) -> Status {
        let mut status = Status { read_only: self.mount().is_read_only().into(), ..Status::new_zeroed() };
        put_text(&mut status.version, self.mount().with_core(|fs| fs.version()));
        status
    }
}

const _: () = assert!(
    size_of::<UpgradeRequest>() == 256 && size_of::<UpgradeReply>() == 256 && size_of::<Status>() == 256
);
