//! Power cuts under a served mount: a device with a volatile cache, and programs that work through the kernel.

use super::Place;
use super::requests::Served;
use bento_api::{BLOCK, BLOCK_BYTES, Errno};
use bento_user::device::{BlockingDisk, Device};
use bento_user::session::{Session, SessionOptions};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const BLOCKS: u64 = 16_384;

type Image = BTreeMap<u64, [u8; BLOCK]>;

/// A device whose writes are in a cache until they are flushed.
#[derive(Default)]
struct Volatile {
    /// What is on the medium, and what was written since the last flush.
    state: Mutex<(Image, Image)>,
}

impl Volatile {
    /// The device after the power went and came: nothing that was not flushed is there.
    fn cut(&self) -> Arc<Self> {
        let durable = self.state.lock().unwrap().0.clone();
        Arc::new(Self { state: Mutex::new((durable, Image::new())) })
    }

    /// Calls `f` with each block of a range: its number, where in it the range begins, and how long it is there.
    fn pieces(offset: u64, len: usize, mut f: impl FnMut(u64, usize, std::ops::Range<usize>)) {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES) as usize;
            let here = (BLOCK - within).min(len - done);
            f(at / BLOCK_BYTES, within, done..done + here);
            done += here;
        }
    }
}

impl Device for Volatile {
    fn blocks(&self) -> u64 {
        BLOCKS
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        let (durable, cached) = &*self.state.lock().unwrap();
        Self::pieces(offset, to.len(), |no, within, here| {
            let block = cached.get(&no).or_else(|| durable.get(&no)).unwrap_or(&[0; BLOCK]);
            to[here.clone()].copy_from_slice(&block[within..within + here.len()]);
        });
        Ok(())
    }

    fn write(&self, offset: u64, from: &[IoSlice<'_>]) -> Result<(), Errno> {
        let (durable, cached) = &mut *self.state.lock().unwrap();
        let bytes: Vec<u8> = from.iter().flat_map(|slice| slice.iter().copied()).collect();
        Self::pieces(offset, bytes.len(), |no, within, here| {
            let block = cached.entry(no).or_insert_with(|| durable.get(&no).copied().unwrap_or([0; BLOCK]));
            block[within..within + here.len()].copy_from_slice(&bytes[here]);
        });
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        let (durable, cached) = &mut *self.state.lock().unwrap();
        durable.append(cached);
        Ok(())
    }
}

fn served(device: &Arc<Volatile>) -> Served {
    let device: Arc<dyn Device> = device.clone();
    let options = SessionOptions { commit_every: Duration::from_secs(3600), ..SessionOptions::default() };
    let session = Session::on_device(Path::new("recorder"), device, &options).unwrap();
    Served::by(Place::empty(), session)
}

/// What fsync(2) promised of a file.
#[derive(Debug, PartialEq)]
struct Promise {
    content: Vec<u8>,
    modified: (i64, i64),
    changed: (i64, i64),
    mode: u32,
}

impl Promise {
    fn of(path: &Path) -> Self {
        let found = fs::metadata(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        Self {
            content: fs::read(path).unwrap(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            mode: found.mode(),
        }
    }
}

/// Changes a file in one of the ways that fsync must carry, and syncs it.
fn change_and_sync(path: &Path, round: u8) {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
    match round % 6 {
        // Past the end, with a hole.
        0 => drop(file.seek(SeekFrom::End(10_000)).unwrap()),
        // In place: only times change in the inode.
        1 | 2 => {}
        3 => file.set_len(5000).unwrap(),
        4 => file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap(),
        _ => {
            let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
            file.write_all(b"before the time is set").unwrap();
            file.set_times(FileTimes::new().set_modified(then)).unwrap();
        }
    }
    if round % 6 < 3 {
        file.write_all(&vec![round + 1; 3000 + 2500 * usize::from(round)]).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn content_and_times_that_were_fsynced_are_right_after_the_power_was_cut() {
    let mut device = Arc::new(Volatile::default());
    let plan = bento_mkfs::plan(&bento_mkfs::Options::new(1_700_000_000), BLOCKS).unwrap();
    bento_mkfs::make(&BlockingDisk(&*device), &plan, &mut |_, _| ()).unwrap();
    device.flush().unwrap();
    let mut promises: BTreeMap<String, Promise> = BTreeMap::new();
    for round in 0..24 {
        let served = served(&device);
        for (name, promise) in &promises {
            assert_eq!(Promise::of(&served.path(name)), *promise, "{name} in round {round}");
        }
        let dir = format!("dir{}", round % 3);
        fs::create_dir_all(served.path(&dir)).unwrap();
        // Something that nobody syncs goes before and after.
        fs::write(served.path("unsynced"), vec![round; 50_000]).unwrap();
        let name = format!("{dir}/file{}", round % 4);
        change_and_sync(&served.path(&name), round);
        // Under a new name, which fsync of the directory makes durable.
        let renamed = format!("{dir}/renamed{}", round % 4);
        let was = Promise::of(&served.path(&name));
        if round % 5 == 4 {
            fs::rename(served.path(&name), served.path(&renamed)).unwrap();
            File::open(served.path(&dir)).unwrap().sync_all().unwrap();
            promises.remove(&name);
            let now = Promise::of(&served.path(&renamed));
            promises.insert(renamed, now);
        } else {
            promises.insert(name, was);
        }
        fs::write(served.path("unsynced"), vec![round; 90_000]).unwrap();
        let after = device.cut();
        // The old life ends; what it still writes goes to a device that nobody looks at any more.
        served.end();
        let report = bento_fsck::check(&BlockingDisk(&*after), &bento_fsck::Options::default());
        assert!(report.is_clean(), "{:#?}", report.problems);
        device = after;
    }
}
