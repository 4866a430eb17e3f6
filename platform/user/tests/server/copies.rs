//! A volume that lost its superblock: who is told what, and how its files are saved.

use super::Place;
use super::place::{called, run};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const USAGE: i32 = 1;
const FAILED: i32 = 32;

#[test]
fn a_volume_that_lost_its_superblock_is_read_by_a_copy() {
    let place = Place::with_image(64);
    let daemon = place.serve("");
    fs::write(place.file("file"), b"to be saved").unwrap();
    File::open(place.dir()).unwrap().sync_all().unwrap();
    File::open(place.file("file")).unwrap().sync_all().unwrap();
    // The log has it, and no copy of the superblock knows.
    daemon.kill();
    let _ = rustix::mount::unmount(place.dir(), rustix::mount::UnmountFlags::DETACH);
    let image = File::options().read(true).write(true).open(place.image()).unwrap();
    let mut superblock = [0; 4096];
    image.read_exact_at(&mut superblock, 4096).unwrap();
    let (mut damaged, mut unknown) = (superblock, superblock);
    damaged[60] ^= 1;
    // The last byte of the magic number; the others still say whose it was.
    unknown[7] ^= 1;
    for damage in [damaged, unknown, [0; 4096]] {
        image.write_all_at(&damage, 4096).unwrap();
        let checked = run(called("fsck.bento").arg("-n").arg(place.image())).said;
        let (_, copy) = checked.split_once("the superblock copy in block ").unwrap();
        let copy = copy.split(' ').next().unwrap();
        let told = ["volume.img", "damaged or gone", &format!("bento mount -o ro,sb={copy}`")];
        let untouched = fs::read(place.image()).unwrap();
        for options in ["", "ro"] {
            let refused = place.mount(options);
            assert!(!refused.said.contains("mkfs"), "{}", refused.said);
            refused.badly(FAILED, &told);
        }
        run(called("bento").arg("info").arg(place.image())).badly(1, &told);
        run(called("bento").args(["prov", "log"]).arg(place.image())).badly(1, &told);
        run(called("mkfs.bento").arg("-n").arg(place.image())).badly(1, &["holds", "-F overwrites it"]);
        let advised = run(called("fsck.bento").arg("-p").arg(place.image()));
        assert_eq!(advised.status, 4 | 8);
        assert!(advised.said.contains(&format!("bento mount -o ro,sb={copy} ")), "{}", advised.said);
        place.mount(&format!("sb={copy}")).badly(USAGE, &["add ro"]);
        place.mount("ro,sb=77").badly(FAILED, &["block 77 holds no copy"]);
        place.mount(&format!("ro,sb={copy}")).well();
        assert_eq!(fs::read(place.file("file")).unwrap(), b"to be saved");
        assert!(fs::write(place.file("other"), b"").is_err());
        place.umount().well();
        let ask = |args: &[&str]| run(called("bento").args(args)).well();
        let path = place.image().to_str().unwrap().to_owned();
        assert!(ask(&["info", &path, "--sb", copy]).contains("unknown: told by a copy"));
        assert!(ask(&["dump", &path, "dir", "1", "--sb", copy]).contains("name file,"));
        assert!(untouched == fs::read(place.image()).unwrap(), "nothing was written");
    }
    let said = run(called("mkfs.bento").arg("-n").arg(place.image()));
    said.badly(1, &["copy in block", "ro,sb="]);
    run(called("mkfs.bento").args(["-q", "-F"]).arg(place.image())).well();
    place.expect_clean();
}

#[test]
fn a_search_for_copies_does_not_read_the_holes() {
    let place = Place::empty();
    File::create(place.image()).unwrap().set_len(1 << 40).unwrap();
    let begun = std::time::Instant::now();
    place.mount("").badly(FAILED, &["no Bento volume", "mkfs.bento"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
