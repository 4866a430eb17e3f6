//! Sizes as people write them.

/// Reads `10`, `10k`, `10M`, `10GiB`, `1t`: suffixes are powers of 1024, and a bare number counts `unit` bytes.
pub(crate) fn parse(text: &str, unit: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text.get(digits.len()..)?.to_ascii_lowercase();
    let unit = match suffix.as_str() {
        "" => unit,
        "b" => 1,
        "s" => 512,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "p" | "pib" => 1 << 50,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size to read: `1 TiB`.
pub(crate) fn show(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(parse("10", 4096), Some(40_960));
        assert_eq!(parse("10k", 1), Some(10_240));
        assert_eq!(parse("1T", 1), Some(1 << 40));
        assert_eq!(parse("3GiB", 1), Some(3 << 30));
    }

    #[test]
    fn nonsense_is_no_size() {
        for text in ["", "k", "-1", "1x", "1.5g", "99999999999p", "1 g"] {
            assert_eq!(parse(text, 1), None, "{text}");
        }
    }
}
