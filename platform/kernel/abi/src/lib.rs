//! What C and Rust share inside the kernel.
//!
//! Declared once, here; the C header is written from it ([`Header`]), with every size and offset asserted. The
//! fingerprint of all of it is compared when a module registers, so two builds that differ never meet.
#![no_std]

mod describe;
mod functions;
mod header;
mod structures;

pub use describe::{Constant, Field, Function, InC, Parameter, Struct, Type};
pub use functions::*;
pub use header::{FINGERPRINT, Header};
pub use structures::*;
