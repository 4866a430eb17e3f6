//! Which process a request comes from, for versions that record it.
//!
//! The kernel says the number of the thread. When the process started, and its command, are in /proc; a file of /proc that
//! is open stays that process's, and reading it fails once the process is gone, so a number that is used again is never
//! taken for the one before. A request costs one read(2) while its process is known, and only if it changes something.
use crate::fuse::abi;
use bento_api::Caller;
use parking_lot::Mutex;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Lists, so that threads seldom meet.
const SHARDS: usize = 8;
/// Processes that each list knows: each holds two files open.
const KNOWN: usize = 8;

/// A thread that asked for something, and its process.
struct Known {
    thread: u32,
    process: u32,
    stat: File,
    status: File,
}

/// The processes that asked for something of late.
#[derive(Default)]
pub(super) struct Processes {
    shards: [Mutex<Vec<Known>>; SHARDS],
}

/// The start of a file of /proc; an error once the process is gone.
fn read_start<R>(file: &File, parse: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
    let mut text = [0; 1024];
    let len = file.read_at(&mut text, 0).ok()?;
    parse(text.get(..len)?)
}

/// `PID (command) state ppid ...`: the command may hold anything, and the start time is field 22. The start time, in clock
/// ticks since boot, and the command.
fn parse_stat(text: &[u8]) -> Option<(u64, [u8; 16])> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let mut command = [0; 16];
    let name = text.get(open + 1..close)?;
    command.iter_mut().take(15).zip(name).for_each(|(to, from)| *to = *from);
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let start = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some((start, command))
}

/// A number of `/proc/PID/status`: the `nth` of a line.
fn parse_status(text: &[u8], name: &str, nth: usize) -> Option<u32> {
    let text = String::from_utf8_lossy(text);
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().nth(nth)?.parse().ok()
}

/// Whether a thread may change a file and leave its set-id bits: root with the capability for it. Nobody whom one cannot look
/// at may.
pub(super) fn keeps_set_id(thread: u32) -> bool {
    const CAP_FSETID: u64 = 1 << 4;
    let Ok(status) = std::fs::read_to_string(format!("/proc/{thread}/status")) else { return false };
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    // Root of another user namespace has every capability, and none here.
    parse_status(status.as_bytes(), "Uid:", 1) == Some(0)
        && capabilities.is_some_and(|all| all & CAP_FSETID != 0)
}

impl Known {
    fn find(thread: u32) -> Option<Self> {
        let status = File::open(format!("/proc/{thread}/status")).ok()?;
        let process = read_start(&status, |text| parse_status(text, "Tgid:", 0))?;
        let stat = File::open(format!("/proc/{process}/stat")).ok()?;
        Some(Self { thread, process, stat, status })
    }

    /// Fills in what is known now; none if the thread is gone.
    fn complete(&self, caller: &mut Caller) -> Option<()> {
        let (start, command) = read_start(&self.stat, parse_stat)?;
        // On mounts that may be idmapped the kernel says whose user only of those who make something.
        let uid = match caller.uid {
            abi::INVALID_ID => read_start(&self.status, |text| parse_status(text, "Uid:", 1))?,
            uid => uid,
        };
        (caller.pid, caller.start_time, caller.command, caller.uid) = (self.process, start, command, uid);
        Some(())
    }
}

impl Processes {
    /// Fills in what the kernel did not say of a caller, whose `pid` is a thread's number; 0: nobody knows.
    pub(super) fn complete(&self, caller: &mut Caller) {
        if caller.pid == 0 {
            return;
        }
        let mut known = self.shards[caller.pid as usize % SHARDS].lock();
        let thread = caller.pid;
        if let Some(at) = known.iter().position(|known| known.thread == thread) {
            let found = known.remove(at);
            if found.complete(caller).is_some() {
                known.insert(0, found);
                return;
            }
        }
        let Some(found) = Known::find(thread) else { return };
        if found.complete(caller).is_some() {
            known.insert(0, found);
            known.truncate(KNOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_look_like_the_rest_of_the_line() {
        let rest = "S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4321 9 9";
        let line = format!("77 (a) b (c)) {rest}");
        let (start, command) = parse_stat(line.as_bytes()).unwrap();
        assert_eq!((start, &command[..8]), (4321, &b"a) b (c)"[..]));
        assert_eq!(parse_stat(b"77 (a S 1"), None);
    }

    #[test]
    fn a_user_that_the_kernel_does_not_say_is_the_processs() {
        let mut caller = Caller { uid: abi::INVALID_ID, pid: std::process::id(), ..Caller::default() };
        Processes::default().complete(&mut caller);
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert_eq!(parse_status(b"Name:\tx\nUid:\t1\t2\t3\t4\n", "Uid:", 1), Some(2));
    }

    #[test]
    fn a_thread_of_this_process_is_this_process_and_a_dead_one_is_nobody() {
        let processes = Processes::default();
        let thread = || rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let ask = |pid| {
            let mut caller = Caller { pid, ..Caller::default() };
            processes.complete(&mut caller);
            caller
        };
        let (other, seen) =
            std::thread::scope(|scope| scope.spawn(|| (thread(), ask(thread()))).join().expect("no panic"));
        let me = std::process::id();
        assert_eq!((seen.pid, seen.start_time > 0), (me, true));
        assert_eq!(ask(me), Caller { uid: 0, ..seen });
        assert_ne!(other, me);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(ask(pid), Caller { pid, ..Caller::default() });
    }
}
