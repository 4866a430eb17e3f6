//! What one inode holds, and whether that fits the inode.
use super::Check;
use super::maps::{Dir, Mark, State};
use super::walk::{Mode, Run};
use crate::report::Problem;
use bento_api::{BLOCK_BYTES, BlockNo, FileKind, InodeNo};
use bento_fs::format::dirent::{FREE_MAP_ENTRIES, FREE_MAP_START};
use bento_fs::format::geometry::{ORPHANS, PROVENANCE};
use bento_fs::format::inode::{Inode, RootKind};
use bento_fs::format::record::Extent;
use bento_fs::format::xattr::{Namespace, block_area, check_block, xattrs};
use bento_fs::format::{BlockKind, Corruption};

/// Bytes of a symlink's target in one of its blocks.
const TARGET_BYTES: u64 = 4064;

/// What an inode was found to hold.
#[derive(Default)]
struct Held {
    blocks: u64,
    /// The first blocks of a symlink's target.
    target: Vec<BlockNo>,
}

impl Check<'_> {
    /// Checks an inode, claims what it holds, and notes it for the later passes.
    pub(super) fn inode(&mut self, ino: InodeNo, kind: FileKind, inode: &Inode) {
        self.report.stats.count(kind);
        let mut held = Held::default();
        let whole = self.each_run(ino, (kind, inode), Mode::Report, &mut |check, run| {
            let (start, len) = run.blocks();
            check.claim(start, len);
            held.blocks = held.blocks.saturating_add(len.into());
            if let Run::Data(extent) = run {
                check.metadata_extent(ino, kind, inode, &extent);
                // A target has two blocks at most.
                if kind == FileKind::Symlink && held.target.len() < 2 {
                    held.target.push(extent.start);
                    if extent.len > 1 {
                        held.target.push(BlockNo(extent.start.0.saturating_add(1)));
                    }
                }
            }
        });
        if whole.extents && whole.index && held.blocks != inode.blocks {
            self.problem(Problem::new(Corruption::InodeHeld).ino(ino).counts(inode.blocks, held.blocks));
        }
        if kind == FileKind::Symlink && inode.layout == RootKind::Extents && whole.extents {
            self.target(ino, inode, &held.target);
        }
        self.attributes(ino, inode);
        self.orphan_field(ino, inode);
        let is_dir = kind == FileKind::Directory;
        self.inodes.set(ino, State::Used(kind), if is_dir { 1 } else { inode.nlink });
        if is_dir {
            self.dirs.push(Dir {
                ino,
                parent: inode.parent,
                named_by: None,
                nlink: inode.nlink,
                subdirs: 0,
                extents_bad: !whole.extents,
                index_bad: !whole.index,
                mark: Mark::Unknown,
            });
        }
    }

    /// Files of metadata have blocks in some places only, and all of them written.
    fn metadata_extent(&mut self, ino: InodeNo, kind: FileKind, inode: &Inode, extent: &Extent) {
        let blocks = inode.size / BLOCK_BYTES;
        let (file, end) = (extent.file.0, extent.end().0);
        let in_place = match kind {
            FileKind::Directory => {
                let maps = if blocks > 1 { blocks.div_ceil(FREE_MAP_ENTRIES) } else { 0 };
                end <= blocks || file >= FREE_MAP_START && end <= FREE_MAP_START.saturating_add(maps)
            }
            FileKind::Symlink => end <= inode.size.div_ceil(TARGET_BYTES),
            _ if matches!(ino, ORPHANS | PROVENANCE) => end <= blocks,
            _ => return,
        };
        let problem = |what| Problem::new(what).ino(ino).run(extent.start, extent.len.into());
        if !in_place {
            let is_log = ino == PROVENANCE;
            self.problem(problem(if is_log { Corruption::ProvPlace } else { Corruption::ExtentPlace }));
        }
        if extent.unwritten {
            self.problem(problem(Corruption::ExtentUnwritten));
        }
    }

    /// The target of a symlink that lies in blocks of its own.
    fn target(&mut self, ino: InodeNo, inode: &Inode, blocks: &[BlockNo]) {
        let needed = usize::try_from(inode.size.div_ceil(TARGET_BYTES)).unwrap_or(usize::MAX);
        if inode.size == 0 || blocks.len() < needed {
            self.problem(Problem::new(Corruption::SymlinkTarget).ino(ino));
            return;
        }
        let mut page = self.image.page();
        let mut rest = inode.size;
        for no in blocks.iter().take(needed) {
            let here = usize::try_from(rest.min(TARGET_BYTES)).unwrap_or(0);
            rest = rest.saturating_sub(TARGET_BYTES);
            match self.read_block(*no, BlockKind::Symlink, ino.0, &mut page) {
                Err(bad) => self.problem(bad.problem().ino(ino)),
                Ok(()) => {
                    let (target, unused) =
                        page.get(32..).unwrap_or(&[]).split_at_checked(here).unwrap_or_default();
                    if target.contains(&0) || unused.iter().any(|byte| *byte != 0) {
                        self.problem(Problem::new(Corruption::SymlinkTarget).ino(ino).block(*no));
                    }
                }
            }
        }
        self.image.give(page);
    }

    /// Both areas of attributes, and that no name is in them twice.
    fn attributes(&mut self, ino: InodeNo, inode: &Inode) {
        let mut names: Vec<(Namespace, Box<[u8]>)> = Vec::new();
        let mut twice = false;
        let mut list = |area: &[u8]| {
            for xattr in xattrs(area) {
                let xattr = xattr?;
                let name = (xattr.namespace, xattr.name.into());
                twice |= names.contains(&name);
                names.push(name);
            }
            Ok::<(), Corruption>(())
        };
        let inside = list(&inode.xattrs);
        if let Err(what) = inside {
            self.problem(Problem::new(what).ino(ino));
        }
        if let Some(no) = inode.xattr_block.filter(|no| self.geometry.is_data_block(*no)) {
            let mut page = self.image.page();
            match self.read_block(no, BlockKind::Xattr, ino.0, &mut page) {
                Err(bad) => self.problem(bad.problem().ino(ino)),
                Ok(()) => {
                    if let Err(what) = check_block(&page[..]).and_then(|()| list(block_area(&page[..]))) {
                        self.problem(Problem::new(what).ino(ino).block(no));
                    }
                }
            }
            self.image.give(page);
        }
        if twice {
            self.problem(Problem::new(Corruption::XattrTwice).ino(ino));
        }
    }

    /// An inode that is to go away is named by an orphan slot, and names it.
    fn orphan_field(&mut self, ino: InodeNo, inode: &Inode) {
        let slot = self.orphans.get(&ino).copied();
        if inode.orphan != slot {
            self.problem(Problem::new(Corruption::OrphanSlot).ino(ino));
        } else if inode.nlink == 0 && slot.is_none() && self.geometry.is_file_ino(ino) {
            self.problem(Problem::new(Corruption::OrphanMissing).ino(ino));
        }
    }
}
