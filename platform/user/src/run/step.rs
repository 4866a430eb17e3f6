//! The parts of the loop one by one, for hosts that decide themselves who goes on after each: crash testing runs
//! several operations in one thread, switching between attempts and between the steps of the journal.
use super::{History, Mount, Searched};
use crate::containers::{Forgotten, UserCall, UserIoList};
use crate::gate::Who;
use bento_api::{Attr, Call, Errno, Event, FileSystem, InodeNo, Next, OpKind, Stop, Wait};

impl Mount {
    /// Begins an operation: [`Mount::attempt_once`] until it has its reply, then [`Mount::end`].
    pub fn begin(&self, call: &mut UserCall) {
        call.begin();
    }

    /// One attempt of the operation that was begun: its reply, or what it lacks. `credits` are those that the file system
    /// asked for beyond its table. Does not wait, and drives nothing.
    pub fn attempt_once<R>(
        &self,
        call: &mut UserCall,
        kind: OpKind,
        credits: u32,
        mut op: impl FnMut(&dyn FileSystem<UserCall>, &mut Call<'_, UserCall>) -> Result<R, Stop>,
    ) -> Result<Result<R, Wait>, Errno> {
        let wanted = self.with_core(|fs| fs.cost(kind)).credits.max(credits);
        if call.credits_held() < wanted {
            call.give_back_credits();
            if !call.take_credits(wanted) {
                self.containers.check_credits(wanted)?;
                return Ok(Err(Wait::LogSpace(wanted)));
            }
        }
        let history = History { attempts: 0, searched: Searched::Nothing, credits };
        let outcome = self.attempt(call, kind, &history, Who::Call, &mut op);
        let _ = call.take_progress();
        outcome
    }

    /// Fetches what the last attempt wanted.
    pub fn fetch(&self, call: &mut UserCall) -> Result<(), Errno> {
        call.give_back_credits();
        call.fetch_wanted().map(|_| ())
    }

    /// Gives back what the operation held.
    pub fn end(&self, call: &mut UserCall) {
        call.give_back_credits();
    }

    /// One step of the journal: what to submit, and what then. The requests are the caller's to carry out.
    pub fn drive_once(&self, event: Event) -> Result<Next<UserCall>, Errno> {
        self.step(event)
    }

    /// Takes a list back whose requests are done.
    pub fn recycle(&self, list: UserIoList) {
        self.driver.lock().recycle(list);
    }

    /// Notes what an operation said of an inode's names; whether the inode must be taken away now.
    pub fn is_left(&self, attr: &Attr) -> bool {
        let unnamed = attr.nlink == 0;
        !self.containers.set_unnamed(attr.ino, unnamed) && unnamed
    }

    /// Counts users of an inode down; what the last one's going asks for is the caller's to do, and then
    /// [`Mount::drop_unused`].
    pub fn count_down(&self, ino: InodeNo, count: u64) -> Forgotten {
        self.containers.forget(ino, count)
    }

    /// Drops the slot of an inode that nobody uses.
    pub fn drop_unused(&self, ino: InodeNo) {
        self.containers.drop_unused(ino);
    }

    /// Inodes whose times memory knows better than the disk.
    pub fn dirty_inodes(&self) -> Vec<InodeNo> {
        (0..).map_while(|part| self.containers.dirty_slots(part)).flatten().collect()
    }
}
