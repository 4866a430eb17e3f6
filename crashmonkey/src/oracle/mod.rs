//! What a journaled file system may show after a crash.
//!
//! - [`model`]: a file system by the book, with [`state`], [`walk`], names and data.
//! - [`history`]: what happened in a run, in the order in which transactions joined.
//! - [`timeline`]: the model's state after each event, and what each persistence operation promised.
//! - [`judge`]: compares a recovered [`tree`] with every state that it may be.
//! - [`pattern`]: the bytes that workloads write.
//!
//! The rule, for transactions in one total order and `data=ordered`: names and attributes after a crash are those of
//! the model after *some prefix* of the order, and the prefix holds everything that was persisted. Data of a block
//! that was there is what was last persisted or anything written to it later, sector by sector; a block that became
//! part of a file by the prefix has at least what it had then. Never anything else: not another file's bytes, not
//! those of an earlier life of the block.

mod data;
mod found;
pub mod history;
pub mod judge;
pub mod model;
mod names;
pub mod pattern;
pub mod state;
pub mod timeline;
pub mod tree;
pub mod walk;

pub use history::{Event, History, Issued, OpId, Stream};
pub use judge::{Difference, Judge, Violation};
pub use model::Model;
pub use timeline::{Disagreement, Oracle};
pub use tree::{Node, Tree};

#[cfg(test)]
mod tests;
