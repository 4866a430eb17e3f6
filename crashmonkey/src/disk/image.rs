//! A device's content in memory: sparse, shared, cheap to copy.

use std::sync::{Arc, LazyLock};

use bento_api::{BLOCK, Bytes};
use rustc_hash::FxHashMap;

/// One block's content, shared between images, logs and crash states.
pub type Content = Arc<Bytes>;

static ZEROS: LazyLock<Content> = LazyLock::new(|| Arc::new([0; BLOCK]));

/// A block of zeros.
pub fn zeros() -> Content {
    ZEROS.clone()
}

/// The content of a device: blocks over a base that several images share. A block that nobody wrote is zero.
#[derive(Clone, Debug)]
pub struct Image {
    blocks: u64,
    base: Arc<FxHashMap<u64, Content>>,
    over: FxHashMap<u64, Content>,
}

impl Image {
    /// A device of so many blocks, all zero.
    pub fn new(blocks: u64) -> Image {
        Image { blocks, base: Arc::default(), over: FxHashMap::default() }
    }

    /// Blocks on the device.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The content of a block.
    pub fn get(&self, no: u64) -> Content {
        self.over.get(&no).or_else(|| self.base.get(&no)).cloned().unwrap_or_else(zeros)
    }

    /// Whether a block begins with these bytes.
    pub fn starts_with(&self, no: u64, bytes: &[u8]) -> bool {
        let content = self.over.get(&no).or_else(|| self.base.get(&no));
        content.map_or_else(|| bytes.iter().all(|byte| *byte == 0), |content| content.starts_with(bytes))
    }

    /// Blocks that were written since the base was made, in no order.
    pub fn changed(&self) -> impl Iterator<Item = (u64, &Content)> {
        self.over.iter().map(|(no, content)| (*no, content))
    }

    /// Replaces the content of a block; one past the end is ignored.
    pub fn set(&mut self, no: u64, content: Content) {
        if no < self.blocks {
            self.over.insert(no, content);
        }
    }

    /// Makes what was written so far the base that copies share: call it once after mkfs.
    #[must_use]
    pub fn freeze(self) -> Image {
        let mut base = Arc::unwrap_or_clone(self.base);
        base.extend(self.over);
        Image { blocks: self.blocks, base: Arc::new(base), over: FxHashMap::default() }
    }

    /// Blocks that hold something other than what a new device would, in order.
    pub fn written(&self) -> Vec<(u64, Content)> {
        let mut all: Vec<(u64, Content)> =
            self.base.iter().chain(&self.over).map(|(no, _)| (*no, self.get(*no))).collect();
        all.sort_by_key(|(no, _)| *no);
        all.dedup_by_key(|(no, _)| *no);
        all
    }
}

/// Whether two contents are the same bytes.
pub fn same(one: &Content, other: &Content) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_writes() {
        let mut image = Image::new(8);
        image.set(3, Arc::new([1; BLOCK]));
        let mut image = image.freeze();
        let copy = image.clone();
        image.set(3, Arc::new([2; BLOCK]));
        image.set(99, Arc::new([9; BLOCK]));
        assert_eq!((copy.get(3)[0], image.get(3)[0], image.get(4)[0]), (1, 2, 0));
        assert_eq!(image.written().len(), 1);
    }
}
