//! A mount driven by threads: the loop that enters the gate, calls the file system, leaves, waits, and calls again.
//!
//! An operation runs in *attempts*. Before each it takes log credits and pages; then it passes the gate, runs to
//! its end or to a [`Wait`], and gives back what the attempt took. Waiting happens outside the gate, with nothing held
//! but pinned blocks.
//!
//! # Locking
//! data lock of the inode -> the line for log credits -> (settling, driver) -> gate -> what an entry takes. The driver
//! lock is held around one call of `drive`, never over I/O. Who meets a closed gate gives back its credits first.
//!
//! # Crash
//! Nothing is durable before [`Mount::sync`] (or fsync) returned; what is lost in a crash is a suffix of the batches.
mod background;
mod counters;
mod data;
mod drive;
mod inodes;
mod step;
mod upgrade;

#[cfg(test)]
mod tests;

pub use background::Background;
pub use counters::Counted;
pub use data::Privileges;
pub use drive::Driven;
pub use inodes::Fsync;
pub use upgrade::{Budget, Pauses, UpgradeError, Upgraded};

use crate::containers::{Containers, UserCall};
use crate::gate::{Gate, Who};
use arc_swap::ArcSwap;
use bento_api::limits::RESTARTS;
use bento_api::{Attr, Call, Errno, FileSystem, OpKind, StatFs, Stop, Wait};
use counters::Counters;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use upgrade::PauseLog;

/// A file system that can be mounted here.
pub type Core = Box<dyn FileSystem<UserCall>>;

/// A mounted file system.
pub struct Mount {
    containers: Arc<Containers>,
    /// The live version. The gate says that nobody is in an older one.
    core: ArcSwap<Core>,
    gate: Gate,
    /// The driver's own call; its lock is the driver lock.
    driver: Mutex<UserCall>,
    counters: Counters,
    pauses: Mutex<PauseLog>,
    upgrading: Mutex<()>,
    /// An entry panicked before it joined a batch: a fresh version may take over.
    panicked: AtomicBool,
    read_only: bool,
    takeovers: AtomicU64,
    background: background::Handle,
}

/// How far an operation's search for space came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Searched {
    Nothing,
    Commit,
    Checkpoint,
}

/// What an operation went through so far.
struct History {
    attempts: u32,
    searched: Searched,
    /// Log credits that the file system asked for beyond its table.
    credits: u32,
}

impl Mount {
    /// A mount of a file system over its containers.
    pub fn new(core: Core, containers: Arc<Containers>, read_only: bool) -> Arc<Self> {
        let driver = UserCall::new(containers.clone());
        Arc::new(Self {
            containers,
            core: ArcSwap::from_pointee(core),
            gate: Gate::default(),
            driver: Mutex::new(driver),
            counters: Counters::default(),
            pauses: Mutex::default(),
            upgrading: Mutex::default(),
            panicked: AtomicBool::new(false),
            read_only,
            takeovers: AtomicU64::new(0),
            background: background::Handle::default(),
        })
    }

    /// The containers.
    pub fn containers(&self) -> &Arc<Containers> {
        &self.containers
    }

    /// A call for one thread, to be used for one operation after the other.
    pub fn call(&self) -> UserCall {
        UserCall::new(self.containers.clone())
    }

    /// Whether nothing may be changed.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Looks at the live version.
    pub fn with_core<R>(&self, f: impl FnOnce(&dyn FileSystem<UserCall>) -> R) -> R {
        f(&***self.core.load())
    }

    /// How many versions took over since the mount began.
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(SeqCst)
    }

    /// statfs(2), from the counters.
    pub fn statfs(&self) -> StatFs {
        self.with_core(|fs| fs.statfs(&self.containers.totals()))
    }

    /// How often what happened.
    pub fn counters(&self) -> Counted {
        self.counters.read()
    }

    /// Runs one operation to its end.
    ///
    /// `op` is called once for each attempt, with the same arguments each time.
    pub fn run<R>(
        &self,
        call: &mut UserCall,
        kind: OpKind,
        mut op: impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<R, Errno> {
        call.begin();
        let reply = self.attempts(call, kind, &mut op);
        call.give_back_credits();
        reply
    }

    fn attempts<R>(
        &self,
        call: &mut UserCall,
        kind: OpKind,
        op: &mut impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<R, Errno> {
        let mut history = History { attempts: 0, searched: Searched::Nothing, credits: 0 };
        let mut alone = None;
        loop {
            let who = if alone.is_some() { Who::Driver } else { Who::Call };
            let wait = match self.attempt(call, kind, &history, who, op)? {
                Ok(reply) => return Ok(reply),
                Err(wait) => wait,
            };
            if call.take_progress() {
                history.attempts = 0;
            }
            history.attempts += 1;
            self.counters.restarts.add();
            if history.attempts == RESTARTS && alone.is_none() {
                call.give_back_credits();
                self.counters.alone.add();
                alone = Some(self.gate.alone());
            } else if history.attempts > 2 * RESTARTS {
                self.counters.exhausted.add();
                log::error!("an operation was restarted {} times and still lacks {wait:?}", history.attempts);
                return Err(Errno::Io);
            }
            self.wait_for(call, wait, &mut history)?;
        }
    }

    /// One attempt: the reply, or what it lacks.
    fn attempt<R>(
        &self,
        call: &mut UserCall,
        kind: OpKind,
        history: &History,
        who: Who,
        op: &mut impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<Result<R, Wait>, Errno> {
        let _inside = loop {
            // Looked up before the gate, since credits are: after an upgrade the file system asks for what is missing.
            let mut cost = self.with_core(|fs| fs.cost(kind));
            cost.credits = cost.credits.max(history.credits);
            self.check_alive(cost.credits > 0)?;
            if call.credits_held() < cost.credits {
                self.supply(call, cost.credits)?;
            }
            call.prepare(cost);
            match self.gate.try_enter(call.lane(), who) {
                Some(inside) => break inside,
                None => {
                    call.give_back_credits();
                    self.gate.wait_open(who);
                }
            }
        };
        let fs = self.core.load();
        let shared = &*call;
        let entry = AssertUnwindSafe(|| op(&***fs, &mut Call::new(shared, shared.caller())));
        let outcome = catch_unwind(entry);
        call.end_attempt();
        match outcome {
            Ok(Ok(reply)) => Ok(Ok(reply)),
            Ok(Err(Stop::Wait(wait))) => Ok(Err(wait)),
            Ok(Err(Stop::Error(errno))) => Err(errno),
            Err(_) => Err(self.note_panic()),
        }
    }

    fn note_panic(&self) -> Errno {
        self.counters.panics.add();
        self.panicked.store(true, SeqCst);
        if self.containers.is_poisoned() {
            self.containers.shut_down();
        } else {
            log::error!("the file system panicked; it answers EIO until a version of it takes over");
        }
        Errno::Io
    }

    fn check_alive(&self, changes: bool) -> Result<(), Errno> {
        let dead = self.panicked.load(SeqCst) || (changes && self.containers.is_shut_down());
        if dead { Err(Errno::Io) } else { Ok(()) }
    }

    /// Waits for what an attempt lacks, outside the gate, holding no credits.
    fn wait_for(&self, call: &mut UserCall, wait: Wait, history: &mut History) -> Result<(), Errno> {
        if wait != Wait::Again {
            call.give_back_credits();
        }
        match wait {
            Wait::Blocks => {
                self.counters.block_waits.add();
                call.fetch_wanted()?;
            }
            Wait::LogSpace(credits) => {
                self.counters.log_waits.add();
                history.credits = history.credits.max(credits);
            }
            Wait::Batch(batch) => {
                self.counters.batch_waits.add();
                self.sync(batch)?;
            }
            Wait::Space => {
                self.counters.space_waits.add();
                history.searched = self.find_space(history.searched)?;
            }
            Wait::Again => self.counters.agains.add(),
        }
        Ok(())
    }

    /// Frees what can be freed without taking anything away: first what waits for a batch, then what waits for the tail.
    fn find_space(&self, searched: Searched) -> Result<Searched, Errno> {
        self.containers.settle();
        // Frees that are under way may show up between two looks, so each step is taken even if nothing is pending yet.
        match searched {
            Searched::Nothing => {
                self.commit()?;
                Ok(Searched::Commit)
            }
            Searched::Commit => {
                self.commit()?;
                self.checkpoint()?;
                Ok(Searched::Checkpoint)
            }
            Searched::Checkpoint => Err(Errno::NoSpace),
        }
    }

    /// Takes log credits, driving the journal if there are too few.
    fn supply(&self, call: &mut UserCall, credits: u32) -> Result<(), Errno> {
        call.give_back_credits();
        if !self.containers.somebody_waits_for_credits() && call.take_credits(credits) {
            return Ok(());
        }
        self.containers.check_credits(credits)?;
        self.counters.credit_waits.add();
        let _head = self.containers.credit_line();
        loop {
            self.check_alive(true)?;
            let seen = self.containers.completions();
            if call.take_credits(credits) {
                return Ok(());
            }
            if self.drive(bento_api::Event::Commit)? == Driven::Work {
                continue;
            }
            if call.take_credits(credits) {
                return Ok(());
            }
            if self.drive(bento_api::Event::Checkpoint)? != Driven::Work {
                self.containers.wait_completion(seen);
            }
        }
    }

    /// Counts one more user of the inode that an operation of this call has just answered.
    pub fn keep(&self, call: &UserCall, attr: &Attr) {
        call.keep(attr.ino, attr.generation);
    }
}
