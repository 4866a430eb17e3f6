//! The tree of 16-byte records: extents of a file, names of a directory by hash.
//!
//! The root lies in the inode and is changed there, in memory; its nodes are blocks of their own, changed in private
//! pages. Every child's key is a lower bound of what is below it, and the first child stands for everything before
//! its key too. A node that becomes empty is freed; a root that is full moves down into a node of its own.
//!
//! # Locking
//! The inode's lock: shared to look, exclusive to change.
//!
//! # Crash
//! Part of the operation's transaction.
use crate::bitmap::Reserve;
use crate::format::Corruption;
use crate::format::node::{self, Node, NodeMut, Tree};
use crate::format::record::{Child, Record};
use crate::op::{Locked, Op};
use crate::variant::Variant;
use bento_api::limits::TREE_DEPTH;
use bento_api::{BlockNo, Bytes, Errno, Few, InodeNo, Platform, Stop};

const LEVELS: usize = TREE_DEPTH as usize + 1;

/// A tree's root, in its inode's record.
#[derive(Debug)]
pub(crate) struct Root<'i> {
    /// Which tree it is.
    pub tree: Tree,
    /// The root area of the inode.
    pub area: &'i mut [u8],
    /// Levels below the root; 0: the records are in the root.
    pub depth: &'i mut u8,
    /// Blocks that the inode holds: nodes are among them.
    pub blocks: &'i mut u64,
    /// Whether new nodes may come from what is kept for those who make room.
    pub reserve: Reserve,
}

/// A tree's root, to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootView<'i> {
    pub tree: Tree,
    pub area: &'i [u8],
    pub depth: u8,
}

/// One node on the way down.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The node's block; none for the root.
    node: Option<BlockNo>,
    /// The place taken in it: of the child, or in a leaf how many records are at or below the key.
    at: usize,
    /// Records in it.
    count: usize,
}

/// The way from the root to the leaf where a key belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    steps: Few<Step, LEVELS>,
}

impl Path {
    fn leaf(&self) -> Result<Step, Stop> {
        Ok(*self.steps.iter().next_back().ok_or(Errno::Capacity)?)
    }

    /// How many records of the leaf are at or below the key.
    pub(crate) fn at(&self) -> usize {
        self.steps.iter().next_back().map_or(0, |step| step.at)
    }

    /// Records of the leaf.
    pub(crate) fn count(&self) -> usize {
        self.steps.iter().next_back().map_or(0, |step| step.count)
    }
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Looks at a node, whether it is the root or a block.
    fn node<R>(
        &self,
        root: RootView<'_>,
        owner: InodeNo,
        node: Option<BlockNo>,
        level: u8,
        f: impl FnOnce(Node<'_>) -> Result<R, Corruption>,
    ) -> Result<R, Stop> {
        let Some(no) = node else {
            return f(Node::root(root.area, root.tree, level))
                .map_err(|what| self.corrupt(what, BlockNo(0), owner));
        };
        let look = |bytes: &Bytes| f(Node::block(bytes, root.tree, level)?);
        self.view(no, root.tree.block_kind(), owner, look)?.map_err(|what| self.corrupt(what, no, owner))
    }

    /// The way to the leaf where a key belongs.
    pub(crate) fn tree_seek(&self, root: RootView<'_>, owner: InodeNo, key: Record) -> Result<Path, Stop> {
        let mut path = Path::default();
        let mut node = None;
        let mut level = root.depth;
        if u32::from(level) > TREE_DEPTH {
            return Err(self.corrupt(Corruption::InodeDepth, BlockNo(0), owner));
        }
        while level > 0 {
            let (at, count, child) = self.node(root, owner, node, level, |node| {
                let at = node.child_place(key);
                let child = node.child(at).ok_or(root.tree.bad_child())??;
                Ok((at, node.count(), child))
            })?;
            path.steps.push(Step { node, at, count })?;
            node = Some(child.block);
            level = level.saturating_sub(1);
        }
        let (at, count) = self.node(root, owner, node, 0, |node| Ok((node.upper(key), node.count())))?;
        path.steps.push(Step { node, at, count })?;
        Ok(path)
    }

    /// A record of the path's leaf.
    pub(crate) fn tree_get(
        &self,
        root: RootView<'_>,
        owner: InodeNo,
        path: &Path,
        at: usize,
    ) -> Result<Option<Record>, Stop> {
        self.node(root, owner, path.leaf()?.node, 0, |node| Ok(node.get(at)))
    }

    /// The first key of the leaf behind the path's, to seek to; none if this is the last leaf.
    pub(crate) fn tree_next_key(
        &self,
        root: RootView<'_>,
        owner: InodeNo,
        path: &Path,
    ) -> Result<Option<u64>, Stop> {
        let mut level = 0_u8;
        for step in path.steps.iter().rev() {
            if level > 0 && step.at.saturating_add(1) < step.count {
                let next = step.at.saturating_add(1);
                let key = self.node(root, owner, step.node, level, |node| {
                    Ok(node.get(next).map(|child| child.word0))
                })?;
                return Ok(key);
            }
            level = level.saturating_add(1);
        }
        Ok(None)
    }

    /// Changes a node, whether it is the root or a block.
    fn node_mut<R>(
        &mut self,
        root: &mut Root<'_>,
        owner: Locked,
        node: Option<BlockNo>,
        f: impl FnOnce(&mut NodeMut<'_>) -> R,
    ) -> Result<R, Stop> {
        let Some(no) = node else { return Ok(f(&mut NodeMut::root(root.area))) };
        let draft = self.edit(no, root.tree.block_kind(), owner)?;
        let tree = root.tree;
        let done = self.draft_mut(draft, |bytes| NodeMut::block(bytes, tree).map(|mut node| f(&mut node)))?;
        done.map_err(|what| self.corrupt(what, no, owner.no()))
    }

    /// Replaces a record of the path's leaf by one that keeps the order.
    pub(crate) fn tree_set(
        &mut self,
        root: &mut Root<'_>,
        owner: Locked,
        path: &Path,
        at: usize,
        record: Record,
    ) -> Result<(), Stop> {
        let done = self.node_mut(root, owner, path.leaf()?.node, |node| node.set(at, record))?;
        if done { Ok(()) } else { Err(Errno::Capacity.into()) }
    }

    /// Inserts a record before place `at` of the path's leaf. The path is stale afterwards.
    pub(crate) fn tree_insert(
        &mut self,
        root: &mut Root<'_>,
        owner: Locked,
        path: &Path,
        at: usize,
        record: Record,
    ) -> Result<(), Stop> {
        let (mut at, mut record) = (at, record);
        let mut level = 0_u8;
        for step in path.steps.iter().rev() {
            if self.node_mut(root, owner, step.node, |node| node.insert(at, record))? {
                return Ok(());
            }
            let Some(no) = step.node else { return self.deepen(root, owner, at, record) };
            record = self.split(root, owner, (no, level), at, record)?.into();
            level = level.saturating_add(1);
            let above = path.steps.iter().rev().nth(level.into());
            at = above.map_or(0, |above| above.at.saturating_add(1));
        }
        Err(Errno::Capacity.into())
    }

    /// A new node for a tree, claimed near the others.
    fn new_node(
        &mut self,
        root: &mut Root<'_>,
        owner: Locked,
        near: BlockNo,
        level: u8,
    ) -> Result<BlockNo, Stop> {
        let no = self.claim_meta(near, root.reserve)?;
        *root.blocks = root.blocks.saturating_add(1);
        let draft = self.fresh(no, root.tree.block_kind(), owner)?;
        self.draft_mut(draft, |bytes| node::set_level(bytes, level))?;
        Ok(no)
    }

    /// Splits a full node, inserts the record on its side, and answers the new right sibling for the parent.
    fn split(
        &mut self,
        root: &mut Root<'_>,
        owner: Locked,
        (no, level): (BlockNo, u8),
        at: usize,
        record: Record,
    ) -> Result<Child, Stop> {
        let right = self.new_node(root, owner, no, level)?;
        let tree = root.tree;
        let left_draft = self.edit(no, tree.block_kind(), owner)?;
        let right_draft = self.edit(right, tree.block_kind(), owner)?;
        let middle = self.draft(left_draft, |bytes| {
            let node = Node::block(bytes, tree, level)?;
            Ok(split_place(&node, at))
        })?;
        let middle = middle.map_err(|what: Corruption| self.corrupt(what, no, owner.no()))?;
        self.move_records(left_draft, right_draft, tree, middle)?;
        let right_first =
            self.draft(right_draft, |bytes| first_of(bytes, tree, level))?.ok_or(Errno::Capacity)?;
        let goes_right = at > middle || at == middle && record.word0 == right_first.word0;
        let (draft, place) =
            if goes_right { (right_draft, at.saturating_sub(middle)) } else { (left_draft, at) };
        let inserted = self.draft_mut(draft, |bytes| {
            NodeMut::block(bytes, tree).map(|mut node| node.insert(place, record))
        })?;
        if inserted != Ok(true) {
            return Err(Errno::Capacity.into());
        }
        let first = self.draft(right_draft, |bytes| first_of(bytes, tree, level))?.ok_or(Errno::Capacity)?;
        Ok(Child { key: key_of(tree, first), block: right })
    }

    /// Moves the records from `middle` on from one draft to another, sixteen at a time through the stack.
    fn move_records(
        &mut self,
        from: crate::op::Draft,
        to: crate::op::Draft,
        tree: Tree,
        middle: usize,
    ) -> Result<(), Stop> {
        let mut at = middle;
        loop {
            let mut chunk = [Record::default(); 16];
            let len = self.draft(from, |bytes| {
                let Ok(node) = Node::block(bytes, tree, level_of(bytes)) else { return 0 };
                let records = node.records().skip(at).take(chunk.len());
                chunk.iter_mut().zip(records).map(|(place, record)| *place = record).count()
            })?;
            let done = self.draft_mut(to, |bytes| {
                let Ok(mut node) = NodeMut::block(bytes, tree) else { return false };
                chunk.iter().take(len).all(|record| node.insert(node.count(), *record))
            })?;
            if !done {
                return Err(Errno::Capacity.into());
            }
            at = at.saturating_add(len);
            if len < chunk.len() {
                break;
            }
        }
        let cut =
            self.draft_mut(from, |bytes| NodeMut::block(bytes, tree).map(|mut node| node.truncate(middle)))?;
        cut.map_err(|_| Errno::Capacity.into())
    }

    /// Moves a full root down into a node of its own, and inserts there.
    fn deepen(&mut self, root: &mut Root<'_>, owner: Locked, at: usize, record: Record) -> Result<(), Stop> {
        let depth = *root.depth;
        if u32::from(depth) >= TREE_DEPTH {
            return Err(Errno::NoSpace.into());
        }
        let near = self.home_of(owner.no());
        let no = self.new_node(root, owner, near, depth)?;
        let tree = root.tree;
        let draft = self.edit(no, tree.block_kind(), owner)?;
        let area = &mut *root.area;
        let moved = self.draft_mut(draft, |bytes| {
            let mut node = NodeMut::block(bytes, tree).ok()?;
            let mut top = NodeMut::root(area);
            let moved = top.split(0, &mut node)
                && node.insert(at, record)
                && top.insert(0, Child { key: 0, block: no }.into());
            moved.then_some(())
        })?;
        moved.ok_or(Errno::Capacity)?;
        *root.depth = depth.saturating_add(1);
        Ok(())
    }

    /// Removes a record of the path's leaf; a node that becomes empty is freed. The path is stale afterwards.
    pub(crate) fn tree_remove(
        &mut self,
        root: &mut Root<'_>,
        owner: Locked,
        path: &Path,
        at: usize,
    ) -> Result<(), Stop> {
        let mut at = at;
        for (level, step) in path.steps.iter().rev().enumerate() {
            let left = self.node_mut(root, owner, step.node, |node| {
                let removed = node.remove(at)?;
                // The new first child stands for what the old one stood for.
                if let (0, 1.., Some(first)) = (at, level, node.get(0)) {
                    let _ = node.set(0, Record { word0: removed.word0, ..first });
                }
                Some(node.count())
            })?;
            match left {
                None => return Err(Errno::Capacity.into()),
                Some(0) => {}
                Some(_) => return Ok(()),
            }
            let Some(no) = step.node else {
                *root.depth = 0;
                return Ok(());
            };
            self.free_meta(no)?;
            *root.blocks = root.blocks.saturating_sub(1);
            let above = path.steps.iter().rev().nth(level.saturating_add(1));
            at = above.map_or(0, |above| above.at);
        }
        Ok(())
    }
}

/// Where to cut a full node: in the middle, at its end if it grows there (so that files written in order fill their
/// nodes), and never between equal hashes.
fn split_place(node: &Node<'_>, at: usize) -> usize {
    let count = node.count();
    let middle = if at == count { count.saturating_sub(1) } else { count / 2 };
    let same = |place: usize| match (node.get(place.saturating_sub(1)), node.get(place)) {
        (Some(before), Some(after)) => before.word0 == after.word0,
        _ => false,
    };
    (middle..count).find(|place| !same(*place)).unwrap_or(middle).max(1)
}

fn first_of(bytes: &Bytes, tree: Tree, level: u8) -> Option<Record> {
    Node::block(bytes, tree, level).ok()?.get(0)
}

fn key_of(tree: Tree, first: Record) -> u64 {
    match tree {
        Tree::Extents => first.word0 & !0xfff,
        Tree::Index => first.word0,
    }
}

fn level_of(bytes: &Bytes) -> u8 {
    bytes.get(crate::format::block::HEADER).copied().unwrap_or(0)
}
