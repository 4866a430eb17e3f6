//! One attempt at a time: between any two, others may go on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bento_api::{
    BatchSeq, Call, Errno as FsErrno, Event, FileSystem, GroupNo, InodeNo, OpKind, Stop, Then, Wait,
};
use bento_user::containers::UserCall;
use rustix::io::Errno;

use super::actor::{Actor, Pace, Stage, os};

/// Gives way once.
#[derive(Debug, Default)]
struct Switch {
    gave_way: bool,
}

impl Future for Switch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.gave_way {
            return Poll::Ready(());
        }
        self.gave_way = true;
        Poll::Pending
    }
}

/// Runs a future that never gives way, or that is alone.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// What driving the journal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// Something was written.
    Work,
    /// There was nothing to do.
    Nothing,
    /// Somebody else's requests must complete first.
    Later,
}

/// An inode whose data nobody else changes meanwhile.
pub(super) struct DataLock<'s> {
    stage: &'s Stage,
    ino: Option<InodeNo>,
}

impl Drop for DataLock<'_> {
    fn drop(&mut self) {
        if let Some(ino) = self.ino {
            self.stage.data_locks.borrow_mut().remove(&ino);
        }
    }
}

/// Attempts of one operation before it counts as stuck.
const ATTEMPTS: u32 = 10_000;

impl<'s> Actor<'s> {
    /// Lets others go on.
    pub(super) async fn switch(&mut self) {
        if self.stage.pace == Pace::Stepped {
            Switch::default().await;
            self.stage.story.enter(self.op);
        }
    }

    /// Lets others go on, for those who only watch.
    pub async fn give_way(&mut self) {
        self.switch().await;
    }

    pub(super) async fn lock_data(&mut self, ino: InodeNo) -> DataLock<'s> {
        let stage = self.stage;
        if stage.pace == Pace::Shipped {
            return DataLock { stage, ino: None };
        }
        loop {
            self.switch().await;
            if stage.data_locks.borrow_mut().insert(ino) {
                return DataLock { stage, ino: Some(ino) };
            }
        }
    }

    /// Runs one entry, giving way before each attempt and after the last.
    pub(super) async fn stepped<R>(
        &mut self,
        kind: OpKind,
        mut op: impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<R, Errno> {
        let mount = self.stage.mount.clone();
        mount.begin(&mut self.call);
        let mut credits = 0;
        let mut searches = 0;
        for _ in 0..ATTEMPTS {
            self.switch().await;
            let wait = match mount.attempt_once(&mut self.call, kind, credits, &mut op) {
                Ok(Ok(reply)) => {
                    mount.end(&mut self.call);
                    self.switch().await;
                    return Ok(reply);
                }
                Ok(Err(wait)) => wait,
                Err(errno) => {
                    mount.end(&mut self.call);
                    return Err(os(errno));
                }
            };
            if wait != Wait::Again {
                mount.end(&mut self.call);
            }
            self.wait(wait, &mut credits, &mut searches).await?;
        }
        Err(Errno::DEADLK)
    }

    async fn wait(&mut self, wait: Wait, credits: &mut u32, searches: &mut u32) -> Result<(), Errno> {
        match wait {
            Wait::Again => Ok(()),
            Wait::Blocks => {
                self.switch().await;
                let mount = self.stage.mount.clone();
                mount.fetch(&mut self.call).map_err(os)
            }
            Wait::LogSpace(wanted) => {
                *credits = (*credits).max(wanted);
                if self.drive(Event::Commit).await? == Driven::Nothing {
                    self.drive(Event::Checkpoint).await?;
                }
                Ok(())
            }
            Wait::Batch(batch) => self.sync_batch(batch).await,
            Wait::Space => {
                let containers = self.stage.mount.containers().clone();
                containers.settle();
                *searches += 1;
                if *searches > 3 || (!containers.has_pending_frees() && *searches > 1) {
                    return Err(Errno::NOSPC);
                }
                self.sync_batch(containers.running()).await?;
                self.drive(Event::Checkpoint).await?;
                Ok(())
            }
        }
    }

    /// Makes a batch durable, and with it all before.
    pub(super) async fn sync_batch(&mut self, batch: BatchSeq) -> Result<(), Errno> {
        let containers = self.stage.mount.containers().clone();
        let mut batch = batch;
        while containers.durable() < batch {
            if containers.is_shut_down() {
                return Err(Errno::IO);
            }
            self.switch().await;
            if containers.durable() >= batch || containers.is_sealed(batch) {
                continue;
            }
            match self.drive(Event::Commit).await? {
                Driven::Work | Driven::Later => {}
                // Nobody changed a block in the running batch: all before it is what counts.
                Driven::Nothing if !containers.is_sealed(batch) => {
                    batch = BatchSeq(containers.running().0.min(batch.0).saturating_sub(1));
                }
                Driven::Nothing => {}
            }
        }
        Ok(())
    }

    /// Brings the group summary up to date.
    pub async fn summarise(&mut self) -> Result<(), Errno> {
        let mut next = Some(GroupNo(0));
        while let Some(from) = next {
            next = self.stepped(OpKind::Summarise, |fs, call| fs.summarise(call, from)).await?.value;
        }
        Ok(())
    }

    /// Drives the journal to the end of an event, giving way between steps and between requests.
    pub async fn drive(&mut self, event: Event) -> Result<Driven, Errno> {
        let mount = self.stage.mount.clone();
        let (mut now, mut driven) = (event, Driven::Nothing);
        for _ in 0..ATTEMPTS {
            self.switch().await;
            let next = mount.drive_once(now).map_err(os)?;
            let mut result = Ok(());
            for request in next.io.requests() {
                self.switch().await;
                result = result.and_then(|()| mount.containers().medium().submit(&mut [request.clone()]));
                driven = Driven::Work;
            }
            mount.recycle(next.io);
            match next.then {
                Then::Deliver(event) => {
                    driven = Driven::Work;
                    self.switch().await;
                    now = with_result(event, result);
                }
                Then::Again(event) if result.is_ok() => now = event,
                Then::First(other) => {
                    if Box::pin(self.drive(other)).await? != Driven::Work {
                        return Ok(Driven::Later);
                    }
                }
                Then::Idle if result.is_ok() => {
                    mount.containers().settle();
                    return Ok(driven);
                }
                Then::InFlight if result.is_ok() => return Ok(Driven::Later),
                Then::Again(_) | Then::Idle | Then::InFlight | Then::Dead => {
                    mount.containers().shut_down();
                    return Err(Errno::IO);
                }
            }
        }
        Err(Errno::DEADLK)
    }
}

fn with_result(event: Event, result: Result<(), FsErrno>) -> Event {
    match event {
        Event::Written(batch, _) => Event::Written(batch, result),
        Event::Homed(_) => Event::Homed(result),
        Event::Tail(_) => Event::Tail(result),
        other => other,
    }
}
