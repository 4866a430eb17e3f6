//! What the streams of a seed do.

use std::fmt;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::jlang::{FallocMode, Op, OpenFlags, Path, RenameFlags};

/// Files that the streams share.
const FILES: [&str; 6] = ["foo", "bar", "A/foo", "A/bar", "B/foo", "B/bar"];
/// Directories that they share.
const DIRS: [&str; 4] = ["A", "B", "A/C", "B/C"];
/// Symbolic links: no file is opened by these names, since who opens one races with who makes it.
const LINKS: [&str; 2] = ["A/to", "to"];
/// Lengths of writes: within a block, a block, across blocks.
const LENGTHS: [u32; 4] = [100, 4096, 5000, 12_000];
/// Offsets of writes.
const OFFSETS: [i64; 4] = [0, 1000, 4096, 20_000];

/// Everything that a seed decides but the order.
#[derive(Clone, Debug)]
pub struct Program {
    /// The seed, for the order.
    pub seed: u64,
    /// Done by the first stream before the others begin.
    pub prelude: Vec<Op>,
    /// Two or three.
    pub streams: Vec<Vec<Op>>,
    /// Every first use of a block is missed.
    pub always_miss: bool,
}

fn open(path: &'static str) -> Op {
    Op::Open { path: Path::fixed(path), flags: OpenFlags::CREATE, mode: 0o644 }
}

impl Program {
    /// The program of a seed.
    pub fn of(seed: u64) -> Program {
        let mut random = SmallRng::seed_from_u64(seed);
        let count = random.random_range(2..=3);
        let length = if count == 2 { 7 } else { 5 };
        Program {
            seed,
            prelude: prelude(&mut random),
            streams: (0..count).map(|_| stream(&mut random, length)).collect(),
            always_miss: random.random_bool(0.5),
        }
    }
}

/// Something to work on, and part of it durable.
fn prelude(random: &mut SmallRng) -> Vec<Op> {
    let mut ops = vec![Op::Mkdir { path: Path::fixed("A"), mode: 0o755 }];
    if random.random_bool(0.8) {
        ops.push(Op::Mkdir { path: Path::fixed("B"), mode: 0o755 });
    }
    for path in FILES.choose_multiple(random, 3) {
        ops.push(open(path));
        if random.random_bool(0.7) {
            ops.push(Op::Write {
                path: Path::fixed(path),
                off: 0,
                len: *LENGTHS.choose(random).unwrap_or(&100),
            });
        }
        if random.random_bool(0.7) {
            ops.push(Op::Close { path: Path::fixed(path) });
        }
    }
    if random.random_bool(0.7) {
        ops.push(Op::Sync);
    }
    ops
}

fn stream(random: &mut SmallRng, length: usize) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut open_files: Vec<&'static str> = Vec::new();
    while ops.len() < length {
        let path = *FILES.choose(random).unwrap_or(&"foo");
        if random.random_bool(0.55) {
            ops.push(on_names(random, path));
            continue;
        }
        let known = open_files.choose(random).copied();
        let path = match known {
            Some(known) if random.random_bool(0.7) => known,
            _ => {
                ops.push(open(path));
                open_files.push(path);
                path
            }
        };
        ops.push(on_data(random, path));
    }
    ops
}

fn on_names(random: &mut SmallRng, file: &'static str) -> Op {
    let path = Path::fixed(file);
    let other = Path::fixed(FILES.choose(random).unwrap_or(&"bar"));
    let dir = Path::fixed(DIRS.choose(random).unwrap_or(&"A"));
    let other_dir = Path::fixed(DIRS.choose(random).unwrap_or(&"B"));
    let flags = match random.random_range(0..8) {
        0 => RenameFlags::NOREPLACE,
        1 => RenameFlags::EXCHANGE,
        2 => RenameFlags::WHITEOUT,
        _ => RenameFlags::empty(),
    };
    match random.random_range(0..14) {
        0 => Op::Unlink { path },
        1 if random.random_bool(0.3) => {
            Op::Unlink { path: Path::fixed(LINKS.choose(random).unwrap_or(&"to")) }
        }
        1 => Op::Unlink { path },
        2 => Op::Link { from: path, to: other },
        3..=5 => Op::Rename { from: path, to: other, flags },
        6 => Op::Mkdir { path: dir, mode: 0o755 },
        7 => Op::Rmdir { path: dir },
        8 | 9 => Op::Rename { from: dir, to: other_dir, flags },
        10 => Op::Symlink { target: path, path: Path::fixed(LINKS.choose(random).unwrap_or(&"to")) },
        11 => Op::Open { path: dir, flags: OpenFlags::TMPFILE, mode: 0o600 },
        12 => Op::Chmod { path, mode: 0o640 },
        _ => Op::Sync,
    }
}

fn on_data(random: &mut SmallRng, file: &'static str) -> Op {
    let path = Path::fixed(file);
    let off = *OFFSETS.choose(random).unwrap_or(&0);
    let len = *LENGTHS.choose(random).unwrap_or(&100);
    let mode = match random.random_range(0..5) {
        0 => FallocMode::KEEP_SIZE,
        1 => FallocMode::PUNCH_HOLE | FallocMode::KEEP_SIZE,
        2 => FallocMode::ZERO_RANGE,
        3 => FallocMode::ZERO_RANGE | FallocMode::KEEP_SIZE,
        _ => FallocMode::empty(),
    };
    match random.random_range(0..14) {
        0..=3 => Op::Write { path, off, len },
        4 => Op::Append { path, len },
        5 => Op::Truncate { path, len: *[0, 1000, 4096, 9000].choose(random).unwrap_or(&0) },
        6 => Op::Falloc { path, mode, off, len: i64::from(len) },
        7 => Op::SetXattr { path, name: "user.a".into(), value: "one value".into() },
        8 => Op::Close { path },
        9 => Op::Fdatasync { path },
        10 => Op::Utimens { path, seconds: 77 },
        _ => Op::Fsync { path },
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# seed {}, every first use missed: {}", self.seed, self.always_miss)?;
        self.prelude.iter().try_for_each(|op| writeln!(f, "{op}"))?;
        for (number, ops) in self.streams.iter().enumerate() {
            writeln!(f, "# stream {number}")?;
            ops.iter().try_for_each(|op| writeln!(f, "{op}"))?;
        }
        Ok(())
    }
}
