//! A file system whose joins are noted.

use std::sync::Arc;

use bento_api::envelope::Refused;
use bento_api::{
    Allocate, Attr, Call, Caller, Committed, Corruption, Cost, Cursor, DirEntry, Emit, Event, Evicted,
    FileBlock, FileSystem, GroupNo, InodeNo, Mapping, Name, NewNode, Next, OpKind, Placement, PlacementId,
    Rename, Seek, SetAttr, StatFs, Stop, Totals, XattrName, XattrSet,
};
use bento_user::containers::UserCall;
use bento_user::run::Core;

use super::story::Story;

/// The shipped file system, and a note of every transaction that belongs to an operation: not those that only write
/// times, free what is left of a file, or take an orphan away, which change nothing that anybody sees.
pub struct Watched {
    core: Core,
    story: Arc<Story>,
}

impl Watched {
    /// Watches a file system.
    pub fn over(core: Core, story: Arc<Story>) -> Core {
        Box::new(Watched { core, story })
    }

    fn noted<T>(&self, done: Result<Committed<T>, Stop>) -> Result<Committed<T>, Stop> {
        if let Ok(committed) = &done
            && committed.batch.0 != 0
        {
            self.story.join();
        }
        done
    }
}

type Called<'c, 'p> = &'c mut Call<'p, UserCall>;

impl FileSystem<UserCall> for Watched {
    fn version(&self) -> &'static str {
        self.core.version()
    }

    fn cost(&self, kind: OpKind) -> Cost {
        self.core.cost(kind)
    }

    fn root(&self) -> InodeNo {
        self.core.root()
    }

    fn lookup(&self, call: Called<'_, '_>, dir: InodeNo, name: Name<'_>) -> Result<Attr, Stop> {
        self.core.lookup(call, dir, name)
    }

    fn parent(&self, call: Called<'_, '_>, dir: InodeNo) -> Result<Attr, Stop> {
        self.core.parent(call, dir)
    }

    fn create(
        &self,
        call: Called<'_, '_>,
        dir: InodeNo,
        name: Name<'_>,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.create(call, dir, name, node))
    }

    fn symlink(
        &self,
        call: Called<'_, '_>,
        dir: InodeNo,
        name: Name<'_>,
        target: &[u8],
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.symlink(call, dir, name, target, node))
    }

    fn tmpfile(
        &self,
        call: Called<'_, '_>,
        dir: InodeNo,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.tmpfile(call, dir, node))
    }

    fn link(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        dir: InodeNo,
        name: Name<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.link(call, ino, dir, name))
    }

    fn unlink(&self, call: Called<'_, '_>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.unlink(call, dir, name))
    }

    fn rmdir(&self, call: Called<'_, '_>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.rmdir(call, dir, name))
    }

    fn rename(
        &self,
        call: Called<'_, '_>,
        from: (InodeNo, Name<'_>),
        to: (InodeNo, Name<'_>),
        how: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        self.noted(self.core.rename(call, from, to, how))
    }

    fn readdir(
        &self,
        call: Called<'_, '_>,
        dir: InodeNo,
        from: Cursor,
        emit: Emit,
        sink: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop> {
        self.core.readdir(call, dir, from, emit, sink)
    }

    fn readlink(&self, call: Called<'_, '_>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        self.core.readlink(call, ino, to)
    }

    fn getattr(&self, call: Called<'_, '_>, ino: InodeNo) -> Result<Attr, Stop> {
        self.core.getattr(call, ino)
    }

    fn setattr(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Committed<(Attr, bool)>, Stop> {
        self.noted(self.core.setattr(call, ino, set))
    }

    fn trim_past_end(&self, call: Called<'_, '_>, ino: InodeNo) -> Result<Committed<bool>, Stop> {
        self.core.trim_past_end(call, ino)
    }

    fn flush_times(&self, call: Called<'_, '_>, ino: InodeNo) -> Result<Committed<()>, Stop> {
        self.core.flush_times(call, ino)
    }

    fn summarise(&self, call: Called<'_, '_>, from: GroupNo) -> Result<Committed<Option<GroupNo>>, Stop> {
        self.core.summarise(call, from)
    }

    fn evict(&self, call: Called<'_, '_>, ino: InodeNo) -> Result<Committed<Evicted>, Stop> {
        self.core.evict(call, ino)
    }

    fn orphan(&self, call: Called<'_, '_>, slot: u64) -> Result<Option<(InodeNo, u64)>, Stop> {
        self.core.orphan(call, slot)
    }

    fn getxattr(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        name: XattrName<'_>,
        to: &mut [u8],
    ) -> Result<usize, Stop> {
        self.core.getxattr(call, ino, name, to)
    }

    fn setxattr(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        name: XattrName<'_>,
        value: &[u8],
        how: XattrSet,
    ) -> Result<Committed<()>, Stop> {
        self.noted(self.core.setxattr(call, ino, name, value, how))
    }

    fn listxattr(&self, call: Called<'_, '_>, ino: InodeNo, to: &mut [u8]) -> Result<usize, Stop> {
        self.core.listxattr(call, ino, to)
    }

    fn removexattr(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        name: XattrName<'_>,
    ) -> Result<Committed<()>, Stop> {
        self.noted(self.core.removexattr(call, ino, name))
    }

    fn map(&self, call: Called<'_, '_>, ino: InodeNo, file: FileBlock, blocks: u64) -> Result<Mapping, Stop> {
        self.core.map(call, ino, file, blocks)
    }

    fn place(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        file: FileBlock,
        blocks: u64,
        to: &mut Placement,
    ) -> Result<PlacementId, Stop> {
        self.core.place(call, ino, file, blocks, to)
    }

    fn publish(&self, call: Called<'_, '_>, id: PlacementId, size: u64) -> Result<Committed<Attr>, Stop> {
        self.noted(self.core.publish(call, id, size))
    }

    fn abandon(&self, call: Called<'_, '_>, id: PlacementId) -> Result<(), Stop> {
        self.core.abandon(call, id)
    }

    fn fallocate(
        &self,
        call: Called<'_, '_>,
        ino: InodeNo,
        how: Allocate,
        range: std::ops::Range<u64>,
    ) -> Result<Committed<u64>, Stop> {
        self.noted(self.core.fallocate(call, ino, how, range))
    }

    fn seek(&self, call: Called<'_, '_>, ino: InodeNo, from: u64, what: Seek) -> Result<u64, Stop> {
        self.core.seek(call, ino, from, what)
    }

    fn first_write(
        &self,
        call: Called<'_, '_>,
        caller: &Caller,
        ino: InodeNo,
    ) -> Result<Committed<()>, Stop> {
        self.core.first_write(call, caller, ino)
    }

    fn wants_first_write(&self) -> bool {
        self.core.wants_first_write()
    }

    fn trim(&self, call: Called<'_, '_>, from: u64) -> Result<u64, Stop> {
        self.core.trim(call, from)
    }

    fn statfs(&self, totals: &Totals) -> StatFs {
        self.core.statfs(totals)
    }

    fn describe(&self, what: Corruption) -> &'static str {
        self.core.describe(what)
    }

    fn drive(&self, platform: &UserCall, event: Event) -> Next<UserCall> {
        self.core.drive(platform, event)
    }

    fn is_clean(&self, platform: &UserCall) -> bool {
        self.core.is_clean(platform)
    }

    fn export(&self, to: &mut [u8]) -> Result<usize, Refused> {
        self.core.export(to)
    }
}
