//! The one place with `unsafe`: system calls that no crate wraps safely.
//!
//! Waking a thread that sleeps in a system call takes a signal whose handler was installed without
//! SA_RESTART, sent to that thread alone. The signal is SIGURG: ignored by default, so that one that comes too
//! early or too late does no harm but an EINTR, and used by nothing else here.

use std::io;
use std::num::NonZeroU32;
use std::sync::OnceLock;

const WAKE: libc::c_int = libc::SIGURG;

extern "C" fn woken(_: libc::c_int) {
    // Its arrival is the message: the system call returns EINTR.
}

/// Makes [`ThreadId::wake`] work for every thread of this process.
pub(crate) fn make_threads_wakeable() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        // SAFETY: all-zero bytes are a valid `sigaction`: no flags, an empty mask, the default handler.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = woken as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: `action` is initialised and lives through the call; the handler touches nothing, so it may
        // interrupt anything; the old action is not asked for.
        let result = unsafe { libc::sigaction(WAKE, &action, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) }
    });
    done.map_err(io::Error::from_raw_os_error)
}

/// A thread of this process, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(NonZeroU32);

impl ThreadId {
    /// The calling thread.
    pub(crate) fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().unsigned_abs())
    }

    /// As a plain number, for an atomic; never 0.
    pub(crate) fn raw(self) -> u32 {
        self.0.get()
    }

    /// Back from a plain number; 0 is no thread.
    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(Self)
    }

    /// Makes the system call that this thread sleeps in return EINTR. Nothing happens if it sleeps in none, or
    /// is gone.
    pub(crate) fn wake(self) {
        let process = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: tgkill takes plain numbers and touches no memory of ours. A number that was reused names
        // another thread of this same process, which the handler above does not disturb.
        unsafe { libc::syscall(libc::SYS_tgkill, process, self.0.get(), WAKE) };
    }
}

/// An ioctl whose argument is `N` bytes that the kernel reads and writes.
pub(crate) fn exchange<const OPCODE: u32, const N: usize>(
    fd: impl std::os::fd::AsFd,
    bytes: &mut [u8; N],
) -> rustix::io::Result<()> {
    const { assert!(OPCODE >> 16 & 0x3fff == N as u32, "the opcode says how many bytes there are") };
    // SAFETY: the opcode encodes a read and a write of N bytes, which is how the kernel passes it to a FUSE daemon and how
    // our modules read it; `bytes` has them.
    unsafe { rustix::ioctl::ioctl(fd, rustix::ioctl::Updater::<OPCODE, [u8; N]>::new(bytes)) }
}
