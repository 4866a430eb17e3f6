//! Log headers, records, tags.
use crate::small_geometry;
use bento_api::{BLOCK, BatchSeq, BlockNo};
use bento_fs::format::Corruption;
use bento_fs::format::log::{
    self, BLOCK_TAGS, BatchHeader, HEADER_TAGS, LogHeader, Tag, TagArea, TagKind, Totals, record_blocks,
    tag_blocks, tag_place,
};

const EPOCH: u64 = 0x0123_4567_89ab_cdef;

fn header() -> LogHeader {
    let totals = Totals { free_blocks: 1, free_inodes: 2, orphans: 3 };
    LogHeader {
        counter: 4,
        epoch: EPOCH,
        tail_seq: BatchSeq(5),
        tail_at: 6,
        prev_crc: 7,
        totals,
        unrecorded: 8,
    }
}

#[test]
fn a_log_header_comes_back_and_every_bit_of_it_is_covered() {
    let mut bytes = [1; BLOCK];
    header().encode(&mut bytes, 8);
    assert_eq!(LogHeader::decode(&bytes, 8), Ok(header()));
    assert_eq!(LogHeader::decode(&bytes, 9), Err(Corruption::LogSlotChecksum));
    for bit in 0..BLOCK * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(LogHeader::decode(&damaged, 8).is_err(), "bit {bit}");
    }
}

#[test]
fn the_newest_valid_log_header_holds() {
    let slot = |counter| {
        let mut bytes = [0; BLOCK];
        LogHeader { counter, ..header() }.encode(&mut bytes, 8);
        bytes
    };
    let torn = [0; BLOCK];
    let chosen = |a: &[u8], b: &[u8]| LogHeader::choose(a, b, 8).map(|header| header.counter);
    assert_eq!(chosen(&slot(4), &slot(5)), Ok(5));
    assert_eq!(chosen(&slot(6), &slot(5)), Ok(6));
    assert_eq!(chosen(&torn, &slot(5)), Ok(5));
    assert_eq!(chosen(&slot(4), &torn), Ok(4));
    assert_eq!(chosen(&torn, &torn), Err(Corruption::LogNoSlot));
}

#[test]
fn tags_lie_in_the_header_and_then_in_tag_blocks() {
    for (copies, blocks) in [(0, 0), (1, 0), (248, 0), (249, 1), (502, 1), (503, 2)] {
        assert_eq!(tag_blocks(copies), blocks, "{copies}");
        assert_eq!(record_blocks(copies), u64::from(1 + blocks + copies));
    }
    assert_eq!(tag_place(247), (None, 247));
    assert_eq!(tag_place(248), (Some(0), 0));
    assert_eq!(tag_place(HEADER_TAGS + BLOCK_TAGS), (Some(1), 0));
    for area in 1..3000 {
        let most = log::most_copies(area);
        assert!(record_blocks(most) <= area && record_blocks(most + 3) > area, "{area}");
    }
}

/// A record of so many copies, each a block filled with one byte.
fn record(copies: u32) -> (BatchHeader, [u8; BLOCK], Vec<[u8; BLOCK]>) {
    let mut header_block = [0; BLOCK];
    let mut blocks = vec![[0; BLOCK]; tag_blocks(copies) as usize];
    for copy in 0..copies {
        let tag = Tag::full(BlockNo(2000 + u64::from(copy)), false, &[copy as u8; BLOCK], EPOCH);
        let written = match tag_place(copy) {
            (None, at) => tag.write(&mut header_block, TagArea::Header, at),
            (Some(block), at) => tag.write(&mut blocks[block as usize], TagArea::Block, at),
        };
        assert!(written);
    }
    let mut tags_crc = log::epoch_seed(EPOCH);
    for (index, block) in blocks.iter_mut().enumerate() {
        tags_crc = log::tags_crc(tags_crc, log::seal_tag_block(block, index as u32, EPOCH, BatchSeq(9)));
    }
    let mut header = BatchHeader {
        epoch: EPOCH,
        seq: BatchSeq(9),
        durable_through: BatchSeq(8),
        prev_crc: 77,
        copies,
        tags_crc,
        time: -1,
        unrecorded: 3 << 32 | 1,
        ..BatchHeader::default()
    };
    header.seal(&mut header_block);
    (header, header_block, blocks)
}

#[test]
fn a_record_comes_back_with_all_its_tags() {
    let geometry = small_geometry();
    for copies in [0, 1, 248, 249, 600] {
        let (header, bytes, blocks) = record(copies);
        let read = BatchHeader::decode(&bytes, &geometry, EPOCH).unwrap();
        assert_eq!(read, header);
        assert_eq!(read.follows(BatchSeq(9), 77), Ok(()));
        assert_eq!(read.follows(BatchSeq(8), 77), Err(Corruption::LogRecordSequence));
        assert_eq!(read.follows(BatchSeq(9), 78), Err(Corruption::LogRecordChain));
        let mut tags_crc = log::epoch_seed(EPOCH);
        for (index, block) in blocks.iter().enumerate() {
            tags_crc = log::tags_crc(tags_crc, log::verify_tag_block(block, index as u32, &read).unwrap());
        }
        assert_eq!(tags_crc, read.tags_crc);
        for copy in 0..copies {
            let tag = match tag_place(copy) {
                (None, at) => Tag::read(&bytes, TagArea::Header, at, &geometry),
                (Some(block), at) => Tag::read(&blocks[block as usize], TagArea::Block, at, &geometry),
            };
            let tag = tag.unwrap();
            assert_eq!((tag.block.0, tag.kind), (2000 + u64::from(copy), TagKind::Full));
            assert_eq!(tag.verify(&[copy as u8; BLOCK], EPOCH), Ok(()));
            assert_eq!(tag.verify(&[!(copy as u8); BLOCK], EPOCH), Err(Corruption::LogCopyChecksum));
            assert_eq!(tag.verify(&[copy as u8; BLOCK], EPOCH + 1), Err(Corruption::LogCopyChecksum));
        }
    }
}

#[test]
fn every_bit_of_a_record_header_and_of_a_tag_block_is_covered() {
    let (header, bytes, blocks) = record(300);
    for bit in 0..BLOCK * 8 {
        let flip = |bytes: &[u8; BLOCK]| {
            let mut damaged = *bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        };
        assert!(BatchHeader::decode(&flip(&bytes), &small_geometry(), EPOCH).is_err(), "header bit {bit}");
        assert!(log::verify_tag_block(&flip(&blocks[0]), 0, &header).is_err(), "tag block bit {bit}");
    }
    assert_eq!(log::verify_tag_block(&blocks[0], 1, &header), Err(Corruption::LogTagBlock));
}

#[test]
fn counts_that_cannot_be_are_refused_behind_a_right_checksum() {
    let sealed = |change: fn(&mut BatchHeader)| {
        let (mut header, mut bytes, _) = record(5);
        change(&mut header);
        header.seal(&mut bytes);
        BatchHeader::decode(&bytes, &small_geometry(), EPOCH).map(|header| header.copies)
    };
    assert_eq!(sealed(|_| ()), Ok(5));
    assert_eq!(sealed(|header| header.copies = 1022), Err(Corruption::LogRecordCounts));
    assert_eq!(sealed(|header| header.copies = u32::MAX), Err(Corruption::LogRecordCounts));
    assert_eq!(sealed(|header| header.copies = 4), Err(Corruption::LogRecordUnused));
    assert_eq!(sealed(|header| header.seq = BatchSeq(0)), Err(Corruption::LogRecordSequence));
    assert_eq!(sealed(|header| header.durable_through = BatchSeq(9)), Err(Corruption::LogRecordSequence));
    let (_, bytes, _) = record(5);
    let other = BatchHeader::decode(&bytes, &small_geometry(), EPOCH + 1);
    assert_eq!(other, Err(Corruption::LogRecordEpoch));
}

#[test]
fn tags_lead_into_the_volume_and_not_into_the_log() {
    let geometry = small_geometry();
    let read = |word: u64| {
        let mut bytes = [0; BLOCK];
        bytes[128..136].copy_from_slice(&word.to_le_bytes());
        Tag::read(&bytes, TagArea::Header, 0, &geometry).map(|tag| tag.block.0)
    };
    assert_eq!(read(1 << 12 | 1), Ok(1));
    assert_eq!(read(2000 << 12 | 1 | 16), Ok(2000));
    for word in [
        1,
        2 << 12 | 1,
        1025 << 12 | 1,
        16_384 << 12 | 1,
        2000 << 12,
        2000 << 12 | 4,
        2000 << 12 | 33,
        u64::MAX,
    ] {
        assert_eq!(read(word), Err(Corruption::LogTag), "{word:x}");
    }
    assert!(Tag::read(&[0; BLOCK], TagArea::Header, 248, &geometry).is_err());
}

#[test]
fn a_copy_that_looks_like_a_record_is_escaped_and_comes_back() {
    let (_, original, _) = record(1);
    let mut copy = original;
    assert!(log::looks_like_record(&copy, EPOCH));
    assert!(log::escape(&mut copy));
    assert!(!log::looks_like_record(&copy, EPOCH));
    log::unescape(&mut copy);
    assert_eq!(copy, original);
    assert!(!log::escape(&mut [0; BLOCK]));
}
