//! The thread that commits what nobody asked to be committed, and writes home before the log is full.
use super::Mount;
use crate::containers::{Containers, UserCall};
use bento_api::{Errno, GroupNo, OpKind};
use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the background works.
#[derive(Clone, Copy, Debug)]
pub struct Background {
    /// How long a change waits at most before it is on its way to the log.
    pub commit_every: Duration,
}

impl Default for Background {
    fn default() -> Self {
        Self { commit_every: Duration::from_secs(5) }
    }
}

#[derive(Default)]
struct Orders {
    stop: bool,
    checkpoint: bool,
}

#[derive(Default)]
struct Desk {
    orders: Mutex<Orders>,
    ordered: Condvar,
}

#[derive(Default)]
pub(super) struct Handle {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    /// Asks for a checkpoint, if one would be welcome.
    pub(super) fn nudge(&self, containers: &Containers) {
        if containers.wants_checkpoint() {
            let mut orders = self.desk.orders.lock();
            if !orders.checkpoint {
                orders.checkpoint = true;
                self.desk.ordered.notify_one();
            }
        }
    }

    pub(super) fn stop(&self) {
        self.desk.orders.lock().stop = true;
        self.desk.ordered.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread: it holds the mount only while it works, so that the last user's drop ends it.
fn work(mount: &Weak<Mount>, desk: &Desk, every: Duration) {
    loop {
        let mut orders = desk.orders.lock();
        if !orders.stop && !orders.checkpoint {
            desk.ordered.wait_for(&mut orders, every);
        }
        if orders.stop {
            return;
        }
        let checkpoint = std::mem::take(&mut orders.checkpoint);
        drop(orders);
        let Some(mount) = mount.upgrade() else { return };
        let result = if checkpoint { mount.write_home() } else { mount.tick() };
        if result.is_err() && mount.containers.is_shut_down() {
            return;
        }
    }
}

impl Mount {
    /// Starts the background thread.
    pub fn start_background(self: &Arc<Self>, background: Background) -> std::io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        let (mount, desk) = (Arc::downgrade(self), self.background.desk.clone());
        let every = background.commit_every;
        let thread = std::thread::Builder::new().name("bento-commit".into());
        *self.background.thread.lock() = Some(thread.spawn(move || work(&mount, &desk, every))?);
        Ok(())
    }

    /// What happens every few seconds: times that only memory knows, a commit, a checkpoint if the log fills.
    pub fn tick(&self) -> Result<(), Errno> {
        let mut call = self.call();
        // An inode whose times cannot be written must not keep everything else from being committed.
        let times = self.flush_all_times(&mut call);
        self.commit()?;
        if self.containers.wants_checkpoint() {
            self.write_home()?;
        }
        times
    }

    /// A checkpoint; then the group summary, in the next batch. What was freed before is known to be free by then.
    pub(super) fn write_home(&self) -> Result<(), Errno> {
        self.checkpoint()?;
        self.summarise(&mut self.call());
        Ok(())
    }

    /// Brings the group summary up to date. It is advice: if it cannot be written the next mount reads more.
    fn summarise(&self, call: &mut UserCall) {
        let mut next = Some(GroupNo(0));
        while let Some(from) = next {
            let step = self.run(call, OpKind::Summarise, |fs, call| fs.summarise(call, from));
            next = step.ok().and_then(|done| done.value);
        }
    }

    /// Ends a mount: takes nameless inodes away, writes everything home. True if the log is empty, so that a clean
    /// superblock may be written. Nobody may be calling any more.
    pub fn unmount(&self) -> Result<bool, Errno> {
        self.background.stop();
        if self.read_only {
            return Ok(false);
        }
        let mut call = self.call();
        // One inode that cannot be written must not keep the rest from coming home: its error is told at the end.
        let mut result = Ok(());
        for ino in self.containers.unnamed_slots() {
            result = result.and(self.evict(&mut call, ino));
        }
        result = result.and(self.flush_all_times(&mut call));
        self.bring_home()?;
        self.summarise(&mut call);
        drop(call);
        self.bring_home()?;
        let medium = self.containers.medium();
        medium.flush_through(medium.mark())?;
        result?;
        let driver = self.driver.lock();
        Ok(self.with_core(|fs| fs.is_clean(&driver)))
    }

    fn bring_home(&self) -> Result<(), Errno> {
        loop {
            self.commit()?;
            self.checkpoint()?;
            if self.containers.running_blocks() == 0 {
                return Ok(());
            }
        }
    }
}
