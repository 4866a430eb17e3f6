//! Crash-consistency testing: bounded workloads, a disk that records, the states that a power cut can
//! leave it in, and a model that says which of them a journaled file system may show.
//!
//! - [`jlang`]: workloads as text.
//! - [`ace`]: every workload of a bounded size.
//! - [`disk`]: the recorder, and crash states.
//! - [`oracle`]: the model and the judge.
//! - [`host`]: workloads on the shipped file system.
//! - [`check`]: a recovered disk, looked at from all sides.
//! - [`explore`]: streams of operations that meet.
//! - [`lives`]: a second life on the same disk.
//! - [`selftest`]: seeded faults, which all this must catch.
//! - [`run`]: workloads and their crash states, many at once.

pub mod ace;
pub mod check;
pub mod disk;
pub mod explore;
pub mod host;
pub mod jlang;
pub mod lives;
pub mod oracle;
pub mod run;
pub mod selftest;
