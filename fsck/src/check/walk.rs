//! The trees of 16-byte records, read by rules of its own: a node is used only if its header, its level, its count,
//! the form, order and range of all its records are right. Ranges of siblings never overlap and no node is empty, so
//! no node is met twice in one tree, whatever the image says.
use super::Check;
use crate::report::{BadBlock, Problem};
use bento_api::{BlockNo, Bytes, FileBlock, FileKind, InodeNo};
use bento_fs::format::block::{BLOCK_LIMIT, Header, Owner};
use bento_fs::format::inode::{Inode, MAX_DIR_SIZE, RootKind};
use bento_fs::format::node::{CAPACITY, RECORDS_AT, RawNodeHead, Tree};
use bento_fs::format::num::all_zero;
use bento_fs::format::record::{Extent, RECORD};
use bento_fs::format::{BlockKind, Corruption};
use zerocopy::FromBytes;

/// Whether problems that are met are reported: each is met several times in a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Report,
    Quiet,
}

/// What an inode holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// Blocks of the file, inside one group's data blocks.
    Data(Extent),
    /// A block of an extent tree, an index, or attributes.
    Own(BlockNo),
}

impl Run {
    /// The first block and how many there are.
    pub(super) fn blocks(&self) -> (BlockNo, u32) {
        match self {
            Self::Data(extent) => (extent.start, extent.len),
            Self::Own(no) => (*no, 1),
        }
    }
}

/// Whether everything of an inode could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) extents: bool,
    pub(super) index: bool,
}

/// A record of a tree, as two words.
type Words = (u64, u64);

/// What a walk comes across.
pub(super) enum Found {
    /// A node, before what is in it.
    Node(BlockNo),
    /// A record of a leaf.
    Leaf(Words),
}

/// One walk of one tree.
#[derive(Clone, Copy)]
struct Walk {
    tree: Tree,
    ino: InodeNo,
    mode: Mode,
}

/// The keys that may be below a record: from the first up to, and without, the second.
#[derive(Clone, Copy)]
struct Range {
    low: u64,
    high: Option<u64>,
}

impl Range {
    /// Whether a record of this level lies inside; an extent to its end.
    fn holds(&self, tree: Tree, level: u8, record: Words) -> bool {
        let inside = record.0 >= self.low && self.high.is_none_or(|high| record.0 < high);
        match (tree, level, extent(record)) {
            (Tree::Extents, 0, Some(extent)) => {
                inside && self.high.is_none_or(|high| extent.end().0 <= high >> 12)
            }
            _ => inside,
        }
    }
}

fn words(record: &[u8; RECORD]) -> Words {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let (first, second) = record.split_at(8);
    (word(first), word(second))
}

fn records(bytes: &[u8]) -> impl ExactSizeIterator<Item = Words> + '_ {
    bytes.as_chunks::<RECORD>().0.iter().map(words)
}

/// An extent record: file block 52, length 21 in two parts, device block 52, unwritten 1.
fn extent((word0, word1): Words) -> Option<Extent> {
    let len = word0 & 0xfff | (word1 >> 3 & 0x1ff) << 12;
    let (file, start) = (word0 >> 12, word1 >> 12);
    let fits = len > 0 && start > 0 && word1 & 0b110 == 0 && file.saturating_add(len) <= BLOCK_LIMIT;
    let len = u32::try_from(len).ok()?;
    fits.then_some(Extent { file: FileBlock(file), start: BlockNo(start), len, unwritten: word1 & 1 != 0 })
}

fn index_position(word1: u64) -> bool {
    word1 < MAX_DIR_SIZE && word1.is_multiple_of(16) && word1 % 4096 >= 32
}

/// Checks all records of a node.
fn check_records(tree: Tree, level: u8, range: Range, bytes: &[u8]) -> Result<(), Corruption> {
    let (form, order) = match (tree, level) {
        (Tree::Extents, 0) => (Corruption::ExtentRecord, Corruption::ExtentOrder),
        (Tree::Extents, _) => (Corruption::ExtentChild, Corruption::ExtentOrder),
        (Tree::Index, 0) => (Corruption::IndexRecord, Corruption::IndexOrder),
        (Tree::Index, _) => (Corruption::IndexChild, Corruption::IndexOrder),
    };
    let mut before: Option<Words> = None;
    for record in records(bytes) {
        let formed = match (tree, level) {
            (Tree::Extents, 0) => extent(record).is_some(),
            (Tree::Index, 0) => index_position(record.1),
            _ => record.1 != 0 && record.1 < BLOCK_LIMIT,
        };
        if !formed {
            return Err(form);
        }
        let follows = before.is_none_or(|before| match (tree, level) {
            (Tree::Extents, 0) => extent(before).is_some_and(|before| before.end().0 <= record.0 >> 12),
            (Tree::Index, 0) => before < record,
            _ => before.0 < record.0,
        });
        if !follows || !range.holds(tree, level, record) {
            return Err(order);
        }
        before = Some(record);
    }
    Ok(())
}

impl Check<'_> {
    /// Everything that an inode holds, in order: attribute block, extent tree and data, index. What cannot be trusted
    /// is left out.
    pub(super) fn each_run(
        &mut self,
        ino: InodeNo,
        (kind, inode): (FileKind, &Inode),
        mode: Mode,
        f: &mut dyn FnMut(&mut Self, Run),
    ) -> Whole {
        if let Some(no) = inode.xattr_block {
            if self.geometry.is_data_block(no) {
                f(self, Run::Own(no));
            } else if mode == Mode::Report {
                self.problem(Problem::new(Corruption::InodeXattrBlock).ino(ino).block(no));
            }
        }
        let mut whole = Whole { extents: true, index: true };
        if inode.layout == RootKind::Extents
            && matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink)
        {
            whole.extents = self.each_extent(ino, inode, mode, f);
        }
        if kind == FileKind::Directory && inode.index_depth > 0 {
            whole.index = self.each_index(ino, inode, mode, &mut |check, found| {
                if let Found::Node(no) = found {
                    f(check, Run::Own(no));
                }
            });
        }
        whole
    }

    /// The extents of an inode and the nodes of their tree; whether all could be read.
    pub(super) fn each_extent(
        &mut self,
        ino: InodeNo,
        inode: &Inode,
        mode: Mode,
        f: &mut dyn FnMut(&mut Self, Run),
    ) -> bool {
        let mut inside = true;
        let walk = Walk { tree: Tree::Extents, ino, mode };
        let whole = self.root(walk, inode.extent_root(), inode.depth, &mut |check, found| match found {
            Found::Node(no) => f(check, Run::Own(no)),
            Found::Leaf(record) => match extent(record) {
                Some(extent) if check.geometry.is_data_run(extent.start, extent.len) => {
                    f(check, Run::Data(extent))
                }
                Some(extent) => {
                    inside = false;
                    if mode == Mode::Report {
                        let problem = Problem::new(Corruption::ExtentRange).ino(ino);
                        check.problem(problem.run(extent.start, extent.len.into()));
                    }
                }
                None => {}
            },
        });
        whole && inside
    }

    /// The index of a directory: its nodes, and the (hash, position) records in order; whether all could be read.
    pub(super) fn each_index(
        &mut self,
        ino: InodeNo,
        inode: &Inode,
        mode: Mode,
        f: &mut dyn FnMut(&mut Self, Found),
    ) -> bool {
        self.root(Walk { tree: Tree::Index, ino, mode }, inode.index_root(), inode.index_depth, f)
    }

    /// Walks from the root, whose records end at the first that leads nowhere.
    fn root(&mut self, walk: Walk, area: &[u8], depth: u8, f: &mut dyn FnMut(&mut Self, Found)) -> bool {
        let count = records(area).position(|record| record.1 == 0).unwrap_or(area.len() / RECORD);
        let (used, rest) = area.split_at_checked(count * RECORD).unwrap_or((area, &[]));
        let range = Range { low: 0, high: None };
        let problem = if !all_zero(rest) {
            Some(Corruption::InodeRoot)
        } else if depth > 0 && used.is_empty() {
            Some(bad_count(walk.tree))
        } else {
            check_records(walk.tree, depth, range, used).err()
        };
        match problem {
            Some(what) => {
                self.walk_problem(walk, Problem::new(what));
                false
            }
            None => self.level(walk, used, depth, range, f),
        }
    }

    /// Walks on from records that were checked.
    fn level(
        &mut self,
        walk: Walk,
        bytes: &[u8],
        level: u8,
        range: Range,
        f: &mut dyn FnMut(&mut Self, Found),
    ) -> bool {
        let mut whole = true;
        let mut rest = records(bytes).enumerate().peekable();
        while let Some((at, record)) = rest.next() {
            let Some(below) = level.checked_sub(1) else {
                f(self, Found::Leaf(record));
                continue;
            };
            // The first child stands for everything before its key, too.
            let low = if at == 0 { range.low } else { record.0 };
            let high = rest.peek().map(|(_, next)| next.0).or(range.high);
            let no = BlockNo(record.1);
            if self.geometry.is_data_block(no) {
                f(self, Found::Node(no));
                whole &= self.node(walk, no, below, Range { low, high }, f);
            } else {
                self.walk_problem(walk, Problem::new(walk.tree.bad_child()).block(no));
                whole = false;
            }
        }
        whole
    }

    fn node(
        &mut self,
        walk: Walk,
        no: BlockNo,
        level: u8,
        range: Range,
        f: &mut dyn FnMut(&mut Self, Found),
    ) -> bool {
        let mut page = self.image.page();
        let whole = match self.node_records(walk, no, level, range, &mut page) {
            Ok(used) => self.level(walk, used, level, range, f),
            Err(bad) => {
                self.walk_problem(walk, bad.problem());
                false
            }
        };
        self.image.give(page);
        whole
    }

    /// Reads a node; its records, if all is well with it.
    fn node_records<'p>(
        &mut self,
        walk: Walk,
        no: BlockNo,
        level: u8,
        range: Range,
        page: &'p mut Bytes,
    ) -> Result<&'p [u8], BadBlock> {
        let bad = |what| BadBlock { what, block: no, unreadable: false };
        self.read_block(no, walk.tree.block_kind(), walk.ino.0, page)?;
        let body = page.get(32..).unwrap_or(&[]);
        let (head, _) = RawNodeHead::ref_from_prefix(body).map_err(|_| bad(bad_count(walk.tree)))?;
        if head.level != level {
            return Err(bad(walk.tree.bad_level()));
        }
        let count = usize::from(head.count.get());
        if count == 0 || count > CAPACITY {
            return Err(bad(bad_count(walk.tree)));
        }
        let all = page.get(RECORDS_AT..).unwrap_or(&[]);
        let (used, rest) = all.split_at_checked(count * RECORD).unwrap_or((all, &[]));
        if head.unused0 != 0 || !all_zero(&head.unused1) || !all_zero(rest) {
            self.walk_problem(walk, bad(bad_tail(walk.tree)).problem());
        }
        check_records(walk.tree, level, range, used).map_err(bad)?;
        Ok(used)
    }

    /// Reads a block of metadata and verifies its header; the checksum only once, however often it is read.
    pub(super) fn read_block(
        &mut self,
        no: BlockNo,
        kind: BlockKind,
        owner: u64,
        page: &mut Bytes,
    ) -> Result<(), BadBlock> {
        let unreadable = self.image.read(no, page).is_err();
        if unreadable {
            // What cannot be read cannot have the right checksum.
            page.fill(0);
        }
        let place = self.geometry.block_group(no);
        let verified = place.is_some_and(|(group, bit)| self.verified.count(group, bit, 1) > 0);
        let owner = Owner(owner);
        let read = if verified && !unreadable {
            Header::check(page, kind, no, owner)
        } else {
            Header::verify(page, self.seed, kind, no, owner)
        };
        match read {
            Ok(_) => {
                if let Some((group, bit)) = place.filter(|_| !verified) {
                    self.verified.set(group, bit, 1, |_, _| {});
                }
                Ok(())
            }
            Err(what) => Err(BadBlock { what, block: no, unreadable }),
        }
    }

    fn walk_problem(&mut self, walk: Walk, problem: Problem) {
        if walk.mode == Mode::Report {
            self.problem(problem.ino(walk.ino));
        }
    }
}

fn bad_count(tree: Tree) -> Corruption {
    match tree {
        Tree::Extents => Corruption::ExtentCount,
        Tree::Index => Corruption::IndexCount,
    }
}

fn bad_tail(tree: Tree) -> Corruption {
    match tree {
        Tree::Extents => Corruption::ExtentTail,
        Tree::Index => Corruption::IndexTail,
    }
}
