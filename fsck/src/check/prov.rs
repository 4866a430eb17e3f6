//! The provenance log: its head, every record block and every record, read by rules of its own; then that the blocks are
//! in the order of their numbers, so that no record is missing between two.
use super::Check;
use super::maps::State;
use super::walk::{Mode, Run};
use crate::report::Problem;
use bento_api::{BLOCK_BYTES, BlockNo, Bytes, FileKind};
use bento_fs::format::geometry::PROVENANCE;
use bento_fs::format::num::all_zero;
use bento_fs::format::prov::{RawBlock, RawHead, RawRecord};
use bento_fs::format::{BlockKind, Corruption};
use zerocopy::FromBytes;

/// Record blocks of a log, at most.
const MOST: u64 = 65_536;
/// And of those that it may have, at least.
const LEAST: u64 = 64;
/// Names of a record, by what was done: 1 create, 2 tmpfile, 3 link, 4 unlink, 5 rename, 6 exchange, 7 truncate, 8 write.
const NAMES: [usize; 9] = [usize::MAX, 1, 0, 1, 1, 2, 2, 0, 0];

/// A record block that is right in itself.
#[derive(Clone, Copy)]
struct Turn {
    turn: u64,
    first: u64,
    count: u64,
    no: BlockNo,
}

impl Check<'_> {
    /// Checks the log, if there is one.
    pub(super) fn provenance(&mut self) {
        match self.inodes.state(PROVENANCE) {
            State::Used(FileKind::Regular) => {}
            State::Used(_) => return self.problem(Problem::new(Corruption::InodeType).ino(PROVENANCE)),
            State::Free | State::Broken => return,
        }
        let Some((kind, inode)) = self.inode_again(PROVENANCE) else { return };
        let blocks = inode.size / BLOCK_BYTES;
        let mut places: Vec<BlockNo> = Vec::new();
        self.each_run(PROVENANCE, (kind, &inode), Mode::Quiet, &mut |_, run| {
            let Run::Data(extent) = run else { return };
            // Extents come in order: what does not follow the one before leaves a hole.
            if extent.file.0 == places.len() as u64 && places.len() as u64 <= MOST {
                places.extend((extent.start.0..).take(extent.len as usize).map(BlockNo));
            }
        });
        let whole = inode.size.is_multiple_of(BLOCK_BYTES) && (2..=MOST + 1).contains(&blocks);
        if !whole || places.len() as u64 != blocks {
            return self.problem(Problem::new(Corruption::ProvPlace).ino(PROVENANCE));
        }
        let mut page = self.image.page();
        let tail = places.first().and_then(|no| self.log_head(*no, blocks, &mut page));
        let turns: Vec<Option<Turn>> =
            places.iter().skip(1).map(|no| self.record_block(*no, &mut page)).collect();
        self.image.give(page);
        if let Some(tail) = tail {
            self.turns(&turns, tail);
        }
    }

    fn log_problem(&mut self, what: Corruption, no: BlockNo) {
        self.problem(Problem::new(what).ino(PROVENANCE).block(no));
    }

    /// The tail, if the head is right.
    fn log_head(&mut self, no: BlockNo, blocks: u64, page: &mut Bytes) -> Option<usize> {
        if let Err(bad) = self.read_block(no, BlockKind::ProvHead, PROVENANCE.0, page) {
            self.problem(bad.problem().ino(PROVENANCE));
            return None;
        }
        let (raw, rest) = RawHead::ref_from_prefix(&page[..]).ok()?;
        let (tail, limit) = (raw.tail.get(), raw.limit.get());
        let unused = all_zero(&raw.unused) && all_zero(rest);
        if !unused {
            self.log_problem(Corruption::ProvTail, no);
        }
        if !(LEAST..=MOST).contains(&limit) || tail == 0 || tail >= blocks || blocks - 1 > limit {
            self.log_problem(Corruption::ProvHead, no);
            return None;
        }
        usize::try_from(tail).ok()
    }

    fn record_block(&mut self, no: BlockNo, page: &mut Bytes) -> Option<Turn> {
        if let Err(bad) = self.read_block(no, BlockKind::Prov, PROVENANCE.0, page) {
            self.problem(bad.problem().ino(PROVENANCE));
            return None;
        }
        let (raw, _) = RawBlock::ref_from_prefix(&page[..]).ok()?;
        let (used, count) = (raw.used.get() as usize, raw.count.get());
        let (turn, first) = (raw.turn.get(), raw.first.get());
        let session = (1..=5).contains(&raw.began) && raw.since_nanoseconds.get() < 1_000_000_000;
        let (unused, start) = (all_zero(&raw.unused), size_of::<RawBlock>());
        let (Some(records), Some(rest)) = (page.get(start..used.max(start)), page.get(used.max(start)..))
        else {
            self.log_problem(Corruption::ProvFill, no);
            return None;
        };
        let filled = used >= start && used % 8 == 0 && turn > 0 && first > 0;
        let (unused, formed) = (unused && all_zero(rest), holds(records, count));
        if !session {
            self.log_problem(Corruption::ProvSession, no);
        }
        if !unused {
            self.log_problem(Corruption::ProvTail, no);
        }
        if !filled {
            self.log_problem(Corruption::ProvFill, no);
        } else if !formed {
            self.log_problem(Corruption::ProvRecord, no);
        }
        filled.then_some(Turn { turn, first, count: count.into(), no })
    }

    /// From the block behind the tail around to the tail, numbers go on without a gap.
    fn turns(&mut self, turns: &[Option<Turn>], tail: usize) {
        let (newer, older) = turns.split_at_checked(tail).unwrap_or((turns, &[]));
        let mut before: Option<Turn> = None;
        for turn in older.iter().chain(newer) {
            let follows = match (before, turn) {
                (Some(before), Some(turn)) => {
                    turn.turn == before.turn.wrapping_add(1)
                        && turn.first == before.first.wrapping_add(before.count)
                }
                _ => true,
            };
            if let (false, Some(turn)) = (follows, turn) {
                self.log_problem(Corruption::ProvOrder, turn.no);
            }
            before = *turn;
        }
    }
}

/// Whether bytes are so many records and nothing else.
fn holds(mut bytes: &[u8], count: u32) -> bool {
    for _ in 0..count {
        let Some(len) = record(bytes) else { return false };
        bytes = bytes.get(len..).unwrap_or(&[]);
    }
    bytes.is_empty()
}

/// The length of the record at the start of `bytes`, if it is one.
fn record(bytes: &[u8]) -> Option<usize> {
    let (raw, _) = RawRecord::ref_from_prefix(bytes).ok()?;
    let len = usize::from(raw.len.get());
    let names = *NAMES.get(usize::from(raw.what))?;
    let room = bytes.get(size_of::<RawRecord>()..len)?;
    let (first, rest) = room.split_at_checked(raw.name_len.into())?;
    let (second, padding) = rest.split_at_checked(raw.to_len.into())?;
    let named = |at: usize, dir: u64, name: &[u8]| {
        if names > at { dir > 0 && is_name(name) } else { dir == 0 && name.is_empty() }
    };
    let formed = names <= 2
        && len % 8 == 0
        && padding.len() < 8
        && all_zero(padding)
        && named(0, raw.dir.get(), first)
        && named(1, raw.to_dir.get(), second)
        && raw.flags <= 1
        && raw.ino.get() > 0
        && raw.nanoseconds.get() < 1_000_000_000;
    formed.then_some(len)
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}
