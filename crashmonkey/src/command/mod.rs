//! The subcommands.

pub mod explore;
pub mod r#gen;
pub mod run;
pub mod selftest;
