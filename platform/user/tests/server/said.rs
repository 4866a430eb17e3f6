//! What the commands print, and how: where nobody reads it, where there is no room for it, and with names in it that
//! somebody chose with care.

use super::Place;
use super::place::called;
use std::fs::File;
use std::process::{Command, Output, Stdio};

fn told_to(command: &mut Command, out: Stdio) -> Output {
    command.stdin(Stdio::null()).stdout(out).output().unwrap()
}

/// Standard output is full.
fn told_to_full(command: &mut Command) -> Output {
    told_to(command, File::options().write(true).open("/dev/full").unwrap().into())
}

/// Whoever reads standard output has gone.
fn told_to_nobody(command: &mut Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    told_to(command, writer.into())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error_and_one_that_nobody_reads_is_none() {
    let place = Place::with_image(16);
    let asked: [(&str, &[&str], &[&str]); 7] = [
        ("info", &[], &[]),
        ("info", &["--json"], &[]),
        ("dump", &[], &["inode", "1"]),
        ("dump", &["--json"], &["inode", "1"]),
        ("dump", &[], &["dir", "1"]),
        ("dump", &[], &["block", "1"]),
        ("--help", &[], &[]),
    ];
    for (command, options, what) in asked {
        let run = || {
            let mut run = called("bento");
            run.arg(command).args(options).arg(place.image()).args(what);
            run
        };
        let full = told_to_full(&mut run());
        let said = text(&full.stderr);
        assert_eq!((full.status.code(), said.lines().count()), (Some(1), 1), "{command}: {said}");
        assert!(said.contains("No space left on device"), "{said}");
        let closed = told_to_nobody(&mut run());
        assert_eq!((closed.status.code(), text(&closed.stderr)), (Some(0), ""), "{command}");
    }
}

#[test]
fn a_message_that_cannot_be_written_changes_no_exit_status() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for (command, status) in [("info", 1), ("mount", 1), ("umount", 32), ("fsck", 8), ("mkfs", 1)] {
        let mut run = called("bento");
        let ended = run.arg(command).arg("/nowhere/at/all").stderr(full()).output().unwrap();
        assert_eq!(ended.status.code(), Some(status), "{command}");
    }
}

#[test]
fn wrong_usage_has_the_status_of_each_commands_manual() {
    for (command, status) in [("mount", 1), ("umount", 1), ("mkfs", 1), ("fsck", 16), ("info", 2)] {
        assert_eq!(called("bento").arg(command).output().unwrap().status.code(), Some(status), "{command}");
        let bad = called("bento").arg(command).arg("--no-such-option").output().unwrap();
        assert_eq!(bad.status.code(), Some(status), "{command}");
    }
}
