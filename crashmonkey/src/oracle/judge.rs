//! The verdict on a recovered tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bento_api::{BLOCK_BYTES, FileKind, Time};
use thiserror::Error;

use super::history::OpId;
use super::state::{Cell, Ino, Inode, Mapping, Stamp, Unsettled, Version};
use super::timeline::{Oracle, Promise, Snapshot};
use super::tree::{Node, Tree};
use crate::disk::{Content, image};

const SECTOR: usize = 512;
const SECTORS_PER_BLOCK: u64 = 8;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Where.
    pub path: String,
    /// In what.
    pub field: &'static str,
    /// What the model has.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { path, field, expected, found } = self;
        write!(f, "/{path}: {field}: expected {expected}, found {found}")
    }
}

/// A recovered tree equals none of the states that it may.
#[derive(Clone, Debug, Error)]
#[error("no state from {at_least} to {at_most} matches; nearest is {nearest}: {}", listing(differences))]
pub struct Violation {
    /// The first state that was allowed: what was persisted.
    pub at_least: usize,
    /// The last state that was allowed: what had been done.
    pub at_most: usize,
    /// The allowed state with the fewest differences.
    pub nearest: usize,
    /// How the tree differs from that.
    pub differences: Vec<Difference>,
}

fn listing(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// Judges what is found after a crash at one moment of a run.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    oracle: &'a Oracle,
    events: usize,
    promises: Vec<&'a Promise>,
    at_least: usize,
    at_most: usize,
}

impl<'a> Judge<'a> {
    pub(super) fn new(oracle: &'a Oracle, events: usize) -> Judge<'a> {
        let promises: Vec<&Promise> = oracle.promises.iter().filter(|p| p.from <= events).collect();
        let at_least = promises.iter().map(|promise| promise.at_least).max().unwrap_or(0);
        Judge { oracle, events, promises, at_least, at_most: oracle.last_state(events) }
    }

    /// The states that may be recovered.
    pub fn range(&self) -> std::ops::RangeInclusive<usize> {
        self.at_least..=self.at_most
    }

    /// Finds the state that was recovered.
    ///
    /// # Errors
    /// The tree is none of those that are allowed.
    pub fn check(&self, tree: &Tree) -> Result<usize, Violation> {
        for state in self.range().rev() {
            if self.compare(state, tree, Stop::AtFirst).is_empty() {
                return Ok(state);
            }
        }
        // Of equally near ones the latest.
        let all = self.range().rev().map(|state| (state, self.compare(state, tree, Stop::Never)));
        let (nearest, differences) =
            all.min_by_key(|(_, differences)| differences.len()).unwrap_or((self.at_most, Vec::new()));
        Err(Violation { at_least: self.at_least, at_most: self.at_most, nearest, differences })
    }

    /// Finds the state that was recovered, if the data of files may be that of any of several trees, block by block
    /// and sector by sector. The trees are to be equal otherwise. What a state says of one sector does not depend on
    /// others, so a state that fits each tree fits every mixture of them.
    ///
    /// # Errors
    /// No allowed state fits all trees. Each mixture may have one of its own, if the trees are several.
    pub fn check_all(&self, trees: &[Tree]) -> Result<usize, Violation> {
        if let [tree] = trees {
            return self.check(tree);
        }
        let fits =
            |state: &usize| trees.iter().all(|tree| self.compare(*state, tree, Stop::AtFirst).is_empty());
        match self.range().rev().find(fits) {
            Some(state) => Ok(state),
            None => {
                let wrong = trees.iter().find_map(|tree| self.check(tree).err());
                Err(wrong.unwrap_or_else(|| Violation {
                    at_least: self.at_least,
                    at_most: self.at_most,
                    nearest: self.at_most,
                    differences: Vec::new(),
                }))
            }
        }
    }

    /// How a tree differs from the running system after the last event: no crash, nothing lost.
    pub fn check_live(&self, tree: &Tree) -> Vec<Difference> {
        self.compare(self.at_most, tree, Stop::Never)
    }

    fn compare(&self, state: usize, tree: &Tree, stop: Stop) -> Vec<Difference> {
        let Some(snapshot) = self.oracle.snapshots.get(state) else { return Vec::new() };
        let mut comparison = Comparison {
            judge: self,
            state,
            snapshot,
            stop,
            inodes: BTreeMap::new(),
            numbers: BTreeSet::new(),
            differences: Vec::new(),
        };
        comparison.run(tree);
        comparison.differences
    }

    /// Whether an operation's change was made durable by a persistence operation: of the data of a block, or of times.
    fn covered(&self, op: OpId, file: Ino, what: What) -> bool {
        let Some(Some(ended)) = self.oracle.ends.get(op.0 as usize) else { return false };
        self.promises.iter().any(|promise| {
            *ended <= promise.through
                && promise.file.is_none_or(|other| other == file)
                && match what {
                    What::Size => true,
                    What::Times => promise.times,
                    What::Block(block) => {
                        promise.data.start < (block + 1) * BLOCK_BYTES
                            && block * BLOCK_BYTES < promise.data.end
                    }
                }
        })
    }

    /// The values that may be on disk: the present one, and those before changes that are neither settled nor covered.
    fn possible<T: Copy>(&self, value: &Unsettled<T>, file: Ino, what: What) -> Vec<T> {
        let mut possible = vec![value.now];
        for (op, before) in value.before.iter().rev() {
            if self.covered(*op, file, what) {
                break;
            }
            possible.push(*before);
        }
        possible
    }

    fn times(&self, stamp: &Stamp, file: Ino) -> Vec<Time> {
        let later = self.oracle.timed.get(&file).map_or(&[][..], |all| all);
        let begun =
            |op: OpId| self.oracle.starts.get(op.0 as usize).is_some_and(|start| *start <= self.events);
        // Operations that overlap take effect in another order than they began.
        let order = |op: OpId| self.oracle.order.get(op.0 as usize).copied().unwrap_or(0);
        let after = order(stamp.op);
        let later: Vec<&(OpId, Time)> =
            later.iter().filter(|(op, _)| order(*op) > after && begun(*op)).collect();
        let mut possible = match later.iter().rposition(|(op, _)| self.covered(*op, file, What::Times)) {
            Some(floor) => return later[floor..].iter().map(|(_, time)| *time).collect(),
            None => self.possible(&stamp.time, file, What::Times),
        };
        possible.extend(stamp.or);
        possible.extend(later.iter().map(|(_, time)| *time));
        possible
    }
}

/// What a promise may cover.
#[derive(Clone, Copy)]
enum What {
    Size,
    Times,
    Block(u64),
}

/// When a comparison ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    AtFirst,
    Never,
}

/// A comparison of a tree with one state.
struct Comparison<'a> {
    judge: &'a Judge<'a>,
    state: usize,
    snapshot: &'a Snapshot,
    stop: Stop,
    /// The number of each inode of the model in the tree.
    inodes: BTreeMap<Ino, u64>,
    numbers: BTreeSet<u64>,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    fn note(&mut self, path: &str, field: &'static str, expected: impl ToString, found: impl ToString) {
        self.differences.push(Difference {
            path: path.to_owned(),
            field,
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }

    fn equal<T: PartialEq + fmt::Debug>(&mut self, path: &str, field: &'static str, expected: T, found: T) {
        if expected != found {
            self.note(path, field, format!("{expected:?}"), format!("{found:?}"));
        }
    }

    fn run(&mut self, tree: &Tree) {
        let snapshot = self.snapshot;
        for (path, ino) in &snapshot.paths {
            match tree.nodes.get(path.as_bytes()) {
                None => self.note(path, "name", "present", "absent"),
                Some(node) => self.name(path, *ino, node),
            }
            if self.stop == Stop::AtFirst && !self.differences.is_empty() {
                return;
            }
        }
        if tree.nodes.len() != snapshot.paths.len() {
            for path in tree.nodes.keys() {
                let path = String::from_utf8_lossy(path);
                if !snapshot.paths.iter().any(|(known, _)| *known == path) {
                    self.note(&path, "name", "absent", "present");
                }
            }
        }
    }

    /// One name: it leads to one inode, and names of one inode lead to the same.
    fn name(&mut self, path: &str, ino: Ino, node: &Node) {
        if let Some(number) = self.inodes.insert(ino, node.ino) {
            return self.equal(path, "inode number", number, node.ino);
        }
        if !self.numbers.insert(node.ino) {
            self.note(path, "inode number", "one of its own", node.ino);
        }
        if let Some(number) = self.judge.oracle.numbers.get(&ino) {
            self.equal(path, "inode number", *number, node.ino);
        }
        if let Ok(inode) = self.snapshot.state.get(ino) {
            self.attributes(path, ino, inode, node);
            if inode.kind == FileKind::Regular && node.kind == FileKind::Regular {
                self.data(path, ino, inode, node);
            }
        }
    }

    fn attributes(&mut self, path: &str, ino: Ino, inode: &Inode, node: &Node) {
        self.equal(path, "type", inode.kind, node.kind);
        self.equal(path, "mode", Octal(inode.mode), Octal(node.mode));
        self.equal(path, "owner", (inode.uid, inode.gid), (node.uid, node.gid));
        self.equal(path, "links", inode.nlink, node.nlink);
        self.equal(path, "device", inode.rdev, node.rdev);
        self.equal(path, "link target", Text(inode.target.as_bytes()), Text(&node.target));
        let xattrs = inode.xattrs.iter().map(|(name, value)| (Text(name.as_bytes()), Text(value)));
        let found = node.xattrs.iter().map(|(name, value)| (Text(name), Text(value)));
        self.equal(path, "xattrs", xattrs.collect::<Vec<_>>(), found.collect::<Vec<_>>());
        for (field, stamp, found) in
            [("mtime", &inode.mtime, node.mtime), ("ctime", &inode.ctime, node.ctime)]
        {
            let mut possible = self.judge.times(stamp, ino);
            possible.extend(self.judge.oracle.contested.get(&ino).into_iter().flatten());
            if !possible.contains(&found) {
                self.note(path, field, Times(&possible), Times(&[found]));
            }
        }
    }

    fn data(&mut self, path: &str, ino: Ino, inode: &Inode, node: &Node) {
        let sizes = self.judge.possible(&inode.size, ino, What::Size);
        let (least, most) = (sizes.iter().min().copied(), sizes.iter().max().copied());
        // Between two sizes the disk's moves in steps of whole blocks.
        let between =
            least < Some(node.size) && Some(node.size) < most && node.size.is_multiple_of(BLOCK_BYTES);
        if !sizes.contains(&node.size) && !between {
            return self.note(path, "size", format!("{sizes:?}"), node.size);
        }
        let mut held = 0;
        let blocks: BTreeSet<u64> = inode.blocks.keys().chain(node.blocks.keys()).copied().collect();
        for block in blocks {
            let hole = Unsettled::new(Mapping::Hole);
            let mapping = inode.blocks.get(&block).unwrap_or(&hole);
            let possible = self.judge.possible(mapping, ino, What::Block(block));
            held += u64::from(!possible.contains(&Mapping::Hole));
            let visible = node.size.saturating_sub(block * BLOCK_BYTES).min(BLOCK_BYTES) as usize;
            let found = node.blocks.get(&block).cloned().unwrap_or_else(image::zeros);
            let matches = |mapping: &Mapping| self.block_matches(*mapping, &found, visible);
            if !possible.iter().any(matches) {
                let field = if possible == [Mapping::Hole] { "data in a hole" } else { "data" };
                let expected = self.describe(&possible);
                return self.note(path, field, expected, describe_block(block, &found, visible));
            }
        }
        if node.sectors < held * SECTORS_PER_BLOCK {
            let expected = format!("at least {}", held * SECTORS_PER_BLOCK);
            self.note(path, "sectors", expected, node.sectors);
        }
    }

    fn block_matches(&self, mapping: Mapping, found: &Content, visible: usize) -> bool {
        let Mapping::Data(cell) = mapping else {
            return found[..visible].iter().all(|byte| *byte == 0);
        };
        let Some(cell) = self.judge.oracle.cells.get(cell.0 as usize) else { return false };
        (0..visible.div_ceil(SECTOR)).all(|sector| {
            let bytes = sector * SECTOR..((sector + 1) * SECTOR).min(visible);
            self.versions(cell, sector).any(|content| content[bytes.clone()] == found[bytes.clone()])
        })
    }

    /// The contents that a sector of a cell may have.
    fn versions<'c>(&self, cell: &'c Cell, sector: usize) -> impl Iterator<Item = &'c Content> {
        let judge = self.judge;
        let oracle = judge.oracle;
        let begun = |version: &&Version| {
            oracle.starts.get(version.op.0 as usize).is_none_or(|start| *start <= judge.events)
        };
        let begun = cell.versions.iter().take_while(begun).count();
        let versions = &cell.versions[..begun];
        let floor = versions.iter().rposition(|version| {
            let settled = oracle.settled.get(version.op.0 as usize).copied().flatten();
            let ordered = version.ordered && version.sectors & (1 << sector) != 0;
            (ordered && settled.is_some_and(|state| state <= self.state))
                || judge.covered(version.op, cell.ino, What::Block(cell.block))
        });
        versions[floor.unwrap_or(0)..].iter().map(|version| &version.content)
    }

    fn describe(&self, possible: &[Mapping]) -> String {
        let mut words = Vec::new();
        for mapping in possible {
            match mapping {
                Mapping::Hole => words.push("a hole".to_owned()),
                Mapping::Unwritten(_) => words.push("zeros".to_owned()),
                Mapping::Data(id) => {
                    let versions =
                        self.judge.oracle.cells.get(id.0 as usize).map_or(&[][..], |c| &c.versions);
                    let writers: Vec<u32> = versions.iter().map(|version| version.op.0).collect();
                    words.push(format!("data of operations {writers:?}"));
                }
            }
        }
        words.join(" or ")
    }
}

fn describe_block(block: u64, found: &Content, visible: usize) -> String {
    let first = found[..visible].iter().position(|byte| *byte != 0);
    match first {
        None => format!("block {block}: zeros"),
        Some(at) => format!("block {block}: {:02x?} at {at}", &found[at..(at + 8).min(visible)]),
    }
}

#[derive(PartialEq)]
struct Octal(u32);

impl fmt::Debug for Octal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[derive(PartialEq)]
struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}

struct Times<'a>(&'a [Time]);

impl fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, time) in self.0.iter().enumerate() {
            write!(f, "{}{}.{:09}", if i > 0 { " or " } else { "" }, time.seconds, time.nanoseconds)?;
        }
        Ok(())
    }
}
