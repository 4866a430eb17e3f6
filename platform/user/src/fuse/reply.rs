//! Replies and notifications: values to bytes.
//!
//! A [`ReplyBuf`] is a bounded view of a worker's memory. Nothing here allocates or does I/O; what does not
//! fit is an error or, in a listing, the end of this part of it.

use super::abi::{self, NotifyCode, Opcode};
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What follows the header of a successful reply. An empty one is right for whatever returns nothing.
///
/// The kernel refuses a reply whose length is not the one it expects, so each method matches one kind of
/// request; READ, READLINK, listings and xattrs may be shorter than asked for (a short READ is end of file).
#[derive(Debug)]
pub struct ReplyBuf<'b> {
    space: &'b mut [u8],
    len: usize,
}

impl<'b> ReplyBuf<'b> {
    /// An empty reply that may grow to the size of `space`.
    pub fn new(space: &'b mut [u8]) -> Self {
        Self { space, len: 0 }
    }

    /// What it holds.
    pub fn payload(&self) -> &[u8] {
        self.space.get(..self.len).unwrap_or_default()
    }

    /// Forgets what it holds, as a repeated attempt needs.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes. ERANGE, and no change, when they do not fit.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let end = self.len.checked_add(bytes.len()).ok_or(Errno::RANGE)?;
        self.space.get_mut(self.len..end).ok_or(Errno::RANGE)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Unused memory, at most `max` bytes, to be filled in place: READ without a copy. Holds rubbish.
    /// What was filled counts once [`advance`](Self::advance) says so.
    pub fn spare(&mut self, max: usize) -> &mut [u8] {
        let end = self.len.saturating_add(max).min(self.space.len());
        self.space.get_mut(self.len..end).unwrap_or_default()
    }

    /// Takes `filled` bytes of [`spare`](Self::spare) memory into the reply.
    pub fn advance(&mut self, filled: usize) {
        self.len = self.len.saturating_add(filled).min(self.space.len());
    }

    fn put(&mut self, value: &(impl IntoBytes + Immutable)) -> Result<(), Errno> {
        self.bytes(value.as_bytes())
    }

    /// LOOKUP, MKNOD, MKDIR, SYMLINK, LINK.
    pub fn entry(&mut self, entry: &abi::EntryOut) -> Result<(), Errno> {
        self.put(entry)
    }

    /// CREATE, TMPFILE.
    pub fn created(&mut self, entry: &abi::EntryOut, open: &abi::OpenOut) -> Result<(), Errno> {
        self.put(entry)?;
        self.put(open)
    }

    /// GETATTR, SETATTR.
    pub fn attr(&mut self, attr: &abi::AttrOut) -> Result<(), Errno> {
        self.put(attr)
    }

    /// STATX.
    pub fn statx(&mut self, statx: &abi::StatxOut) -> Result<(), Errno> {
        self.put(statx)
    }

    /// OPEN, OPENDIR.
    pub fn opened(&mut self, open: &abi::OpenOut) -> Result<(), Errno> {
        self.put(open)
    }

    /// WRITE, COPY_FILE_RANGE.
    pub fn written(&mut self, size: u32) -> Result<(), Errno> {
        self.put(&abi::WriteOut { size, reserved: 0 })
    }

    /// COPY_FILE_RANGE_64.
    pub fn copied(&mut self, bytes_copied: u64) -> Result<(), Errno> {
        self.put(&abi::CopyFileRangeOut { bytes_copied })
    }

    /// STATFS.
    pub fn statfs(&mut self, statfs: &abi::StatfsOut) -> Result<(), Errno> {
        self.put(statfs)
    }

    /// GETXATTR, LISTXATTR: the length alone if `wanted` is 0, else the value; ERANGE if it is longer.
    pub fn xattr(&mut self, wanted: u32, value: &[u8]) -> Result<(), Errno> {
        let size = u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?;
        match wanted {
            0 => self.put(&abi::GetxattrOut { size, reserved: 0 }),
            room if size > room => Err(Errno::RANGE),
            _ => self.bytes(value),
        }
    }

    /// LSEEK.
    pub fn sought(&mut self, offset: u64) -> Result<(), Errno> {
        self.put(&abi::LseekOut { offset })
    }

    /// BMAP.
    pub fn mapped(&mut self, block: u64) -> Result<(), Errno> {
        self.put(&abi::BmapOut { block })
    }

    /// IOCTL: its result, then what it writes through its argument.
    pub fn ioctl(&mut self, result: i32, data: &[u8]) -> Result<(), Errno> {
        self.put(&abi::IoctlOut { result, ..abi::IoctlOut::default() })?;
        self.bytes(data)
    }

    /// INIT.
    pub fn init(&mut self, init: &abi::InitOut) -> Result<(), Errno> {
        self.put(init)
    }

    /// READDIR, READDIRPLUS: a listing of at most `size` bytes.
    pub fn listing(&mut self, size: u32) -> Listing<'_, 'b> {
        let room = usize::try_from(size).unwrap_or(usize::MAX);
        let end = self.len.saturating_add(room).min(self.space.len());
        Listing { reply: self, end }
    }
}

/// The entry is not in the listing: this part of it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: u64,
    /// Cookie of the place after this entry: the next listing starts there. Must be stable.
    pub next: u64,
    /// `DT_*`: the type bits of the mode, shifted right by 12.
    pub kind: u32,
    /// Name, without NUL.
    pub name: &'a [u8],
}

/// Builds a listing, entry by entry. An entry that returned [`Full`] is not in it.
#[derive(Debug)]
pub struct Listing<'r, 'b> {
    reply: &'r mut ReplyBuf<'b>,
    end: usize,
}

impl Listing<'_, '_> {
    /// Adds an entry to a READDIR.
    pub fn push(&mut self, entry: DirEntry<'_>) -> Result<(), Full> {
        self.record(None, entry)
    }

    /// Adds an entry to a READDIRPLUS. A success with a node id is a reference, as LOOKUP gives one; "." and
    /// ".." must have node id 0, which means "no attributes".
    pub fn push_plus(&mut self, plus: &abi::EntryOut, entry: DirEntry<'_>) -> Result<(), Full> {
        self.record(Some(plus), entry)
    }

    fn record(&mut self, plus: Option<&abi::EntryOut>, entry: DirEntry<'_>) -> Result<(), Full> {
        let namelen = u32::try_from(entry.name.len()).map_err(|_| Full)?;
        let dirent = abi::Dirent { ino: entry.ino, off: entry.next, namelen, kind: entry.kind };
        let plus = plus.map_or(&[][..], |plus| plus.as_bytes());
        let used = plus.len() + size_of::<abi::Dirent>() + entry.name.len();
        let padded = used.next_multiple_of(abi::DIRENT_ALIGN);
        if self.reply.len + padded > self.end {
            return Err(Full);
        }
        for part in [plus, dirent.as_bytes(), entry.name, &[0; abi::DIRENT_ALIGN][..padded - used]] {
            self.reply.bytes(part).map_err(|_| Full)?;
        }
        Ok(())
    }
}

/// The references to inodes that a successful reply hands to the kernel: one for each node id.
///
/// When a reply could not be delivered the kernel did not take them, and they must be given back.
pub fn references(opcode: u32, payload: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let opcode = Opcode::from_raw(opcode);
    let listing = opcode == Some(Opcode::Readdirplus);
    let single = matches!(
        opcode,
        Some(
            Opcode::Lookup
                | Opcode::Create
                | Opcode::Tmpfile
                | Opcode::Mknod
                | Opcode::Mkdir
                | Opcode::Symlink
                | Opcode::Link
        )
    );
    let mut rest = if listing || single { payload } else { &[] };
    std::iter::from_fn(move || {
        let (entry, after) = abi::EntryOut::read_from_prefix(rest).ok()?;
        rest = if listing { skip_dirent(after) } else { &[] };
        Some(entry.nodeid)
    })
    .filter(|&nodeid| nodeid != 0)
}

fn skip_dirent(bytes: &[u8]) -> &[u8] {
    let Ok((dirent, _)) = abi::Dirent::read_from_prefix(bytes) else { return &[] };
    usize::try_from(dirent.namelen)
        .ok()
        .and_then(|len| {
            len.checked_add(size_of::<abi::Dirent>())?.checked_next_multiple_of(abi::DIRENT_ALIGN)
        })
        .and_then(|len| bytes.get(len..))
        .unwrap_or_default()
}

/// A message to the kernel that answers no request.
///
/// Sending one takes locks of the inodes concerned, which a client may hold while it waits for our reply: send
/// from a thread of its own, holding no lock, never from inside a handler.
#[derive(Clone, Copy, Debug)]
pub enum Notification<'a> {
    /// Drop cached attributes of an inode, and cached data from `off` on (`off` < 0: none; `len` 0: all).
    InvalInode {
        /// The inode.
        nodeid: u64,
        /// Start of the data to drop.
        off: i64,
        /// Length of the data to drop.
        len: i64,
    },
    /// Drop a cached name.
    InvalEntry {
        /// The directory.
        parent: u64,
        /// The name.
        name: &'a [u8],
    },
    /// Send again what was read and not answered. Only after its reader is surely dead.
    Resend,
}

/// Room for the fixed part of any notification.
pub const NOTIFICATION_MAX: usize = 24;

impl<'a> Notification<'a> {
    /// What to put into the header's `error` field.
    pub fn code(&self) -> NotifyCode {
        match self {
            Notification::InvalInode { .. } => NotifyCode::InvalInode,
            Notification::InvalEntry { .. } => NotifyCode::InvalEntry,
            Notification::Resend => NotifyCode::Resend,
        }
    }

    /// The message after its header: the fixed part, encoded into `space`, then a name and its NUL.
    pub fn encode<'s>(&self, space: &'s mut [u8; NOTIFICATION_MAX]) -> (&'s [u8], [&'a [u8]; 2]) {
        let mut fixed = ReplyBuf::new(space);
        let mut tail: [&[u8]; 2] = [&[], &[]];
        let fits = match *self {
            Notification::InvalInode { nodeid, off, len } => {
                fixed.put(&abi::NotifyInvalInodeOut { ino: nodeid, off, len })
            }
            Notification::InvalEntry { parent, name } => {
                tail = [name, b"\0"];
                let namelen = u32::try_from(name.len()).unwrap_or(u32::MAX);
                fixed.put(&abi::NotifyInvalEntryOut { parent, namelen, flags: 0 })
            }
            Notification::Resend => Ok(()),
        };
        debug_assert!(fits.is_ok(), "NOTIFICATION_MAX is the largest fixed part");
        let len = fixed.len;
        (space.get(..len).unwrap_or_default(), tail)
    }
}
