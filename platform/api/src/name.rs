//! Names, checked once at the boundary.
use crate::Errno;

/// A file name: 1 to 255 bytes, any but `/` and NUL, neither `.` nor `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The longest name, in bytes.
    pub const MAX: usize = 255;

    /// Checks a name. `.` and `..` are the host's business and answer EINVAL.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        match bytes {
            [] => Err(Errno::NotFound),
            b"." | b".." => Err(Errno::Invalid),
            _ if bytes.len() > Self::MAX => Err(Errno::NameTooLong),
            _ if bytes.iter().any(|byte| matches!(byte, 0 | b'/')) => Err(Errno::Invalid),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes, as the user gave them.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// The name of an extended attribute, with its namespace: `user.mime_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrName<'a>(&'a [u8]);

impl<'a> XattrName<'a> {
    /// The longest name, namespace included, in bytes.
    pub const MAX: usize = 255;

    /// Checks the length, and that there is no NUL. Which namespaces exist is the file system's business.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        match bytes.len() {
            0 => Err(Errno::Range),
            n if n > Self::MAX => Err(Errno::Range),
            _ if bytes.contains(&0) => Err(Errno::Invalid),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}
