//! A large log, and a process that may not have much memory.

use super::Place;
use super::place::{Ended, run};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

/// What the process may map, and so the most that it can use.
const LIMIT: u64 = 512 << 20;
/// Each has a target that takes a block of its own.
const LINKS: usize = 40_000;

/// The program under one of its names, in a process that is limited.
fn limited(place: &Place, name: &str) -> Command {
    let program = place.path(name);
    if !program.exists() {
        symlink(env!("CARGO_BIN_EXE_bento"), &program).unwrap();
    }
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={LIMIT}")).arg(program);
    command
}

/// Makes many links, then makes them durable.
fn fill(dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let target = "t".repeat(4000);
    for number in 0..LINKS {
        symlink(format!("{target}{number}"), dir.join(number.to_string())).unwrap();
    }
    File::open(dir).unwrap().sync_all().unwrap();
}

fn expect_filled(dir: &Path) {
    for number in (0..LINKS).step_by(1000) {
        let target = std::fs::read_link(dir.join(number.to_string())).unwrap();
        assert!(target.to_string_lossy().ends_with(&format!("t{number}")));
    }
}

/// A log of 1 GiB of which a good part is in use.
#[test]
fn a_log_of_a_gibibyte_is_filled_replayed_and_checked_within_512_mebibytes() {
    let place = Place::empty();
    File::create(place.image()).unwrap().set_len(8 << 30).unwrap();
    let mkfs =
        |command: &mut Command| -> Ended { run(command.args(["-q", "-J", "size=1g"]).arg(place.image())) };
    mkfs(&mut limited(&place, "mkfs.bento")).well();

    // Nothing goes home before the crash: who has memory keeps all of it in the log.
    let daemon = place.serve("commit=3600");
    fill(&place.file("first"));
    daemon.kill();
    // Each block was written once: to the log.
    let written = std::fs::metadata(place.image()).unwrap().blocks() * 512 / LINKS as u64;
    assert!((4096..2 * 4096).contains(&written), "{written} bytes a link");
    assert!(place.info("log_batches").as_u64() > Some(0));

    // Reading through the log, checking it, replaying it, and filling it again, all with little memory.
    run(limited(&place, "fsck.bento").args(["-n", "-f"]).arg(place.image())).well();
    let mut look = limited(&place, "bento");
    let reader = place.serve_by(look.arg("mount"), &place.image(), "ro");
    expect_filled(&place.file("first"));
    place.umount().well();
    reader.end().well();
    let daemon = place.serve_by(limited(&place, "bento").arg("mount"), &place.image(), "commit=3600");
    expect_filled(&place.file("first"));
    fill(&place.file("second"));
    expect_filled(&place.file("second"));
    println!("the daemon used {} MiB at most", daemon.peak_memory() >> 20);
    assert!(daemon.peak_memory() < LIMIT);
    place.umount().well();
    daemon.end().well();
    place.expect_clean();
}
