//! The end of a panic, and the kernel's log.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use bento_kernel_abi as c;

const ALERT: u32 = 1;
/// A line that says why something was refused.
pub(crate) const ERROR: u32 = 3;

/// A line of the kernel's log; what does not fit is cut off. No allocation: the allocator may be what failed.
pub(crate) struct Line {
    text: [u8; 240],
    length: usize,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { text: [0; 240], length: 0 }
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn print(&self, level: u32) {
        // SAFETY: the text is initialised for that length, and C copies it.
        unsafe { c::bento_print(level, self.text.as_ptr(), self.length) }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.get_mut(self.length..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            *to = from;
            self.length += 1;
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut line = Line::new();
    // SAFETY: no arguments.
    let is_first = unsafe { c::bento_panicking() };
    // It cannot fail: what is too long is cut. A message that panics itself, formatted again, would never end.
    let _ =
        if is_first { write!(line, "{info}") } else { line.write_str("a panic in the message of a panic") };
    line.print(ALERT);
    // SAFETY: no arguments. It is not declared as never returning, because objtool knows no such function
    // outside its own list: the trap after it is what ends this function for objtool.
    unsafe { c::bento_panicked() };
    // SAFETY: never reached, and a trap touches nothing.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
