//! What a profile lets a workload consist of: names, operations, arguments.

use super::name::{Name, Names};
use crate::jlang::{FallocMode, RenameFlags};

/// A named, bounded set of workloads. "All of seq-2" means nothing without the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Profile {
    /// The bounds of the OSDI'18 paper's seq-2 generator.
    Osdi18,
    /// The later generator as it was meant: `A/C` only in the nested set.
    Fixed,
    /// The later generator as it was shipped: `A/C` leaks into half of the name lists.
    Head,
    /// The later generator with the nested directory.
    Nested,
    /// Ours: what the others leave out (see [`Kind`]), on the same engine.
    Full,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Profile; 5] =
        [Profile::Osdi18, Profile::Fixed, Profile::Head, Profile::Nested, Profile::Full];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Osdi18 => "osdi18",
            Profile::Fixed => "fixed",
            Profile::Head => "head",
            Profile::Nested => "nested",
            Profile::Full => "full",
        }
    }
}

/// The kind of a core operation. The kinds from `Symlink` on are in the `full` profile only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "most are system calls by name")]
pub enum Kind {
    Creat,
    Mkdir,
    Falloc,
    Write,
    DirectWrite,
    MmapWrite,
    Link,
    Unlink,
    Remove,
    Rename,
    SetXattr,
    RemoveXattr,
    Fdatasync,
    Truncate,
    Symlink,
    Mknod,
    Rmdir,
    Append,
    /// `renameat2` with a flag.
    RenameFlagged,
    /// `rename` over a file that is open, which becomes an orphan.
    RenameOverOpen,
    /// `unlink` of a file that stays open.
    UnlinkOpen,
    Chmod,
    Utimens,
    /// One of [`Refusal`]: must fail, and change nothing.
    Refused,
}

/// How a write, an allocation or a truncation lies relative to the data that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// From the end on.
    Append,
    /// A block-aligned range at the start.
    Overlap,
    /// A range that begins or ends inside a block.
    OverlapUnaligned,
    /// From inside the last block to past the end.
    OverlapExtend,
    /// Truncate to nothing.
    ToZero,
    /// Truncate to the middle of a block.
    ToMiddle,
    /// Truncate to past the end.
    Extend,
    /// Far past the end, so that a hole and a second level of the extent tree may be needed.
    FarOut,
}

/// A call that must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each says what fails and how")]
pub enum Refusal {
    MkdirExisting,
    MkdirUnderFile,
    RmdirNonEmpty,
    RmdirFile,
    UnlinkMissing,
    UnlinkDirectory,
    LinkExisting,
    LinkDirectory,
    RenameMissing,
    RenameIntoOwnChild,
    RenameFileOverDirectory,
    RenameDirectoryOverFile,
    RenameOverNonEmpty,
    RemoveMissingXattr,
    CreateUnderMissing,
}

impl Refusal {
    const ALL: [Refusal; 15] = [
        Refusal::MkdirExisting,
        Refusal::MkdirUnderFile,
        Refusal::RmdirNonEmpty,
        Refusal::RmdirFile,
        Refusal::UnlinkMissing,
        Refusal::UnlinkDirectory,
        Refusal::LinkExisting,
        Refusal::LinkDirectory,
        Refusal::RenameMissing,
        Refusal::RenameIntoOwnChild,
        Refusal::RenameFileOverDirectory,
        Refusal::RenameDirectoryOverFile,
        Refusal::RenameOverNonEmpty,
        Refusal::RemoveMissingXattr,
        Refusal::CreateUnderMissing,
    ];
}

/// What a core operation takes besides names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are named after what they carry")]
pub enum Argument {
    None,
    Shape(Shape),
    Falloc(FallocMode, Shape),
    Rename(RenameFlags),
    Refusal(Refusal),
}

/// A core operation with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    /// What it does.
    pub kind: Kind,
    /// The name that it works on.
    pub name: Name,
    /// The second name of link, symlink and rename.
    pub other: Option<Name>,
    /// Everything else.
    pub argument: Argument,
}

impl Core {
    /// The names that the parameters mention.
    pub fn names(&self) -> Names {
        let mut names = Names::of(&[self.name]);
        if let Some(other) = self.other {
            names.insert(other);
        }
        names
    }
}

/// Which persistence operations may follow a core operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistencePoints {
    /// `fsync` of a related name, or `sync`.
    Classic,
    /// Also `fdatasync`, and `fsync` of the name and then of its parent.
    Wide,
}

/// The bounds of a profile.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Files that operations begin with.
    pub files: &'static [Name],
    /// Files that links and renames lead to.
    pub second_files: &'static [Name],
    /// Directories that operations begin with.
    pub dirs: &'static [Name],
    /// Directories that renames lead to.
    pub second_dirs: &'static [Name],
    /// Operations, in the order of enumeration.
    pub kinds: &'static [Kind],
    /// Arguments of `write` and `fallocate`.
    pub write_shapes: &'static [Shape],
    /// Arguments of direct and mapped writes.
    pub block_shapes: &'static [Shape],
    /// Arguments of `truncate`.
    pub truncate_shapes: &'static [Shape],
    /// Bytes of an append.
    pub append_len: u32,
    /// Bytes of an aligned overlap.
    pub overlap_len: u32,
    /// Offset and length of an unaligned overlap.
    pub unaligned: (i64, u32),
    /// What may follow a core operation.
    pub persistence: PersistencePoints,
    /// Whether the rules for three operations thin the set (they do in the later generator).
    pub thin_at_three: bool,
}

/// The 13 operations of the later generator.
const LATER: [Kind; 13] = [
    Kind::Creat,
    Kind::Mkdir,
    Kind::Falloc,
    Kind::Write,
    Kind::DirectWrite,
    Kind::MmapWrite,
    Kind::Link,
    Kind::Unlink,
    Kind::Remove,
    Kind::Rename,
    Kind::SetXattr,
    Kind::RemoveXattr,
    Kind::Truncate,
];
const OSDI18: [Kind; 14] = [
    Kind::Creat,
    Kind::Mkdir,
    Kind::Falloc,
    Kind::Write,
    Kind::DirectWrite,
    Kind::Link,
    Kind::Unlink,
    Kind::Remove,
    Kind::Rename,
    Kind::RemoveXattr,
    Kind::Fdatasync,
    Kind::SetXattr,
    Kind::Truncate,
    Kind::MmapWrite,
];
const FULL: [Kind; 17] = [
    Kind::Creat,
    Kind::Write,
    Kind::Append,
    Kind::Link,
    Kind::Rename,
    Kind::Fdatasync,
    Kind::Truncate,
    Kind::Symlink,
    Kind::Mknod,
    Kind::Rmdir,
    Kind::RenameFlagged,
    Kind::RenameOverOpen,
    Kind::UnlinkOpen,
    Kind::Chmod,
    Kind::Utimens,
    Kind::SetXattr,
    Kind::Refused,
];

const FALLOC_MODES: [FallocMode; 5] = [
    FallocMode::ZERO_RANGE,
    FallocMode::ZERO_RANGE.union(FallocMode::KEEP_SIZE),
    FallocMode::PUNCH_HOLE.union(FallocMode::KEEP_SIZE),
    FallocMode::KEEP_SIZE,
    FallocMode::empty(),
];

const LATER_BOUNDS: Bounds = Bounds {
    files: &[Name::Foo, Name::AFoo],
    second_files: &[Name::Bar, Name::ABar],
    dirs: &[Name::A],
    second_dirs: &[Name::B],
    kinds: &LATER,
    write_shapes: &[Shape::Append, Shape::OverlapUnaligned, Shape::OverlapExtend],
    block_shapes: &[Shape::Append, Shape::Overlap],
    truncate_shapes: &[Shape::ToZero, Shape::ToMiddle],
    append_len: 32768,
    overlap_len: 8192,
    unaligned: (0, 5000),
    persistence: PersistencePoints::Classic,
    thin_at_three: true,
};

impl Bounds {
    /// The bounds of a profile.
    pub fn of(profile: Profile) -> Bounds {
        match profile {
            Profile::Osdi18 => Bounds {
                kinds: &OSDI18,
                write_shapes: &[Shape::Append, Shape::Overlap, Shape::OverlapUnaligned],
                append_len: 4096,
                overlap_len: 4096,
                unaligned: (1000, 3000),
                thin_at_three: false,
                ..LATER_BOUNDS
            },
            Profile::Fixed => LATER_BOUNDS,
            Profile::Head => Bounds {
                second_files: &[Name::Bar, Name::ABar, Name::ACBar],
                second_dirs: &[Name::B, Name::AC],
                ..LATER_BOUNDS
            },
            Profile::Nested => Bounds {
                files: &[Name::Foo, Name::AFoo, Name::ACFoo],
                second_files: &[Name::Bar, Name::ABar, Name::ACBar],
                second_dirs: &[Name::B, Name::AC],
                ..LATER_BOUNDS
            },
            Profile::Full => Bounds {
                files: &[Name::Foo, Name::BFoo],
                second_files: &[Name::Bar, Name::BBar, Name::ABar],
                kinds: &FULL,
                write_shapes: &[Shape::OverlapExtend, Shape::FarOut],
                truncate_shapes: &[Shape::ToMiddle, Shape::Extend],
                persistence: PersistencePoints::Wide,
                append_len: 5000,
                thin_at_three: false,
                ..LATER_BOUNDS
            },
        }
    }

    /// The files that the dependency rules know. Names outside are left alone, which is why the `head`
    /// profile fsyncs `A/C/foo` without ever opening it.
    pub fn known_files(&self) -> Names {
        let mut names = Names::of(self.files);
        self.second_files.iter().for_each(|name| names.insert(*name));
        names
    }

    /// The directories that the dependency rules know.
    pub fn known_dirs(&self) -> Names {
        let mut names = Names::of(self.dirs);
        self.second_dirs.iter().for_each(|name| names.insert(*name));
        names.insert(Name::Root);
        names
    }

    /// Every way to fill in the parameters of one kind of operation.
    pub fn parameters(&self, kind: Kind) -> Vec<Core> {
        let core = |name: Name, argument| Core { kind, name, other: None, argument };
        let shaped = |shapes: &[Shape]| -> Vec<Core> {
            self.files
                .iter()
                .flat_map(|name| shapes.iter().map(|shape| core(*name, Argument::Shape(*shape))))
                .collect()
        };
        let plain = |names: &[Name]| names.iter().map(|name| core(*name, Argument::None)).collect();
        let both_files = [self.files, self.second_files].concat();
        match kind {
            Kind::Creat | Kind::Fdatasync | Kind::SetXattr | Kind::RemoveXattr => plain(self.files),
            Kind::Mknod | Kind::Append | Kind::Chmod | Kind::UnlinkOpen => plain(self.files),
            Kind::Mkdir | Kind::Rmdir => plain(self.dirs),
            Kind::Utimens => plain(&[self.files, self.dirs].concat()),
            Kind::Write => shaped(self.write_shapes),
            Kind::DirectWrite | Kind::MmapWrite => shaped(self.block_shapes),
            Kind::Truncate => shaped(self.truncate_shapes),
            Kind::Falloc => self.allocations(),
            Kind::Unlink | Kind::Remove => plain(&both_files),
            Kind::Link | Kind::Symlink => pairs(kind, Argument::None, &both_files, self.second_files),
            Kind::Rename | Kind::RenameOverOpen => self.renames(kind, RenameFlags::empty()),
            Kind::RenameFlagged => [RenameFlags::EXCHANGE, RenameFlags::NOREPLACE, RenameFlags::WHITEOUT]
                .into_iter()
                .flat_map(|flag| self.renames(kind, flag))
                .collect(),
            Kind::Refused => {
                Refusal::ALL.into_iter().map(|what| core(Name::Foo, Argument::Refusal(what))).collect()
            }
        }
    }

    fn allocations(&self) -> Vec<Core> {
        let mut all = Vec::new();
        for name in self.files {
            for mode in FALLOC_MODES {
                for shape in self.write_shapes {
                    let argument = Argument::Falloc(mode, *shape);
                    all.push(Core { kind: Kind::Falloc, name: *name, other: None, argument });
                }
            }
        }
        all
    }

    fn renames(&self, kind: Kind, flags: RenameFlags) -> Vec<Core> {
        let argument = Argument::Rename(flags);
        let mut all = pairs(kind, argument, &[self.files, self.second_files].concat(), self.second_files);
        if kind != Kind::RenameOverOpen {
            all.extend(pairs(kind, argument, &[self.dirs, self.second_dirs].concat(), self.second_dirs));
        }
        all
    }
}

fn pairs(kind: Kind, argument: Argument, from: &[Name], to: &[Name]) -> Vec<Core> {
    let mut all = Vec::new();
    for name in from {
        for other in to.iter().filter(|other| *other != name) {
            all.push(Core { kind, name: *name, other: Some(*other), argument });
        }
    }
    all
}
