//! Makes a Bento file system.
//!
//! [`plan`] decides where everything lies and writes nothing; [`make`] writes what the plan says to any blocking
//! [`Disk`](bento_api::Disk): a device, an image, memory. [`main`] is the `mkfs.bento` command, which adds what
//! keeps people from losing data: nothing is written over a mounted or foreign file system unless they insist.
//!
//! # Crash
//! The old superblock goes first, the new one comes last, with a flush before and after each: at any moment the
//! device has the old file system, none, or the new one whole. Both log headers are written, with a new epoch: the
//! log of a file system that was here before can never be replayed into this one.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod command;
mod make;
mod plan;

pub use command::main;
pub use command::mounted::backing_file;
pub use command::signature::{BENTO, find as find_signature};
pub use make::{Made, MakeError, make};
pub use plan::{Entropy, Options, Plan, PlanError, plan};
