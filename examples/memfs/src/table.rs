//! Every inode by its number. Numbers are never used again, so no inode is taken for another.
use crate::node::Node;
use bento_api::{Errno, InodeNo};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SHARDS: usize = 64;

/// Inode numbers are counted up, so they need no more hashing than a multiplication.
#[derive(Debug, Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

type Shard = HashMap<u64, Arc<Node>, BuildHasherDefault<ByNumber>>;

/// The inodes.
#[derive(Debug)]
pub(crate) struct Table {
    shards: [RwLock<Shard>; SHARDS],
    next: AtomicU64,
    count: AtomicU64,
}

impl Table {
    /// No inodes; the first will be the root's, 1.
    pub(crate) fn new() -> Self {
        let shards = std::array::from_fn(|_| RwLock::default());
        Self { shards, next: AtomicU64::new(1), count: AtomicU64::new(0) }
    }

    /// A number for a new inode.
    pub(crate) fn number(&self) -> InodeNo {
        InodeNo(self.next.fetch_add(1, Relaxed))
    }

    /// How many inodes there are.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(crate) fn get(&self, ino: InodeNo) -> Result<Arc<Node>, Errno> {
        self.shard(ino).read().get(&ino.0).cloned().ok_or(Errno::Stale)
    }

    pub(crate) fn insert(&self, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        self.shard(node.ino).write().insert(node.ino.0, Arc::clone(&node));
        self.count.fetch_add(1, Relaxed);
        node
    }

    pub(crate) fn remove(&self, ino: InodeNo) {
        if self.shard(ino).write().remove(&ino.0).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    fn shard(&self, ino: InodeNo) -> &RwLock<Shard> {
        &self.shards[usize::try_from(ino.0).unwrap_or(0) % SHARDS]
    }
}
