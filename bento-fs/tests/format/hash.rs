//! Hash and checksum, against what others compute.
use bento_fs::format::{HashKey, block};

/// The first 16 of the vectors that SipHash's authors publish: key 00 01 .. 0f, input 00 01 .. of each length.
const VECTORS: [u64; 16] = [
    0x726f_db47_dd0e_0e31,
    0x74f8_39c5_93dc_67fd,
    0x0d6c_8009_d9a9_4f5a,
    0x8567_6696_d7fb_7e2d,
    0xcf27_94e0_2771_87b7,
    0x1876_5564_cd99_a68d,
    0xcbc9_466e_58fe_e3ce,
    0xab02_00f5_8b01_d137,
    0x93f5_f579_9a93_2462,
    0x9e00_82df_0ba9_e4b0,
    0x7a5d_bbc5_94dd_b9f3,
    0xf4b3_2f46_226b_ada7,
    0x751e_8fbc_860e_e5fb,
    0x14ea_5627_c084_3d90,
    0xf723_ca90_8e7a_f2ee,
    0xa129_ca61_49be_45e5,
];

#[test]
fn siphash_gives_its_authors_vectors() {
    let key = HashKey(core::array::from_fn(|index| index as u8));
    let input: Vec<u8> = (0..16).collect();
    for (len, expected) in VECTORS.into_iter().enumerate() {
        assert_eq!(key.hash(&input[..len]).0, expected, "length {len}");
    }
}

#[test]
fn siphash_agrees_with_the_standard_library_at_every_length() {
    #[allow(
        deprecated,
        reason = "the standard library's SipHash-2-4 is deprecated as a hasher, not as an oracle"
    )]
    fn oracle(key: &[u8; 16], input: &[u8]) -> u64 {
        use std::hash::Hasher;
        let word = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().unwrap());
        let mut hasher = std::hash::SipHasher::new_with_keys(word(0), word(8));
        hasher.write(input);
        hasher.finish()
    }
    let key = core::array::from_fn(|index| (index * 37 + 11) as u8);
    let input: Vec<u8> = (0..255u32).map(|byte| (byte * 89 + 3) as u8).collect();
    for len in 0..=input.len() {
        assert_eq!(HashKey(key).hash(&input[..len]).0, oracle(&key, &input[..len]), "length {len}");
    }
}

#[test]
fn the_checksum_is_that_of_zlib_and_continues_from_a_seed() {
    assert_eq!(block::crc(0, b"123456789"), 0xcbf4_3926);
    assert_eq!(block::crc(block::crc(0, b"1234"), b"56789"), 0xcbf4_3926);
}

#[test]
fn a_structure_is_summed_as_if_its_own_checksum_were_zero() {
    let with = [1, 2, 9, 9, 9, 9, 3];
    let without = [1, 2, 0, 0, 0, 0, 3];
    assert_eq!(block::crc_without(7, &with, 2), block::crc(7, &without));
}
