//! The command: what it makes, what it refuses, and what it says.
use bento_fs::format::Superblock;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn mkfs(arguments: &[&str], image: &Path, size: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkfs-bento"));
    command.env_remove("SOURCE_DATE_EPOCH");
    command.args(arguments).arg(image).args(size).output().unwrap()
}

fn image() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("image");
    (dir, path)
}

fn superblock(path: &Path) -> Option<Superblock> {
    let mut bytes = [0; 4096];
    File::open(path).unwrap().read_exact_at(&mut bytes, 4096).unwrap();
    Superblock::decode(&bytes).ok()
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The message of a run that failed with status 1.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_terabyte_takes_less_than_a_second_and_64_mebibytes() {
    // In memory where there is some: a disk that discards takes its time to forget the image.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let quickest = (0..3).map(|_| {
        let dir = TempDir::new_in(&place).unwrap();
        let path = dir.path().join("image");
        let start = Instant::now();
        ok(&mkfs(&["-q"], &path, &["1t"]));
        let took = start.elapsed();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 1 << 40);
        assert!(metadata.blocks() * 512 < 64 << 20, "{} bytes written", metadata.blocks() * 512);
        took
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[test]
fn an_image_is_made_with_what_was_asked_for() {
    let (_dir, path) = image();
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let arguments = ["-L", "home", "-U", uuid, "-J", "size=8", "-N", "5000", "-e", "continue", "-O", "prov"];
    let text = ok(&mkfs(&arguments, &path, &["64m"]));
    assert!(text.contains(uuid) && text.contains("label home"), "{text}");
    let superblock = superblock(&path).unwrap();
    assert_eq!(superblock.label(), b"home");
    assert_eq!(superblock.uuid[..4], [1, 0x23, 0x45, 0x67]);
    assert_eq!(superblock.geometry.log_len, 2048);
    assert!(superblock.geometry.inodes_total() >= 5000);
    assert_eq!(superblock.errors.byte(), 1);
    assert_eq!(superblock.compat.bits(), 1);
}

#[test]
fn a_dry_run_shows_the_layout_and_writes_nothing() {
    let (_dir, path) = image();
    let text = ok(&mkfs(&["-n"], &path, &["64m"]));
    assert!(text.contains("groups from 1027") && text.contains("Nothing was written"), "{text}");
    assert!(!path.exists());
}

#[test]
fn json_tells_where_everything_lies() {
    let (_dir, path) = image();
    for arguments in [["--json", "-n"], ["--json", "-v"]] {
        let report: serde_json::Value =
            serde_json::from_str(&ok(&mkfs(&arguments, &path, &["64m"]))).unwrap();
        assert_eq!(report["blocks"], 16_384);
        assert_eq!(report["log_blocks"], 1024);
        assert_eq!(report["dry_run"], arguments[1] == "-n");
        assert_eq!(report["free_blocks"].is_null(), arguments[1] == "-n");
    }
}

#[test]
fn what_is_there_is_not_overwritten_unless_forced() {
    let marks: [(u64, &[u8], &str); 11] = [
        (0x438, b"\x53\xef", "ext4"),
        (0, b"XFSB", "XFS"),
        (0x1_0040, b"_BHRfS_M", "btrfs"),
        ((16 << 20) - 512, b"EFI PART", "GPT"),
        (0x1018, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", "bcachefs"),
        (0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "bcachefs"),
        (0, b"QFI\xfb", "qcow2"),
        (0, b"KDMV", "VMDK"),
        ((128 << 10) + (5 << 10), b"\x0c\xb1\xba\0\0\0\0\0", "ZFS"),
        ((384 << 10) + (127 << 10), b"\0\0\0\0\0\xba\xb1\x0c", "ZFS"),
        ((16 << 20) - (128 << 10), b"\x0c\xb1\xba\0\0\0\0\0", "ZFS"),
    ];
    for (at, mark, name) in marks {
        let (_dir, path) = image();
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(16 << 20).unwrap();
        file.write_all_at(mark, at).unwrap();
        let message = refused(&mkfs(&[], &path, &[]));
        assert!(message.contains(name) && message.contains("-F"), "{message}");
        assert!(superblock(&path).is_none());
        ok(&mkfs(&["-f", "-E", "nodiscard"], &path, &[]));
        let mut left = vec![0; mark.len()];
        file.read_exact_at(&mut left, at).unwrap();
        assert!(superblock(&path).is_some());
        assert_ne!(left, mark, "the old mark is gone, so that nobody takes it for what it was");
        let message = refused(&mkfs(&[], &path, &[]));
        assert!(message.contains("Bento"), "{message}");
        ok(&mkfs(&["-F"], &path, &[]));
    }
}

#[test]
fn an_image_that_another_program_has_locked_is_left_alone() {
    let (_dir, path) = image();
    let file = File::create(&path).unwrap();
    file.set_len(16 << 20).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let message = refused(&mkfs(&["-F"], &path, &[]));
    assert!(message.contains("in use"), "{message}");
    assert!(superblock(&path).is_none());
    ok(&mkfs(&["-FF"], &path, &[]));
}

#[test]
fn what_cannot_be_a_volume_is_named() {
    let (dir, path) = image();
    File::create(dir.path().join("empty")).unwrap();
    let cases: [(&[&str], PathBuf, &[&str], &str); 16] = [
        (&[], path.clone(), &[], "give its size"),
        (&[], dir.path().into(), &[], "a directory"),
        (&[], "/dev/null".into(), &[], "neither a block device"),
        (&[], dir.path().join("empty"), &[], "give the size"),
        (&[], dir.path().join("no/such"), &["64m"], "No such file"),
        (&[], path.clone(), &["4m"], "too small"),
        (&[], path.clone(), &["many"], "not a size"),
        (&["-b", "1024"], path.clone(), &["64m"], "4096 and nothing else"),
        (&["-I", "128"], path.clone(), &["64m"], "256 and nothing else"),
        (&["-J", "size=1"], path.clone(), &["64m"], "at least 4.0 MiB"),
        (&["-J", "device=x"], path.clone(), &["64m"], "only size=SIZE"),
        (&["-U", "me"], path.clone(), &["64m"], "not a UUID"),
        (&["-O", "encrypt"], path.clone(), &["64m"], "no such feature"),
        (&["-O", "quota"], path.clone(), &["64m"], "this version does not"),
        (&["-E", "stride=4"], path.clone(), &["64m"], "no such option"),
        (&["--bogus"], path.clone(), &["64m"], "--bogus"),
    ];
    for (arguments, image, size, words) in cases {
        let message = refused(&mkfs(arguments, &image, size));
        assert!(message.contains(words), "{arguments:?} {size:?}: {message}");
        assert!(!path.exists());
    }
}

#[test]
fn options_may_be_repeated_as_mke2fs_has_it() {
    let (_dir, path) = image();
    assert_eq!(ok(&mkfs(&["-q", "-q", "-L", "first", "-L", "last"], &path, &["16m"])), "");
    assert_eq!(superblock(&path).unwrap().label(), b"last");
}

#[test]
fn a_size_that_lacks_a_byte_does_not_look_like_enough() {
    let (_dir, path) = image();
    let message = refused(&mkfs(&[], &path, &["8388607b"]));
    assert!(message.contains("8388607 bytes are too small") && message.contains("8388608"), "{message}");
}

#[test]
fn an_image_that_could_not_be_made_is_not_left_behind() {
    let (_dir, path) = image();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_mkfs-bento")]);
    let message = refused(&command.arg(&path).arg("64m").output().unwrap());
    assert!(message.contains("File too large"), "{message}");
    assert!(!path.exists());
}

#[test]
fn a_failure_is_told_in_json_too() {
    let (_dir, path) = image();
    let output = mkfs(&["--json"], &path, &["4m"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["error"].as_str().unwrap().contains("too small"), "{told}");
    assert!(refused(&output).contains("mkfs.bento: "));
}

#[test]
fn help_and_version_are_no_failures() {
    for option in ["-V", "--help"] {
        let output = Command::new(env!("CARGO_BIN_EXE_mkfs-bento")).arg(option).output().unwrap();
        assert!(ok(&output).contains("mkfs.bento"));
    }
}

#[test]
fn the_same_time_and_uuid_make_the_same_image_even_over_another() {
    let make = |path: &Path, force: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkfs-bento"));
        command.env("SOURCE_DATE_EPOCH", "1700000000").args(force);
        let output =
            command.args(["-U", "01234567-89ab-cdef-0123-456789abcdef", "-q"]).arg(path).arg("32m").output();
        ok(&output.unwrap());
        fs::read(path).unwrap()
    };
    let (dir, path) = image();
    let used = dir.path().join("used");
    fs::write(&used, vec![0x5a; 32 << 20]).unwrap();
    let (fresh, over) = (make(&path, &["-v"][..0]), make(&used, &["-F"]));
    assert!(fresh == over);
    // Without a discard the data blocks keep what they had, but the log has nothing that could be replayed.
    fs::write(&used, vec![0x5a; 32 << 20]).unwrap();
    let kept = make(&used, &["-K"]);
    assert!(kept[..1026 * 4096] == fresh[..1026 * 4096]);
}

#[test]
fn a_volume_that_was_made_is_made_though_the_report_is_lost() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for report in [&[][..], &["--json"]] {
        let (_dir, path) = image();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkfs-bento"));
        let output = command.args(report).arg(&path).arg("64m").stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "as mke2fs has it");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"), "{output:?}");
        assert!(superblock(&path).is_some());
        // Of a dry run the report is all there is.
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkfs-bento"));
        let output = command.args(["-n", "-F"]).args(report).arg(&path).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
    }
}
