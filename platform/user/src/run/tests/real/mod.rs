//! The host under the real file system.
mod cold;
mod errors;
mod model;
mod pauses;
mod power;
mod races;
mod warm;

use crate::containers::UserCall;
use crate::device::{BlockingDisk, Device};
use crate::run::{Mount, Privileges};
use crate::session::{Session, SessionOptions};
use bento_api::{Attr, Errno, InodeNo, Name, NewNode, OpKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ROOT: InodeNo = InodeNo(1);

/// Makes a volume on a device.
fn make(device: &dyn Device) {
    let options = bento_mkfs::Options::new(1_700_000_000);
    let plan = bento_mkfs::plan(&options, device.blocks()).expect("fits");
    bento_mkfs::make(&BlockingDisk(device), &plan, &mut |_, _| {}).expect("is made");
}

fn open(device: &Arc<dyn Device>, cache_bytes: Option<u64>) -> Session {
    let options =
        SessionOptions { commit_every: Duration::from_secs(3600), cache_bytes, ..SessionOptions::default() };
    Session::on_device(Path::new("test"), device.clone(), &options).expect("opens")
}

fn name(bytes: &[u8]) -> Name<'_> {
    Name::new(bytes).expect("a name")
}

/// Makes a file or directory, and counts on it.
fn create(mount: &Mount, call: &mut UserCall, dir: InodeNo, what: &[u8], mode: u32) -> Result<Attr, Errno> {
    let node = NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
    mount
        .run(call, OpKind::Create, |fs, call| {
            let made = fs.create(call, dir, name(what), &node)?;
            call.platform.keep(made.value.ino, made.value.generation);
            Ok(made)
        })
        .map(|made| made.value)
}

fn file(mount: &Mount, call: &mut UserCall, what: &[u8]) -> InodeNo {
    create(mount, call, ROOT, what, 0o100_644).expect("is made").ino
}

fn lookup(mount: &Mount, call: &mut UserCall, dir: InodeNo, what: &[u8]) -> Result<Attr, Errno> {
    mount.run(call, OpKind::Read, |fs, call| {
        let found = fs.lookup(call, dir, name(what))?;
        call.platform.keep(found.ino, found.generation);
        Ok(found)
    })
}

fn unlink(mount: &Mount, call: &mut UserCall, dir: InodeNo, what: &[u8]) -> Result<(), Errno> {
    let gone = mount.run(call, OpKind::Unlink, |fs, call| fs.unlink(call, dir, name(what)))?;
    mount.note_names(call, &gone.value)
}

fn write(mount: &Mount, call: &mut UserCall, ino: InodeNo, at: u64, data: &[u8]) -> Result<usize, Errno> {
    mount.write(call, ino, at, data, Privileges::Keep)
}

fn contents(mount: &Mount, call: &mut UserCall, ino: InodeNo) -> Vec<u8> {
    let size = mount.run(call, OpKind::Read, |fs, call| fs.getattr(call, ino)).expect("attributes").size;
    let mut bytes = vec![0xee; size as usize];
    assert_eq!(mount.read(call, ino, 0, &mut bytes), Ok(bytes.len()));
    bytes
}
