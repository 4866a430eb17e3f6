//! Allocation: bits and counters that commute.
//!
//! A transaction holds *claims*: runs of bits that it takes or frees. Which bits are free is asked of the group's
//! *busy* bitmap, in memory: used on disk, claimed, placed, or freed and not reusable yet. The merge applies the claim
//! to the allocation block by itself, `(old & !clear) | set` and a delta on the counter, so any number of transactions
//! may change one block in any order.
//!
//! # Locking
//! A group's busy bits are loaded under the allocation block's latch, so that no merge passes between reading and
//! filling. The group lock is a leaf.
//!
//! # Crash
//! A claim that was not merged leaves nothing. A freed run stays busy until the freeing batch is durable (blocks that
//! were never in the log) or until the durable tail has passed it (blocks that were: recovery could write them again).
use crate::format::geometry::{FIRST_INODE, INODES_PER_BLOCK};
use crate::format::num::index32;
use crate::format::{BlockKind, Corruption, Geometry, block, group};
use crate::op::{Locked, Op};
use crate::variant::{Fault, Variant};
use bento_api::platform::Fetch;
use bento_api::{
    BlockNo, Busy, Bytes, Change, Claim, Errno, Freed, GroupNo, InodeNo, Map, Platform, Run, Stop, Totals,
    Wait,
};

/// Unloaded groups whose allocation blocks are asked for in one wait.
const LOAD_AT_ONCE: usize = 4;
/// Blocks of the summary that are asked for in one wait.
const SUMMARY_AT_ONCE: u64 = 8;
/// Blocks of the summary that one attempt looks at: each takes a pin.
const SUMMARY_MOST: u64 = 16;
/// In the place of an unloaded group's hint: the summary says that there is nothing.
const NOTHING: u32 = u32::MAX;

/// What a claim does to the volume's totals.
pub(crate) fn totals(claim: &Claim) -> Totals {
    let len = u64::from(claim.run.len);
    let blocks = match claim.change {
        _ if claim.group == GroupNo::ORPHANS => return orphan_totals(claim, len),
        Change::Take | Change::TakePlaced => len.wrapping_neg(),
        Change::FreeData | Change::FreeMeta => len,
        Change::Raise => return Totals::default(),
    };
    match claim.map {
        Map::Blocks => Totals { blocks, ..Totals::default() },
        Map::Inodes => Totals { inodes: blocks, ..Totals::default() },
    }
}

fn orphan_totals(claim: &Claim, len: u64) -> Totals {
    let orphans = match claim.change {
        Change::Take | Change::TakePlaced => len,
        Change::FreeData | Change::FreeMeta => len.wrapping_neg(),
        Change::Raise => 0,
    };
    Totals { orphans, ..Totals::default() }
}

/// Merges one claim into its allocation block.
pub(crate) fn merge(bytes: &mut Bytes, claim: &Claim) {
    let value = match claim.change {
        Change::Take | Change::TakePlaced => true,
        Change::FreeData | Change::FreeMeta => false,
        Change::Raise => return raise(bytes, claim.run.start.saturating_add(claim.run.len)),
    };
    let bitmap = match claim.map {
        Map::Inodes => group::inode_bitmap_mut(bytes),
        Map::Blocks => group::block_bitmap_mut(bytes),
    };
    set_run(bitmap, claim.run, value);
    let Ok(mut counts) = group::counts(bytes) else { return };
    let count = match claim.map {
        Map::Inodes => &mut counts.free_inodes,
        Map::Blocks => &mut counts.free_blocks,
    };
    *count = if value { count.wrapping_sub(claim.run.len) } else { count.wrapping_add(claim.run.len) };
    group::set_counts(bytes, counts);
}

/// Sets or clears a run of bits, whole bytes at once: a run can be a group's, and a latch is held.
fn set_run(bitmap: &mut [u8], run: Run, value: bool) {
    let end = run.start.saturating_add(run.len);
    let first_byte = run.start.div_ceil(8);
    let (head, tail) = (run.start..end.min(first_byte.saturating_mul(8)), (end / 8).max(first_byte));
    if let Some(whole) = bitmap.get_mut(index32(first_byte)..index32(tail)) {
        whole.fill(if value { u8::MAX } else { 0 });
    }
    for at in head.chain(tail.saturating_mul(8)..end) {
        block::set_bit(bitmap, at.into(), value);
    }
}

/// Raises the mark of initialised inodes to a whole block of the table.
fn raise(bytes: &mut Bytes, to: u32) {
    let Ok(mut counts) = group::counts(bytes) else { return };
    counts.inodes_init = counts.inodes_init.max(to.next_multiple_of(INODES_PER_BLOCK));
    group::set_counts(bytes, counts);
}

/// What a claim frees, if it frees something.
pub(crate) fn freed(geometry: &Geometry, claim: &Claim) -> Option<Freed> {
    let logged = match claim.change {
        Change::FreeData => false,
        Change::FreeMeta => true,
        Change::Take | Change::TakePlaced | Change::Raise => return None,
    };
    let block = match claim.map {
        Map::Blocks if claim.group != GroupNo::ORPHANS => geometry.block_no(claim.group, claim.run.start)?,
        _ => BlockNo(0),
    };
    Some(Freed { group: claim.group, map: claim.map, run: claim.run, block, logged })
}

/// A run of clear bits: the first of at least `want` at or after `from`, else the longest that there is.
pub(crate) fn find_run(words: &[u64], from: u32, want: u32) -> Option<Run> {
    let total = u32::try_from(words.len().checked_mul(64)?).ok()?;
    let first = search(words, from.min(total), total, want);
    match first {
        Some(run) if run.len >= want => Some(run),
        _ if from == 0 => first,
        _ => {
            let second = search(words, 0, from.min(total), want);
            match (first, second) {
                (Some(a), Some(b)) => Some(if b.len > a.len { b } else { a }),
                (a, b) => a.or(b),
            }
        }
    }
}

fn bitmap_of(bytes: &Bytes, map: Map) -> &[u8] {
    match map {
        Map::Inodes => group::inode_bitmap(bytes),
        Map::Blocks => group::block_bitmap(bytes),
    }
}

fn overlap(a: &Run, b: &Run) -> bool {
    a.start < b.start.saturating_add(b.len) && b.start < a.start.saturating_add(a.len)
}

/// Whether every bit of a run is set, whole bytes at a time.
fn all_set(bitmap: &[u8], run: Run) -> bool {
    let end = run.start.saturating_add(run.len);
    let mut at = run.start;
    while at < end {
        let whole = at.is_multiple_of(8) && end.saturating_sub(at) >= 8;
        let byte = usize::try_from(at / 8).ok().and_then(|place| bitmap.get(place));
        let set = match byte {
            Some(byte) if whole => *byte == u8::MAX,
            Some(_) => block::bit(bitmap, at.into()),
            None => false,
        };
        if !set {
            return false;
        }
        at = at.saturating_add(if whole { 8 } else { 1 });
    }
    true
}

/// Whether no bit is clear.
fn is_full(words: &[u64]) -> bool {
    words.iter().all(|word| *word == u64::MAX)
}

/// The first run of clear bits in `from..to` of at least `want`, else the longest.
pub(crate) fn search(words: &[u64], from: u32, to: u32, want: u32) -> Option<Run> {
    let mut best: Option<Run> = None;
    let mut at = from;
    while let Some(start) = next(words, at, to, false) {
        // No further than what is wanted: an empty group is one long run.
        let enough = to.min(start.saturating_add(want));
        let end = next(words, start, enough, true).unwrap_or(enough);
        let run = Run { start, len: end.saturating_sub(start) };
        if run.len >= want {
            return Some(run);
        }
        if best.is_none_or(|best| run.len > best.len) {
            best = Some(run);
        }
        at = end;
    }
    best
}

/// The first bit in `from..to` that is set (or clear).
fn next(words: &[u64], from: u32, to: u32, set: bool) -> Option<u32> {
    let mut at = from;
    while at < to {
        let word = *words.get(usize::try_from(at / 64).ok()?)?;
        let word = if set { word } else { !word };
        let rest = word >> (at % 64);
        if rest != 0 {
            let found = at.saturating_add(rest.trailing_zeros());
            return (found < to).then_some(found);
        }
        at = (at / 64).saturating_add(1).saturating_mul(64);
    }
    None
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Pins a group's allocation block, and fills the busy bitmaps from it at first use, if it makes sense: of one that
    /// does not, bits of metadata or of reserved inodes might be handed out.
    pub(crate) fn load_group(&mut self, no: GroupNo) -> Result<P::Block, Stop> {
        let at = self.volume.geometry.alloc_block(no).ok_or(Errno::Invalid)?;
        let block = self.meta(at, BlockKind::Alloc, no.into())?;
        let platform = self.platform();
        if !platform.with_group(no, |busy| *busy.loaded)? {
            let geometry = self.volume.geometry;
            let checked = platform.read(block, |bytes| {
                group::check_alloc(bytes, &geometry, no)
                    .map(|_| platform.fill_group(no, |busy| fill(busy, bytes)))
            });
            match checked {
                Ok(filled) => filled?,
                Err(what) => return Err(self.corrupt(what, at, InodeNo(0))),
            }
        }
        Ok(block)
    }

    fn remember_group(&mut self, no: GroupNo, block: P::Block) -> Result<(), Stop> {
        if !self.call.groups.iter().any(|(group, _)| *group == no) {
            self.call.groups.push((no, block))?;
        }
        Ok(())
    }

    /// Blocks that may be claimed by this operation; those that make room may use the reserve.
    fn reserve(&self, map: Map) -> u64 {
        match map {
            Map::Blocks => self.volume.reserve,
            Map::Inodes => 0,
        }
    }

    /// Claims up to `want` blocks in one run, near `goal`, in the goal's group or one of those behind it.
    ///
    /// `reserve` is what must be left for those who make room.
    pub(crate) fn claim_run(
        &mut self,
        goal: BlockNo,
        want: u32,
        reserve: Reserve,
    ) -> Result<(BlockNo, u32), Stop> {
        let geometry = self.volume.geometry;
        let (start, bit) = geometry.block_group(goal).unwrap_or((GroupNo(0), 0));
        let left = match reserve {
            Reserve::Keep => self.reserve(Map::Blocks),
            Reserve::Use => 0,
        };
        let mut found = self.claim_in(start, Map::Blocks, left, bit, want)?;
        if found.is_none() {
            found = self.search_groups(start, Map::Blocks, left, want)?;
        }
        let Some((group, run)) = found else { return Err(self.no_space(Map::Blocks)) };
        let block = geometry.block_no(group, run.start).ok_or(Errno::Capacity)?;
        Ok((block, run.len))
    }

    /// Claims an inode near a group; its record may never have been initialised.
    pub(crate) fn claim_inode(&mut self, near: GroupNo) -> Result<Locked, Stop> {
        let mut found = self.claim_in(near, Map::Inodes, 0, 0, 1)?;
        if found.is_none() {
            found = self.search_groups(near, Map::Inodes, 0, 1)?;
        }
        let Some((group, run)) = found else { return Err(self.no_space(Map::Inodes)) };
        let geometry = self.volume.geometry;
        match geometry.ino(group, run.start).filter(|ino| ino.0 >= FIRST_INODE.into()) {
            Some(ino) => Ok(self.claimed(ino)),
            None => {
                let at = geometry.alloc_block(group).unwrap_or_default();
                Err(self.corrupt(Corruption::GroupInodeUsed, at, InodeNo(0)))
            }
        }
    }

    fn claim_in(
        &mut self,
        group: GroupNo,
        map: Map,
        left: u64,
        from: u32,
        want: u32,
    ) -> Result<Option<(GroupNo, Run)>, Stop> {
        // A full group is passed over without pinning its block: a call has pins for a hundred, a volume has thousands.
        if self.platform().with_group(group, |mut busy| *busy.loaded && is_full(busy.words(map)))? {
            return Ok(None);
        }
        let block = self.load_group(group)?;
        let run = self.platform().claim(group, map, left, |busy| {
            let hint = busy.hint.get(hint_of(map)).copied().unwrap_or(0);
            let from = if from == 0 { hint } else { from };
            let run = find_run(busy.words(map), from, want)?;
            if let Some(hint) = busy.hint.get_mut(hint_of(map)) {
                *hint = run.start;
            }
            Some(run)
        })?;
        if run.is_some() {
            self.remember_group(group, block)?;
        }
        Ok(run.map(|run| (group, run)))
    }

    /// Looks through the other groups: the loaded ones at once, the rest by what the summary says, a few at a time.
    ///
    /// What an attempt learns it leaves with the groups, so that the next gets further, even if nothing of what was
    /// read stays cached, and however many blocks the summary has.
    fn search_groups(
        &mut self,
        start: GroupNo,
        map: Map,
        left: u64,
        want: u32,
    ) -> Result<Option<(GroupNo, Run)>, Stop> {
        if self.platform().available(map) <= left {
            return Ok(None);
        }
        for pass in [Pass::Summary, Pass::Sweep] {
            let mut search = Search { map, pass, wanted: 0, summary: None, summaries: 0 };
            for step in 1..self.volume.geometry.groups {
                let no = self.behind(start, step);
                if self.is_candidate(no, &mut search)?
                    && let Some(found) = self.claim_in(no, map, left, 0, want)?
                {
                    return Ok(Some(found));
                }
            }
            if search.wanted > 0 {
                return Err(self.note_search(Wait::Blocks));
            }
        }
        Ok(None)
    }

    /// The group so many behind another one, round the end.
    fn behind(&self, start: GroupNo, step: u32) -> GroupNo {
        let groups = u64::from(self.volume.geometry.groups).max(1);
        let at = u64::from(start.0).wrapping_add(u64::from(step)) % groups;
        GroupNo(u32::try_from(at).unwrap_or(0))
    }

    /// Whether a group may have something, and can be looked at now. One that must be read first is asked for.
    fn is_candidate(&mut self, no: GroupNo, search: &mut Search) -> Result<bool, Stop> {
        let hint = hint_of(search.map);
        let known = |busy: Busy<'_>| (*busy.loaded, busy.hint.get(hint) == Some(&NOTHING));
        let (loaded, nothing) = self.platform().with_group(no, known)?;
        if loaded {
            return Ok(search.pass == Pass::Summary);
        }
        if nothing && search.pass == Pass::Summary {
            return Ok(false);
        }
        // Before the summary: what an earlier attempt asked for, because the summary said so, is here.
        let at = self.volume.geometry.alloc_block(no).ok_or(Errno::Capacity)?;
        if self.platform().pin(at)?.is_some() {
            return Ok(true);
        }
        if search.pass == Pass::Summary && !self.summary_has(no, search)? {
            return Ok(false);
        }
        self.platform().want(at, Fetch::Read);
        search.wanted = search.wanted.saturating_add(1);
        if search.wanted == LOAD_AT_ONCE { Err(self.note_search(Wait::Blocks)) } else { Ok(false) }
    }

    /// A search gets on with every wait: its attempts are counted anew.
    fn note_search(&self, wait: Wait) -> Stop {
        let cursor = self.platform().cursor();
        self.platform().set_cursor(cursor);
        wait.into()
    }

    /// What the group summary says of a group that is not loaded: advisory, and believed only when it says that there is
    /// something. That there is nothing is noted, so that the next attempt needs no pin to know; a free loads the group.
    fn summary_has(&mut self, no: GroupNo, search: &mut Search) -> Result<bool, Stop> {
        let geometry = self.volume.geometry;
        let (block, index) = geometry.summary_place(no).ok_or(Errno::Capacity)?;
        if search.summary != Some(block) {
            if search.summaries == SUMMARY_MOST {
                // What the summary offered so far is read first.
                return Err(self.note_search(if search.wanted > 0 { Wait::Blocks } else { Wait::Again }));
            }
            (search.summary, search.summaries) = (Some(block), search.summaries.saturating_add(1));
        }
        let Some(pinned) = self.platform().pin(block)? else {
            let end = geometry.summary_start.0.saturating_add(geometry.summary_len);
            let ahead = block.0..end.min(block.0.saturating_add(SUMMARY_AT_ONCE));
            ahead.for_each(|no| self.platform().want(BlockNo(no), Fetch::Read));
            return Err(self.note_search(Wait::Blocks));
        };
        let summary =
            self.platform().read(pinned, |bytes| group::Summary::read(bytes, index)).unwrap_or_default();
        let has = match search.map {
            Map::Inodes => summary.free_inodes > 0,
            Map::Blocks => summary.free_blocks > 0,
        };
        if !has {
            self.platform().with_group(no, |busy| {
                if let (false, Some(hint)) = (*busy.loaded, busy.hint.get_mut(hint_of(search.map))) {
                    *hint = NOTHING;
                }
            })?;
        }
        Ok(has)
    }

    /// Why there is no space: some may come, or none.
    fn no_space(&self, map: Map) -> Stop {
        match map {
            Map::Blocks if self.platform().has_pending_frees() => Wait::Space.into(),
            Map::Inodes if self.platform().has_pending_frees() => Wait::Space.into(),
            _ => Errno::NoSpace.into(),
        }
    }

    /// Takes blocks of a placement whose data is on its way: their busy bits are the placement's.
    pub(crate) fn take_placed(&mut self, block: BlockNo, blocks: u32) -> Result<(), Stop> {
        self.note_blocks(block, blocks, Change::TakePlaced)
    }

    /// Frees blocks that were never in the log.
    pub(crate) fn free_data(&mut self, block: BlockNo, blocks: u32) -> Result<(), Stop> {
        self.note_blocks(block, blocks, Change::FreeData)
    }

    /// Frees one metadata block, and forgets this operation's changes of it.
    pub(crate) fn free_meta(&mut self, block: BlockNo) -> Result<(), Stop> {
        self.drop_draft(block);
        self.note_blocks(block, 1, Change::FreeMeta)
    }

    /// A run of device blocks as a run of bits of one group: what leads elsewhere is corruption.
    fn note_blocks(&mut self, block: BlockNo, blocks: u32, change: Change) -> Result<(), Stop> {
        let geometry = self.volume.geometry;
        if !geometry.is_data_run(block, blocks) {
            return Err(self.corrupt(Corruption::ExtentRange, block, InodeNo(0)));
        }
        let (group, start) = geometry.block_group(block).ok_or(Errno::Capacity)?;
        let run = Run { start, len: blocks };
        let pinned = self.load_for(group, change)?;
        let claim = Claim { group, map: Map::Blocks, run, change };
        if !self.may_free(pinned, &claim) {
            return Err(self.corrupt(Corruption::ExtentRange, block, InodeNo(0)));
        }
        self.platform().note_claim(claim)?;
        self.remember_group(group, pinned)
    }

    /// Whether bits that are to be freed are in use: on disk or by a claim of this operation, and not freed by it before.
    /// On a damaged volume two owners may free one block, and a healthy file would pay for it.
    fn may_free(&self, block: P::Block, claim: &Claim) -> bool {
        if !matches!(claim.change, Change::FreeData | Change::FreeMeta) {
            return true;
        }
        let mut taken_here = false;
        for at in 0..bento_api::limits::CLAIMS {
            let Some(earlier) = self.platform().claim_at(at) else { break };
            if earlier.group != claim.group || earlier.map != claim.map || !overlap(&earlier.run, &claim.run)
            {
                continue;
            }
            match earlier.change {
                Change::FreeData | Change::FreeMeta => return false,
                Change::Take | Change::TakePlaced => taken_here = true,
                Change::Raise => {}
            }
        }
        taken_here || self.platform().read(block, |bytes| all_set(bitmap_of(bytes, claim.map), claim.run))
    }

    /// Frees an inode's bit.
    pub(crate) fn free_inode_bit(&mut self, at: Locked) -> Result<(), Stop> {
        let (group, start) = self.volume.geometry.inode_bit(at.no()).ok_or(Errno::Stale)?;
        let pinned = self.load_for(group, Change::FreeData)?;
        let claim = Claim { group, map: Map::Inodes, run: Run { start, len: 1 }, change: Change::FreeData };
        if !self.may_free(pinned, &claim) {
            return Err(self.corrupt(Corruption::InodeUnused, BlockNo(0), at.no()));
        }
        self.platform().note_claim(claim)?;
        self.remember_group(group, pinned)
    }

    /// Raises the mark of initialised inodes over a record that is written for the first time.
    pub(crate) fn raise_mark(&mut self, at: Locked) -> Result<(), Stop> {
        let (group, start) = self.volume.geometry.inode_bit(at.no()).ok_or(Errno::Stale)?;
        let pinned = self.load_group(group)?;
        let claim = Claim { group, map: Map::Inodes, run: Run { start, len: 1 }, change: Change::Raise };
        self.platform().note_claim(claim)?;
        self.remember_group(group, pinned)
    }

    /// Busy bits are loaded before a bit is freed on disk: a later load would find it free, and hand it out before
    /// the freeing batch is durable.
    fn load_for(&mut self, group: GroupNo, change: Change) -> Result<P::Block, Stop> {
        if V::FAULT == Fault::FreeUnloaded && change == Change::FreeData {
            let at = self.volume.geometry.alloc_block(group).ok_or(Errno::Capacity)?;
            return self.meta(at, BlockKind::Alloc, group.into());
        }
        self.load_group(group)
    }

    /// The mark of initialised inodes of a group, on disk and as this operation raises it.
    pub(crate) fn mark_of(&mut self, no: GroupNo) -> Result<u32, Stop> {
        let block = self.load_group(no)?;
        Ok(self.platform().read(block, |bytes| group::counts(bytes)).map(|counts| counts.inodes_init)?)
    }
}

/// Whether an operation may use the blocks that are kept for those who make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    Keep,
    Use,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Summary,
    Sweep,
}

/// A search through groups: one pass of one attempt.
struct Search {
    map: Map,
    pass: Pass,
    /// Allocation blocks that were asked for.
    wanted: usize,
    /// The block of the summary that was looked at last, and how many were.
    summary: Option<BlockNo>,
    summaries: u64,
}

/// Where a group's hint for a bitmap is.
fn hint_of(map: Map) -> usize {
    usize::from(map == Map::Blocks)
}

/// Of two that load a group at once the second changes nothing: bits may have been claimed in between.
fn fill(busy: Busy<'_>, bytes: &Bytes) {
    if *busy.loaded {
        return;
    }
    for (map, words) in [(Map::Inodes, busy.inodes), (Map::Blocks, busy.blocks)] {
        let bitmap = match map {
            Map::Inodes => group::inode_bitmap(bytes),
            Map::Blocks => group::block_bitmap(bytes),
        };
        words.fill(u64::MAX);
        for (word, eight) in words.iter_mut().zip(bitmap.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*eight);
        }
    }
    busy.hint.fill(0);
    *busy.loaded = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_the_first_run_that_is_long_enough_or_the_longest() {
        let words = [u64::MAX, !0b1110, u64::MAX, 0];
        assert_eq!(find_run(&words, 0, 3), Some(Run { start: 65, len: 3 }));
        assert_eq!(find_run(&words, 0, 4), Some(Run { start: 192, len: 4 }));
        assert_eq!(find_run(&words, 200, 64), Some(Run { start: 200, len: 56 }));
        assert_eq!(find_run(&words, 70, 1), Some(Run { start: 192, len: 1 }));
        assert_eq!(find_run(&[u64::MAX; 3], 0, 1), None);
    }

    #[test]
    fn a_run_of_bits_is_set_and_cleared_as_bit_by_bit() {
        for start in 0..40 {
            for len in 0..60 {
                for value in [true, false] {
                    let (mut fast, mut slow) = ([0xa5_u8; 16], [0xa5_u8; 16]);
                    set_run(&mut fast, Run { start, len }, value);
                    (start..start + len).for_each(|at| assert!(block::set_bit(&mut slow, at.into(), value)));
                    assert_eq!(fast, slow, "{start} {len}");
                }
            }
        }
        set_run(&mut [0; 4], Run { start: 20, len: u32::MAX }, true);
    }

    #[test]
    fn a_loader_that_was_overtaken_changes_nothing() {
        struct Group(bool, [u64; 4], [u64; 4], [u32; 2]);
        fn busy(Group(loaded, inodes, blocks, hint): &mut Group) -> Busy<'_> {
            Busy { loaded, inodes, blocks, hint }
        }
        let bytes = [0; bento_api::BLOCK];
        let mut group = Group(false, [u64::MAX; 4], [u64::MAX; 4], [7; 2]);
        fill(busy(&mut group), &bytes);
        assert_eq!((group.1, group.2, group.3), ([0; 4], [0; 4], [0; 2]));
        (group.1[0], group.2[1], group.3[1]) = (1, 6, 65);
        fill(busy(&mut group), &bytes);
        assert_eq!((group.1[0], group.2[1], group.3[1]), (1, 6, 65));
    }

    #[test]
    fn a_search_never_answers_a_set_bit() {
        let mut words = [0x5555_5555_5555_5555_u64; 4];
        words[2] = 0xffff_0000_ffff_0000;
        for from in 0..256 {
            for want in 1..20 {
                let run = find_run(&words, from, want).unwrap();
                for bit in run.start..run.start + run.len {
                    assert_eq!(words[(bit / 64) as usize] >> (bit % 64) & 1, 0);
                }
            }
        }
    }
}
