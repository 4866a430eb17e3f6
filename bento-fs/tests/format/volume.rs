//! Superblock, geometry, allocation blocks, summary.
use crate::small_geometry;
use bento_api::{BLOCK, BatchSeq, BlockNo, GroupNo, InodeNo};
use bento_fs::format::block::{self, BlockKind, Header};
use bento_fs::format::geometry::{ROOT, has_copy};
use bento_fs::format::group::{self, Summary};
use bento_fs::format::superblock::{Compat, ErrorRecord, Incompat, OnError, RoCompat, State, Superblock};
use bento_fs::format::{Corruption, Geometry, HashKey};

fn superblock() -> Superblock {
    let mut superblock = Superblock {
        compat: Compat::PROV,
        ro_compat: RoCompat::empty(),
        incompat: Incompat::empty(),
        csum_seed: 0x1234_5678,
        uuid: [7; 16],
        label: [0; 64],
        hash_key: HashKey([9; 16]),
        errors: OnError::Continue,
        geometry: small_geometry(),
        reserved_blocks: 64,
        copy_group: GroupNo(0),
        mount_options: 5,
        state: State::CLEAN,
        mount_count: 3,
        mkfs_time: -1,
        mount_time: 1 << 40,
        write_time: 3,
        error_count: 0,
        first_error: ErrorRecord::default(),
        last_error: ErrorRecord::default(),
    };
    assert!(superblock.set_label(b"home"));
    superblock.note_error(ErrorRecord { time: 1, code: 102, block: BlockNo(1), inode: InodeNo(0) });
    superblock.note_error(ErrorRecord { time: 2, code: 402, block: BlockNo(9), inode: InodeNo(17) });
    superblock
}

fn encoded(superblock: &Superblock) -> [u8; BLOCK] {
    let mut bytes = [0xaa; BLOCK];
    superblock.encode(&mut bytes);
    bytes
}

#[test]
fn a_superblock_comes_back_as_it_was_written() {
    let before = superblock();
    let after = Superblock::decode(&encoded(&before)).unwrap();
    assert_eq!(after, before);
    assert_eq!(after.label(), b"home");
    assert_eq!((after.first_error.code, after.last_error.code, after.error_count), (102, 402, 2));
    assert!(after.state.contains(State::ERROR));
}

#[test]
fn every_bit_of_a_superblock_is_covered() {
    let bytes = encoded(&superblock());
    for bit in 0..BLOCK * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Superblock::decode(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn a_superblock_has_everything_in_its_first_sector() {
    assert!(encoded(&superblock())[512..].iter().all(|byte| *byte == 0));
}

#[test]
fn unknown_features_are_refused_by_their_word() {
    let known = superblock();
    let with = |change: fn(&mut Superblock)| {
        let mut changed = known;
        change(&mut changed);
        Superblock::decode(&encoded(&changed))
    };
    let incompat = with(|sb| sb.incompat = Incompat::from_bits_retain(1 << 9));
    assert_eq!(incompat, Err(Corruption::SuperblockIncompat));
    assert!(with(|sb| sb.ro_compat = RoCompat::from_bits_retain(1 << 9)).unwrap().read_only());
    let compat = with(|sb| sb.compat = Compat::from_bits_retain(1 << 9)).unwrap();
    assert!(!compat.read_only());
    assert_eq!(compat.compat.bits(), 1 << 9, "unknown bits are kept");
}

#[test]
fn every_size_and_place_that_cannot_be_is_refused() {
    let good = small_geometry();
    assert_eq!(good.check(), Ok(()));
    let changes: [fn(&mut Geometry); 16] = [
        |g| g.groups = 0,
        |g| g.groups = 5,
        |g| g.groups = 3,
        |g| g.groups = u32::MAX,
        |g| g.blocks_per_group = 0,
        |g| g.blocks_per_group = 3841,
        |g| g.blocks_per_group = 24_640,
        |g| g.inodes_per_group = 0,
        |g| g.inodes_per_group = 961,
        |g| g.inodes_per_group = 7696,
        |g| g.blocks_total = 1 << 52,
        |g| g.blocks_total = 1027,
        |g| g.log_start = BlockNo(1),
        |g| g.log_len = u64::MAX,
        |g| g.summary_len = 2,
        |g| g.groups_start = BlockNo(u64::MAX),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut bad = good;
        change(&mut bad);
        assert!(bad.check().is_err(), "change {number}: {bad:?}");
    }
}

#[test]
fn blocks_and_inodes_map_there_and_back() {
    let g = small_geometry();
    for number in 0..g.blocks_total {
        let Some((group, bit)) = g.block_group(BlockNo(number)) else {
            assert!(number < g.groups_start.0);
            continue;
        };
        assert_eq!(g.block_no(group, bit), Some(BlockNo(number)));
        let metadata = bit < g.data_start(group).unwrap();
        assert_eq!(g.is_data_block(BlockNo(number)), !metadata);
        let own =
            g.copy_block(group) == Some(BlockNo(number)) || g.alloc_block(group) == Some(BlockNo(number));
        assert_eq!(g.is_table_block(BlockNo(number)), metadata && !own);
    }
    for number in 1..g.inodes_total() {
        let ino = InodeNo(number);
        let (group, bit) = g.inode_bit(ino).unwrap();
        assert_eq!(g.ino(group, bit), Some(ino));
        let (block, at) = g.inode_place(ino).unwrap();
        assert_eq!(g.table_first_ino(block).unwrap().0 + at as u64 / 256, number);
    }
    assert_eq!(g.inode_bit(InodeNo(0)), None);
    assert_eq!(g.inode_bit(InodeNo(g.inodes_total())), None);
    assert_eq!(g.block_group(BlockNo(g.blocks_total)), None);
    assert_eq!(g.inode_place(ROOT), Some((BlockNo(1028), 256)));
}

#[test]
fn a_run_is_data_only_within_one_group() {
    let g = small_geometry();
    let start = g.block_no(GroupNo(0), g.data_start(GroupNo(0)).unwrap()).unwrap();
    let len = g.group_blocks(GroupNo(0)).unwrap() - g.data_start(GroupNo(0)).unwrap();
    assert!(g.is_data_run(start, len));
    assert!(!g.is_data_run(start, len + 1));
    assert!(!g.is_data_run(start, 0));
    assert!(!g.is_data_run(start, u32::MAX));
    assert!(!g.is_data_run(BlockNo(u64::MAX), 1));
}

#[test]
fn the_log_wraps_around_behind_its_two_headers() {
    let g = small_geometry();
    assert_eq!(g.log_slot(0), Some(BlockNo(2)));
    assert_eq!(g.log_slot(1), Some(BlockNo(3)));
    assert_eq!(g.log_slot(2), None);
    assert_eq!(g.log_block(0), Some(BlockNo(4)));
    assert_eq!(g.log_block(1021), Some(BlockNo(1025)));
    assert_eq!(g.log_block(1022), Some(BlockNo(4)));
}

#[test]
fn copies_are_in_group_1_and_the_powers_of_3_5_and_7() {
    let copies: Vec<u32> = (0..1000).filter(|group| has_copy(GroupNo(*group))).collect();
    assert_eq!(copies, [1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729]);
    assert!(has_copy(GroupNo(3u32.pow(20))));
    assert!(!has_copy(GroupNo(u32::MAX)));
}

#[test]
fn a_new_allocation_block_passes_and_every_byte_of_it_is_checked() {
    let g = small_geometry();
    // The first, and the last, which is shorter and has a superblock copy.
    for group in [GroupNo(0), GroupNo(3)] {
        let place = g.alloc_block(group).unwrap();
        let mut bytes = [0; BLOCK];
        let counts = group::start_alloc(&mut bytes, &g, group).unwrap();
        assert_eq!(counts.free_blocks, g.group_blocks(group).unwrap() - g.data_start(group).unwrap());
        block::seal(&mut bytes, 5, BatchSeq(3));
        assert_eq!(group::verify_alloc(&bytes, 5, &g, group), Ok((BatchSeq(3), counts)));
        for at in 0..BLOCK {
            let mut damaged = bytes;
            damaged[at] ^= 0x11;
            assert!(group::verify_alloc(&damaged, 5, &g, group).is_err(), "byte {at}");
            block::seal(&mut damaged, 5, BatchSeq(3));
            let headed = Header::verify(&damaged, 5, BlockKind::Alloc, place, group.into());
            if at >= 32 && headed.is_ok() {
                // Behind a right checksum, counters still tell what no bitmap can be.
                assert!(group::check_alloc(&damaged, &g, group).is_err(), "byte {at} resealed");
            }
        }
    }
}

#[test]
fn a_block_is_refused_at_another_place_or_of_another_owner_kind_or_seed() {
    let mut bytes = [0; BLOCK];
    block::start(&mut bytes, BlockKind::Dir, BlockNo(77), InodeNo(20).into());
    block::seal(&mut bytes, 1, BatchSeq(9));
    let verify = |seed, kind, no, ino| {
        Header::verify(&bytes, seed, kind, BlockNo(no), InodeNo(ino).into()).map(|h| h.seq)
    };
    assert_eq!(verify(1, BlockKind::Dir, 77, 20), Ok(BatchSeq(9)));
    assert_eq!(verify(2, BlockKind::Dir, 77, 20), Err(Corruption::DirChecksum));
    assert_eq!(verify(1, BlockKind::Dir, 78, 20), Err(Corruption::DirBlock));
    assert_eq!(verify(1, BlockKind::Dir, 77, 21), Err(Corruption::DirOwner));
    assert_eq!(verify(1, BlockKind::Extent, 77, 20), Err(Corruption::ExtentMagic));
}

#[test]
fn a_summary_entry_comes_back_as_it_was_written() {
    let g = small_geometry();
    let mut bytes = [0; BLOCK];
    let place = group::start_summary(&mut bytes, &g, 0).unwrap();
    let (block, at) = g.summary_place(GroupNo(3)).unwrap();
    assert_eq!((block, at), (place, 32 + 24));
    let entry = Summary { free_blocks: 24_576, free_inodes: 7680, class: Summary::class_of(24_576) };
    entry.write(&mut bytes, at);
    assert_eq!(Summary::read(&bytes, at), Ok(entry));
    assert_eq!(entry.class, 15);
    assert_eq!(Summary::class_of(0), 0);
    bytes[at..at + 4].copy_from_slice(&24_577u32.to_le_bytes());
    assert_eq!(Summary::read(&bytes, at), Err(Corruption::SummaryEntry));
}

#[test]
fn problem_numbers_are_unique_ascending_and_found_again() {
    let codes: Vec<u16> = Corruption::ALL.iter().map(|problem| problem.code()).collect();
    assert!(codes.is_sorted_by(|a, b| a < b));
    for problem in Corruption::ALL {
        assert_eq!(Corruption::from_code(problem.code()), Some(*problem));
    }
}
