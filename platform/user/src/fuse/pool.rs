//! The worker threads: one leads, the others rest or work.
//!
//! The leader holds the *baton*: the right to read from the device. It serves what it reads itself, so with one
//! client the same thread (and CPU, and cache) does everything, in two system calls a request. It passes the
//! baton on before it serves only if more requests wait, or when the handler is about to sleep. Those at rest
//! are called last-in first-out, so that the warm ones work and the others stay asleep: two readers blocked
//! on one device alternate, and cost a fifth.
//!
//! At most `cpus` threads compute; those asleep in a handler do not count, up to `threads` in all.
//!
//! # Locking
//!
//! One mutex, taken when the baton changes hands, never by a leader that keeps it. Nothing is called under it
//! but the spawning of a thread.

use super::conn::End;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// What a worker that served without the baton was doing; it is counted until it reports back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Computing,
    Sleeping,
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Baton {
    Free,
    Held,
}

/// A thread at rest. `called` comes with the baton, unless the pool has ended.
struct Seat {
    thread: Thread,
    called: AtomicBool,
}

impl Seat {
    fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

struct State {
    phase: Phase,
    baton: Baton,
    resting: Vec<Arc<Seat>>,
    computing: usize,
    sleeping: usize,
    threads: Vec<JoinHandle<()>>,
}

impl State {
    fn load(&mut self, load: Load) -> &mut usize {
        match load {
            Load::Computing => &mut self.computing,
            Load::Sleeping => &mut self.sleeping,
        }
    }

    fn is_drained(&self) -> bool {
        self.baton == Baton::Free && self.computing == 0 && self.sleeping == 0
    }
}

pub(super) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a leader must look at the phase before it reads again.
    attention: AtomicBool,
    cpus: usize,
    most_threads: usize,
}

impl Pool {
    pub(super) fn new(cpus: usize, most_threads: usize) -> Self {
        let state = State {
            phase: Phase::Serving,
            baton: Baton::Free,
            resting: Vec::new(),
            computing: 0,
            sleeping: 0,
            threads: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            attention: AtomicBool::new(false),
            cpus: cpus.max(1),
            most_threads: most_threads.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether passing the baton on for the sake of a queue can help at all.
    pub(super) fn is_parallel(&self) -> bool {
        self.cpus > 1
    }

    pub(super) fn needs_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// Gives the free baton to someone: a thread at rest, or a new one. Stays free if there is nobody; the next
    /// worker that reports back takes it.
    fn pass(&self, state: &mut State, spawn: &dyn Fn() -> io::Result<JoinHandle<()>>) -> io::Result<()> {
        if state.phase != Phase::Serving || state.baton == Baton::Held || state.computing >= self.cpus {
            return Ok(());
        }
        if let Some(seat) = state.resting.pop() {
            state.baton = Baton::Held;
            seat.call();
        } else if state.threads.len() < self.most_threads {
            state.threads.push(spawn()?);
            state.baton = Baton::Held;
        }
        Ok(())
    }

    /// Starts the first worker.
    pub(super) fn start(&self, spawn: &dyn Fn() -> io::Result<JoinHandle<()>>) -> io::Result<()> {
        self.pass(&mut self.lock(), spawn)
    }

    /// The leader lets go of the baton, and goes on to serve.
    pub(super) fn hand_over(&self, load: Load, spawn: &dyn Fn() -> io::Result<JoinHandle<()>>) {
        let mut state = self.lock();
        state.baton = Baton::Free;
        *state.load(load) += 1;
        // A thread that cannot be made is no error: the baton is free, and this worker comes back for it.
        let _ = self.pass(&mut state, spawn);
    }

    /// A worker without the baton is about to sleep: its CPU is free for another.
    pub(super) fn fall_asleep(&self, spawn: &dyn Fn() -> io::Result<JoinHandle<()>>) {
        let mut state = self.lock();
        state.computing = state.computing.saturating_sub(1);
        state.sleeping += 1;
        let _ = self.pass(&mut state, spawn);
    }

    /// A worker without the baton has answered. Returns when it is to lead, or to go.
    pub(super) fn report_back(&self, load: Load) -> Next {
        let mut state = self.lock();
        let count = state.load(load);
        *count = count.saturating_sub(1);
        if state.phase == Phase::Serving && state.baton == Baton::Free {
            state.baton = Baton::Held;
            return Next::Lead;
        }
        self.rest(state)
    }

    /// The leader found [`needs_attention`](Self::needs_attention) set, between two requests.
    pub(super) fn stand_down(&self) -> Next {
        let mut state = self.lock();
        if state.phase == Phase::Serving {
            return Next::Lead;
        }
        state.baton = Baton::Free;
        self.rest(state)
    }

    fn rest(&self, mut state: MutexGuard<'_, State>) -> Next {
        if matches!(state.phase, Phase::Ended(_)) {
            return Next::Exit;
        }
        let seat = Arc::new(Seat { thread: std::thread::current(), called: AtomicBool::new(false) });
        state.resting.push(Arc::clone(&seat));
        drop(state);
        self.changed.notify_all();
        while !seat.called.load(Ordering::Acquire) {
            std::thread::park();
        }
        if matches!(self.lock().phase, Phase::Ended(_)) { Next::Exit } else { Next::Lead }
    }

    /// Nothing more is to be served. The first reason counts.
    pub(super) fn end(&self, reason: End) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(reason);
        }
        self.attention.store(true, Ordering::Release);
        for seat in state.resting.drain(..) {
            seat.call();
        }
        self.changed.notify_all();
    }

    /// Asks for a pause; from now on nobody but a leader that is in read(2) already reads.
    pub(super) fn request_pause(&self) -> Result<(), End> {
        let mut state = self.lock();
        if let Phase::Ended(end) = state.phase {
            return Err(end);
        }
        state.phase = Phase::Paused;
        self.attention.store(true, Ordering::Release);
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
            if state.is_drained() {
                return Ok(true);
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Ok(false) };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a pause.
    pub(super) fn resume(&self, spawn: &dyn Fn() -> io::Result<JoinHandle<()>>) -> io::Result<()> {
        let mut state = self.lock();
        if state.phase != Phase::Paused {
            return Ok(());
        }
        state.phase = Phase::Serving;
        self.attention.store(false, Ordering::Release);
        self.pass(&mut state, spawn)
    }

    /// Waits for the end, and for every worker.
    pub(super) fn join(&self) -> End {
        let mut state = self.lock();
        let end = loop {
            if let Phase::Ended(end) = state.phase {
                break end;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
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
