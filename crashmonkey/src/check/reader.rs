//! A platform that can only read: the file system's own eyes on a recovered disk, without caches, threads or waits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use bento_api::limits::{CURSOR, JOURNAL_STATE};
use bento_api::{
    Attr, BLOCK, BLOCK_BYTES, BatchSeq, BlockNo, Busy, Bytes, Call, Caller, Claim, Corruption, Cursor, Emit,
    Errno, Extent, Fetch, FileBlock, FileKind, FileSystem, Freed, GroupNo, InodeNo, IoList, Map, MapKind,
    Mode, Placement, PlacementId, Platform, Run, Seal, Slot, Stop, Time, Totals, Wait, XattrName,
};
use bento_fs::format::geometry::ROOT;
use bento_fs::format::prov::LIMITS;
use bento_fs::{BentoFs, Variant, Volume};
use thiserror::Error;

use crate::disk::Content;
use crate::oracle::{Node, Tree};

/// Where the contents of blocks come from.
pub type Contents<'d> = dyn Fn(u64) -> Result<Content, Errno> + 'd;

/// Whether checksums of blocks are believed without a look: those of a running system are set when a batch is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// They must be right.
    Verify,
    /// They may be old.
    Ignore,
}

struct Pinned {
    no: BlockNo,
    content: Content,
    verified: Cell<bool>,
}

/// The platform of one entry.
struct Reader<'d> {
    contents: &'d Contents<'d>,
    checksums: Checksums,
    pinned: RefCell<Vec<Pinned>>,
    pages: RefCell<Vec<Box<Bytes>>>,
    cursor: Cell<[u64; CURSOR]>,
    reported: Cell<Option<(Corruption, BlockNo, InodeNo)>>,
}

/// Requests that nobody carries out.
struct NoList;

impl IoList for NoList {
    fn fill(&mut self, _: BlockNo, _: impl FnOnce(&mut Bytes)) {}
    fn flush(&mut self) {}
}

impl<'d> Reader<'d> {
    fn new(contents: &'d Contents<'d>, checksums: Checksums) -> Reader<'d> {
        Reader {
            contents,
            checksums,
            pinned: RefCell::default(),
            pages: RefCell::default(),
            cursor: Cell::default(),
            reported: Cell::default(),
        }
    }

    fn begin(&self) {
        self.pages.borrow_mut().clear();
    }

    fn content(&self, block: usize) -> Content {
        self.pinned
            .borrow()
            .get(block)
            .map_or_else(crate::disk::image::zeros, |pinned| pinned.content.clone())
    }
}

impl Platform for Reader<'_> {
    type Block = usize;
    type Page = usize;
    type IoList = NoList;

    fn now(&self) -> Time {
        Time::default()
    }

    fn credits(&self) -> u32 {
        0
    }

    fn cursor(&self) -> [u64; CURSOR] {
        self.cursor.get()
    }

    fn set_cursor(&self, cursor: [u64; CURSOR]) {
        self.cursor.set(cursor);
    }

    fn report(&self, what: Corruption, block: BlockNo, ino: InodeNo) {
        self.reported.set(Some((what, block, ino)));
    }

    fn pin(&self, no: BlockNo) -> Result<Option<usize>, Errno> {
        if let Some(at) = self.pinned.borrow().iter().position(|pinned| pinned.no == no) {
            return Ok(Some(at));
        }
        let content = (self.contents)(no.0)?;
        let mut pinned = self.pinned.borrow_mut();
        pinned.push(Pinned { no, content, verified: Cell::new(self.checksums == Checksums::Ignore) });
        Ok(Some(pinned.len() - 1))
    }

    fn want(&self, _: BlockNo, _: Fetch) {}

    fn fresh(&self, _: BlockNo) -> Result<usize, Errno> {
        Err(Errno::ReadOnly)
    }

    fn block_no(&self, block: usize) -> BlockNo {
        self.pinned.borrow().get(block).map_or(BlockNo(0), |pinned| pinned.no)
    }

    fn is_verified(&self, block: usize) -> bool {
        self.pinned.borrow().get(block).is_some_and(|pinned| pinned.verified.get())
    }

    fn set_verified(&self, block: usize) {
        if let Some(pinned) = self.pinned.borrow().get(block) {
            pinned.verified.set(true);
        }
    }

    fn read<R>(&self, block: usize, f: impl FnOnce(&Bytes) -> R) -> R {
        f(&self.content(block))
    }

    fn undurable(&self, _: usize) -> BatchSeq {
        BatchSeq(0)
    }

    fn take_page(&self) -> Result<usize, Errno> {
        let mut pages = self.pages.borrow_mut();
        pages.push(Box::new([0; BLOCK]));
        Ok(pages.len() - 1)
    }

    fn copy(&self, from: usize, to: usize) {
        if let Some(page) = self.pages.borrow_mut().get_mut(to) {
            **page = *self.content(from);
        }
    }

    fn page<R>(&self, page: usize, f: impl FnOnce(&Bytes) -> R) -> R {
        f(&self.pages.borrow()[page])
    }

    fn page_mut<R>(&self, page: usize, f: impl FnOnce(&mut Bytes) -> R) -> R {
        f(&mut self.pages.borrow_mut()[page])
    }

    fn lock(&self, _: InodeNo, _: Mode) -> Result<(), Errno> {
        Ok(())
    }

    fn try_lock(&self, _: InodeNo, _: Mode) -> Result<bool, Errno> {
        Ok(true)
    }

    fn unlock_all(&self) {}

    fn lock_rename(&self) {}

    fn tree_version(&self) -> u64 {
        0
    }

    fn raise_tree_version(&self) {}

    fn slot<R>(&self, _: InodeNo, _: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        None
    }

    fn with_group<R>(&self, _: GroupNo, _: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        Err(Errno::ReadOnly)
    }

    fn fill_group<R>(&self, _: GroupNo, _: impl FnOnce(Busy<'_>) -> R) -> Result<R, Errno> {
        Err(Errno::ReadOnly)
    }

    fn claim(
        &self,
        _: GroupNo,
        _: Map,
        _: u64,
        _: impl FnOnce(&mut Busy<'_>) -> Option<Run>,
    ) -> Result<Option<Run>, Errno> {
        Err(Errno::ReadOnly)
    }

    fn note_claim(&self, _: Claim) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn claim_at(&self, _: usize) -> Option<Claim> {
        None
    }

    fn unclaim(&self, _: GroupNo, _: Map, _: Run) {}

    fn available(&self, _: Map) -> u64 {
        0
    }

    fn has_pending_frees(&self) -> bool {
        false
    }

    fn add_placement(&self, _: &Placement) -> Result<PlacementId, Errno> {
        Err(Errno::ReadOnly)
    }

    fn placement(&self, _: PlacementId, _: &mut Placement) -> bool {
        false
    }

    fn placement_in(&self, _: InodeNo, _: Extent) -> Option<PlacementId> {
        None
    }

    fn end_placement(&self, _: PlacementId) {}

    fn join(&self) -> BatchSeq {
        BatchSeq(0)
    }

    fn merge(&self, _: usize, _: impl FnOnce(&mut Bytes)) {}

    fn merge_page(&self, _: usize, _: usize) {}

    fn free_after(&self, _: BatchSeq, _: Freed) {}

    fn add_totals(&self, _: Totals) {}

    fn leave(&self) {}

    fn with_journal<R>(&self, f: impl FnOnce(&mut [u8; JOURNAL_STATE]) -> R) -> R {
        f(&mut [0; JOURNAL_STATE])
    }

    fn tag_page<R>(&self, _: u32, f: impl FnOnce(&mut Bytes) -> R) -> R {
        f(&mut [0; BLOCK])
    }

    fn io_list(&self) -> NoList {
        NoList
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn has_fua(&self) -> bool {
        false
    }

    fn seal(&self) -> Seal {
        Seal::Empty
    }

    fn sealed<R>(&self, _: BatchSeq, _: u32, _: impl FnOnce(BlockNo, &mut Bytes) -> R) -> Option<R> {
        None
    }

    fn write_sealed(&self, _: &mut NoList, _: BatchSeq, _: u32, _: BlockNo, _: bool) {}

    fn write_tag_page(&self, _: &mut NoList, _: u32, _: BlockNo) {}

    fn set_durable(&self, _: BatchSeq) {}

    fn write_homes(&self, _: &mut NoList, _: BatchSeq, _: u32) -> u32 {
        0
    }

    fn set_homed(&self, _: BatchSeq) {}

    fn release_log(&self, _: u32) {}

    fn shut_down(&self) {}
}

/// What could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("/{path}: {errno:?}{}", reported.map_or(String::new(), |(what, block, ino)| {
    format!(" (corruption {} in block {block}, inode {ino})", what.0)
}))]
pub struct Unreadable {
    /// Where.
    pub path: String,
    /// The answer.
    pub errno: Errno,
    /// What was reported with it.
    pub reported: Option<(Corruption, BlockNo, InodeNo)>,
}

/// Names and inodes, and where their data lies; the data itself is not read.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The tree, with empty files.
    pub tree: Tree,
    /// Data blocks by path of the first name: block of the file, block of the device.
    pub data: BTreeMap<Vec<u8>, Vec<(u64, u64)>>,
    /// The record blocks of the provenance log.
    pub log: Vec<Bytes>,
}

impl Walked {
    /// The tree with its data, which comes from `contents`.
    ///
    /// # Errors
    /// The first that `contents` answers.
    pub fn fill(&self, contents: &Contents<'_>) -> Result<Tree, Errno> {
        let mut tree = self.tree.clone();
        let mut filled: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
        for (path, blocks) in &self.data {
            let Some(node) = tree.nodes.get(path) else { continue };
            let mut node = Node::clone(node);
            for (file, device) in blocks {
                let content = contents(*device)?;
                let visible = node.size.saturating_sub(file * BLOCK_BYTES).min(BLOCK_BYTES) as usize;
                let content = if content[visible..].iter().any(|byte| *byte != 0) {
                    let mut bytes = *content;
                    bytes[visible..].fill(0);
                    Arc::new(bytes)
                } else {
                    content
                };
                if content[..visible].iter().any(|byte| *byte != 0) {
                    node.blocks.insert(*file, content);
                }
            }
            filled.insert(node.ino, Arc::new(node));
        }
        for node in tree.nodes.values_mut() {
            if let Some(full) = filled.get(&node.ino) {
                *node = full.clone();
            }
        }
        Ok(tree)
    }
}

/// Entries that one walk may make: nothing that a workload makes has more names.
const NAMES: usize = 100_000;

struct Walk<'d, V> {
    fs: BentoFs<V>,
    reader: Reader<'d>,
    walked: Walked,
    seen: BTreeMap<u64, Arc<Node>>,
}

/// Reads all names of a volume and what they name, through the file system's own code.
///
/// # Errors
/// What it could not read.
pub fn walk<V: Variant>(
    volume: Volume,
    contents: &Contents<'_>,
    checksums: Checksums,
) -> Result<Walked, Unreadable> {
    let fs = BentoFs::<V>::new(Volume { read_only: true, ..volume });
    let mut walk = Walk {
        fs,
        reader: Reader::new(contents, checksums),
        walked: Walked::default(),
        seen: BTreeMap::new(),
    };
    let mut left = vec![(Vec::new(), ROOT)];
    while let Some((path, ino)) = left.pop() {
        let node = walk.node(&path, ino)?;
        if node.kind == FileKind::Directory {
            left.extend(walk.list(&path, ino)?);
        }
        if walk.walked.tree.nodes.insert(path.clone(), node).is_some() || walk.walked.tree.nodes.len() > NAMES
        {
            return Err(walk.unreadable(&path, Errno::Loop));
        }
    }
    hide_lost_and_found(&mut walk.walked.tree);
    walk.walked.log = walk.log()?;
    Ok(walk.walked)
}

/// The model starts with an empty root, a new volume with an empty lost+found in it.
fn hide_lost_and_found(tree: &mut Tree) {
    let prefix = b"lost+found/";
    let used = tree.nodes.keys().any(|path| path.starts_with(prefix));
    let is_it = |node: &Arc<Node>| node.ino == bento_fs::format::geometry::LOST_AND_FOUND.0;
    if used || !tree.nodes.get(b"lost+found".as_slice()).is_some_and(is_it) {
        return;
    }
    tree.nodes.remove(b"lost+found".as_slice());
    if let Some(root) = tree.nodes.get_mut(b"".as_slice()) {
        Arc::make_mut(root).nlink -= 1;
    }
}

impl<'d, V: Variant> Walk<'d, V> {
    fn unreadable(&self, path: &[u8], errno: Errno) -> Unreadable {
        Unreadable {
            path: String::from_utf8_lossy(path).into_owned(),
            errno,
            reported: self.reader.reported.get(),
        }
    }

    /// Runs an entry; what it waits for is never the device.
    fn entry<R>(
        &self,
        path: &[u8],
        mut op: impl FnMut(&BentoFs<V>, &mut Call<'_, Reader<'d>>) -> Result<R, Stop>,
    ) -> Result<R, Unreadable> {
        self.reader.cursor.set([0; CURSOR]);
        for _ in 0..1000 {
            self.reader.begin();
            match op(&self.fs, &mut Call::new(&self.reader, Caller::default())) {
                Ok(reply) => return Ok(reply),
                Err(Stop::Wait(Wait::Again | Wait::Blocks)) => {}
                Err(Stop::Wait(_)) => return Err(self.unreadable(path, Errno::Busy)),
                Err(Stop::Error(errno)) => {
                    return Err(self.unreadable(path, errno));
                }
            }
        }
        Err(self.unreadable(path, Errno::Busy))
    }

    fn node(&mut self, path: &[u8], ino: InodeNo) -> Result<Arc<Node>, Unreadable> {
        if let Some(node) = self.seen.get(&ino.0) {
            return Ok(node.clone());
        }
        let attr = self.entry(path, |fs, call| fs.getattr(call, ino))?;
        let kind = attr.kind().ok_or_else(|| self.unreadable(path, Errno::Invalid))?;
        let target = match kind {
            FileKind::Symlink => {
                let mut target = vec![0; BLOCK];
                let len = self.entry(path, |fs, call| fs.readlink(call, ino, &mut target))?;
                target.truncate(len);
                target
            }
            _ => Vec::new(),
        };
        if kind == FileKind::Regular {
            let blocks = self.blocks(path, &attr)?;
            if !blocks.is_empty() {
                self.walked.data.insert(path.to_vec(), blocks);
            }
        }
        let node = Arc::new(Node {
            ino: ino.0,
            kind,
            mode: attr.mode & 0o7777,
            uid: attr.uid,
            gid: attr.gid,
            nlink: attr.nlink,
            rdev: attr.rdev,
            size: attr.size,
            sectors: attr.sectors,
            mtime: attr.mtime,
            ctime: attr.ctime,
            xattrs: self.xattrs(path, ino)?,
            target,
            blocks: BTreeMap::new(),
        });
        self.seen.insert(ino.0, node.clone());
        Ok(node)
    }

    fn xattrs(&self, path: &[u8], ino: InodeNo) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Unreadable> {
        let mut names = vec![0; 2 * BLOCK];
        let len = self.entry(path, |fs, call| fs.listxattr(call, ino, &mut names))?;
        let mut xattrs = BTreeMap::new();
        for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let key = XattrName::new(name).map_err(|errno| self.unreadable(path, errno))?;
            let mut value = vec![0; BLOCK];
            let len = self.entry(path, |fs, call| fs.getxattr(call, ino, key, &mut value))?;
            value.truncate(len);
            xattrs.insert(name.to_vec(), value);
        }
        Ok(xattrs)
    }

    /// The record blocks of the provenance log, if there is one.
    fn log(&self) -> Result<Vec<Bytes>, Unreadable> {
        let mut blocks = Vec::new();
        for number in 1..=*LIMITS.end() {
            let (path, mut bytes) = (format!("trusted.bento.prov.{number}"), [0; BLOCK]);
            let name =
                XattrName::new(path.as_bytes()).map_err(|errno| self.unreadable(path.as_bytes(), errno))?;
            let read = self.entry(path.as_bytes(), |fs, call| fs.getxattr(call, ROOT, name, &mut bytes));
            match read {
                Ok(_) => blocks.push(bytes),
                Err(Unreadable { errno: Errno::NoAttribute, .. }) => break,
                Err(why) => return Err(why),
            }
        }
        Ok(blocks)
    }

    /// Where a file's data lies.
    fn blocks(&self, path: &[u8], attr: &Attr) -> Result<Vec<(u64, u64)>, Unreadable> {
        let mut blocks = Vec::new();
        let (mut at, end) = (0, attr.size.div_ceil(BLOCK_BYTES));
        while at < end {
            let piece = self.entry(path, |fs, call| fs.map(call, attr.ino, FileBlock(at), end - at))?;
            if piece.file.0 != at || piece.blocks == 0 {
                return Err(self.unreadable(path, Errno::Invalid));
            }
            let next = at.saturating_add(piece.blocks).min(end);
            if let MapKind::Data(start) = piece.kind {
                blocks.extend((at..next).zip(start.0..));
            }
            at = next;
        }
        Ok(blocks)
    }

    fn list(&self, path: &[u8], dir: InodeNo) -> Result<Vec<(Vec<u8>, InodeNo)>, Unreadable> {
        let mut entries: Vec<(Vec<u8>, InodeNo)> = Vec::new();
        let mut from = Cursor(0);
        loop {
            let mut round = Vec::new();
            let mut next = from;
            let done = self.entry(path, |fs, call| {
                round.clear();
                fs.readdir(call, dir, from, Emit::Names, &mut |entry| {
                    if entry.name != b"." && entry.name != b".." {
                        round.push((entry.name.to_vec(), entry.ino));
                    }
                    next = entry.next;
                    true
                })
            })?;
            entries.append(&mut round);
            if done {
                break;
            }
            if next == from || entries.len() > NAMES {
                return Err(self.unreadable(path, Errno::Loop));
            }
            from = next;
        }
        let full = |name: Vec<u8>| if path.is_empty() { name } else { [path, b"/", &name].concat() };
        Ok(entries.into_iter().map(|(name, ino)| (full(name), ino)).collect())
    }
}
