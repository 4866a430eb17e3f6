//! Directory blocks, against a map from place to entry.
use bento_api::{BLOCK, FileKind, InodeNo};
use bento_fs::format::dirent::{self, FIRST, ROOM, Slot};
use bento_fs::format::{Corruption, HashKey};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const KEY: HashKey = HashKey([3; 16]);

fn empty() -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    dirent::start(&mut bytes);
    bytes
}

fn insert(bytes: &mut [u8], at: usize, name: &[u8]) -> Result<(), Corruption> {
    dirent::insert_at(bytes, at, name, KEY.hash(name), InodeNo(20), FileKind::Regular)
}

#[test]
fn a_new_block_is_one_hole() {
    let bytes = empty();
    let slots: Vec<_> = dirent::slots(&bytes).collect();
    assert_eq!(slots, [Ok(Slot::Hole { at: FIRST, len: ROOM })]);
    assert_eq!(dirent::is_empty(&bytes), Ok(true));
    assert_eq!(dirent::free_value(ROOM), 254);
}

#[test]
fn random_inserts_and_removals_agree_with_a_map() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut bytes = empty();
    let mut model: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for step in 0..30_000u32 {
        if rng.random_bool(0.5) {
            let len = if rng.random_bool(0.9) { rng.random_range(4..30) } else { rng.random_range(200..256) };
            let name = format!("{step:0len$}").into_bytes();
            let need = dirent::entry_len(name.len());
            match dirent::find_hole(&bytes, need).unwrap() {
                Some(at) => {
                    insert(&mut bytes, at, &name).unwrap();
                    assert_eq!(model.insert(at, name), None);
                }
                None => assert!(dirent::largest_hole(&bytes).unwrap() < need),
            }
        } else if let Some(at) = model.keys().nth(rng.random_range(0..model.len().max(1))).copied() {
            let (start, len) = dirent::remove(&mut bytes, at).unwrap();
            assert!(start <= at && at < start + len);
            model.remove(&at);
        }
        let found: BTreeMap<usize, Vec<u8>> = dirent::entries(&bytes)
            .map(|entry| entry.map(|entry| (entry.at, entry.name.to_vec())).unwrap())
            .collect();
        assert_eq!(found, model, "entries stay where they were put");
        if let Some((at, name)) = model.iter().next_back() {
            assert_eq!(dirent::find(&bytes, name, KEY.hash(name)).unwrap().unwrap().at, *at);
            assert_eq!(dirent::entry_at(&bytes, *at).unwrap().name, name);
        }
    }
    assert_eq!(dirent::find(&bytes, b"nobody", KEY.hash(b"nobody")), Ok(None));
}

#[test]
fn removing_everything_leaves_one_hole() {
    let mut bytes = empty();
    let mut places = Vec::new();
    while let Some(at) = dirent::find_hole(&bytes, 32).unwrap() {
        insert(&mut bytes, at, format!("{:06}", places.len()).as_bytes()).unwrap();
        places.push(at);
    }
    assert_eq!(places.len(), 127);
    // Evens, then odds: every removal of the second kind closes a gap on both sides.
    let (evens, odds): (Vec<_>, Vec<_>) = places.iter().partition(|at| *at / 32 % 2 == 0);
    for at in evens.into_iter().chain(odds) {
        dirent::remove(&mut bytes, at).unwrap();
        assert!(dirent::slots(&bytes).all(|slot| slot.is_ok()));
    }
    assert_eq!(bytes, empty());
}

#[test]
fn a_cookie_between_entries_goes_on_at_the_next() {
    let mut bytes = empty();
    insert(&mut bytes, 32, b"first").unwrap();
    insert(&mut bytes, 64, b"second").unwrap();
    insert(&mut bytes, 96, b"third").unwrap();
    dirent::remove(&mut bytes, 64).unwrap();
    let next = |at| dirent::next_entry(&bytes, at).unwrap().map(|entry| entry.name.to_vec());
    assert_eq!(next(0), Some(b"first".to_vec()));
    assert_eq!(next(33), Some(b"third".to_vec()));
    assert_eq!(next(64), Some(b"third".to_vec()));
    assert_eq!(next(97), None);
    assert_eq!(dirent::entry_at(&bytes, 64), Err(Corruption::DirPlace));
    assert_eq!(dirent::entry_at(&bytes, 65), Err(Corruption::DirPlace));
}

#[test]
fn an_entry_can_be_made_to_name_another_inode() {
    let mut bytes = empty();
    insert(&mut bytes, 32, b"name").unwrap();
    dirent::set_target(&mut bytes, 32, InodeNo(99), FileKind::Directory).unwrap();
    let entry = dirent::entry_at(&bytes, 32).unwrap();
    assert_eq!((entry.ino, entry.kind, entry.name), (InodeNo(99), FileKind::Directory, b"name".as_slice()));
    assert_eq!(dirent::set_target(&mut bytes, 64, InodeNo(9), FileKind::Fifo), Err(Corruption::DirPlace));
}

#[test]
fn names_that_cannot_be_are_refused() {
    let mut bytes = empty();
    for name in [b"".as_slice(), b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        assert_eq!(insert(&mut bytes, 32, name), Err(Corruption::DirName));
    }
    insert(&mut bytes, 32, &[b'x'; 255]).unwrap();
    assert_eq!(insert(&mut bytes, 32, b"taken"), Err(Corruption::DirPlace));
    assert_eq!(bytes[32 + 12], 16, "271 bytes take 272");
}

#[test]
fn damage_behind_a_right_checksum_is_named() {
    let good = {
        let mut bytes = empty();
        insert(&mut bytes, 32, b"name").unwrap();
        insert(&mut bytes, 64, b"other").unwrap();
        bytes
    };
    let cases: [(usize, u8, Corruption); 9] = [
        (32 + 12, 0, Corruption::DirLength),
        (32 + 12, 33, Corruption::DirLength),
        (32 + 13, 0xff, Corruption::DirLength),
        (32 + 14, 0, Corruption::DirLength),
        (32 + 15, 3, Corruption::DirKind),
        (32 + 15, 255, Corruption::DirKind),
        (32 + 16, b'/', Corruption::DirName),
        (32 + 31, 1, Corruption::DirPadding),
        (96 + 100, 1, Corruption::DirHole),
    ];
    for (at, value, problem) in cases {
        let mut bytes = good;
        bytes[at] = value;
        let found = dirent::slots(&bytes).find_map(Result::err);
        assert_eq!(found, Some(problem), "byte {at} = {value}");
    }
}

#[test]
fn the_free_map_finds_the_first_block_with_room() {
    let mut map = [0; BLOCK];
    assert_eq!(dirent::free_map_place(4064 * 2 + 5), ((1 << 40) + 2, 32 + 5));
    assert_eq!(dirent::free_map_find(&map, 2, 1), None);
    map[32 + 7] = dirent::free_needed(255);
    map[32 + 9] = dirent::FREE_MAP_ABSENT;
    assert_eq!(dirent::free_map_find(&map, 2, dirent::free_needed(255)), Some(2 * 4064 + 7));
    assert_eq!(dirent::free_map_find(&map, 2, 100), Some(2 * 4064 + 9));
}
