//! One record more at the end of the log.
//!
//! # Crash
//! All that is changed here is in the transaction of the operation that is recorded.
use bento_api::{BLOCK, Bytes, FileBlock, Platform, Stop};
use bento_fs::format::prov::{
    self, Began, BlockHead, FILL_AT, FIRST_BLOCK, HEAD_BLOCK, Head, Record, Session, TAIL_AT,
};
use bento_fs::{Event, Life, RecordLog, Variant, Volume};

/// Appends the record of an event. On a volume without a log and without room for one there is nothing to append to:
/// recording begins with the first operation after there is.
pub fn append<P: Platform, V: Variant>(
    log: &mut RecordLog<'_, '_, '_, P, V>,
    event: &Event<'_>,
) -> Result<(), Stop> {
    let record = record_of(log, event);
    if log.blocks() == 0 {
        return begin(log, &record);
    }
    let head = log.view(HEAD_BLOCK, Head::decode)?;
    let last = log.view(head.tail, BlockHead::decode)?;
    let len = record.length();
    match last.place_for(len) {
        Some(at) if is_of(&last.session, log.volume()) => {
            log.put(head.tail, at, &record.head())?;
            let names = at.saturating_add(prov::RECORD);
            put_name(log, head.tail, names, record.name.name)?;
            put_name(log, head.tail, names.saturating_add(record.name.name.len()), record.to.name)?;
            log.put(head.tail, FILL_AT, &last.with_record(len).fill())
        }
        _ => turn(log, &head, &last, &record),
    }
}

fn put_name<P: Platform, V: Variant>(
    log: &mut RecordLog<'_, '_, '_, P, V>,
    file: FileBlock,
    at: usize,
    name: &[u8],
) -> Result<(), Stop> {
    if name.is_empty() { Ok(()) } else { log.put(file, at, name) }
}

fn record_of<'e, P: Platform, V: Variant>(
    log: &RecordLog<'_, '_, '_, P, V>,
    event: &Event<'e>,
) -> Record<'e> {
    let Event { what, object, name, to, other, whiteout } = *event;
    Record { what, whiteout, who: log.caller(), when: log.now(), object, name, to, other }
}

/// Whether a session is that of the version that runs.
fn is_of(session: &Session, volume: &Volume) -> bool {
    life_of(session) == volume.life && session.boot == volume.boot
}

fn life_of(session: &Session) -> Life {
    Life { mount: session.mount, takeover: session.takeover }
}

/// The session of the version that runs, after the one of `last`.
fn session_after(last: &Session, volume: &Volume, since: bento_api::Time) -> Session {
    if is_of(last, volume) {
        return *last;
    }
    let gap = volume.unrecorded > life_of(last);
    let began = match (volume.life.takeover, gap) {
        (0, false) => Began::Mount,
        (0, true) => Began::MountAfterGap,
        (_, false) => Began::Takeover,
        (_, true) => Began::TakeoverAfterGap,
    };
    session(volume, since, began)
}

fn session(volume: &Volume, since: bento_api::Time, began: Began) -> Session {
    let Life { mount, takeover } = volume.life;
    Session { boot: volume.boot, mount, takeover, since, began }
}

/// Begins the log: its head, and a first record block.
fn begin<P: Platform, V: Variant>(
    log: &mut RecordLog<'_, '_, '_, P, V>,
    record: &Record<'_>,
) -> Result<(), Stop> {
    if !log.may_begin() {
        return Ok(());
    }
    let limit = prov::limit_for(log.volume().geometry.data_blocks());
    let head = Head { tail: FIRST_BLOCK, limit };
    if log.append(|bytes| head.encode(bytes))?.is_none() {
        return Ok(());
    }
    let first = BlockHead::new(1, 1, session(log.volume(), log.now(), Began::First));
    log.append(|bytes| fill(bytes, &first, record))?;
    Ok(())
}

/// Goes on to the next block of the ring: a new one, if this is its end and it may grow, else the oldest.
fn turn<P: Platform, V: Variant>(
    log: &mut RecordLog<'_, '_, '_, P, V>,
    head: &Head,
    last: &BlockHead,
    record: &Record<'_>,
) -> Result<(), Stop> {
    let session = session_after(&last.session, log.volume(), log.now());
    let first = last.first.saturating_add(last.count.into());
    let block = BlockHead::new(last.turn.saturating_add(1), first, session);
    let next = FileBlock(head.tail.0.saturating_add(1));
    let is_end = next.0 >= log.blocks();
    let grown =
        if is_end && next.0 <= head.limit { log.append(|bytes| fill(bytes, &block, record))? } else { None };
    let tail = match grown {
        Some(file) => file,
        None => {
            let file = if is_end { FIRST_BLOCK } else { next };
            log.replace(file, |bytes| fill(bytes, &block, record))?;
            file
        }
    };
    log.put(HEAD_BLOCK, TAIL_AT, &tail.0.to_le_bytes())
}

/// Writes a block with one record.
fn fill(bytes: &mut Bytes, block: &BlockHead, record: &Record<'_>) {
    let len = record.length();
    block.with_record(len).encode(bytes);
    let names = prov::RECORDS_AT.saturating_add(prov::RECORD);
    put(bytes, prov::RECORDS_AT, &record.head());
    put(bytes, names, record.name.name);
    put(bytes, names.saturating_add(record.name.name.len()), record.to.name);
}

fn put(bytes: &mut Bytes, at: usize, from: &[u8]) {
    if let Some(to) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..from.len())) {
        to.copy_from_slice(from);
    }
}

/// A record fits a block that has no other.
const LONGEST: usize = (prov::RECORD + 2 * bento_api::Name::MAX).next_multiple_of(8);
const _: () = assert!(prov::RECORDS_AT + LONGEST <= BLOCK);
