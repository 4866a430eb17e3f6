//! Inode records.
use bento_api::{BlockNo, FileBlock, InodeNo, Time};
use bento_fs::format::inode::{Flags, RootKind};
use bento_fs::format::node::{Node, NodeMut, Tree};
use bento_fs::format::record::Extent;
use bento_fs::format::{Corruption, Inode};

const INO: InodeNo = InodeNo(17);
const SEED: u32 = 99;

fn file() -> Inode {
    let mut inode = Inode {
        mode: 0o100_644,
        nlink: 70_000,
        uid: 1,
        gid: 2,
        size: 12_345,
        blocks: 4,
        atime: Time::new(-5, 999_999_999),
        mtime: Time::new(1 << 40, 1),
        ctime: Time::new(3, 2),
        btime: Time::new(4, 3),
        flags: Flags::from_bits_retain(0x8000_0010),
        version: u64::MAX,
        project: 6,
        orphan: Some(0),
        xattr_block: Some(BlockNo(5000)),
        ..Inode::free(3)
    };
    let extent = Extent { file: FileBlock(0), start: BlockNo(4000), len: 4, unwritten: false };
    assert!(NodeMut::root(inode.extent_root_mut()).insert(0, extent.into()));
    inode
}

fn encoded(inode: &Inode) -> [u8; 256] {
    let mut bytes = [0xaa; 256];
    inode.encode(&mut bytes, INO, SEED);
    bytes
}

fn again(inode: &Inode) -> Result<Inode, Corruption> {
    Inode::decode(&encoded(inode), INO, SEED)
}

#[test]
fn an_inode_comes_back_as_it_was_written() {
    assert_eq!(again(&file()), Ok(file()));
}

#[test]
fn every_bit_of_an_inode_is_covered() {
    let bytes = encoded(&file());
    for bit in 0..256 * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Inode::decode(&damaged, INO, SEED).is_err(), "bit {bit}");
    }
}

#[test]
fn an_inode_is_refused_under_another_number_or_seed() {
    let bytes = encoded(&file());
    assert_eq!(Inode::decode(&bytes, InodeNo(18), SEED), Err(Corruption::InodeChecksum));
    assert_eq!(Inode::decode(&bytes, INO, SEED + 1), Err(Corruption::InodeChecksum));
    assert_eq!(Inode::decode(&bytes[..255], INO, SEED), Err(Corruption::InodeRecordSize));
}

#[test]
fn zeros_are_a_free_inode_and_a_free_inode_keeps_its_generation() {
    let blank = Inode::decode(&[0; 256], INO, SEED).unwrap();
    assert!(blank.is_free());
    assert_eq!(blank.generation, 0);
    assert_eq!(again(&Inode::free(7)).unwrap().generation, 7);
    let stained = Inode { uid: 1, ..Inode::free(7) };
    assert_eq!(again(&stained), Err(Corruption::InodeFree));
}

#[test]
fn fields_that_do_not_fit_each_other_are_refused_behind_a_right_checksum() {
    let directory = Inode { mode: 0o040_755, parent: InodeNo(1), size: 4096, ..Inode::free(1) };
    assert!(again(&directory).is_ok());
    let cases = [
        (Inode { mode: 0o030_644, ..file() }, Corruption::InodeMode),
        (Inode { mode: 0o020_644, ..file() }, Corruption::InodeLayout),
        (Inode { depth: 6, ..file() }, Corruption::InodeDepth),
        (Inode { index_depth: 1, ..file() }, Corruption::InodeDepth),
        (Inode { size: 1 << 63, ..file() }, Corruption::InodeFileSize),
        (Inode { size: 100, ..directory }, Corruption::InodeFileSize),
        (Inode { blocks: 1 << 52, ..file() }, Corruption::InodeBlocks),
        (Inode { xattr_block: Some(BlockNo(1 << 52)), ..file() }, Corruption::InodeXattrBlock),
        (Inode { parent: InodeNo(1), ..file() }, Corruption::InodeParent),
        (Inode { parent: InodeNo(0), ..directory }, Corruption::InodeParent),
        (Inode { atime: Time::new(0, 1_000_000_000), ..file() }, Corruption::InodeTime),
        (Inode { root: [1; 80], ..directory }, Corruption::InodeRoot),
        (Inode { mode: 0o010_644, size: 0, ..file() }, Corruption::InodeRoot),
    ];
    for (inode, problem) in cases {
        assert_eq!(again(&inode), Err(problem));
    }
}

#[test]
fn a_directory_keeps_its_last_record_for_the_index() {
    let mut directory = Inode { mode: 0o040_755, parent: InodeNo(1), ..Inode::free(1) };
    assert_eq!(directory.extent_root().len(), 64);
    assert_eq!(directory.index_root().len(), 16);
    assert!(
        NodeMut::root(directory.index_root_mut())
            .insert(0, bento_fs::format::record::Record { word0: 0, word1: 9 })
    );
    assert_eq!(again(&directory), Err(Corruption::InodeRoot));
    directory.index_depth = 2;
    let read = again(&directory).unwrap();
    assert_eq!(Node::root(read.index_root(), Tree::Index, 2).child(0).unwrap().unwrap().block, BlockNo(9));
}

#[test]
fn devices_and_short_symlinks_lie_in_the_inode() {
    let mut device = Inode { mode: 0o020_600, ..Inode::free(1) };
    device.set_device(4095, 1 << 20);
    assert_eq!(again(&device).unwrap().device(), Some((4095, 1 << 20)));
    assert_eq!(device.target(), None);

    for len in [1, 79, 80] {
        let mut link = Inode { mode: 0o120_777, ..Inode::free(1) };
        assert!(link.set_target(&vec![b'x'; len]));
        assert_eq!(again(&link).unwrap().target(), Some(vec![b'x'; len].as_slice()));
    }
    let mut link = Inode { mode: 0o120_777, ..Inode::free(1) };
    assert!(!link.set_target(&[b'x'; 81]));
    assert!(link.set_target(b"a\0b"));
    assert_eq!(again(&link), Err(Corruption::SymlinkTarget));
    let empty = Inode { layout: RootKind::Target, mode: 0o120_777, ..Inode::free(1) };
    assert_eq!(again(&empty), Err(Corruption::SymlinkTarget));
}
