//! The provenance log through the operations of the file system: what is recorded, in which order, and what is not.
use super::volume::ROOT;
use bento_api::{Attr, BLOCK, Caller, Errno, InodeNo, Name, NewNode, OpKind, Rename, SetAttr, XattrName};
use bento_fs::format::prov::{Began, What};
use bento_user::containers::UserCall;
use bento_user::device::{BlockingDisk, Device, RamDevice};
use bento_user::provenance::{Event, History};
use bento_user::run::{Budget, Privileges};
use bento_user::session::{Session, SessionOptions};
use bento_user::versions::{PLAIN, PROV, Version};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PLAIN_SECOND: &str = "bento-fs-second";

/// A volume in memory, mounted.
struct Volume {
    device: Arc<RamDevice>,
    session: Session,
    call: UserCall,
}

fn made(blocks: u64) -> Arc<RamDevice> {
    let device = Arc::new(RamDevice::new(blocks));
    let mut options = bento_mkfs::Options::new(0);
    options.log_blocks = Some(1200);
    let plan = bento_mkfs::plan(&options, blocks).unwrap();
    bento_mkfs::make(&BlockingDisk(&*device), &plan, &mut |_, _| {}).unwrap();
    device
}

impl Volume {
    fn new() -> Self {
        Self::open(made(8192), PROV)
    }

    fn open(device: Arc<RamDevice>, version: Version) -> Self {
        let commit_every = Duration::from_secs(3600);
        let options = SessionOptions { version, commit_every, ..SessionOptions::default() };
        let session =
            Session::on_device(Path::new("memory"), device.clone() as Arc<dyn Device>, &options).unwrap();
        let mut call = session.mount().call();
        call.set_caller(Caller {
            uid: 7,
            pid: 70,
            start_time: 700,
            command: *b"tester\0\0\0\0\0\0\0\0\0\0",
            ..Caller::default()
        });
        Self { device, session, call }
    }

    /// Unmounts, and mounts again.
    fn remount(self, version: Version) -> Self {
        drop(self.call);
        self.session.close().unwrap();
        Self::open(self.device, version)
    }

    /// Everything durable, then killed, then mounted again.
    fn kill(mut self, version: Version) -> Self {
        self.session.mount().syncfs(&mut self.call).unwrap();
        Self::open(self.device, version)
    }

    fn upgrade(&self, version: &Version) {
        self.session.mount().upgrade(Budget::default(), version.import).unwrap();
    }

    fn check(&mut self) {
        self.session.mount().syncfs(&mut self.call).unwrap();
        let report = bento_fsck::check(&BlockingDisk(&*self.device), &bento_fsck::Options::default());
        assert!(report.is_clean(), "{:#?}", report.problems);
        let counted = self.session.mount().counters();
        assert_eq!((counted.panics, counted.exhausted), (0, 0));
        assert_eq!(self.session.mount().containers().reports().0, []);
    }

    /// The record blocks as the mount answers them.
    fn blocks(&self) -> Vec<[u8; BLOCK]> {
        let mount = self.session.mount();
        let mut call = mount.call();
        let mut read = |number| {
            let (name, mut bytes) = (format!("trusted.bento.prov.{number}"), [0; BLOCK]);
            let name = XattrName::new(name.as_bytes()).unwrap();
            let done =
                mount.run(&mut call, OpKind::Read, |fs, call| fs.getxattr(call, ROOT, name, &mut bytes));
            match done {
                Ok(_) => Some(bytes),
                Err(errno) => {
                    assert_eq!(errno, Errno::NoAttribute);
                    None
                }
            }
        };
        (1..).map_while(&mut read).collect()
    }

    fn history(&self) -> History {
        History::of_blocks(&self.blocks()).unwrap()
    }

    fn make(&mut self, dir: InodeNo, name: &str, mode: u32) -> Result<Attr, Errno> {
        let node = NewNode { mode, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let name = Name::new(name.as_bytes())?;
        let mount = self.session.mount();
        let made = mount.run(&mut self.call, OpKind::Create, |fs, call| fs.create(call, dir, name, &node))?;
        mount.keep(&self.call, &made.value);
        Ok(made.value)
    }

    fn create(&mut self, name: &str) -> InodeNo {
        self.make(ROOT, name, 0o100_644).unwrap().ino
    }

    fn unlink(&mut self, name: &str) -> Result<(), Errno> {
        let name = Name::new(name.as_bytes())?;
        let mount = self.session.mount();
        let gone = mount.run(&mut self.call, OpKind::Unlink, |fs, call| fs.unlink(call, ROOT, name))?;
        mount.forget(&mut self.call, gone.value.ino, 1)
    }

    fn rename(&mut self, from: &str, to: &str, how: Rename) {
        let (from, to) = (Name::new(from.as_bytes()).unwrap(), Name::new(to.as_bytes()).unwrap());
        let mount = self.session.mount();
        let _ = mount
            .run(&mut self.call, OpKind::Rename, |fs, call| fs.rename(call, (ROOT, from), (ROOT, to), how))
            .unwrap();
    }

    fn link(&mut self, ino: InodeNo, name: &str) {
        let name = Name::new(name.as_bytes()).unwrap();
        let mount = self.session.mount();
        let _ = mount.run(&mut self.call, OpKind::Link, |fs, call| fs.link(call, ino, ROOT, name)).unwrap();
    }

    fn truncate(&mut self, ino: InodeNo, size: u64) {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        self.session.mount().setattr(&mut self.call, ino, &set).unwrap();
    }

    fn write(&mut self, ino: InodeNo, data: &[u8]) -> Result<usize, Errno> {
        self.session.mount().write(&mut self.call, ino, 0, data, Privileges::Keep)
    }

    fn first_write(&mut self, ino: InodeNo) {
        let caller = Caller { pid: 71, ..self.call.caller() };
        let mount = self.session.mount();
        let _ = mount
            .run(&mut self.call, OpKind::FirstWrite, |fs, call| fs.first_write(call, &caller, ino))
            .unwrap();
    }
}

fn shape(event: &Event) -> (What, u64, String, String) {
    let name = |named: &Option<bento_user::provenance::Named>| {
        named.as_ref().map(|named| String::from_utf8_lossy(&named.name).into_owned()).unwrap_or_default()
    };
    (event.what, event.object.ino.0, name(&event.name), name(&event.to))
}

#[test]
fn each_operation_is_recorded_once_with_who_did_it_and_to_what() {
    let mut volume = Volume::new();
    let a = volume.create("a");
    let b = volume.create("b");
    volume.link(a, "c");
    volume.first_write(a);
    volume.truncate(a, 5000);
    volume.rename("a", "b", Rename::Replace);
    volume.rename("b", "c2", Rename::NoReplace);
    let d = volume.make(ROOT, "d", 0o040_755).unwrap().ino;
    volume.rename("c", "d", Rename::Exchange);
    volume.unlink("c2").unwrap();
    let events = volume.history().events;
    let shapes: Vec<_> = events.iter().map(shape).collect();
    let of = |what, ino: InodeNo, name: &str, to: &str| (what, ino.0, name.to_owned(), to.to_owned());
    let expected = [
        of(What::Create, a, "a", ""),
        of(What::Create, b, "b", ""),
        of(What::Link, a, "c", ""),
        of(What::FirstWrite, a, "", ""),
        of(What::Truncate, a, "", ""),
        of(What::Rename, a, "a", "b"),
        of(What::Rename, a, "b", "c2"),
        of(What::Create, d, "d", ""),
        of(What::Exchange, a, "c", "d"),
        of(What::Unlink, a, "c2", ""),
    ];
    assert_eq!(shapes, expected);
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    let rename = &events[5];
    assert_eq!(rename.other.map(|(ino, _)| ino), Some(b));
    assert_eq!((rename.object.nlink, rename.object.size), (2, 5000));
    assert_eq!((rename.who.uid, rename.who.pid, rename.who.start_time), (7, 70, 700));
    assert!(rename.who.command.starts_with(b"tester\0"));
    assert_eq!(events[3].who.pid, 71, "the caller of the first write, not of the request");
    assert_eq!(events[8].other.map(|(ino, _)| ino), Some(d));
    assert_eq!(events[9].object.nlink, 1);
    volume.check();
}

#[test]
fn what_fails_or_changes_no_names_leaves_no_record() {
    let mut volume = Volume::new();
    let a = volume.create("a");
    assert_eq!(volume.make(ROOT, "a", 0o100_644).err(), Some(Errno::Exists));
    assert_eq!(volume.unlink("none"), Err(Errno::NotFound));
    volume.write(a, &[1; 9000]).unwrap();
    let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    volume.session.mount().setattr(&mut volume.call, a, &set).unwrap();
    assert_eq!(volume.history().events.len(), 1);
}

#[test]
fn records_survive_a_kill_and_an_unmount_and_sessions_say_how_they_began() {
    let mut volume = Volume::new();
    volume.create("a");
    let mut volume = volume.remount(PROV);
    volume.create("b");
    let mut volume = volume.kill(PROV);
    volume.create("c");
    volume.upgrade(&PROV);
    volume.create("d");
    let history = volume.history();
    let began: Vec<_> = history.sessions.iter().map(|session| session.began).collect();
    assert_eq!(began, [Began::First, Began::Mount, Began::Mount, Began::Takeover]);
    assert_eq!(history.events.len(), 4);
    assert_eq!(history.sessions.iter().map(|session| session.mount).collect::<Vec<_>>(), [1, 2, 3, 3]);
    assert_ne!(history.sessions[0].boot, [0; 16], "this machine has a boot id");
    volume.check();
}

#[test]
fn changes_by_a_version_that_does_not_record_are_a_gap() {
    // While it is mounted.
    let mut volume = Volume::new();
    volume.create("a");
    volume.upgrade(&PLAIN);
    volume.create("not recorded");
    volume.upgrade(&PROV);
    volume.create("b");
    let history = volume.history();
    assert_eq!(history.events.len(), 2);
    assert_eq!(history.sessions[1].began, Began::TakeoverAfterGap);
    // In a mount of its own, unmounted or killed.
    for kill in [false, true] {
        let again =
            |volume: Volume, version| if kill { volume.kill(version) } else { volume.remount(version) };
        let mut plain = again(volume, PLAIN);
        plain.create(if kill { "nor this" } else { "nor that" });
        let mut recorded = again(plain, PROV);
        recorded.create(if kill { "c" } else { "d" });
        assert_eq!(recorded.history().sessions.last().unwrap().began, Began::MountAfterGap);
        volume = recorded;
    }
    // The end of a mount that recorded at first.
    volume.upgrade(&PLAIN);
    volume.create("not this either");
    let mut volume = volume.kill(PROV);
    volume.create("e");
    assert_eq!(volume.history().sessions.last().unwrap().began, Began::MountAfterGap);
    volume.check();
}

#[test]
fn a_version_that_does_not_record_and_changes_nothing_leaves_no_gap() {
    let mut volume = Volume::new();
    volume.create("a");
    let plain = volume.remount(PLAIN);
    let mut volume = plain.remount(PROV);
    volume.create("b");
    assert_eq!(volume.history().sessions[1].began, Began::Mount);
}

#[test]
fn what_was_not_recorded_is_not_forgotten_when_nobody_records_for_a_while() {
    let mut volume = Volume::new();
    volume.create("a");
    volume.upgrade(&PLAIN);
    volume.create("not recorded");
    // It takes over, seals what the other did, and records nothing of its own.
    volume.upgrade(&PROV);
    let volume = volume.kill(PROV);
    let mut volume = volume.remount(PROV);
    volume.create("b");
    assert_eq!(volume.history().sessions.last().unwrap().began, Began::MountAfterGap);
}

#[test]
fn any_version_answers_the_records() {
    let mut volume = Volume::new();
    volume.create("a");
    volume.upgrade(&PLAIN);
    assert_eq!(volume.history().events.len(), 1);
    let second = bento_user::versions::choose(Some(PLAIN_SECOND), "").unwrap();
    volume.upgrade(second);
    assert_eq!(volume.history().events.len(), 1);
}

#[test]
fn a_volume_that_nobody_recorded_has_no_log_and_no_mark() {
    let mut volume = Volume::open(made(8192), PLAIN);
    volume.create("a");
    assert!(volume.blocks().is_empty());
    let volume = volume.remount(PLAIN);
    assert!(!volume.session.superblock().compat.contains(bento_fs::format::superblock::Compat::PROV));
}

#[test]
fn a_version_that_took_over_leaves_its_mark_when_it_is_unmounted() {
    let mut volume = Volume::open(made(8192), PLAIN);
    volume.upgrade(&PROV);
    volume.create("a");
    let volume = volume.remount(PLAIN);
    assert!(volume.session.superblock().compat.contains(bento_fs::format::superblock::Compat::PROV));
    assert_eq!(volume.history().events.len(), 1);
}

#[test]
fn the_ring_is_bounded_and_drops_the_oldest_records() {
    let mut volume = Volume::new();
    let name = "n".repeat(200);
    for _ in 0..700 {
        volume.create(&name);
        volume.unlink(&name).unwrap();
    }
    let (blocks, history) = (volume.blocks(), volume.history());
    assert_eq!(blocks.len(), 64, "1/128 of the volume is less than the least");
    let last = history.events.last().unwrap().number;
    assert_eq!(last, 1400);
    assert_eq!(history.dropped() + history.events.len() as u64, last);
    assert!(history.dropped() > 300, "{}", history.dropped());
    volume.check();
    // It goes on where it was.
    let mut volume = volume.remount(PROV);
    volume.create("a");
    assert_eq!(volume.history().events.last().unwrap().number, 1401);
    volume.check();
}

#[test]
fn unlink_works_on_a_full_volume_and_is_recorded() {
    let mut volume = Volume::open(made(1200 + 600), PROV);
    let mut made = 0;
    let full = loop {
        let ino = match volume.make(ROOT, &format!("{:0>200}", made), 0o100_644) {
            Ok(attr) => attr.ino,
            Err(errno) => break errno,
        };
        made += 1;
        match volume.write(ino, &[3; 40_000]) {
            Ok(40_000) => {}
            Ok(_) => {}
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, Errno::NoSpace);
    assert!(made > 5, "{made}");
    // With not one block for anybody else, records go on: the log makes do with the blocks that it has.
    for number in 0..made {
        volume.unlink(&format!("{number:0>200}")).unwrap();
    }
    let history = volume.history();
    let unlinks = history.events.iter().filter(|event| event.what == What::Unlink).count();
    let recorded = history.events.last().unwrap().number;
    assert!(unlinks > 0 && recorded >= 2 * made, "{unlinks} of {recorded}");
    volume.check();
}

#[test]
fn every_record_is_there_when_every_first_use_of_a_block_misses() {
    let mut volume = Volume::new();
    volume.session.mount().containers().set_always_miss(true);
    for number in 0..100 {
        volume.create(&number.to_string());
    }
    volume.session.mount().containers().set_always_miss(false);
    assert_eq!(volume.history().events.len(), 100);
    volume.check();
}

#[test]
fn threads_in_different_directories_record_everything_once_and_each_in_its_order() {
    const THREADS: u32 = 4;
    const FILES: u32 = 300;
    let mut volume = Volume::open(made(40_000), PROV);
    let dirs: Vec<InodeNo> = (0..THREADS)
        .map(|number| volume.make(ROOT, &format!("dir {number}"), 0o040_755).unwrap().ino)
        .collect();
    std::thread::scope(|scope| {
        for dir in &dirs {
            let mount = volume.session.mount();
            scope.spawn(move || {
                let mut call = mount.call();
                let node = NewNode { mode: 0o100_644, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
                for number in 0..FILES {
                    let text = number.to_string();
                    let name = Name::new(text.as_bytes()).unwrap();
                    let _ = mount
                        .run(&mut call, OpKind::Create, |fs, call| fs.create(call, *dir, name, &node))
                        .unwrap();
                    let _ =
                        mount.run(&mut call, OpKind::Unlink, |fs, call| fs.unlink(call, *dir, name)).unwrap();
                }
            });
        }
    });
    let history = volume.history();
    assert_eq!(history.events.len() as u32, THREADS + THREADS * FILES * 2);
    for dir in dirs {
        let mine: Vec<_> = history.events.iter().filter(|event| event.is_in(dir)).collect();
        let in_order = mine.chunks(2).zip(0..).all(|(two, number): (&[&Event], u32)| {
            let named = |event: &Event| {
                event.name.as_ref().is_some_and(|name| name.name == number.to_string().as_bytes())
            };
            two.len() == 2
                && named(two[0])
                && named(two[1])
                && (two[0].what, two[1].what) == (What::Create, What::Unlink)
        });
        assert!(in_order && mine.len() as u32 == 2 * FILES);
    }
    let numbers: BTreeSet<u64> = history.events.iter().map(|event| event.number).collect();
    assert_eq!(numbers.len(), history.events.len());
    volume.check();
}
