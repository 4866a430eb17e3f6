//! The subcommands.

pub mod r#gen;
pub mod run;
