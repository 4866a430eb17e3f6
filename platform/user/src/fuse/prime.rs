//! Stateless opens, and teaching them to the kernel at mount time.
//!
//! The kernel stops sending OPEN, OPENDIR and FLUSH once each has been answered with ENOSYS; from then on an
//! open, read and close of a cached file is no request at all. Left to chance it would learn that from the
//! first user, who pays for it with a RELEASE for every file created until then. So whoever mounts calls
//! [`prime`]: it opens the root, and a file that exists only for this: LOOKUP of [`PRIME_NAME`] in the root is
//! answered here, not by the file system, until the file was opened once.

use super::abi;
use super::reply::ReplyBuf;
use super::request::{Header, Op};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A name that no one uses: a control character keeps it out of the way of real ones.
pub const PRIME_NAME: &[u8] = b".\x01prime";
/// The node id behind it. Handlers never see it.
const PRIME_NODE: u64 = u64::MAX;

/// Opens the root of a fresh mount and, if it is served with [`Opens::Stateless`], a file, for the kernel to learn from.
///
/// Call it once INIT is answered, from a thread that serves no requests.
pub fn prime(dir: &Path, opens: Opens) -> io::Result<()> {
    if opens == Opens::Stateless {
        drop(File::open(dir.join(OsStr::from_bytes(PRIME_NAME)))?);
    }
    drop(File::open(dir)?);
    Ok(())
}

/// Who answers OPEN, OPENDIR, FLUSH, RELEASE and RELEASEDIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// The server: there are no open files, `fh` is always 0, and the handler never sees these requests.
    Stateless,
    /// The handler.
    Handled,
}

/// The server's own answers.
pub(super) struct Primer {
    opens: Opens,
    done: AtomicBool,
}

impl Primer {
    pub(super) fn new(opens: Opens) -> Self {
        Self { opens, done: AtomicBool::new(false) }
    }

    /// The answer to a request that the handler is not to see.
    pub(super) fn answer(
        &self,
        header: &Header,
        op: &Op<'_>,
        reply: &mut ReplyBuf<'_>,
    ) -> Option<Result<(), Errno>> {
        if self.opens == Opens::Handled {
            return None;
        }
        if header.nodeid == PRIME_NODE {
            return Some(self.answer_prime(op, reply));
        }
        match *op {
            Op::Open(_) | Op::Opendir(_) | Op::Flush(_) => Some(Err(Errno::NOSYS)),
            Op::Release(_) | Op::Releasedir(_) => Some(Ok(())),
            Op::Lookup { name: PRIME_NAME } if header.nodeid == abi::ROOT_ID => {
                (!self.done.load(Ordering::Relaxed)).then(|| reply.entry(&prime_entry()))
            }
            _ => None,
        }
    }

    fn answer_prime(&self, op: &Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        match op {
            Op::Getattr { .. } => {
                reply.attr(&abi::AttrOut { attr: prime_entry().attr, ..abi::AttrOut::default() })
            }
            Op::Open(_) => {
                self.done.store(true, Ordering::Relaxed);
                Err(Errno::NOSYS)
            }
            // GETXATTR must not answer ENOSYS: the kernel would stop asking for xattrs altogether.
            Op::Getxattr { .. } | Op::Listxattr { .. } => Err(Errno::NODATA),
            Op::Forget { .. } | Op::Release(_) => Ok(()),
            Op::Flush(_) => Err(Errno::NOSYS),
            _ => Err(Errno::PERM),
        }
    }
}

fn prime_entry() -> abi::EntryOut {
    let attr =
        abi::Attr { ino: PRIME_NODE, mode: 0o100_444, nlink: 1, blksize: 4096, ..abi::Attr::default() };
    // The name is not to be cached, so that it is gone right after; the attributes for the open alone.
    abi::EntryOut { nodeid: PRIME_NODE, attr_valid: 1, attr, ..abi::EntryOut::default() }
}
