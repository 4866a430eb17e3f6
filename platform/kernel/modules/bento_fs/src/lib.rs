//! `bento_fs.ko`: the Bento file system as a kernel module.
#![no_std]

bento_kernel::module!(bento_fs::Plain);
