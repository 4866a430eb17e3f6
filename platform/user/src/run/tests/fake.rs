//! A file system of counters, just large enough to try the host: one block an inode, a journal without checksums,
//! blocks that come and go. Its operations are borrowed from the real ones.
use bento_api::envelope::{Refused, Writer};
use bento_api::*;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Blocks of the log, behind its header.
pub(super) const LOG: u64 = 256;
const LOG_AT: u64 = 1;
/// The first counter's block.
pub(super) const HOMES: u64 = LOG_AT + LOG;
/// Counters, which are always there; blocks of the group come behind them.
pub(super) const COUNTERS: u64 = 200;
pub(super) const GROUP: u64 = HOMES + COUNTERS;
/// Bits of the one group.
pub(super) const BITS: u32 = 128;
const MAGIC: u64 = 0x6b65_6166;
const LIVE: usize = 8;

/// What goes wrong, by order.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) name: &'static str,
    pub(super) refuse: AtomicBool,
}

fn word(bytes: &Bytes, at: usize) -> u64 {
    bytes.get(at * 8..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
}

/// The journal's state: head, durable, homing, tail, then (seq, position, copies, written) of each live batch.
struct Journal {
    head: u64,
    durable: u64,
    homing: u64,
    live: Vec<[u64; 4]>,
}

impl Journal {
    fn load(bytes: &[u8; limits::JOURNAL_STATE]) -> Self {
        let word = |at: usize| u64::from_le_bytes(*bytes[at * 8..].first_chunk().expect("in bounds"));
        let live = (0..word(3) as usize).map(|i| [0, 1, 2, 3].map(|field| word(4 + i * 4 + field))).collect();
        Self { head: word(0), durable: word(1), homing: word(2), live }
    }

    fn store(&self, bytes: &mut [u8; limits::JOURNAL_STATE]) {
        for (at, value) in
            [self.head, self.durable, self.homing, self.live.len() as u64].into_iter().enumerate()
        {
            put(bytes, at, value);
        }
        self.live.iter().flatten().enumerate().for_each(|(at, value)| put(bytes, 4 + at, *value));
    }
}

pub(super) fn mounted(next: u64, tail: u64, values_free: u64) -> Mounted {
    let mut journal = [0; limits::JOURNAL_STATE];
    Journal { head: tail, durable: next - 1, homing: 0, live: Vec::new() }.store(&mut journal);
    Mounted {
        journal,
        next: BatchSeq(next),
        totals: Totals { blocks: values_free, inodes: 0, orphans: 0 },
        log_credits: (LOG - LIVE as u64 - 2) as u32,
        batch_limit: 64,
        groups: 1,
        inodes_per_group: 0,
        blocks_per_group: BITS,
        orphan_slots: 64,
        read_only: 0,
        replayed: 0,
    }
}

/// Brings the log home, as a mount does: the next batch, and where the log goes on.
pub(super) fn recover(disk: &dyn Disk) -> Result<(u64, u64), Errno> {
    let (mut header, mut copy) = ([0; BLOCK], [0; BLOCK]);
    disk.read(BlockNo(0), &mut header)?;
    let (mut seq, mut at) = (word(&header, 0).max(1), word(&header, 1));
    loop {
        disk.read(log_block(at), &mut header)?;
        if word(&header, 0) != MAGIC || word(&header, 1) != seq {
            return Ok((seq, at));
        }
        let count = word(&header, 2);
        for index in 0..count {
            disk.read(log_block(at + 1 + index), &mut copy)?;
            disk.write(BlockNo(word(&header, 3 + index as usize)), &copy)?;
        }
        (seq, at) = (seq + 1, at + 1 + count);
    }
}

fn log_block(at: u64) -> BlockNo {
    BlockNo(LOG_AT + at % LOG)
}

pub(super) fn home_of(ino: InodeNo) -> BlockNo {
    BlockNo(HOMES + ino.0)
}

fn pinned<P: Platform>(call: &Call<'_, P>, no: BlockNo) -> Result<P::Block, Stop> {
    match call.platform.pin(no)? {
        Some(block) => Ok(block),
        None => {
            call.platform.want(no, Fetch::Read);
            Err(Wait::Blocks.into())
        }
    }
}

fn begin<P: Platform>(call: &Call<'_, P>, credits: u32) -> Result<(), Stop> {
    if call.platform.credits() < credits { Err(Wait::LogSpace(credits).into()) } else { Ok(()) }
}

fn attr(ino: InodeNo, value: u64) -> Attr {
    Attr { ino, size: value, mode: 0o100_644, nlink: 1, generation: 1, ..Attr::default() }
}

impl Fake {
    fn add<P: Platform>(&self, call: &Call<'_, P>, changes: &[(InodeNo, u64)]) -> Result<BatchSeq, Stop> {
        let platform = call.platform;
        begin(call, changes.len() as u32)?;
        for (ino, _) in changes {
            platform.lock(*ino, Mode::Exclusive)?;
        }
        let mut blocks = Vec::new();
        for (ino, _) in changes {
            blocks.push(pinned(call, home_of(*ino))?);
        }
        let batch = platform.join();
        for (block, (ino, change)) in blocks.into_iter().zip(changes) {
            platform.merge(block, |bytes| {
                let value = word(bytes, 0).wrapping_add(*change);
                put(bytes, 0, value);
            });
            platform.slot(*ino, |slot| (slot.sync_seq, slot.datasync_seq) = (batch, batch));
        }
        platform.leave();
        Ok(batch)
    }

    /// Takes a block of the group and fills it.
    fn take<P: Platform>(&self, call: &Call<'_, P>, fill: u8) -> Result<Committed<u64>, Stop> {
        let platform = call.platform;
        begin(call, 1)?;
        platform.fill_group(GroupNo(0), |busy| {
            if !*busy.loaded {
                busy.blocks.fill(0);
                *busy.loaded = true;
            }
        })?;
        let find = |busy: &mut Busy<'_>| {
            let words = busy.words(Map::Blocks);
            let at = words.iter().position(|word| *word != u64::MAX)?;
            Some(Run { start: at as u32 * 64 + words[at].trailing_ones(), len: 1 })
        };
        let Some(run) = platform.claim(GroupNo(0), Map::Blocks, 0, find)? else {
            return Err(Wait::Space.into());
        };
        if fill == b'!' {
            panic!("by order, with a claim");
        }
        let block = platform.fresh(BlockNo(GROUP + u64::from(run.start)))?;
        let page = platform.take_page()?;
        platform.page_mut(page, |bytes| bytes.fill(fill));
        let batch = platform.join();
        platform.merge_page(block, page);
        platform.add_totals(Totals { blocks: u64::MAX, inodes: 0, orphans: 0 });
        platform.leave();
        Ok(Committed::in_batch(batch, run.start.into()))
    }

    /// Gives a block of the group back.
    fn give<P: Platform>(&self, call: &Call<'_, P>, bit: u32) -> Result<Committed<()>, Stop> {
        let platform = call.platform;
        begin(call, 1)?;
        let run = Run { start: bit, len: 1 };
        let (group, map) = (GroupNo(0), Map::Blocks);
        let block = BlockNo(GROUP + u64::from(bit));
        let pin = pinned(call, block)?;
        platform.note_claim(Claim { group, map, run, change: Change::FreeMeta })?;
        let batch = platform.join();
        platform.merge(pin, |bytes| bytes.fill(0));
        platform.free_after(batch, Freed { group, map, run, block, logged: true });
        platform.add_totals(Totals { blocks: 1, inodes: 0, orphans: 0 });
        platform.leave();
        Ok(Committed::in_batch(batch, ()))
    }

    fn commit<P: Platform>(&self, platform: &P, journal: &mut Journal, io: &mut P::IoList) -> Then {
        if journal.live.iter().any(|live| live[3] == 0) {
            return Then::InFlight;
        }
        if journal.live.len() == LIVE {
            return Then::First(Event::Checkpoint);
        }
        let (seq, copies) = match platform.seal() {
            Seal::Batch(seq, copies, _) => (seq, copies),
            Seal::Empty => return Then::Idle,
            Seal::TooManyInFlight => return Then::InFlight,
            Seal::Poisoned => return Then::Dead,
        };
        if platform.needs_flush() {
            io.flush();
        }
        let at = journal.head;
        platform.tag_page(0, |page| {
            page.fill(0);
            [MAGIC, seq.0, copies.into()]
                .into_iter()
                .enumerate()
                .for_each(|(at, value)| put(page, at, value));
        });
        for index in 0..copies {
            let home = platform.sealed(seq, index, |no, _| no.0).unwrap_or(0);
            platform.tag_page(0, |page| put(page, 3 + index as usize, home));
            platform.write_sealed(io, seq, index, log_block(at + 1 + u64::from(index)), false);
        }
        platform.write_tag_page(io, 0, log_block(at));
        io.flush();
        journal.live.push([seq.0, at, copies.into(), 0]);
        journal.head = at + 1 + u64::from(copies);
        Then::Deliver(Event::Written(seq, Ok(())))
    }

    fn homes<P: Platform>(&self, platform: &P, journal: &mut Journal, io: &mut P::IoList) -> Then {
        if platform.write_homes(io, BatchSeq(journal.homing), 16) > 0 {
            return Then::Deliver(Event::Homed(Ok(())));
        }
        io.flush();
        let last = journal.live.iter().rfind(|live| live[0] <= journal.homing).copied().unwrap_or_default();
        io.fill(BlockNo(0), |bytes| {
            bytes.fill(0);
            put(bytes, 0, last[0] + 1);
            put(bytes, 1, last[1] + 1 + last[2]);
        });
        io.flush();
        Then::Deliver(Event::Tail(Ok(())))
    }

    fn step<P: Platform>(
        &self,
        platform: &P,
        journal: &mut Journal,
        io: &mut P::IoList,
        event: Event,
    ) -> Then {
        match event {
            Event::Commit => self.commit(platform, journal, io),
            Event::Written(batch, Ok(())) => {
                journal.live.iter_mut().filter(|live| live[0] == batch.0).for_each(|live| live[3] = 1);
                journal.durable = batch.0;
                platform.set_durable(batch);
                Then::Idle
            }
            Event::Checkpoint if journal.homing != 0 => Then::InFlight,
            Event::Checkpoint => match journal.live.first() {
                None => Then::Idle,
                Some(live) if live[3] == 0 => Then::InFlight,
                Some(_) => {
                    journal.homing = journal.durable;
                    self.homes(platform, journal, io)
                }
            },
            Event::Homed(Ok(())) => self.homes(platform, journal, io),
            Event::Tail(Ok(())) => {
                let home = journal.live.iter().filter(|live| live[0] <= journal.homing);
                let copies: u64 = home.map(|live| live[2]).sum();
                journal.live.retain(|live| live[0] > journal.homing);
                platform.set_homed(BatchSeq(journal.homing));
                journal.homing = 0;
                platform.release_log(copies as u32);
                Then::Idle
            }
            _ => {
                platform.shut_down();
                Then::Dead
            }
        }
    }
}

/// Operations that the fake has no use for.
macro_rules! unsupported {
    ($($name:ident($($type:ty),*) -> $reply:ty;)*) => { $(
        fn $name(&self, _: &mut Call<'_, P>, $(_: $type),*) -> Result<$reply, Stop> {
            Err(Errno::NotSupported.into())
        }
    )* };
}

impl<P: Platform> FileSystem<P> for Fake {
    fn version(&self) -> &'static str {
        self.name
    }

    fn cost(&self, kind: OpKind) -> limits::Cost {
        match kind {
            OpKind::Read => limits::Cost { credits: 0, pages: 0 },
            _ => limits::Cost { credits: 2, pages: 2 },
        }
    }

    fn lookup(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Attr, Stop> {
        match name.bytes() {
            b"panic" => panic!("by order"),
            b"again" => Err(Wait::Again.into()),
            b"full" => Err(Wait::Space.into()),
            b"log" => begin(call, 1_000_000).map(|()| attr(dir, 0)),
            b"progress" => {
                let [at, ..] = call.platform.cursor();
                call.platform.set_cursor([at + 1, 0, 0, 0, 0, 0, 0, 0]);
                if at < 1000 { Err(Wait::Again.into()) } else { Ok(attr(dir, at)) }
            }
            _ => Err(Errno::NotFound.into()),
        }
    }

    fn create(
        &self,
        call: &mut Call<'_, P>,
        _: InodeNo,
        _: Name<'_>,
        node: &NewNode<'_>,
    ) -> Result<Committed<Attr>, Stop> {
        let taken = self.take(call, node.mode as u8)?;
        Ok(Committed::in_batch(taken.batch, attr(InodeNo(taken.value), 0)))
    }

    fn unlink(&self, call: &mut Call<'_, P>, dir: InodeNo, name: Name<'_>) -> Result<Committed<Attr>, Stop> {
        if name.bytes() == b"panic" {
            call.platform.join();
            panic!("by order, in a batch");
        }
        let freed = self.give(call, dir.0 as u32)?;
        Ok(Committed::in_batch(freed.batch, attr(dir, 0)))
    }

    fn rename(
        &self,
        call: &mut Call<'_, P>,
        from: (InodeNo, Name<'_>),
        to: (InodeNo, Name<'_>),
        _: Rename,
    ) -> Result<Committed<Option<Attr>>, Stop> {
        let mut changes = [(from.0, u64::MAX), (to.0, 1)];
        changes.sort();
        self.add(call, &changes).map(|batch| Committed::in_batch(batch, None))
    }

    fn getattr(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Attr, Stop> {
        call.platform.lock(ino, Mode::Shared)?;
        let block = pinned(call, home_of(ino))?;
        Ok(attr(ino, call.platform.read(block, |bytes| word(bytes, 0))))
    }

    fn setattr(
        &self,
        call: &mut Call<'_, P>,
        ino: InodeNo,
        set: &SetAttr,
    ) -> Result<Committed<(Attr, bool)>, Stop> {
        let batch = self.add(call, &[(ino, set.uid.unwrap_or(0).into())])?;
        Ok(Committed::in_batch(batch, (attr(ino, 0), false)))
    }

    fn flush_times(&self, call: &mut Call<'_, P>, ino: InodeNo) -> Result<Committed<()>, Stop> {
        call.platform.slot(ino, |slot| slot.times_dirty = 0);
        Ok(Committed::unchanged(()))
    }

    fn readdir(
        &self,
        _: &mut Call<'_, P>,
        _: InodeNo,
        _: Cursor,
        _: Emit,
        _: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool, Stop> {
        Err(Errno::NotSupported.into())
    }

    unsupported! {
        parent(InodeNo) -> Attr;
        symlink(InodeNo, Name<'_>, &[u8], &NewNode<'_>) -> Committed<Attr>;
        tmpfile(InodeNo, &NewNode<'_>) -> Committed<Attr>;
        link(InodeNo, InodeNo, Name<'_>) -> Committed<Attr>;
        rmdir(InodeNo, Name<'_>) -> Committed<Attr>;
        readlink(InodeNo, &mut [u8]) -> usize;
        trim_past_end(InodeNo) -> Committed<bool>;
        evict(InodeNo) -> Committed<Evicted>;
        orphan(u64) -> Option<(InodeNo, u64)>;
        getxattr(InodeNo, XattrName<'_>, &mut [u8]) -> usize;
        setxattr(InodeNo, XattrName<'_>, &[u8], XattrSet) -> Committed<()>;
        listxattr(InodeNo, &mut [u8]) -> usize;
        removexattr(InodeNo, XattrName<'_>) -> Committed<()>;
        map(InodeNo, FileBlock, u64) -> Mapping;
        place(InodeNo, FileBlock, u64, &mut Placement) -> PlacementId;
        publish(PlacementId, u64) -> Committed<Attr>;
        abandon(PlacementId) -> ();
        fallocate(InodeNo, Allocate, core::ops::Range<u64>) -> Committed<u64>;
        seek(InodeNo, u64, Seek) -> u64;
    }

    fn statfs(&self, totals: &Totals) -> StatFs {
        StatFs { blocks_free: totals.blocks, ..StatFs::default() }
    }

    fn describe(&self, _: Corruption) -> &'static str {
        "nothing that a counter knows of"
    }

    fn drive(&self, platform: &P, event: Event) -> Next<P> {
        let mut io = platform.io_list();
        let then = platform.with_journal(|bytes| {
            let mut journal = Journal::load(bytes);
            let then = self.step(platform, &mut journal, &mut io, event);
            journal.store(bytes);
            then
        });
        Next { io, then }
    }

    fn is_clean(&self, platform: &P) -> bool {
        platform.with_journal(|bytes| Journal::load(bytes).live.is_empty())
    }

    fn export(&self, to: &mut [u8]) -> Result<usize, Refused> {
        if self.refuse.load(SeqCst) {
            return Err(Refused::MissingSection(1));
        }
        let mut writer = Writer::new(to)?;
        writer.section(2, self.name.as_bytes())?;
        writer.finish()
    }
}
