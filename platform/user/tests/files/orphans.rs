//! Files that lost their names, and truncates that were cut short.
use crate::volume::{BLOCK, Cache, ROOT, Volume};
use bento_api::{Errno, NewNode, OpKind, SetAttr};

#[test]
fn an_unlinked_file_is_there_until_its_last_user_goes() {
    let mut volume = Volume::new(8192);
    let free = volume.free_blocks();
    let ino = volume.create(b"a").unwrap();
    volume.write(ino, 0, &[7; 10_000]).unwrap();
    volume.unlink(b"a").unwrap();
    volume.check();
    assert_eq!(volume.read(ino, 0, 20_000).unwrap(), [7; 10_000]);
    volume.write(ino, 100_000, &[8; 10]).unwrap();
    volume.forget(ino);
    assert_eq!(volume.stat(ino), Err(Errno::Stale));
    volume.check();
    assert_eq!(volume.free_blocks(), free);
}

#[test]
fn a_mount_takes_away_what_lost_its_name() {
    let mut volume = Volume::new(8192);
    let free = volume.free_blocks();
    let file = volume.create(b"a").unwrap();
    volume.write(file, 5 * BLOCK, &[7; 10_000]).unwrap();
    volume.setxattr(file, b"user.a", &[1; 1000], bento_api::XattrSet::Any).unwrap();
    volume.unlink(b"a").unwrap();
    let nameless = volume.tmpfile().unwrap();
    volume.write(nameless, 0, &[9; 70_000]).unwrap();
    volume.check();
    let mut volume = volume.remount();
    volume.check();
    assert_eq!(volume.free_blocks(), free);
    assert_eq!(volume.stat(file), Err(Errno::Stale));
    assert_eq!(volume.stat(nameless), Err(Errno::Stale));
}

/// As any directory, though its number is never anybody else's.
#[test]
fn lost_and_found_can_be_removed_and_made_again() {
    for open in [false, true] {
        let mut volume = Volume::new(8192);
        let free = volume.free_blocks();
        let ino = volume.open(b"lost+found").unwrap();
        assert_eq!(ino, bento_api::InodeNo(3));
        if !open {
            volume.forget(ino);
        }
        volume.rmdir(b"lost+found").unwrap();
        volume.check();
        let mut volume = volume.remount();
        volume.check();
        assert_eq!(volume.stat(ino), Err(Errno::Stale));
        assert_eq!(volume.free_blocks(), free + 1);
        let other = volume.mkdir(b"lost+found").unwrap();
        assert!(other.0 >= 16);
        volume.check();
    }
    let mut volume = Volume::new(8192);
    volume.mkdir(b"other").unwrap();
    let name = |name| bento_api::Name::new(name).unwrap();
    let replaced = volume.run(OpKind::Rename, |fs, call| {
        let how = bento_api::Rename::Replace;
        fs.rename(call, (ROOT, name(b"other")), (ROOT, name(b"lost+found")), how)
    });
    assert!(replaced.is_ok());
    let volume = volume.remount();
    volume.check();
}

#[test]
fn a_file_without_a_name_can_get_one() {
    let mut volume = Volume::new(8192);
    let ino = volume.tmpfile().unwrap();
    volume.write(ino, 0, b"kept").unwrap();
    volume.link(ino, b"named").unwrap();
    volume.check();
    volume.forget(ino);
    let mut volume = volume.remount();
    let ino = volume.open(b"named").unwrap();
    assert_eq!(volume.read(ino, 0, 10).unwrap(), b"kept");
    assert_eq!(volume.stat(ino).unwrap().nlink, 1);
    volume.check();
}

#[test]
fn more_orphans_than_a_block_has_slots_come_and_go() {
    for cache in [Cache::Keeps, Cache::AlwaysMisses] {
        let mut volume = Volume::with(16_384, |options| options.inodes = Some(4096));
        volume.set_cache(cache);
        let orphan_file = volume.stat(bento_api::InodeNo(4)).unwrap();
        let free = volume.free_blocks();
        let inodes = volume.mount.statfs().inodes_free;
        for _ in 0..1200 {
            volume.tmpfile().unwrap();
        }
        volume.check();
        let grown = volume.stat(bento_api::InodeNo(4)).unwrap();
        assert_eq!(grown.size, 3 * BLOCK);
        let held = (grown.sectors - orphan_file.sectors) / 8;
        // Half of them go; the rest is a mount's, which has to load three blocks of slots first.
        for ino in (16..).map(bento_api::InodeNo).take(600) {
            volume.forget(ino);
        }
        volume.check();
        let mut volume = volume.remount();
        volume.set_cache(cache);
        volume.check();
        assert_eq!(volume.mount.statfs().inodes_free, inodes);
        assert_eq!(volume.free_blocks(), free - held);
        // The slots are free again: nothing grows.
        for _ in 0..1200 {
            volume.tmpfile().unwrap();
        }
        assert_eq!(volume.stat(bento_api::InodeNo(4)).unwrap().size, 3 * BLOCK);
    }
}

#[test]
fn a_truncate_that_was_cut_short_goes_on_at_the_next_mount() {
    let mut volume = Volume::new(32_768);
    let free = volume.free_blocks();
    let ino = volume.create(b"a").unwrap();
    for at in 0..2000 {
        volume.write(ino, at * 2 * BLOCK, &[at as u8; 100]).unwrap();
    }
    volume.check();
    let set = SetAttr { size: Some(50), ..SetAttr::default() };
    let (attr, more) = volume.run(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).unwrap().value;
    assert!(more && attr.size == 50);
    let larger = SetAttr { size: Some(1 << 20), ..SetAttr::default() };
    let refused = volume.run(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &larger)).map(drop);
    assert_eq!(refused, Err(Errno::Busy), "the freeing would not tell old from new");
    volume.check();
    let mut volume = volume.remount();
    volume.check();
    let ino = volume.open(b"a").unwrap();
    assert_eq!(volume.read(ino, 0, 100).unwrap(), [0; 50]);
    volume.write(ino, 4096, b"new").unwrap();
    // Two blocks of data, and what is left of the tree.
    assert!(volume.stat(ino).unwrap().sectors <= 32);
    volume.unlink(b"a").unwrap();
    volume.forget(ino);
    volume.check();
    assert_eq!(volume.free_blocks(), free);
}

#[test]
fn a_truncate_that_was_cut_short_goes_on_before_the_next_growth() {
    let mut volume = Volume::new(32_768);
    let ino = volume.create(b"a").unwrap();
    for at in 0..2000 {
        volume.write(ino, at * 2 * BLOCK, &[at as u8; 100]).unwrap();
    }
    let set = SetAttr { size: Some(50), ..SetAttr::default() };
    let (_, more) = volume.run(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).unwrap().value;
    assert!(more);
    volume.truncate(ino, 1 << 20).unwrap();
    volume.write(ino, 8192, b"new").unwrap();
    assert_eq!(volume.read(ino, 4096, 4096).unwrap(), [0; 4096]);
    volume.check();
}

#[test]
fn a_removed_directory_and_links_of_all_lengths_give_everything_back() {
    let mut volume = Volume::new(8192);
    let free = volume.free_blocks();
    for len in [1, 79, 80, 81, 4063, 4064, 4065, 4095] {
        let target: Vec<u8> = (0..len).map(|at| b'a' + (at % 26) as u8).collect();
        let ino = volume.symlink(b"link", &target).unwrap();
        assert_eq!(volume.readlink(ino).unwrap(), target);
        volume.check();
        volume = volume.remount();
        assert_eq!(volume.readlink(ino).unwrap(), target);
        volume.unlink(b"link").unwrap();
        volume.check();
    }
    assert_eq!(volume.symlink(b"link", &[b'a'; 4096]), Err(Errno::NameTooLong));
    assert_eq!(volume.symlink(b"link", b""), Err(Errno::NotFound));
    volume.mkdir(b"dir").unwrap();
    volume.rmdir(b"dir").unwrap();
    volume.check();
    assert_eq!(volume.free_blocks(), free);
}

#[test]
fn orphans_of_different_groups_are_in_different_blocks() {
    let mut volume = Volume::new(262_144);
    let free = volume.free_blocks();
    // Directories of the root are spread over the groups.
    for name in b'a'..=b'z' {
        volume.mkdir(&[name]).unwrap();
        volume.open(&[name]).unwrap();
        volume.rmdir(&[name]).unwrap();
    }
    let (mut blocks, mut from) = (Vec::new(), 0);
    while let Some((_, next)) = volume.run(OpKind::Read, |fs, call| fs.orphan(call, from)).unwrap() {
        blocks.push((next - 1) / 508);
        from = next;
    }
    assert_eq!(blocks.len(), 26);
    blocks.dedup();
    assert!(blocks.len() >= 4, "{blocks:?}");
    volume.check();
    assert_eq!(volume.remount().free_blocks(), free);
}

#[test]
fn orphans_of_the_last_group_find_room_in_the_blocks_of_the_others() {
    let mut volume = Volume::new(262_144);
    let slots = volume.stat(bento_api::InodeNo(4)).unwrap().size;
    let in_a_group = volume.mount.statfs().inodes / 8;
    let dir = (b'a'..=b'z').flat_map(|first| (b'a'..=b'z').map(move |second| [first, second]));
    let dir = dir.map(|name| volume.mkdir(&name).unwrap()).find(|dir| dir.0 / in_a_group == 7).unwrap();
    let node = NewNode { mode: 0o100_600, uid: 0, gid: 0, rdev: 0, xattrs: &[] };
    for _ in 0..1200 {
        let made = volume.run(OpKind::TmpFile, |fs, call| fs.tmpfile(call, dir, &node)).unwrap();
        assert_eq!(made.value.ino.0 / in_a_group, 7);
    }
    assert_eq!(volume.stat(bento_api::InodeNo(4)).unwrap().size, slots);
    volume.check();
}
