//! The smallest file system that a mount can be tested with: everything in one map, under one lock.

use bento_user::fuse::abi::{self, SetattrValid};
use bento_user::fuse::{DirEntry, Errno, Full, Handler, Header, Op, ReplyBuf, Request};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

const DIR: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

#[derive(Default)]
struct Node {
    attr: abi::Attr,
    data: Vec<u8>,
    /// Cookie to name and inode: a position stays when others come and go.
    entries: BTreeMap<u64, (Vec<u8>, u64)>,
    lookups: u64,
}

#[derive(Default)]
struct Tree {
    nodes: HashMap<u64, Node>,
    last: u64,
}

/// The handler.
pub struct Memory {
    tree: Mutex<Tree>,
    on_read: fn(&Request<'_>),
}

impl Memory {
    pub fn new() -> Self {
        Self::with_read(|_| {})
    }

    /// With something to happen inside each READ, to make it slow or to make it fail.
    pub fn with_read(on_read: fn(&Request<'_>)) -> Self {
        let mut tree = Tree { last: abi::ROOT_ID, ..Tree::default() };
        let attr = abi::Attr { ino: 1, mode: DIR | 0o755, nlink: 2, ..abi::Attr::default() };
        tree.nodes.insert(abi::ROOT_ID, Node { attr, ..Node::default() });
        Self { tree: Mutex::new(tree), on_read }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap()
    }

    /// The kernel has forgotten everything: unmounting sends no FORGETs.
    pub fn unmounted(&self) {
        self.tree().nodes.values_mut().for_each(|node| node.lookups = 0);
    }

    /// How many inodes exist, named or not.
    pub fn inodes(&self) -> usize {
        self.tree().nodes.len()
    }
}

impl Tree {
    fn node(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::STALE)
    }

    fn find(&mut self, dir: u64, name: &[u8]) -> Result<(u64, u64), Errno> {
        let found = self.node(dir)?.entries.iter().find(|(_, (entry, _))| entry == name);
        found.map(|(&cookie, &(_, ino))| (cookie, ino)).ok_or(Errno::NOENT)
    }

    fn make(&mut self, header: &Header, mode: u32, data: &[u8]) -> u64 {
        self.last += 1;
        let attr = abi::Attr {
            ino: self.last,
            mode,
            uid: header.uid,
            gid: header.gid,
            size: data.len() as u64,
            ..abi::Attr::default()
        };
        self.nodes.insert(self.last, Node { attr, data: data.to_vec(), ..Node::default() });
        self.last
    }

    fn name(&mut self, dir: u64, name: &[u8], ino: u64) -> Result<(), Errno> {
        self.node(ino)?.attr.nlink += 1;
        let dir = self.node(dir)?;
        let cookie = dir.entries.last_key_value().map_or(3, |(last, _)| last + 1);
        dir.entries.insert(cookie, (name.to_vec(), ino));
        dir.attr.mtime += 1;
        Ok(())
    }

    fn unname(&mut self, dir: u64, name: &[u8]) -> Result<u64, Errno> {
        let (cookie, ino) = self.find(dir, name)?;
        if !self.node(ino)?.entries.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.node(dir)?.entries.remove(&cookie);
        self.node(ino)?.attr.nlink -= 1;
        self.drop_unused(ino);
        Ok(ino)
    }

    fn forget(&mut self, ino: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups -= count;
            self.drop_unused(ino);
        }
    }

    fn drop_unused(&mut self, ino: u64) {
        if self.nodes.get(&ino).is_some_and(|node| node.lookups == 0 && node.attr.nlink == 0) {
            self.nodes.remove(&ino);
        }
    }

    fn entry(&mut self, ino: u64) -> Result<abi::EntryOut, Errno> {
        let node = self.node(ino)?;
        node.lookups += 1;
        Ok(entry_out(ino, node.attr))
    }

    fn list(&mut self, dir: u64, arg: abi::ReadIn, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        let mut listing = reply.listing(arg.size);
        let none = abi::EntryOut::default();
        let dots: [(u64, &[u8]); 2] = [(1, b"."), (2, b"..")];
        for (next, name) in dots.into_iter().filter(|&(next, _)| next > arg.offset) {
            let entry = DirEntry { ino: dir, next, kind: DIR >> 12, name };
            if listing.push_plus(&none, entry) == Err(Full) {
                return Ok(());
            }
        }
        let entries: Vec<_> =
            self.node(dir)?.entries.range(arg.offset + 1..).map(|(&c, e)| (c, e.clone())).collect();
        for (next, (name, ino)) in entries {
            let node = self.node(ino)?;
            let entry = DirEntry { ino, next, kind: node.attr.mode >> 12, name: &name };
            if listing.push_plus(&entry_out(ino, node.attr), entry) == Err(Full) {
                break;
            }
            node.lookups += 1;
        }
        Ok(())
    }
}

fn entry_out(nodeid: u64, attr: abi::Attr) -> abi::EntryOut {
    let valid = abi::FOREVER_S;
    abi::EntryOut { nodeid, entry_valid: valid, attr_valid: valid, attr, ..abi::EntryOut::default() }
}

fn attr_out(attr: abi::Attr) -> abi::AttrOut {
    abi::AttrOut { attr_valid: abi::FOREVER_S, attr, ..abi::AttrOut::default() }
}

fn statx(attr: &abi::Attr) -> abi::Statx {
    let time = |sec: u64| abi::SxTime { sec: sec as i64, ..abi::SxTime::default() };
    abi::Statx {
        mask: 0xfff,
        mode: attr.mode as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        ino: attr.ino,
        size: attr.size,
        atime: time(attr.atime),
        btime: time(42),
        ctime: time(attr.ctime),
        mtime: time(attr.mtime),
        ..abi::Statx::default()
    }
}

fn setattr(node: &mut Node, arg: &abi::SetattrIn) {
    let valid = SetattrValid::from_bits_retain(arg.valid);
    let attr = &mut node.attr;
    if valid.contains(SetattrValid::MODE) {
        attr.mode = attr.mode & !0o7777 | arg.mode & 0o7777;
    }
    if valid.contains(SetattrValid::MTIME) {
        attr.mtime = arg.mtime;
    }
    if valid.contains(SetattrValid::SIZE) {
        node.data.resize(arg.size as usize, 0);
        attr.size = arg.size;
    }
}

impl Handler for Memory {
    fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        let header = &request.header;
        let ino = header.nodeid;
        if let Op::Read(_) = op {
            (self.on_read)(request);
        }
        let mut tree = self.tree();
        let node = |tree: &mut Tree, made: u64, name: &[u8], reply: &mut ReplyBuf<'_>| {
            tree.name(ino, name, made)?;
            reply.entry(&tree.entry(made)?)
        };
        match op {
            Op::Lookup { name } => match tree.find(ino, name) {
                Ok((_, found)) => reply.entry(&tree.entry(found)?),
                // Absent, and known to be: node id 0 with a time.
                Err(Errno::NOENT) => reply.entry(&entry_out(0, abi::Attr::default())),
                Err(errno) => Err(errno),
            },
            Op::Forget { nlookup } => Ok(tree.forget(ino, nlookup)),
            Op::BatchForget(forgets) => Ok(forgets.for_each(|one| tree.forget(one.nodeid, one.nlookup))),
            Op::Getattr { .. } => reply.attr(&attr_out(tree.node(ino)?.attr)),
            Op::Setattr(arg) => {
                let node = tree.node(ino)?;
                setattr(node, &arg);
                reply.attr(&attr_out(node.attr))
            }
            Op::Statx(_) => {
                let stat = statx(&tree.node(ino)?.attr);
                let valid = abi::FOREVER_S;
                reply.statx(&abi::StatxOut { attr_valid: valid, stat, ..abi::StatxOut::default() })
            }
            Op::Symlink { name, target } => {
                let made = tree.make(header, LINK | 0o777, target);
                node(&mut tree, made, name, reply)
            }
            Op::Readlink => reply.bytes(&tree.node(ino)?.data),
            Op::Mkdir { arg, name } => {
                let made = tree.make(header, DIR | arg.mode & 0o7777, &[]);
                node(&mut tree, made, name, reply)
            }
            Op::Mknod { arg, name } => {
                let made = tree.make(header, arg.mode, &[]);
                node(&mut tree, made, name, reply)
            }
            Op::Create { arg, name } => {
                let made = tree.make(header, FILE | arg.mode & 0o7777, &[]);
                tree.name(ino, name, made)?;
                reply.created(&tree.entry(made)?, &abi::OpenOut::default())
            }
            Op::Tmpfile(arg) => {
                let made = tree.make(header, FILE | arg.mode & 0o7777, &[]);
                reply.created(&tree.entry(made)?, &abi::OpenOut::default())
            }
            Op::Link { oldnodeid, name } => node(&mut tree, oldnodeid, name, reply),
            Op::Unlink { name } | Op::Rmdir { name } => tree.unname(ino, name).map(drop),
            Op::Rename { newdir, name, newname, .. } => {
                let (_, moved) = tree.find(ino, name)?;
                if tree.find(newdir, newname).is_ok() {
                    tree.unname(newdir, newname)?;
                }
                tree.name(newdir, newname, moved)?;
                let (cookie, _) = tree.find(ino, name)?;
                tree.node(ino)?.entries.remove(&cookie);
                tree.node(moved)?.attr.nlink -= 1;
                Ok(())
            }
            Op::Read(arg) => {
                let data = &tree.node(ino)?.data;
                let from = data.get(arg.offset as usize..).unwrap_or_default();
                let space = reply.spare(arg.size as usize);
                let len = from.len().min(space.len());
                space[..len].copy_from_slice(&from[..len]);
                Ok(reply.advance(len))
            }
            Op::Write { arg, data } => {
                let node = tree.node(ino)?;
                let end = arg.offset as usize + data.len();
                node.data.resize(node.data.len().max(end), 0);
                node.data[arg.offset as usize..end].copy_from_slice(data);
                node.attr.size = node.data.len() as u64;
                reply.written(arg.size)
            }
            Op::Readdirplus(arg) => tree.list(ino, arg, reply),
            Op::Statfs => reply.statfs(&abi::StatfsOut {
                bsize: 4096,
                frsize: 4096,
                namelen: 255,
                ..Default::default()
            }),
            Op::Fsync(_) | Op::Fsyncdir(_) | Op::Syncfs | Op::Destroy => Ok(()),
            Op::Getxattr { .. } => Err(Errno::NODATA),
            Op::Listxattr { size } => reply.xattr(size, &[]),
            _ => Err(Errno::NOSYS),
        }
    }

    fn undelivered(&self, _: &Header, nodeids: &mut dyn Iterator<Item = u64>) {
        nodeids.for_each(|nodeid| self.tree().forget(nodeid, 1));
    }
}
