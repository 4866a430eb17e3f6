//! What a device was asked to do, in the order in which it was asked, and when it answered.

use super::image::Content;

bitflags::bitflags! {
    /// What a write promises besides the data.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// Flush the cache before the data is written: everything that completed before this request was
        /// submitted is durable before any of its data can be.
        const PREFLUSH = 1;
        /// The data itself is durable when the request completes. Says nothing about any other block.
        const FUA = 2;
    }
}

/// A request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Blocks from `at` on. They reach the medium one by one, in any order.
    Write {
        /// The first block.
        at: u64,
        /// Their new contents.
        contents: Vec<Content>,
        /// Promises.
        flags: Flags,
    },
    /// Makes durable what completed before this request was submitted.
    Flush,
}

/// Names a request: its number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// One entry of the log.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The device was asked.
    Submitted(RequestId, Request),
    /// The device answered; false: with an error, and what it did is unknown.
    Completed(RequestId, bool),
    /// Whoever drives the workload notes how far it got: the number of events in its history.
    Mark(usize),
}

/// The whole life of a device between two power cuts.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In the order in which things happened.
    pub entries: Vec<Entry>,
}

impl Log {
    /// How many block writes were submitted.
    pub fn block_writes(&self) -> usize {
        let writes = |entry: &Entry| match entry {
            Entry::Submitted(_, Request::Write { contents, .. }) => contents.len(),
            _ => 0,
        };
        self.entries.iter().map(writes).sum()
    }

    /// How many flushes were asked for, those before a write included.
    pub fn flushes(&self) -> usize {
        let flushes = |entry: &&Entry| match entry {
            Entry::Submitted(_, Request::Write { flags, .. }) => flags.contains(Flags::PREFLUSH),
            Entry::Submitted(_, Request::Flush) => true,
            _ => false,
        };
        self.entries.iter().filter(flushes).count()
    }
}
