//! Checks a Bento file system, and writes nothing.
//!
//! [`check`] looks at every structure of a volume and at every relation between them; [`main`] is the `fsck.bento`
//! command around it. What is in the log is read through: the volume is checked as recovery would leave it, while
//! the device stays as it is.
//!
//! The checker shares with the file system the layout of structures (`Raw*`), their checksums and the problem
//! numbers, and nothing else: it walks trees, directories and the log by code of its own, so that a mistake there
//! is not repeated here.
//!
//! # Bad input
//! The image is anything: no byte of it is trusted. Every walk is bounded by the size of the volume, memory by its
//! bitmaps and a few words for each directory; a problem is a value.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod command;
mod report;
mod search;

pub use check::{check, copy_at, find_copy};
pub use command::main;
pub use report::{Journal, Note, Options, Outcome, Problem, Progress, Report, Stats};
pub use search::Searched;
