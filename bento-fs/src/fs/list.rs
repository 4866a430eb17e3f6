//! Reading a directory.
use crate::format::Inode;
use crate::op::{Op, attr};
use crate::variant::Variant;
use bento_api::limits::WANTED;
use bento_api::platform::Fetch;
use bento_api::{Attr, Cursor, DirEntry, Emit, Errno, FileKind, InodeNo, Platform, Stop, Wait};

/// Entries that one attempt looks at for blocks to ask for together: a table block has sixteen inodes.
const LOOK_AHEAD: usize = WANTED * 16;
/// The cursor behind `.`.
const DOT: u64 = 1;
/// The cursor behind `..`: entries follow.
const DOT_DOT: u64 = 2;

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    pub(super) fn readdir(
        self,
        dir: InodeNo,
        from: Cursor,
        emit: Emit,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop> {
        let mut op = self;
        op.share(dir)?;
        let mut inode = Inode::free(0);
        op.load(dir, &mut inode)?;
        if inode.kind() != Some(FileKind::Directory) {
            return Err(Errno::NotDirectory.into());
        }
        let dots = [(b".".as_slice(), dir, DOT), (b"..".as_slice(), inode.parent, DOT_DOT)];
        for (name, ino, next) in dots.into_iter().filter(|(_, _, next)| from.0 < *next) {
            let kind = Some(FileKind::Directory);
            if !sink(&DirEntry { name, ino, kind, next: Cursor(next), attr: None }) {
                return Ok(false);
            }
        }
        let (mut emitted, mut missing) = (false, 0);
        let end = op.dir_list(dir, &inode, from.0, &mut |op, entry| {
            let full = match emit {
                Emit::Names => None,
                Emit::Attributes => match op.listed_attr(entry.ino)? {
                    // What is listed so far is an answer; the next call waits for the rest.
                    None if emitted => return Ok(false),
                    None => {
                        missing += 1;
                        return Ok(missing < LOOK_AHEAD);
                    }
                    // Nothing is listed behind a gap; but what else will be missing is asked for together.
                    Some(_) if missing > 0 => return Ok(true),
                    known => known,
                },
            };
            emitted = true;
            let next = Cursor(entry.next);
            Ok(sink(&DirEntry {
                name: entry.name,
                ino: entry.ino,
                kind: Some(entry.kind),
                next,
                attr: full.as_ref(),
            }))
        })?;
        if missing > 0 { Err(Wait::Blocks.into()) } else { Ok(end) }
    }

    /// The attributes of a listed inode, if they can be had without waiting; else they are asked for.
    #[inline(never)] // an inode is large, and the directory's is on the stack already
    fn listed_attr(&self, ino: InodeNo) -> Result<Option<Attr>, Stop> {
        let (block, _) = self.volume.geometry.inode_place(ino).ok_or(Errno::Stale)?;
        match self.platform().pin(block) {
            Ok(Some(_)) => {
                let mut inode = Inode::free(0);
                self.load_named(ino, &mut inode)?;
                Ok(Some(attr(ino, &inode)))
            }
            Ok(None) => {
                self.platform().want(block, Fetch::Read);
                Ok(None)
            }
            Err(Errno::Capacity) => Ok(None), // as many as one call can hold: the next goes on
            Err(errno) => Err(errno.into()),
        }
    }
}
