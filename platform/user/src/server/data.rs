//! Requests about what is in a file.
use super::convert::errno;
use super::{Bento, acl, processes};
use crate::containers::UserCall;
use crate::fuse::{Errno, Header, Op, Opens, ReplyBuf, Request, abi};
use crate::run::{Mount, Privileges};
use bento_api::{Allocate, Caller, InodeNo, OpKind, Seek, XattrName, XattrSet};

const SET_UID: u32 = 0o4000;
pub(super) const SET_GID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;
const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;
const COLLAPSE: u32 = 8;
const ZERO: u32 = 0x10;
const INSERT: u32 = 0x20;
const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;
/// All attributes of an inode fit this, as their names do.
const XATTR_ROOM: usize = 8192;
/// A request of more bytes is likely to sleep for the device.
const LARGE: usize = 64 * 1024;

fn fallocate_mode(mode: u32) -> Option<Allocate> {
    Some(match mode {
        0 => Allocate::Reserve,
        KEEP_SIZE => Allocate::ReserveKeepSize,
        mode if mode == PUNCH_HOLE | KEEP_SIZE => Allocate::Punch,
        ZERO => Allocate::Zero,
        mode if mode == ZERO | KEEP_SIZE => Allocate::ZeroKeepSize,
        COLLAPSE => Allocate::Collapse,
        INSERT => Allocate::Insert,
        _ => return None,
    })
}

impl Bento {
    /// What an open is answered with: whatever is cached of the file stays right.
    pub(super) fn open(&self, header: &Header) -> abi::OpenOut {
        if self.opens_handled == Opens::Stateless {
            return abi::OpenOut::default();
        }
        let flags = abi::OpenOutFlags::KEEP_CACHE | abi::OpenOutFlags::NOFLUSH;
        let fh = self.opens.open(self.caller(header));
        abi::OpenOut { fh, open_flags: flags.bits(), ..abi::OpenOut::default() }
    }

    /// Tells the running version of the first write of an open file, if it wants to hear of it.
    fn tell_first_write(
        &self,
        mount: &Mount,
        call: &mut UserCall,
        arg: &abi::WriteIn,
        ino: InodeNo,
    ) -> Result<(), bento_api::Errno> {
        if !mount.with_core(|fs| fs.wants_first_write()) {
            return Ok(());
        }
        let version = mount.takeovers();
        let mut caller = call.caller();
        if arg.write_flags & abi::WRITE_CACHE != 0 {
            // Written back from the page cache: by whoever, for whoever.
            caller = Caller::default();
        }
        let file = (arg.fh, ino);
        let Some(by) = self.opens.first_write(file, version, &caller) else { return Ok(()) };
        let _ = mount.run(call, OpKind::FirstWrite, |fs, call| fs.first_write(call, &by, ino))?;
        self.opens.told(file, version, &caller);
        Ok(())
    }

    pub(super) fn read(
        &self,
        request: &Request<'_>,
        arg: &abi::ReadIn,
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let ino = InodeNo(request.header.nodeid);
        let space = reply.spare(usize::try_from(arg.size).unwrap_or(0));
        if space.len() >= LARGE {
            request.will_block();
        }
        let read = self.with_call(&request.header, |mount, call| mount.read(call, ino, arg.offset, space));
        reply.advance(read.map_err(errno)?);
        Ok(())
    }

    pub(super) fn write(
        &self,
        request: &Request<'_>,
        arg: &abi::WriteIn,
        data: &[u8],
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let ino = InodeNo(request.header.nodeid);
        let kills = arg.write_flags & abi::WRITE_KILL_SUIDGID != 0;
        let privileges = if kills { Privileges::Kill } else { Privileges::Keep };
        if data.len() >= LARGE {
            request.will_block();
        }
        let written = self.with_call(&request.header, |mount, call| {
            self.tell_first_write(mount, call, arg, ino)?;
            let mut written = mount.write(call, ino, arg.offset, data, privileges)?;
            // Who writes back what was accepted long ago learns of errors, not of less.
            while arg.write_flags & abi::WRITE_CACHE != 0 && written < data.len() {
                let rest = data.get(written..).unwrap_or_default();
                written += mount.write(call, ino, arg.offset + written as u64, rest, privileges)?;
            }
            Ok(written)
        });
        let written = written.map_err(errno)?;
        reply.written(u32::try_from(written).map_err(|_| Errno::IO)?)
    }

    /// Drops set-id bits before the content changes, unless the caller may keep them. For a WRITE the kernel says whether to;
    /// a FALLOCATE says nothing, although the kernel counts on it as well.
    fn shed_privileges(
        &self,
        request: &Request<'_>,
        mount: &Mount,
        call: &mut UserCall,
        ino: InodeNo,
    ) -> Result<(), bento_api::Errno> {
        let attr = mount.run(call, OpKind::Read, |fs, call| fs.getattr(call, ino))?;
        let has = attr.mode & SET_UID != 0 || attr.mode & SET_GID != 0 && attr.mode & GROUP_EXECUTE != 0;
        if has && !processes::keeps_set_id(request.header.pid) {
            mount.kill_privileges(call, ino)?;
        }
        Ok(())
    }

    pub(super) fn fallocate(&self, request: &Request<'_>, arg: &abi::FallocateIn) -> Result<(), Errno> {
        request.will_block();
        let how = fallocate_mode(arg.mode).ok_or(Errno::OPNOTSUPP)?;
        let end = arg.offset.checked_add(arg.length).ok_or(Errno::FBIG)?;
        let ino = InodeNo(request.header.nodeid);
        let done = self.with_call(&request.header, |mount, call| {
            self.shed_privileges(request, mount, call, ino)?;
            mount.fallocate(call, ino, how, arg.offset..end)?;
            self.changed(request, call, ino)
        });
        done.map_err(errno)
    }

    pub(super) fn seek(
        &self,
        header: &Header,
        arg: &abi::LseekIn,
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let what = match arg.whence {
            SEEK_DATA => Seek::Data,
            SEEK_HOLE => Seek::Hole,
            _ => return Err(Errno::INVAL),
        };
        let ino = InodeNo(header.nodeid);
        let found = self.with_call(header, |mount, call| mount.seek(call, ino, arg.offset, what));
        reply.sought(found.map_err(errno)?)
    }

    pub(super) fn readlink(&self, header: &Header, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        let ino = InodeNo(header.nodeid);
        let space = reply.spare(bento_api::BLOCK);
        let read = self.with_call(header, |mount, call| {
            mount.run(call, OpKind::Read, |fs, call| fs.readlink(call, ino, space))
        });
        reply.advance(read.map_err(errno)?);
        Ok(())
    }

    pub(super) fn xattr(
        &self,
        request: &Request<'_>,
        op: &Op<'_>,
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let header = &request.header;
        let ino = InodeNo(header.nodeid);
        let mut room = [0; XATTR_ROOM];
        let done = self.with_call(header, |mount, call| match *op {
            Op::Setxattr { name: acl::DEFAULT, .. } => Err(bento_api::Errno::NotSupported),
            Op::Setxattr { arg, name: acl::ACCESS, value } => {
                Self::set_acl(mount, call, (ino, value), &arg)?;
                self.changed(request, call, ino).map(|()| (None, 0))
            }
            Op::Setxattr { arg, name, value } => {
                let name = XattrName::new(name)?;
                let how = match arg.flags {
                    0 => XattrSet::Any,
                    XATTR_CREATE => XattrSet::Create,
                    XATTR_REPLACE => XattrSet::Replace,
                    _ => return Err(bento_api::Errno::Invalid),
                };
                mount
                    .run(call, OpKind::Xattr, |fs, call| fs.setxattr(call, ino, name, value, how))
                    .map(|_| ())?;
                self.changed(request, call, ino).map(|()| (None, 0))
            }
            Op::Removexattr { name } => {
                let name = XattrName::new(name)?;
                mount.run(call, OpKind::Xattr, |fs, call| fs.removexattr(call, ino, name)).map(|_| ())?;
                self.changed(request, call, ino).map(|()| (None, 0))
            }
            Op::Getxattr { size, name } => {
                let name = XattrName::new(name)?;
                mount
                    .run(call, OpKind::Read, |fs, call| fs.getxattr(call, ino, name, &mut room))
                    .map(|len| (Some(size), len))
            }
            Op::Listxattr { size } => mount
                .run(call, OpKind::Read, |fs, call| fs.listxattr(call, ino, &mut room))
                .map(|len| (Some(size), len)),
            _ => Err(bento_api::Errno::NotSupported),
        });
        match done.map_err(errno)? {
            (None, _) => Ok(()),
            (Some(size), len) => reply.xattr(size, room.get(..len).ok_or(Errno::RANGE)?),
        }
    }
}
