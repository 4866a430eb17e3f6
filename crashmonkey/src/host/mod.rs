//! Running workloads on the shipped file system, over the containers of the userspace platform and a recording device.
//!
//! - [`build`]: the versions of the file system, the faulty ones too.
//! - [`device`]: the recorder as a device.
//! - [`volume`]: the volume that workloads start on.
//! - [`story`], [`watched`]: what happened, and when transactions joined.
//! - [`actor`]: one operation after the other; [`paths`] and [`data`] are parts of it.
//! - [`steps`]: one attempt at a time, so that operations of several streams meet.

pub mod actor;
pub mod build;
mod data;
pub mod device;
mod paths;
pub mod steps;
pub mod story;
pub mod volume;
pub mod watched;

pub use actor::{Actor, Stage};
pub use build::{Build, FAULTY, PLAIN, PROV};
pub use device::RecordingDevice;
pub use story::Story;
pub use volume::Base;
