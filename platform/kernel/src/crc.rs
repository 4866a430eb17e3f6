//! The kernel's CRC-32 in place of tables.

use bento_fs::format::block::use_crc;
use bento_kernel_abi as c;

/// As [`bento_fs::format::block::crc`].
fn kernels(seed: u32, bytes: &[u8]) -> u32 {
    // SAFETY: C reads so many bytes, which are initialised, and keeps nothing.
    !unsafe { c::bento_crc(!seed, bytes.as_ptr(), bytes.len()) }
}

/// Uses it from now on, if it is faster.
pub fn prefer_kernels_crc() {
    // SAFETY: a question.
    if unsafe { c::bento_has_crc() } {
        use_crc(kernels);
    }
}
