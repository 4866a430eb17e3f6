//! `bento_fs_faulty.ko`: the file system with faults that a test seeds, by the parameter `fault`. As long as none is
//! seeded it is a second build of the same file system, to upgrade to and back. It is never installed.
#![no_std]

use bento_fs::Variant;

/// The variant.
#[derive(Clone, Copy, Debug)]
pub struct Faulty;

impl Variant for Faulty {
    const NAME: &'static str = concat!("bento-fs-faulty ", env!("CARGO_PKG_VERSION"));
}

bento_kernel::module!(Faulty);

/// Seeds a fault by the name of its place: 0, or a negative error number.
///
/// # Safety
/// `name` has so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bento_rust_seed(name: *const u8, bytes: usize) -> i32 {
    // SAFETY: the caller vouches for it.
    let name = unsafe { core::slice::from_raw_parts(name, bytes) };
    if bento_kernel::fault::seed(name) { 0 } else { -22 }
}
