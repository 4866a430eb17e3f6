//! Panics that a test seeds, one at a time, each at a place of its own. Only the module of the tests has them compiled in.

/// Where a panic is seeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In an operation, before it holds anything.
    Operation,
    /// The same, by arithmetic.
    Overflow,
    /// The same, with a message that panics when it is formatted.
    Message,
    /// With an inode locked.
    Lock,
    /// Under a block's latch.
    Latch,
    /// Under a slot's lock.
    Slot,
    /// Under a group's lock.
    Group,
    /// After joining the batch, before the first change.
    Join,
    /// In the middle of a merge, under a block's latch.
    Merge,
    /// In a step of the journal.
    Drive,
    /// With the journal's state locked.
    Journal,
    /// While a volume is mounted.
    Mount,
    /// While the state is handed over.
    Export,
    /// While it is taken over.
    Import,
    /// While it is taken over: not a panic, but a refusal.
    Refuse,
}

#[cfg(not(feature = "faults"))]
mod seeded {
    /// No fault is ever seeded here.
    #[inline(always)]
    pub(crate) fn is_seeded(_: super::Place) -> bool {
        false
    }

    /// Panics where a test wants it.
    #[inline(always)]
    pub(crate) fn reach(_: super::Place) {}
}

#[cfg(feature = "faults")]
mod seeded {
    use super::Place;
    use core::fmt::{Display, Formatter, Result};
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU32, Ordering};

    static SEEDED: AtomicU32 = AtomicU32::new(0);

    const PLACES: &[(&str, Place)] = &[
        ("operation", Place::Operation),
        ("overflow", Place::Overflow),
        ("message", Place::Message),
        ("lock", Place::Lock),
        ("latch", Place::Latch),
        ("slot", Place::Slot),
        ("group", Place::Group),
        ("join", Place::Join),
        ("merge", Place::Merge),
        ("drive", Place::Drive),
        ("journal", Place::Journal),
        ("mount", Place::Mount),
        ("export", Place::Export),
        ("import", Place::Import),
        ("refuse", Place::Refuse),
    ];

    /// Seeds the next fault by the name of its place; no name takes it back. False if there is no such place.
    pub fn seed(name: &[u8]) -> bool {
        let place = PLACES.iter().find(|(known, _)| known.as_bytes() == name);
        let wanted = place.map_or(0, |(_, place)| *place as u32 + 1);
        SEEDED.store(wanted, Ordering::SeqCst);
        wanted != 0 || name.is_empty()
    }

    /// Whether the seeded fault is at this place; it is used up then.
    pub(crate) fn is_seeded(place: Place) -> bool {
        let wanted = place as u32 + 1;
        SEEDED.load(Ordering::Relaxed) == wanted
            && SEEDED.compare_exchange(wanted, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    struct Unspeakable;

    impl Display for Unspeakable {
        fn fmt(&self, _: &mut Formatter<'_>) -> Result {
            panic!("{Unspeakable}")
        }
    }

    /// Panics where a test wants it.
    pub(crate) fn reach(place: Place) {
        if !is_seeded(place) {
            return;
        }
        match place {
            Place::Overflow => _ = black_box(black_box(u32::MAX) + 1),
            Place::Message => panic!("{Unspeakable}"),
            place => panic!("seeded: {place:?}"),
        }
    }
}

#[cfg(feature = "faults")]
pub use seeded::seed;
pub(crate) use seeded::{is_seeded, reach};
