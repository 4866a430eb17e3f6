//! libBentoFS and libBentoKS: the platform of a file system inside the Linux kernel.
//!
//! This workspace holds the only `unsafe` of the kernel's side.
#![no_std]

mod panic;
