//! The hash index: from the hash of a name to the positions of the entries that have it.
//!
//! Records are (hash, position). Equal hashes stay in one leaf, so one seek finds them all.
use super::{block, place_of};
use crate::bitmap::Reserve;
use crate::format::hash::{HashKey, NameHash};
use crate::format::inode::ROOT_AREA;
use crate::format::node::{Node, NodeMut, Tree};
use crate::format::num::wide;
use crate::format::record::{Child, IndexEntry, RECORD, Record};
use crate::format::{BlockKind, Corruption, Inode, dirent};
use crate::op::{Draft, Locked, Op};
use crate::tree::{Root, RootView};
use crate::variant::Variant;
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, Errno, Few, FileBlock, InodeNo, Platform, Stop};

/// Entries that are carried from the names to the index at a time, over the stack.
const CARRIED: usize = 8;

fn view(inode: &Inode) -> RootView<'_> {
    RootView { tree: Tree::Index, area: inode.index_root(), depth: inode.index_depth }
}

/// Lends the parts of an inode that the index changes.
fn root(inode: &mut Inode) -> Root<'_> {
    let Inode { root, index_depth, blocks, .. } = inode;
    let area = root.get_mut(ROOT_AREA - RECORD..).unwrap_or(&mut []);
    Root { tree: Tree::Index, area, depth: index_depth, blocks, reserve: Reserve::Keep }
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Finds a name by its hash. Other names may have the same hash; the entries tell.
    pub(super) fn index_find(
        &self,
        dir: InodeNo,
        inode: &Inode,
        name: &[u8],
        hash: NameHash,
    ) -> Result<Option<super::Found>, Stop> {
        if inode.index_depth == 0 {
            return Ok(None);
        }
        let path = self.tree_seek(view(inode), dir, Record { word0: hash.0, word1: 0 })?;
        for at in path.at()..path.count() {
            let Some(record) = self.tree_get(view(inode), dir, &path, at)?.filter(|it| it.word0 == hash.0)
            else {
                break;
            };
            let (file, at) = self.position_in(dir, inode, record)?;
            let no = self.data_block(dir, inode, file)?;
            if let Some(hit) = self.look(no, dir, |bytes| block::find_at(bytes, at, name, hash))? {
                return Ok(Some(self.found(dir, no, file, hit)?));
            }
        }
        Ok(None)
    }

    /// Where a record of the index leads, in the directory as it is.
    fn position_in(&self, dir: InodeNo, inode: &Inode, record: Record) -> Result<(FileBlock, usize), Stop> {
        let entry = IndexEntry::try_from(record).and_then(|entry| match entry.position {
            position if position < inode.size => Ok(entry),
            _ => Err(Corruption::IndexRecord),
        });
        let entry = entry.map_err(|what| self.corrupt(what, BlockNo(0), dir))?;
        Ok(place_of(entry.position))
    }

    /// Adds an entry to the index.
    pub(super) fn index_insert(
        &mut self,
        dir: Locked,
        inode: &mut Inode,
        hash: NameHash,
        position: u64,
    ) -> Result<(), Stop> {
        let record = IndexEntry { hash, position }.into();
        let path = self.tree_seek(view(inode), dir.no(), record)?;
        self.tree_insert(&mut root(inode), dir, &path, path.at(), record)
    }

    /// Removes an entry from the index. With the last one the index goes.
    pub(super) fn index_remove(
        &mut self,
        dir: Locked,
        inode: &mut Inode,
        hash: NameHash,
        position: u64,
    ) -> Result<(), Stop> {
        let record = IndexEntry { hash, position }.into();
        let path = self.tree_seek(view(inode), dir.no(), record)?;
        let missing = Corruption::IndexRecord;
        let Some(at) = path.at().checked_sub(1) else {
            return Err(self.corrupt(missing, BlockNo(0), dir.no()));
        };
        if self.tree_get(view(inode), dir.no(), &path, at)? != Some(record) {
            return Err(self.corrupt(missing, BlockNo(0), dir.no()));
        }
        self.tree_remove(&mut root(inode), dir, &path, at)
    }

    /// Starts the index of a directory without names: one empty leaf below the root.
    pub(super) fn index_leaf(&mut self, dir: Locked, inode: &mut Inode) -> Result<Draft, Stop> {
        let no = self.claim_meta(self.map_home(dir.no()), Reserve::Keep)?;
        let leaf = self.fresh(no, BlockKind::Index, dir)?;
        let Root { area, depth, blocks, .. } = root(inode);
        let mut top = NodeMut::root(area);
        if top.count() != 0 || !top.insert(0, Child { key: 0, block: no }.into()) {
            return Err(self.corrupt(Corruption::InodeRoot, BlockNo(0), dir.no()));
        }
        *depth = 1;
        *blocks = blocks.saturating_add(1);
        Ok(leaf)
    }

    /// Starts the index of a directory that grows beyond its only block, `no`. A block has fewer names than a leaf
    /// records.
    pub(super) fn index_start(&mut self, dir: Locked, inode: &mut Inode, no: BlockNo) -> Result<(), Stop> {
        let leaf = self.index_leaf(dir, inode)?;
        let key = self.volume.hash_key;
        let mut from = 0;
        while from < BLOCK_BYTES {
            let mut carried = Few::default();
            from = self.look(no, dir.no(), |bytes| carry(bytes, from, key, &mut carried))?;
            let done =
                self.draft_mut(leaf, |bytes| carried.iter().all(|record| insert_sorted(bytes, *record)))?;
            if !done {
                return Err(Errno::Capacity.into());
            }
        }
        Ok(())
    }
}

/// Collects the index records of the entries at or after a byte of a directory's first block; answers where to go on.
fn carry(bytes: &Bytes, from: u64, key: HashKey, to: &mut Few<Record, CARRIED>) -> Result<u64, Corruption> {
    for entry in dirent::entries(bytes) {
        let entry = entry?;
        let position = wide(entry.at);
        if position < from {
            continue;
        }
        if to.is_full() {
            return Ok(position);
        }
        let record = IndexEntry { hash: key.hash(entry.name), position }.into();
        to.push(record).map_err(|_| Corruption::IndexCount)?;
    }
    Ok(BLOCK_BYTES)
}

fn insert_sorted(leaf: &mut Bytes, record: Record) -> bool {
    let Ok(at) = Node::block(leaf, Tree::Index, 0).map(|node| node.upper(record)) else { return false };
    NodeMut::block(leaf, Tree::Index).is_ok_and(|mut node| node.insert(at, record))
}
