//! Inode slots, one for each inode that somebody uses.
use super::shards::Shards;
use bento_api::{BatchSeq, InodeNo, Slot};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;

struct Used {
    slot: Slot,
    /// How often the user knows it: FUSE's lookup count, and opens.
    count: u64,
    /// Its last name is gone.
    unnamed: bool,
}

/// What counting a user up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The slot is new; its batches must be raised to what is known of the inode's block.
    New,
    /// It was there.
    Known,
    /// It was there, for an inode of an older generation: it was made anew.
    Anew,
}

/// What counting users down came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Somebody else uses it.
    InUse,
    /// Nobody does, and its times are newer than the disk's: write them, then drop it.
    Dirty,
    /// Nobody does, and it has no name: take it away.
    Unnamed,
    /// Nobody does; the slot is gone.
    Dropped,
}

#[derive(Default)]
pub(super) struct Slots {
    shards: Shards<FxHashMap<u64, Used>>,
}

impl Slots {
    fn shard(&self, ino: InodeNo) -> &Mutex<FxHashMap<u64, Used>> {
        self.shards.of(ino.0)
    }

    /// Counts one more user of an inode.
    pub(super) fn keep(&self, ino: InodeNo, generation: u32) -> Kept {
        let new = || Slot::new(generation, BatchSeq(0));
        match self.shard(ino).lock().entry(ino.0) {
            Entry::Vacant(vacant) => {
                vacant.insert(Used { slot: new(), count: 1, unnamed: false });
                Kept::New
            }
            Entry::Occupied(mut occupied) => {
                let used = occupied.get_mut();
                used.count += 1;
                if used.slot.generation == generation {
                    return Kept::Known;
                }
                (used.slot, used.unnamed) = (new(), false);
                Kept::Anew
            }
        }
    }

    /// Counts users of an inode down.
    pub(super) fn forget(&self, ino: InodeNo, count: u64) -> Forgotten {
        let mut shard = self.shard(ino).lock();
        let Some(used) = shard.get_mut(&ino.0) else { return Forgotten::Dropped };
        used.count = used.count.saturating_sub(count);
        match used {
            Used { count: 1.., .. } => Forgotten::InUse,
            Used { unnamed: true, .. } => Forgotten::Unnamed,
            Used { slot, .. } if slot.times_dirty != 0 => Forgotten::Dirty,
            _ => {
                shard.remove(&ino.0);
                Forgotten::Dropped
            }
        }
    }

    /// Drops a slot that nobody counts on; whether it is gone.
    pub(super) fn drop_unused(&self, ino: InodeNo) -> bool {
        let mut shard = self.shard(ino).lock();
        match shard.entry(ino.0) {
            Entry::Occupied(used) if used.get().count == 0 => {
                used.remove();
                true
            }
            Entry::Occupied(_) => false,
            Entry::Vacant(_) => true,
        }
    }

    /// Notes whether an inode has a name; whether somebody uses it.
    pub(super) fn set_unnamed(&self, ino: InodeNo, unnamed: bool) -> bool {
        match self.shard(ino).lock().get_mut(&ino.0) {
            Some(used) => {
                used.unnamed = unnamed;
                used.count > 0
            }
            None => false,
        }
    }

    pub(super) fn with<R>(&self, ino: InodeNo, f: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.shard(ino).lock().get_mut(&ino.0).map(|used| f(&mut used.slot))
    }

    /// Inodes whose times are newer than the disk's, of one shard; `None` behind the last.
    pub(super) fn dirty(&self, shard: usize) -> Option<Vec<InodeNo>> {
        let shard = self.shards.get(shard)?.lock();
        let dirty = shard.iter().filter(|(_, used)| used.slot.times_dirty != 0);
        Some(dirty.map(|(ino, _)| InodeNo(*ino)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Every inode that is in use and has no name.
    pub(super) fn unnamed(&self) -> Vec<InodeNo> {
        let of = |shard: &Mutex<FxHashMap<u64, Used>>| {
            let shard = shard.lock();
            shard.iter().filter(|(_, used)| used.unnamed).map(|(ino, _)| InodeNo(*ino)).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }
}
