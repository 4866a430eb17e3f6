//! The worker threads: some lead, the others rest, or sleep inside a handler.
//!
//! A leader reads from the device and serves what it reads itself. With one client there is one leader, so
//! the same thread (and CPU, and cache) does everything, in two system calls a request. It calls another one
//! up only when more requests wait than it can read, and that one retires when this has not been so for a
//! while: two readers blocked on one device alternate, and cost a fifth. A handler that is about to sleep stops
//! leading; if nobody else leads, someone takes its place. Those at rest are called last-in first-out, so
//! that the warm ones work.
//!
//! At most `cpus` threads lead; those asleep in a handler come on top, up to `threads` in all. If there is
//! nobody left to lead, requests wait in the kernel until a sleeper is back.
//!
//! # Locking
//!
//! One mutex, taken when the number of leaders changes, never by one who goes on leading. Nothing is called
//! under it but the spawning of a thread. Who is called up is woken behind it: it would only wait for the mutex, and a
//! wake-up that finds nobody to wake is a system call all the same, so nobody is woken who has nothing to look for.

use super::conn::End;
use crate::sys::ThreadId;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long to give leaders that were woken before waking them once more.
const WAKE_AGAIN: Duration = Duration::from_micros(500);

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Lead,
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Paused,
    Ended(End),
}

/// One worker, as the others see it.
#[derive(Default)]
pub(super) struct Seat {
    thread: OnceLock<Thread>,
    /// It is to get up: to lead, or because the pool has ended.
    called: AtomicBool,
    /// Its thread while that is in read(2), or close to it; 0 otherwise.
    reading: AtomicU32,
}

impl Seat {
    /// The worker's first act.
    pub(super) fn take(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    fn call(&self) {
        self.called.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn wait_for_call(&self) {
        while !self.called.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }

    /// The worker has read.
    pub(super) fn end_reading(&self) {
        self.reading.store(0, Ordering::Release);
    }
}

struct State {
    phase: Phase,
    leaders: usize,
    sleeping: usize,
    seats: Vec<Arc<Seat>>,
    resting: Vec<Arc<Seat>>,
    threads: Vec<JoinHandle<()>>,
}

/// Makes a worker for a seat; it begins as a leader.
pub(super) type Spawn<'a> = &'a dyn Fn(Arc<Seat>) -> io::Result<JoinHandle<()>>;

pub(super) struct Pool {
    state: Mutex<State>,
    /// Somebody who leads or sleeps no longer does, for who waits for a pause.
    stood_down: Condvar,
    /// The pool has ended.
    ended: Condvar,
    /// Whether leaders must look at the phase before they read again.
    attention: AtomicBool,
    /// As in `State`, to be read without the lock.
    leaders: AtomicUsize,
    cpus: usize,
    most_threads: usize,
}

impl Pool {
    pub(super) fn new(cpus: usize, most_threads: usize) -> Self {
        let state = State {
            phase: Phase::Serving,
            leaders: 0,
            sleeping: 0,
            seats: Vec::new(),
            resting: Vec::new(),
            threads: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            stood_down: Condvar::new(),
            ended: Condvar::new(),
            attention: AtomicBool::new(false),
            leaders: AtomicUsize::new(0),
            cpus: cpus.max(1),
            most_threads: most_threads.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_leaders(&self, state: &mut State, leaders: usize) {
        state.leaders = leaders;
        self.leaders.store(leaders, Ordering::Relaxed);
    }

    /// One more leader, if there may be one and somebody is free: at rest, or not born yet.
    fn add_leader(&self, mut state: MutexGuard<'_, State>, spawn: Spawn<'_>) -> io::Result<()> {
        if state.phase != Phase::Serving || state.leaders >= self.cpus {
            return Ok(());
        }
        let rested = state.resting.pop();
        if rested.is_none() {
            if state.threads.len() >= self.most_threads {
                return Ok(());
            }
            let seat = Arc::<Seat>::default();
            state.threads.push(spawn(Arc::clone(&seat))?);
            state.seats.push(seat);
        }
        let leaders = state.leaders + 1;
        self.set_leaders(&mut state, leaders);
        drop(state);
        if let Some(seat) = rested {
            seat.call();
        }
        Ok(())
    }

    /// Starts the first worker.
    pub(super) fn start(&self, spawn: Spawn<'_>) -> io::Result<()> {
        self.add_leader(self.lock(), spawn)
    }

    /// Whether another leader would be allowed.
    pub(super) fn may_recruit(&self) -> bool {
        self.leaders.load(Ordering::Relaxed) < self.cpus
    }

    /// A leader found more requests than its own.
    pub(super) fn recruit(&self, spawn: Spawn<'_>) {
        // That a thread cannot be made is no error: those that exist serve everything, only later.
        let _ = self.add_leader(self.lock(), spawn);
    }

    /// Whether a leader is not the only one.
    pub(super) fn is_crowded(&self) -> bool {
        self.leaders.load(Ordering::Relaxed) > 1
    }

    /// A leader has found nothing more to do than others can do. Returns when it is to lead again, or to go.
    pub(super) fn retire(&self, seat: &Arc<Seat>) -> Next {
        let mut state = self.lock();
        if state.phase == Phase::Serving && state.leaders <= 1 {
            return Next::Lead;
        }
        let leaders = state.leaders.saturating_sub(1);
        self.set_leaders(&mut state, leaders);
        self.rest(state, seat)
    }

    /// A leader is about to sleep inside the handler.
    pub(super) fn fall_asleep(&self, spawn: Spawn<'_>) {
        let mut state = self.lock();
        let leaders = state.leaders.saturating_sub(1);
        self.set_leaders(&mut state, leaders);
        state.sleeping += 1;
        if leaders == 0 {
            let _ = self.add_leader(state, spawn);
        }
    }

    /// A sleeper has answered. Returns when it is to lead, or to go.
    pub(super) fn wake_up(&self, seat: &Arc<Seat>) -> Next {
        let mut state = self.lock();
        state.sleeping = state.sleeping.saturating_sub(1);
        if state.phase == Phase::Serving && state.leaders == 0 {
            self.set_leaders(&mut state, 1);
            return Next::Lead;
        }
        self.rest(state, seat)
    }

    fn rest(&self, mut state: MutexGuard<'_, State>, seat: &Arc<Seat>) -> Next {
        if matches!(state.phase, Phase::Ended(_)) {
            return Next::Exit;
        }
        state.resting.push(Arc::clone(seat));
        if state.phase == Phase::Paused {
            self.stood_down.notify_all();
        }
        drop(state);
        seat.wait_for_call();
        let is_over = self.attention.load(Ordering::SeqCst) && matches!(self.lock().phase, Phase::Ended(_));
        if is_over { Next::Exit } else { Next::Lead }
    }

    /// A leader is about to read. `false` if it must [`stand_down`](Self::stand_down) instead.
    ///
    /// It says so before it looks at `attention`, and a pauser sets `attention` before it looks at `reading`:
    /// whatever the order, one sees the other.
    pub(super) fn begin_reading(&self, seat: &Seat, thread: ThreadId) -> bool {
        seat.reading.store(thread.raw(), Ordering::SeqCst);
        let go = !self.attention.load(Ordering::SeqCst);
        if !go {
            seat.end_reading();
        }
        go
    }

    /// A leader was told not to read, between two requests.
    pub(super) fn stand_down(&self, seat: &Arc<Seat>) -> Next {
        let mut state = self.lock();
        if state.phase == Phase::Serving {
            return Next::Lead;
        }
        let leaders = state.leaders.saturating_sub(1);
        self.set_leaders(&mut state, leaders);
        self.rest(state, seat)
    }

    /// Nothing more is to be served. The first reason counts.
    pub(super) fn end(&self, reason: End) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(reason);
        }
        self.attention.store(true, Ordering::SeqCst);
        for seat in state.resting.drain(..) {
            seat.call();
        }
        self.stood_down.notify_all();
        self.ended.notify_all();
    }

    /// Asks for a pause; from now on nobody but leaders that are in read(2) already reads. What those read is
    /// served before they stand down.
    pub(super) fn request_pause(&self) -> Result<(), End> {
        let mut state = self.lock();
        if let Phase::Ended(end) = state.phase {
            return Err(end);
        }
        state.phase = Phase::Paused;
        self.attention.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Waits until no request is between its read and its reply; whether that came to pass in time.
    pub(super) fn wait_drained(&self, budget: Duration) -> Result<bool, End> {
        let until = Instant::now() + budget;
        let mut state = self.lock();
        loop {
            if let Phase::Ended(end) = state.phase {
                return Err(end);
            }
            if state.leaders == 0 && state.sleeping == 0 {
                return Ok(true);
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Ok(false) };
            // The signal may arrive just before read(2), and be lost: hence again and again.
            for seat in &state.seats {
                if let Some(thread) = ThreadId::from_raw(seat.reading.load(Ordering::SeqCst)) {
                    thread.wake();
                }
            }
            let wait = left.min(WAKE_AGAIN);
            state = self.stood_down.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a pause.
    pub(super) fn resume(&self, spawn: Spawn<'_>) -> io::Result<()> {
        let mut state = self.lock();
        if state.phase != Phase::Paused {
            return Ok(());
        }
        state.phase = Phase::Serving;
        self.attention.store(false, Ordering::SeqCst);
        if state.leaders == 0 { self.add_leader(state, spawn) } else { Ok(()) }
    }

    /// Waits for the end, and for every worker.
    pub(super) fn join(&self) -> End {
        let mut state = self.lock();
        let end = loop {
            if let Phase::Ended(end) = state.phase {
                break end;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            // A worker that panicked outside the handler has said so on stderr; there is nothing to add.
            let _ = thread.join();
        }
        end
    }
}
