//! Extended attributes against a map.
use crate::volume::{Cache, Volume};
use bento_api::{Errno, ModeChange, XattrSet};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

#[test]
fn attributes_are_as_a_map_has_them() {
    for (seed, cache) in [(1, Cache::Keeps), (2, Cache::AlwaysMisses), (3, Cache::Keeps)] {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut volume = Volume::new(8192);
        volume.set_cache(cache);
        let free = volume.free_blocks();
        let ino = volume.create(b"a").unwrap();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for step in 0..2000 {
            let prefix: &[u8] = [b"user.".as_slice(), b"trusted.", b"security."][random.random_range(0..3)];
            let mut name = prefix.to_vec();
            name.extend(std::iter::repeat_n(b'x', random.random_range(1..6)));
            if random.random_bool(0.3) {
                let there = model.remove(&name).map(drop).ok_or(Errno::NoAttribute);
                assert_eq!(volume.removexattr(ino, &name), there);
            } else {
                let most = [10, 40, 700, 3000][random.random_range(0..4)];
                let value = vec![step as u8; random.random_range(0..most)];
                let how = [XattrSet::Any, XattrSet::Create, XattrSet::Replace][random.random_range(0..3)];
                match volume.setxattr(ino, &name, &value, how) {
                    Ok(()) => drop(model.insert(name.clone(), value)),
                    Err(Errno::NoSpace) => assert!(model.values().map(Vec::len).sum::<usize>() > 900),
                    Err(Errno::Exists) => assert!(how == XattrSet::Create && model.contains_key(&name)),
                    Err(Errno::NoAttribute) => {
                        assert!(how == XattrSet::Replace && !model.contains_key(&name))
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            let there = model.get(&name).cloned().ok_or(Errno::NoAttribute);
            assert_eq!(volume.getxattr(ino, &name), there);
            if step % 100 == 0 {
                volume.check();
                if !model.is_empty() {
                    assert_eq!(volume.listxattr(ino).unwrap(), model.keys().cloned().collect::<Vec<_>>());
                }
            }
        }
        volume.forget(ino);
        let mut volume = volume.remount();
        let ino = volume.open(b"a").unwrap();
        for (name, value) in &model {
            assert_eq!(volume.getxattr(ino, name).as_ref(), Ok(value));
        }
        for name in model.keys() {
            volume.removexattr(ino, name).unwrap();
        }
        assert_eq!(volume.stat(ino).unwrap().sectors, 0, "an empty block goes");
        volume.unlink(b"a").unwrap();
        volume.forget(ino);
        volume.check();
        assert_eq!(volume.free_blocks(), free);
    }
}

#[test]
fn a_file_is_made_with_its_attributes() {
    let mut volume = Volume::new(8192);
    let big = [5; 2000];
    let xattrs: [(&[u8], &[u8]); 3] = [
        (b"security.selinux", b"system_u:object_r:tmp_t:s0"),
        (b"system.posix_acl_access", &big),
        (b"user.c", b""),
    ];
    let ino = volume.create_with(b"a", &xattrs).unwrap();
    volume.check();
    for (name, value) in xattrs {
        assert_eq!(volume.getxattr(ino, name).unwrap(), value);
    }
    assert_eq!(volume.getxattr(ino, b"user."), Err(Errno::Invalid));
    assert_eq!(volume.getxattr(ino, b"os2.x"), Err(Errno::NotSupported));
    assert_eq!(volume.setxattr(ino, b"user.big", &[0; 4096], XattrSet::Any), Err(Errno::NoSpace));
    assert_eq!(volume.setxattr(ino, b"user.mid", &[0; 2100], XattrSet::Any), Err(Errno::NoSpace));
    volume.check();
}

#[test]
fn an_access_list_and_the_mode_change_together() {
    const ACL: &[u8] = b"system.posix_acl_access";
    for cache in [Cache::Keeps, Cache::AlwaysMisses] {
        let mut volume = Volume::new(8192);
        volume.set_cache(cache);
        let ino = volume.create(b"a").unwrap();
        let all = ModeChange { clear: 0o7777, set: 0o2640 };
        // One that fits the inode, and one that needs a block.
        for len in [20, 2000] {
            let list = vec![7; len];
            let answered = volume.set_acl(ino, Some(&list), all).unwrap();
            assert_eq!(answered & 0o177_777, 0o102_640);
            assert_eq!(volume.getxattr(ino, ACL), Ok(list));
        }
        // One that does not fit changes nothing.
        let other = ModeChange { clear: 0o777, set: 0o777 };
        assert_eq!(volume.set_acl(ino, Some(&[7; 4090]), other), Err(Errno::NoSpace));
        assert_eq!(volume.stat(ino).unwrap().mode, 0o102_640);
        volume.check();
        for _ in 0..2 {
            assert_eq!(volume.set_acl(ino, None, other), Ok(0o102_777), "there or not");
            assert_eq!(volume.getxattr(ino, ACL), Err(Errno::NoAttribute));
        }
        assert_eq!(volume.stat(ino).unwrap().sectors, 0);
        volume.check();
    }
}
