//! Nodes: sorted records in a block, or in the root area of an inode.
//!
//! A [`Node`] reads, a [`NodeMut`] changes; both are bounded by the slice they were made from. Records are sorted
//! by (word 0, word 1). A block holds its count; in a root area the records end at the first whose word 1 is zero.
use super::block::HEADER;
use super::num::{all_zero, index, narrow16};
use super::record::{Child, Extent, IndexEntry, RECORD, RawRecord, Record};
use super::{BlockKind, Corruption};
use core::cmp::Ordering;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

/// The byte of a node block at which the records begin.
pub const RECORDS_AT: usize = 48;
/// Records in a node block.
pub const CAPACITY: usize = 253;

raw! {
    /// What follows the header in a node block, before the records.
    pub struct RawNodeHead [16] {
        /// Levels above the leaves.
        0 => level: u8,
        /// Zero.
        1 => unused0: u8,
        /// Records.
        2 => count: U16,
        /// Zero.
        4 => unused1: [u8; 12],
    }
}

/// Which tree a node belongs to: it decides what leaf records mean, and the problem numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Extents of a file.
    Extents,
    /// Names of a directory, by hash.
    Index,
}

impl Tree {
    /// The kind of the tree's blocks.
    pub const fn block_kind(self) -> BlockKind {
        match self {
            Self::Extents => BlockKind::Extent,
            Self::Index => BlockKind::Index,
        }
    }

    /// The problem of a node at the wrong level.
    pub const fn bad_level(self) -> Corruption {
        match self {
            Self::Extents => Corruption::ExtentLevel,
            Self::Index => Corruption::IndexLevel,
        }
    }

    const fn bad_count(self) -> Corruption {
        match self {
            Self::Extents => Corruption::ExtentCount,
            Self::Index => Corruption::IndexCount,
        }
    }

    const fn bad_tail(self) -> Corruption {
        match self {
            Self::Extents => Corruption::ExtentTail,
            Self::Index => Corruption::IndexTail,
        }
    }

    const fn bad_order(self) -> Corruption {
        match self {
            Self::Extents => Corruption::ExtentOrder,
            Self::Index => Corruption::IndexOrder,
        }
    }

    /// The problem of an interior record without a child in the volume.
    pub const fn bad_child(self) -> Corruption {
        match self {
            Self::Extents => Corruption::ExtentChild,
            Self::Index => Corruption::IndexChild,
        }
    }
}

/// A node, to read.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    tree: Tree,
    level: u8,
    records: &'a [RawRecord],
    unused: &'a [RawRecord],
}

impl<'a> Node<'a> {
    /// The node in a block, whose header the caller has checked, at the level that its parent says.
    pub fn block(bytes: &'a [u8], tree: Tree, level: u8) -> Result<Self, Corruption> {
        let (head, all) = parts(bytes).ok_or(tree.bad_count())?;
        if head.level != level {
            return Err(tree.bad_level());
        }
        if head.unused0 != 0 || !all_zero(&head.unused1) {
            return Err(tree.bad_tail());
        }
        let (records, unused) =
            all.split_at_checked(index(head.count.get().into())).ok_or(tree.bad_count())?;
        Ok(Self { tree, level, records, unused })
    }

    /// The node in a root area: its level is the depth that the inode says.
    pub fn root(bytes: &'a [u8], tree: Tree, level: u8) -> Self {
        let all = <[RawRecord]>::ref_from_bytes(bytes).unwrap_or(&[]);
        let (records, unused) = all.split_at_checked(used(all)).unwrap_or((all, &[]));
        Self { tree, level, records, unused }
    }

    /// Levels above the leaves.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Records.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Room for this many more.
    pub fn room(&self) -> usize {
        self.unused.len()
    }

    /// The record at a place.
    pub fn get(&self, at: usize) -> Option<Record> {
        self.records.get(at).map(Record::from)
    }

    /// All records, in order.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = Record> + ExactSizeIterator + use<'a> {
        self.records.iter().map(Record::from)
    }

    /// How many records are at or below a key: the record to follow is the one before. Binary search; if the
    /// records are out of order the answer is useless, and still in range.
    pub fn upper(&self, key: Record) -> usize {
        self.records.partition_point(|raw| Record::from(raw) <= key)
    }

    /// How many records are below a key.
    pub fn lower(&self, key: Record) -> usize {
        self.records.partition_point(|raw| Record::from(raw) < key)
    }

    /// The place of the record to follow for a key: the last at or below it, or the first of all.
    pub fn child_place(&self, key: Record) -> usize {
        self.upper(Record { word0: key.word0, word1: u64::MAX }).saturating_sub(1)
    }

    /// Where to split a full node: the place nearest to the middle whose key differs from the one before it, so
    /// that equal hashes stay in one leaf. `None` if all keys are equal, which no key of a volume's own makes.
    pub fn split_place(&self) -> Option<usize> {
        let middle = self.count() / 2;
        let differs = |at: &usize| {
            let before = at.checked_sub(1).and_then(|before| self.get(before));
            before.is_some_and(|before| self.get(*at).is_some_and(|record| record.word0 != before.word0))
        };
        let up = (middle..self.count()).find(differs);
        let down = (0..middle).rev().find(differs);
        match (down, up) {
            (Some(down), Some(up)) if middle.abs_diff(down) < up.abs_diff(middle) => Some(down),
            (down, up) => up.or(down),
        }
    }

    /// The extent at a place of a leaf.
    pub fn extent(&self, at: usize) -> Option<Result<Extent, Corruption>> {
        self.get(at).map(Extent::try_from)
    }

    /// The index entry at a place of a leaf.
    pub fn index_entry(&self, at: usize) -> Option<Result<IndexEntry, Corruption>> {
        self.get(at).map(IndexEntry::try_from)
    }

    /// The child at a place of an interior node.
    pub fn child(&self, at: usize) -> Option<Result<Child, Corruption>> {
        self.get(at).map(|record| Child::decode(record, self.tree.bad_child()))
    }

    /// Checks every record, their order, and that nothing follows them: once, when a node is read.
    pub fn check(&self) -> Result<(), Corruption> {
        if !all_zero(self.unused.as_bytes()) {
            return Err(self.tree.bad_tail());
        }
        let mut before: Option<Record> = None;
        for record in self.records() {
            match (self.level, self.tree) {
                (0, Tree::Extents) => Extent::try_from(record).map(drop)?,
                (0, Tree::Index) => IndexEntry::try_from(record).map(drop)?,
                _ => Child::decode(record, self.tree.bad_child()).map(drop)?,
            }
            if before.is_some_and(|before| !self.in_order(before, record)) {
                return Err(self.tree.bad_order());
            }
            before = Some(record);
        }
        Ok(())
    }

    /// Extents may not overlap; index entries differ at least in their position; children have different keys.
    fn in_order(&self, before: Record, after: Record) -> bool {
        match (self.level, self.tree) {
            (0, Tree::Extents) => match (Extent::try_from(before), Extent::try_from(after)) {
                (Ok(before), Ok(after)) => before.end() <= after.file,
                _ => false,
            },
            (0, Tree::Index) => before.cmp(&after) == Ordering::Less,
            _ => before.word0 < after.word0,
        }
    }
}

/// A node, to change. Every change keeps the unused records zero and the count right.
#[derive(Debug)]
pub struct NodeMut<'a> {
    count: Option<&'a mut U16>,
    used: usize,
    records: &'a mut [RawRecord],
}

impl<'a> NodeMut<'a> {
    /// The node in a block.
    pub fn block(bytes: &'a mut [u8], tree: Tree) -> Result<Self, Corruption> {
        let (head, records) = parts_mut(bytes).ok_or(tree.bad_count())?;
        let used = index(head.count.get().into());
        if used > records.len() {
            return Err(tree.bad_count());
        }
        Ok(Self { count: Some(&mut head.count), used, records })
    }

    /// The node in a root area.
    pub fn root(bytes: &'a mut [u8]) -> Self {
        let records = <[RawRecord]>::mut_from_bytes(bytes).unwrap_or(&mut []);
        Self { count: None, used: used(records), records }
    }

    /// Records.
    pub fn count(&self) -> usize {
        self.used
    }

    /// Room for this many more.
    pub fn room(&self) -> usize {
        self.records.len().saturating_sub(self.used)
    }

    /// The record at a place.
    pub fn get(&self, at: usize) -> Option<Record> {
        if at < self.used { self.records.get(at).map(Record::from) } else { None }
    }

    fn set_count(&mut self, used: usize) {
        self.used = used;
        if let Some(count) = self.count.as_deref_mut() {
            *count = narrow16(used).into();
        }
    }

    /// Puts a record before the one at `at`; false, and no change, if the node is full or has no such place.
    #[must_use]
    pub fn insert(&mut self, at: usize, record: Record) -> bool {
        if at > self.used || self.room() == 0 {
            return false;
        }
        let end = self.used.saturating_add(1);
        let Some(tail) = self.records.get_mut(at..end) else { return false };
        tail.rotate_right(1);
        if let Some(first) = tail.first_mut() {
            *first = record.into();
        }
        self.set_count(end);
        true
    }

    /// Replaces the record at a place; false if there is none.
    #[must_use]
    pub fn set(&mut self, at: usize, record: Record) -> bool {
        match self.records.get_mut(at) {
            Some(place) if at < self.used => *place = record.into(),
            _ => return false,
        }
        true
    }

    /// Takes the record at a place out.
    pub fn remove(&mut self, at: usize) -> Option<Record> {
        let record = self.get(at)?;
        let tail = self.records.get_mut(at..self.used)?;
        tail.rotate_left(1);
        if let Some(last) = tail.last_mut() {
            *last = Record::default().into();
        }
        self.set_count(self.used.saturating_sub(1));
        Some(record)
    }

    /// Drops the records from `at` on.
    pub fn truncate(&mut self, at: usize) {
        if let Some(tail) = self.records.get_mut(at..self.used) {
            tail.fill(Record::default().into());
            self.set_count(at);
        }
    }

    /// Moves the records from `at` on to the end of another node; false, and no change, if they do not fit.
    #[must_use]
    pub fn split(&mut self, at: usize, into: &mut NodeMut<'_>) -> bool {
        let Some(moved) = self.records.get(at..self.used) else { return false };
        let end = into.used.saturating_add(moved.len());
        let Some(place) = into.records.get_mut(into.used..end) else { return false };
        place.copy_from_slice(moved);
        into.set_count(end);
        self.truncate(at);
        true
    }
}

fn used(records: &[RawRecord]) -> usize {
    records.iter().position(|raw| raw.word1.get() == 0).unwrap_or(records.len())
}

fn parts(bytes: &[u8]) -> Option<(&RawNodeHead, &[RawRecord])> {
    let (head, rest) = RawNodeHead::ref_from_prefix(bytes.get(HEADER..)?).ok()?;
    Some((head, <[RawRecord]>::ref_from_bytes(rest.get(..CAPACITY * RECORD)?).ok()?))
}

fn parts_mut(bytes: &mut [u8]) -> Option<(&mut RawNodeHead, &mut [RawRecord])> {
    let (head, rest) = RawNodeHead::mut_from_prefix(bytes.get_mut(HEADER..)?).ok()?;
    Some((head, <[RawRecord]>::mut_from_bytes(rest.get_mut(..CAPACITY * RECORD)?).ok()?))
}

/// Puts the level of a node block that [`super::block::start`] has begun.
pub fn set_level(bytes: &mut [u8], level: u8) {
    if let Some((head, _)) = parts_mut(bytes) {
        head.level = level;
    }
}
