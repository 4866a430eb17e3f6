//! Open files, for versions that record the first write of each.
//!
//! A mount that was begun with `-o prov` is told of opens and closes, so it knows each open file by its handle, and who
//! opened it: a write from the page cache does not say who wrote. Any other mount is told of neither; there, what counts
//! as an open file is a process and an inode.
//!
//! A file is reported again to each version that takes over: what is noted is how many versions there were.
use bento_api::{Caller, InodeNo};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Pairs of a process and an inode that are remembered: then all are forgotten, and so reported again.
const PAIRS: usize = 1 << 16;

/// An open file.
#[derive(Clone, Copy)]
struct Open {
    by: Caller,
    /// The version that was told of its first write; none yet.
    told: Option<u64>,
}

/// The open files of a mount.
#[derive(Default)]
pub(super) struct OpenFiles {
    last: AtomicU64,
    handles: Mutex<FxHashMap<u64, Open>>,
    pairs: Mutex<FxHashMap<(InodeNo, u32, u64), u64>>,
}

impl OpenFiles {
    /// Notes an open file; its handle.
    pub(super) fn open(&self, by: Caller) -> u64 {
        let handle = self.last.fetch_add(1, Relaxed) + 1;
        self.handles.lock().insert(handle, Open { by, told: None });
        handle
    }

    /// Forgets it.
    pub(super) fn close(&self, handle: u64) {
        self.handles.lock().remove(&handle);
    }

    /// Whether this version is still to be told that the file is written to; and by whom.
    pub(super) fn first_write(
        &self,
        (handle, ino): (u64, InodeNo),
        version: u64,
        caller: &Caller,
    ) -> Option<Caller> {
        if handle != 0 {
            let open = self.handles.lock().get(&handle).copied()?;
            let by = if caller.pid == 0 { open.by } else { *caller };
            return (open.told != Some(version)).then_some(by);
        }
        let told = self.pairs.lock().get(&(ino, caller.pid, caller.start_time)).copied();
        (told != Some(version)).then_some(*caller)
    }

    /// It was told.
    pub(super) fn told(&self, (handle, ino): (u64, InodeNo), version: u64, caller: &Caller) {
        if handle != 0 {
            if let Some(open) = self.handles.lock().get_mut(&handle) {
                open.told = Some(version);
            }
            return;
        }
        let mut pairs = self.pairs.lock();
        if pairs.len() >= PAIRS {
            pairs.clear();
        }
        pairs.insert((ino, caller.pid, caller.start_time), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INO: InodeNo = InodeNo(20);

    fn caller(pid: u32) -> Caller {
        Caller { pid, ..Caller::default() }
    }

    #[test]
    fn each_open_file_is_told_once_to_each_version() {
        let files = OpenFiles::default();
        let (a, b) = (files.open(caller(1)), files.open(caller(2)));
        for version in [0, 1] {
            for handle in [a, b] {
                assert_eq!(files.first_write((handle, INO), version, &caller(3)), Some(caller(3)));
                files.told((handle, INO), version, &caller(3));
                assert_eq!(files.first_write((handle, INO), version, &caller(4)), None);
            }
        }
        files.close(a);
        assert_eq!(files.first_write((a, INO), 2, &caller(3)), None);
    }

    #[test]
    fn a_write_that_nobody_did_is_the_openers() {
        let files = OpenFiles::default();
        let handle = files.open(caller(1));
        assert_eq!(files.first_write((handle, INO), 0, &caller(0)), Some(caller(1)));
    }

    #[test]
    fn without_handles_a_process_and_an_inode_are_an_open_file() {
        let files = OpenFiles::default();
        assert!(files.first_write((0, INO), 0, &caller(1)).is_some());
        files.told((0, INO), 0, &caller(1));
        assert!(files.first_write((0, INO), 0, &caller(1)).is_none());
        assert!(files.first_write((0, INO), 0, &caller(2)).is_some());
        assert!(files.first_write((0, InodeNo(21)), 0, &caller(1)).is_some());
        assert!(files.first_write((0, INO), 1, &caller(1)).is_some());
    }
}
