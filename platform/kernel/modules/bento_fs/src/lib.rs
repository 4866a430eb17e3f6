//! `bento_fs.ko`: the Bento file system as a kernel module.
#![no_std]

bento_kernel::module!(bento_fs::Plain);

/// The checksum of the block at `data`.
///
/// # Safety
///
/// `data` must be readable for the size of a block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bento_rust_crc32(data: *const bento_api::Bytes) -> u32 {
    // SAFETY: the caller vouches for the block, and nobody writes it meanwhile.
    let bytes = unsafe { &*data };
    bento_fs::format::block::crc(0, bytes)
}
