//! Inodes that are in use, no longer in use, or to be made durable.
use super::Mount;
use crate::containers::{Forgotten, UserCall};
use bento_api::{Attr, Errno, Evicted, InodeNo, Mode, OpKind};

/// What has to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Everything about the inode (fsync).
    All,
    /// What is needed to read its data (fdatasync).
    Data,
}

impl Mount {
    /// Notes what an operation said of an inode's names: one that lost its last and that nobody uses is taken away.
    /// To be told of every reply of unlink, rmdir, rename, link and tmpfile.
    pub fn note_names(&self, call: &mut UserCall, attr: &Attr) -> Result<(), Errno> {
        let unnamed = attr.nlink == 0;
        let in_use = self.containers.set_unnamed(attr.ino, unnamed);
        if unnamed && !in_use { self.evict(call, attr.ino) } else { Ok(()) }
    }

    /// Counts users of an inode down; the last one's going writes its times, or takes it away.
    pub fn forget(&self, call: &mut UserCall, ino: InodeNo, count: u64) -> Result<(), Errno> {
        match self.containers.forget(ino, count) {
            Forgotten::InUse | Forgotten::Dropped => Ok(()),
            Forgotten::Unnamed => {
                let evicted = self.evict(call, ino);
                self.containers.drop_unused(ino);
                evicted
            }
            Forgotten::Dirty => {
                let written = self.flush_times(call, ino);
                // Who used it again meanwhile, and made it dirty again, drops it.
                if written.is_err() || self.containers.slot(ino, |slot| slot.times_dirty == 0) == Some(true) {
                    self.containers.drop_unused(ino);
                }
                written
            }
        }
    }

    /// Takes away an inode that nobody uses and nothing names, step by step.
    pub fn evict(&self, call: &mut UserCall, ino: InodeNo) -> Result<(), Errno> {
        if self.read_only {
            return Ok(());
        }
        let _alone = self.containers.lock_data(ino, Mode::Exclusive);
        loop {
            match self.run(call, OpKind::Evict, |fs, call| fs.evict(call, ino)) {
                Ok(step) if step.value == Evicted::More => {}
                Ok(_) | Err(Errno::Stale) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Takes away what a crash left without a name; how many inodes.
    pub fn evict_orphans(&self, call: &mut UserCall) -> Result<u64, Errno> {
        let (mut slot, mut evicted) = (0, 0);
        while let Some((ino, next)) = self.run(call, OpKind::Read, |fs, call| fs.orphan(call, slot))? {
            match self.evict(call, ino) {
                Ok(()) => evicted += 1,
                Err(errno) if self.containers.is_shut_down() => return Err(errno),
                // One damaged inode must not keep the volume from being used.
                Err(errno) => {
                    log::error!("inode {ino}, which has no name, could not be taken away: {errno:?}")
                }
            }
            slot = next;
        }
        Ok(evicted)
    }

    /// Writes an inode's times, if memory knows newer ones than the disk.
    pub fn flush_times(&self, call: &mut UserCall, ino: InodeNo) -> Result<(), Errno> {
        if self.containers.slot(ino, |slot| slot.times_dirty != 0) != Some(true) {
            return Ok(());
        }
        match self.run(call, OpKind::Times, |fs, call| fs.flush_times(call, ino)) {
            Ok(_) | Err(Errno::Stale) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Writes all inodes' times.
    pub fn flush_all_times(&self, call: &mut UserCall) -> Result<(), Errno> {
        let mut result = Ok(());
        let mut part = 0;
        while let Some(dirty) = self.containers.dirty_slots(part) {
            for ino in dirty {
                result = result.and(self.flush_times(call, ino));
            }
            part += 1;
        }
        result
    }

    /// Makes an inode durable: the data that was written, and the batch that changed it last.
    ///
    /// # Crash
    /// After it returned, no crash loses what was written to the inode before.
    pub fn fsync(&self, call: &mut UserCall, ino: InodeNo, what: Fsync) -> Result<(), Errno> {
        self.counters.fsyncs.add();
        let mark = self.containers.medium().mark();
        if what == Fsync::All {
            self.flush_times(call, ino)?;
        }
        let batch = self.containers.slot(ino, |slot| match what {
            Fsync::All => slot.sync_seq,
            Fsync::Data => slot.datasync_seq,
        });
        // Nobody knows what changed an inode without a slot.
        self.sync(batch.unwrap_or_else(|| self.containers.running()))?;
        // The batch may have been on its way when the data was written.
        self.flush_data(mark)
    }

    /// Flushes; after a failure nobody knows what is on the medium, so the mount takes no more changes.
    fn flush_data(&self, mark: u64) -> Result<(), Errno> {
        self.containers.medium().flush_through(mark).inspect_err(|_| self.containers.shut_down())
    }

    /// Makes everything durable.
    pub fn syncfs(&self, call: &mut UserCall) -> Result<(), Errno> {
        self.counters.fsyncs.add();
        let mark = self.containers.medium().mark();
        let times = self.flush_all_times(call);
        self.commit()?;
        self.flush_data(mark)?;
        times
    }
}
