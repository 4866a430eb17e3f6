//! Inode records: everything that one of them can be wrong in by itself.
use bento_api::{BLOCK_BYTES, BlockNo, Few, FileKind, InodeNo, Time};
use bento_fs::format::Corruption;
use bento_fs::format::block::{BLOCK_LIMIT, crc};
use bento_fs::format::inode::{
    Flags, Inode, MAGIC, MAX_DEPTH, MAX_DIR_SIZE, MAX_INLINE_TARGET, MAX_SIZE, MAX_TARGET, ROOT_AREA,
    RawInode, RootKind,
};
use bento_fs::format::num::all_zero;
use bento_fs::format::record::RECORD;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U32};

/// The problems of one record.
pub(super) type Problems = Few<Corruption, 16>;

/// What a record is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and a box would be an allocation an inode"
)]
pub(super) enum Record {
    /// Not in use.
    Free,
    /// Nobody can tell what it is.
    Broken,
    /// An inode, right or wrong in details.
    Inode(FileKind, Inode),
}

/// Whether the checksum is right.
pub(super) fn is_intact(raw: &RawInode, ino: InodeNo, seed: u32) -> bool {
    let number = crc(seed, &ino.0.to_le_bytes());
    let seed = crc(number, raw.generation.as_bytes());
    raw.magic.get() == MAGIC && crc(seed, raw.as_bytes().get(4..).unwrap_or(&[])) == raw.crc.get()
}

/// Reads a record. One with a wrong checksum is read on, so that what is well in it can be told from what is not.
pub(super) fn read(raw: &RawInode, ino: InodeNo, seed: u32, problems: &mut Problems) -> Record {
    let mut add = |what| {
        let _ = problems.push(what);
    };
    if raw.magic.get() != MAGIC {
        if all_zero(raw.as_bytes()) {
            return Record::Free;
        }
        add(Corruption::InodeMagic);
        return Record::Broken;
    }
    if !is_intact(raw, ino, seed) {
        add(Corruption::InodeChecksum);
    }
    if raw.record_size.get() != 256 {
        add(Corruption::InodeRecordSize);
        return Record::Broken;
    }
    if raw.mode.get() == 0 {
        if !is_blank(raw) {
            add(Corruption::InodeFree);
        }
        return Record::Free;
    }
    let Some(kind) = FileKind::of_mode(raw.mode.get().into()) else {
        add(Corruption::InodeMode);
        return Record::Broken;
    };
    let Some(layout) = layout(raw.layout & 0xf, kind) else {
        add(Corruption::InodeLayout);
        return Record::Broken;
    };
    let inode = fields(raw, layout);
    let before = inode_problems(raw, &inode, kind, &mut add);
    if before { Record::Inode(kind, inode) } else { Record::Broken }
}

/// A free record keeps its generation only.
fn is_blank(raw: &RawInode) -> bool {
    let bytes = raw.as_bytes();
    let parts = [bytes.get(8..88), bytes.get(92..)];
    parts.into_iter().all(|part| part.is_some_and(all_zero))
}

fn layout(bits: u8, kind: FileKind) -> Option<RootKind> {
    let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    match bits {
        0 if !device => Some(RootKind::Extents),
        1 if kind == FileKind::Symlink => Some(RootKind::Target),
        2 if device => Some(RootKind::Device),
        _ => None,
    }
}

fn time(seconds: I64, nanoseconds: U32) -> Time {
    Time::new(seconds.get(), nanoseconds.get())
}

fn fields(raw: &RawInode, layout: RootKind) -> Inode {
    let xattr_block = raw.xattr_block.get();
    Inode {
        mode: raw.mode.get(),
        layout,
        depth: raw.depth,
        index_depth: raw.layout >> 4,
        nlink: raw.nlink.get(),
        uid: raw.uid.get(),
        gid: raw.gid.get(),
        size: raw.size.get(),
        blocks: raw.blocks.get(),
        atime: time(raw.atime, raw.atime_ns),
        mtime: time(raw.mtime, raw.mtime_ns),
        ctime: time(raw.ctime, raw.ctime_ns),
        btime: time(raw.btime, raw.btime_ns),
        generation: raw.generation.get(),
        flags: Flags::from_bits_retain(raw.flags.get()),
        version: raw.version.get(),
        project: raw.project.get(),
        orphan: raw.orphan.get().checked_sub(1),
        xattr_block: (xattr_block != 0).then_some(BlockNo(xattr_block)),
        parent: InodeNo(raw.parent.get()),
        root: raw.root,
        xattrs: raw.xattrs,
    }
}

/// Reports what is wrong in the fields; false if what the inode holds cannot be told any more.
fn inode_problems(raw: &RawInode, inode: &Inode, kind: FileKind, add: &mut dyn FnMut(Corruption)) -> bool {
    let is_dir = kind == FileKind::Directory;
    let most = match kind {
        FileKind::Regular => MAX_SIZE,
        FileKind::Directory => MAX_DIR_SIZE,
        FileKind::Symlink => MAX_TARGET,
        _ => 0,
    };
    if inode.size > most || is_dir && !inode.size.is_multiple_of(BLOCK_BYTES) {
        add(Corruption::InodeFileSize);
    }
    let nanoseconds = [raw.atime_ns, raw.mtime_ns, raw.ctime_ns, raw.btime_ns];
    if nanoseconds.iter().any(|ns| ns.get() >= 1_000_000_000) {
        add(Corruption::InodeTime);
    }
    if inode.blocks >= BLOCK_LIMIT {
        add(Corruption::InodeBlocks);
    }
    if (inode.parent.0 != 0) != is_dir {
        add(Corruption::InodeParent);
    }
    let tree = inode.layout == RootKind::Extents
        && matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink);
    if inode.depth > if tree { MAX_DEPTH } else { 0 }
        || inode.index_depth > if is_dir { MAX_DEPTH } else { 0 }
    {
        add(Corruption::InodeDepth);
        return false;
    }
    let used = match inode.layout {
        RootKind::Device => 8,
        RootKind::Target => match usize::try_from(inode.size) {
            Ok(size) if size >= 1 && inode.size <= MAX_INLINE_TARGET => size,
            _ => {
                add(Corruption::SymlinkTarget);
                return true;
            }
        },
        RootKind::Extents if !tree => 0,
        RootKind::Extents if is_dir && inode.index_depth == 0 => ROOT_AREA - RECORD,
        RootKind::Extents => ROOT_AREA,
    };
    let (content, rest) = inode.root.split_at_checked(used).unwrap_or((&[], &inode.root));
    if !all_zero(rest) {
        add(Corruption::InodeRoot);
    }
    if inode.layout == RootKind::Target && content.contains(&0) {
        add(Corruption::SymlinkTarget);
    }
    true
}
