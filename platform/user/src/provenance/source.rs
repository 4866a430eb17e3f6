//! Where a log is read from, and what a path means there.
use super::{Damaged, History};
use crate::mount_table;
use crate::session::{Purpose, Session, SessionError, SessionOptions};
use bento_api::{BLOCK, Bytes, InodeNo, Name, OpKind, XattrName};
use bento_console::quoted;
use bento_fs::format::geometry::ROOT;
use bento_fs::format::prov::LIMITS;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How often a log is read again that went round while it was read.
const TRIES: u32 = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The image.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The log.
    #[error("{place}: {why}; run fsck.bento", place = quoted(.place))]
    Damaged {
        /// Of which volume.
        place: PathBuf,
        /// What is wrong.
        why: Damaged,
    },
    /// Nothing was ever recorded.
    #[error(
        "{place} has no provenance; `bento upgrade --to bento-prov DIR` turns it on under a mount, `bento mount -o prov` from its start",
        place = quoted(.0)
    )]
    NoLog(PathBuf),
    /// Somebody other than root asks.
    #[error("{}: only root may read provenance", quoted(.0))]
    NotAllowed(PathBuf),
    /// The path leads to no volume of ours.
    #[error("{}: neither on a mounted Bento volume, nor an image or a device with one", quoted(.0))]
    NotBento(PathBuf),
    /// A part of the volume is mounted, and its root is not seen.
    #[error("{}: the root of its volume is not mounted here; ask where it is", quoted(.0))]
    NoRoot(PathBuf),
    /// The path cannot be followed.
    #[error("{}: {why}", quoted(path))]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}

/// A place that a log can be read from.
pub enum Source {
    /// A mounted volume, by its root directory.
    Mount(PathBuf),
    /// An image or a device, opened for looking.
    Image(Box<Session>),
}

/// What a path leads to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The inode and its generation; none if nothing has this name now.
    pub object: Option<(InodeNo, u32)>,
    /// The directory and the name; none for the root.
    pub named: Option<super::Named>,
    /// The directories on the way, each with its parent and its name there.
    pub way: Vec<(InodeNo, InodeNo, Vec<u8>)>,
}

fn failed(path: &Path, why: std::io::Error) -> SourceError {
    SourceError::Path { path: path.to_owned(), why }
}

fn os(errno: bento_api::Errno) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno.number())
}

impl Source {
    /// The volume that holds `place`: a path on a mount, or an image or a device; and the path in the volume.
    pub fn find(place: &Path) -> Result<(Self, PathBuf), SourceError> {
        let full = std::path::absolute(place).map_err(|why| failed(place, why))?;
        // What is asked for need not exist any more, and a link is asked for as such: its directory is followed.
        let (dir, last) = match (full.parent(), full.file_name()) {
            (Some(dir), Some(last)) => (dir, Some(last)),
            _ => (full.as_path(), None),
        };
        let real = dir.canonicalize().map_err(|why| failed(dir, why))?;
        let real = last.map_or(real.clone(), |last| real.join(last));
        if let Some(mount) = mount_of(&real) {
            let within = real.strip_prefix(&mount).unwrap_or(Path::new("")).to_owned();
            let about = mount.metadata().map_err(|why| failed(&mount, why))?;
            return match about.ino() == ROOT.0 {
                true => Ok((Self::Mount(mount), within)),
                false => Err(SourceError::NoRoot(mount)),
            };
        }
        let is_volume = full.metadata().is_ok_and(|about| {
            use std::os::unix::fs::FileTypeExt;
            about.is_file() || about.file_type().is_block_device()
        });
        if !is_volume {
            return Err(SourceError::NotBento(place.to_owned()));
        }
        let options = SessionOptions { purpose: Purpose::Look, ..SessionOptions::default() };
        Ok((Self::Image(Box::new(Session::open(&full, &options)?)), PathBuf::new()))
    }

    /// How it is called.
    pub fn place(&self) -> &Path {
        match self {
            Self::Mount(root) => root,
            Self::Image(session) => session.path(),
        }
    }

    /// The whole log.
    pub fn history(&self) -> Result<History, SourceError> {
        let mut outcome = self.read();
        for _ in 0..TRIES {
            match outcome {
                // Records came, and the ring moved on, between two blocks.
                Err(SourceError::Damaged { .. }) if matches!(self, Self::Mount(_)) => outcome = self.read(),
                _ => break,
            }
        }
        outcome
    }

    fn read(&self) -> Result<History, SourceError> {
        let mut blocks: Vec<Box<Bytes>> = Vec::new();
        for number in 1..=*LIMITS.end() {
            let mut bytes = Box::new([0; BLOCK]);
            if !self.block(number, &mut bytes)? {
                break;
            }
            blocks.push(bytes);
        }
        if blocks.is_empty() {
            return Err(SourceError::NoLog(self.place().to_owned()));
        }
        History::of_blocks(blocks.iter().map(|block| &**block))
            .map_err(|why| SourceError::Damaged { place: self.place().to_owned(), why })
    }

    /// Reads one block of the log; whether there is one.
    fn block(&self, number: u64, to: &mut Bytes) -> Result<bool, SourceError> {
        let name = format!("trusted.bento.prov.{number}");
        let read = match self {
            Self::Mount(root) => rustix::fs::getxattr(root, name.as_str(), to).map_err(std::io::Error::from),
            Self::Image(session) => attribute(session, ROOT, &name, to).map_err(os),
        };
        match read {
            Ok(BLOCK) => Ok(true),
            Ok(_) => Err(SourceError::NotBento(self.place().to_owned())),
            Err(why) if why.raw_os_error() == Some(bento_api::Errno::NoAttribute.number()) => {
                self.check_privilege().map(|()| false)
            }
            Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(SourceError::NotAllowed(self.place().to_owned()))
            }
            Err(why) => Err(failed(self.place(), why)),
        }
    }

    /// The kernel answers who may not read such attributes as if there were none.
    fn check_privilege(&self) -> Result<(), SourceError> {
        let privileged = matches!(self, Self::Image(_)) || rustix::process::geteuid().is_root();
        if privileged { Ok(()) } else { Err(SourceError::NotAllowed(self.place().to_owned())) }
    }

    /// Follows a path from the volume's root.
    pub fn follow(&self, within: &Path) -> Result<Found, SourceError> {
        let names: Vec<&[u8]> = within
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.as_bytes()),
                _ => None,
            })
            .collect();
        let mut found = Found { object: Some(self.look(&[])?), ..Found::default() };
        for (at, name) in names.iter().enumerate() {
            let Some((dir, _)) = found.object else {
                return Err(failed(within, os(bento_api::Errno::NotFound)));
            };
            if let Some(named) = &found.named {
                found.way.push((dir, named.dir, named.name.clone()));
            }
            found.named = Some(super::Named { dir, name: name.to_vec() });
            found.object = match self.look(names.get(..=at).unwrap_or_default()) {
                Ok(object) => Some(object),
                Err(SourceError::Path { why, .. }) if why.kind() == std::io::ErrorKind::NotFound => None,
                Err(why) => return Err(why),
            };
        }
        Ok(found)
    }

    /// What lies at a path, given as names from the root.
    fn look(&self, names: &[&[u8]]) -> Result<(InodeNo, u32), SourceError> {
        match self {
            Self::Mount(root) => look_on_mount(root, names),
            Self::Image(session) => look_in_image(session, names),
        }
    }
}

fn look_on_mount(root: &Path, names: &[&[u8]]) -> Result<(InodeNo, u32), SourceError> {
    let mut path = root.to_owned();
    names.iter().for_each(|name| path.push(std::ffi::OsStr::from_bytes(name)));
    let about = path.symlink_metadata().map_err(|why| failed(&path, why))?;
    let mut text = [0; 16];
    let generation = rustix::fs::lgetxattr(&path, "trusted.bento.generation", &mut text)
        .ok()
        .and_then(|len| std::str::from_utf8(text.get(..len)?).ok()?.parse().ok());
    let generation = generation.ok_or_else(|| match rustix::process::geteuid().is_root() {
        true => SourceError::NotBento(path.clone()),
        false => SourceError::NotAllowed(path.clone()),
    })?;
    Ok((InodeNo(about.ino()), generation))
}

fn look_in_image(session: &Session, names: &[&[u8]]) -> Result<(InodeNo, u32), SourceError> {
    let mount = session.mount();
    let mut call = mount.call();
    let mut at = mount.run(&mut call, OpKind::Read, |fs, call| fs.getattr(call, ROOT));
    for name in names {
        let Ok(dir) = at else { break };
        at = mount.run(&mut call, OpKind::Read, |fs, call| fs.lookup(call, dir.ino, Name::new(name)?));
    }
    at.map(|attr| (attr.ino, attr.generation)).map_err(|errno| failed(session.path(), os(errno)))
}

fn attribute(session: &Session, ino: InodeNo, name: &str, to: &mut [u8]) -> Result<usize, bento_api::Errno> {
    let mount = session.mount();
    let name = XattrName::new(name.as_bytes())?;
    mount.run(&mut mount.call(), OpKind::Read, |fs, call| fs.getxattr(call, ino, name, to))
}

/// The mount point of the volume of ours that a path is on.
fn mount_of(path: &Path) -> Option<PathBuf> {
    let mounts = mount_table::all();
    path.ancestors().find_map(|dir| {
        let here = mounts.iter().rfind(|mount| mount.dir == dir)?;
        Some(here.is_bento.then(|| here.dir.clone()))
    })?
}
