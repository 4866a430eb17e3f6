//! Locks that are known by a number. A guard owns its lock, so a call can note it without a lifetime.
//!
//! # Locking
//! A shard's mutex is held only to look a lock up. The locks themselves let a waiting writer go before later
//! readers.
use super::shards::Shards;
use bento_api::{InodeNo, Mode};
use parking_lot::{ArcRwLockReadGuard, ArcRwLockWriteGuard, RawRwLock, RwLock};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Idle locks that a shard keeps before it looks for some to drop.
const IDLE: usize = 32;

struct Shard {
    locks: FxHashMap<u64, Arc<RwLock<()>>>,
    /// How many locks there may be before the next sweep.
    sweep_at: usize,
    /// Locks that a sweep found idle, for numbers to come.
    spare: Vec<Arc<RwLock<()>>>,
}

impl Default for Shard {
    fn default() -> Self {
        Self { locks: FxHashMap::default(), sweep_at: IDLE, spare: Vec::new() }
    }
}

/// Shared-exclusive locks, one for every number that somebody uses.
#[derive(Default)]
pub struct Locks {
    shards: Shards<Shard>,
}

/// A lock that is held.
#[allow(dead_code, reason = "the guards are kept to be dropped")]
pub(super) enum Guard {
    Shared(ArcRwLockReadGuard<RawRwLock, ()>),
    Exclusive(ArcRwLockWriteGuard<RawRwLock, ()>),
}

/// The lock of an inode's data, held.
#[allow(dead_code, reason = "the guard is kept to be dropped")]
pub struct DataGuard(pub(super) Guard);

impl Guard {
    /// Whether it allows what this mode would.
    pub(super) fn covers(&self, mode: Mode) -> bool {
        matches!(self, Self::Exclusive(_)) || mode == Mode::Shared
    }
}

impl Locks {
    fn of(&self, ino: InodeNo) -> Arc<RwLock<()>> {
        let mut shard = self.shards.of(ino.0).lock();
        let Shard { locks, sweep_at, spare } = &mut *shard;
        if locks.len() >= *sweep_at {
            // Who holds or wants a lock has a clone of it, taken under this mutex.
            let idle = locks.extract_if(|_, lock| Arc::strong_count(lock) == 1);
            spare.extend(idle.map(|(_, lock)| lock));
            spare.truncate(IDLE);
            *sweep_at = IDLE.max(2 * locks.len());
        }
        locks.entry(ino.0).or_insert_with(|| spare.pop().unwrap_or_default()).clone()
    }

    /// Locks, waiting.
    pub(super) fn lock(&self, ino: InodeNo, mode: Mode) -> Guard {
        let lock = self.of(ino);
        match mode {
            Mode::Shared => Guard::Shared(lock.read_arc()),
            Mode::Exclusive => Guard::Exclusive(lock.write_arc()),
        }
    }

    /// Locks if nobody has to be waited for.
    pub(super) fn try_lock(&self, ino: InodeNo, mode: Mode) -> Option<Guard> {
        let lock = self.of(ino);
        match mode {
            Mode::Shared => lock.try_read_arc().map(Guard::Shared),
            Mode::Exclusive => lock.try_write_arc().map(Guard::Exclusive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_numbers_never_share_a_lock() {
        let locks = Locks::default();
        let guards: Vec<_> = (0..20_000).map(|n| locks.lock(InodeNo(n), Mode::Exclusive)).collect();
        assert!((0..20_000).all(|n| locks.try_lock(InodeNo(n), Mode::Shared).is_none()));
        drop(guards);
        assert!((0..20_000).all(|n| locks.try_lock(InodeNo(n), Mode::Exclusive).is_some()));
        let kept: usize = locks.shards.iter().map(|shard| shard.lock().locks.len()).sum();
        assert!(kept <= 40_000, "{kept}");
    }

    #[test]
    fn a_held_lock_survives_a_sweep() {
        let locks = Locks::default();
        let held = locks.lock(InodeNo(7), Mode::Shared);
        (100..100_000).for_each(|n| drop(locks.lock(InodeNo(n), Mode::Exclusive)));
        assert!(locks.try_lock(InodeNo(7), Mode::Exclusive).is_none());
        assert!(locks.try_lock(InodeNo(7), Mode::Shared).is_some());
        assert!(held.covers(Mode::Shared) && !held.covers(Mode::Exclusive));
    }
}
