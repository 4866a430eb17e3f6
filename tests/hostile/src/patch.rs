//! One change of one field, and the checksums made right behind it.
use crate::base::Base;
use crate::device::Ram;
use crate::target::{Cover, Target};
use bento_fs::format::Field;
use bento_fs::format::block::{crc, crc_without};
use bento_fs::format::inode::checksum_of;
use bento_fs::format::log::{epoch_seed, tags_crc};
use std::fmt;

/// Bytes that a patch takes in the data of a case.
pub const BYTES: usize = 8;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// All bits clear.
    Zero,
    /// All bits set.
    Ones,
    /// One more.
    Up,
    /// One less.
    Down,
    /// This number.
    To(u16),
    /// Rubbish, of this seed.
    Random(u16),
    /// One bit flipped.
    Flip(u16),
    /// The same field of another structure of the kind.
    Other(u16),
}

impl Change {
    fn of(kind: u8, value: u16) -> Self {
        match kind % 8 {
            0 => Self::Zero,
            1 => Self::Ones,
            2 => Self::Up,
            3 => Self::Down,
            4 => Self::To(value),
            5 => Self::Random(value),
            6 => Self::Flip(value),
            _ => Self::Other(value),
        }
    }

    const fn bytes(self) -> (u8, u16) {
        match self {
            Self::Zero => (0, 0),
            Self::Ones => (1, 0),
            Self::Up => (2, 0),
            Self::Down => (3, 0),
            Self::To(value) => (4, value),
            Self::Random(value) => (5, value),
            Self::Flip(value) => (6, value),
            Self::Other(value) => (7, value),
        }
    }

    /// Changes the bytes of a field; `other` is what the same field holds elsewhere.
    fn apply(self, bytes: &mut [u8], other: impl FnOnce(u16) -> Vec<u8>) {
        match self {
            Self::Zero => bytes.fill(0),
            Self::Ones => bytes.fill(0xff),
            Self::Up => step(bytes, |byte| byte.overflowing_add(1)),
            Self::Down => step(bytes, |byte| byte.overflowing_sub(1)),
            Self::To(value) => {
                bytes.fill(0);
                bytes.iter_mut().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
            }
            Self::Random(seed) => {
                let mut state = u64::from(seed) * 2 + 1;
                for byte in bytes {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    *byte = (state >> 56) as u8;
                }
            }
            Self::Flip(bit) => {
                let bit = usize::from(bit) % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Other(which) => bytes.copy_from_slice(&other(which)),
        }
    }
}

/// Adds or subtracts one, with carry.
fn step(bytes: &mut [u8], f: impl Fn(u8) -> (u8, bool)) {
    for byte in bytes {
        let (new, carry) = f(*byte);
        *byte = new;
        if !carry {
            return;
        }
    }
}

/// A change of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Which structure, by its place among those that the base has.
    pub layout: u8,
    /// Which one of them.
    pub nth: u16,
    /// Which field.
    pub field: u8,
    /// What becomes of it.
    pub change: Change,
}

impl Patch {
    /// From the data of a case.
    pub fn decode(bytes: [u8; BYTES]) -> Self {
        let [layout, nth0, nth1, field, kind, _, value0, value1] = bytes;
        let change = Change::of(kind, u16::from_le_bytes([value0, value1]));
        Self { layout, nth: u16::from_le_bytes([nth0, nth1]), field, change }
    }

    /// The data of which it is made.
    pub fn encode(self) -> [u8; BYTES] {
        let (kind, value) = self.change.bytes();
        let ([nth0, nth1], [value0, value1]) = (self.nth.to_le_bytes(), value.to_le_bytes());
        [self.layout, nth0, nth1, self.field, kind, 0, value0, value1]
    }

    /// The structure and its field.
    pub fn place(self, base: &Base) -> (Target, Field) {
        let (layout, all) = &base.targets.0[usize::from(self.layout) % base.targets.0.len()];
        (all[usize::from(self.nth) % all.len()], layout.fields[usize::from(self.field) % layout.fields.len()])
    }

    fn other(self, base: &Base, field: Field, which: u16) -> Vec<u8> {
        let (_, all) = &base.targets.0[usize::from(self.layout) % base.targets.0.len()];
        let target = all[usize::from(which) % all.len()];
        base.blocks[target.block as usize][target.at + field.offset..][..field.size].to_vec()
    }

    /// Tells what it does, for people.
    pub fn describe(self, base: &Base) -> impl fmt::Display {
        let (target, field) = self.place(base);
        let Target { layout, block, at, .. } = target;
        format!(
            "{}.{} in block {block}, byte {}: {:?}",
            layout.name,
            field.name,
            at + field.offset,
            self.change
        )
    }
}

/// Applies patches; `sealed` makes right every checksum that is not itself changed.
pub fn apply(device: &Ram, base: &Base, patches: &[Patch], sealed: bool) {
    let mut pinned = Vec::new();
    for patch in patches {
        let (target, field) = patch.place(base);
        let at = target.at + field.offset;
        let other = |which| patch.other(base, field, which);
        device.edit(target.block, |bytes| patch.change.apply(&mut bytes[at..at + field.size], other));
        pinned.push((target.block, at));
    }
    if sealed {
        let sealer = Sealer { device, base, pinned };
        patches.iter().for_each(|patch| sealer.seal(patch.place(base).0));
    }
}

struct Sealer<'a> {
    device: &'a Ram,
    base: &'a Base,
    /// Where fields were changed: a checksum there stays wrong.
    pinned: Vec<(u64, usize)>,
}

impl Sealer<'_> {
    fn put(&self, block: u64, at: usize, sum: u32) {
        if !self.pinned.contains(&(block, at)) {
            self.device.edit(block, |bytes| bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes()));
        }
    }

    fn seal(&self, Target { block, cover, .. }: Target) {
        let seed = self.base.superblock.csum_seed;
        let bytes = self.device.get(block);
        match cover {
            Cover::Superblock => self.put(block, 12, crc_without(0, &bytes, 12)),
            Cover::Header => self.put(block, 0, crc(seed, &bytes[4..])),
            Cover::Inode(ino, at) => self.put(block, at, checksum_of(&bytes[at..at + 256], ino, seed)),
            Cover::Slot => self.put(block, 8, crc_without(seed, &bytes, 8)),
            Cover::Record => self.seal_log(),
            Cover::Copy => {
                self.put(block, 0, crc(seed, &bytes[4..]));
                self.seal_log();
            }
        }
    }

    /// Goes through the records as they were written, and makes the chain of their checksums right.
    fn seal_log(&self) {
        let seed = epoch_seed(self.base.epoch);
        let mut before = None;
        for record in &self.base.log {
            for (index, copy) in record.copies.iter().enumerate() {
                let (no, at) = record.tag(index);
                self.put(no, at + 8, crc(seed, &self.device.get(*copy)));
            }
            let tags = record.tags.iter().fold(seed, |sum, no| {
                let block = crc_without(seed, &self.device.get(*no), 8);
                self.put(*no, 8, block);
                tags_crc(sum, block)
            });
            self.put(record.header, 80, tags);
            if let Some(before) = before {
                self.put(record.header, 12, before);
            }
            let sum = crc_without(seed, &self.device.get(record.header), 8);
            self.put(record.header, 8, sum);
            before = Some(sum);
        }
    }
}
