//! Everything that needs a kernel: building the modules, and booting them, in a machine or as a program.

#![allow(dead_code, reason = "the commands that boot come next")]

mod apt;
mod config;
mod debian;
pub mod kbuild;
mod objects;
mod place;
mod process;
mod rust;
mod toolbox;
mod tree;
mod uml;
