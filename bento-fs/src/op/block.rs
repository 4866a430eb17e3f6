//! Blocks: shared ones that are read, exclusive ones that are changed in private pages.
use super::{Locked, Op};
use crate::format::block::{self, Owner};
use crate::format::{BlockKind, Corruption, Header};
use crate::variant::Variant;
use bento_api::platform::Fetch;
use bento_api::{BlockNo, Bytes, Errno, InodeNo, Platform, Private, Stop, Wait};

/// A whole block that this operation changes privately.
///
/// It is an index: holding one borrows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft(usize);

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    /// Pins a block, or asks for it.
    pub(crate) fn pin(&self, no: BlockNo) -> Result<P::Block, Stop> {
        match self.platform().pin(no)? {
            Some(block) => Ok(block),
            None => {
                self.platform().want(no, Fetch::Read);
                Err(Wait::Blocks.into())
            }
        }
    }

    /// Says that a block will be needed, so that one wait fetches several.
    pub(crate) fn expect(&self, no: BlockNo) -> Result<(), Stop> {
        if self.platform().pin(no)?.is_none() {
            self.platform().want(no, Fetch::Read);
        }
        Ok(())
    }

    /// Pins a metadata block and verifies it at its first use since it was read.
    pub(crate) fn meta(&self, no: BlockNo, kind: BlockKind, owner: Owner) -> Result<P::Block, Stop> {
        if self.volume.geometry.block_group(no).is_none() {
            return Err(self.corrupt(Corruption::ExtentRange, no, InodeNo(owner.0)));
        }
        let block = self.pin(no)?;
        match self.verify(block, kind, no, owner) {
            Ok(()) => Ok(block),
            Err(what) => Err(self.corrupt(what, no, InodeNo(owner.0))),
        }
    }

    /// Whether a pinned block is what it should be. Its checksum counts once after it was read: a merge leaves an old one.
    pub(crate) fn verify(
        &self,
        block: P::Block,
        kind: BlockKind,
        no: BlockNo,
        owner: Owner,
    ) -> Result<(), Corruption> {
        let platform = self.platform();
        let seed = self.volume.seed;
        if platform.is_verified(block) {
            platform.read(block, |bytes| Header::check(bytes, kind, no, owner))?;
        } else {
            platform.read(block, |bytes| Header::verify(bytes, seed, kind, no, owner))?;
        }
        platform.set_verified(block);
        Ok(())
    }

    fn draft_of(&self, no: BlockNo) -> Option<Draft> {
        let platform = self.platform();
        let is_it =
            |at: &usize| self.call.private.get(*at).is_some_and(|it| platform.block_no(it.block) == no);
        (0..self.call.private.len()).find(is_it).map(Draft)
    }

    /// Looks at a metadata block of an inode, as this operation has changed it.
    pub(crate) fn view<R>(
        &self,
        no: BlockNo,
        kind: BlockKind,
        owner: InodeNo,
        f: impl FnOnce(&Bytes) -> R,
    ) -> Result<R, Stop> {
        if let Some(draft) = self.draft_of(no) {
            return self.draft(draft, f);
        }
        let block = self.meta(no, kind, owner.into())?;
        Ok(self.platform().read(block, f))
    }

    /// A private copy of a metadata block of a locked inode, to change.
    pub(crate) fn edit(&mut self, no: BlockNo, kind: BlockKind, owner: Locked) -> Result<Draft, Stop> {
        if let Some(draft) = self.draft_of(no) {
            return Ok(draft);
        }
        let block = self.meta(no, kind, owner.no().into())?;
        let page = self.platform().take_page()?;
        self.platform().copy(block, page);
        self.keep(Private { block, page })
    }

    /// A new metadata block of a locked inode: empty, behind its header. Its bit is claimed.
    pub(crate) fn fresh(&mut self, no: BlockNo, kind: BlockKind, owner: Locked) -> Result<Draft, Stop> {
        let block = self.platform().fresh(no)?;
        let page = self.platform().take_page()?;
        self.platform().page_mut(page, |bytes| block::start(bytes, kind, no, owner.no().into()));
        self.keep(Private { block, page })
    }

    fn keep(&mut self, private: Private<P::Block, P::Page>) -> Result<Draft, Stop> {
        Ok(Draft(self.call.private.push(private)?))
    }

    /// Forgets a draft whose block is about to be freed: nobody may see it again.
    pub(crate) fn drop_draft(&mut self, no: BlockNo) {
        if let Some(Draft(at)) = self.draft_of(no) {
            self.call.private.take(at);
        }
    }

    /// Looks at a draft.
    pub(crate) fn draft<R>(&self, draft: Draft, f: impl FnOnce(&Bytes) -> R) -> Result<R, Stop> {
        let private = self.call.private.get(draft.0).ok_or(Errno::Capacity)?;
        Ok(self.platform().page(private.page, f))
    }

    /// Changes a draft.
    pub(crate) fn draft_mut<R>(&mut self, draft: Draft, f: impl FnOnce(&mut Bytes) -> R) -> Result<R, Stop> {
        let private = self.call.private.get(draft.0).ok_or(Errno::Capacity)?;
        Ok(self.platform().page_mut(private.page, f))
    }
}
