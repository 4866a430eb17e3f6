//! POSIX access control lists, in the form that user space and the disk have of them.
//!
//! The kernel checks them; that mode and list agree is ours: what a list says of owner, mask (or group) and others is in the
//! mode too, and chmod(2) changes both. One transaction does.
//!
//! Default lists, which new files take over, are not served yet: to store one and not to apply it would grant what it
//! forbids.
use super::Bento;
use super::data::SET_GID;
use crate::containers::UserCall;
use crate::fuse::abi;
use crate::run::Mount;
use bento_api::{Attr, Errno, InodeNo, ModeChange, OpKind, SetAttr, XattrName};

pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// What a list begins with: the version of its form, little-endian.
const VERSION: [u8; 4] = [2, 0, 0, 0];
const ENTRY: usize = 8;
/// A list is a value of one attribute, and those fit a block.
const ROOM: usize = bento_api::BLOCK;

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// An entry's kind, and what it allows.
fn entry(bytes: &[u8; ENTRY]) -> (u16, u32) {
    let [t0, t1, p0, p1, ..] = *bytes;
    (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]).into())
}

/// The entries of a list.
fn entries(list: &[u8]) -> Result<&[[u8; ENTRY]], Errno> {
    match list.strip_prefix(&VERSION).map(<[u8]>::as_chunks) {
        Some((entries, [])) => Ok(entries),
        _ => Err(Errno::Invalid),
    }
}

/// The permission bits that a list is shown as, and whether they say all that it says.
fn mode_of(list: &[u8]) -> Result<(u32, bool), Errno> {
    let (mut owner, mut group, mut other, mut mask, mut more) = (None, None, None, None, false);
    for bytes in entries(list)? {
        let (tag, allowed) = entry(bytes);
        if allowed > 7 {
            return Err(Errno::Invalid);
        }
        match tag {
            USER_OBJ => owner = Some(allowed),
            GROUP_OBJ => group = Some(allowed),
            OTHER => other = Some(allowed),
            MASK => mask = Some(allowed),
            USER | GROUP => more = true,
            _ => return Err(Errno::Invalid),
        }
    }
    let (Some(owner), Some(group), Some(other)) = (owner, group, other) else { return Err(Errno::Invalid) };
    Ok((owner << 6 | mask.unwrap_or(group) << 3 | other, !more && mask.is_none()))
}

/// Makes a list say what a new mode says.
fn change_mode(list: &mut [u8], mode: u32) -> Result<(), Errno> {
    let has_mask = entries(list)?.iter().any(|bytes| entry(bytes).0 == MASK);
    let (entries, _) = list.get_mut(VERSION.len()..).ok_or(Errno::Invalid)?.as_chunks_mut::<ENTRY>();
    for bytes in entries {
        let allowed = match entry(bytes).0 {
            USER_OBJ => mode >> 6,
            GROUP_OBJ if !has_mask => mode >> 3,
            MASK => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        bytes[2..4].copy_from_slice(&[(allowed & 7) as u8, 0]);
    }
    Ok(())
}

impl Bento {
    /// SETXATTR of an access list. One that says no more than a mode is not kept.
    pub(super) fn set_acl(
        mount: &Mount,
        call: &mut UserCall,
        (ino, list): (InodeNo, &[u8]),
        arg: &abi::SetxattrIn,
    ) -> Result<(), Errno> {
        let (set, is_mode) = mode_of(list)?;
        let kills = arg.setxattr_flags & abi::SETXATTR_ACL_KILL_SGID != 0;
        let mode = ModeChange { clear: if kills { 0o777 | SET_GID } else { 0o777 }, set };
        let list = (!is_mode).then_some(list);
        mount.run(call, OpKind::Xattr, |fs, call| fs.set_acl(call, ino, list, mode)).map(|_| ())
    }

    /// SETATTR. A new mode changes the access list, if there is one.
    pub(super) fn setattr(
        mount: &Mount,
        call: &mut UserCall,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Attr, Errno> {
        let Some(mode) = set.mode else { return mount.setattr(call, ino, set) };
        let mut room = [0; ROOM];
        let name = XattrName::new(ACCESS)?;
        let found = mount.run(call, OpKind::Read, |fs, call| fs.getxattr(call, ino, name, &mut room));
        let list = match found {
            Ok(bytes) => room.get_mut(..bytes).ok_or(Errno::Range)?,
            Err(Errno::NoAttribute | Errno::NotSupported) => return mount.setattr(call, ino, set),
            Err(errno) => return Err(errno),
        };
        change_mode(list, mode)?;
        let list = &*list;
        let change = ModeChange { clear: 0o7777, set: mode & 0o7777 };
        let attr =
            mount.run(call, OpKind::Xattr, |fs, call| fs.set_acl(call, ino, Some(list), change))?.value;
        match (SetAttr { mode: None, ..*set }) {
            rest if rest == SetAttr::default() => Ok(attr),
            rest => mount.setattr(call, ino, &rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        for (tag, allowed) in entries {
            bytes.extend([tag.to_le_bytes(), allowed.to_le_bytes()].concat());
            bytes.extend(7_u32.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_mask_of_a_list_is_what_a_mode_shows_as_its_group() {
        let plain = list(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)]);
        assert_eq!(mode_of(&plain), Ok((0o640, true)));
        let mut named = list(&[(USER_OBJ, 6), (USER, 7), (GROUP_OBJ, 4), (MASK, 5), (OTHER, 1)]);
        assert_eq!(mode_of(&named), Ok((0o651, false)));
        change_mode(&mut named, 0o4720).unwrap();
        assert_eq!(named, list(&[(USER_OBJ, 7), (USER, 7), (GROUP_OBJ, 4), (MASK, 2), (OTHER, 0)]));
        let mut odd = list(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)]);
        change_mode(&mut odd, 0o751).unwrap();
        assert_eq!(odd, list(&[(USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 1)]));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let whole = list(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)]);
        for bad in [
            &whole[..whole.len() - 1],
            &whole[..4],
            &whole[..20],
            b"",
            &list(&[(USER_OBJ, 8), (GROUP_OBJ, 4), (OTHER, 0)]),
            &list(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0), (0x40, 1)]),
        ] {
            assert_eq!(mode_of(bad), Err(Errno::Invalid), "{bad:?}");
        }
    }
}
