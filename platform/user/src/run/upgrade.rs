//! Replacing the code under a running mount.
//!
//! The gate closes with a budget; if operations do not drain, it opens again, and everything stays as it was. Between
//! closing and opening the old version exports, the new one imports, and one pointer changes. State stays in the
//! containers: caches warm, batches in flight, placements open.
use super::{Core, Mount};
use bento_api::envelope::Refused;
use bento_api::limits::ENVELOPE;
use hdrhistogram::Histogram;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long an upgrade may keep calls out, and how often it tries.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How long the gate stays closed at most while calls drain.
    pub closed: Duration,
    /// How often it is closed.
    pub tries: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { closed: Duration::from_micros(300), tries: 2000 }
    }
}

/// How an upgrade went.
#[derive(Clone, Copy, Debug)]
pub struct Upgraded {
    /// How long the gate was closed for the change itself.
    pub closed: Duration,
    /// Times that calls did not drain in time before.
    pub refusals: u32,
    /// From the first try to the end.
    pub total: Duration,
    /// Bytes that were handed over.
    pub handed_over: usize,
}

/// Why an upgrade did not take place. The old version serves on.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// One of the versions refused.
    #[error("the upgrade was refused: {0}")]
    Refused(Refused),
    /// Operations did not drain in time.
    #[error("operations did not drain within {closed:?}, {tries} times")]
    Busy {
        /// The budget of one try.
        closed: Duration,
        /// The tries.
        tries: u32,
    },
    /// The journal failed: there is nothing that a new version could go on with.
    #[error("the mount was shut down after an error; unmount it and run fsck.bento")]
    ShutDown,
    /// The new version panicked while it imported.
    #[error("the new version failed to start")]
    Panicked,
}

/// How long calls were kept out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pauses {
    /// Times that the gate was closed.
    pub count: u64,
    /// The middle one.
    pub median: Duration,
    /// All but a hundredth were shorter.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

pub(super) struct PauseLog(Histogram<u64>);

impl Default for PauseLog {
    fn default() -> Self {
        let nanoseconds = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Self(nanoseconds.expect("the bounds are right"))
    }
}

impl PauseLog {
    fn add(&mut self, pause: Duration) {
        self.0.saturating_record(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    fn read(&self) -> Pauses {
        let at = |quantile| Duration::from_nanos(self.0.value_at_quantile(quantile));
        let max = Duration::from_nanos(self.0.max());
        Pauses { count: self.0.len(), median: at(0.5), p99: at(0.99), max }
    }
}

/// Lets this thread's short sleeps be short for as long as it lives.
struct ShortNaps(Option<NonZeroU64>);

impl ShortNaps {
    fn new() -> Self {
        let before = rustix::thread::current_timer_slack().ok().and_then(NonZeroU64::new);
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
        Self(before)
    }
}

impl Drop for ShortNaps {
    fn drop(&mut self) {
        let _ = rustix::thread::set_current_timer_slack(self.0);
    }
}

impl Mount {
    /// Replaces the file system by what `import` makes of the old one's envelope. `import` runs while calls are kept out:
    /// whatever can be done before belongs before.
    pub fn upgrade(
        &self,
        budget: Budget,
        import: impl FnOnce(&[u8]) -> Result<Core, Refused>,
    ) -> Result<Upgraded, UpgradeError> {
        let _one = self.upgrading.lock();
        if self.containers.is_shut_down() || self.containers.is_poisoned() {
            return Err(UpgradeError::ShutDown);
        }
        let (mut envelope, _naps) = (vec![0; ENVELOPE], ShortNaps::new());
        let started = Instant::now();
        for refusals in 0..budget.tries {
            let closing = Instant::now();
            let Some(closed) = self.gate.close(Some(budget.closed)) else {
                self.pauses.lock().add(closing.elapsed());
                std::thread::sleep(budget.closed.saturating_mul(3));
                continue;
            };
            let outcome = self.replace(&mut envelope, import);
            drop(closed);
            let closed = closing.elapsed();
            self.pauses.lock().add(closed);
            let (handed_over, old) = outcome?;
            drop(old); // after the gate opened: nobody waits for it
            self.counters.upgrades.add();
            return Ok(Upgraded { closed, refusals, total: started.elapsed(), handed_over });
        }
        Err(UpgradeError::Busy { closed: budget.closed, tries: budget.tries })
    }

    /// The change itself, while nobody is inside.
    fn replace(
        &self,
        envelope: &mut [u8],
        import: impl FnOnce(&[u8]) -> Result<Core, Refused>,
    ) -> Result<(usize, Arc<Core>), UpgradeError> {
        let both = catch_unwind(AssertUnwindSafe(|| {
            let len = self.core.load().export(envelope)?;
            let new = import(envelope.get(..len).ok_or(Refused::TooLarge)?)?;
            Ok((len, new))
        }));
        let (len, new) = both.map_err(|_| UpgradeError::Panicked)?.map_err(UpgradeError::Refused)?;
        let old = self.core.swap(Arc::new(new));
        self.panicked.store(false, SeqCst);
        self.takeovers.fetch_add(1, SeqCst);
        Ok((len, old))
    }

    /// How long calls were kept out by upgrades so far.
    pub fn pauses(&self) -> Pauses {
        self.pauses.lock().read()
    }
}
