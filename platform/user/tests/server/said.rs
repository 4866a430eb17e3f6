//! What the commands print, and how: where nobody reads it, where there is no room for it, and with names in it that
//! somebody chose with care.

use super::Place;
use super::place::{called, run};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
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

#[test]
fn a_name_cannot_forge_what_is_told_of_it() {
    let forged: &[u8] = b"x\n2026-01-01T00:00:00Z  unlink    shadow  by cp[1] uid 0\x1b[2J";
    let place = Place::with_image(64);
    place.mount("prov").well();
    for name in [forged, b"caf\xe9", b"plain"] {
        fs::write(place.dir().join(OsStr::from_bytes(name)), b"").unwrap();
    }
    place.umount().well();
    let image = place.image().to_str().unwrap().to_owned();
    let forged_text = std::str::from_utf8(forged).unwrap();
    let asked: [&[&str]; 4] = [
        &["prov", "log", &image],
        &["prov", "log", &image, forged_text],
        &["prov", "why", &image, forged_text],
        &["dump", &image, "dir", "1"],
    ];
    for args in asked {
        let said = run(called("bento").args(args)).well();
        assert!(!said.contains('\x1b') && said.contains("$'"), "{args:?}: {said}");
        assert!(!said.lines().any(|line| line.starts_with("2026-01-01")), "{said}");
    }
    let said = run(called("bento").args(["prov", "why", &image, "no\nsuch\x1b[2J"]));
    said.badly(1, &["$'/no\\nsuch\\x1B[2J': there is no such file"]);
    let log = run(called("bento").args(["prov", "log", &image])).well();
    assert!(log.contains("$'/caf\\xE9'") && log.contains(" /plain  by "), "{log}");
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&run(called("bento").args(args).arg("--json")).well()).unwrap()
    };
    let has = |list: &Value, key: &str, text: &str, bytes: Value| {
        let list = list.as_array().unwrap();
        list.iter().any(|item| item[key] == text && item[format!("{key}_bytes")] == bytes)
    };
    let log = json(&["prov", "log", &image]);
    assert!(has(&log["records"], "path", "/caf\u{fffd}", "2f636166e9".into()), "{log:#}");
    assert!(has(&log["records"], "path", &format!("/{forged_text}"), Value::Null), "{log:#}");
    let dir = json(&["dump", &image, "dir", "1"]);
    assert!(has(&dir["entries"], "name", "caf\u{fffd}", "636166e9".into()), "{dir:#}");
    assert!(has(&dir["entries"], "name", "plain", Value::Null), "{dir:#}");
}

#[test]
fn a_label_and_a_path_are_quoted_too() {
    let place = Place::empty();
    let image = place.path("i\n\x1b[2J.img");
    let made = run(called("mkfs.bento").args(["-L", "l\n\x1b[2J"]).arg(&image).arg("16m")).well();
    let info = run(called("bento").arg("info").arg(&image)).well();
    let checked = run(called("fsck.bento").arg("-n").arg(&image)).well();
    let none = run(called("bento").arg("mount").arg(place.path("n\x1b[2J")).arg(place.dir()));
    for said in [&made, &info, &checked, &none.said] {
        assert!(!said.contains('\x1b') && said.contains("\\x1B"), "{said}");
    }
    assert_eq!(info.lines().filter(|line| line.starts_with("Label")).count(), 1);
    assert!(info.contains("Label     $'l\\n"), "{info}");
}
