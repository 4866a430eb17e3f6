//! `bento_fs.ko`: the Bento file system as a kernel module.
#![no_std]

use bento_kernel as _;

/// The checksum of `length` bytes at `data`.
///
/// # Safety
///
/// `data` must be readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bento_rust_crc32(data: *const u8, length: usize) -> u32 {
    // SAFETY: the caller vouches for the range, and nobody writes it meanwhile.
    let bytes = unsafe { core::slice::from_raw_parts(data, length) };
    crc32fast::hash(bytes)
}
