//! FUSE requests to operations: what [`crate::fuse`] reads, [`crate::run::Mount`] does.
//!
//! The server keeps no open files, and `fh` is always 0, unless the mount was begun to record them (see [`opens`]). An inode is in use while the kernel knows it (its lookup count);
//! the count is raised inside the entry that answers it, under the lock that keeps the name, so that nobody can take the
//! inode away in between.
mod acl;
mod control;
mod convert;
mod data;
mod listing;
mod names;
mod opens;
mod processes;
mod sync;

pub use control::text;

use crate::containers::UserCall;
use crate::fuse::{Errno, Handler, Header, Op, Opens, ReplyBuf, Request, abi};
use crate::run::{Budget, Fsync, Mount, UpgradeError, Upgraded};
use crate::session::{Session, SessionError};
use crate::versions::Version;
use bento_api::{InodeNo, OpKind};
use convert::{errno, fuse_attr, setattr_of};
use opens::OpenFiles;
use parking_lot::Mutex;
use processes::Processes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
pub use sync::SyncLevel;

/// What is served: a mount, and what becomes of it from outside.
pub trait Served: Send + Sync {
    /// The mount.
    fn mount(&self) -> &Arc<Mount>;
    /// Replaces the code by another version.
    fn upgrade(&self, to: &Version) -> Result<Upgraded, UpgradeError> {
        self.mount().upgrade(Budget::default(), to.import)
    }
    /// Ends it: umount(2) waits for this. A second time does nothing.
    fn close(&self) -> Result<(), SessionError>;
}

impl Served for Session {
    fn mount(&self) -> &Arc<Mount> {
        Self::mount(self)
    }

    fn close(&self) -> Result<(), SessionError> {
        Self::close(self)
    }
}

/// Whether a request may be one that a version that records wants to know the process of.
fn is_recorded(header: &Header) -> bool {
    use abi::Opcode as Op;
    matches!(
        Op::from_raw(header.opcode),
        Some(
            Op::Create
                | Op::Mknod
                | Op::Mkdir
                | Op::Symlink
                | Op::Tmpfile
                | Op::Link
                | Op::Unlink
                | Op::Rmdir
                | Op::Rename
                | Op::Rename2
                | Op::Setattr
                | Op::Open
                | Op::Write
        )
    )
}

/// Serves one mount.
pub struct Bento {
    session: Arc<dyn Served>,
    /// Calls that nobody uses right now, the last used first.
    calls: Mutex<Vec<UserCall>>,
    processes: Processes,
    opens_handled: Opens,
    opens: OpenFiles,
    /// A [`SyncLevel`].
    sync: AtomicU64,
}

impl Bento {
    /// A handler of a mount's requests, for a server that answers opens in this way.
    pub fn new(session: Arc<dyn Served>, opens_handled: Opens) -> Self {
        let (processes, opens) = (Processes::default(), OpenFiles::default());
        let sync = AtomicU64::new(SyncLevel::None.number());
        Self { session, calls: Mutex::default(), processes, opens_handled, opens, sync }
    }

    /// What is durable when it is answered, from now on.
    pub fn set_sync(&self, sync: SyncLevel) {
        self.sync.store(sync.number(), Relaxed);
    }

    fn mount(&self) -> &Mount {
        self.session.mount()
    }

    /// Lends a call to an operation.
    fn with_call<R>(&self, header: &Header, f: impl FnOnce(&Mount, &mut UserCall) -> R) -> R {
        let spare = self.calls.lock().pop();
        let mut call = spare.unwrap_or_else(|| self.mount().call());
        call.set_caller(self.caller(header));
        let result = f(self.mount(), &mut call);
        call.pause();
        self.calls.lock().push(call);
        result
    }

    /// Who asks, as completely as the running version wants to know it.
    fn caller(&self, header: &Header) -> bento_api::Caller {
        let mut caller = convert::caller(header);
        // Root alone sees names of `trusted.`, and not every kernel says whose user asks for them.
        let lists_names = abi::Opcode::from_raw(header.opcode) == Some(abi::Opcode::Listxattr);
        let is_wanted = || is_recorded(header) && self.mount().with_core(|fs| fs.wants_first_write());
        if lists_names && caller.uid == abi::INVALID_ID || is_wanted() {
            self.processes.complete(&mut caller);
        }
        caller
    }

    fn attributes(&self, request: &Request<'_>, op: &Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        let header = &request.header;
        let ino = InodeNo(header.nodeid);
        let attr = self.with_call(header, |mount, call| match op {
            Op::Setattr(arg) => {
                let attr = Self::setattr(mount, call, ino, &setattr_of(arg))?;
                self.changed(request, call, ino).map(|()| attr)
            }
            _ => mount.run(call, OpKind::Read, |fs, call| fs.getattr(call, ino)),
        });
        let attr = attr.map_err(errno)?;
        match op {
            Op::Statx(_) => reply.statx(&convert::statx(&attr)),
            _ => reply.attr(&abi::AttrOut {
                attr_valid: abi::FOREVER_S,
                attr: fuse_attr(&attr),
                ..abi::AttrOut::default()
            }),
        }
    }

    fn statfs(&self, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        let all = self.mount().statfs();
        reply.statfs(&abi::StatfsOut {
            blocks: all.blocks,
            bfree: all.blocks_free,
            bavail: all.blocks_available,
            files: all.inodes,
            ffree: all.inodes_free,
            bsize: all.block_bytes,
            namelen: all.name_max,
            frsize: all.block_bytes,
            reserved: [0; 7],
        })
    }

    fn forget(&self, header: &Header, nodeid: u64, count: u64) {
        if nodeid == abi::ROOT_ID {
            return;
        }
        let forgotten = self.with_call(header, |mount, call| mount.forget(call, InodeNo(nodeid), count));
        if let Err(errno) = forgotten {
            log::warn!("inode {nodeid} could not be let go: {errno:?}");
        }
    }

    /// umount(2) of a block device waits for this: the volume is clean when it returns.
    fn destroy(&self) -> Result<(), Errno> {
        self.calls.lock().clear();
        self.session.close().map_err(|why| {
            log::error!("{why}");
            Errno::IO
        })
    }

    fn sync(&self, request: &Request<'_>, op: &Op<'_>) -> Result<(), Errno> {
        request.will_block();
        let ino = InodeNo(request.header.nodeid);
        let synced = self.with_call(&request.header, |mount, call| match op {
            Op::Fsync(arg) if arg.fsync_flags & abi::FSYNC_FDATASYNC != 0 => {
                mount.fsync(call, ino, Fsync::Data)
            }
            Op::Fsync(_) => mount.fsync(call, ino, Fsync::All),
            // sync(2) does not reach a `fuse` mount, so fsync of a directory makes everything durable.
            _ => mount.syncfs(call),
        });
        synced.map_err(errno)
    }
}

impl Handler for Bento {
    fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        let header = &request.header;
        match op {
            Op::Lookup { .. }
            | Op::Create { .. }
            | Op::Tmpfile(_)
            | Op::Mknod { .. }
            | Op::Mkdir { .. }
            | Op::Symlink { .. }
            | Op::Link { .. } => self.entry(request, &op, reply),
            Op::Unlink { .. } | Op::Rmdir { .. } | Op::Rename { .. } => self.remove(request, &op),
            Op::Forget { nlookup } => {
                self.forget(header, header.nodeid, nlookup);
                Ok(())
            }
            Op::BatchForget(forgets) => {
                forgets.for_each(|one| self.forget(header, one.nodeid, one.nlookup));
                Ok(())
            }
            Op::Getattr { .. } | Op::Setattr(_) | Op::Statx(_) => self.attributes(request, &op, reply),
            // Only a mount that was begun to record them is asked about open files.
            Op::Open(_) => reply.opened(&self.open(header)),
            Op::Release(arg) => {
                self.opens.close(arg.fh);
                Ok(())
            }
            Op::Read(arg) => self.read(request, &arg, reply),
            Op::Write { arg, data } => self.write(request, &arg, data, reply),
            Op::Fallocate(arg) => self.fallocate(request, &arg),
            Op::Lseek(arg) => self.seek(header, &arg, reply),
            Op::Readdir(arg) => self.list(request, &arg, bento_api::Emit::Names, reply),
            Op::Readdirplus(arg) => self.list(request, &arg, bento_api::Emit::Attributes, reply),
            Op::Readlink => self.readlink(header, reply),
            Op::Setxattr { .. } | Op::Getxattr { .. } | Op::Listxattr { .. } | Op::Removexattr { .. } => {
                self.xattr(request, &op, reply)
            }
            Op::Statfs => self.statfs(reply),
            Op::Fsync(_) | Op::Fsyncdir(_) | Op::Syncfs => self.sync(request, &op),
            Op::Destroy => self.destroy(),
            Op::Ioctl { arg, data } => self.control(request, &arg, data, reply),
            _ => Err(Errno::NOSYS),
        }
    }

    fn undelivered(&self, header: &Header, nodeids: &mut dyn Iterator<Item = u64>) {
        nodeids.for_each(|nodeid| self.forget(header, nodeid, 1));
    }
}
