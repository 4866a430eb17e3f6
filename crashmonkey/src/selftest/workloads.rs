//! A few workloads that between them give every seeded fault its chance.

use crate::jlang::{Op, Path, Workload};

/// Each is named by what it is good for.
const TEXTS: &[&str] = &[
    // A name and its inode, nothing else.
    "mkdir A 0777\nopen Afoo O_RDWR|O_CREAT 0777\nfsync Afoo\nopen Abar O_RDWR|O_CREAT 0777\nsync",
    // Data that fsync promises, and data in place.
    "open foo O_RDWR|O_CREAT 0777\nwrite foo 0 8192\nfsync foo\nwrite foo 0 4096\nfsync foo\nappend foo 5000\nfsync foo",
    // The size behind the data.
    "open foo O_RDWR|O_CREAT 0777\nwrite foo 0 3000\nfsync foo\nwrite foo 3000 3000\nsync",
    // A rename over a file and into another directory.
    "mkdir A 0777\nopen foo O_RDWR|O_CREAT 0777\nopen Abar O_RDWR|O_CREAT 0777\nsync\nrename foo Abar\nsync\nrename Abar bar\nsync",
    // Blocks that change hands before the freeing is durable: the whole volume is small, the search starts at its front.
    "open foo O_RDWR|O_CREAT 0777\nwrite foo 0 40000\nsync\nclose foo\nunlink foo\nopen bar O_RDWR|O_CREAT 0777\nwrite bar 0 40000\nfsync bar",
    // The same by a truncate, and with data that is never synced.
    "open foo O_RDWR|O_CREAT 0777\nopen bar O_RDWR|O_CREAT 0777\nwrite foo 0 40000\nsync\ntruncate foo 0\nwrite bar 0 40000\nsync",
    // A file without a name that is still open.
    "open foo O_RDWR|O_CREAT 0777\nwrite foo 0 4096\nsync\nunlink foo\nsync",
    // One that never had a name, and one that is replaced while it is open.
    "open test O_RDWR|O_TMPFILE 0600\nopen foo O_RDWR|O_CREAT 0777\nopen bar O_RDWR|O_CREAT 0777\nsync\nrename foo bar\nsync",
    // Blocks in a group in which no inode lies: in a second life nobody has looked at it when they are freed.
    "open filler O_RDWR|O_CREAT 0777\nopen foo O_RDWR|O_CREAT 0777\nfalloc filler 0 0 3000000\nwrite foo 0 40000\nclose filler\nunlink filler\nsync",
    // Directories that come and go: metadata blocks are freed and used again.
    "mkdir A 0777\nsync\nrmdir A\nsync\nmkdir B 0777\nopen Bfoo O_RDWR|O_CREAT 0777\nwrite Bfoo 0 20000\nsync\nmkdir A 0777\nsync",
];

/// The workloads, in order.
///
/// # Panics
/// Never: a test parses them.
pub fn workloads() -> Vec<Workload> {
    TEXTS.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Directories whose blocks make large batches.
const DIRS: usize = 40;
/// Batches: more than the log can hold.
const ROUNDS: usize = 27;

/// Batches without data, so large that the log is full before it has as many as it may: then it is used again from its
/// start, right after the tail moved.
pub fn full_log() -> Workload {
    let file = |dir: usize| Path::new(format!("dir{dir}/file"));
    let mut ops: Vec<Op> =
        (0..DIRS).map(|dir| Op::Mkdir { path: Path::new(format!("dir{dir}")), mode: 0o755 }).collect();
    ops.push(Op::Sync);
    for round in 0..ROUNDS {
        ops.extend((0..DIRS).map(file).map(|path| match round % 2 {
            0 => Op::Symlink { target: Path::fixed("nowhere"), path },
            _ => Op::Unlink { path },
        }));
        ops.push(Op::Sync);
    }
    Workload { ops }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_a_workload() {
        assert_eq!(workloads().len(), TEXTS.len());
    }
}
