//! Versions of blocks, claims and frees, without a file system.
use super::*;
use crate::device::{Device, RamDevice, Request};
use bento_api::limits::{CLAIMS, PINS};
use bento_api::{Busy, Change, Claim, Cost, Fetch, Freed, GroupNo, Platform, Run, Seal, Totals};
use std::io::IoSlice;

fn mounted() -> Mounted {
    Mounted {
        journal: [0; JOURNAL_STATE],
        next: BatchSeq(1),
        totals: Totals { blocks: 640, inodes: 0, orphans: 0 },
        log_credits: 400,
        batch_limit: 100,
        groups: 10,
        inodes_per_group: 0,
        blocks_per_group: 64,
        orphan_slots: 64,
        read_only: 0,
        replayed: 0,
    }
}

fn containers(cache_blocks: u64) -> Arc<Containers> {
    let mounted = mounted();
    let medium = Arc::new(Medium::new(Arc::new(RamDevice::new(1 << 20))));
    let options = Options { cache_bytes: Some(cache_blocks * 4096), ..Options::default() };
    Containers::new(medium, &mounted, options)
}

fn ready(containers: &Arc<Containers>) -> UserCall {
    let mut call = UserCall::new(containers.clone());
    call.begin();
    assert!(call.take_credits(20));
    call.prepare(Cost { credits: 20, pages: 20 });
    call
}

/// Puts a byte into a block, in the running batch.
fn put(containers: &Arc<Containers>, no: u64, byte: u8) -> BatchSeq {
    let mut call = ready(containers);
    call.want(BlockNo(no), Fetch::Read);
    call.fetch_wanted().expect("reads");
    let pin = call.pin(BlockNo(no)).expect("room").expect("cached");
    let batch = call.join();
    call.merge(pin, |bytes| bytes[0] = byte);
    call.leave();
    call.end_attempt();
    batch
}

fn seal(call: &UserCall) -> (BatchSeq, u32) {
    match call.seal() {
        Seal::Batch(seq, blocks, _) => (seq, blocks),
        other => panic!("{other:?}"),
    }
}

fn sealed_byte(call: &UserCall, batch: BatchSeq) -> Option<u8> {
    call.sealed(batch, 0, |_, bytes| bytes[0])
}

fn homes(call: &UserCall, through: u64) -> Vec<(u64, u8)> {
    let mut io = call.io_list();
    while call.write_homes(&mut io, BatchSeq(through), 2) > 0 {}
    let write = |request: &Request| match request {
        Request::Write(no, page) => (no.0, page[0]),
        Request::Flush => panic!("nobody asked for a flush"),
    };
    io.requests().iter().map(write).collect()
}

#[test]
fn a_sealed_version_stays_while_the_block_goes_on_changing() {
    let containers = containers(1000);
    let driver = UserCall::new(containers.clone());
    put(&containers, 7, 1);
    let (first, blocks) = seal(&driver);
    assert_eq!((first, blocks), (BatchSeq(1), 1));
    put(&containers, 7, 2);
    assert_eq!(driver.seal(), Seal::TooManyInFlight, "a small batch rides until the one before is written");
    for no in 100..160 {
        put(&containers, no, 9);
    }
    let (second, _) = seal(&driver);
    put(&containers, 7, 3);
    assert_eq!((sealed_byte(&driver, first), sealed_byte(&driver, second)), (Some(1), Some(2)));
    driver.sealed(first, 0, |_, bytes| bytes[1] = 0xcc).expect("its checksum can be set");
    driver.set_durable(first);
    containers.settle();
    assert_eq!(sealed_byte(&driver, first), None);
    assert_eq!(homes(&driver, 1), [(7, 1)], "the newest durable version");
    driver.set_durable(second);
    driver.set_homed(first);
    containers.settle();
    assert_eq!(homes(&driver, 2).first(), Some(&(7, 2)));
    let pin = driver.pin(BlockNo(7)).expect("room").expect("cached");
    assert_eq!(driver.read(pin, |bytes| bytes[0]), 3);
    assert_eq!(driver.undurable(pin), BatchSeq(3));
}

#[test]
fn a_newer_durable_version_goes_home_once_for_all_before_it() {
    let containers = containers(1000);
    let driver = UserCall::new(containers.clone());
    for byte in 1..4 {
        put(&containers, 7, byte);
        put(&containers, 20 + u64::from(byte), byte);
        driver.set_durable(seal(&driver).0);
        containers.settle();
    }
    assert_eq!(containers.not_home(), 4);
    assert_eq!(homes(&driver, 1), [(7, 3), (21, 1)], "what is of the first batch, in order of number");
    driver.set_homed(BatchSeq(1));
    containers.settle();
    assert_eq!(homes(&driver, 3), [(22, 2), (23, 3)]);
    assert_eq!(containers.not_home(), 2);
}

#[test]
fn a_copy_that_looks_like_a_record_is_escaped_and_its_block_is_not() {
    let containers = containers(1000);
    let driver = UserCall::new(containers.clone());
    put(&containers, 7, 0xbe);
    let (batch, _) = seal(&driver);
    let mut io = driver.io_list();
    driver.write_sealed(&mut io, batch, 0, BlockNo(50), true);
    assert!(matches!(&io.requests()[0], Request::Write(BlockNo(50), page) if page[0] == 0));
    assert_eq!(sealed_byte(&driver, batch), Some(0xbe));
}

#[test]
fn a_tag_page_on_its_way_keeps_its_content() {
    let containers = containers(1000);
    let driver = UserCall::new(containers);
    let mut io = driver.io_list();
    driver.tag_page(2, |bytes| bytes.fill(1));
    driver.write_tag_page(&mut io, 2, BlockNo(9));
    driver.tag_page(2, |bytes| bytes.fill(2));
    assert!(matches!(&io.requests()[0], Request::Write(_, page) if page[5] == 1));
}

#[test]
fn the_cache_keeps_to_its_size_but_keeps_what_is_pinned_or_not_home() {
    let containers = containers(64 * 16);
    put(&containers, 5, 1);
    let mut keeper = ready(&containers);
    keeper.want(BlockNo(6), Fetch::Read);
    keeper.fetch_wanted().expect("reads");
    for no in 1000..20_000 {
        let mut call = UserCall::new(containers.clone());
        call.want(BlockNo(no), Fetch::Read);
        call.fetch_wanted().expect("reads");
    }
    let counters = containers.cache_counters();
    assert!(counters.cached <= 64 * 16 + 64, "{counters:?}");
    containers.evict_all();
    let call = UserCall::new(containers.clone());
    assert!(call.pin(BlockNo(6)).expect("room").is_some(), "pinned");
    let pin = call.pin(BlockNo(5)).expect("room").expect("not home");
    assert_eq!(call.read(pin, |bytes| bytes[0]), 1);
    assert_eq!(containers.cache_counters().cached, 2);
}

#[test]
fn a_fetch_as_zeros_reads_nothing_and_is_verified() {
    let containers = containers(1000);
    containers.medium().write(9 * 4096, &[IoSlice::new(&[0xff; 4096])]).expect("writes");
    let mut call = ready(&containers);
    call.want(BlockNo(9), Fetch::Zeroed);
    call.fetch_wanted().expect("brings it in");
    let pin = call.pin(BlockNo(9)).expect("room").expect("cached");
    assert!(call.is_verified(pin) && call.read(pin, |bytes| bytes.iter().all(|byte| *byte == 0)));
    assert_eq!(containers.medium().counters().reads, 0);
}

#[test]
fn a_new_block_is_invisible_before_its_merge_and_gone_without_one() {
    let containers = containers(1000);
    let mut call = ready(&containers);
    call.fresh(BlockNo(30)).expect("room");
    call.end_attempt();
    assert!(call.pin(BlockNo(30)).expect("room").is_none());
    call.prepare(Cost { credits: 1, pages: 1 });
    let block = call.fresh(BlockNo(30)).expect("room");
    let page = call.take_page().expect("a page");
    assert!(call.take_page().is_err(), "the operation promised one");
    call.page_mut(page, |bytes| bytes.fill(4));
    let other = UserCall::new(containers.clone());
    assert!(other.pin(BlockNo(30)).expect("room").is_none());
    call.join();
    call.merge_page(block, page);
    call.leave();
    let pin = other.pin(BlockNo(30)).expect("room").expect("cached");
    assert_eq!(other.read(pin, |bytes| bytes[4095]), 4);
    assert!(other.is_verified(pin));
}

fn first_clear(busy: &mut Busy<'_>, len: u32) -> Option<Run> {
    busy.blocks.fill(0);
    *busy.loaded = true;
    Some(Run { start: 3, len })
}

#[test]
fn claims_go_back_with_the_attempt_and_stay_with_a_placement() {
    let containers = containers(1000);
    let mut call = ready(&containers);
    let group = GroupNo(2);
    assert_eq!(call.with_group(group, |busy| busy.blocks.len()), Ok(0), "nobody filled it");
    call.fill_group(group, |_| ()).expect("a group");
    let run = call.claim(group, Map::Blocks, 600, |busy| first_clear(busy, 60)).expect("room");
    assert_eq!(run, Some(Run { start: 3, len: 40 }), "the reserve stays");
    assert_eq!(call.claim(group, Map::Blocks, 600, |_| panic!("nothing is left")), Ok(None));
    assert_eq!(containers.available(Map::Blocks), 600);
    call.end_attempt();
    assert_eq!(containers.available(Map::Blocks), 640);
    call.claim(group, Map::Blocks, 0, |busy| first_clear(busy, 5)).expect("room");
    let placement = bento_api::Placement { ino: InodeNo(4), blocks: 5, ..bento_api::Placement::empty() };
    let id = call.add_placement(&placement).expect("room");
    call.end_attempt();
    assert_eq!(containers.available(Map::Blocks), 635);
    let range =
        |file, blocks| bento_api::Extent { file: bento_api::FileBlock(file), blocks, ..Default::default() };
    assert_eq!(call.placement_in(InodeNo(4), range(4, 1)), Some(id));
    assert_eq!(call.placement_in(InodeNo(4), range(5, 9)), None);
    assert_eq!(call.placement_in(InodeNo(5), range(0, 9)), None);
    call.end_placement(id);
    Platform::unclaim(&call, group, Map::Blocks, Run { start: 3, len: 5 });
    assert_eq!((containers.available(Map::Blocks), containers.open_placements()), (640, 0));
}

#[test]
fn freed_bits_wait_for_their_batch_or_for_the_tail() {
    let containers = containers(1000);
    let call = ready(&containers);
    let (group, map) = (GroupNo(0), Map::Blocks);
    call.fill_group(group, |_| ()).expect("a group");
    call.claim(group, map, 0, |busy| first_clear(busy, 10)).expect("room");
    let batch = call.join();
    for (start, logged) in [(3, false), (8, true)] {
        let (run, block) = (Run { start, len: 5 }, BlockNo(u64::from(start) + 500));
        Platform::note_claim(&call, Claim { group, map, run, change: Change::FreeData }).expect("room");
        call.free_after(batch, Freed { group, map, run, block, logged });
    }
    call.leave();
    put(&containers, 508, 1);
    seal(&call);
    containers.settle();
    assert_eq!(containers.available(map), 630);
    call.set_durable(batch);
    containers.settle();
    assert_eq!(containers.available(map), 635);
    assert!(containers.has_pending_frees());
    homes(&call, 1);
    call.set_homed(batch);
    containers.settle();
    assert_eq!(containers.available(map), 640);
    assert!(!containers.has_pending_frees());
    let other = UserCall::new(containers);
    assert!(other.pin(BlockNo(508)).expect("room").is_none(), "its block left the cache");
}

#[test]
fn capacities_are_errors_not_panics() {
    let containers = containers(10_000);
    let mut call = ready(&containers);
    for no in 0..PINS as u64 {
        call.want(BlockNo(no), Fetch::Zeroed);
        call.fetch_wanted().expect("room");
    }
    call.want(BlockNo(5000), Fetch::Zeroed);
    assert_eq!(call.fetch_wanted(), Err(Errno::Capacity));
    let claim =
        Claim { group: GroupNo(0), map: Map::Blocks, run: Run { start: 0, len: 1 }, change: Change::Raise };
    (0..CLAIMS).for_each(|_| Platform::note_claim(&call, claim).expect("room"));
    assert_eq!(Platform::note_claim(&call, claim), Err(Errno::Capacity));
    assert_eq!(call.with_group(GroupNo(10), |_| ()), Err(Errno::Invalid));
    assert_eq!((0..10).map(|no| call.lock(InodeNo(no), Mode::Shared)).filter(Result::is_err).count(), 4);
    assert_eq!(call.lock(InodeNo(3), Mode::Shared), Ok(()), "held already");
    assert_eq!(call.claim_at(0), Some(claim));
}

#[test]
fn what_may_be_away_from_home_is_bounded() {
    let containers = containers(1000);
    let driver = UserCall::new(containers.clone());
    let mut put_in_all = 0_u64;
    'full: loop {
        for _ in 0..20 {
            let mut call = UserCall::new(containers.clone());
            call.begin();
            if !call.take_credits(20) {
                break 'full;
            }
            drop(call);
            put(&containers, put_in_all, 1);
            put_in_all += 1;
        }
        driver.set_durable(seal(&driver).0);
        containers.settle();
    }
    assert!((180..=200).contains(&put_in_all), "half of the log of 400: {put_in_all}");
    assert!(containers.wants_checkpoint());
    homes(&driver, u64::MAX);
    driver.set_homed(containers.durable());
    driver.release_log(180);
    containers.settle();
    assert!(UserCall::new(containers.clone()).take_credits(20));
}

/// A device that stops in the middle of a read, so that others can come in between.
struct Slow {
    ram: RamDevice,
    before: parking_lot::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Device for Slow {
    fn blocks(&self) -> u64 {
        self.ram.blocks()
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.ram.read(offset, to)?;
        let before = self.before.lock().take();
        before.into_iter().for_each(|f| f());
        Ok(())
    }

    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        self.ram.write(offset, from)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn a_read_that_a_new_block_overtook_does_not_bring_the_past_back() {
    let slow = Arc::new(Slow { ram: RamDevice::new(100), before: parking_lot::Mutex::default() });
    let containers = Containers::new(Arc::new(Medium::new(slow.clone())), &mounted(), Options::default());
    let maker = containers.clone();
    *slow.before.lock() = Some(Box::new(move || {
        let call = ready(&maker);
        let block = call.fresh(BlockNo(8)).expect("room");
        let page = call.take_page().expect("a page");
        call.page_mut(page, |bytes| bytes.fill(6));
        call.join();
        call.merge_page(block, page);
        call.leave();
    }));
    let mut reader = ready(&containers);
    reader.want(BlockNo(8), Fetch::Read);
    reader.fetch_wanted().expect("reads");
    let pin = reader.pin(BlockNo(8)).expect("room").expect("cached");
    assert_eq!(reader.read(pin, |bytes| bytes[0]), 6);
}
