//! What workloads write: every operation its own bytes, so that a byte says who wrote it and where.

use super::history::OpId;

/// The bytes that operation `op` writes from `offset` on. None is zero, so a hole cannot be taken for data.
pub fn fill(op: OpId, offset: u64, to: &mut [u8]) {
    let mut at = offset;
    let mut rest = to;
    while !rest.is_empty() {
        let word = word(op, at / 8).to_le_bytes();
        let skip = (at % 8) as usize;
        let count = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(count);
        head.copy_from_slice(&word[skip..skip + count]);
        at += count as u64;
        rest = tail;
    }
}

/// SplitMix64 of operation and place, every byte made odd.
fn word(op: OpId, index: u64) -> u64 {
    let mut z = (u64::from(op.0) << 40) ^ index;
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) | 0x0101_0101_0101_0101
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_written_alone_equals_the_same_piece_of_the_whole() {
        let mut whole = [0; 100];
        fill(OpId(3), 1000, &mut whole);
        let mut piece = [0; 40];
        fill(OpId(3), 1013, &mut piece);
        assert_eq!(whole[13..53], piece);
        assert!(whole.iter().all(|byte| *byte != 0));
        fill(OpId(4), 1013, &mut piece);
        assert_ne!(whole[13..53], piece);
    }
}
