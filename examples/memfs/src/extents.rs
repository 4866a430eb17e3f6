//! Which device blocks hold which blocks of a file: pieces that never overlap, in file order.
use bento_api::{BlockNo, FileBlock, MapKind, Mapping};
use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks of a file that lie side by side on the device. Its start in the file is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) block: u64,
    pub(crate) blocks: u64,
    pub(crate) unwritten: bool,
}

impl Piece {
    /// What is left after its first `blocks` blocks.
    fn behind(self, blocks: u64) -> Self {
        Self { block: self.block + blocks, blocks: self.blocks - blocks, ..self }
    }
}

/// The pieces of one file.
#[derive(Debug, Default)]
pub(crate) struct Extents {
    pieces: BTreeMap<u64, Piece>,
    held: u64,
}

impl Extents {
    /// Blocks of all pieces.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The longest uniform piece at the start of `range`, which is not empty.
    pub(crate) fn map(&self, range: Range<u64>) -> Mapping {
        let most = range.end.saturating_sub(range.start).max(1);
        let file = FileBlock(range.start);
        match self.pieces.range(..=range.start).next_back() {
            Some((at, piece)) if at + piece.blocks > range.start => {
                let rest = piece.behind(range.start - at);
                let block = BlockNo(rest.block);
                let kind = if rest.unwritten { MapKind::Unwritten(block) } else { MapKind::Data(block) };
                Mapping { file, blocks: rest.blocks.min(most), kind }
            }
            _ => {
                let next = self.pieces.range(range.start..).next().map_or(u64::MAX, |(at, _)| *at);
                Mapping { file, blocks: (next - range.start).min(most), kind: MapKind::Hole }
            }
        }
    }

    /// Adds a piece where there is none, joined to the one before it if they are one.
    pub(crate) fn insert(&mut self, file: u64, piece: Piece) {
        self.held += piece.blocks;
        if let Some((at, before)) = self.pieces.range_mut(..file).next_back()
            && at + before.blocks == file
            && before.block + before.blocks == piece.block
            && before.unwritten == piece.unwritten
        {
            before.blocks += piece.blocks;
            return;
        }
        self.pieces.insert(file, piece);
    }

    /// Takes a range out; `each` gets what it held.
    pub(crate) fn remove(&mut self, range: Range<u64>, mut each: impl FnMut(u64, Piece)) {
        self.split(range.start);
        self.split(range.end);
        while let Some((&file, _)) = self.pieces.range(range.clone()).next() {
            if let Some(piece) = self.pieces.remove(&file) {
                self.held -= piece.blocks;
                each(file, piece);
            }
        }
    }

    /// Marks the blocks of a range that exist as written or unwritten.
    pub(crate) fn mark(&mut self, range: Range<u64>, unwritten: bool) {
        let mut changed = Vec::new();
        self.remove(range, |file, piece| changed.push((file, Piece { unwritten, ..piece })));
        for (file, piece) in changed {
            self.insert(file, piece);
        }
    }

    /// Makes `file` a border between pieces.
    fn split(&mut self, file: u64) {
        let Some((at, piece)) = self.pieces.range_mut(..file).next_back() else { return };
        let first = file - at;
        if piece.blocks > first {
            let rest = piece.behind(first);
            piece.blocks = first;
            self.pieces.insert(file, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(block: u64, blocks: u64) -> Piece {
        Piece { block, blocks, unwritten: false }
    }

    #[test]
    fn a_hole_ends_where_the_next_piece_begins() {
        let mut extents = Extents::default();
        extents.insert(10, piece(100, 5));
        let hole = extents.map(0..64);
        assert_eq!((hole.blocks, hole.kind), (10, MapKind::Hole));
        let data = extents.map(12..64);
        assert_eq!((data.blocks, data.kind), (3, MapKind::Data(BlockNo(102))));
        assert_eq!(extents.map(15..64).blocks, 49);
    }

    #[test]
    fn neighbours_become_one_piece_and_a_punch_cuts_it_in_two() {
        let mut extents = Extents::default();
        extents.insert(0, piece(100, 4));
        extents.insert(4, piece(104, 4));
        assert_eq!(extents.map(0..8).blocks, 8);
        let mut freed = Vec::new();
        extents.remove(3..5, |file, piece| freed.push((file, piece.block, piece.blocks)));
        assert_eq!(freed, [(3, 103, 2)]);
        assert_eq!(extents.held(), 6);
        assert_eq!(extents.map(5..8).kind, MapKind::Data(BlockNo(105)));
    }

    #[test]
    fn marking_a_part_leaves_the_rest_as_it_was() {
        let mut extents = Extents::default();
        extents.insert(0, Piece { block: 50, blocks: 10, unwritten: true });
        extents.mark(2..4, false);
        assert_eq!(extents.map(0..10).kind, MapKind::Unwritten(BlockNo(50)));
        let data = extents.map(2..10);
        assert_eq!((data.blocks, data.kind), (2, MapKind::Data(BlockNo(52))));
        assert_eq!(extents.map(4..10).kind, MapKind::Unwritten(BlockNo(54)));
        assert_eq!(extents.held(), 10);
    }
}
