//! What a mount leaves behind about damage that it met.
use super::*;
use crate::device::RamDevice;
use crate::session::read_block;
use bento_api::{BlockNo, Bytes};
use bento_fs::format::superblock::State;
use bento_fs::format::{BlockKind, Header, Superblock};
use std::io::IoSlice;

fn superblock(device: &dyn Device) -> Superblock {
    bento_fs::read_superblock(&BlockingDisk(device), &mut Box::default()).expect("a superblock")
}

/// The first block of that kind, and what is in it.
fn find(device: &dyn Device, kind: BlockKind) -> (BlockNo, Box<Bytes>) {
    let Superblock { geometry, csum_seed, .. } = superblock(device);
    let blocks = geometry.groups_start.0..geometry.blocks_total;
    let mut read = blocks.map(|no| (BlockNo(no), read_block(device, BlockNo(no)).expect("reads")));
    let is_it =
        |no, bytes: &Bytes| Header::read(bytes, csum_seed, no).is_some_and(|header| header.kind == kind);
    read.find(|(no, bytes)| is_it(*no, bytes)).expect("there is one")
}

#[test]
fn damage_that_a_mount_met_is_noted_in_the_superblock_for_fsck() {
    let device: Arc<dyn Device> = Arc::new(RamDevice::new(64 << 10));
    make(&*device);
    let session = open(&device, None);
    file(session.mount(), &mut session.mount().call(), b"file");
    session.close().expect("closes");
    assert_eq!(superblock(&*device).error_count, 0);

    let (no, mut bytes) = find(&*device, BlockKind::Dir);
    bytes[100] ^= 1;
    device.write(no.0 * 4096, &[IoSlice::new(&*bytes)]).expect("writes");
    let session = open(&device, None);
    let found = lookup(session.mount(), &mut session.mount().call(), ROOT, b"file");
    assert!(matches!(found, Err(Errno::Corrupt(_))), "{found:?}");
    session.close().expect("closes");
    let after = superblock(&*device);
    assert!(after.state.contains(State::ERROR) && after.error_count > 0, "{after:?}");
    assert_eq!((after.first_error.block, after.first_error.inode), (no, ROOT));
}
