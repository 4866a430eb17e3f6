//! Conversions between integers that can't truncate: out of range saturates, and then no slice has such an index.

/// An offset or a count as an index.
pub fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A `u32` as an index.
pub fn index32(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// An index or a length as a number on disk.
pub fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// An index or a length as a 32-bit number.
pub fn narrow32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// An index or a length as a 16-bit number.
pub fn narrow16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// True if every byte is zero. Looks at all of them, a word at a time: most often they are, and stopping at the
/// first that is not would make that thirty times as slow.
pub fn all_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0, |seen, word| seen | u64::from_le_bytes(*word));
    words == 0 && rest.iter().all(|byte| *byte == 0)
}
