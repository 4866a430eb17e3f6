//! SipHash-2-4, the hash of names in a directory.
//!
//! It is keyed, with a key of the volume's own, so that nobody can make names that all fall on one place.

/// The `hash_id` of SipHash-2-4 in the superblock.
pub const SIPHASH_2_4: u8 = 1;

/// A volume's hash key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

impl HashKey {
    /// The hash of a name.
    pub fn hash(&self, name: &[u8]) -> NameHash {
        let (low, high) = self.0.split_at(8);
        NameHash(siphash(word(low), word(high), name))
    }
}

/// The hash of a name: 64 bits in the index, of which an entry holds the low half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameHash(pub u64);

impl NameHash {
    /// The half that an entry holds.
    pub fn low(self) -> u32 {
        u32::try_from(self.0 & 0xffff_ffff).unwrap_or(0)
    }
}

/// Up to eight bytes as a little-endian word.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn rounds(&mut self, count: u32) {
        for _ in 0..count {
            self.v0 = self.v0.wrapping_add(self.v1);
            self.v1 = self.v1.rotate_left(13) ^ self.v0;
            self.v0 = self.v0.rotate_left(32);
            self.v2 = self.v2.wrapping_add(self.v3);
            self.v3 = self.v3.rotate_left(16) ^ self.v2;
            self.v0 = self.v0.wrapping_add(self.v3);
            self.v3 = self.v3.rotate_left(21) ^ self.v0;
            self.v2 = self.v2.wrapping_add(self.v1);
            self.v1 = self.v1.rotate_left(17) ^ self.v2;
            self.v2 = self.v2.rotate_left(32);
        }
    }

    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.rounds(2);
        self.v0 ^= word;
    }
}

fn siphash(key_low: u64, key_high: u64, bytes: &[u8]) -> u64 {
    // The four constants spell "somepseudorandomlygeneratedbytes".
    let mut state = State {
        v0: key_low ^ 0x736f_6d65_7073_6575,
        v1: key_high ^ 0x646f_7261_6e64_6f6d,
        v2: key_low ^ 0x6c79_6765_6e65_7261,
        v3: key_high ^ 0x7465_6462_7974_6573,
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for chunk in words {
        state.absorb(u64::from_le_bytes(*chunk));
    }
    let length = u64::try_from(bytes.len() & 0xff).unwrap_or(0);
    state.absorb(word(rest) | length << 56);
    state.v2 ^= 0xff;
    state.rounds(4);
    state.v0 ^ state.v1 ^ state.v2 ^ state.v3
}
