//! The cases, in the order of their numbers.
use super::*;
use crate::volume::FIRST;
use bento_fs::format::Corruption as C;
use bento_fs::format::geometry::PROVENANCE;
use bento_fs::format::log::LogHeader;
use bento_fs::format::superblock::State;
use bento_fs::format::xattr::Namespace;

pub fn all() -> Vec<Case> {
    [superblock(), log(), groups(), inodes(), extents(), dirs(), trees_of_dirs(), rest(), provenance()]
        .into_iter()
        .flatten()
        .collect()
}

fn superblock() -> Vec<Case> {
    vec![
        case(C::SuperblockMagic, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.magic[0] = 0)),
        case(C::SuperblockChecksum, |v, _| v.disk.edit(SUPERBLOCK, |bytes| bytes[40] ^= 1)),
        case(C::SuperblockVersion, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.version = 2.into())),
        case(C::SuperblockIncompat, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.incompat = 0x80.into())),
        case(C::SuperblockBlockSize, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.block_log = 13)),
        case(C::SuperblockHash, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.hash_id = 2)),
        case(C::SuperblockInodeSize, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.inode_size = 512.into())),
        case(C::SuperblockGroups, |v, _| {
            v.edit_superblock(SUPERBLOCK, |raw| raw.blocks_per_group = 100.into())
        }),
        case(C::SuperblockSize, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.blocks_total = 1000.into())),
        case(C::SuperblockLog, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.log_len = 1.into())),
        case(C::SuperblockSummary, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.summary_len = 0.into())),
        case(C::SuperblockLabel, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.label = [b'x'; 64])),
        case(C::SuperblockState, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.state = 8.into())),
        case(C::SuperblockTail, |v, _| v.edit_superblock(SUPERBLOCK, |raw| raw.unused3[7] = 1)),
        case(C::SuperblockFirstInode, |v, _| {
            v.edit_superblock(SUPERBLOCK, |raw| raw.first_inode = 17.into())
        }),
        case(C::SuperblockCopyGroup, |v, _| v.edit_superblock(copy(v), |raw| raw.copy_group = 0.into())),
        case(C::SuperblockReserved, |v, _| {
            v.edit_superblock(SUPERBLOCK, |raw| raw.reserved_blocks = 1_000_000.into())
        }),
        case(C::SuperblockDevice, |v, _| v.disk.truncate(1000)),
        case(C::SuperblockCopy, |v, _| v.edit_superblock(copy(v), |raw| raw.uuid[0] ^= 1)),
    ]
}

fn log() -> Vec<Case> {
    vec![
        case(C::LogSlotMagic, |v, _| v.edit_slot_bytes(0, |bytes| bytes[0] = 0)),
        case(C::LogSlotChecksum, |v, _| v.disk.edit(BlockNo(3), |bytes| bytes[60] ^= 1)),
        case(C::LogSlotVersion, |v, _| v.edit_slot_bytes(0, |bytes| bytes[12] = 9)),
        case(C::LogSlotTail, |v, _| v.edit_slot_bytes(0, |bytes| bytes[32] = 0)),
        case(C::LogSlotUnused, |v, _| v.edit_slot_bytes(0, |bytes| bytes[4095] = 1)),
        also(C::LogRecordMagic, &[251], |v, _| {
            damage_log(v, |v| v.disk.edit(log_block(v, 0), |bytes| bytes[0] = 0));
        }),
        also(C::LogRecordChecksum, &[251], |v, _| {
            damage_log(v, |v| v.disk.edit(log_block(v, 0), |bytes| bytes[73] ^= 1));
        }),
        also(C::LogRecordEpoch, &[251], |v, _| {
            damage_log(v, |v| v.edit_batch(0, |raw| raw.epoch = 5.into()))
        }),
        also(C::LogRecordSequence, &[251], |v, _| {
            damage_log(v, |v| v.edit_batch(0, |raw| raw.seq = 9.into()))
        }),
        also(C::LogRecordChain, &[251], |v, _| {
            damage_log(v, |v| v.edit_batch(0, |raw| raw.prev_crc = 9.into()))
        }),
        also(C::LogRecordCounts, &[251], |v, _| {
            damage_log(v, |v| v.edit_batch(0, |raw| (raw.copies, raw.tag_blocks) = (240.into(), 0.into())));
        }),
        also(C::LogRecordUnused, &[251], |v, _| damage_log(v, |v| v.edit_batch(0, |raw| raw.unused1[0] = 1))),
        also(C::LogTagBlock, &[251], |v, _| {
            *v = Volume::with_log(700).dirty();
            let home = v.geometry().alloc_block(GroupNo(0)).unwrap();
            let copies = vec![(home, v.disk.get(home)); 300];
            let next = v.log(v.log_end(), 0, &copies);
            v.log(next, 1, &copies);
            v.disk.edit(log_block(v, 1), |bytes| bytes[40] ^= 1);
        }),
        also(C::LogTagsChecksum, &[251], |v, _| {
            damage_log(v, |v| v.edit_batch(0, |raw| raw.tags_crc = 1.into()))
        }),
        also(C::LogTag, &[251], |v, _| {
            damage_log(v, |v| {
                v.disk.edit(log_block(v, 0), |bytes| bytes[128] |= 0xf);
                v.edit_batch(0, |_| {});
            });
        }),
        also(C::LogCopyChecksum, &[251], |v, _| {
            damage_log(v, |v| v.disk.edit(log_block(v, 1), |bytes| bytes[2000] ^= 1));
        }),
        also(C::LogNoSlot, &[201], |v, _| {
            (0..2).for_each(|slot| v.edit_slot_bytes(slot, |bytes| bytes[0] = 0))
        }),
        also(C::LogDamaged, &[216], |v, _| {
            damage_log(v, |v| v.disk.edit(log_block(v, 1), |bytes| bytes.fill(0)));
        }),
        case(C::LogNotEmpty, |v, _| {
            damage_log(v, |_| {});
            v.superblock.state.insert(State::CLEAN);
            v.put_superblock();
        }),
        case(C::LogTotals, |v, _| {
            (0..2)
                .for_each(|slot| v.edit_slot(slot, |header: &mut LogHeader| header.totals.free_blocks += 1));
        }),
    ]
}

fn groups() -> Vec<Case> {
    vec![
        case(C::GroupFreeBlocks, |v, _| v.edit_alloc(1, |raw| raw.free_blocks = 7.into())),
        case(C::GroupFreeInodes, |v, _| v.edit_alloc(1, |raw| raw.free_inodes = 7.into())),
        case(C::GroupInitialised, |v, _| v.edit_alloc(1, |raw| raw.inodes_init = 7.into())),
        case(C::GroupTail, |v, _| v.edit_alloc(1, |raw| raw.block_bitmap[3071] = 0x7f)),
        also(C::GroupMetadata, &[305, 253], |v, _| {
            v.edit_alloc(1, |raw| raw.block_bitmap[0] &= !1);
        }),
        case(C::GroupInodeMark, |v, _| v.mark_inode(InodeNo(2 * 128 + 5), true)),
        case(C::GroupInodeUsed, |v, p| v.mark_inode(p.short, false)),
        case(C::GroupInodeFree, |v, p| v.mark_inode(unused(p), true)),
        case(C::GroupBlockUsed, |v, p| v.mark_block(v.extents(p.deep)[0].start, false)),
        case(C::GroupBlockFree, |v, _| v.mark_block(BlockNo(v.geometry().blocks_total - 1), true)),
    ]
}

fn inodes() -> Vec<Case> {
    vec![
        case(C::InodeMagic, |v, p| v.edit_record(p.fifo, |raw| raw.magic = 1.into())),
        case(C::InodeChecksum, |v, p| {
            let (no, at) = v.geometry().inode_place(p.fifo).unwrap();
            v.disk.edit(no, |bytes| bytes[at + 16] ^= 1);
        }),
        case(C::InodeRecordSize, |v, p| v.edit_record(p.fifo, |raw| raw.record_size = 128.into())),
        case(C::InodeMode, |v, p| v.edit_record(p.fifo, |raw| raw.mode = 0o030_644.into())),
        case(C::InodeLayout, |v, p| v.edit_record(p.fifo, |raw| raw.layout = 2)),
        case(C::InodeDepth, |v, p| v.edit_record(p.fifo, |raw| raw.depth = 1)),
        case(C::InodeFileSize, |v, p| v.edit_record(p.fifo, |raw| raw.size = 1.into())),
        case(C::InodeTime, |v, p| v.edit_record(p.fifo, |raw| raw.btime_ns = 1_000_000_000.into())),
        also(C::InodeBlocks, &[453], |v, p| v.edit_record(p.fifo, |raw| raw.blocks = (1 << 52).into())),
        case(C::InodeXattrBlock, |v, p| v.edit_record(p.fifo, |raw| raw.xattr_block = 1.into())),
        case(C::InodeParent, |v, p| v.edit_record(p.fifo, |raw| raw.parent = 1.into())),
        case(C::InodeRoot, |v, p| v.edit_record(p.fifo, |raw| raw.root[79] = 1)),
        case(C::InodeFree, |v, p| {
            v.edit_record(unused(p), |raw| {
                (raw.magic, raw.record_size, raw.uid) = (0x4249.into(), 256.into(), 5.into());
            });
        }),
        case(C::SymlinkTarget, |v, p| v.edit(v.extents(p.long)[0].start, |bytes| bytes[40] = 0)),
        case(C::InodeUnused, |v, p| {
            let ino = unused(p);
            let (no, at) = v.entry(ROOT, b"short");
            v.edit(no, |bytes| put(bytes, at, ino.0.to_le_bytes().as_bytes()));
            // The link itself gets a name elsewhere, so that only the wrong entry is wrong.
            v.edit_inode(p.short, |inode| inode.nlink = 0);
            v.edit_inode(p.short, |inode| inode.orphan = Some(5));
            v.put_orphan(5, p.short);
        }),
        also(C::InodeType, &[407, 425], |v, _| {
            v.edit_inode(InodeNo(4), |inode| inode.mode = 0o120_777);
        }),
        case(C::InodeHeld, |v, p| v.edit_inode(p.tree, |inode| inode.blocks += 1)),
        case(C::InodeLinks, |v, p| v.edit_inode(p.deep, |inode| inode.nlink = 2)),
        case(C::InodeNameless, |v, p| {
            v.edit_inode(p.orphan, |inode| (inode.nlink, inode.orphan) = (1, None));
            v.edit(v.orphan_block(), |bytes| bytes[32..].fill(0));
            v.total();
        }),
    ]
}

fn extents() -> Vec<Case> {
    vec![
        also(C::ExtentLevel, &[354], |v, p| edit_leaf(v, p, Tree::Extents, |bytes| bytes[32] = 1)),
        also(C::ExtentCount, &[354], |v, p| {
            edit_leaf(v, p, Tree::Extents, |bytes| put(bytes, 34, &[254, 0]))
        }),
        case(C::ExtentTail, |v, p| edit_leaf(v, p, Tree::Extents, |bytes| bytes[4095] = 1)),
        also(C::ExtentRecord, &[354], |v, p| edit_leaf(v, p, Tree::Extents, |bytes| bytes[48 + 8] |= 2)),
        also(C::ExtentOrder, &[354], |v, p| {
            edit_leaf(v, p, Tree::Extents, |bytes| bytes[48..80].rotate_left(16));
        }),
        also(C::ExtentChild, &[354], |v, p| {
            edit_interior(v, p, Tree::Extents, |bytes| put(bytes, 56, &[1; 8]))
        }),
        also(C::ExtentRange, &[354], |v, p| edit_extent(v, p.deep, 0, |extent| extent.start = BlockNo(5))),
        also(C::ExtentShared, &[354], |v, p| {
            let other = v.extents(p.deep)[0].start;
            let mut record = bento_fs::format::record::Record::from(v.extents(p.prealloc)[0]);
            record.word1 = other.0 << 12;
            v.edit_record(p.prealloc, |raw| raw.root[8..16].copy_from_slice(&record.word1.to_le_bytes()));
        }),
        case(C::ExtentUnwritten, |v, p| edit_extent(v, p.sub, 0, |extent| extent.unwritten = true)),
        also(C::ExtentPlace, &[850], |v, _| {
            edit_extent(v, InodeNo(4), 0, |extent| extent.file = FileBlock(9))
        }),
    ]
}

fn dirs() -> Vec<Case> {
    vec![
        also(C::DirLength, &[455], |v, p| edit_entry(v, p.sub, b"deep", |entry| entry[12] = 17)),
        case(C::DirName, |v, _| {
            rename(v, ROOT, b"fifo", b"f/fo");
        }),
        case(C::DirKind, |v, _| edit_entry(v, ROOT, b"fifo", |entry| entry[15] = 3)),
        case(C::DirHole, |v, p| {
            let (no, at) = v.entry(p.sub, b"deep");
            v.edit(no, |bytes| bytes[at + 32 + 20] = 1);
        }),
        case(C::DirPadding, |v, _| edit_entry(v, ROOT, b"fifo", |entry| entry[31] = 1)),
        also(C::DirInode, &[455], |v, _| edit_entry(v, ROOT, b"fifo", |entry| entry[1] = 0xff)),
        case(C::DirHash, |v, p| edit_entry(v, p.sub, b"deep", |entry| entry[8] ^= 1)),
        case(C::DirTwice, |v, _| {
            rename(v, ROOT, b"fifo", b"tree");
        }),
        case(C::DirType, |v, _| edit_entry(v, ROOT, b"fifo", |entry| entry[15] = 12)),
        also(C::DirSecondName, &[454, 455], |v, p| {
            let (no, at) = v.entry(p.sub, b"deep");
            v.edit(no, |bytes| put(bytes, at, &p.dir.0.to_le_bytes()));
            edit_entry(v, p.sub, b"deep", |entry| entry[15] = 4);
        }),
        case(C::DirParent, |v, p| v.edit_inode(p.sub, |inode| inode.parent = InodeNo(3))),
        also(C::DirUnreachable, &[454], |v, p| {
            let (no, at) = v.entry(p.dir, b"sub");
            v.edit(no, |bytes| assert!(bento_fs::format::dirent::remove(bytes, at).is_ok()));
        }),
        also(C::DirLoop, &[454], |v, p| {
            // `sub` names `dir`, which has lost its name in the root.
            let (no, at) = v.entry(ROOT, b"dir");
            v.edit(no, |bytes| assert!(bento_fs::format::dirent::remove(bytes, at).is_ok()));
            let hash = v.superblock.hash_key.hash(b"up");
            let (no, at) = v.entry(p.sub, b"deep");
            let kind = bento_api::FileKind::Directory;
            v.edit(no, |bytes| {
                bento_fs::format::dirent::insert_at(bytes, at + 32, b"up", hash, p.dir, kind).unwrap()
            });
            v.edit_inode(p.dir, |inode| inode.parent = p.sub);
        }),
        also(C::DirMissing, &[354], |v, _| {
            v.edit_record(InodeNo(3), |raw| (raw.root, raw.blocks) = ([0; 80], 0.into()));
        }),
    ]
}

/// Gives an entry another name of the same length.
fn rename(v: &Volume, dir: InodeNo, old: &[u8], new: &[u8]) {
    let (no, at) = v.entry(dir, old);
    let low = v.superblock.hash_key.hash(new).low();
    v.edit(no, |bytes| {
        put(bytes, at + 8, &low.to_le_bytes());
        put(bytes, at + 16, new);
    });
}

fn trees_of_dirs() -> Vec<Case> {
    vec![
        case(C::IndexLevel, |v, p| edit_leaf(v, p, Tree::Index, |bytes| bytes[32] = 1)),
        case(C::IndexCount, |v, p| edit_leaf(v, p, Tree::Index, |bytes| put(bytes, 34, &[0, 0]))),
        case(C::IndexTail, |v, p| edit_leaf(v, p, Tree::Index, |bytes| bytes[4095] = 1)),
        case(C::IndexRecord, |v, p| edit_leaf(v, p, Tree::Index, |bytes| bytes[56] |= 1)),
        case(C::IndexOrder, |v, p| edit_leaf(v, p, Tree::Index, |bytes| bytes[48..80].rotate_left(16))),
        also(C::IndexChild, &[354], |v, p| edit_interior(v, p, Tree::Index, |bytes| put(bytes, 56, &[1; 8]))),
        also(C::DirIndex, &[354], |v, p| {
            let data: u64 = v.extents(p.big).iter().map(|extent| u64::from(extent.len)).sum();
            let nodes = v.nodes(Tree::Extents, p.big).concat().len() as u64;
            v.edit_record(p.big, |raw| {
                (raw.layout, raw.blocks) = (0, (data + nodes).into());
                raw.root[64..].fill(0);
            });
        }),
        case(C::IndexMissing, |v, p| {
            edit_leaf(v, p, Tree::Index, |bytes| {
                bytes[48..64].fill(0);
                bytes[48..].rotate_left(16);
                bytes[34] -= 1;
            });
        }),
        also(C::IndexStale, &[678], |v, p| {
            edit_leaf(v, p, Tree::Index, |bytes| bytes[57] ^= 1);
        }),
        also(C::FreeMapMissing, &[354], |v, p| {
            // The last leaf of the extents holds the map alone, or with names: the map's record is its last.
            let no = *v.nodes(Tree::Extents, p.big).last().unwrap().last().unwrap();
            v.edit(no, |bytes| {
                bytes[34] -= 1;
                let at = 48 + usize::from(bytes[34]) * 16;
                bytes[at..at + 16].fill(0);
            });
            v.edit_inode(p.big, |inode| inode.blocks -= 1);
        }),
        case(C::FreeMapValue, |v, p| v.edit(map_block(v, p), |bytes| bytes[33] ^= 1)),
    ]
}

fn attributes(v: &Volume, p: &Places, f: fn(&mut Bytes)) {
    v.edit(v.inode(p.xattrs).xattr_block.unwrap(), f);
}

fn rest() -> Vec<Case> {
    vec![
        case(C::XattrLength, |v, p| attributes(v, p, |bytes| put(bytes, 50, &[0xff, 0xff]))),
        case(C::XattrNamespace, |v, p| attributes(v, p, |bytes| bytes[49] = 9)),
        case(C::XattrName, |v, p| attributes(v, p, |bytes| bytes[52] = 0)),
        case(C::XattrCount, |v, p| attributes(v, p, |bytes| bytes[32] = 7)),
        case(C::XattrTail, |v, p| attributes(v, p, |bytes| bytes[4095] = 1)),
        case(C::XattrTwice, |v, p| {
            attributes(v, p, |bytes| {
                let area = bento_fs::format::xattr::block_area_mut(bytes);
                assert!(bento_fs::format::xattr::insert(area, Namespace::User, b"a", b"2").unwrap());
                bento_fs::format::xattr::count_block(bytes).unwrap();
            });
        }),
        case(C::OrphanInode, |v, _| v.edit(v.orphan_block(), |bytes| put(bytes, 32 + 8 * 8, &[9]))),
        case(C::OrphanSlot, |v, p| v.put_orphan(9, p.deep)),
        case(C::OrphanMissing, |v, p| {
            v.edit_inode(p.orphan, |inode| inode.orphan = None);
            v.edit(v.orphan_block(), |bytes| bytes[32..].fill(0));
            v.total();
        }),
        case(C::SummaryEntry, |v, _| v.edit(v.geometry().summary_start, |bytes| bytes[34] = 0xff)),
    ]
}

/// Changes a block of the provenance log: 0 is its head.
fn edit_log(v: &Volume, block: u64, f: fn(&mut Bytes)) {
    v.edit(v.log_file(block), f);
}

fn provenance() -> Vec<Case> {
    vec![
        case(C::ProvHead, |v, _| edit_log(v, 0, |bytes| bytes[32] = 3)),
        case(C::ProvFill, |v, _| edit_log(v, 1, |bytes| bytes[52] |= 1)),
        case(C::ProvSession, |v, _| edit_log(v, 1, |bytes| bytes[92] = 6)),
        case(C::ProvRecord, |v, _| edit_log(v, 1, |bytes| bytes[FIRST + 2] = 9)),
        case(C::ProvTail, |v, _| edit_log(v, 2, |bytes| bytes[4095] = 1)),
        also(C::ProvPlace, &[], |v, _| v.edit_inode(PROVENANCE, |inode| inode.size += 4096)),
        case(C::ProvOrder, |v, _| edit_log(v, 2, |bytes| bytes[40] += 1)),
    ]
}

#[test]
fn every_rule_of_a_record_is_checked() {
    let (rich, _) = Volume::rich();
    // Its length, kind, flags, nanoseconds, the length of its name, the name, the padding behind it, its directory, the
    // second directory, its inode, and the count of records.
    let wrong: [(usize, u8); 11] = [
        (FIRST, 104),
        (FIRST + 2, 0),
        (FIRST + 3, 2),
        (FIRST + 43, 0xff),
        (FIRST + 44, 9),
        (FIRST + 112, b'/'),
        (FIRST + 115, 1),
        (FIRST + 64, 0),
        (FIRST + 72, 1),
        (FIRST + 24, 0),
        (48, 1),
    ];
    for (at, value) in wrong {
        let volume = rich.clone();
        volume.edit(volume.log_file(1), |bytes| bytes[at] = value);
        let codes = volume.codes();
        assert!(codes.contains(&C::ProvRecord.code()), "byte {at}: {codes:?}");
    }
}
