//! Extended attributes: packed in the inode's own area, and then in one block.
//!
//! An area is a list of attributes, each right behind the one before it, ended by a head whose name length and
//! namespace are both zero, or by the end of the area. What follows is zero.
use super::Corruption;
use super::block::HEADER;
use super::num::{all_zero, index, narrow16};
use bento_api::BLOCK;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of an attribute before its name.
pub const HEAD: usize = 4;
/// The byte of an attribute block at which the attributes begin.
pub const BLOCK_AREA: usize = 48;
/// The most bytes of attributes in a block.
pub const BLOCK_ROOM: usize = BLOCK - BLOCK_AREA;

raw! {
    /// What comes before name and value of an attribute.
    pub struct RawXattrHead [4] {
        /// Bytes of the name, without its namespace.
        0 => name_len: u8,
        /// The namespace.
        1 => namespace: u8,
        /// Bytes of the value.
        2 => value_len: U16,
    }
}

raw! {
    /// What follows the header in an attribute block, before the attributes.
    pub struct RawXattrBlockHead [16] {
        /// Attributes in the block.
        0 => count: U16,
        /// Zero.
        2 => unused: [u8; 14],
    }
}

/// The namespace of an attribute, which stands for the part of its name before the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// `user.`
    User,
    /// `trusted.`
    Trusted,
    /// `security.`
    Security,
    /// `system.posix_acl_access`, which has no further name.
    AclAccess,
    /// `system.posix_acl_default`, which has no further name.
    AclDefault,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::User, Self::Trusted, Self::Security, Self::AclAccess, Self::AclDefault];

    /// From the byte on disk.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|namespace| namespace.byte() == byte)
    }

    /// The byte on disk.
    pub const fn byte(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Trusted => 2,
            Self::Security => 3,
            Self::AclAccess => 4,
            Self::AclDefault => 5,
        }
    }

    /// What it stands for: a prefix, or for the last two the whole name.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::User => b"user.",
            Self::Trusted => b"trusted.",
            Self::Security => b"security.",
            Self::AclAccess => b"system.posix_acl_access",
            Self::AclDefault => b"system.posix_acl_default",
        }
    }

    /// True if a name follows the prefix.
    pub const fn is_prefix(self) -> bool {
        matches!(self, Self::User | Self::Trusted | Self::Security)
    }

    /// Splits a full name, as in setxattr(2); `None` if it is in no namespace that we keep.
    pub fn split(full: &[u8]) -> Option<(Self, &[u8])> {
        Self::ALL.into_iter().find_map(|namespace| {
            let rest = full.strip_prefix(namespace.prefix())?;
            (rest.is_empty() != namespace.is_prefix()).then_some((namespace, rest))
        })
    }
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// The byte in the area at which it begins.
    pub at: usize,
    /// The namespace.
    pub namespace: Namespace,
    /// The name without the namespace.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// The bytes that an attribute takes.
pub fn xattr_len(name_len: usize, value_len: usize) -> usize {
    HEAD.saturating_add(name_len).saturating_add(value_len)
}

impl Xattr<'_> {
    /// Bytes to the next attribute.
    pub fn space(&self) -> usize {
        xattr_len(self.name.len(), self.value.len())
    }
}

/// The attributes of an area. It ends after the first problem.
pub fn xattrs(area: &[u8]) -> Xattrs<'_> {
    Xattrs { area, at: 0 }
}

/// The iterator of [`xattrs`].
#[derive(Clone, Debug)]
pub struct Xattrs<'a> {
    area: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Xattrs<'a> {
    type Item = Result<Xattr<'a>, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.area.get(self.at..).unwrap_or(&[]);
        let next = read(rest, self.at).transpose();
        self.at = match &next {
            Some(Ok(xattr)) => self.at.saturating_add(xattr.space()),
            _ => self.area.len(),
        };
        next
    }
}

fn read(rest: &[u8], at: usize) -> Result<Option<Xattr<'_>>, Corruption> {
    let head = match RawXattrHead::read_from_prefix(rest) {
        Ok((head, _)) if head.name_len != 0 || head.namespace != 0 => head,
        _ if all_zero(rest) => return Ok(None),
        _ => return Err(Corruption::XattrTail),
    };
    let namespace = Namespace::from_byte(head.namespace).ok_or(Corruption::XattrNamespace)?;
    let name_end = HEAD.saturating_add(head.name_len.into());
    let name = rest.get(HEAD..name_end).ok_or(Corruption::XattrLength)?;
    let value_end = name_end.saturating_add(head.value_len.get().into());
    let value = rest.get(name_end..value_end).ok_or(Corruption::XattrLength)?;
    if name.is_empty() == namespace.is_prefix() || name.contains(&0) {
        return Err(Corruption::XattrName);
    }
    Ok(Some(Xattr { at, namespace, name, value }))
}

/// Finds an attribute.
pub fn find<'a>(area: &'a [u8], namespace: Namespace, name: &[u8]) -> Result<Option<Xattr<'a>>, Corruption> {
    for xattr in xattrs(area) {
        let xattr = xattr?;
        if xattr.namespace == namespace && xattr.name == name {
            return Ok(Some(xattr));
        }
    }
    Ok(None)
}

/// How many attributes an area has, and the bytes that they take.
pub fn usage(area: &[u8]) -> Result<(usize, usize), Corruption> {
    xattrs(area).try_fold((0, 0), |(count, bytes): (usize, usize), xattr| {
        Ok((count.saturating_add(1), bytes.saturating_add(xattr?.space())))
    })
}

/// Puts an attribute behind the others; false, and no change, if it does not fit. That there is none of this name
/// is the caller's business.
pub fn insert(area: &mut [u8], namespace: Namespace, name: &[u8], value: &[u8]) -> Result<bool, Corruption> {
    let (_, used) = usage(area)?;
    let Ok(name_len) = u8::try_from(name.len()) else { return Ok(false) };
    let Ok(value_len) = u16::try_from(value.len()) else { return Ok(false) };
    if name.is_empty() == namespace.is_prefix() || name.contains(&0) {
        return Err(Corruption::XattrName);
    }
    let end = used.saturating_add(xattr_len(name.len(), value.len()));
    let Some(place) = area.get_mut(used..end) else { return Ok(false) };
    let head = RawXattrHead { name_len, namespace: namespace.byte(), value_len: value_len.into() };
    let content = head.as_bytes().iter().chain(name).chain(value);
    place.iter_mut().zip(content).for_each(|(to, from)| *to = *from);
    Ok(true)
}

/// Takes an attribute out and closes the gap; false if there is none of this name.
pub fn remove(area: &mut [u8], namespace: Namespace, name: &[u8]) -> Result<bool, Corruption> {
    usage(area)?;
    let Some((at, space)) = find(area, namespace, name)?.map(|xattr| (xattr.at, xattr.space())) else {
        return Ok(false);
    };
    if let Some(rest) = area.get_mut(at..) {
        rest.rotate_left(space.min(rest.len()));
        let kept = rest.len().saturating_sub(space);
        rest.get_mut(kept..).unwrap_or(&mut []).fill(0);
    }
    Ok(true)
}

/// The area of an attribute block.
pub fn block_area(bytes: &[u8]) -> &[u8] {
    bytes.get(BLOCK_AREA..).unwrap_or(&[])
}

/// The area of an attribute block, to change; [`count_block`] when done.
pub fn block_area_mut(bytes: &mut [u8]) -> &mut [u8] {
    bytes.get_mut(BLOCK_AREA..).unwrap_or(&mut [])
}

/// Brings the count of an attribute block up to date with its area.
pub fn count_block(bytes: &mut [u8]) -> Result<(), Corruption> {
    let (count, _) = usage(block_area(bytes))?;
    let place = bytes.get_mut(HEADER..).ok_or(Corruption::XattrCount)?;
    let (head, _) = RawXattrBlockHead::mut_from_prefix(place).map_err(|_| Corruption::XattrCount)?;
    head.count = narrow16(count).into();
    Ok(())
}

/// Checks an attribute block behind its header: count, every attribute, and the zeros after them.
pub fn check_block(bytes: &[u8]) -> Result<(), Corruption> {
    let head = bytes.get(HEADER..).unwrap_or(&[]);
    let (head, _) = RawXattrBlockHead::read_from_prefix(head).map_err(|_| Corruption::XattrCount)?;
    let (count, _) = usage(block_area(bytes))?;
    if count != index(head.count.get().into()) {
        return Err(Corruption::XattrCount);
    }
    if all_zero(&head.unused) { Ok(()) } else { Err(Corruption::XattrTail) }
}
