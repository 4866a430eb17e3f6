//! Sequences of operations against the model, over remounts, crashes after a sync, evictions and failing writes.
use crate::base::made;
use crate::device::Ram;
use crate::model::{Content, Id, Model, Node, ROOT};
use crate::volume::Volume;
use bento_api::{Allocate, Errno, Rename, Seek};
use bento_fsck::check;
use bento_user::session::Purpose;
use std::sync::{Arc, LazyLock};

/// Bytes of one operation in the data of a case.
const BYTES: usize = 5;
/// Operations of one case, at most.
const MOST_OPERATIONS: usize = 400;
/// Bytes of a file, at most.
const LONGEST: u64 = 400_000;
const GROUPS: u64 = 3;

static EMPTY: LazyLock<Arc<Vec<bento_api::Bytes>>> = LazyLock::new(|| Arc::new(made(GROUPS).snapshot()));

/// Why a case ends before its data does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed;

/// Carries out the operations that the bytes stand for.
///
/// # Panics
/// If an answer is not the model's, or fsck finds something.
pub fn operations(data: &[u8]) {
    let device = Arc::new(Ram::over(EMPTY.clone()));
    let volume = Volume::open(&device, Purpose::Write).expect("a new volume mounts");
    let mut play = Play { device, volume: Some(volume), model: Model::new() };
    for op in data.as_chunks().0.iter().take(MOST_OPERATIONS) {
        if play.step(*op) == Err(Failed) {
            play.recover();
            return;
        }
    }
    play.compare();
    play.remount(true);
    play.compare();
}

struct Play {
    device: Arc<Ram>,
    /// None only while it is mounted anew.
    volume: Option<Volume>,
    model: Model,
}

/// A name of a few that there are, one of them long.
fn name(which: u8) -> Vec<u8> {
    match which % 16 {
        15 => vec![b'n'; 255],
        other => format!("name {other}").into_bytes(),
    }
}

impl Play {
    fn volume(&mut self) -> &mut Volume {
        self.volume.as_mut().expect("a volume is mounted")
    }

    /// Compares an answer with the model's. True if the model is to follow; an error of the device ends the case.
    fn agree<T: std::fmt::Debug>(
        &self,
        what: &str,
        reply: Result<T, Errno>,
        expected: Result<(), Errno>,
    ) -> Result<Option<T>, Failed> {
        match (reply, expected) {
            (Err(Errno::Io), _) if self.device.is_failing() => Err(Failed),
            // Room is not the model's business, nor what may be tried before it is found to be missing.
            (Err(Errno::NoSpace), _) => Ok(None),
            (Ok(value), Ok(())) => Ok(Some(value)),
            (Err(got), Err(wanted)) if got == wanted => Ok(None),
            (reply, expected) => panic!("{what}: {reply:?}, not {expected:?}"),
        }
    }

    fn pick(&self, which: u8, is: impl Fn(&Content) -> bool) -> Option<Id> {
        let all = self.model.all(is);
        (!all.is_empty()).then(|| all[usize::from(which) % all.len()])
    }

    fn dir(&self, which: u8) -> Id {
        self.pick(which, |content| matches!(content, Content::Dir(_))).unwrap_or(ROOT)
    }

    fn step(&mut self, [op, a, b, c, d]: [u8; BYTES]) -> Result<(), Failed> {
        match op % 24 {
            0 | 1 => self.make(a, b, Content::File(Vec::new())),
            2 => self.make(a, b, Content::Dir(Default::default())),
            3 => self.make(a, b, Content::Link(vec![b't'; usize::from(c) * 16 + 1])),
            4 => self.link(a, b, c),
            5 | 6 => self.remove(a, b, false),
            7 => self.remove(a, b, true),
            8 | 9 => self.rename((a, b), (c, d & 15), d >> 4),
            10..13 => self.write(a, u16::from_le_bytes([b, c]), d),
            13 => self.truncate(a, u16::from_le_bytes([b, c])),
            14 | 15 => self.allocate(a, u16::from_le_bytes([b, c]), d),
            16 => self.set_attribute(a, b, c),
            17 => self.remove_attribute(a, b),
            18 => self.read(a, u16::from_le_bytes([b, c])),
            19 => self.sync(a),
            20 => {
                self.remount(a % 2 == 0);
                Ok(())
            }
            21 => {
                self.volume().mount().containers().evict_all();
                Ok(())
            }
            22 => {
                self.volume().mount().containers().set_always_miss(a % 2 == 0);
                Ok(())
            }
            _ => {
                // Rarely, else most sequences are short.
                if a < 16 {
                    self.device.fail_after(u64::from(b));
                }
                Ok(())
            }
        }
    }

    fn make(&mut self, dir: u8, which: u8, content: Content) -> Result<(), Failed> {
        let (dir, name) = (self.dir(dir), name(which));
        let at = self.model.nodes[dir].ino;
        let reply = match &content {
            Content::File(_) => self.volume().create(at, &name, 0o100_644),
            Content::Dir(_) => self.volume().create(at, &name, 0o040_755),
            Content::Link(target) => self.volume().symlink(at, &name, target),
        };
        if let Some(ino) = self.agree("make", reply, self.model.may_make(dir, &name))? {
            self.model.make(dir, &name, ino, content);
        }
        Ok(())
    }

    fn link(&mut self, node: u8, dir: u8, which: u8) -> Result<(), Failed> {
        let Some(id) = self.pick(node, |content| !matches!(content, Content::Dir(_))) else { return Ok(()) };
        let (dir, name) = (self.dir(dir), name(which));
        let (ino, at) = (self.model.nodes[id].ino, self.model.nodes[dir].ino);
        let reply = self.volume().link(ino, at, &name);
        if self.agree("link", reply, self.model.may_link(id, dir, &name))?.is_some() {
            self.model.link(id, dir, &name);
        }
        Ok(())
    }

    fn remove(&mut self, dir: u8, which: u8, as_dir: bool) -> Result<(), Failed> {
        let (dir, name) = (self.dir(dir), name(which));
        let at = self.model.nodes[dir].ino;
        let reply = if as_dir { self.volume().rmdir(at, &name) } else { self.volume().unlink(at, &name) };
        if self.agree("remove", reply, self.model.may_remove(dir, &name, as_dir))?.is_some() {
            self.model.remove(dir, &name);
        }
        Ok(())
    }

    fn rename(&mut self, from: (u8, u8), to: (u8, u8), how: u8) -> Result<(), Failed> {
        let how = [Rename::Replace, Rename::NoReplace, Rename::Exchange][usize::from(how % 3)];
        let (from, to) = ((self.dir(from.0), name(from.1)), (self.dir(to.0), name(to.1)));
        let below = |dir: Id, id: Option<Id>| {
            id.is_some_and(|id| self.model.is_dir(id) && self.model.is_below(dir, id))
        };
        // A directory is not moved below itself: hosts refuse that, and the order of their answers is theirs.
        if below(to.0, self.model.find(from.0, &from.1)) || below(from.0, self.model.find(to.0, &to.1)) {
            return Ok(());
        }
        let inos = [from.0, to.0].map(|id| self.model.nodes[id].ino);
        let reply = self.volume().rename((inos[0], &from.1), (inos[1], &to.1), how);
        let expected = self.model.may_rename((from.0, &from.1), (to.0, &to.1), how);
        if self.agree("rename", reply, expected)?.is_some() {
            self.model.rename((from.0, &from.1), (to.0, &to.1), how);
        }
        Ok(())
    }

    fn file(&self, which: u8) -> Option<Id> {
        self.pick(which, |content| matches!(content, Content::File(_)))
    }

    fn write(&mut self, file: u8, at: u16, len: u8) -> Result<(), Failed> {
        let Some(id) = self.file(file) else { return Ok(()) };
        let (ino, at) = (self.model.nodes[id].ino, u64::from(at) * 6);
        let data: Vec<u8> = (0..usize::from(len) * 61 + 1).map(|byte| (byte as u8) ^ len).collect();
        let reply = self.volume().write(ino, at, &data);
        if let Some(written) = self.agree("write", reply, Ok(()))? {
            let bytes = self.model.file_mut(id);
            bytes.resize(bytes.len().max(at as usize + written), 0);
            bytes[at as usize..][..written].copy_from_slice(&data[..written]);
            if written < data.len() && self.device.is_failing() {
                return Err(Failed);
            }
        }
        Ok(())
    }

    fn truncate(&mut self, file: u8, size: u16) -> Result<(), Failed> {
        let Some(id) = self.file(file) else { return Ok(()) };
        let (ino, size) = (self.model.nodes[id].ino, u64::from(size) * 6);
        let reply = self.volume().truncate(ino, size);
        if self.agree("truncate", reply, Ok(()))?.is_some() {
            self.model.file_mut(id).resize(size as usize, 0);
        }
        Ok(())
    }

    fn allocate(&mut self, file: u8, at: u16, how: u8) -> Result<(), Failed> {
        let Some(id) = self.file(file) else { return Ok(()) };
        let (ino, at) = (self.model.nodes[id].ino, u64::from(at) * 6);
        let range = at..(at + u64::from(how) * 200 + 1).min(LONGEST);
        let how = [
            Allocate::Reserve,
            Allocate::ReserveKeepSize,
            Allocate::Punch,
            Allocate::Zero,
            Allocate::ZeroKeepSize,
        ][usize::from(how % 5)];
        let reply = self.volume().fallocate(ino, how, range.clone());
        let done = self.agree("allocate", reply, Ok(()))?.is_some();
        let stat = self.volume().stat(ino);
        let size = self.agree("stat", stat, Ok(()))?.map_or(0, |attr| attr.size);
        let bytes = self.model.file_mut(id);
        if matches!(how, Allocate::Reserve | Allocate::Zero) {
            let grown = bytes.len().max(range.end as usize);
            assert!(!done || size == grown as u64, "allocation made it {size} bytes, not {grown}");
            bytes.resize(size as usize, 0);
        }
        if matches!(how, Allocate::Punch | Allocate::Zero | Allocate::ZeroKeepSize) {
            // One that failed half-way may have zeroed any part: read what it left.
            let (from, to) = (bytes.len().min(range.start as usize), bytes.len().min(range.end as usize));
            if done {
                bytes[from..to].fill(0);
            } else {
                let read = self.volume().read(ino, 0, size as usize);
                let Some(now) = self.agree("read", read, Ok(()))? else { return Ok(()) };
                *self.model.file_mut(id) = now;
            }
        }
        Ok(())
    }

    fn set_attribute(&mut self, node: u8, which: u8, len: u8) -> Result<(), Failed> {
        let id = self.pick(node, |_| true).unwrap_or(ROOT);
        let (ino, name) = (self.model.nodes[id].ino, format!("user.{}", which % 8).into_bytes());
        let value = vec![which; usize::from(len) * 4];
        let reply = self.volume().setxattr(ino, &name, &value);
        if self.agree("setxattr", reply, Ok(()))?.is_some() {
            self.model.nodes[id].xattrs.insert(name, value);
        }
        Ok(())
    }

    fn remove_attribute(&mut self, node: u8, which: u8) -> Result<(), Failed> {
        let id = self.pick(node, |_| true).unwrap_or(ROOT);
        let (ino, name) = (self.model.nodes[id].ino, format!("user.{}", which % 8).into_bytes());
        let reply = self.volume().removexattr(ino, &name);
        let known = self.model.nodes[id].xattrs.contains_key(&name);
        let expected = if known { Ok(()) } else { Err(Errno::NoAttribute) };
        if self.agree("removexattr", reply, expected)?.is_some() {
            self.model.nodes[id].xattrs.remove(&name);
        }
        Ok(())
    }

    fn read(&mut self, file: u8, at: u16) -> Result<(), Failed> {
        let Some(id) = self.file(file) else { return Ok(()) };
        let (ino, at) = (self.model.nodes[id].ino, usize::from(at) * 6);
        let reply = self.volume().read(ino, at as u64, 20_000);
        let got = self.agree("read", reply, Ok(()))?;
        let data = self.volume().seek(ino, at as u64, Seek::Data);
        let bytes = self.model.file_mut(id);
        let from = bytes.len().min(at);
        if let Some(got) = got {
            assert!(got == bytes[from..bytes.len().min(from + 20_000)], "content at {at}");
        }
        let hole_to = match data {
            Ok(found) => found as usize,
            Err(Errno::NoSuchAddress) => bytes.len(),
            Err(_) => from,
        };
        assert!(bytes[from..hole_to.max(from)].iter().all(|byte| *byte == 0), "data in a hole at {at}");
        Ok(())
    }

    fn sync(&mut self, how: u8) -> Result<(), Failed> {
        let reply = match how % 3 {
            0 => self.volume().sync(),
            1 => self.volume().mount().commit(),
            _ => self.volume().mount().checkpoint(),
        };
        if self.agree("sync", reply, Ok(()))?.is_some() {
            self.check();
        }
        Ok(())
    }

    /// Mounts again: after an unmount, or after a sync and a crash.
    fn remount(&mut self, unmount: bool) {
        if self.device.is_failing() {
            return;
        }
        let mut volume = self.volume.take().expect("a volume is mounted");
        if unmount {
            volume.close().expect("unmounts");
        } else {
            volume.sync().expect("syncs");
        }
        self.check();
        self.volume = Some(Volume::open(&self.device, Purpose::Write).expect("mounts again"));
    }

    fn check(&self) {
        let report = check(&*self.device, &bento_fsck::Options::default());
        assert!(report.is_clean(), "{:#?}", report.problems);
    }

    /// After the device failed: what is on it now mounts, is sound, and can be read. How much of the last operations it
    /// has is not the model's to say.
    fn recover(&mut self) {
        self.volume = None;
        self.device.heal();
        self.check();
        let mut volume = Volume::open(&self.device, Purpose::Write).expect("recovers");
        let mut open = vec![crate::volume::ROOT];
        while let Some(dir) = open.pop() {
            for (_, ino, _) in volume.list(dir).expect("lists") {
                let attr = volume.stat(ino).expect("has attributes");
                if attr.kind() == Some(bento_api::FileKind::Directory) {
                    open.push(ino);
                } else if attr.kind() == Some(bento_api::FileKind::Regular) {
                    assert_eq!(
                        volume.read(ino, 0, attr.size as usize).expect("reads").len() as u64,
                        attr.size
                    );
                }
            }
        }
        volume.close().expect("unmounts");
        self.check();
    }

    /// Compares everything.
    fn compare(&mut self) {
        if self.device.is_failing() {
            return self.recover_for_good();
        }
        let model = self.model.clone();
        for id in model.all(|_| true) {
            compare_node(self.volume(), &model, &model.nodes[id]);
        }
    }

    fn recover_for_good(&mut self) {
        self.recover();
        self.device = Arc::new(Ram::over(EMPTY.clone()));
        self.volume = Some(Volume::open(&self.device, Purpose::Write).expect("a new volume mounts"));
        self.model = Model::new();
    }
}

/// Compares one node.
fn compare_node(volume: &mut Volume, model: &Model, node: &Node) {
    let attr = volume.stat(node.ino).expect("has attributes");
    match &node.content {
        Content::File(bytes) => {
            assert_eq!((attr.size, attr.nlink), (bytes.len() as u64, node.names));
            assert!(volume.read(node.ino, 0, bytes.len() + 10).expect("reads") == *bytes, "content");
        }
        Content::Link(target) => {
            assert_eq!(volume.readlink(node.ino).as_ref(), Ok(target));
            assert_eq!(attr.nlink, node.names);
        }
        Content::Dir(names) => {
            let mut listed: Vec<_> =
                volume.list(node.ino).expect("lists").into_iter().map(|(name, ino, _)| (name, ino)).collect();
            listed.sort();
            let expected: Vec<_> =
                names.iter().map(|(name, id)| (name.clone(), model.nodes[*id].ino)).collect();
            assert_eq!(listed, expected);
            let below = names.values().filter(|id| model.is_dir(**id)).count();
            assert_eq!(attr.nlink as usize, 2 + below);
        }
    }
    let mut names = volume.listxattr(node.ino).expect("lists attributes");
    names.sort();
    assert!(names.iter().eq(node.xattrs.keys()), "{names:?}");
    for (name, value) in &node.xattrs {
        assert_eq!(volume.getxattr(node.ino, name).as_ref(), Ok(value));
    }
}
