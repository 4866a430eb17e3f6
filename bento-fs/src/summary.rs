//! The group summary: what is free in each group, so that a search for space need not read them all.
//!
//! It is advice. Bits change without it, and hosts bring it up to date when they write home: what the summary says is as
//! old as the last checkpoint, or older where nobody used a group since. A wrong entry costs a read.
//!
//! # Crash
//! Entries are changed in transactions like anything else, so no crash leaves half a block, and recovery brings back the
//! newest that was durable.
use crate::format::block::Owner;
use crate::format::{BlockKind, group};
use crate::op::Op;
use crate::variant::Variant;
use bento_api::limits::WRITES;
use bento_api::{Committed, Errno, GroupNo, Platform, Stop};

/// Groups in use that one step looks at: counting the bits of one takes a microsecond.
const USED_AT_ONCE: u32 = 64;
/// Groups that one step passes by.
const PASSED_AT_ONCE: u32 = 4096;

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Changes the entries of groups that were used since mount and have other counts by now: those of one block of the
    /// summary. The group to go on with.
    pub(crate) fn summarise(mut self, from: GroupNo) -> Result<Committed<Option<GroupNo>>, Stop> {
        let geometry = self.volume.geometry;
        let mut changing = None;
        let (mut used, mut changed) = (0, 0);
        let end = geometry.groups.min(from.0.saturating_add(PASSED_AT_ONCE));
        for no in (from.0..end).map(GroupNo) {
            let counted = self
                .platform()
                .with_group(no, |busy| busy.loaded.then(|| group::Summary::of(busy.inodes, busy.blocks)))?;
            let Some(counted) = counted else { continue };
            let (at, place) = geometry.summary_place(no).ok_or(Errno::Capacity)?;
            if used == USED_AT_ONCE || changed == WRITES || changing.is_some_and(|block| block != at) {
                return self.noted(changed, Some(no));
            }
            used = used.saturating_add(1);
            let block = self.pin(at)?;
            let index = Owner(at.0.saturating_sub(geometry.summary_start.0));
            // A damaged block is fsck's: sealed anew it would seem whole.
            let known = self.verify(block, BlockKind::Summary, at, index);
            let old = self.platform().read(block, |bytes| group::Summary::read(bytes, place));
            if known.is_err() || old == Ok(counted) {
                continue;
            }
            self.put(block, place, &counted.bytes())?;
            (changing, changed) = (Some(at), changed.saturating_add(1));
        }
        self.noted(changed, (end < geometry.groups).then_some(GroupNo(end)))
    }

    fn noted(self, changed: usize, next: Option<GroupNo>) -> Result<Committed<Option<GroupNo>>, Stop> {
        if changed == 0 { Ok(self.unchanged(next)) } else { self.commit(next) }
    }
}
