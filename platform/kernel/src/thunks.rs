//! One C function for each operation: raw arguments in, values inside, a code out.
//!
//! A code is 0, a negative error number, or 1: then the call says what is waited for.
use crate::fault::{Place, reach};
use crate::platform::KCall;
use bento_api::{
    Allocate, Attr, BatchSeq, Call, Committed, Cursor, DirEntry, Emit, Errno, Event, Evicted, Few, FileBlock,
    FileSystem, GroupNo, InodeNo, MapKind, Name, NewNode, PlacementId, Rename, Seek, SetAttr, SetTime, Stop,
    Then, Totals, Wait, XattrName, XattrSet,
};
use bento_fs::{BentoFs, Variant};
use bento_kernel_abi as c;
use core::slice::{from_raw_parts, from_raw_parts_mut};

/// An operation, as C calls it.
pub(crate) type Thunk = unsafe extern "C" fn(*const u8, *mut c::Call) -> i32;

type View<'m> = Call<'m, KCall>;

const _: () =
    assert!(size_of::<View<'static>>() <= c::SCRATCH_BYTES as usize, "a view fits its scratch bytes");

/// Bytes of a view, for the registration.
pub(crate) const VIEW_BYTES: u32 = size_of::<View<'static>>() as u32;

fn code(errno: Errno) -> i32 {
    -errno.number()
}

/// One attempt: the view of the call lives in the call's scratch bytes, and is of no use afterwards.
///
/// # Safety
/// `fs` is what this module put there at mount or import; `call` lives and is this attempt's alone.
#[inline(always)]
unsafe fn attempt<V: Variant>(
    fs: *const u8,
    call: *mut c::Call,
    op: impl FnOnce(&BentoFs<V>, &mut View<'_>, &c::Args, &mut c::Reply) -> Result<(), Stop>,
) -> i32 {
    // SAFETY: the caller vouches for `fs`. The scratch bytes are aligned for a page and large enough. The arguments do
    // not change during an attempt, and the reply is nobody's but this function's: the platform's own references
    // to the call end before it returns, and it touches neither.
    let (fs, view, args, reply) = unsafe {
        let platform = KCall::of(call);
        let view = begin((*call).scratch.cast::<View<'_>>(), (*call).has_view != 0, platform, (*call).caller);
        (&*fs.cast::<BentoFs<V>>(), view, &*(&raw const (*call).args), &mut *(&raw mut (*call).reply))
    };
    reach(Place::Operation);
    reach(Place::Overflow);
    reach(Place::Message);
    match op(fs, view, args, reply) {
        Ok(()) => 0,
        Err(Stop::Error(errno)) => code(errno),
        Err(Stop::Wait(wait)) => {
            // SAFETY: the call is this attempt's alone.
            unsafe { note(&mut *call, wait) }
            1
        }
    }
}

/// Makes a view where it is to be, field by field: as one value it would pass over the stack, which it is too large for.
/// Its tables are several KiB: those that an earlier attempt left are only emptied.
///
/// # Safety
/// `at` is aligned, large enough, and nobody else's for `'m`; if it `has_view`, this code made one there, and nothing else
/// was written to it since.
unsafe fn begin<'m>(
    at: *mut View<'m>,
    has_view: bool,
    platform: &'m KCall,
    caller: bento_api::Caller,
) -> &'m mut View<'m> {
    // All the fields there are, or this does not compile.
    const _: fn(&View<'_>) = |Call {
                                  platform: _,
                                  caller: _,
                                  writes: _,
                                  private: _,
                                  touched: _,
                                  groups: _,
                                  locks: _,
                                  totals: _,
                                  placement: _,
                              }| ();
    // SAFETY: the caller vouches for the room, and for the tables if there are some; every field is written, and what the
    // tables may hold from before borrows nothing.
    unsafe {
        (&raw mut (*at).platform).write(platform);
        (&raw mut (*at).caller).write(caller);
        if has_view {
            (*at).writes.clear();
            (*at).private.clear();
            (*at).touched.clear();
            (*at).groups.clear();
            (*at).locks.clear();
        } else {
            (&raw mut (*at).writes).write(Few::EMPTY);
            (&raw mut (*at).private).write(Few::EMPTY);
            (&raw mut (*at).touched).write(Few::EMPTY);
            (&raw mut (*at).groups).write(Few::EMPTY);
            (&raw mut (*at).locks).write(Few::EMPTY);
        }
        (&raw mut (*at).totals).write(Totals::default());
        (&raw mut (*at).placement).write(None);
        &mut *at
    }
}

fn note(call: &mut c::Call, wait: Wait) {
    call.wait = match wait {
        Wait::Blocks => c::WAIT_BLOCKS,
        Wait::LogSpace(credits) => {
            call.wait_credits = credits;
            c::WAIT_LOG
        }
        Wait::Batch(batch) => {
            call.wait_batch = batch.0;
            c::WAIT_BATCH
        }
        Wait::Space => c::WAIT_SPACE,
        Wait::Again => c::WAIT_AGAIN,
    };
}

/// Bytes of C's.
///
/// # Safety
/// `at` points to so many, or there are none.
unsafe fn bytes<'a>(at: *const u8, count: usize) -> &'a [u8] {
    // SAFETY: the caller vouches for it.
    if count == 0 { &[] } else { unsafe { from_raw_parts(at, count) } }
}

/// The buffer of an operation's arguments.
///
/// # Safety
/// They are C's, which gives each attempt its own.
unsafe fn buffer<'a>(args: &c::Args) -> &'a mut [u8] {
    // SAFETY: the caller vouches for it.
    if args.buffer_bytes == 0 {
        &mut []
    } else {
        unsafe { from_raw_parts_mut(args.buffer, args.buffer_bytes) }
    }
}

fn bytes32(count: u32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

fn name(args: &c::Args) -> Result<Name<'_>, Errno> {
    // SAFETY: C passes a name with its length.
    Name::new(unsafe { bytes(args.name, bytes32(args.name_bytes)) })
}

fn other_name(args: &c::Args) -> Result<Name<'_>, Errno> {
    // SAFETY: C passes a name with its length.
    Name::new(unsafe { bytes(args.other_name, bytes32(args.other_name_bytes)) })
}

fn xattr_name(args: &c::Args) -> Result<XattrName<'_>, Errno> {
    // SAFETY: C passes a name with its length.
    XattrName::new(unsafe { bytes(args.name, bytes32(args.name_bytes)) })
}

/// Attributes that one new inode can be given: a label, a capability, two ACLs.
const NEW_XATTRS: usize = 6;

/// Calls `f` with the node that the arguments describe.
fn with_node<R>(args: &c::Args, f: impl FnOnce(&NewNode<'_>) -> Result<R, Stop>) -> Result<R, Stop> {
    let count = bytes32(args.xattr_count);
    // SAFETY: C passes so many.
    let given = if count == 0 { &[] } else { unsafe { from_raw_parts(args.xattrs, count) } };
    let mut all = [(XattrName::new(b"user.")?, &[][..]); NEW_XATTRS];
    for (to, from) in all.iter_mut().zip(given) {
        // SAFETY: C passes names and values with their lengths.
        *to = unsafe {
            (XattrName::new(bytes(from.name, from.name_bytes))?, bytes(from.value, from.value_bytes))
        };
    }
    let xattrs = all.get(..count).ok_or(Errno::Capacity)?;
    f(&NewNode { mode: args.mode, uid: args.uid, gid: args.gid, rdev: args.rdev, xattrs })
}

fn put_attr(reply: &mut c::Reply, done: Committed<Attr>) {
    (reply.attr, reply.batch, reply.has_attr) = (done.value, done.batch.0, 1);
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

macro_rules! thunks {
    ($($name:ident: |$fs:ident, $call:ident, $args:ident, $reply:ident| $body:block)*) => {
        $(
            unsafe extern "C" fn $name<V: Variant>(fs: *const u8, call: *mut c::Call) -> i32 {
                // SAFETY: C passes the live mount's code and the thread's own call; and with each operation the
                // buffers that its thunk below uses, each for this attempt alone.
                unsafe { attempt::<V>(fs, call, |$fs, $call, $args, $reply| $body) }
            }
        )*

        /// The operations of a variant, by name.
        const fn named<V: Variant>(name: &str) -> Option<Thunk> {
            $( if same(name, stringify!($name)) { return Some($name::<V>); } )*
            None
        }
    };
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b, mut at) = (a.as_bytes(), b.as_bytes(), 0);
    if a.len() != b.len() {
        return false;
    }
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The table of operations, in the order of their places.
pub(crate) const fn table<V: Variant>() -> [*const core::ffi::c_void; c::OPS.len()] {
    let mut table = [core::ptr::null(); c::OPS.len()];
    let mut at = 0;
    while at < table.len() {
        match named::<V>(c::OPS[at]) {
            Some(thunk) => table[at] = thunk as *const core::ffi::c_void,
            None => panic!("an operation has no thunk"),
        }
        at += 1;
    }
    table
}

thunks! {
    lookup: |fs, call, args, reply| {
        (reply.attr, reply.has_attr) = (fs.lookup(call, InodeNo(args.ino), name(args)?)?, 1);
        Ok(())
    }
    parent: |fs, call, args, reply| {
        (reply.attr, reply.has_attr) = (fs.parent(call, InodeNo(args.ino))?, 1);
        Ok(())
    }
    create: |fs, call, args, reply| {
        let done = with_node(args, |node| fs.create(call, InodeNo(args.ino), name(args)?, node))?;
        put_attr(reply, done);
        Ok(())
    }
    symlink: |fs, call, args, reply| {
        let target = buffer(args);
        let done = with_node(args, |node| fs.symlink(call, InodeNo(args.ino), name(args)?, target, node))?;
        put_attr(reply, done);
        Ok(())
    }
    tmpfile: |fs, call, args, reply| {
        let done = with_node(args, |node| fs.tmpfile(call, InodeNo(args.ino), node))?;
        put_attr(reply, done);
        Ok(())
    }
    link: |fs, call, args, reply| {
        let done = fs.link(call, InodeNo(args.ino), InodeNo(args.other), name(args)?)?;
        put_attr(reply, done);
        Ok(())
    }
    unlink: |fs, call, args, reply| {
        let done = fs.unlink(call, InodeNo(args.ino), name(args)?)?;
        put_attr(reply, done);
        Ok(())
    }
    rmdir: |fs, call, args, reply| {
        let done = fs.rmdir(call, InodeNo(args.ino), name(args)?)?;
        put_attr(reply, done);
        Ok(())
    }
    rename: |fs, call, args, reply| {
        let how = match args.how {
            0 => Rename::Replace,
            1 => Rename::NoReplace,
            2 => Rename::Exchange,
            4 => Rename::Whiteout,
            _ => return Err(Errno::Invalid.into()),
        };
        let (from, to) = ((InodeNo(args.ino), name(args)?), (InodeNo(args.other), other_name(args)?));
        let done = fs.rename(call, from, to, how)?;
        reply.batch = done.batch.0;
        if let Some(attr) = done.value {
            (reply.attr, reply.has_attr) = (attr, 1);
        }
        Ok(())
    }
    readdir: |fs, call, args, reply| {
        let mut listing = Listing { to: buffer(args), used: 0 };
        let mut sink = |entry: &DirEntry<'_>| listing.put(entry);
        let at_end = fs.readdir(call, InodeNo(args.ino), Cursor(args.at), Emit::Names, &mut sink)?;
        (reply.value, reply.kind) = (count(listing.used), u32::from(at_end));
        Ok(())
    }
    readlink: |fs, call, args, reply| {
        reply.value = count(fs.readlink(call, InodeNo(args.ino), buffer(args))?);
        Ok(())
    }
    getattr: |fs, call, args, reply| {
        (reply.attr, reply.has_attr) = (fs.getattr(call, InodeNo(args.ino))?, 1);
        Ok(())
    }
    setattr: |fs, call, args, reply| {
        let set = set_attr(&*args.set);
        let done = fs.setattr(call, InodeNo(args.ino), &set)?;
        let (attr, more) = done.value;
        (reply.attr, reply.has_attr, reply.batch, reply.kind) = (attr, 1, done.batch.0, u32::from(more));
        Ok(())
    }
    trim_past_end: |fs, call, args, reply| {
        let done = fs.trim_past_end(call, InodeNo(args.ino))?;
        (reply.batch, reply.kind) = (done.batch.0, u32::from(done.value));
        Ok(())
    }
    flush_times: |fs, call, args, reply| {
        reply.batch = fs.flush_times(call, InodeNo(args.ino))?.batch.0;
        Ok(())
    }
    summarise: |fs, call, args, reply| {
        let from = u32::try_from(args.at).map_err(|_| Errno::Invalid)?;
        let done = fs.summarise(call, GroupNo(from))?;
        (reply.batch, reply.kind) = (done.batch.0, u32::from(done.value.is_some()));
        reply.value = done.value.map_or(0, |next| next.0.into());
        Ok(())
    }
    first_write: |fs, call, args, reply| {
        let caller = call.caller;
        reply.batch = fs.first_write(call, &caller, InodeNo(args.ino))?.batch.0;
        Ok(())
    }
    evict: |fs, call, args, reply| {
        let done = fs.evict(call, InodeNo(args.ino))?;
        (reply.batch, reply.kind) = (done.batch.0, u32::from(done.value == Evicted::More));
        Ok(())
    }
    orphan: |fs, call, args, reply| {
        if let Some((ino, next)) = fs.orphan(call, args.at)? {
            (reply.value, reply.length, reply.kind) = (ino.0, next, 1);
        }
        Ok(())
    }
    getxattr: |fs, call, args, reply| {
        reply.value = count(fs.getxattr(call, InodeNo(args.ino), xattr_name(args)?, buffer(args))?);
        Ok(())
    }
    setxattr: |fs, call, args, reply| {
        let how = match args.how {
            0 => XattrSet::Any,
            1 => XattrSet::Create,
            2 => XattrSet::Replace,
            _ => return Err(Errno::Invalid.into()),
        };
        let value = buffer(args);
        reply.batch = fs.setxattr(call, InodeNo(args.ino), xattr_name(args)?, value, how)?.batch.0;
        Ok(())
    }
    listxattr: |fs, call, args, reply| {
        reply.value = count(fs.listxattr(call, InodeNo(args.ino), buffer(args))?);
        Ok(())
    }
    removexattr: |fs, call, args, reply| {
        reply.batch = fs.removexattr(call, InodeNo(args.ino), xattr_name(args)?)?.batch.0;
        Ok(())
    }
    map: |fs, call, args, reply| {
        let found = fs.map(call, InodeNo(args.ino), FileBlock(args.at), args.length)?;
        (reply.kind, reply.value) = match found.kind {
            MapKind::Hole => (c::MAP_HOLE, 0),
            MapKind::Unwritten(block) => (c::MAP_UNWRITTEN, block.0),
            MapKind::Data(block) => (c::MAP_DATA, block.0),
        };
        reply.length = found.blocks;
        Ok(())
    }
    place: |fs, call, args, reply| {
        let to = &mut *args.placement;
        let id = fs.place(call, InodeNo(args.ino), FileBlock(args.at), args.length, to)?;
        reply.value = u64::from(id.0);
        Ok(())
    }
    publish: |fs, call, args, reply| {
        let id = u32::try_from(args.at).map_err(|_| Errno::Invalid)?;
        let done = fs.publish(call, PlacementId(id), args.length)?;
        put_attr(reply, done);
        Ok(())
    }
    abandon: |fs, call, args, _reply| {
        fs.abandon(call, PlacementId(u32::try_from(args.at).map_err(|_| Errno::Invalid)?))
    }
    fallocate: |fs, call, args, reply| {
        const HOW: [Allocate; 7] = [
            Allocate::Reserve, Allocate::ReserveKeepSize, Allocate::Punch, Allocate::Zero, Allocate::ZeroKeepSize,
            Allocate::Collapse, Allocate::Insert,
        ];
        let how = *HOW.get(bytes32(args.how)).ok_or(Errno::Invalid)?;
        let end = args.at.checked_add(args.length).ok_or(Errno::FileTooBig)?;
        let done = fs.fallocate(call, InodeNo(args.ino), how, args.at..end)?;
        (reply.value, reply.batch) = (done.value, done.batch.0);
        Ok(())
    }
    seek: |fs, call, args, reply| {
        let what = if args.how == 0 { Seek::Data } else { Seek::Hole };
        reply.value = fs.seek(call, InodeNo(args.ino), args.at, what)?;
        Ok(())
    }
    statfs: |fs, call, args, _reply| {
        let _ = call;
        // C passes the totals, and room for the answer.
        let totals = *args.buffer.cast::<bento_api::Totals>();
        *args.statfs = <BentoFs<V> as FileSystem<KCall>>::statfs(fs, &totals);
        Ok(())
    }
    is_clean: |fs, call, _args, reply| {
        reply.kind = u32::from(fs.is_clean(call.platform));
        Ok(())
    }
    describe: |fs, call, args, reply| {
        let _ = call;
        let what = bento_api::Corruption(u16::try_from(args.how).map_err(|_| Errno::Invalid)?);
        let text = <BentoFs<V> as FileSystem<KCall>>::describe(fs, what).as_bytes();
        let to = buffer(args);
        let length = text.len().min(to.len());
        to.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        reply.value = count(length);
        Ok(())
    }
}

/// Entries of a directory, one behind the other: next cursor, inode, kind, bytes of the name, name; padded to 8.
struct Listing<'b> {
    to: &'b mut [u8],
    used: usize,
}

impl Listing<'_> {
    fn put(&mut self, entry: &DirEntry<'_>) -> bool {
        let whole = (bytes32(c::ENTRY_HEAD) + entry.name.len()).next_multiple_of(8);
        let Some(room) = self.to.get_mut(self.used..).and_then(|rest| rest.get_mut(..whole)) else {
            return false;
        };
        let kind = entry.kind.map_or(0, bento_api::FileKind::dirent_type);
        let head = [entry.next.0, entry.ino.0, u64::from(kind) | count(entry.name.len()) << 8];
        for (to, word) in room.as_chunks_mut::<8>().0.iter_mut().zip(head) {
            *to = word.to_le_bytes();
        }
        if let Some(to) = room.get_mut(bytes32(c::ENTRY_HEAD)..) {
            to.iter_mut().zip(entry.name).for_each(|(to, from)| *to = *from);
        }
        self.used += whole;
        true
    }
}

fn set_attr(set: &c::SetAttr) -> SetAttr {
    let has = |bit: u32| set.mask & bit != 0;
    SetAttr {
        mode: has(c::SET_MODE).then_some(set.mode),
        uid: has(c::SET_UID).then_some(set.uid),
        gid: has(c::SET_GID).then_some(set.gid),
        size: has(c::SET_SIZE).then_some(set.size),
        atime: has(c::SET_ATIME).then_some(SetTime::To(set.atime)),
        mtime: has(c::SET_MTIME).then_some(SetTime::To(set.mtime)),
        ctime: has(c::SET_CTIME).then_some(SetTime::To(set.ctime)),
        btime: None,
        flags: has(c::SET_FLAGS).then_some(set.flags),
        project: None,
        kill_privileges: has(c::SET_KILL_PRIVILEGES),
    }
}

/// One step of the journal.
pub(crate) unsafe extern "C" fn drive<V: Variant>(
    fs: *const u8,
    call: *mut c::Call,
    at: *mut c::Event,
) -> i32 {
    // SAFETY: C passes the live mount's code, the driver's own call, and an event that it fills in again.
    let (fs, platform, at) = unsafe { (&*fs.cast::<BentoFs<V>>(), KCall::of(call), &mut *at) };
    reach(Place::Drive);
    let result = if at.result == 0 { Ok(()) } else { Err(Errno::Io) };
    let event = match at.event {
        c::EVENT_COMMIT => Event::Commit,
        c::EVENT_LOG => Event::Log,
        c::EVENT_WRITTEN => Event::Written(BatchSeq(at.batch), result),
        c::EVENT_CHECKPOINT => Event::Checkpoint,
        c::EVENT_HOMED => Event::Homed(result),
        _ => Event::Tail(result),
    };
    let (then, next) = match fs.drive(platform, event).then {
        Then::Deliver(next) => (c::THEN_DELIVER, Some(next)),
        Then::Again(next) => (c::THEN_AGAIN, Some(next)),
        Then::Idle => (c::THEN_IDLE, None),
        Then::First(next) => (c::THEN_FIRST, Some(next)),
        Then::InFlight => (c::THEN_IN_FLIGHT, None),
        Then::Dead => (c::THEN_DEAD, None),
    };
    at.then = then;
    (at.event, at.batch) = match next {
        None | Some(Event::Commit) => (c::EVENT_COMMIT, 0),
        Some(Event::Log) => (c::EVENT_LOG, 0),
        Some(Event::Written(batch, _)) => (c::EVENT_WRITTEN, batch.0),
        Some(Event::Checkpoint) => (c::EVENT_CHECKPOINT, 0),
        Some(Event::Homed(_)) => (c::EVENT_HOMED, 0),
        Some(Event::Tail(_)) => (c::EVENT_TAIL, 0),
    };
    0
}
