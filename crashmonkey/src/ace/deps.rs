//! Phase four: what a sequence of core and persistence operations needs in order to run (parents,
//! open descriptors, data to overwrite), inserted by fixed rules, so that a workload is a function of
//! its core operations.
//!
//! The rules for the classic kinds are those of the original generator with all their accidents: a file
//! created again is unlinked without being closed, children of a renamed directory are forgotten, and
//! lengths outlive the file. Changing any of them changes the fingerprints.

use super::bounds::{Argument, Bounds, Core, Kind, Refusal, Shape};
use super::name::{Name, Names};
use crate::jlang::{DEFAULT_XATTR, Op, OpenFlags, Path, RenameFlags, Special, Workload};

/// A persistence operation in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// `fsync` of a name.
    Fsync(Name),
    /// `sync`.
    Sync,
    /// Left empty.
    Nothing,
    /// `fdatasync` of a name.
    Fdatasync(Name),
    /// `fsync` of a name and then of its parent.
    FsyncBoth(Name),
}

/// Names in the order in which they were first added, each open or closed. A name that is removed and
/// added again goes to the end.
#[derive(Clone, Debug, Default)]
struct Table(Vec<(Name, bool)>);

impl Table {
    fn get(&self, name: Name) -> Option<bool> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, open)| *open)
    }

    fn set(&mut self, name: Name, open: bool) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = open,
            None => self.0.push((name, open)),
        }
    }

    fn remove(&mut self, name: Name) {
        self.0.retain(|(n, _)| *n != name);
    }
}

/// A workload under construction.
pub struct Builder<'a> {
    bounds: &'a Bounds,
    known_files: Names,
    known_dirs: Names,
    files: Table,
    dirs: Table,
    /// Files that were given data at some time.
    filled: Names,
    /// Length of each file by the arithmetic of the arguments, which neither unlink nor rename resets.
    lengths: [Option<i64>; Name::ALL.len()],
    ops: Vec<Op>,
}

impl<'a> Builder<'a> {
    /// The workload of these core operations, each followed by its persistence operation.
    pub fn build(bounds: &'a Bounds, steps: &[(Core, Persistence)]) -> Workload {
        let mut builder = Builder {
            bounds,
            known_files: bounds.known_files(),
            known_dirs: bounds.known_dirs(),
            files: Table::default(),
            dirs: Table(vec![(Name::Root, false)]),
            filled: Names::default(),
            lengths: [None; Name::ALL.len()],
            ops: Vec::with_capacity(20),
        };
        for (i, (core, persistence)) in steps.iter().enumerate() {
            let last = u32::from(i + 1 == steps.len());
            builder.core(core, last);
            // These two end in a checkpoint of their own; their slot stays empty.
            if !matches!(core.kind, Kind::MmapWrite | Kind::Fdatasync) {
                builder.persist(*persistence, last);
            }
        }
        builder.close_all();
        Workload { ops: builder.ops }
    }

    fn persist(&mut self, persistence: Persistence, last: u32) {
        match persistence {
            Persistence::Nothing => return self.ops.push(Op::Nothing),
            Persistence::Sync => self.ops.push(Op::Sync),
            Persistence::Fsync(name) => self.fsync(name),
            Persistence::Fdatasync(name) => {
                self.need_open(name);
                self.ops.push(Op::Fdatasync { path: name.path() });
            }
            Persistence::FsyncBoth(name) => {
                self.fsync(name);
                self.ops.push(Op::Checkpoint { last: 0 });
                self.fsync(name.parent());
            }
        }
        self.ops.push(Op::Checkpoint { last });
    }

    fn fsync(&mut self, name: Name) {
        self.need_open(name);
        self.ops.push(Op::Fsync { path: name.path() });
    }

    fn need_open(&mut self, name: Name) {
        self.need_parent(name);
        self.need(name);
    }

    fn close_all(&mut self) {
        for (name, open) in self.files.0.iter().chain(&self.dirs.0) {
            if *open {
                self.ops.push(Op::Close { path: name.path() });
            }
        }
    }

    fn mkdir(&mut self, name: Name) {
        self.ops.push(Op::Mkdir { path: name.path(), mode: 0o777 });
        self.dirs.set(name, false);
    }

    fn open(&mut self, name: Name) {
        self.ops.push(Op::Open { path: name.path(), flags: OpenFlags::CREATE, mode: 0o777 });
        self.files.set(name, true);
    }

    fn unlink(&mut self, name: Name) {
        self.ops.push(Op::Unlink { path: name.path() });
        self.files.remove(name);
    }

    /// Makes the directory that `name` is in.
    fn need_parent(&mut self, name: Name) {
        let parent = name.parent();
        if parent == Name::Root || self.dirs.get(parent).is_some() {
            return;
        }
        if parent == Name::AC && self.dirs.get(Name::A).is_none() {
            self.mkdir(Name::A);
        }
        self.mkdir(parent);
    }

    /// Makes and opens `name` itself, if the rules know it.
    fn need(&mut self, name: Name) {
        if self.known_dirs.contains(name) {
            if self.dirs.get(name).is_none() {
                self.mkdir(name);
            }
            if self.dirs.get(name) == Some(false) {
                self.ops.push(Op::OpenDir { path: name.path() });
                self.dirs.set(name, true);
            }
        } else if self.known_files.contains(name) && self.files.get(name) != Some(true) {
            self.open(name);
        }
    }

    fn need_data(&mut self, name: Name) {
        if !self.filled.contains(name) {
            let (off, len) = self.range(name, Shape::Append);
            self.ops.push(Op::Write { path: name.path(), off, len });
            self.filled.insert(name);
        }
    }

    fn need_closed(&mut self, name: Name) {
        for table in [&mut self.files, &mut self.dirs] {
            if table.get(name) == Some(true) {
                self.ops.push(Op::Close { path: name.path() });
                table.set(name, false);
            }
        }
    }

    /// Empties and removes a directory.
    fn clear_away(&mut self, dir: Name) {
        let (files, subdir) = dir.children();
        for file in files {
            self.need_file_closed(*file);
            if self.files.get(*file).is_some() {
                self.unlink(*file);
            }
        }
        if let Some(subdir) = subdir.filter(|subdir| self.dirs.get(*subdir).is_some()) {
            self.need_closed(subdir);
            self.clear_away(subdir);
        }
        self.ops.push(Op::Rmdir { path: dir.path() });
        self.dirs.remove(dir);
    }

    fn need_file_closed(&mut self, file: Name) {
        if self.files.get(file) == Some(true) {
            self.ops.push(Op::Close { path: file.path() });
            self.files.set(file, false);
        }
    }

    fn length(&mut self, name: Name) -> &mut Option<i64> {
        &mut self.lengths[name as usize]
    }

    /// Offset and length of a write; an append moves the length.
    fn range(&mut self, name: Name, shape: Shape) -> (i64, u32) {
        let bounds = self.bounds;
        let length = self.length(name);
        match shape {
            Shape::Append => {
                let off = length.unwrap_or(0);
                *length = Some(off + i64::from(bounds.append_len));
                (off, bounds.append_len)
            }
            Shape::OverlapUnaligned => bounds.unaligned,
            Shape::OverlapExtend => (length.unwrap_or(0) - 2000, 5000),
            // 5 GiB out, a little inside a block.
            Shape::FarOut => ((5 << 30) + 100, 9000),
            Shape::Overlap | Shape::ToZero | Shape::ToMiddle | Shape::Extend => (0, bounds.overlap_len),
        }
    }

    fn core(&mut self, core: &Core, last: u32) {
        let (name, path) = (core.name, core.name.path());
        match core.kind {
            Kind::Creat => {
                self.need_parent(name);
                if self.files.get(name).is_some() {
                    self.unlink(name);
                }
                self.open(name);
            }
            Kind::Mkdir => {
                if self.dirs.get(name).is_some() {
                    self.clear_away(name);
                }
                self.mkdir(name);
            }
            Kind::Falloc | Kind::Write | Kind::DirectWrite | Kind::MmapWrite | Kind::Append => {
                self.need_open(name);
                self.data(core, last);
            }
            Kind::Link => self.link(core),
            Kind::Rename | Kind::RenameFlagged | Kind::RenameOverOpen => self.rename(core),
            Kind::Symlink => self.symlink(core),
            Kind::Unlink | Kind::Remove => {
                self.need_open(name);
                self.need_closed(name);
                let remove = core.kind == Kind::Remove;
                self.ops.push(if remove { Op::Remove { path } } else { Op::Unlink { path } });
                self.files.remove(name);
            }
            Kind::UnlinkOpen => {
                self.need_open(name);
                self.need_data(name);
                self.unlink(name);
            }
            Kind::SetXattr | Kind::RemoveXattr => {
                self.need_open(name);
                let (attribute, value) = DEFAULT_XATTR;
                self.ops.push(Op::SetXattr {
                    path: path.clone(),
                    name: attribute.into(),
                    value: value.into(),
                });
                if core.kind == Kind::RemoveXattr {
                    self.ops.push(Op::RemoveXattr { path, name: attribute.into() });
                }
            }
            Kind::Fdatasync => {
                self.need_open(name);
                self.ops.extend([Op::Fdatasync { path }, Op::Checkpoint { last }]);
            }
            Kind::Truncate => {
                self.need_open(name);
                self.need_data(name);
                self.truncate(core);
            }
            Kind::Mknod => {
                self.need_absent(name);
                self.ops.push(Op::Mknod { path, what: Special::Char(0x0103), mode: 0o640 });
                self.ops.push(Op::Rename {
                    from: core.name.path(),
                    to: special_name(name),
                    flags: RenameFlags::empty(),
                });
            }
            Kind::Rmdir => {
                self.need(name);
                self.need_closed(name);
                self.clear_away(name);
            }
            Kind::Chmod => {
                self.need_open(name);
                self.ops.push(Op::Chmod { path, mode: 0o4711 });
            }
            Kind::Utimens => {
                self.need_open(name);
                self.ops.push(Op::Utimens { path, seconds: 4_102_444_800 });
            }
            Kind::Refused => self.refused(core),
        }
    }

    fn data(&mut self, core: &Core, last: u32) {
        let (name, path) = (core.name, core.name.path());
        let (mode, shape) = match core.argument {
            Argument::Falloc(mode, shape) => (Some(mode), shape),
            Argument::Shape(shape) => (None, shape),
            _ => (None, Shape::Append),
        };
        // The original does not see that a mapped write appends, and never lets one meet an empty file.
        if shape == Shape::Append && matches!(core.kind, Kind::Write | Kind::DirectWrite | Kind::Append) {
            self.filled.insert(name);
        } else {
            self.need_data(name);
        }
        let (off, len) = self.range(name, shape);
        match core.kind {
            Kind::Falloc => {
                if shape == Shape::OverlapExtend {
                    let length = self.length(name);
                    *length = length.map(|length| length + 3000);
                }
                let mode = mode.unwrap_or(crate::jlang::FallocMode::empty());
                self.ops.push(Op::Falloc { path, mode, off, len: i64::from(len) });
            }
            Kind::DirectWrite => {
                self.ops.push(Op::DirectWrite { path, off, len });
                self.files.set(name, false);
            }
            Kind::MmapWrite => {
                self.ops.extend([Op::MmapWrite { path, off, len }, Op::Checkpoint { last }]);
            }
            Kind::Append => {
                let open = Op::Open {
                    path: path.clone(),
                    flags: OpenFlags::CREATE | OpenFlags::APPEND,
                    mode: 0o777,
                };
                self.ops.extend([Op::Close { path: path.clone() }, open, Op::Append { path, len }]);
            }
            _ => self.ops.push(Op::Write { path, off, len }),
        }
    }

    fn truncate(&mut self, core: &Core) {
        let path = core.name.path();
        let length = self.length(core.name);
        let len = match core.argument {
            Argument::Shape(Shape::ToZero) => {
                *length = Some(0);
                0
            }
            Argument::Shape(Shape::Extend) => {
                let longer = length.unwrap_or(0) + 10_000;
                *length = Some(longer);
                longer
            }
            _ => 2500,
        };
        self.ops.push(Op::Truncate { path, len });
    }

    fn link(&mut self, core: &Core) {
        let Some(to) = core.other else { return };
        self.need_parent(core.name);
        self.need_parent(to);
        self.need(core.name);
        self.need_file_closed(to);
        if self.files.get(to).is_some() {
            self.unlink(to);
        }
        self.files.set(to, false);
        self.ops.push(Op::Link { from: core.name.path(), to: to.path() });
    }

    fn rename(&mut self, core: &Core) {
        let (from, Some(to)) = (core.name, core.other) else { return };
        let flags = match core.argument {
            Argument::Rename(flags) => flags,
            _ => RenameFlags::empty(),
        };
        self.need_parent(from);
        self.need_parent(to);
        self.need(from);
        if core.kind == Kind::RenameOverOpen {
            // Both sides stay open: the target becomes an orphan with data.
            self.need(to);
            self.need_data(to);
        } else {
            self.need_closed(from);
            self.need_file_closed(to);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            self.need(to);
            self.need_closed(to);
        }
        let is_file = self.known_files.contains(from);
        let table = if is_file { &mut self.files } else { &mut self.dirs };
        if !flags.contains(RenameFlags::EXCHANGE) {
            // NOREPLACE may fail at this name; the rules follow it either way, as they follow a plain
            // rename that fails, and the model says which it was.
            table.remove(from);
            table.set(to, false);
        }
        self.ops.push(Op::Rename { from: from.path(), to: to.path(), flags });
    }

    fn symlink(&mut self, core: &Core) {
        let (target, Some(name)) = (core.name, core.other) else { return };
        self.need_absent(name);
        self.ops.push(Op::Symlink { target: target.path(), path: name.path() });
        self.files.set(name, false);
    }

    fn need_absent(&mut self, name: Name) {
        self.need_parent(name);
        self.need_file_closed(name);
        if self.files.get(name).is_some() {
            self.unlink(name);
        }
    }

    /// Sets the stage for a call that must fail, and makes the call.
    fn refused(&mut self, core: &Core) {
        let Argument::Refusal(what) = core.argument else { return };
        let path = |name: Name| name.path();
        let rename = |from: Name, to: Path| Op::Rename { from: from.path(), to, flags: RenameFlags::empty() };
        let (file, dir, nested) = (Name::BFoo, Name::B, Path::fixed("B/D"));
        self.need_open(file);
        let call = match what {
            Refusal::MkdirExisting => Op::Mkdir { path: path(dir), mode: 0o700 },
            Refusal::MkdirUnderFile => Op::Mkdir { path: Path::fixed("B/foo/D"), mode: 0o700 },
            Refusal::RmdirNonEmpty => Op::Rmdir { path: path(dir) },
            Refusal::RmdirFile => Op::Rmdir { path: path(file) },
            Refusal::UnlinkMissing => Op::Unlink { path: nested },
            Refusal::UnlinkDirectory => Op::Unlink { path: path(dir) },
            Refusal::LinkExisting => Op::Link { from: path(file), to: path(file) },
            Refusal::LinkDirectory => Op::Link { from: path(dir), to: Path::fixed("D") },
            Refusal::RenameMissing => {
                Op::Rename { from: nested, to: Path::fixed("D"), flags: RenameFlags::empty() }
            }
            Refusal::RenameIntoOwnChild => rename(dir, nested),
            Refusal::RenameFileOverDirectory => {
                self.need(Name::A);
                rename(file, path(Name::A))
            }
            Refusal::RenameDirectoryOverFile => {
                self.need(Name::A);
                rename(Name::A, path(file))
            }
            Refusal::RenameOverNonEmpty => {
                self.need(Name::A);
                rename(Name::A, path(dir))
            }
            Refusal::RemoveMissingXattr => Op::RemoveXattr { path: path(file), name: "user.missing".into() },
            Refusal::CreateUnderMissing => {
                Op::Open { path: Path::fixed("D/foo"), flags: OpenFlags::CREATE, mode: 0o600 }
            }
        };
        self.ops.push(call);
    }
}

/// Special files move to a name of their own, since the rules open every file name for data.
fn special_name(name: Name) -> Path {
    Path::fixed(if name.parent() == Name::Root { "node" } else { "B/node" })
}
