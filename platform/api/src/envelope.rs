//! What one version of a file system hands to the next: tagged sections, little-endian, no pointers.
//!
//! Layout: magic `BENTOUPG` (8), envelope version u32, ABI version u32, length u32 (of everything), crc u32 (of
//! everything behind it), then sections: tag u32, length u32, bytes padded to 8. An unknown tag whose highest bit is
//! set must be understood; any other may be skipped.
use core::fmt;

const MAGIC: [u8; 8] = *b"BENTOUPG";
const HEAD: usize = 24;
const VERSION: u32 = 1;

/// Sections that are named so far.
pub mod tag {
    /// Geometry and identity of the volume (must be understood).
    pub const VOLUME: u32 = 0x8000_0001;
    /// Version text of the exporting code.
    pub const VERSION: u32 = 2;
    /// Provenance state; without it provenance starts fresh.
    pub const PROV: u32 = 3;
}

/// Why an upgrade is refused. The old side goes on serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The sections do not fit the envelope.
    TooLarge,
    /// No envelope, or a damaged one.
    Damaged,
    /// Another version of the envelope or of the boundary.
    Version,
    /// A section that must be understood is not.
    UnknownSection(u32),
    /// A section that is needed is missing.
    MissingSection(u32),
    /// A section's content makes no sense to this version.
    BadSection(u32),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the state to hand over is too large"),
            Self::Damaged => f.write_str("the state that was handed over is damaged"),
            Self::Version => f.write_str("the two versions do not speak the same boundary"),
            Self::UnknownSection(tag) => write!(f, "section {tag:#x} must be understood and is unknown"),
            Self::MissingSection(tag) => write!(f, "section {tag:#x} is missing"),
            Self::BadSection(tag) => write!(f, "section {tag:#x} makes no sense to this version"),
        }
    }
}

/// Writes an envelope.
pub struct Writer<'b> {
    to: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// Begins an envelope in `to`.
    pub fn new(to: &'b mut [u8]) -> Result<Self, Refused> {
        to.get_mut(..HEAD).ok_or(Refused::TooLarge)?.fill(0);
        Ok(Self { to, len: HEAD })
    }

    /// Appends a section.
    pub fn section(&mut self, tag: u32, bytes: &[u8]) -> Result<(), Refused> {
        let padded = bytes.len().checked_next_multiple_of(8).ok_or(Refused::TooLarge)?;
        let end = self.len.checked_add(8).and_then(|at| at.checked_add(padded)).ok_or(Refused::TooLarge)?;
        let room = self.to.get_mut(self.len..end).ok_or(Refused::TooLarge)?;
        room.fill(0);
        let len = u32::try_from(bytes.len()).map_err(|_| Refused::TooLarge)?;
        put(room, 0, &tag.to_le_bytes());
        put(room, 4, &len.to_le_bytes());
        put(room, 8, bytes);
        self.len = end;
        Ok(())
    }

    /// Ends the envelope: its length in bytes.
    pub fn finish(self) -> Result<usize, Refused> {
        let len = u32::try_from(self.len).map_err(|_| Refused::TooLarge)?;
        let all = self.to.get_mut(..self.len).ok_or(Refused::TooLarge)?;
        put(all, 0, &MAGIC);
        put(all, 8, &VERSION.to_le_bytes());
        put(all, 12, &crate::ABI_VERSION.to_le_bytes());
        put(all, 16, &len.to_le_bytes());
        let crc = checksum(all.get(HEAD..).unwrap_or(&[]));
        put(all, 20, &crc.to_le_bytes());
        Ok(self.len)
    }
}

/// A checked envelope.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'b> {
    sections: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Checks an envelope.
    pub fn new(from: &'b [u8]) -> Result<Self, Refused> {
        if from.get(..8) != Some(&MAGIC) {
            return Err(Refused::Damaged);
        }
        if word(from, 8) != Some(VERSION) || word(from, 12) != Some(crate::ABI_VERSION) {
            return Err(Refused::Version);
        }
        let len = word(from, 16).and_then(|len| usize::try_from(len).ok()).ok_or(Refused::Damaged)?;
        let sections = from.get(HEAD..len).ok_or(Refused::Damaged)?;
        if word(from, 20) != Some(checksum(sections)) {
            return Err(Refused::Damaged);
        }
        Ok(Self { sections })
    }

    /// Every section, in order; the walk ends at the first that does not fit.
    pub fn sections(&self) -> impl Iterator<Item = (u32, &'b [u8])> {
        let mut rest = self.sections;
        core::iter::from_fn(move || {
            let tag = word(rest, 0)?;
            let len = usize::try_from(word(rest, 4)?).ok()?;
            let bytes = rest.get(8..)?.get(..len)?;
            rest = rest.get(8..)?.get(len.checked_next_multiple_of(8)?..)?;
            Some((tag, bytes))
        })
    }

    /// The section with this tag.
    pub fn section(&self, tag: u32) -> Result<&'b [u8], Refused> {
        self.sections().find(|(t, _)| *t == tag).map(|(_, bytes)| bytes).ok_or(Refused::MissingSection(tag))
    }

    /// Refuses sections that must be understood and are not among `known`.
    pub fn require_known(&self, known: &[u32]) -> Result<(), Refused> {
        match self.sections().find(|(tag, _)| tag & 0x8000_0000 != 0 && !known.contains(tag)) {
            Some((tag, _)) => Err(Refused::UnknownSection(tag)),
            None => Ok(()),
        }
    }
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = to.get_mut(at..).and_then(|to| to.get_mut(..bytes.len())) {
        to.copy_from_slice(bytes);
    }
}

fn word(from: &[u8], at: usize) -> Option<u32> {
    from.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}

/// FNV-1a: the envelope crosses memory, not a disk; this finds a mix-up, not a bit flip.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_gives_back_its_sections_and_notices_every_changed_byte() {
        let mut bytes = [0; 256];
        let mut writer = Writer::new(&mut bytes).unwrap();
        writer.section(tag::VERSION, b"one").unwrap();
        writer.section(tag::VOLUME, b"").unwrap();
        let len = writer.finish().unwrap();
        let reader = Reader::new(&bytes[..len]).unwrap();
        assert_eq!(reader.section(tag::VERSION), Ok(&b"one"[..]));
        assert_eq!(reader.section(tag::VOLUME), Ok(&b""[..]));
        assert_eq!(reader.section(tag::PROV), Err(Refused::MissingSection(tag::PROV)));
        assert_eq!(reader.require_known(&[]), Err(Refused::UnknownSection(tag::VOLUME)));
        for at in 0..len {
            let mut changed = bytes;
            changed[at] ^= 0x40;
            assert!(Reader::new(&changed[..len]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_envelope_that_is_too_small_is_refused() {
        let mut bytes = [0; 40];
        let mut writer = Writer::new(&mut bytes).unwrap();
        assert_eq!(writer.section(tag::VERSION, &[0; 9]), Err(Refused::TooLarge));
        assert_eq!(Writer::new(&mut [0; 8]).err(), Some(Refused::TooLarge));
    }
}
