//! What a file system holds, by the book: names, sizes, contents, and what each operation answers.
use bento_api::{Errno, InodeNo, Rename};
use std::collections::BTreeMap;

/// A node, by its place in the model.
pub type Id = usize;
/// The root directory.
pub const ROOT: Id = 0;

/// What a node is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file of these bytes.
    File(Vec<u8>),
    /// A directory of these names.
    Dir(BTreeMap<Vec<u8>, Id>),
    /// A link to this.
    Link(Vec<u8>),
}

/// A file, directory or link.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number on disk.
    pub ino: InodeNo,
    /// What it is.
    pub content: Content,
    /// Names, directories' own and those of their children left out.
    pub names: u32,
    /// The directory in which a directory lies.
    pub parent: Id,
    /// Its attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The file system.
#[derive(Clone, Debug)]
pub struct Model {
    /// All nodes that ever were.
    pub nodes: Vec<Node>,
}

impl Model {
    /// What a new volume holds.
    pub fn new() -> Self {
        let mut model = Self { nodes: Vec::new() };
        model.add(InodeNo(1), Content::Dir(BTreeMap::new()), ROOT);
        model.make(ROOT, b"lost+found", InodeNo(3), Content::Dir(BTreeMap::new()));
        model
    }

    fn add(&mut self, ino: InodeNo, content: Content, parent: Id) -> Id {
        self.nodes.push(Node { ino, content, names: 1, parent, xattrs: BTreeMap::new() });
        self.nodes.len() - 1
    }

    /// The nodes that have names, of a kind.
    pub fn all(&self, is: impl Fn(&Content) -> bool) -> Vec<Id> {
        (0..self.nodes.len()).filter(|id| self.nodes[*id].names > 0 && is(&self.nodes[*id].content)).collect()
    }

    /// Whether a node is a directory.
    pub fn is_dir(&self, id: Id) -> bool {
        matches!(self.nodes[id].content, Content::Dir(_))
    }

    /// The names of a directory.
    pub fn dir(&self, id: Id) -> &BTreeMap<Vec<u8>, Id> {
        match &self.nodes[id].content {
            Content::Dir(names) => names,
            _ => unreachable!("only directories are asked for names"),
        }
    }

    fn dir_mut(&mut self, id: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        match &mut self.nodes[id].content {
            Content::Dir(names) => names,
            _ => unreachable!("only directories are asked for names"),
        }
    }

    /// The bytes of a file.
    pub fn file_mut(&mut self, id: Id) -> &mut Vec<u8> {
        match &mut self.nodes[id].content {
            Content::File(bytes) => bytes,
            _ => unreachable!("only files are asked for bytes"),
        }
    }

    /// What a name names.
    pub fn find(&self, dir: Id, name: &[u8]) -> Option<Id> {
        self.dir(dir).get(name).copied()
    }

    /// Whether making a name is possible.
    pub fn may_make(&self, dir: Id, name: &[u8]) -> Result<(), Errno> {
        if self.find(dir, name).is_some() { Err(Errno::Exists) } else { Ok(()) }
    }

    /// Makes a node.
    pub fn make(&mut self, dir: Id, name: &[u8], ino: InodeNo, content: Content) {
        let id = self.add(ino, content, dir);
        self.dir_mut(dir).insert(name.to_vec(), id);
    }

    /// Whether a node may get a name.
    pub fn may_link(&self, id: Id, dir: Id, name: &[u8]) -> Result<(), Errno> {
        if self.is_dir(id) { Err(Errno::NotPermitted) } else { self.may_make(dir, name) }
    }

    /// Gives it one.
    pub fn link(&mut self, id: Id, dir: Id, name: &[u8]) {
        self.dir_mut(dir).insert(name.to_vec(), id);
        self.nodes[id].names += 1;
    }

    /// Whether a name may be removed.
    pub fn may_remove(&self, dir: Id, name: &[u8], as_dir: bool) -> Result<(), Errno> {
        let id = self.find(dir, name).ok_or(Errno::NotFound)?;
        match (self.is_dir(id), as_dir) {
            (true, false) => Err(Errno::IsDirectory),
            (false, true) => Err(Errno::NotDirectory),
            (true, true) if !self.dir(id).is_empty() => Err(Errno::NotEmpty),
            _ => Ok(()),
        }
    }

    /// Removes it.
    pub fn remove(&mut self, dir: Id, name: &[u8]) {
        if let Some(id) = self.dir_mut(dir).remove(name) {
            self.nodes[id].names -= 1;
        }
    }

    /// Whether a directory lies in another, or is it.
    pub fn is_below(&self, mut id: Id, above: Id) -> bool {
        while id != above && id != ROOT {
            id = self.nodes[id].parent;
        }
        id == above
    }

    /// Whether a rename works.
    pub fn may_rename(&self, from: (Id, &[u8]), to: (Id, &[u8]), how: Rename) -> Result<(), Errno> {
        let moved = self.find(from.0, from.1).ok_or(Errno::NotFound)?;
        let Some(target) = self.find(to.0, to.1) else {
            return if how == Rename::Exchange { Err(Errno::NotFound) } else { Ok(()) };
        };
        match (how, self.is_dir(moved), self.is_dir(target)) {
            (Rename::NoReplace, ..) => Err(Errno::Exists),
            (Rename::Exchange, ..) => Ok(()),
            _ if moved == target => Ok(()),
            (_, true, false) => Err(Errno::NotDirectory),
            (_, false, true) => Err(Errno::IsDirectory),
            (_, true, true) if !self.dir(target).is_empty() => Err(Errno::NotEmpty),
            _ => Ok(()),
        }
    }

    /// Renames.
    pub fn rename(&mut self, from: (Id, &[u8]), to: (Id, &[u8]), how: Rename) {
        let (moved, target) = (self.find(from.0, from.1), self.find(to.0, to.1));
        let Some(moved) = moved else { return };
        if target == Some(moved) {
            return;
        }
        self.dir_mut(from.0).remove(from.1);
        self.dir_mut(to.0).insert(to.1.to_vec(), moved);
        self.nodes[moved].parent = to.0;
        match target {
            Some(target) if how == Rename::Exchange => {
                self.dir_mut(from.0).insert(from.1.to_vec(), target);
                self.nodes[target].parent = from.0;
            }
            Some(target) => self.nodes[target].names -= 1,
            None => {}
        }
    }
}
