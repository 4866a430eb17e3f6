//! The command: its exit status, which is fsck(8)'s, and what it writes.
use crate::volume::Volume;
use bento_api::InodeNo;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Write;
use std::process::{Command, Output};
use tempfile::NamedTempFile;

fn image(volume: &mut Volume) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(volume.disk.bytes_mut()).unwrap();
    file
}

fn fsck(args: &[&str], image: &NamedTempFile) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fsck-bento")).args(args).arg(image.path()).output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A volume in which `/dir/sub/deep` is broken, and `/file` counts a name too many.
fn broken() -> NamedTempFile {
    let (mut volume, places) = Volume::rich();
    volume.edit_record(places.deep, |raw| raw.mode = 0o030_644.into());
    volume.edit_inode(places.file, |inode| inode.nlink += 1);
    image(&mut volume)
}

#[test]
fn a_clean_volume_gives_0_in_every_mode() {
    let file = image(&mut Volume::rich().0);
    for mode in
        [&[][..], &["-n"], &["-p"], &["-a"], &["-y"], &["-fp"], &["-n", "-f", "-v", "-t"], &["-B", "4096"]]
    {
        let output = fsck(mode, &file);
        assert_eq!(status(&output), 0, "{mode:?}: {output:?}");
        assert!(text(&output.stdout).contains("clean"));
    }
}

#[test]
fn a_log_that_is_to_be_replayed_lets_the_boot_go_on() {
    let volume = Volume::rich().0.dirty();
    let home = volume.geometry().inode_place(InodeNo(1)).unwrap().0;
    volume.log(volume.log_end(), 0, &[(home, volume.disk.get(home))]);
    let output = fsck(&["-a"], &image(&mut volume.clone()));
    assert_eq!(status(&output), 0);
    assert!(text(&output.stdout).contains("one batch in the log"));
}

#[test]
fn problems_give_4_and_who_asks_for_repair_is_told_that_there_is_none() {
    let file = broken();
    for (mode, expected) in [("-n", 4), ("-v", 4), ("-y", 4 | 8), ("-fp", 4 | 8)] {
        let output = fsck(&[mode, "-f"], &file);
        if mode == "-y" || mode == "-fp" {
            assert!(text(&output.stderr).contains("repairs nothing"));
        }
        assert_eq!(status(&output), expected, "{mode}: {output:?}");
    }
    let output = fsck(&["-n"], &file);
    let out = text(&output.stdout);
    assert!(out.contains("404: an inode has an unknown type, inode"), "{out}");
    assert!(out.contains("(/dir/sub/deep)"), "{out}");
    assert!(out.contains("3 problems"), "{out}");
}

#[test]
fn a_volume_that_met_errors_is_read_through_at_boot() {
    let (mut volume, places) = Volume::rich();
    volume.edit_inode(places.file, |inode| inode.nlink += 1);
    assert_eq!(status(&fsck(&["-p"], &image(&mut volume))), 0);
    volume.superblock.note_error(Default::default());
    volume.put_superblock();
    assert_eq!(status(&fsck(&["-p"], &image(&mut volume))), 4 | 8);
}

#[test]
fn what_is_lost_is_listed_by_its_path() {
    let output = fsck(&["-n", "--list-lost"], &broken());
    assert_eq!((status(&output), text(&output.stdout).as_str()), (4, "/dir/sub/deep\n"));
}

#[test]
fn the_json_report_has_a_schema_and_everything_in_the_text() {
    let output = fsck(&["-n", "--json"], &broken());
    assert_eq!(status(&output), 4);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["schema"], &report["clean"], &report["exit"]), (&2.into(), &false.into(), &4.into()));
    assert_eq!(report["problems"][0]["code"], 404);
    assert_eq!(report["problems"][0]["path"], "/dir/sub/deep");
    assert_eq!(report["counts"]["454"], 1);
    assert_eq!(report["volume"]["groups"], 3);
}

#[test]
fn wrong_usage_gives_16_and_never_2() {
    let file = image(&mut Volume::empty());
    for args in [&["--wrong"][..], &["-n", "-y"], &["-a", "-p"], &["-B", "1024"], &["-b", "x"], &["another"]]
    {
        assert_eq!(status(&fsck(args, &file)), 16, "{args:?}");
    }
    let none = Command::new(env!("CARGO_BIN_EXE_fsck-bento")).output().unwrap();
    assert_eq!(status(&none), 16);
    for asked in ["-V", "--help"] {
        assert_eq!(status(&fsck(&[asked], &file)), 0);
    }
}

#[test]
fn what_is_no_volume_gives_8() {
    let file = NamedTempFile::new().unwrap();
    assert_eq!(status(&fsck(&["-n"], &file)), 8);
    file.as_file().set_len(1 << 20).unwrap();
    assert_eq!(status(&fsck(&["-n"], &file)), 8);
    let gone = Command::new(env!("CARGO_BIN_EXE_fsck-bento")).arg("/nowhere/at/all").output().unwrap();
    assert_eq!(status(&gone), 8);
    assert!(text(&gone.stderr).contains("/nowhere/at/all"));
    let directory = Command::new(env!("CARGO_BIN_EXE_fsck-bento")).arg("/").output().unwrap();
    assert_eq!(status(&directory), 8);
}

#[test]
fn a_volume_in_use_is_refused_unless_nobody_minds() {
    let file = image(&mut Volume::empty());
    let mount = File::open(file.path()).unwrap();
    flock(&mount, FlockOperation::LockExclusive).unwrap();
    for mode in ["-p", "-y", "-f"] {
        let output = fsck(&[mode], &file);
        assert_eq!(status(&output), 8);
        assert!(text(&output.stderr).contains("in use"));
    }
    let output = fsck(&["-n"], &file);
    assert_eq!(status(&output), 0);
    assert!(text(&output.stderr).contains("in use"));
}

#[test]
fn a_lost_superblock_is_replaced_by_a_copy_found_or_named() {
    let (mut volume, _) = Volume::rich();
    let copy = volume.geometry().copies().next().unwrap().1.0.to_string();
    volume.disk.edit(bento_api::BlockNo(1), |bytes| bytes.fill(0));
    let file = image(&mut volume);
    for args in [&["-n"][..], &["-n", "-b", &copy]] {
        let output = fsck(args, &file);
        assert_eq!(status(&output), 4);
        assert!(text(&output.stdout).contains("superblock copy in block"), "{output:?}");
        assert!(text(&output.stdout).contains("1 problem,"), "the superblock alone: {output:?}");
    }
    assert_eq!(status(&fsck(&["-n", "-b", "77"], &file)), 8);
}

#[test]
fn progress_goes_to_a_descriptor_in_the_form_that_others_read() {
    let file = image(&mut Volume::rich().0);
    let output = fsck(&["-n", "-C1"], &file);
    let first = text(&output.stdout);
    let words: Vec<&str> = first.lines().next().unwrap().split(' ').collect();
    assert_eq!((words[0], words[2]), ("1", "3"));
    assert_eq!(words[3], file.path().to_str().unwrap());
}

#[test]
fn a_report_that_cannot_be_written_is_no_check_and_one_that_nobody_reads_is() {
    let (clean, broken) = (image(&mut Volume::rich().0), broken());
    let run = |args: &[&str], file: &NamedTempFile, out: std::process::Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fsck-bento"));
        command.args(args).arg(file.path()).stdout(out).output().unwrap()
    };
    for args in [&["-n"][..], &["-n", "--json"], &["-p"]] {
        let full = || File::options().write(true).open("/dev/full").unwrap().into();
        let output = run(args, &clean, full());
        assert_eq!(status(&output), 8, "{args:?}");
        assert!(text(&output.stderr).contains("No space left on device"), "{output:?}");
        assert_eq!(status(&run(&["-n"], &broken, full())), 4 | 8);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(args, &clean, writer.into());
        assert_eq!((status(&output), output.stderr), (0, Vec::new()), "{args:?}");
    }
}

#[test]
fn what_cannot_be_checked_is_told_as_what_it_is() {
    let file = NamedTempFile::new().unwrap();
    assert!(text(&fsck(&["-n"], &file).stderr).contains("is empty"));
    let output = fsck(&["-n", "--json"], &file);
    assert_eq!(status(&output), 8);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["error"].as_str().unwrap().ends_with("is empty"), "{told}");
    file.as_file().set_len(8191).unwrap();
    let output = fsck(&["-p"], &file);
    assert!(status(&output) == 8 && text(&output.stderr).contains("8191 bytes"), "{output:?}");
    file.as_file().set_len(1 << 20).unwrap();
    let output = fsck(&["-p"], &file);
    assert_eq!(status(&output), 8);
    assert!(!text(&output.stderr).contains("mount"), "there is nothing to mount: {output:?}");
}
