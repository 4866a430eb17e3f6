//! How often what happened. Only what is rare, or costs far more than counting it.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        /// What a mount counted since it began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counted {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(super) fn read(&self) -> Counted {
                Counted { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Attempts that ended in a wait.
    restarts,
    /// Waits for blocks.
    block_waits,
    /// Attempts that found too few log credits.
    log_waits,
    /// Operations that waited for log credits before an attempt.
    credit_waits,
    /// Waits for a batch to be durable.
    batch_waits,
    /// Waits for space.
    space_waits,
    /// Attempts that found that something changed while locks were taken in order.
    agains,
    /// Operations that were restarted so often that they ran alone.
    alone,
    /// Operations that failed even so.
    exhausted,
    /// Entries that panicked.
    panics,
    /// Batches written to the log.
    commits,
    /// Home writes completed, with a new tail.
    checkpoints,
    /// Calls of fsync, fdatasync and syncfs.
    fsyncs,
    /// Waits for a batch that another thread wrote.
    rides,
    /// Upgrades that took place.
    upgrades,
}
