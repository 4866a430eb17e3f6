//! A damaged image goes through everything that reads it: fsck, recovery, mount, a walk, changes, unmount, fsck.
use crate::base::{Base, HOME, LOGGED};
use crate::device::Ram;
use crate::patch::{self, Patch};
use crate::volume::{ROOT, Volume};
use bento_api::{Allocate, BLOCK_BYTES, Errno, FileKind, InodeNo, Rename, Seek};
use bento_fsck::{Report, check};
use bento_user::session::Purpose;
use rustc_hash::FxHashSet;
use std::fmt;
use std::sync::Arc;

/// Patches of one case, at most.
const MOST_PATCHES: usize = 8;
/// Inodes that a walk looks at, at most.
const MOST_INODES: usize = 300;
/// Steps from data to hole to data.
const MOST_SEEKS: usize = 64;

/// A damaged image.
#[derive(Clone, Debug)]
pub struct Case {
    /// The volume with something in its log, not the one whose log is empty.
    pub logged: bool,
    /// Checksums are made right.
    pub sealed: bool,
    /// It is mounted read-only.
    pub read_only: bool,
    /// What is changed.
    pub patches: Vec<Patch>,
}

impl Case {
    /// From any bytes.
    pub fn decode(data: &[u8]) -> Self {
        let (flags, rest) = data.split_first().map_or((0, data), |(flags, rest)| (*flags, rest));
        let patches =
            rest.as_chunks().0.iter().take(MOST_PATCHES).map(|bytes| Patch::decode(*bytes)).collect();
        // Wrong checksums are one case in eight: right ones lead further.
        Self { logged: flags & 1 != 0, read_only: flags & 2 != 0, sealed: flags & 0x1c != 0, patches }
    }

    /// The bytes of which it is made.
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.logged) | u8::from(self.read_only) << 1 | u8::from(self.sealed) << 2;
        std::iter::once(flags).chain(self.patches.iter().flat_map(|patch| patch.encode())).collect()
    }

    /// The volume that is damaged.
    pub fn base(&self) -> &'static Base {
        if self.logged { &LOGGED } else { &HOME }
    }

    /// What is on the damaged disk.
    pub fn blocks(&self) -> Vec<bento_api::Bytes> {
        let base = self.base();
        let device = Ram::over(base.blocks.clone());
        patch::apply(&device, base, &self.patches, self.sealed);
        device.snapshot()
    }

    /// Runs it.
    ///
    /// # Panics
    /// If the damage does harm, or is overlooked.
    pub fn run(&self) {
        let base = self.base();
        let device = Arc::new(Ram::over(base.blocks.clone()));
        patch::apply(&device, base, &self.patches, self.sealed);
        let before = check(&*device, &bento_fsck::Options::default());
        let purpose = if self.read_only { Purpose::Read } else { Purpose::Write };
        let met = match Volume::open(&device, purpose) {
            Ok(volume) => self.use_up(volume, &before),
            Err(error) => {
                assert!(
                    !before.is_clean() || self.is_unsupported(&error.to_string()),
                    "fsck finds nothing, but: {error}"
                );
                return;
            }
        };
        let after = check(&*device, &bento_fsck::Options::default());
        if before.is_clean() {
            assert!(after.is_clean(), "was clean, met {met:?}, and now: {:#?}", after.problems);
        }
    }

    /// Not damage, but what this version cannot mount.
    fn is_unsupported(&self, error: &str) -> bool {
        error.contains("features") || error.contains("the log has")
    }

    /// Walks and changes a volume; the corruption that was met on the way.
    fn use_up(&self, mut volume: Volume, before: &Report) -> Met {
        let mut met = Met::default();
        let mut user = User { volume: &mut volume, met: &mut met, seen: FxHashSet::default() };
        user.walk(ROOT, 0);
        user.change();
        let (reports, _) = volume.mount().containers().reports();
        if before.is_clean() {
            assert!(
                met.corrupt.is_empty() && reports.is_empty(),
                "fsck found nothing, but: {met:?}, {reports:?}"
            );
        }
        // What an operation answered has a block and a number for people to go by.
        assert!(met.corrupt.is_empty() || !reports.is_empty(), "nobody was told of {met:?}");
        if let Err(error) = volume.close() {
            assert!(!before.is_clean(), "fsck found nothing, but: {error}");
        }
        met
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "{hex}:")?;
        let what = [(self.logged, " logged"), (self.read_only, " read-only"), (!self.sealed, " unsealed")];
        what.iter().filter(|(is, _)| *is).try_for_each(|(_, name)| f.write_str(name))?;
        self.patches.iter().try_for_each(|patch| write!(f, " [{}]", patch.describe(self.base())))
    }
}

/// Damages an image as the bytes say, and uses it.
///
/// # Panics
/// If the damage does harm, or is overlooked.
pub fn image(data: &[u8]) {
    Case::decode(data).run();
}

/// Errors that tell of damage.
#[derive(Debug, Default)]
struct Met {
    corrupt: Vec<u16>,
}

struct User<'a> {
    volume: &'a mut Volume,
    met: &'a mut Met,
    seen: FxHashSet<InodeNo>,
}

impl User<'_> {
    /// Notes an answer.
    fn note<T>(&mut self, reply: Result<T, Errno>) -> Option<T> {
        if let Err(Errno::Corrupt(what)) = reply {
            self.met.corrupt.push(what.0);
        }
        reply.ok()
    }

    /// Looks at everything below a directory.
    fn walk(&mut self, ino: InodeNo, depth: usize) {
        if depth > 20 || self.seen.len() > MOST_INODES || !self.seen.insert(ino) {
            return;
        }
        let stat = self.volume.stat(ino);
        let Some(attr) = self.note(stat) else { return };
        self.look_at_attributes(ino);
        match attr.kind() {
            Some(FileKind::Directory) => self.walk_directory(ino, depth),
            Some(FileKind::Symlink) => {
                let target = self.volume.readlink(ino);
                self.note(target);
            }
            Some(FileKind::Regular) => self.look_at_content(ino, attr.size),
            _ => {}
        }
    }

    fn look_at_attributes(&mut self, ino: InodeNo) {
        let names = self.volume.listxattr(ino);
        for name in self.note(names).unwrap_or_default() {
            let value = self.volume.getxattr(ino, &name);
            self.note(value);
        }
    }

    fn walk_directory(&mut self, ino: InodeNo, depth: usize) {
        let parent = self.volume.parent(ino);
        self.note(parent);
        let listed = self.volume.list(ino);
        let listed = self.note(listed).unwrap_or_default();
        let few = listed.len() / 40 + 1;
        for (at, (name, child, _)) in listed.into_iter().enumerate() {
            if at < 20 || at % few == 0 {
                let found = self.volume.lookup(ino, &name);
                self.note(found);
            }
            self.walk(child, depth + 1);
        }
        let absent = self.volume.lookup(ino, b"is not there");
        self.note(absent);
    }

    fn look_at_content(&mut self, ino: InodeNo, size: u64) {
        let places = [0, size / 2, size.saturating_sub(5000)];
        for at in places.into_iter().chain((0..8).map(|at| at * 160 * BLOCK_BYTES)) {
            let bytes = self.volume.read(ino, at, 9000);
            self.note(bytes);
        }
        let mut at = 0;
        for step in 0..MOST_SEEKS {
            let what = if step % 2 == 0 { Seek::Data } else { Seek::Hole };
            let found = self.volume.seek(ino, at, what);
            let Some(found) = self.note(found) else { return };
            assert!(found >= at, "a seek goes forward");
            at = found;
        }
    }

    /// A few operations of each kind, whatever they meet.
    fn change(&mut self) {
        let made = self.volume.create(ROOT, b"new", 0o100_644);
        if let Some(new) = self.note(made) {
            self.change_file(new);
        }
        for name in [b"file".as_slice(), b"tree", b"many", b"dir"] {
            let found = self.volume.lookup(ROOT, name);
            let Some(attr) = self.note(found) else { continue };
            match attr.kind() {
                Some(FileKind::Directory) => self.change_directory(attr.ino),
                Some(FileKind::Regular) => self.change_file(attr.ino),
                _ => {}
            }
        }
        let tmp = self.volume.tmpfile();
        self.note(tmp);
        for name in [b"tree".as_slice(), b"short", b"new", b"file"] {
            let gone = self.volume.unlink(ROOT, name);
            self.note(gone);
        }
        let synced = self.volume.sync();
        self.note(synced);
    }

    fn change_file(&mut self, ino: InodeNo) {
        for at in [0, 5000, 3 * BLOCK_BYTES, 700 * BLOCK_BYTES, 1 << 30] {
            let written = self.volume.write(ino, at, &[0x77; 5000]);
            self.note(written);
        }
        let punched = self.volume.fallocate(ino, Allocate::Punch, 10_000..400 * BLOCK_BYTES);
        self.note(punched);
        let set = self.volume.setxattr(ino, b"user.new", &[1; 200]);
        self.note(set);
        let cut = self.volume.truncate(ino, 600 * BLOCK_BYTES + 1);
        self.note(cut);
    }

    fn change_directory(&mut self, ino: InodeNo) {
        for at in 0..20 {
            let made = self.volume.create(ino, format!("more {at}").as_bytes(), 0o100_644);
            self.note(made);
        }
        let sub = self.volume.create(ino, b"below", 0o040_755);
        self.note(sub);
        let moved = self.volume.rename((ino, b"more 1"), (ROOT, b"moved"), Rename::Replace);
        self.note(moved);
        let swapped = self.volume.rename((ino, b"below"), (ino, b"more 2"), Rename::Exchange);
        self.note(swapped);
        for at in (0..700).step_by(23) {
            let gone = self.volume.unlink(ino, format!("name {at}").as_bytes());
            self.note(gone);
        }
        for name in [b"long".as_slice(), b"fifo", b"more 3"] {
            let gone = self.volume.unlink(ino, name);
            self.note(gone);
        }
        let cleared = self.volume.removexattr(ino, b"user.large");
        self.note(cleared);
        let gone = self.volume.rmdir(ino, b"more 2");
        self.note(gone);
    }
}
