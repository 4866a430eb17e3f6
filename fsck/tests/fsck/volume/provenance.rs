//! A provenance log of a head and two record blocks.
use super::Volume;
use bento_api::{BlockNo, Bytes, Caller, FileBlock, InodeNo, Time};
use bento_fs::format::BlockKind;
use bento_fs::format::geometry::PROVENANCE;
use bento_fs::format::inode::Inode;
use bento_fs::format::prov::{self, Began, BlockHead, Entry, Head, Object, Record, Session, What};

/// Puts a record behind those that a block has.
fn add(bytes: &mut Bytes, head: &mut BlockHead, record: &Record<'_>) {
    let at = head.place_for(record.length()).unwrap();
    let names = [&record.head()[..], record.name.name, record.to.name].concat();
    bytes[at..at + names.len()].copy_from_slice(&names);
    *head = head.with_record(record.length());
    head.encode(bytes);
}

fn record<'a>(what: What, name: &'a [u8], to: &'a [u8]) -> Record<'a> {
    let entry = |name: &'a [u8]| Entry { dir: InodeNo(u64::from(!name.is_empty())), name };
    let who = Caller {
        pid: 7,
        uid: 8,
        start_time: 9,
        command: *b"touch\0\0\0\0\0\0\0\0\0\0\0",
        ..Caller::default()
    };
    let object = Object { ino: InodeNo(16), generation: 1, mode: 0o100_644, nlink: 1, ..Object::default() };
    let when = Time::new(1_700_000_000, 5);
    Record { what, whiteout: false, who, when, object, name: entry(name), to: entry(to), other: None }
}

impl Volume {
    /// Begins a log with three records.
    pub fn provenance(&mut self) {
        let now = Time::new(1_700_000_000, 5);
        let (atime, mtime, ctime, btime) = (now, now, now, now);
        let inode = Inode { mode: 0o100_600, nlink: 1, atime, mtime, ctime, btime, ..Inode::free(1) };
        self.set_inode(PROVENANCE, &inode);
        self.fill(PROVENANCE, &[(0, 3, false)]);
        let at = |block| self.log_file(block);
        let head = Head { tail: FileBlock(2), limit: 64 };
        self.put(BlockKind::ProvHead, at(0), PROVENANCE.0, |bytes| head.encode(bytes));
        let session = Session { boot: [3; 16], mount: 1, takeover: 0, since: now, began: Began::First };
        let mut first = BlockHead::new(1, 1, session);
        self.put(BlockKind::Prov, at(1), PROVENANCE.0, |bytes| {
            add(bytes, &mut first, &record(What::Create, b"a", b""));
            add(bytes, &mut first, &record(What::FirstWrite, b"", b""));
        });
        let began = Began::MountAfterGap;
        let mut second = BlockHead::new(2, 3, Session { mount: 3, began, ..session });
        self.put(BlockKind::Prov, at(2), PROVENANCE.0, |bytes| {
            add(bytes, &mut second, &record(What::Rename, b"a", b"another"));
        });
    }

    /// A block of the log.
    pub fn log_file(&self, block: u64) -> BlockNo {
        BlockNo(self.extents(PROVENANCE)[0].start.0 + block)
    }
}

/// Where the first record of a block begins.
pub const FIRST: usize = prov::RECORDS_AT;
