//! The end of an operation: the merge into the running batch.
use super::{Locked, Op};
use crate::bitmap;
use crate::variant::{Fault, Variant};
use bento_api::{Change, Committed, Errno, FileBlock, PlacementId, Platform, Stop, Totals, Wait};

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Notes that an inode changes, so that its slot learns the batch.
    pub(super) fn touch(
        &mut self,
        at: Locked,
        generation: u32,
        version: u64,
        data: bool,
    ) -> Result<(), Stop> {
        let ino = at.no();
        if let Some(touched) = self.call.touched.iter_mut().find(|touched| touched.ino == ino) {
            *touched = bento_api::Touched { ino, generation, version, data: data || touched.data };
            return Ok(());
        }
        self.call.touched.push(bento_api::Touched { ino, generation, version, data })?;
        Ok(())
    }

    /// Adds to the change of the volume's totals.
    pub(crate) fn count(&mut self, change: Totals) {
        self.call.totals.blocks = self.call.totals.blocks.wrapping_add(change.blocks);
        self.call.totals.inodes = self.call.totals.inodes.wrapping_add(change.inodes);
        self.call.totals.orphans = self.call.totals.orphans.wrapping_add(change.orphans);
    }

    /// What can still be refused, before the first change: credits for all that is going to be dirty.
    fn check_credits(&self) -> Result<(), Stop> {
        let dirty = self.call.writes.len() + self.call.private.len() + self.call.groups.len();
        let held = self.platform().credits();
        match u32::try_from(dirty) {
            Ok(dirty) if dirty <= held => Ok(()),
            Ok(dirty) if dirty < bento_api::limits::SMALLEST_LOG / 4 => Err(Wait::LogSpace(dirty).into()),
            _ => Err(Errno::Capacity.into()),
        }
    }

    /// Merges the write set into the running batch. After the check of credits nothing can fail: every block is
    /// pinned, every place was checked, pages are in the call.
    ///
    /// # Crash
    /// The batch holds all of the operation or none of it.
    pub(crate) fn commit<T>(self, value: T) -> Result<Committed<T>, Stop> {
        self.check_credits()?;
        Ok(self.merge(value))
    }

    /// As [`Op::commit`], and ends a placement: blocks of it that lie at or past `end` in the file were not needed and
    /// become free. Nothing of the placement changes before it is certain that the commit happens.
    pub(crate) fn commit_placement<T>(
        self,
        id: PlacementId,
        end: FileBlock,
        value: T,
    ) -> Result<Committed<T>, Stop> {
        self.check_credits()?;
        if let Some(placement) = &self.call.placement {
            self.unclaim_placed(placement, end);
        }
        self.platform().end_placement(id);
        Ok(self.merge(value))
    }

    fn merge<T>(mut self, value: T) -> Committed<T> {
        self.merge_claim_totals();
        let platform = self.platform();
        let seq = platform.join();
        for write in self.call.writes.iter() {
            platform.merge(write.block, |bytes| write.apply(bytes));
        }
        for private in self.call.private.iter() {
            platform.merge_page(private.block, private.page);
        }
        for at in 0..bento_api::limits::CLAIMS {
            let Some(claim) = platform.claim_at(at) else { break };
            if V::FAULT == Fault::LostClaim && claim.change == Change::TakePlaced {
                continue;
            }
            if let Some((_, block)) = self.call.groups.iter().find(|(group, _)| *group == claim.group) {
                platform.merge(*block, |bytes| bitmap::merge(bytes, &claim));
            }
            if let Some(freed) = bitmap::freed(&self.volume.geometry, &claim) {
                match V::FAULT {
                    Fault::EarlyReuse => platform.unclaim(freed.group, freed.map, freed.run),
                    _ => platform.free_after(seq, freed),
                }
            }
        }
        for touched in self.call.touched.iter() {
            platform.slot(touched.ino, |slot| {
                if slot.generation != touched.generation {
                    return;
                }
                slot.sync_seq = seq;
                if touched.data {
                    slot.datasync_seq = seq;
                    slot.map_version = slot.map_version.wrapping_add(1);
                }
                if slot.version <= touched.version {
                    (slot.times_dirty, slot.version) = (0, touched.version);
                }
            });
        }
        platform.add_totals(self.call.totals);
        platform.leave();
        Committed::in_batch(seq, value)
    }

    /// Ends an operation whose transaction found nothing to change.
    pub(crate) fn unchanged<T>(self, value: T) -> Committed<T> {
        Committed::unchanged(value)
    }

    fn merge_claim_totals(&mut self) {
        for at in 0..bento_api::limits::CLAIMS {
            let Some(claim) = self.platform().claim_at(at) else { break };
            self.count(bitmap::totals(&claim));
        }
    }
}
