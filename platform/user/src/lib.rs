//! Bento in userspace: devices, containers, the loop around an entry, and the FUSE connection and its server.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod cli;
pub mod containers;
pub mod device;
pub mod fuse;
pub mod gate;
pub mod mount_table;
pub mod provenance;
pub mod run;
pub mod server;
pub mod session;
mod sys;
pub mod versions;
