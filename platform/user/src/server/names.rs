//! Requests about names.
use super::Bento;
use super::convert::{entry, errno, no_entry};
use crate::containers::UserCall;
use crate::fuse::{Errno, Op, ReplyBuf, Request};
use bento_api::{Attr, Call, Committed, FileSystem, InodeNo, Name, NewNode, OpKind, Rename, Stop};

const S_IFDIR: u32 = 0o040_000;
const O_EXCL: u32 = 0o200;
const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const RENAME_WHITEOUT: u32 = 4;

type Entered = Result<Attr, bento_api::Errno>;

/// Counts the kernel's reference while the entry's locks are still held.
fn keep(call: &Call<'_, UserCall>, attr: Attr) -> Attr {
    call.platform.keep(attr.ino, attr.generation);
    attr
}

fn name(bytes: &[u8]) -> Result<Name<'_>, bento_api::Errno> {
    Name::new(bytes)
}

impl Bento {
    /// Requests that are answered by an entry.
    pub(super) fn entry(
        &self,
        request: &Request<'_>,
        op: &Op<'_>,
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let found = match *op {
            Op::Lookup { name } => match self.lookup(request, name) {
                Err(bento_api::Errno::NotFound) => return reply.entry(&no_entry()),
                other => other,
            },
            _ => self.make(request, op),
        };
        let entry = entry(&found.map_err(errno)?);
        match op {
            Op::Create { .. } | Op::Tmpfile(_) => reply.created(&entry, &self.open(&request.header)),
            _ => reply.entry(&entry),
        }
    }

    fn lookup(&self, request: &Request<'_>, bytes: &[u8]) -> Entered {
        let dir = InodeNo(request.header.nodeid);
        self.with_call(&request.header, |mount, call| {
            mount.run(call, OpKind::Read, |fs, call| {
                let attr = match bytes {
                    b"." => fs.getattr(call, dir),
                    b".." => fs.parent(call, dir),
                    _ => fs.lookup(call, dir, name(bytes)?),
                }?;
                Ok(keep(call, attr))
            })
        })
    }

    /// Runs one operation that makes a name, or a file without one.
    fn entered(
        &self,
        request: &Request<'_>,
        kind: OpKind,
        op: impl Fn(&(dyn FileSystem<UserCall> + '_), &mut Call<'_, UserCall>) -> Result<Committed<Attr>, Stop>,
    ) -> Entered {
        self.with_call(&request.header, |mount, call| {
            let made = mount.run(call, kind, |fs, call| {
                let done = op(fs, call)?;
                keep(call, done.value);
                Ok(done)
            })?;
            let (made, batch) = (made.value, made.batch);
            let noted = mount.note_names(call, &made).and_then(|()| self.named(request, batch));
            match noted {
                Ok(()) => Ok(made),
                Err(errno) => {
                    // An error tells the kernel of no inode that it could forget.
                    let _ = mount.forget(call, made.ino, 1);
                    Err(errno)
                }
            }
        })
    }

    fn make(&self, request: &Request<'_>, op: &Op<'_>) -> Entered {
        let header = &request.header;
        let dir = InodeNo(header.nodeid);
        let node = |mode, rdev| NewNode { mode, uid: header.uid, gid: header.gid, rdev, xattrs: &[] };
        match *op {
            Op::Create { arg, name: bytes } => {
                let made = self.entered(request, OpKind::Create, |fs, call| {
                    fs.create(call, dir, name(bytes)?, &node(arg.mode, 0))
                });
                match made {
                    Err(bento_api::Errno::Exists) if arg.flags & O_EXCL == 0 => self.lookup(request, bytes),
                    other => other,
                }
            }
            Op::Mknod { arg, name: bytes } => self.entered(request, OpKind::Create, |fs, call| {
                fs.create(call, dir, name(bytes)?, &node(arg.mode, arg.rdev))
            }),
            Op::Mkdir { arg, name: bytes } => self.entered(request, OpKind::Create, |fs, call| {
                fs.create(call, dir, name(bytes)?, &node(arg.mode & 0o7777 | S_IFDIR, 0))
            }),
            Op::Symlink { name: bytes, target } => self.entered(request, OpKind::Create, |fs, call| {
                fs.symlink(call, dir, name(bytes)?, target, &node(0o777, 0))
            }),
            Op::Tmpfile(arg) => {
                self.entered(request, OpKind::TmpFile, |fs, call| fs.tmpfile(call, dir, &node(arg.mode, 0)))
            }
            Op::Link { oldnodeid, name: bytes } => self.entered(request, OpKind::Link, |fs, call| {
                fs.link(call, InodeNo(oldnodeid), dir, name(bytes)?)
            }),
            _ => Err(bento_api::Errno::NotSupported),
        }
    }

    /// Requests that take a name away.
    pub(super) fn remove(&self, request: &Request<'_>, op: &Op<'_>) -> Result<(), Errno> {
        let dir = InodeNo(request.header.nodeid);
        let removed = self.with_call(&request.header, |mount, call| {
            let (lost, batch) = match *op {
                Op::Unlink { name: bytes } => mount
                    .run(call, OpKind::Unlink, |fs, call| fs.unlink(call, dir, name(bytes)?))
                    .map(|done| (Some(done.value), done.batch)),
                Op::Rmdir { name: bytes } => mount
                    .run(call, OpKind::Unlink, |fs, call| fs.rmdir(call, dir, name(bytes)?))
                    .map(|done| (Some(done.value), done.batch)),
                Op::Rename { newdir, flags, name: from, newname } => {
                    let how = rename_flags(flags).ok_or(bento_api::Errno::Invalid)?;
                    let to = InodeNo(newdir);
                    mount
                        .run(call, OpKind::Rename, |fs, call| {
                            fs.rename(call, (dir, name(from)?), (to, name(newname)?), how)
                        })
                        .map(|done| (done.value, done.batch))
                }
                _ => Err(bento_api::Errno::NotSupported),
            }?;
            if let Some(attr) = lost {
                mount.note_names(call, &attr)?;
            }
            self.named(request, batch)
        });
        removed.map_err(errno)
    }
}

fn rename_flags(flags: u32) -> Option<Rename> {
    Some(match flags {
        0 => Rename::Replace,
        RENAME_NOREPLACE => Rename::NoReplace,
        RENAME_EXCHANGE => Rename::Exchange,
        RENAME_WHITEOUT => Rename::Whiteout,
        _ => return None,
    })
}
