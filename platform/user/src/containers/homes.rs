//! Blocks whose newest durable version is not home, and the write-back of those.
use super::blocks::Cached;
use super::{Containers, UserIoList};
use bento_api::{BatchSeq, BlockNo, Bytes, Freed};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A durable version that is not on its way home.
struct Version {
    page: Arc<Bytes>,
    seq: BatchSeq,
    /// The oldest batch whose version of this block this one makes superfluous.
    oldest: BatchSeq,
}

struct Home {
    block: Arc<Cached>,
    waiting: Option<Version>,
    /// The version that is on its way.
    listed: Option<BatchSeq>,
}

#[derive(Default)]
pub(super) struct Homes {
    map: BTreeMap<u64, Home>,
    /// Where the next step of a checkpoint goes on.
    cursor: u64,
    listed: Vec<u64>,
}

impl Homes {
    /// A new durable version; the one that it replaces, if one does.
    fn add(&mut self, block: Arc<Cached>, page: Arc<Bytes>, seq: BatchSeq) -> Option<Arc<Bytes>> {
        let home = self.map.entry(block.no().0).or_insert(Home {
            block: block.clone(),
            waiting: None,
            listed: None,
        });
        // A block that was freed and made anew has a new object in the cache.
        home.block = block;
        let oldest = home.waiting.as_ref().map_or(seq, |old| old.oldest);
        home.waiting.replace(Version { page, seq, oldest }).map(|old| old.page)
    }

    /// Lists what is due from the cursor on.
    fn list(&mut self, io: &mut UserIoList, through: BatchSeq, at_most: u32) -> u32 {
        let Self { map, cursor, listed } = self;
        let mut count = 0;
        for (no, home) in map.range_mut(*cursor..) {
            if count == at_most {
                return count;
            }
            *cursor = no + 1;
            if home.listed.is_none()
                && let Some(version) = home.waiting.take_if(|version| version.oldest <= through)
            {
                home.listed = Some(version.seq);
                listed.push(*no);
                io.write(BlockNo(*no), version.page);
                count += 1;
            }
        }
        count
    }
}

impl Containers {
    /// Moves the versions of durable batches to the homes.
    pub(super) fn settle_durable(&self, through: BatchSeq) {
        while let Some(mut sealed) = self.batches.take_through(through) {
            let mut homes = self.homes.lock();
            let seq = sealed.seq;
            let mut replaced = 0;
            for block in sealed.blocks.drain(..) {
                let version = block.latch.write().install(seq);
                debug_assert!(version.is_some(), "a sealed block keeps its version");
                let Some(page) = version else { continue };
                if let Some(old) = homes.add(block, page, seq) {
                    replaced += 1;
                    self.pages.give_back(old);
                }
            }
            drop(homes);
            self.credits.came_home(replaced);
            self.batches.recycle(sealed.blocks);
        }
        self.frees.take_data(through, |freed| self.release(freed));
    }

    /// Lists home writes.
    pub(super) fn list_homes(&self, io: &mut UserIoList, through: BatchSeq, at_most: u32) -> u32 {
        self.settle();
        let mut homes = self.homes.lock();
        let started = homes.cursor;
        let count = homes.list(io, through, at_most);
        if count > 0 || started == 0 {
            return count;
        }
        // Versions may have come in behind the cursor; nothing is left only if a whole round finds nothing.
        homes.cursor = 0;
        homes.list(io, through, at_most)
    }

    /// Forgets the versions that were listed: they are home.
    pub(super) fn settle_homed(&self, through: BatchSeq) {
        let mut homes = self.homes.lock();
        let mut listed = std::mem::take(&mut homes.listed);
        let count = listed.len();
        for no in listed.drain(..) {
            let Some(home) = homes.map.get_mut(&no) else { continue };
            if let Some(seq) = home.listed.take() {
                home.block.latch.write().came_home(seq);
            }
            if home.waiting.is_none() {
                homes.map.remove(&no);
            }
        }
        (homes.listed, homes.cursor) = (listed, 0);
        drop(homes);
        self.credits.came_home(u32::try_from(count).unwrap_or(u32::MAX));
        self.frees.take_logged(through, |freed| self.release(freed));
    }

    /// Lets freed bits be used again; cached blocks leave the cache before.
    fn release(&self, freed: &[Freed]) {
        for freed in freed {
            if freed.block.0 != 0 {
                self.blocks.drop_run(freed.block, freed.run.len);
            }
            self.groups.clear(freed.group, freed.map, freed.run);
        }
    }
}
