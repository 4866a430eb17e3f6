//! Random operations of many threads in one small namespace, so that they meet all the time.
//!
//! Ours by default; the classic `fsstress` of an xfstests tree where one is named. Ours knows which
//! errors an honest file system may give (a name that another thread took, a full disk) and counts any
//! other as a failure: an EIO, a stale handle, a structure that needs cleaning.

use super::{Field, verdict};
use crate::bench::worker::pattern;
use crate::board::{Counts, spinner};
use crate::build::Bento;
use crate::peers::Programs;
use crate::setup;
use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What `fstests fsstress` takes.
#[derive(clap::Args)]
pub struct Options {
    /// How long
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Threads, or processes of the classic program
    #[arg(long, default_value_t = 8)]
    processes: usize,
    /// Where the random numbers start
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the server is killed in the middle of it; what it left is checked, then mounted again
    #[arg(long, default_value_t = 0, conflicts_with = "program")]
    crashes: u32,
    /// Upgrade the core all the time meanwhile
    #[arg(long)]
    upgrades: bool,
    /// The classic program, built in an xfstests tree (ltp/fsstress)
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Runs the operations, then a new mount and one walk over all that is there.
pub fn run(options: &Options, field: &mut Field) -> Result<Counts> {
    let dir = field.volume.dir().join("fsstress");
    std::fs::create_dir(&dir)?;
    rustix::fs::syncfs(std::fs::File::open(&dir)?)?;
    let mut counts = Counts::default();
    for part in 0..options.crashes {
        counts += own(options, part, &dir, field, End::Crash)?;
        counts += verdict("checking what a crash left", field.volume.check());
        field.volume.mount()?;
        counts += look_through(&dir);
    }
    counts += match &options.program {
        Some(program) => classic(options, program, &dir)?,
        None => own(options, options.crashes, &dir, field, End::InPeace)?,
    };
    field.volume.chill()?;
    counts += look_through(&dir);
    Ok(counts)
}

fn look_through(dir: &Path) -> Counts {
    let mut entries = 0;
    let counts = verdict("reading back after a new mount", walk(dir, &mut entries));
    println!("{entries} entries were left and read back");
    counts
}

fn classic(options: &Options, program: &Path, dir: &Path) -> Result<Counts> {
    let bar = spinner("fsstress");
    let output = Command::new(program)
        .arg("-d")
        .arg(dir)
        .args(["-p", &options.processes.to_string(), "-s", &options.seed.to_string()])
        .args(["-n", "1000000000", &format!("--duration={}", options.seconds)])
        .stdin(Stdio::null())
        .output()
        .with_context(|| program.display().to_string())?;
    bar.finish_and_clear();
    if output.status.success() {
        return Ok(Counts { passed: 1, failed: 0 });
    }
    println!("FAILED fsstress: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(Counts { passed: 0, failed: 1 })
}

/// How a part of the run ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    InPeace,
    /// The server is killed under the threads.
    Crash,
}

/// What the threads have in common.
struct Shared {
    dir: PathBuf,
    over: AtomicBool,
    end: End,
    done: AtomicU64,
    refused: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

/// More complaints than this say nothing new.
const ENOUGH: usize = 20;

fn own(options: &Options, part: u32, dir: &Path, field: &mut Field, end: End) -> Result<Counts> {
    let shared = Shared {
        dir: dir.to_path_buf(),
        over: AtomicBool::new(false),
        end,
        done: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        wrong: Mutex::new(Vec::new()),
    };
    let bar = spinner("fsstress");
    let time = Duration::from_secs(options.seconds) / (options.crashes + 1);
    std::thread::scope(|scope| {
        for thread in 0..options.processes {
            let seed = options.seed.wrapping_mul(1000).wrapping_add(u64::from(part) * 100 + thread as u64);
            let shared = &shared;
            scope.spawn(move || stress(shared, SmallRng::seed_from_u64(seed)));
        }
        if let (true, Programs::Bento(bento)) = (options.upgrades, field.programs) {
            let (shared, top) = (&shared, field.volume.dir().to_path_buf());
            scope.spawn(move || upgrade(shared, bento, &top));
        }
        std::thread::sleep(time);
        let killed = if end == End::Crash { field.volume.kill_server() } else { Ok(()) };
        shared.over.store(true, Ordering::Relaxed);
        killed
    })?;
    bar.finish_and_clear();
    let (done, refused) = (shared.done.into_inner(), shared.refused.into_inner());
    println!("{done} operations done, {refused} refused as they had to be");
    let wrong = shared.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    for line in &wrong {
        println!("FAILED {line}");
    }
    Ok(Counts { passed: u64::from(wrong.is_empty()), failed: u64::from(!wrong.is_empty()) })
}

/// Replaces the core every few milliseconds.
fn upgrade(shared: &Shared, bento: &Bento, dir: &Path) {
    let mut upgrades = 0;
    while !shared.over.load(Ordering::Relaxed) {
        let done = setup::quiet(bento.command("bento").arg("upgrade").arg(dir));
        match done {
            Ok(()) => upgrades += 1,
            Err(_) if shared.end == End::Crash => break,
            Err(error) => {
                shared.complain(format!("upgrade: {error:#}"));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{upgrades} upgrades meanwhile");
}

impl Shared {
    /// Whether there were enough complaints by now.
    fn complain(&self, what: String) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.push(what);
        wrong.len() >= ENOUGH
    }
}

fn stress(shared: &Shared, random: SmallRng) {
    let mut stage = Stage { dir: shared.dir.clone(), random, content: pattern(1 << 17) };
    while !shared.over.load(Ordering::Relaxed) {
        let (name, operation) = OPERATIONS[stage.random.random_range(0..OPERATIONS.len())];
        match operation(&mut stage) {
            Ok(()) => shared.done.fetch_add(1, Ordering::Relaxed),
            Err(error) if EXPECTED.contains(&error) => shared.refused.fetch_add(1, Ordering::Relaxed),
            // What every call gets from a server that is gone.
            Err(Errno::NOTCONN | Errno::CONNABORTED) if shared.end == End::Crash => return,
            Err(error) => {
                if shared.complain(format!("{name}: {error}")) {
                    return;
                }
                0
            }
        };
    }
}

/// What may happen when others work on the same names, on a disk of limited size.
const EXPECTED: &[Errno] = &[
    Errno::NOENT,
    Errno::EXIST,
    Errno::NOTDIR,
    Errno::ISDIR,
    Errno::NOTEMPTY,
    Errno::NOSPC,
    Errno::LOOP,
    Errno::MLINK,
    Errno::NODATA,
    // A rename of a directory into itself, an exchange of one with its own child.
    Errno::INVAL,
    // A hard link to a directory.
    Errno::PERM,
    // A fifo that nobody reads, or that is read at an offset.
    Errno::PIPE,
    Errno::NXIO,
    Errno::SPIPE,
    // A whiteout opened as the device that it looks like.
    Errno::ACCESS,
    Errno::OPNOTSUPP,
];

/// What one thread works with.
struct Stage {
    dir: PathBuf,
    random: SmallRng,
    content: Vec<u8>,
}

type Done = Result<(), Errno>;
type Operation = fn(&mut Stage) -> Done;

/// Every operation, those that matter more than once.
const OPERATIONS: &[(&str, Operation)] = &[
    ("write", Stage::write),
    ("write", Stage::write),
    ("write", Stage::write),
    ("append", Stage::append),
    ("read", Stage::read),
    ("read", Stage::read),
    ("truncate", Stage::truncate),
    ("allocate", Stage::allocate),
    ("unlink", Stage::unlink),
    ("unlink", Stage::unlink),
    ("mkdir", Stage::mkdir),
    ("mkdir", Stage::mkdir),
    ("rmdir", Stage::rmdir),
    ("rename", Stage::rename),
    ("rename", Stage::rename),
    ("link", Stage::link),
    ("symlink", Stage::symlink),
    ("readdir", Stage::readdir),
    ("stat", Stage::stat),
    ("chmod", Stage::chmod),
    ("chown", Stage::chown),
    ("times", Stage::times),
    ("set xattr", Stage::set_xattr),
    ("remove xattr", Stage::remove_xattr),
    ("mknod", Stage::mknod),
    ("tmpfile", Stage::tmpfile),
    ("fsync", Stage::fsync),
];

const PERMISSIONS: Mode = Mode::from_bits_retain(0o755);

impl Stage {
    /// A name out of few hundred, at most two directories deep.
    fn path(&mut self) -> PathBuf {
        let mut path = self.directory();
        path.push(format!("f{}", self.random.random_range(0..24)));
        path
    }

    fn directory(&mut self) -> PathBuf {
        let mut path = self.dir.clone();
        for _ in 0..self.random.random_range(0..3) {
            path.push(format!("d{}", self.random.random_range(0..3)));
        }
        path
    }

    /// Now a file, now a directory.
    fn either(&mut self) -> PathBuf {
        if self.random.random_range(0..3) == 0 { self.directory() } else { self.path() }
    }

    fn offset(&mut self) -> u64 {
        // Mostly near the start; at times far out, so that files are sparse and have trees.
        let bits = if self.random.random_range(0..8) == 0 { 34 } else { 19 };
        self.random.random_range(0..1u64 << bits)
    }

    fn open(&mut self, flags: OFlags) -> Result<std::fs::File, Errno> {
        let path = self.path();
        Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, PERMISSIONS)?.into())
    }

    fn piece(&mut self) -> &[u8] {
        let most = self.content.len() >> self.random.random_range(0..8u32);
        let length = self.random.random_range(1..=most);
        &self.content[..length]
    }

    fn write(&mut self) -> Done {
        let file = self.open(OFlags::CREATE | OFlags::WRONLY)?;
        let offset = self.offset();
        rustix::io::pwrite(&file, self.piece(), offset).map(drop)
    }

    fn append(&mut self) -> Done {
        let file = self.open(OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND)?;
        rustix::io::write(&file, self.piece()).map(drop)
    }

    fn read(&mut self) -> Done {
        let file = self.open(OFlags::RDONLY)?;
        let mut buffer = [0; 8192];
        let offset = self.offset();
        rustix::io::pread(&file, &mut buffer, offset).map(drop)
    }

    fn truncate(&mut self) -> Done {
        let file = self.open(OFlags::WRONLY)?;
        let length = self.offset();
        rustix::fs::ftruncate(&file, length)
    }

    fn allocate(&mut self) -> Done {
        let file = self.open(OFlags::WRONLY)?;
        let mode = match self.random.random_range(0..4) {
            0 => FallocateFlags::empty(),
            1 => FallocateFlags::KEEP_SIZE,
            2 => FallocateFlags::ZERO_RANGE,
            _ => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        };
        let (offset, length) = (self.offset(), self.random.random_range(1..1u64 << 18));
        rustix::fs::fallocate(&file, mode, offset, length)
    }

    fn unlink(&mut self) -> Done {
        rustix::fs::unlink(self.path())
    }

    fn mkdir(&mut self) -> Done {
        rustix::fs::mkdir(self.directory(), PERMISSIONS)
    }

    fn rmdir(&mut self) -> Done {
        let path = self.directory();
        // The top is everybody's.
        if path == self.dir { Ok(()) } else { rustix::fs::rmdir(path) }
    }

    fn rename(&mut self) -> Done {
        let (from, to) = (self.either(), self.either());
        if from == self.dir || to == self.dir {
            return Ok(());
        }
        let flags = match self.random.random_range(0..8) {
            0 => RenameFlags::NOREPLACE,
            1 => RenameFlags::EXCHANGE,
            2 => RenameFlags::WHITEOUT,
            _ => RenameFlags::empty(),
        };
        rustix::fs::renameat_with(CWD, from, CWD, to, flags)
    }

    fn link(&mut self) -> Done {
        let (from, to) = (self.path(), self.path());
        rustix::fs::link(from, to)
    }

    fn symlink(&mut self) -> Done {
        let length = if self.random.random_range(0..4) == 0 { 2000 } else { 12 };
        let target: String = "f0/".chars().cycle().take(length).collect();
        let path = self.path();
        rustix::fs::symlink(target, &path)?;
        rustix::fs::readlink(path, Vec::new()).map(drop)
    }

    fn readdir(&mut self) -> Done {
        let dir = rustix::fs::open(self.directory(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        for entry in rustix::fs::Dir::read_from(dir)? {
            entry?;
        }
        Ok(())
    }

    fn stat(&mut self) -> Done {
        rustix::fs::lstat(self.either()).map(drop)
    }

    fn chmod(&mut self) -> Done {
        // Directories stay open to their owner.
        let bits = self.random.random_range(0..0o1000) | 0o700;
        rustix::fs::chmod(self.path(), Mode::from_bits_retain(bits))
    }

    fn chown(&mut self) -> Done {
        let owner = rustix::fs::Uid::from_raw(self.random.random_range(0..1000));
        rustix::fs::chown(self.path(), Some(owner), None)
    }

    fn times(&mut self) -> Done {
        let mut stamp = || Timespec {
            tv_sec: self.random.random_range(0..1 << 33),
            tv_nsec: self.random.random_range(0..1_000_000_000),
        };
        let times = Timestamps { last_access: stamp(), last_modification: stamp() };
        rustix::fs::utimensat(CWD, self.either(), &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn set_xattr(&mut self) -> Done {
        let (path, name) = (self.path(), format!("user.a{}", self.random.random_range(0..6)));
        let length = self.random.random_range(0..1500);
        rustix::fs::setxattr(path, name, &self.content[..length], XattrFlags::empty())
    }

    fn remove_xattr(&mut self) -> Done {
        let name = format!("user.a{}", self.random.random_range(0..6));
        rustix::fs::removexattr(self.path(), name)
    }

    fn mknod(&mut self) -> Done {
        let kind =
            if self.random.random() { rustix::fs::FileType::Fifo } else { rustix::fs::FileType::Socket };
        rustix::fs::mknodat(CWD, self.path(), kind, PERMISSIONS, 0)
    }

    /// A nameless file, written, and at times given a name at last.
    fn tmpfile(&mut self) -> Done {
        let dir = self.directory();
        let file = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY, PERMISSIONS)?;
        rustix::io::write(&file, self.piece())?;
        if self.random.random() {
            return Ok(());
        }
        let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, by_number, CWD, self.path(), AtFlags::SYMLINK_FOLLOW)
    }

    fn fsync(&mut self) -> Done {
        let file = self.open(OFlags::WRONLY)?;
        match self.random.random_range(0..10) {
            0 => rustix::fs::syncfs(&file),
            1..5 => rustix::fs::fdatasync(&file),
            _ => rustix::fs::fsync(&file),
        }
    }
}

/// Reads every name, attribute and byte below `dir`.
fn walk(dir: &Path, entries: &mut u64) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        *entries += 1;
        let metadata = path.symlink_metadata().with_context(|| path.display().to_string())?;
        if metadata.is_dir() {
            walk(&path, entries)?;
        } else if metadata.is_file() {
            // The ends say enough of a sparse file of many gibibytes.
            let mut start = Vec::new();
            std::fs::File::open(&path)
                .and_then(|file| file.take(1 << 20).read_to_end(&mut start))
                .with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
