//! J-lang: the small language that workloads are written in, one line an operation.
//!
//! The vocabulary is CrashMonkey's, so that its published sets and bug lists can be read as they are;
//! operations it lacks (chmod, fdatasync as a persistence point, `renameat2` flags, ...) are added in
//! the same manner. A path is a token: the classic names run together (`Afoo` is `A/foo`), every other
//! name is written out, and a name that looks like a classic token gets a leading `./`.
//!
//! File descriptors have no names of their own. `open foo` opens the descriptor that every later line
//! calls `foo`, as CrashMonkey's adapter does: opening it again replaces it, and the old one stays open
//! until the end. A workload may therefore hold an unlinked file open by accident; that is wanted.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use bitflags::bitflags;
use thiserror::Error;

/// A path below the root of the mount, without a leading slash; the root itself is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Cow<'static, str>);

/// The run-together tokens of the classic vocabulary, and what they stand for.
const CLASSIC: [(&str, &str); 8] = [
    ("test", ""),
    ("AC", "A/C"),
    ("Afoo", "A/foo"),
    ("Abar", "A/bar"),
    ("Bfoo", "B/foo"),
    ("Bbar", "B/bar"),
    ("ACfoo", "A/C/foo"),
    ("ACbar", "A/C/bar"),
];

impl Path {
    /// The root of the mount.
    pub const ROOT: Path = Path(Cow::Borrowed(""));

    /// A path known at compile time.
    pub const fn fixed(path: &'static str) -> Path {
        Path(Cow::Borrowed(path))
    }

    /// A path made at run time.
    pub fn new(path: impl Into<String>) -> Path {
        Path(Cow::Owned(path.into()))
    }

    /// The path as text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a J-lang token.
    pub fn from_token(token: &str) -> Path {
        if let Some(written_out) = token.strip_prefix("./") {
            return Path::new(written_out);
        }
        match CLASSIC.iter().find(|(classic, _)| *classic == token) {
            Some((_, path)) => Path::fixed(path),
            None => Path::new(token),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.as_str();
        if let Some((token, _)) = CLASSIC.iter().find(|(_, p)| *p == path) {
            f.write_str(token)
        } else if CLASSIC.iter().any(|(token, _)| *token == path) {
            write!(f, "./{path}")
        } else {
            f.write_str(path)
        }
    }
}

bitflags! {
    /// Flags of `open`; reading and writing are always both wanted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        /// Create the file if it is missing.
        const CREATE = 1;
        /// Fail if it exists.
        const EXCLUSIVE = 2;
        /// Cut it to nothing.
        const TRUNCATE = 4;
        /// Every write goes to the end.
        const APPEND = 8;
        /// An unnamed file in the directory that the path names.
        const TMPFILE = 16;
    }

    /// Flags of `renameat2`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RenameFlags: u32 {
        /// Fail if the target exists.
        const NOREPLACE = 1;
        /// Swap the two names.
        const EXCHANGE = 2;
        /// Leave a whiteout (a character device 0:0) where the source was.
        const WHITEOUT = 4;
    }

    /// Modes of `fallocate`; empty means to allocate and to raise the size.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct FallocMode: u32 {
        /// The size stays as it is.
        const KEEP_SIZE = 1;
        /// Free the range.
        const PUNCH_HOLE = 2;
        /// Make the range read as zeros, allocated.
        const ZERO_RANGE = 0x10;
    }
}

const OPEN_NAMES: [(OpenFlags, &str); 5] = [
    (OpenFlags::CREATE, "O_CREAT"),
    (OpenFlags::EXCLUSIVE, "O_EXCL"),
    (OpenFlags::TRUNCATE, "O_TRUNC"),
    (OpenFlags::APPEND, "O_APPEND"),
    (OpenFlags::TMPFILE, "O_TMPFILE"),
];
const RENAME_NAMES: [(RenameFlags, &str); 3] = [
    (RenameFlags::NOREPLACE, "RENAME_NOREPLACE"),
    (RenameFlags::EXCHANGE, "RENAME_EXCHANGE"),
    (RenameFlags::WHITEOUT, "RENAME_WHITEOUT"),
];
/// In the order in which C programs write them.
const FALLOC_NAMES: [(FallocMode, &str); 3] = [
    (FallocMode::ZERO_RANGE, "FALLOC_FL_ZERO_RANGE"),
    (FallocMode::PUNCH_HOLE, "FALLOC_FL_PUNCH_HOLE"),
    (FallocMode::KEEP_SIZE, "FALLOC_FL_KEEP_SIZE"),
];

/// What `mknod` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A character device, by device number.
    Char(u32),
    /// A block device, by device number.
    Block(u32),
    /// A socket.
    Socket,
}

/// The attribute that plain `fsetxattr` and `removexattr` lines mean.
pub const DEFAULT_XATTR: (&str, &str) = ("user.xattr1", "val1 ");

/// One line of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields are the arguments of the system call that the variant names")]
pub enum Op {
    /// `mkdir(2)`.
    Mkdir { path: Path, mode: u32 },
    /// `rmdir(2)`.
    Rmdir { path: Path },
    /// `open(2)` of a file for reading and writing.
    Open { path: Path, flags: OpenFlags, mode: u32 },
    /// `open(2)` of a directory.
    OpenDir { path: Path },
    /// `close(2)` of the descriptor that goes by this path.
    Close { path: Path },
    /// `mknod(2)` of anything but a regular file.
    Mknod { path: Path, what: Special, mode: u32 },
    /// `unlink(2)`.
    Unlink { path: Path },
    /// `remove(3)`: unlink or rmdir, whichever fits.
    Remove { path: Path },
    /// `link(2)`.
    Link { from: Path, to: Path },
    /// `renameat2(2)`.
    Rename { from: Path, to: Path, flags: RenameFlags },
    /// `symlink(2)`; the target is stored as it is written.
    Symlink { target: Path, path: Path },
    /// `fsetxattr(2)`.
    SetXattr { path: Path, name: Cow<'static, str>, value: Cow<'static, str> },
    /// `removexattr(2)`, by path.
    RemoveXattr { path: Path, name: Cow<'static, str> },
    /// `truncate(2)`, by path.
    Truncate { path: Path, len: i64 },
    /// `fallocate(2)`.
    Falloc { path: Path, mode: FallocMode, off: i64, len: i64 },
    /// `pwrite(2)`.
    Write { path: Path, off: i64, len: u32 },
    /// `write(2)` on a descriptor opened with `O_APPEND`: at the end of the file.
    Append { path: Path, len: u32 },
    /// Close, open with `O_DIRECT|O_SYNC`, `pwrite(2)`, close: durable when it returns.
    DirectWrite { path: Path, off: i64, len: u32 },
    /// `fallocate(2)`, stores through a shared mapping, `msync(2)` of the first 8 KiB of them.
    MmapWrite { path: Path, off: i64, len: u32 },
    /// `chmod(2)`.
    Chmod { path: Path, mode: u32 },
    /// `lchown(2)`.
    Chown { path: Path, uid: u32, gid: u32 },
    /// `utimensat(2)`: access and modification time, in seconds.
    Utimens { path: Path, seconds: i64 },
    /// `fsync(2)`.
    Fsync { path: Path },
    /// `fdatasync(2)`.
    Fdatasync { path: Path },
    /// `sync(2)`.
    Sync,
    /// No operation: the slot of a persistence operation, left empty.
    Nothing,
    /// The persistence operation before it returned; 1 marks the last one of the workload.
    Checkpoint { last: u32 },
}

impl Op {
    /// Whether a successful return of this operation promises durability of something.
    pub fn persists(&self) -> bool {
        matches!(
            self,
            Op::Fsync { .. }
                | Op::Fdatasync { .. }
                | Op::Sync
                | Op::DirectWrite { .. }
                | Op::MmapWrite { .. }
        )
    }
}

fn write_flags<F: Copy>(
    f: &mut fmt::Formatter<'_>,
    names: &[(F, &str)],
    has: impl Fn(F) -> bool,
    mut separator: bool,
) -> fmt::Result {
    for (flag, name) in names {
        if has(*flag) {
            if separator {
                f.write_char('|')?;
            }
            f.write_str(name)?;
            separator = true;
        }
    }
    Ok(())
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Mkdir { path, mode } => write!(f, "mkdir {path} {mode:04o}"),
            Op::Rmdir { path } => write!(f, "rmdir {path}"),
            Op::Open { path, flags, mode } => {
                write!(f, "open {path} O_RDWR")?;
                write_flags(f, &OPEN_NAMES, |flag| flags.contains(flag), true)?;
                write!(f, " {mode:04o}")
            }
            Op::OpenDir { path } => write!(f, "opendir {path} 0777"),
            Op::Close { path } => write!(f, "close {path}"),
            Op::Mknod { path, what, mode } => match what {
                Special::Fifo => write!(f, "mknod {path} S_IFIFO {mode:04o} 0"),
                Special::Char(device) => write!(f, "mknod {path} S_IFCHR {mode:04o} {device}"),
                Special::Block(device) => write!(f, "mknod {path} S_IFBLK {mode:04o} {device}"),
                Special::Socket => write!(f, "mknod {path} S_IFSOCK {mode:04o} 0"),
            },
            Op::Unlink { path } => write!(f, "unlink {path}"),
            Op::Remove { path } => write!(f, "remove {path}"),
            Op::Link { from, to } => write!(f, "link {from} {to}"),
            Op::Rename { from, to, flags } => {
                write!(f, "rename {from} {to}")?;
                if !flags.is_empty() {
                    f.write_char(' ')?;
                }
                write_flags(f, &RENAME_NAMES, |flag| flags.contains(flag), false)
            }
            Op::Symlink { target, path } => write!(f, "symlink {target} {path}"),
            Op::SetXattr { path, name, value } if (&**name, &**value) == DEFAULT_XATTR => {
                write!(f, "fsetxattr {path}")
            }
            Op::SetXattr { path, name, value } => write!(f, "fsetxattr {path} {name} {value}"),
            Op::RemoveXattr { path, name } if name == DEFAULT_XATTR.0 => write!(f, "removexattr {path}"),
            Op::RemoveXattr { path, name } => write!(f, "removexattr {path} {name}"),
            Op::Truncate { path, len } => write!(f, "truncate {path} {len}"),
            Op::Falloc { path, mode, off, len } => {
                write!(f, "falloc {path} ")?;
                if mode.is_empty() {
                    f.write_char('0')?;
                }
                write_flags(f, &FALLOC_NAMES, |flag| mode.contains(flag), false)?;
                write!(f, " {off} {len}")
            }
            Op::Write { path, off, len } => write!(f, "write {path} {off} {len}"),
            Op::Append { path, len } => write!(f, "append {path} {len}"),
            Op::DirectWrite { path, off, len } => write!(f, "dwrite {path} {off} {len}"),
            Op::MmapWrite { path, off, len } => write!(f, "mmapwrite {path} {off} {len}"),
            Op::Chmod { path, mode } => write!(f, "chmod {path} {mode:04o}"),
            Op::Chown { path, uid, gid } => write!(f, "chown {path} {uid} {gid}"),
            Op::Utimens { path, seconds } => write!(f, "utimens {path} {seconds}"),
            Op::Fsync { path } => write!(f, "fsync {path}"),
            Op::Fdatasync { path } => write!(f, "fdatasync {path}"),
            Op::Sync => f.write_str("sync"),
            Op::Nothing => f.write_str("none"),
            Op::Checkpoint { last } => write!(f, "checkpoint {last}"),
        }
    }
}

/// Why a line is no J-lang.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SyntaxError {
    /// The first word names no operation.
    #[error("unknown operation {0:?}")]
    UnknownOperation(String),
    /// The line ends too early.
    #[error("{operation} lacks {what}")]
    Missing {
        /// The operation.
        operation: String,
        /// What should have come next.
        what: &'static str,
    },
    /// A word is not what its place wants.
    #[error("{word:?} is no {what}")]
    Malformed {
        /// What it should have been.
        what: &'static str,
        /// The word.
        word: String,
    },
    /// Words are left over.
    #[error("{operation} takes no further argument {word:?}")]
    TooLong {
        /// The operation.
        operation: String,
        /// The first word too many.
        word: String,
    },
}

/// The words of one line, taken from left to right.
struct Words<'a> {
    operation: &'a str,
    rest: std::str::SplitAsciiWhitespace<'a>,
}

impl<'a> Words<'a> {
    fn optional(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    fn word(&mut self, what: &'static str) -> Result<&'a str, SyntaxError> {
        self.rest.next().ok_or_else(|| SyntaxError::Missing { operation: self.operation.to_owned(), what })
    }

    fn path(&mut self) -> Result<Path, SyntaxError> {
        self.word("a path").map(Path::from_token)
    }

    fn number<N: FromStr>(&mut self, what: &'static str) -> Result<N, SyntaxError> {
        let word = self.word(what)?;
        word.parse().map_err(|_| SyntaxError::Malformed { what, word: word.to_owned() })
    }

    fn mode(&mut self) -> Result<u32, SyntaxError> {
        let word = self.word("a mode")?;
        u32::from_str_radix(word, 8)
            .map_err(|_| SyntaxError::Malformed { what: "mode", word: word.to_owned() })
    }

    fn flags<F: bitflags::Flags + Copy>(
        &mut self,
        names: &[(F, &str)],
        ignored: &str,
        what: &'static str,
    ) -> Result<F, SyntaxError> {
        let word = self.word(what)?;
        parse_flags(word, names, ignored, what)
    }

    fn special(&mut self) -> Result<(Special, u32), SyntaxError> {
        let kind = self.word("a file type")?;
        let mode = self.mode()?;
        let device = self.number("device number")?;
        let what = match kind {
            "S_IFIFO" => Special::Fifo,
            "S_IFCHR" => Special::Char(device),
            "S_IFBLK" => Special::Block(device),
            "S_IFSOCK" => Special::Socket,
            _ => return Err(SyntaxError::Malformed { what: "file type", word: kind.to_owned() }),
        };
        Ok((what, mode))
    }

    fn end(mut self) -> Result<(), SyntaxError> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => {
                Err(SyntaxError::TooLong { operation: self.operation.to_owned(), word: word.to_owned() })
            }
        }
    }
}

fn parse_flags<F: bitflags::Flags + Copy>(
    word: &str,
    names: &[(F, &str)],
    ignored: &str,
    what: &'static str,
) -> Result<F, SyntaxError> {
    let mut flags = F::empty();
    for part in word.split('|').filter(|part| *part != ignored) {
        match names.iter().find(|(_, name)| *name == part) {
            Some((flag, _)) => flags.insert(*flag),
            None => return Err(SyntaxError::Malformed { what, word: part.to_owned() }),
        }
    }
    Ok(flags)
}

impl FromStr for Op {
    type Err = SyntaxError;

    fn from_str(line: &str) -> Result<Op, SyntaxError> {
        let mut rest = line.split_ascii_whitespace();
        let operation = rest.next().unwrap_or("");
        let mut w = Words { operation, rest };
        let op = match operation {
            "mkdir" => Op::Mkdir { path: w.path()?, mode: w.mode()? },
            "rmdir" => Op::Rmdir { path: w.path()? },
            "open" => Op::Open {
                path: w.path()?,
                flags: w.flags(&OPEN_NAMES, "O_RDWR", "flags of open")?,
                mode: w.mode()?,
            },
            "opendir" => {
                let path = w.path()?;
                let _always_0777 = w.mode()?;
                Op::OpenDir { path }
            }
            "close" => Op::Close { path: w.path()? },
            "mknod" => {
                let path = w.path()?;
                let (what, mode) = w.special()?;
                Op::Mknod { path, what, mode }
            }
            "unlink" => Op::Unlink { path: w.path()? },
            "remove" => Op::Remove { path: w.path()? },
            "link" => Op::Link { from: w.path()?, to: w.path()? },
            "rename" => {
                let (from, to) = (w.path()?, w.path()?);
                let flags = match w.optional() {
                    Some(word) => parse_flags(word, &RENAME_NAMES, "", "flags of rename")?,
                    None => RenameFlags::empty(),
                };
                Op::Rename { from, to, flags }
            }
            "symlink" => Op::Symlink { target: w.path()?, path: w.path()? },
            "fsetxattr" => {
                let path = w.path()?;
                match w.optional() {
                    None => {
                        Op::SetXattr { path, name: DEFAULT_XATTR.0.into(), value: DEFAULT_XATTR.1.into() }
                    }
                    Some(name) => Op::SetXattr {
                        path,
                        name: name.to_owned().into(),
                        value: w.word("a value")?.to_owned().into(),
                    },
                }
            }
            "removexattr" => {
                let path = w.path()?;
                let name = w.optional().map_or(DEFAULT_XATTR.0.into(), |name| name.to_owned().into());
                Op::RemoveXattr { path, name }
            }
            "truncate" => Op::Truncate { path: w.path()?, len: w.number("length")? },
            "falloc" => Op::Falloc {
                path: w.path()?,
                mode: w.flags(&FALLOC_NAMES, "0", "mode of fallocate")?,
                off: w.number("offset")?,
                len: w.number("length")?,
            },
            "write" => Op::Write { path: w.path()?, off: w.number("offset")?, len: w.number("length")? },
            "append" => Op::Append { path: w.path()?, len: w.number("length")? },
            "dwrite" => {
                Op::DirectWrite { path: w.path()?, off: w.number("offset")?, len: w.number("length")? }
            }
            "mmapwrite" => {
                Op::MmapWrite { path: w.path()?, off: w.number("offset")?, len: w.number("length")? }
            }
            "chmod" => Op::Chmod { path: w.path()?, mode: w.mode()? },
            "chown" => Op::Chown { path: w.path()?, uid: w.number("uid")?, gid: w.number("gid")? },
            "utimens" => Op::Utimens { path: w.path()?, seconds: w.number("time")? },
            "fsync" => Op::Fsync { path: w.path()? },
            "fdatasync" => Op::Fdatasync { path: w.path()? },
            "sync" => Op::Sync,
            "none" => Op::Nothing,
            "checkpoint" => Op::Checkpoint { last: w.number("checkpoint")? },
            _ => return Err(SyntaxError::UnknownOperation(operation.to_owned())),
        };
        w.end()?;
        Ok(op)
    }
}

/// A line that could not be read, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {error}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: SyntaxError,
}

/// A sequence of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// In order.
    pub ops: Vec<Op>,
}

impl Workload {
    /// Writes the text, one line an operation, without a newline at the end.
    pub fn write_text(&self, text: &mut String) {
        for (i, op) in self.ops.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            write!(text, "{op}").expect("writing to a string cannot fail");
        }
    }

    /// The form that two runs of any generator agree on: the closes at the end are sorted as text,
    /// because their order is that of a hash map in the original.
    pub fn write_canonical(&self, text: &mut String) {
        let closes = self.ops.iter().rev().take_while(|op| matches!(op, Op::Close { .. })).count();
        let (body, tail) = self.ops.split_at(self.ops.len() - closes);
        let mut tail: Vec<&Op> = tail.iter().collect();
        if let [_, _, ..] = *tail {
            tail.sort_by_cached_key(|op| op.to_string());
        }
        for op in body.iter().chain(tail) {
            writeln!(text, "{op}").expect("writing to a string cannot fail");
        }
        text.pop();
    }

    /// The identity of the workload: FNV-1a of the canonical text. A position in a set is none, since
    /// positions change with the generator.
    pub fn id(&self) -> u64 {
        let mut text = String::new();
        self.write_canonical(&mut text);
        fnv1a(text.as_bytes())
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_text(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Workload {
    type Err = ParseError;

    /// Empty lines and comments (`#`) are skipped.
    fn from_str(text: &str) -> Result<Workload, ParseError> {
        let mut ops = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                ops.push(line.parse().map_err(|error| ParseError { line: number + 1, error })?);
            }
        }
        Ok(Workload { ops })
    }
}

/// FNV-1a, 64 bits: the identity of a text here and in earlier tools.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_survives_printing_and_parsing() {
        let text = "mkdir A 0777\nopen Afoo O_RDWR|O_CREAT 0777\nopen A O_RDWR|O_TMPFILE 0600\n\
                    opendir test 0777\nclose ACbar\nrmdir AC\nmknod foo S_IFIFO 0644 0\n\
                    mknod B/c S_IFCHR 0644 259\nunlink bar\nremove Bfoo\nlink foo Bbar\nrename A B\n\
                    rename foo bar RENAME_EXCHANGE\nsymlink foo Abar\nfsetxattr foo\nremovexattr foo\n\
                    fsetxattr foo user.other x\nremovexattr foo user.other\ntruncate foo 2500\n\
                    falloc foo 0 0 4096\nfalloc foo FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE -2000 5000\n\
                    write foo -2000 5000\nappend foo 100\ndwrite foo 0 8192\nmmapwrite foo 0 4096\n\
                    chmod foo 4755\nchown foo 1 2\nutimens foo 77\nfsync test\nfdatasync foo\nsync\nnone\n\
                    checkpoint 1\nunlink ./Afoo";
        let workload: Workload = text.parse().expect("valid text");
        assert_eq!(workload.to_string(), text);
        assert_eq!(
            workload.ops[1],
            Op::Open { path: Path::fixed("A/foo"), flags: OpenFlags::CREATE, mode: 0o777 }
        );
        assert_eq!(workload.ops.last(), Some(&Op::Unlink { path: Path::fixed("Afoo") }));
    }

    #[test]
    fn an_error_names_the_line_and_the_word() {
        let error = "sync\n# a comment\nopen foo O_CREATE 0777".parse::<Workload>().unwrap_err();
        assert_eq!(error.to_string(), "line 3: \"O_CREATE\" is no flags of open");
        assert!("frobnicate x".parse::<Op>().is_err());
        assert!("sync now".parse::<Op>().is_err());
        assert!("write foo 1".parse::<Op>().is_err());
    }

    #[test]
    fn the_order_of_the_last_closes_does_not_change_the_identity() {
        let one: Workload = "sync\nclose foo\nclose Afoo".parse().expect("valid text");
        let other: Workload = "sync\nclose Afoo\nclose foo".parse().expect("valid text");
        let third: Workload = "close foo\nsync\nclose Afoo".parse().expect("valid text");
        assert_eq!(one.id(), other.id());
        assert_ne!(one.id(), third.id());
    }
}
