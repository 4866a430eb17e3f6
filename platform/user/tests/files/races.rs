//! Many threads on few files: no byte of another file is ever read, none of a file that is gone.
use crate::volume::{BLOCK, Cache, ROOT, Volume};
use bento_api::{Allocate, Errno, InodeNo, Name, NewNode, OpKind, SetAttr};
use bento_user::containers::UserCall;
use bento_user::run::{Fsync, Mount, Privileges};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;

const SHARED: usize = 3;
const THREADS: u64 = 4;
const SPAN: u64 = 60 * BLOCK;

struct Thread {
    mount: Arc<Mount>,
    call: UserCall,
    random: SmallRng,
    id: u64,
    shared: [InodeNo; SHARED],
    made: u32,
}

/// What a shared file is written with, and nothing else.
fn tag(file: usize) -> u8 {
    0xa0 + file as u8
}

impl Thread {
    fn step(&mut self) {
        let file = self.random.random_range(0..SHARED);
        let ino = self.shared[file];
        let start = self.random.random_range(0..SPAN);
        let len = self.random.random_range(1..10 * BLOCK);
        let (mount, call) = (self.mount.clone(), &mut self.call);
        let done = match self.random.random_range(0..10) {
            0..3 => mount.write(call, ino, start, &vec![tag(file); len as usize], Privileges::Keep).map(drop),
            3..6 => {
                let mut to = vec![0xee; len as usize];
                let done = mount.read(call, ino, start, &mut to).unwrap();
                let wrong = to[..done].iter().find(|byte| !matches!(**byte, 0) && **byte != tag(file));
                assert_eq!(wrong, None, "file {file}");
                Ok(())
            }
            6 => {
                let set = SetAttr { size: Some(start), ..SetAttr::default() };
                mount.setattr(call, ino, &set).map(drop)
            }
            7 => mount.fallocate(call, ino, Allocate::Punch, start..start + len),
            8 => mount.fallocate(call, ino, Allocate::Reserve, start..start + len),
            _ => return self.churn(),
        };
        assert!(matches!(done, Ok(()) | Err(Errno::NoSpace)), "{done:?}");
    }

    /// A file that comes and goes: its blocks were others', and become others'.
    fn churn(&mut self) {
        self.made += 1;
        let name = format!("{}-{}", self.id, self.made);
        let name = Name::new(name.as_bytes()).unwrap();
        let named = self.random.random_bool(0.7);
        let (mount, call) = (self.mount.clone(), &mut self.call);
        let node = NewNode { mode: 0o100_644, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
        let made = if named {
            mount.run(call, OpKind::Create, |fs, call| fs.create(call, ROOT, name, &node))
        } else {
            mount.run(call, OpKind::TmpFile, |fs, call| fs.tmpfile(call, ROOT, &node))
        };
        let attr = match made {
            Ok(made) => made.value,
            Err(Errno::NoSpace) => return,
            Err(other) => panic!("{other:?}"),
        };
        mount.keep(call, &attr);
        mount.note_names(call, &attr).unwrap();
        let data = vec![self.id as u8 + 1; self.random.random_range(1..20_000)];
        let written = mount.write(call, attr.ino, 0, &data, Privileges::Keep);
        if self.random.random_bool(0.2) {
            mount.fsync(call, attr.ino, Fsync::All).unwrap();
        }
        if named {
            let gone = mount.run(call, OpKind::Unlink, |fs, call| fs.unlink(call, ROOT, name)).unwrap().value;
            mount.note_names(call, &gone).unwrap();
        }
        if let Ok(written) = written {
            let mut to = vec![0xee; 30_000];
            assert_eq!(mount.read(call, attr.ino, 0, &mut to), Ok(written));
            assert!(to[..written] == data[..written]);
        }
        mount.forget(call, attr.ino, 1).unwrap();
    }
}

fn race(seed: u64, blocks: u64, cache: Cache, steps: u32) {
    let mut volume = Volume::with(blocks, |options| options.inodes = Some(256));
    let before = volume.free_blocks();
    volume.set_cache(cache);
    let shared = [b"a", b"b", b"c"].map(|name| volume.create(name).unwrap());
    std::thread::scope(|scope| {
        for id in 0..THREADS {
            let mount = volume.mount.clone();
            scope.spawn(move || {
                let random = SmallRng::seed_from_u64(seed * 100 + id);
                let mut thread = Thread { call: mount.call(), mount, random, id, shared, made: 0 };
                (0..steps).for_each(|_| thread.step());
            });
        }
    });
    volume.healthy();
    volume.check();
    for (name, ino) in [b"a", b"b", b"c"].iter().zip(shared) {
        volume.unlink(*name).unwrap();
        volume.forget(ino);
    }
    volume.check();
    assert_eq!(volume.free_blocks(), before);
}

#[test]
fn threads_on_a_roomy_volume_see_only_what_is_theirs() {
    race(1, 16_384, Cache::Keeps, 2000);
}

#[test]
fn threads_on_a_full_volume_see_only_what_is_theirs() {
    race(2, 1700, Cache::Keeps, 2000);
}

#[test]
fn threads_that_miss_every_block_see_only_what_is_theirs() {
    race(3, 16_384, Cache::AlwaysMisses, 700);
}
