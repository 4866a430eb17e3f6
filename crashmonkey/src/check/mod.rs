//! A recovered disk, looked at from all sides.
//!
//! - [`reader`]: the tree through the file system's own code, on a platform that only reads.
//! - [`live`]: the same of a running mount.
//! - [`records`]: whether names and provenance agree.
//! - [`recovered`]: what is asked of every disk after a power cut.
//! - [`afterlife`]: work goes on.

pub mod afterlife;
pub mod live;
pub mod reader;
pub mod records;
pub mod recovered;

pub use recovered::{Data, Examiner, Finding, Looked};
