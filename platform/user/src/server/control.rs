//! Talking to the daemon of a mount: an ioctl on its root directory, which the kernel passes on.
use super::{Bento, SyncLevel};
use crate::fuse::{Errno, ReplyBuf, Request, abi};
use crate::versions;
use bento_api::control::{
    STATUS_IOCTL, SYNC_IOCTL, Status, SyncRequest, UPGRADE_IOCTL, UpgradeReply, UpgradeRequest,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

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

/// Lets through root, and whoever serves.
fn check_owner(request: &Request<'_>) -> Result<(), Errno> {
    match caller_of(request) {
        Some(caller) if caller == 0 || caller == rustix::process::getuid().as_raw() => Ok(()),
        _ => Err(Errno::PERM),
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
                check_owner(request)?;
                request.will_block();
                reply.ioctl(0, self.upgrade(data)?.as_bytes())
            }
            SYNC_IOCTL => {
                check_owner(request)?;
                let (wanted, _) = SyncRequest::read_from_prefix(data).map_err(|_| Errno::INVAL)?;
                self.set_sync(SyncLevel::from_number(wanted.level));
                reply.ioctl(0, wanted.as_bytes())
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
