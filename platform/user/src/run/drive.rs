//! Driving the journal: whoever needs progress drives, a step at a time; I/O happens between the steps, with no lock
//! held.
use super::Mount;
use crate::gate::Who;
use bento_api::{BatchSeq, Errno, Event, Next, Then};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Times that one event may ask for another first.
const FIRSTS: u32 = 1000;

/// What driving came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// Something was written.
    Work,
    /// There was nothing to do.
    Nothing,
    /// Requests of another thread must complete first.
    Later,
}

fn with_result(event: Event, result: Result<(), Errno>) -> Event {
    match event {
        Event::Written(batch, _) => Event::Written(batch, result),
        Event::Homed(_) => Event::Homed(result),
        Event::Tail(_) => Event::Tail(result),
        other => other,
    }
}

impl Mount {
    /// Drives an event to its end: carries out what is listed, and delivers the completion.
    pub fn drive(&self, event: Event) -> Result<Driven, Errno> {
        let mut now = event;
        let mut driven = Driven::Nothing;
        let mut firsts = 0;
        loop {
            let Next { mut io, then } = self.step(now)?;
            let mut result = Ok(());
            if !io.is_empty() {
                driven = Driven::Work;
                result = self.containers.medium().submit(io.requests_mut());
            }
            self.driver.lock().recycle(io);
            match then {
                Then::Deliver(next) => {
                    driven = Driven::Work;
                    now = with_result(next, result);
                    self.count(now);
                }
                Then::Again(next) if result.is_ok() => {
                    driven = Driven::Work;
                    now = next;
                }
                Then::First(other) if firsts < FIRSTS => {
                    firsts += 1;
                    if self.drive(other)? != Driven::Work {
                        return Ok(Driven::Later);
                    }
                }
                Then::Idle if result.is_ok() => {
                    self.containers.settle();
                    return Ok(driven);
                }
                Then::InFlight if result.is_ok() => return Ok(Driven::Later),
                Then::First(_) => return Ok(Driven::Later),
                // Part of a record failed, or the file system gave up: nothing after it may become durable.
                Then::Again(_) | Then::Idle | Then::InFlight | Then::Dead => {
                    self.containers.shut_down();
                    return Err(Errno::Io);
                }
            }
        }
    }

    fn count(&self, event: Event) {
        match event {
            Event::Written(..) => self.counters.commits.add(),
            Event::Tail(_) => self.counters.checkpoints.add(),
            _ => {}
        }
    }

    /// One call of the file system's `drive`.
    pub(super) fn step(&self, event: Event) -> Result<Next<crate::containers::UserCall>, Errno> {
        loop {
            let mut driver = self.driver.lock();
            self.containers.settle();
            if let Some(_inside) = self.gate.try_enter(driver.lane(), Who::Driver) {
                driver.begin();
                let fs = self.core.load();
                let next = catch_unwind(AssertUnwindSafe(|| fs.drive(&driver, event)));
                driver.end_attempt();
                return next.map_err(|_| {
                    let errno = self.note_panic();
                    self.containers.shut_down(); // the journal's state may be half changed
                    errno
                });
            }
            drop(driver);
            self.gate.wait_open(Who::Driver);
        }
    }

    /// Makes a batch durable, and with it all before. Whoever asks drives; who finds the batch on its way waits.
    pub fn sync(&self, batch: BatchSeq) -> Result<(), Errno> {
        while self.containers.durable() < batch {
            if self.containers.is_shut_down() {
                return Err(Errno::Io);
            }
            let seen = self.containers.completions();
            if self.containers.durable() >= batch {
                break;
            }
            let sealed = self.containers.is_sealed(batch);
            let driven = if sealed { Driven::Later } else { self.drive(Event::Commit)? };
            match driven {
                Driven::Work => {}
                Driven::Later => {
                    self.counters.rides.add();
                    self.containers.wait_completion(seen);
                }
                // Nobody changed a block in the running batch, and all before it are sealed.
                Driven::Nothing if !self.containers.is_sealed(batch) => return self.sync_before(batch),
                Driven::Nothing => {}
            }
        }
        self.background.nudge(&self.containers);
        Ok(())
    }

    fn sync_before(&self, batch: BatchSeq) -> Result<(), Errno> {
        match batch.0.checked_sub(1) {
            Some(before) if self.containers.durable().0 < before => {
                self.sync(BatchSeq(before.min(self.containers.running().0.saturating_sub(1))))
            }
            _ => Ok(()),
        }
    }

    /// Makes everything durable that was merged before the call.
    pub fn commit(&self) -> Result<(), Errno> {
        self.sync(self.containers.running())
    }

    /// Writes home everything that is durable, and moves the tail.
    pub fn checkpoint(&self) -> Result<(), Errno> {
        loop {
            if self.containers.is_shut_down() {
                return Err(Errno::Io); // what is in flight will never complete
            }
            let seen = self.containers.completions();
            match self.drive(Event::Checkpoint)? {
                Driven::Work | Driven::Nothing => return Ok(()),
                Driven::Later => self.containers.wait_completion(seen),
            }
        }
    }
}
