//! Inode locks in order of number.
use super::Op;
use crate::variant::Variant;
use bento_api::{Errno, InodeNo, Mode, Platform, Stop, Wait};

/// Attempts that take their locks anew because a name led elsewhere meanwhile.
const RELOCKS: u64 = 32;
/// Marks a cursor that holds lock hints, so that it is not taken for another entry's.
const HINTS: u64 = 0x4c4f_434b;

/// Proof that this operation locked an inode exclusively, or has just claimed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locked(InodeNo);

impl Locked {
    pub(crate) fn no(self) -> InodeNo {
        self.0
    }

    /// An inode that nobody else can know yet.
    pub(super) fn claimed(ino: InodeNo) -> Self {
        Self(ino)
    }
}

impl<P: Platform, V: Variant> Op<'_, '_, P, V> {
    fn held(&self, ino: InodeNo) -> Option<Mode> {
        self.call.locks.iter().find(|(held, _)| *held == ino).map(|(_, mode)| *mode)
    }

    pub(super) fn take(&mut self, ino: InodeNo, mode: Mode) -> Result<(), Stop> {
        self.volume.geometry.inode_bit(ino).ok_or(Errno::Stale)?;
        self.platform().lock(ino, mode)?;
        self.call.locks.push((ino, mode))?;
        Ok(())
    }

    /// Locks one inode for reading.
    pub(crate) fn share(&mut self, ino: InodeNo) -> Result<(), Stop> {
        match self.held(ino) {
            Some(_) => Ok(()),
            None => self.take(ino, Mode::Shared),
        }
    }

    /// Locks an inode for reading whose turn in the order may have passed. If somebody is changing it then, the attempt
    /// ends and comes again at once.
    pub(crate) fn share_found(&mut self, ino: InodeNo) -> Result<(), Stop> {
        if self.held(ino).is_some() {
            return Ok(());
        }
        if self.call.locks.iter().all(|(held, _)| *held < ino) {
            return self.take(ino, Mode::Shared);
        }
        if !self.platform().try_lock(ino, Mode::Shared)? {
            return Err(Wait::Again.into());
        }
        self.call.locks.push((ino, Mode::Shared))?;
        Ok(())
    }

    /// Locks one inode; nothing else is locked, or only inodes with smaller numbers.
    pub(crate) fn lock(&mut self, ino: InodeNo) -> Result<Locked, Stop> {
        if self.held(ino).is_none() {
            self.take(ino, Mode::Exclusive)?;
        }
        Ok(Locked(ino))
    }

    /// Locks directories whose numbers are known from the start, and what an earlier attempt learned that it needs
    /// besides, in order.
    pub(crate) fn lock_first(&mut self, known: [InodeNo; 2]) -> Result<(Locked, Locked), Stop> {
        let [kind, a, b, ..] = self.platform().cursor();
        let hints = if kind == HINTS { [InodeNo(a), InodeNo(b)] } else { [InodeNo(0); 2] };
        let mut all = [known[0], known[1], hints[0], hints[1]];
        all.sort_unstable();
        for ino in all.into_iter().filter(|ino| ino.0 != 0) {
            self.lock(ino)?;
        }
        Ok((Locked(known[0]), Locked(known[1])))
    }

    /// Locks an inode that was found under the directories' locks. If its turn in the order has passed and somebody
    /// holds it, the attempt ends, and the next takes all in order and looks again.
    pub(crate) fn lock_found(&mut self, ino: InodeNo) -> Result<Locked, Stop> {
        match self.held(ino) {
            Some(Mode::Exclusive) => return Ok(Locked(ino)),
            // To read was enough until now: the next attempt knows better.
            Some(Mode::Shared) => return Err(Wait::Again.into()),
            None => {}
        }
        self.volume.geometry.inode_bit(ino).ok_or(Errno::Stale)?;
        if self.call.locks.iter().all(|(held, _)| *held < ino) {
            return self.lock(ino);
        }
        if self.platform().try_lock(ino, Mode::Exclusive)? {
            self.call.locks.push((ino, Mode::Exclusive))?;
            return Ok(Locked(ino));
        }
        let [kind, a, _, tries, rest @ ..] = self.platform().cursor();
        let (a, tries) = if kind == HINTS { (a, tries) } else { (0, 0) };
        if tries < RELOCKS {
            let second = if a == ino.0 { 0 } else { a };
            let [c, d, e, f] = rest;
            self.platform().set_cursor([HINTS, ino.0, second, tries.saturating_add(1), c, d, e, f]);
        }
        Err(Wait::Again.into())
    }
}
