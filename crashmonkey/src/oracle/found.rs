//! A model that starts from what was found on a disk, for a second life.

use std::collections::BTreeMap;

use bento_api::FileKind;

use super::history::OpId;
use super::model::Model;
use super::state::{Cell, CellId, Ino, Inode, Mapping, ROOT, Stamp, State, Unsettled, Version};
use super::tree::{Node, Tree};

/// The operation that did everything before the history began.
const BEFORE: OpId = OpId(u32::MAX);

impl Model {
    /// A file system that holds what a tree does.
    pub fn found(tree: &Tree) -> Model {
        let mut cells = Vec::new();
        let root = tree.nodes.get(b"".as_slice());
        let mut state = State::new(match root {
            Some(node) => inode(node, ROOT, &mut cells),
            None => Inode::new(FileKind::Directory, 0o755, BEFORE, super::super::host::build::MADE),
        });
        let mut known: BTreeMap<u64, Ino> = root.map(|node| (node.ino, ROOT)).into_iter().collect();
        // Parents come before what is in them.
        for (path, node) in tree.nodes.iter().filter(|(path, _)| !path.is_empty()) {
            let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (&path[..0], &path[..]),
            };
            let parent = tree.nodes.get(parent).and_then(|node| known.get(&node.ino)).copied();
            let parent = parent.unwrap_or(ROOT);
            let ino = *known.entry(node.ino).or_insert_with(|| {
                let next = Ino(u32::try_from(state.paths().len()).unwrap_or(u32::MAX));
                let mut inode = inode(node, next, &mut cells);
                inode.parent = parent;
                state.add(inode)
            });
            if let Ok(dir) = state.get_mut(parent) {
                dir.entries.insert(String::from_utf8_lossy(name).into_owned(), ino);
            }
        }
        Model { state, cells, fds: BTreeMap::new() }
    }
}

fn inode(node: &Node, ino: Ino, cells: &mut Vec<Cell>) -> Inode {
    let mut inode = Inode::new(node.kind, node.mode, BEFORE, node.ctime);
    (inode.uid, inode.gid, inode.nlink, inode.rdev) = (node.uid, node.gid, node.nlink, node.rdev);
    inode.mtime = Stamp::new(BEFORE, node.mtime);
    inode.target = String::from_utf8_lossy(&node.target).into_owned();
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    inode.xattrs = node.xattrs.iter().map(|(name, value)| (text(name), value.clone())).collect();
    if node.kind == FileKind::Regular {
        inode.size = Unsettled::new(node.size);
        for (block, content) in &node.blocks {
            let version = Version { op: BEFORE, content: content.clone(), sectors: u8::MAX, ordered: true };
            let id = CellId(u32::try_from(cells.len()).unwrap_or(u32::MAX));
            cells.push(Cell { ino, block: *block, versions: vec![version] });
            inode.blocks.insert(*block, Unsettled::new(Mapping::Data(id)));
        }
    }
    inode
}
