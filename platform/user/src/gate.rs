//! A door that many threads pass at once, and that one can close.
//!
//! Used twice: around every entry, for upgrades (with a budget), and around the merge, for sealing a batch. Each
//! passage touches one counter of its own lane; whoever closes the gate walks over all lanes.
//!
//! A call that was restarted too often runs *alone*: other calls wait outside, while the journal's driver still
//! passes, since the lonely call may have to wait for it.
//!
//! # Locking
//! Nothing is taken under the gate's own mutexes. Who waits at a closed gate must hold nothing that those inside, or
//! the closer, could need.
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

/// Counters that threads are spread over.
pub const LANES: usize = 64;
const CLOSED: u32 = 1;
const ALONE: u32 = 2;
/// Looks at the lanes before the closer sleeps.
const SPINS: u32 = 200;
/// How long the closer sleeps, so that those inside can run.
const NAP: Duration = Duration::from_micros(8);

/// Shares no cache line with its neighbours, nor the pair of lines that processors fetch together.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct Apart<T>(pub(crate) T);

/// Who wants to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// An operation.
    Call,
    /// The journal's driver, or the call that runs alone.
    Driver,
}

impl Who {
    const fn stopped_by(self) -> u32 {
        match self {
            Self::Call => CLOSED | ALONE,
            Self::Driver => CLOSED,
        }
    }
}

/// The gate.
pub struct Gate {
    state: AtomicU32,
    lanes: Box<[Apart<AtomicUsize>]>,
    sleepers: AtomicU32,
    door: Mutex<()>,
    opened: Condvar,
    closer: Mutex<()>,
    loner: Mutex<()>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(0),
            lanes: (0..LANES).map(|_| Apart::default()).collect(),
            sleepers: AtomicU32::new(0),
            door: Mutex::default(),
            opened: Condvar::new(),
            closer: Mutex::default(),
            loner: Mutex::default(),
        }
    }
}

/// A stay inside.
pub struct Inside<'g> {
    gate: &'g Gate,
    lane: usize,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.gate.depart(self.lane);
    }
}

/// The gate, closed and empty; dropping it opens the gate.
pub struct Closed<'g> {
    gate: &'g Gate,
    _one: MutexGuard<'g, ()>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.gate.lift(CLOSED);
    }
}

/// The right to pass alone; dropping it lets the others in.
pub struct Alone<'g> {
    gate: &'g Gate,
    _one: MutexGuard<'g, ()>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.gate.lift(ALONE);
    }
}

/// A lane for a new user of gates; neighbours get different ones.
pub fn new_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Relaxed) % LANES
}

impl Gate {
    /// Passes, if the gate is open.
    #[inline]
    pub fn try_enter(&self, lane: usize, who: Who) -> Option<Inside<'_>> {
        self.arrive(lane, who).then(|| Inside { gate: self, lane })
    }

    /// Passes, waiting for the gate to open. The caller must hold nothing: see the module's text.
    pub fn enter(&self, lane: usize, who: Who) -> Inside<'_> {
        loop {
            match self.try_enter(lane, who) {
                Some(inside) => return inside,
                None => self.wait_open(who),
            }
        }
    }

    /// Counts a passage that ends with [`Gate::depart`]; false, and nothing counted, if the gate is closed.
    #[inline]
    pub(crate) fn arrive(&self, lane: usize, who: Who) -> bool {
        let Apart(inside) = &self.lanes[lane % LANES];
        inside.fetch_add(1, SeqCst);
        if self.state.load(SeqCst) & who.stopped_by() == 0 {
            return true;
        }
        inside.fetch_sub(1, SeqCst);
        false
    }

    #[inline]
    pub(crate) fn depart(&self, lane: usize) {
        self.lanes[lane % LANES].0.fetch_sub(1, SeqCst);
    }

    /// Waits until the gate is open.
    pub fn wait_open(&self, who: Who) {
        for _ in 0..SPINS / 4 {
            if self.state.load(SeqCst) & who.stopped_by() == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        let mut door = self.door.lock();
        self.sleepers.fetch_add(1, SeqCst);
        while self.state.load(SeqCst) & who.stopped_by() != 0 {
            self.opened.wait(&mut door);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    fn lift(&self, bit: u32) {
        self.state.fetch_and(!bit, SeqCst);
        if self.sleepers.load(SeqCst) > 0 {
            // Taking the mutex waits for a sleeper that looked at the state and does not sleep yet.
            drop(self.door.lock());
            self.opened.notify_all();
        }
    }

    /// Closes the gate and waits until nobody is inside; `None`, and open again, if that takes longer than `budget`.
    pub fn close(&self, budget: Option<Duration>) -> Option<Closed<'_>> {
        let one = self.closer.lock();
        self.state.fetch_or(CLOSED, SeqCst);
        let closed = Closed { gate: self, _one: one };
        self.drained(budget).then_some(closed)
    }

    /// Keeps other calls out, and waits until none is inside.
    pub fn alone(&self) -> Alone<'_> {
        let one = self.loner.lock();
        self.state.fetch_or(ALONE, SeqCst);
        self.drained(None);
        Alone { gate: self, _one: one }
    }

    /// Waits until each lane was seen empty once: whoever was inside before the state changed has left then.
    fn drained(&self, budget: Option<Duration>) -> bool {
        let started = Instant::now();
        let mut spins = 0;
        for Apart(inside) in &self.lanes {
            while inside.load(SeqCst) != 0 {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                    continue;
                }
                if budget.is_some_and(|budget| started.elapsed() > budget) {
                    return false;
                }
                std::thread::sleep(NAP);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn nobody_is_inside_while_the_gate_is_closed() {
        let (gate, stop, busy) = (Gate::default(), AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let (gate, stop, busy) = (&gate, &stop, &busy);
                scope.spawn(move || {
                    while !stop.load(SeqCst) {
                        let _inside = gate.enter(lane / 2, Who::Call);
                        busy.fetch_add(1, SeqCst);
                        busy.fetch_sub(1, SeqCst);
                    }
                });
            }
            for _ in 0..300 {
                let closed = gate.close(None).expect("no budget");
                assert_eq!(busy.load(SeqCst), 0);
                drop(closed);
                std::thread::yield_now();
            }
            stop.store(true, SeqCst);
        });
    }

    #[test]
    fn a_gate_that_does_not_drain_in_time_opens_again() {
        let gate = Gate::default();
        let inside = gate.enter(0, Who::Call);
        assert!(gate.close(Some(Duration::from_micros(100))).is_none());
        drop(gate.try_enter(1, Who::Call).expect("it is open again"));
        drop(inside);
        assert!(gate.close(Some(Duration::from_millis(100))).is_some());
    }

    #[test]
    fn a_call_alone_keeps_calls_out_but_not_the_driver() {
        let gate = Gate::default();
        let alone = gate.alone();
        assert!(gate.try_enter(0, Who::Call).is_none());
        assert!(gate.try_enter(0, Who::Driver).is_some());
        drop(alone);
        assert!(gate.try_enter(0, Who::Call).is_some());
    }
}
