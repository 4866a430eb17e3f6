//! A disk that records, and the states that a power cut can leave it in.
//!
//! - [`image`]: content, sparse and shared.
//! - [`log`]: requests and completions in order; flushes, FUA.
//! - [`recorder`]: the disk under a running file system; plans I/O errors.
//! - [`space`]: the sets of media that are possible at each instant worth a look.
//! - [`lazy`]: one run for all media that the run cannot tell apart.

pub mod image;
pub mod lazy;
pub mod log;
pub mod recorder;
pub mod space;

pub use image::{Content, Image};
pub use lazy::{Atom, Choice, Counts, CrashDisk, Explorer};
pub use log::{Flags, Log, Request, RequestId};
pub use recorder::{Fault, Recorder, Target};
pub use space::{Lie, Point, Space};

#[cfg(test)]
mod tests;
