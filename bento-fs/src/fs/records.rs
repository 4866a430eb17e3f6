//! Reading the provenance log on a mount, by attributes of the root directory that are nowhere on disk:
//! `trusted.bento.prov` is the log's head block, `trusted.bento.prov.N` its block N (in decimal). Every variant answers
//! them, in every host; the kernel lets only who has CAP_SYS_ADMIN ask. ENODATA: there is no such block.
//!
//! A block is answered as it is now, what no sync has covered included; its checksum is that of an older content.
//!
//! `trusted.bento.generation`, of any inode, is its generation in decimal: records name an inode by number and
//! generation, and stat(2) tells the number only.
use crate::format::Inode;
use crate::format::prov::{HEAD_BLOCK, What};
use crate::format::{geometry, prov};
use crate::op::Op;
use crate::variant::{Event, Variant};
use bento_api::{Committed, Errno, FileBlock, InodeNo, Platform, Stop, XattrName};

const PREFIX: &[u8] = b"trusted.bento.";

/// What an attribute that is nowhere on disk stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A block of the log.
    Block(FileBlock),
    /// The inode's generation.
    Generation,
}

/// What is asked for by a name, if it is no attribute of the inode's own.
pub(super) fn asked_for(ino: InodeNo, name: XattrName<'_>) -> Option<Asked> {
    let rest = name.bytes().strip_prefix(PREFIX)?;
    match rest {
        b"generation" => Some(Asked::Generation),
        b"prov" if ino == geometry::ROOT => Some(Asked::Block(HEAD_BLOCK)),
        _ if ino == geometry::ROOT => {
            let digits = rest.strip_prefix(b"prov.")?;
            let number = core::str::from_utf8(digits).ok()?.parse().ok()?;
            (number <= *prov::LIMITS.end()).then_some(Asked::Block(FileBlock(number)))
        }
        _ => None,
    }
}

/// EOPNOTSUPP for names that are no attributes of anybody's own.
pub(super) fn check_own(name: XattrName<'_>) -> Result<(), Errno> {
    if name.bytes().starts_with(PREFIX) { Err(Errno::NotSupported) } else { Ok(()) }
}

/// A number in decimal, in the last bytes of `room`.
fn decimal(mut number: u32, room: &mut [u8; 10]) -> &[u8] {
    let mut at = room.len();
    for place in room.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        (number, at) = (number / 10, at.saturating_sub(1));
        if number == 0 {
            break;
        }
    }
    room.get(at..).unwrap_or(&[])
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    pub(super) fn answer(self, ino: InodeNo, asked: Asked, to: &mut [u8]) -> Result<usize, Stop> {
        let mut op = self;
        op.share(ino)?;
        match asked {
            Asked::Block(file) => op.log_block(file, to),
            Asked::Generation => {
                let mut room = [0; 10];
                let mut inode = Inode::free(0);
                op.load(ino, &mut inode)?;
                let text = decimal(inode.generation, &mut room);
                if !to.is_empty() {
                    to.get_mut(..text.len()).ok_or(Errno::Range)?.copy_from_slice(text);
                }
                Ok(text.len())
            }
        }
    }

    /// Records that the caller is about to write to a file that it has open.
    pub(super) fn first_write(self, ino: InodeNo) -> Result<Committed<()>, Stop> {
        let mut op = self;
        op.share(ino)?;
        let mut inode = Inode::free(0);
        op.load(ino, &mut inode)?;
        op.tell(|_| Ok(Event::of(What::FirstWrite, inode.object(ino))))?;
        op.commit(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(ino: u64, name: &str) -> Result<Option<Asked>, Errno> {
        Ok(asked_for(InodeNo(ino), XattrName::new(name.as_bytes())?))
    }

    #[test]
    fn only_the_roots_attributes_stand_for_blocks_of_the_log() {
        assert_eq!(asked(1, "trusted.bento.prov"), Ok(Some(Asked::Block(FileBlock(0)))));
        assert_eq!(asked(1, "trusted.bento.prov.17"), Ok(Some(Asked::Block(FileBlock(17)))));
        for other in
            ["trusted.bento.prov.", "trusted.bento.prov.x", "trusted.bento.prov.99999999999999999999"]
        {
            assert_eq!(asked(1, other), Ok(None), "{other}");
        }
        assert_eq!(asked(1, "trusted.bento.provenance"), Ok(None));
        assert_eq!(asked(16, "trusted.bento.prov"), Ok(None));
        assert_eq!(asked(16, "trusted.bento.generation"), Ok(Some(Asked::Generation)));
        assert_eq!(asked(16, "user.generation"), Ok(None));
        for (name, own) in [("trusted.bento.x", false), ("trusted.bent", true), ("user.bento.x", true)] {
            assert_eq!(check_own(XattrName::new(name.as_bytes()).unwrap()).is_ok(), own, "{name}");
        }
    }

    #[test]
    fn a_number_is_written_without_zeros_before_it() {
        for (number, text) in [(0, "0"), (7, "7"), (10, "10"), (u32::MAX, "4294967295")] {
            assert_eq!(decimal(number, &mut [0; 10]), text.as_bytes());
        }
    }
}
