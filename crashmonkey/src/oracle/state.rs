//! The model's data: a tree of inodes, and the contents that their blocks had over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_api::{BLOCK_BYTES, FileKind, Time};
use rustix::io::Errno;

use super::history::OpId;
use crate::disk::{Content, image};

/// Names an inode of the model; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u32);

/// The root directory.
pub const ROOT: Ino = Ino(0);

/// Names a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellId(pub u32);

/// One content of a cell.
#[derive(Clone, Debug)]
pub struct Version {
    /// Who wrote it.
    pub op: OpId,
    /// The whole block.
    pub content: Content,
    /// The sectors that were written, bit 0 the first.
    pub sectors: u8,
    /// Whether it must be on the medium before its operation's transaction is: new bytes below a raised size,
    /// zeros up to it, edges of a punch.
    pub ordered: bool,
}

/// A device block for as long as one block of one file owns it. Writing in place adds versions; a block that is
/// freed and allocated again is another cell, so that data of a later life can be told from a lost update.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Whose it is.
    pub ino: Ino,
    /// Which block of the file.
    pub block: u64,
    /// What it held, in order. The first is what it held when it became part of the file.
    pub versions: Vec<Version>,
}

impl Cell {
    /// What it holds in the running system.
    pub fn newest(&self) -> Content {
        self.versions.last().map_or_else(image::zeros, |version| version.content.clone())
    }
}

/// What lies behind a block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Nothing.
    Hole,
    /// A block that reads as zeros; with the cell whose device block it is, if it had data before: what is written there
    /// next may be on the medium while the block still counts as data.
    Unwritten(Option<CellId>),
    /// A block with data.
    Data(CellId),
}

/// A value that an operation changed in steps of its own, or later than it returned: until the operation is settled
/// the one before may still be the one on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled<T> {
    /// What it is.
    pub now: T,
    /// What it was before each operation that is not settled.
    pub before: Vec<(OpId, T)>,
}

impl<T: PartialEq> Unsettled<T> {
    /// A settled value.
    pub fn new(now: T) -> Unsettled<T> {
        Unsettled { now, before: Vec::new() }
    }

    /// Changes the value by a step of `op`.
    pub fn change(&mut self, op: OpId, now: T) {
        if self.now != now {
            self.before.push((op, std::mem::replace(&mut self.now, now)));
        }
    }

    /// The operation is wholly committed.
    pub fn settle(&mut self, op: OpId) {
        self.before.retain(|(by, _)| *by != op);
    }
}

/// A time of an inode.
///
/// A transaction on the inode writes both of its times. Until the next one a time that a write set may be on disk or
/// not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The operation that set it last.
    pub op: OpId,
    /// The time, and those that may still be on disk instead.
    pub time: Unsettled<Time>,
    /// A second time that is as right, where no rule says whether an operation sets it.
    pub or: Option<Time>,
}

impl Stamp {
    /// A time that is certain.
    pub fn new(op: OpId, time: Time) -> Stamp {
        Stamp { op, time: Unsettled::new(time), or: None }
    }

    /// Sets it in a transaction.
    pub fn set(&mut self, op: OpId, time: Time) {
        *self = Stamp::new(op, time);
    }

    /// A transaction that perhaps sets it.
    pub fn perhaps(&mut self, op: OpId, time: Time) {
        self.or = Some(std::mem::replace(&mut self.time.now, time));
        self.op = op;
    }

    /// Sets it in memory only.
    pub fn set_later(&mut self, op: OpId, time: Time) {
        self.op = op;
        self.time.change(op, time);
        self.or = None;
    }
}

/// An inode of the model.
#[derive(Clone, Debug)]
pub struct Inode {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; of a directory 2 and one for each directory in it.
    pub nlink: u32,
    /// Device number.
    pub rdev: u32,
    /// Bytes, of a regular file.
    pub size: Unsettled<u64>,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of the inode.
    pub ctime: Stamp,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Where a symbolic link points.
    pub target: String,
    /// Names in a directory.
    pub entries: BTreeMap<String, Ino>,
    /// The directory that a directory is in.
    pub parent: Ino,
    /// Blocks of a regular file; one that is missing is a hole.
    pub blocks: BTreeMap<u64, Unsettled<Mapping>>,
}

impl Inode {
    /// A new inode with one name.
    pub fn new(kind: FileKind, mode: u32, op: OpId, time: Time) -> Inode {
        let stamp = Stamp::new(op, time);
        Inode {
            kind,
            mode,
            uid: 0,
            gid: 0,
            nlink: if kind == FileKind::Directory { 2 } else { 1 },
            rdev: 0,
            size: Unsettled::new(0),
            mtime: stamp.clone(),
            ctime: stamp,
            xattrs: BTreeMap::new(),
            target: String::new(),
            entries: BTreeMap::new(),
            parent: ROOT,
            blocks: BTreeMap::new(),
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// What lies behind a block now.
    pub fn mapping(&self, block: u64) -> Mapping {
        self.blocks.get(&block).map_or(Mapping::Hole, |mapping| mapping.now)
    }

    /// Changes what lies behind a block.
    pub fn map(&mut self, op: OpId, block: u64, mapping: Mapping) {
        self.blocks.entry(block).or_insert_with(|| Unsettled::new(Mapping::Hole)).change(op, mapping);
    }

    /// A transaction changed the content.
    pub fn change_content(&mut self, op: OpId, time: Time) {
        self.mtime.set(op, time);
        self.ctime.set(op, time);
    }

    /// A transaction changed attributes. What a write left in memory goes to disk with it.
    pub fn change_attributes(&mut self, op: OpId, time: Time) {
        self.mtime.time.before.clear();
        self.ctime.set(op, time);
    }
}

/// All inodes at one moment, orphans that are still open among them. Cloning shares every inode.
#[derive(Clone, Debug)]
pub struct State {
    inodes: BTreeMap<Ino, Arc<Inode>>,
}

impl State {
    /// An empty root directory. Its times are those of the image, which the model does not know.
    pub fn new(root: Inode) -> State {
        State { inodes: BTreeMap::from([(ROOT, Arc::new(root))]) }
    }

    /// An inode. A number that is not there reads as EBADF, which nothing predicts.
    pub fn get(&self, ino: Ino) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).map(|inode| &**inode).ok_or(Errno::BADF)
    }

    /// An inode, to change.
    pub fn get_mut(&mut self, ino: Ino) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&ino).map(Arc::make_mut).ok_or(Errno::BADF)
    }

    /// Adds an inode.
    pub fn add(&mut self, inode: Inode) -> Ino {
        let next = self.inodes.last_key_value().map_or(0, |(last, _)| last.0 + 1);
        self.inodes.insert(Ino(next), Arc::new(inode));
        Ino(next)
    }

    /// The operation is wholly committed: what it changed in steps is now certain.
    pub fn settle(&mut self, op: OpId) {
        let unsettled = |inode: &Inode| {
            let by_op = |(by, _): &(OpId, Mapping)| *by == op;
            inode.size.before.iter().any(|(by, _)| *by == op)
                || [&inode.mtime, &inode.ctime].iter().any(|t| t.time.before.iter().any(|(by, _)| *by == op))
                || inode.blocks.values().any(|mapping| mapping.before.iter().any(by_op))
        };
        for inode in self.inodes.values_mut().filter(|inode| unsettled(inode)) {
            let inode = Arc::make_mut(inode);
            inode.size.settle(op);
            inode.mtime.time.settle(op);
            inode.ctime.time.settle(op);
            inode.blocks.values_mut().for_each(|mapping| mapping.settle(op));
            inode.blocks.retain(|_, m| m.now != Mapping::Hole || !m.before.is_empty());
        }
    }

    /// Whether two states share every inode, which they do if nothing changed between them.
    pub fn shares_all(&self, other: &State) -> bool {
        self.inodes.len() == other.inodes.len()
            && self.inodes.iter().zip(&other.inodes).all(|(a, b)| Arc::ptr_eq(a.1, b.1))
    }

    /// Every path with its inode, in order of paths.
    pub fn paths(&self) -> Vec<(String, Ino)> {
        let mut all = vec![(String::new(), ROOT)];
        let mut next = 0;
        while let Some((path, ino)) = all.get(next).cloned() {
            next += 1;
            let Ok(inode) = self.get(ino) else { continue };
            for (name, child) in &inode.entries {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                all.push((path, *child));
            }
        }
        all.sort();
        all
    }
}

/// The blocks that a range of bytes touches.
pub fn blocks_of(from: u64, to: u64) -> std::ops::Range<u64> {
    from / BLOCK_BYTES..to.div_ceil(BLOCK_BYTES)
}
