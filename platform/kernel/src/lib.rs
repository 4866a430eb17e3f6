//! libBentoFS and libBentoKS: the platform of a file system inside the Linux kernel.
//!
//! *libBentoKS* (`platform`, `disk`) is the containers, which C keeps, as safe Rust: whatever an attempt takes, C
//! notes in the call before it hands it out. *libBentoFS* (`thunks`, `register`) turns C's raw calls into calls of
//! the file system. This workspace holds the only `unsafe` of the kernel's side.
//!
//! # Panics
//! A panic ends the entry without running destructors: C gives back what the call notes, and jumps out of the
//! entry. So nothing here owns anything, and nothing here needs a `Drop`.
#![no_std]

mod crc;
mod disk;
pub mod fault;
mod panic;
mod platform;
mod register;
mod thunks;

pub use crc::prefer_kernels_crc;
pub use platform::KCall;
pub use register::registration;

/// The registration of a module's file system, for its C part.
#[macro_export]
macro_rules! module {
    ($variant:ty) => {
        static REGISTRATION: $crate::Registered = $crate::registration::<$variant>();

        /// What the module registers.
        #[unsafe(no_mangle)]
        pub extern "C" fn bento_rust_registration() -> *const $crate::Registered {
            $crate::prefer_kernels_crc();
            &REGISTRATION
        }

        /// The checksum of a block, which must be the kernel's.
        ///
        /// # Safety
        /// `data` has a block's bytes.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn bento_rust_crc32(data: *const bento_api::Bytes) -> u32 {
            // SAFETY: the caller vouches for the block, and nobody writes to it meanwhile.
            bento_fs::format::block::crc(0, unsafe { &*data })
        }
    };
}

pub use register::Registered;
