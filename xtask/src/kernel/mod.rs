//! Everything that needs a kernel: building the modules, and booting them, in a machine or as a program.

mod apt;
mod config;
mod debian;
mod guest;
mod image;
pub mod inside;
pub mod kbuild;
mod objects;
mod place;
mod process;
mod programs;
mod qemu;
pub mod run;
mod rust;
mod source;
pub mod suite;
mod toolbox;
pub mod tree;
mod uml;
pub mod userland;
mod verdict;
