//! Workloads, one after the other or side by side, each with all its crash states.
//!
//! - [`execute`]: a workload on the running system, compared with the model.
//! - [`crash`]: its crash states.
//! - [`batch`]: many workloads on several threads.

pub mod batch;
pub mod crash;
pub mod execute;

pub use batch::{Batch, Failure, Figures, Results};
pub use crash::{Crash, Crashes, Limits, Mode};
pub use execute::{Executed, Homing, LiveError, execute};
