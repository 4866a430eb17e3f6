//! Free blocks of the host's device, in zones with a lock each, so that files do not queue behind each other.
use bento_api::Errno;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ZONES: u64 = 16;

/// The free runs of one part of the device, start to length; they never touch each other.
#[derive(Debug, Default)]
struct Zone {
    runs: BTreeMap<u64, u64>,
    /// Where the last search ended: what is written together lies together.
    hint: u64,
}

impl Zone {
    fn take(&mut self, most: u64) -> Option<(u64, u64)> {
        let (&start, &len) = self.runs.range(self.hint..).next().or_else(|| self.runs.iter().next())?;
        let taken = len.min(most);
        self.runs.remove(&start);
        if len > taken {
            self.runs.insert(start + taken, len - taken);
        }
        self.hint = start + taken;
        Some((start, taken))
    }

    fn give(&mut self, mut start: u64, mut len: u64) {
        if let Some((&before, &blocks)) = self.runs.range(..start).next_back()
            && before + blocks == start
        {
            start = before;
            len += blocks;
        }
        if let Some(blocks) = self.runs.remove(&(start + len)) {
            len += blocks;
        }
        self.runs.insert(start, len);
    }
}

/// The free space.
#[derive(Debug)]
pub(crate) struct Space {
    zones: Vec<Mutex<Zone>>,
    zone_blocks: u64,
    total: u64,
    free: AtomicU64,
}

impl Space {
    /// All blocks of a device but its first, which stays unused: no block has the number 0.
    pub(crate) fn new(blocks: u64) -> Self {
        let zone_blocks = blocks.div_ceil(ZONES).max(1);
        let zones = (0..ZONES).map(|zone| {
            let start = (zone * zone_blocks).max(1);
            let end = ((zone + 1) * zone_blocks).min(blocks);
            let runs = if start < end { BTreeMap::from([(start, end - start)]) } else { BTreeMap::new() };
            Mutex::new(Zone { runs, hint: 0 })
        });
        let total = blocks.saturating_sub(1);
        Self { zones: zones.collect(), zone_blocks, total, free: AtomicU64::new(total) }
    }

    /// Blocks in all, and free ones.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.total, self.free.load(Relaxed))
    }

    /// Takes up to `most` blocks that lie side by side, for the file `ino`.
    pub(crate) fn take(&self, ino: u64, most: u64) -> Result<(u64, u64), Errno> {
        let count = self.zones.len();
        let first = usize::try_from(ino % ZONES).unwrap_or(0);
        let found = (0..count).find_map(|step| self.zones.get((first + step) % count)?.lock().take(most));
        let (start, blocks) = found.ok_or(Errno::NoSpace)?;
        self.free.fetch_sub(blocks, Relaxed);
        Ok((start, blocks))
    }

    /// Gives a run back; what was taken at once lies in one zone, what was joined later may not.
    pub(crate) fn give(&self, mut start: u64, mut blocks: u64) {
        self.free.fetch_add(blocks, Relaxed);
        while blocks > 0 {
            let zone = start / self.zone_blocks;
            let here = blocks.min((zone + 1) * self.zone_blocks - start);
            if let Some(zone) = usize::try_from(zone).ok().and_then(|zone| self.zones.get(zone)) {
                zone.lock().give(start, here);
            }
            start += here;
            blocks -= here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_was_taken_can_be_given_back_and_taken_again() {
        let space = Space::new(1000);
        for _ in 0..2 {
            let mut runs = Vec::new();
            while let Ok(run) = space.take(3, 7) {
                runs.push(run);
            }
            assert_eq!(space.counts(), (999, 0));
            let mut blocks: Vec<_> = runs.iter().flat_map(|(at, len)| *at..at + len).collect();
            blocks.sort_unstable();
            assert_eq!(blocks, (1..1000).collect::<Vec<_>>());
            runs.into_iter().for_each(|(at, len)| space.give(at, len));
            assert_eq!(space.counts(), (999, 999));
        }
    }

    #[test]
    fn a_run_over_the_border_of_two_zones_goes_back_to_both() {
        let space = Space::new(160);
        while space.take(0, 10).is_ok() {}
        space.give(5, 20);
        assert_eq!(space.take(0, 100), Ok((5, 5)));
        assert_eq!(space.take(1, 100), Ok((10, 10)));
        assert_eq!(space.take(2, 100), Ok((20, 5)));
    }
}
