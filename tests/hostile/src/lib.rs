//! Images made to do harm, and sequences of operations against a model: what fuzzers and the tests of CI run.
//!
//! [`image`] and [`operations`] take any bytes. They return if nothing is wrong and panic if something is: an entry that
//! panics, a walk without an end, damage that fsck does not see but the file system does, a clean volume that is not
//! clean after use, an answer that the model does not give.

mod base;
mod device;
mod image;
mod model;
mod operations;
mod patch;
mod target;
mod volume;

pub use base::{Base, HOME, LOGGED};
pub use image::{Case, image};
pub use operations::operations;
pub use patch::{Change, Patch};
pub use target::home;
