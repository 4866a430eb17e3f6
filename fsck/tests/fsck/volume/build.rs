//! Files, directories and trees.
use super::{Name, Volume};
use bento_api::{BLOCK_BYTES, BlockNo, FileBlock, FileKind, GroupNo, InodeNo, Time};
use bento_fs::format::BlockKind;
use bento_fs::format::block::set_bit;
use bento_fs::format::dirent::{self, FREE_MAP_ABSENT, FREE_MAP_START};
use bento_fs::format::inode::{Inode, ROOT_AREA};
use bento_fs::format::node::{Node, NodeMut, Tree, set_level};
use bento_fs::format::record::{Child, Extent, IndexEntry, RECORD, Record};
use bento_fs::format::xattr::{self, Namespace};

/// Records in a node: few, so that small trees are deep.
const FANOUT: usize = 6;

impl Volume {
    /// Takes blocks that lie side by side.
    pub fn take_blocks(&mut self, count: u32) -> BlockNo {
        let geometry = self.geometry();
        let mut no = self.next_block;
        if !geometry.is_data_run(no, count) {
            let (group, _) = geometry.block_group(no).unwrap_or((GroupNo(0), 0));
            let next = GroupNo(group.0 + 1);
            no = geometry.block_no(next, geometry.data_start(next).unwrap()).unwrap();
        }
        self.next_block = BlockNo(no.0 + u64::from(count));
        for at in 0..count {
            let (group, bit) = geometry.block_group(BlockNo(no.0 + u64::from(at))).unwrap();
            self.edit_alloc(group.0, |alloc| {
                set_bit(&mut alloc.block_bitmap, bit.into(), true);
                alloc.free_blocks = (alloc.free_blocks.get() - 1).into();
            });
        }
        no
    }

    fn take_inode(&mut self) -> InodeNo {
        let ino = InodeNo(self.next_inode);
        self.next_inode += 1;
        let (group, bit) = self.geometry().inode_bit(ino).unwrap();
        self.edit_alloc(group.0, |alloc| {
            set_bit(&mut alloc.inode_bitmap, bit.into(), true);
            alloc.free_inodes = (alloc.free_inodes.get() - 1).into();
            alloc.inodes_init = alloc.inodes_init.get().max((bit + 1).next_multiple_of(16)).into();
        });
        ino
    }

    /// An inode without content and without a name.
    pub fn node(&mut self, kind: FileKind) -> InodeNo {
        let ino = self.take_inode();
        let now = Time::new(1_700_000_000, 5);
        let mut inode = Inode {
            mode: kind.mode_bits() as u16 | 0o644,
            nlink: 1,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            version: 1,
            ..Inode::free(1)
        };
        match kind {
            FileKind::CharDevice => inode.set_device(5, 1),
            FileKind::Directory => inode.parent = InodeNo(1),
            _ => {}
        }
        self.set_inode(ino, &inode);
        ino
    }

    /// Names an inode.
    pub fn link(&mut self, dir: InodeNo, name: &[u8], ino: InodeNo, kind: FileKind) {
        self.names.get_mut(&dir).unwrap().push((name.to_vec(), ino, kind));
    }

    pub fn dir(&mut self, parent: InodeNo, name: &[u8]) -> InodeNo {
        let ino = self.node(FileKind::Directory);
        self.edit_inode(ino, |inode| {
            inode.parent = parent;
            inode.nlink = 2;
        });
        self.edit_inode(parent, |inode| inode.nlink += 1);
        self.names.insert(ino, Vec::new());
        self.link(parent, name, ino, FileKind::Directory);
        ino
    }

    /// A file with these runs of blocks: place in the file, length, unwritten or not.
    pub fn file(&mut self, dir: InodeNo, name: &[u8], runs: &[(u64, u32, bool)]) -> InodeNo {
        let ino = self.node(FileKind::Regular);
        self.fill(ino, runs);
        self.link(dir, name, ino, FileKind::Regular);
        ino
    }

    /// Gives an inode blocks, and the size that goes with them.
    pub fn fill(&mut self, ino: InodeNo, runs: &[(u64, u32, bool)]) {
        let mut extents = Vec::new();
        for (file, len, unwritten) in runs {
            let start = self.take_blocks(*len);
            extents.push(Extent { file: FileBlock(*file), start, len: *len, unwritten: *unwritten });
            // A block between two runs keeps them apart.
            self.next_block.0 += 1;
        }
        let end = extents.last().map_or(0, |extent| extent.end().0);
        self.map(ino, &extents);
        self.edit_inode(ino, |inode| inode.size = end * BLOCK_BYTES);
    }

    /// Puts extents into an inode, as a tree if they do not fit.
    pub fn map(&mut self, ino: InodeNo, extents: &[Extent]) {
        let data: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
        let records: Vec<Record> = extents.iter().map(|extent| (*extent).into()).collect();
        let room = self.inode(ino).extent_root().len() / RECORD;
        let (root, depth, nodes) = self.tree(Tree::Extents, ino, records, room, 0);
        self.edit_inode(ino, |inode| {
            inode.depth = depth;
            inode.blocks += data + nodes;
            let mut place = NodeMut::root(inode.extent_root_mut());
            place.truncate(0);
            root.iter().enumerate().for_each(|(at, record)| assert!(place.insert(at, *record)));
        });
    }

    /// Builds a tree from its leaves up, until it fits the root: the root's records, the depth, the nodes.
    fn tree(
        &mut self,
        tree: Tree,
        ino: InodeNo,
        leaves: Vec<Record>,
        room: usize,
        least: u8,
    ) -> (Vec<Record>, u8, u64) {
        let (mut records, mut level, mut nodes) = (leaves, 0, 0);
        while records.len() > room || level < least {
            let mut above = Vec::new();
            for chunk in records.chunks(FANOUT) {
                let no = self.take_blocks(1);
                nodes += 1;
                self.put(tree.block_kind(), no, ino.0, |bytes| {
                    set_level(bytes, level);
                    let mut node = NodeMut::block(bytes, tree).unwrap();
                    chunk.iter().enumerate().for_each(|(at, record)| assert!(node.insert(at, *record)));
                });
                let first = chunk[0].word0;
                let key = if above.is_empty() {
                    0
                } else if tree == Tree::Extents {
                    first & !0xfff
                } else {
                    first
                };
                above.push(Child { key, block: no }.into());
            }
            records = above;
            level += 1;
        }
        (records, level, nodes)
    }

    pub fn symlink(&mut self, dir: InodeNo, name: &[u8], target: &[u8]) -> InodeNo {
        let ino = self.node(FileKind::Symlink);
        self.link(dir, name, ino, FileKind::Symlink);
        let mut short = self.inode(ino);
        if short.set_target(target) {
            self.set_inode(ino, &short);
            return ino;
        }
        let blocks = target.len().div_ceil(4064) as u32;
        let start = self.take_blocks(blocks);
        for (no, part) in (start.0..).map(BlockNo).zip(target.chunks(4064)) {
            self.put(BlockKind::Symlink, no, ino.0, |bytes| bytes[32..32 + part.len()].copy_from_slice(part));
        }
        self.map(ino, &[Extent { file: FileBlock(0), start, len: blocks, unwritten: false }]);
        self.edit_inode(ino, |inode| inode.size = target.len() as u64);
        ino
    }

    /// Gives an inode attributes: the first in the record, the others in a block.
    pub fn xattrs(&mut self, ino: InodeNo, all: &[(Namespace, &[u8], &[u8])]) {
        let no = self.take_blocks(1);
        let (first, rest) = all.split_first().unwrap();
        self.edit_inode(ino, |inode| {
            assert!(xattr::insert(&mut inode.xattrs, first.0, first.1, first.2).unwrap());
            inode.xattr_block = Some(no);
            inode.blocks += 1;
        });
        self.put(BlockKind::Xattr, no, ino.0, |bytes| {
            for (namespace, name, value) in rest {
                assert!(xattr::insert(xattr::block_area_mut(bytes), *namespace, name, value).unwrap());
            }
            xattr::count_block(bytes).unwrap();
        });
    }

    /// Writes all directories, and brings the totals up to date.
    pub fn finish(mut self) -> Self {
        for (ino, names) in std::mem::take(&mut self.names) {
            self.write_dir(ino, &names);
        }
        self.total();
        self
    }

    fn write_dir(&mut self, ino: InodeNo, names: &[Name]) {
        let key = self.superblock.hash_key;
        let mut blocks: Vec<(u64, BlockNo)> =
            self.extents(ino).iter().map(|extent| (extent.file.0, extent.start)).collect();
        let fresh = blocks.is_empty();
        if fresh {
            blocks.push((0, self.take_blocks(1)));
        }
        let mut index = Vec::new();
        let mut free = Vec::new();
        let mut page = empty_names();
        let mut rest = names.iter().peekable();
        loop {
            let (file, no) = *blocks.last().unwrap();
            while let Some((name, target, kind)) = rest.peek() {
                let Some(at) = dirent::find_hole(&page, dirent::entry_len(name.len())).unwrap() else {
                    break;
                };
                let hash = key.hash(name);
                dirent::insert_at(&mut page, at, name, hash, *target, *kind).unwrap();
                index.push(IndexEntry { hash, position: file * BLOCK_BYTES + at as u64 }.into());
                rest.next();
            }
            free.push((file, dirent::free_value(dirent::largest_hole(&page).unwrap())));
            self.put(BlockKind::Dir, no, ino.0, |bytes| bytes[32..].copy_from_slice(&page[32..]));
            if rest.peek().is_none() {
                break;
            }
            // The third block of a large directory has become empty, and left.
            let next = if file == 1 { 3 } else { file + 1 };
            blocks.push((next, self.take_blocks(1)));
            page = empty_names();
        }
        let end = blocks.last().unwrap().0 + 1;
        if blocks.len() > 1 {
            let map = self.take_blocks(1);
            self.put(BlockKind::FreeMap, map, ino.0, |bytes| {
                bytes[32..32 + end as usize].fill(FREE_MAP_ABSENT);
                free.iter().for_each(|(file, value)| bytes[32 + *file as usize] = *value);
            });
            blocks.push((FREE_MAP_START, map));
            index.sort_unstable();
            let (root, depth, nodes) = self.tree(Tree::Index, ino, index, 1, 1);
            self.edit_inode(ino, |inode| {
                inode.index_depth = depth;
                inode.blocks += nodes;
                assert!(NodeMut::root(&mut inode.root[ROOT_AREA - RECORD..]).insert(0, root[0]));
            });
        }
        if fresh || blocks.len() > 1 {
            let extents: Vec<_> = blocks
                .iter()
                .map(|(file, start)| Extent {
                    file: FileBlock(*file),
                    start: *start,
                    len: 1,
                    unwritten: false,
                })
                .collect();
            let held = self.inode(ino).blocks - u64::from(!fresh);
            self.edit_inode(ino, |inode| inode.blocks = held);
            self.map(ino, &extents);
            self.edit_inode(ino, |inode| inode.size = end * BLOCK_BYTES);
        }
    }

    /// The extents of an inode, all of them.
    pub fn extents(&self, ino: InodeNo) -> Vec<Extent> {
        let inode = self.inode(ino);
        let leaves = self.leaves(Tree::Extents, inode.extent_root(), inode.depth);
        leaves.into_iter().map(|record| Extent::try_from(record).unwrap()).collect()
    }

    fn leaves(&self, tree: Tree, root: &[u8], depth: u8) -> Vec<Record> {
        let mut records: Vec<Record> = Node::root(root, tree, depth).records().collect();
        for level in (0..depth).rev() {
            records =
                records.iter().flat_map(|child| self.records(tree, BlockNo(child.word1), level)).collect();
        }
        records
    }

    /// The records of a node.
    pub fn records(&self, tree: Tree, no: BlockNo, level: u8) -> Vec<Record> {
        Node::block(&self.disk.get(no), tree, level).unwrap().records().collect()
    }

    /// The blocks of the nodes of a tree, the root's children first.
    pub fn nodes(&self, tree: Tree, ino: InodeNo) -> Vec<Vec<BlockNo>> {
        let inode = self.inode(ino);
        let (root, depth) = match tree {
            Tree::Extents => (inode.extent_root(), inode.depth),
            Tree::Index => (inode.index_root(), inode.index_depth),
        };
        let mut records: Vec<Record> = Node::root(root, tree, depth).records().collect();
        let mut levels = Vec::new();
        for level in (0..depth).rev() {
            let here: Vec<BlockNo> = records.iter().map(|child| BlockNo(child.word1)).collect();
            records = here.iter().flat_map(|no| self.records(tree, *no, level)).collect();
            levels.push(here);
        }
        levels
    }
}

fn empty_names() -> bento_api::Bytes {
    let mut page = [0; 4096];
    dirent::start(&mut page);
    page
}
