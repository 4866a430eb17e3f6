//! Requests: bytes from the kernel to [`Header`] and [`Op`].
//!
//! Decoding borrows names and data from the buffer, copies the fixed parts, allocates nothing and cannot
//! panic, whatever the bytes: the recorder of traces and the fuzz targets feed it with anything. What the
//! kernel cannot have meant (a name without its NUL, a count larger than the message) is a [`DecodeError`].

use super::abi::{self, Opcode};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Who asks, and about what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Opcode as sent; [`Opcode::from_raw`] tells whether we speak it.
    pub opcode: u32,
    /// Names the request, exactly as the reply must repeat it.
    pub unique: u64,
    /// The inode that it is about; 0 where there is none.
    pub nodeid: u64,
    /// Caller's user, or [`abi::INVALID_ID`].
    pub uid: u32,
    /// Caller's group, or [`abi::INVALID_ID`].
    pub gid: u32,
    /// Caller's process; 0 for the kernel itself and for write-back.
    pub pid: u32,
}

impl Header {
    /// The request's name without the mark of a repetition: the same before and after a resend.
    pub fn id(&self) -> u64 {
        self.unique & !abi::UNIQUE_RESEND
    }

    /// Whether the kernel sent this before, to a reader that did not answer.
    pub fn is_resent(&self) -> bool {
        self.unique & abi::UNIQUE_RESEND != 0
    }
}

/// One decoded request. Where the wire has a structure it is passed on; names carry no NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say what the documentation of the opcode in `abi` says")]
pub enum Op<'a> {
    Init(abi::InitIn),
    Destroy,
    Lookup {
        name: &'a [u8],
    },
    Forget {
        nlookup: u64,
    },
    BatchForget(Forgets<'a>),
    Getattr {
        fh: Option<u64>,
    },
    Setattr(abi::SetattrIn),
    Statx(abi::StatxIn),
    Readlink,
    Symlink {
        name: &'a [u8],
        target: &'a [u8],
    },
    Mknod {
        arg: abi::MknodIn,
        name: &'a [u8],
    },
    Mkdir {
        arg: abi::MkdirIn,
        name: &'a [u8],
    },
    Unlink {
        name: &'a [u8],
    },
    Rmdir {
        name: &'a [u8],
    },
    Rename {
        newdir: u64,
        flags: u32,
        name: &'a [u8],
        newname: &'a [u8],
    },
    Link {
        oldnodeid: u64,
        name: &'a [u8],
    },
    Create {
        arg: abi::CreateIn,
        name: &'a [u8],
    },
    Tmpfile(abi::CreateIn),
    Open(abi::OpenIn),
    Opendir(abi::OpenIn),
    Release(abi::ReleaseIn),
    Releasedir(abi::ReleaseIn),
    Flush(abi::FlushIn),
    Read(abi::ReadIn),
    Readdir(abi::ReadIn),
    Readdirplus(abi::ReadIn),
    Write {
        arg: abi::WriteIn,
        data: &'a [u8],
    },
    Statfs,
    Fsync(abi::FsyncIn),
    Fsyncdir(abi::FsyncIn),
    Syncfs,
    Setxattr {
        arg: abi::SetxattrIn,
        name: &'a [u8],
        value: &'a [u8],
    },
    Getxattr {
        size: u32,
        name: &'a [u8],
    },
    Listxattr {
        size: u32,
    },
    Removexattr {
        name: &'a [u8],
    },
    Access {
        mask: u32,
    },
    Fallocate(abi::FallocateIn),
    Lseek(abi::LseekIn),
    CopyFileRange(abi::CopyFileRangeIn),
    CopyFileRange64(abi::CopyFileRangeIn),
    Ioctl {
        arg: abi::IoctlIn,
        data: &'a [u8],
    },
    Bmap(abi::BmapIn),
    Interrupt {
        unique: u64,
    },
    NotifyReply {
        arg: abi::NotifyRetrieveIn,
        data: &'a [u8],
    },
    /// An opcode that we do not speak; ENOSYS is the answer, and the kernel remembers it.
    Unknown,
}

impl Op<'_> {
    /// Whether the kernel waits for an answer. Answering the others is an error.
    pub fn wants_reply(&self) -> bool {
        !matches!(self, Op::Forget { .. } | Op::BatchForget(_) | Op::NotifyReply { .. })
    }
}

/// The records of a BATCH_FORGET: node ids, and how many references to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgets<'a> {
    records: &'a [u8],
}

impl Iterator for Forgets<'_> {
    type Item = abi::ForgetOne;

    fn next(&mut self) -> Option<abi::ForgetOne> {
        let (one, rest) = abi::ForgetOne::read_from_prefix(self.records).ok()?;
        self.records = rest;
        Some(one)
    }
}

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not even a header: there is nobody to answer.
    #[error("{0} bytes are no FUSE request")]
    NoHeader(usize),
    /// The header can be answered, the rest makes no sense.
    #[error("malformed FUSE request, opcode {}: {fault}", .header.opcode)]
    Body {
        /// What to answer.
        header: Header,
        /// What is wrong.
        fault: BodyFault,
    },
}

/// What is wrong with the part of a request that follows its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyFault {
    /// The header names another length than the one read.
    #[error("its length field disagrees with what was read")]
    Length,
    /// The fixed part is cut off.
    #[error("it is too short")]
    Short,
    /// A name is empty or has no NUL at its end.
    #[error("a name is empty or not terminated")]
    Name,
    /// A count in the fixed part is not what follows.
    #[error("a count disagrees with the data")]
    Count,
}

/// Decodes one message, exactly as read from the device.
pub fn decode(message: &[u8]) -> Result<(Header, Op<'_>), DecodeError> {
    let Ok((raw, rest)) = abi::InHeader::read_from_prefix(message) else {
        return Err(DecodeError::NoHeader(message.len()));
    };
    let header = Header {
        opcode: raw.opcode,
        unique: raw.unique,
        nodeid: raw.nodeid,
        uid: raw.uid,
        gid: raw.gid,
        pid: raw.pid,
    };
    let body = |fault| DecodeError::Body { header, fault };
    if usize::try_from(raw.len) != Ok(message.len()) {
        return Err(body(BodyFault::Length));
    }
    // Extensions (security labels, supplementary groups) sit at the end. We negotiate none that we would
    // read here, so they only must not be taken for a part of a name.
    let extensions = usize::from(raw.total_extlen) * 8;
    let Some(rest) = rest.len().checked_sub(extensions).and_then(|n| rest.get(..n)) else {
        return Err(body(BodyFault::Count));
    };
    let Some(opcode) = Opcode::from_raw(raw.opcode) else {
        return Ok((header, Op::Unknown));
    };
    let op = operation(opcode, Body(rest)).map_err(body)?;
    Ok((header, op))
}

fn operation(opcode: Opcode, mut body: Body<'_>) -> Result<Op<'_>, BodyFault> {
    Ok(match opcode {
        Opcode::Init => Op::Init(body.init()?),
        Opcode::Destroy => Op::Destroy,
        Opcode::Lookup => Op::Lookup { name: body.name()? },
        Opcode::Forget => Op::Forget { nlookup: body.fixed::<abi::ForgetIn>()?.nlookup },
        Opcode::BatchForget => Op::BatchForget(body.forgets()?),
        Opcode::Getattr => {
            let arg: abi::GetattrIn = body.fixed()?;
            Op::Getattr { fh: (arg.getattr_flags & abi::GETATTR_FH != 0).then_some(arg.fh) }
        }
        Opcode::Setattr => Op::Setattr(body.fixed()?),
        Opcode::Statx => Op::Statx(body.fixed()?),
        Opcode::Readlink => Op::Readlink,
        Opcode::Symlink => Op::Symlink { name: body.name()?, target: body.string()? },
        Opcode::Mknod => Op::Mknod { arg: body.fixed()?, name: body.name()? },
        Opcode::Mkdir => Op::Mkdir { arg: body.fixed()?, name: body.name()? },
        Opcode::Unlink => Op::Unlink { name: body.name()? },
        Opcode::Rmdir => Op::Rmdir { name: body.name()? },
        Opcode::Rename => {
            let arg: abi::RenameIn = body.fixed()?;
            Op::Rename { newdir: arg.newdir, flags: 0, name: body.name()?, newname: body.name()? }
        }
        Opcode::Rename2 => {
            let arg: abi::Rename2In = body.fixed()?;
            Op::Rename { newdir: arg.newdir, flags: arg.flags, name: body.name()?, newname: body.name()? }
        }
        Opcode::Link => Op::Link { oldnodeid: body.fixed::<abi::LinkIn>()?.oldnodeid, name: body.name()? },
        Opcode::Create => Op::Create { arg: body.fixed()?, name: body.name()? },
        Opcode::Tmpfile => Op::Tmpfile(body.fixed()?),
        Opcode::Open => Op::Open(body.fixed()?),
        Opcode::Opendir => Op::Opendir(body.fixed()?),
        Opcode::Release => Op::Release(body.fixed()?),
        Opcode::Releasedir => Op::Releasedir(body.fixed()?),
        Opcode::Flush => Op::Flush(body.fixed()?),
        Opcode::Read => Op::Read(body.fixed()?),
        Opcode::Readdir => Op::Readdir(body.fixed()?),
        Opcode::Readdirplus => Op::Readdirplus(body.fixed()?),
        Opcode::Write => {
            let arg: abi::WriteIn = body.fixed()?;
            Op::Write { arg, data: body.data(arg.size)? }
        }
        Opcode::Statfs => Op::Statfs,
        Opcode::Fsync => Op::Fsync(body.fixed()?),
        Opcode::Fsyncdir => Op::Fsyncdir(body.fixed()?),
        Opcode::Syncfs => Op::Syncfs,
        Opcode::Setxattr => {
            let arg: abi::SetxattrIn = body.fixed()?;
            Op::Setxattr { arg, name: body.name()?, value: body.data(arg.size)? }
        }
        Opcode::Getxattr => Op::Getxattr { size: body.fixed::<abi::GetxattrIn>()?.size, name: body.name()? },
        Opcode::Listxattr => Op::Listxattr { size: body.fixed::<abi::GetxattrIn>()?.size },
        Opcode::Removexattr => Op::Removexattr { name: body.name()? },
        Opcode::Access => Op::Access { mask: body.fixed::<abi::AccessIn>()?.mask },
        Opcode::Fallocate => Op::Fallocate(body.fixed()?),
        Opcode::Lseek => Op::Lseek(body.fixed()?),
        Opcode::CopyFileRange => Op::CopyFileRange(body.fixed()?),
        Opcode::CopyFileRange64 => Op::CopyFileRange64(body.fixed()?),
        Opcode::Ioctl => {
            let arg: abi::IoctlIn = body.fixed()?;
            Op::Ioctl { arg, data: body.data(arg.in_size)? }
        }
        Opcode::Bmap => Op::Bmap(body.fixed()?),
        Opcode::Interrupt => Op::Interrupt { unique: body.fixed::<abi::InterruptIn>()?.unique },
        Opcode::NotifyReply => {
            let arg: abi::NotifyRetrieveIn = body.fixed()?;
            Op::NotifyReply { arg, data: body.data(arg.size)? }
        }
    })
}

/// What of a message is not decoded yet.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn fixed<T: FromBytes + KnownLayout + Immutable>(&mut self) -> Result<T, BodyFault> {
        let (value, rest) = T::read_from_prefix(self.0).map_err(|_| BodyFault::Short)?;
        self.0 = rest;
        Ok(value)
    }

    /// Bytes up to a NUL, possibly none.
    fn string(&mut self) -> Result<&'a [u8], BodyFault> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(BodyFault::Name)?;
        let (string, rest) = self.0.split_at_checked(end).ok_or(BodyFault::Name)?;
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(string)
    }

    fn name(&mut self) -> Result<&'a [u8], BodyFault> {
        let name = self.string()?;
        if name.is_empty() { Err(BodyFault::Name) } else { Ok(name) }
    }

    /// The rest, which must be this long.
    fn data(&mut self, len: u32) -> Result<&'a [u8], BodyFault> {
        if usize::try_from(len) != Ok(self.0.len()) {
            return Err(BodyFault::Count);
        }
        Ok(std::mem::take(&mut self.0))
    }

    fn forgets(&mut self) -> Result<Forgets<'a>, BodyFault> {
        let count = self.fixed::<abi::BatchForgetIn>()?.count;
        let bytes = usize::try_from(count).ok().and_then(|n| n.checked_mul(size_of::<abi::ForgetOne>()));
        let records = bytes.and_then(|n| self.0.get(..n)).ok_or(BodyFault::Count)?;
        Ok(Forgets { records })
    }

    /// INIT was 16 bytes long before 7.36.
    fn init(&mut self) -> Result<abi::InitIn, BodyFault> {
        if let Ok(arg) = self.fixed::<abi::InitIn>() {
            return Ok(arg);
        }
        let [major, minor, max_readahead, flags] = self.fixed::<[u32; 4]>()?;
        Ok(abi::InitIn { major, minor, max_readahead, flags, ..abi::InitIn::default() })
    }
}
