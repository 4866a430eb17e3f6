//! The host, tried with a file system of counters.
mod crash;
mod disk;
mod fake;
mod real;
mod waits;

use super::{Core, Mount};
use crate::containers::{Containers, Options, UserCall};
use crate::device::Medium;
use bento_api::{Errno, InodeNo, Name, NewNode, OpKind, Rename, SetAttr};
use disk::Volatile;
use fake::Fake;
use std::sync::Arc;

fn core(name: &'static str) -> Core {
    Box::new(Fake { name, ..Fake::default() })
}

/// Recovers what a disk holds, and mounts it.
fn mount(disk: &Arc<Volatile>) -> Arc<Mount> {
    mount_with(disk, Options::default())
}

fn mount_with(disk: &Arc<Volatile>, options: Options) -> Arc<Mount> {
    let medium = Arc::new(Medium::new(disk.clone()));
    let (next, tail) = fake::recover(&*medium).expect("recovers");
    let containers = Containers::new(medium, &fake::mounted(next, tail, fake::BITS.into()), options);
    Mount::new(core("first"), containers, false)
}

fn name(bytes: &'static [u8]) -> Name<'static> {
    Name::new(bytes).expect("a name")
}

fn add(mount: &Mount, call: &mut UserCall, ino: u64, by: u32) -> Result<bento_api::BatchSeq, Errno> {
    let set = SetAttr { uid: Some(by), ..SetAttr::default() };
    mount.run(call, OpKind::SetAttr, |fs, call| fs.setattr(call, InodeNo(ino), &set)).map(|done| done.batch)
}

fn transfer(mount: &Mount, call: &mut UserCall, from: u64, to: u64) -> Result<bento_api::BatchSeq, Errno> {
    let ends = ((InodeNo(from), name(b"a")), (InodeNo(to), name(b"b")));
    let op = |fs: &dyn bento_api::FileSystem<UserCall>, call: &mut bento_api::Call<'_, UserCall>| {
        fs.rename(call, ends.0, ends.1, Rename::Replace)
    };
    mount.run(call, OpKind::Rename, op).map(|done| done.batch)
}

fn value(mount: &Mount, call: &mut UserCall, ino: u64) -> Result<u64, Errno> {
    mount.run(call, OpKind::Read, |fs, call| fs.getattr(call, InodeNo(ino))).map(|attr| attr.size)
}

fn lookup(mount: &Mount, call: &mut UserCall, what: &'static [u8]) -> Result<u64, Errno> {
    mount.run(call, OpKind::Read, |fs, call| fs.lookup(call, InodeNo(1), name(what))).map(|attr| attr.size)
}

/// Takes a block of the group; which one.
fn take(mount: &Mount, call: &mut UserCall, fill: u8) -> Result<u64, Errno> {
    let node = NewNode { mode: fill.into(), uid: 0, gid: 0, rdev: 0, xattrs: &[] };
    let done = mount.run(call, OpKind::Create, |fs, call| fs.create(call, InodeNo(1), name(b"n"), &node))?;
    Ok(done.value.ino.0)
}

fn give(mount: &Mount, call: &mut UserCall, block: u64) -> Result<(), Errno> {
    mount.run(call, OpKind::Unlink, |fs, call| fs.unlink(call, InodeNo(block), name(b"n"))).map(|_| ())
}
