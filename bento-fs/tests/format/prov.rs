//! Provenance records come back as they were written, and damage is an error.
use bento_api::{BLOCK, Bytes, Caller, FileBlock, InodeNo, Time};
use bento_fs::format::Corruption;
use bento_fs::format::prov::{
    self, Began, BlockHead, Entry, FILL_AT, Head, Object, Record, Session, TAIL_AT, What, records,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn session() -> Session {
    let since = Time::new(-5, 999_999_999);
    Session { boot: [9; 16], mount: 3, takeover: 4, since, began: Began::TakeoverAfterGap }
}

fn record<'a>(what: What, name: &'a [u8], to: &'a [u8]) -> Record<'a> {
    let entry = |dir, name: &'a [u8]| {
        if name.is_empty() { Entry::default() } else { Entry { dir: InodeNo(dir), name } }
    };
    Record {
        what,
        whiteout: what == What::Rename,
        who: Caller { uid: 1, pid: 2, start_time: 3, command: [b'c'; 16], ..Caller::default() },
        when: Time::new(-7, 8),
        object: Object {
            ino: InodeNo(20),
            generation: 21,
            version: 22,
            mode: 0o100_644,
            nlink: 23,
            size: 24,
        },
        name: entry(30, name),
        to: entry(31, to),
        other: (what == What::Rename).then_some((InodeNo(40), 41)),
    }
}

/// Appends as the file system does: the record, its names, and then the fill.
fn append(bytes: &mut Bytes, record: &Record<'_>) -> bool {
    let head = BlockHead::decode(bytes).unwrap();
    let Some(at) = head.place_for(record.length()) else { return false };
    let all = [&record.head()[..], record.name.name, record.to.name].concat();
    bytes[at..at + all.len()].copy_from_slice(&all);
    bytes[FILL_AT..FILL_AT + 8].copy_from_slice(&head.with_record(record.length()).fill());
    true
}

fn block() -> Bytes {
    let mut bytes = [0; BLOCK];
    BlockHead::new(7, 100, session()).encode(&mut bytes);
    bytes
}

#[test]
fn records_come_back_in_order_until_the_block_is_full() {
    let (long, longest) = ([b'l'; 255], [b'm'; 255]);
    let kinds = [
        record(What::Create, b"a", b""),
        record(What::Rename, &long, &longest),
        record(What::FirstWrite, b"", b""),
        record(What::Unlink, b"1234567", b""),
        record(What::Link, b"12345678", b""),
    ];
    let mut bytes = block();
    let mut written = Vec::new();
    for record in kinds.iter().cycle() {
        if !append(&mut bytes, record) {
            break;
        }
        written.push(*record);
    }
    let read: Vec<_> = records(&bytes).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, (100..).zip(written.iter().copied()).collect::<Vec<_>>());
    let head = BlockHead::decode(&bytes).unwrap();
    assert_eq!((head.turn, head.session, head.count as usize), (7, session(), written.len()));
    assert!(written.len() > 15);
}

#[test]
fn the_head_comes_back_and_its_tail_can_be_changed_alone() {
    let mut bytes = [0; BLOCK];
    Head { tail: FileBlock(1), limit: 64 }.encode(&mut bytes);
    bytes[TAIL_AT..TAIL_AT + 8].copy_from_slice(&64_u64.to_le_bytes());
    assert_eq!(Head::decode(&bytes), Ok(Head { tail: FileBlock(64), limit: 64 }));
    for (at, value, what) in [
        (TAIL_AT, 0, Corruption::ProvHead),
        (TAIL_AT, 65, Corruption::ProvHead),
        (40, 63, Corruption::ProvHead),
        (50, 1, Corruption::ProvTail),
        (4095, 1, Corruption::ProvTail),
    ] {
        let mut wrong = bytes;
        wrong[at] = value;
        assert_eq!(Head::decode(&wrong), Err(what), "byte {at}");
    }
}

#[test]
fn a_log_grows_to_a_share_of_the_volume_within_bounds() {
    assert_eq!([0, 128 * 64, 128 * 1000, u64::MAX].map(prov::limit_for), [64, 64, 1000, 65_536]);
}

#[test]
fn a_count_that_is_not_what_lies_there_is_an_error() {
    let mut bytes = block();
    (0..3).for_each(|_| assert!(append(&mut bytes, &record(What::Create, b"a", b""))));
    for count in [2, 4] {
        let mut wrong = bytes;
        wrong[FILL_AT] = count;
        let errors = records(&wrong).map(|all| all.filter(Result::is_err).count());
        assert!(errors.is_err() || errors == Ok(1), "{count}: {errors:?}");
    }
}

#[test]
fn no_bytes_make_a_reader_panic_or_go_on_for_ever() {
    let mut random = SmallRng::seed_from_u64(5);
    let mut bytes = block();
    while append(&mut bytes, &record(What::Rename, b"from", b"to")) {}
    for _ in 0..20_000 {
        let mut wrong = bytes;
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(32..1024);
            wrong[at] = random.random();
        }
        if let Ok(all) = records(&wrong) {
            assert!(all.count() <= BLOCK / prov::RECORD);
        }
        let _ = Head::decode(&wrong);
    }
}
