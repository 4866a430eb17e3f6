//! What somebody found on a mount: the plain tree that the judge compares with the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_api::{FileKind, Time};

use crate::disk::Content;

/// An inode as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub ino: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub nlink: u32,
    /// Device number.
    pub rdev: u32,
    /// Bytes. Of a directory: not compared.
    pub size: u64,
    /// Units of 512 bytes that it holds on disk.
    pub sectors: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Extended attributes, with their namespaces.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where a symbolic link points.
    pub target: Vec<u8>,
    /// The data by file block, bytes past the size zeroed. A block that is missing reads as zeros.
    pub blocks: BTreeMap<u64, Content>,
}

/// All names below the root and what they name; the root is the empty path. Names of one inode share the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// By path, without a leading slash.
    pub nodes: BTreeMap<Vec<u8>, Arc<Node>>,
}
