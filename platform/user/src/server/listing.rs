//! Listing directories.
use super::Bento;
use super::convert::{entry, errno};
use crate::fuse::{DirEntry, Errno, ReplyBuf, Request, abi};
use bento_api::{Cursor, Emit, InodeNo, OpKind};

impl Bento {
    pub(super) fn list(
        &self,
        request: &Request<'_>,
        arg: &abi::ReadIn,
        emit: Emit,
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let dir = InodeNo(request.header.nodeid);
        // References that a repeated attempt gives out again.
        let mut again: Vec<InodeNo> = Vec::new();
        let mut kept: Vec<InodeNo> = Vec::new();
        let listed = self.with_call(&request.header, |mount, call| {
            mount.run(call, OpKind::ReadDir, |fs, call| {
                reply.clear();
                again.append(&mut kept);
                let mut listing = reply.listing(arg.size);
                let platform = call.platform;
                fs.readdir(call, dir, Cursor(arg.offset), emit, &mut |found| {
                    let kind = found.kind.map_or(0, |kind| kind.dirent_type());
                    let one = DirEntry {
                        ino: found.ino.0,
                        next: found.next.0,
                        kind: kind.into(),
                        name: found.name,
                    };
                    match (emit, found.attr) {
                        (Emit::Names, _) => listing.push(one).is_ok(),
                        (Emit::Attributes, None) => listing.push_plus(&abi::EntryOut::default(), one).is_ok(),
                        (Emit::Attributes, Some(attr)) => {
                            let fits = listing.push_plus(&entry(attr), one).is_ok();
                            if fits {
                                platform.keep(attr.ino, attr.generation);
                                kept.push(attr.ino);
                            }
                            fits
                        }
                    }
                })
            })
        });
        if listed.is_err() {
            again.append(&mut kept); // the kernel gets no reply, and so no references
        }
        for ino in again {
            self.forget(&request.header, ino.0, 1);
        }
        listed.map(drop).map_err(errno)
    }
}
