//! `bento prov` on a mount and on an image: who did what, as processes that did it.

use super::Place;
use super::place::{Ended, called, run};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn prov(args: &[&str]) -> Ended {
    run(called("bento").arg("prov").args(args))
}

fn json(args: &[&str]) -> Value {
    let said = run(called("bento").arg("prov").args(args).arg("--json")).well();
    serde_json::from_str(&said).unwrap()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs a shell in which each command is a process of its own.
fn shell(place: &Place, script: &str) {
    let done = Command::new("sh").arg("-ec").arg(script).current_dir(place.dir()).status().unwrap();
    assert!(done.success(), "{script}");
}

fn all<'v>(records: &'v Value, what: &str) -> Vec<&'v Value> {
    records.as_array().unwrap().iter().filter(|record| record["what"] == what).collect()
}

fn command(record: &Value) -> &str {
    record["process"]["command"].as_str().unwrap()
}

#[test]
fn why_names_the_processes_and_the_names_of_a_file_on_a_mount_and_in_the_image() {
    let place = Place::with_image(64);
    place.mount("prov").well();
    shell(
        &place,
        "mkdir desk; touch desk/new; cp /etc/hostname desk/new; mv desk/new result; touch other; rm other",
    );
    let result = text(&place.file("result"));
    let on_mount = json(&["why", &result]);
    let chain = &on_mount["chain"];
    let (made, moved) = (all(chain, "create"), all(chain, "rename"));
    assert_eq!((made.len(), moved.len()), (1, 1), "{on_mount:#}");
    assert_eq!((command(made[0]), command(moved[0])), ("touch", "mv"));
    assert_eq!(moved[0]["path"], "/desk/new");
    assert_eq!(moved[0]["to"], "/result");
    let written = all(chain, "write");
    assert_eq!(written.iter().map(|record| command(record)).collect::<Vec<_>>(), ["cp"]);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(made[0]["process"]["boot"], boot.trim());
    assert!(
        made[0]["process"]["start"].as_u64().unwrap() > 0 && made[0]["process"]["pid"].as_u64().unwrap() > 0
    );
    assert_eq!(on_mount["complete"], true);
    let said = prov(&["why", &result]).well();
    for part in ["/desk/new -> /result", "by mv[", "by touch[", "write"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    place.umount().well();
    let in_image = json(&["why", &text(&place.image()), "/result"]);
    assert_eq!((&in_image["chain"], &in_image["processes"]), (chain, &on_mount["processes"]));
    place.expect_clean();
}

#[test]
fn the_log_of_a_path_tells_of_what_is_gone_and_a_directorys_of_its_names() {
    let place = Place::with_image(64);
    place.mount("prov").well();
    shell(&place, "mkdir d; touch d/a; mv d/a d/b; rm d/b; touch elsewhere");
    let gone = json(&["log", &text(&place.file("d/b"))]);
    let whats: Vec<_> =
        gone["records"].as_array().unwrap().iter().map(|record| record["what"].clone()).collect();
    assert_eq!(whats, ["create", "rename", "unlink"]);
    assert_eq!(gone["exists"], false);
    let dir = json(&["log", &text(&place.file("d"))]);
    assert_eq!(dir["records"].as_array().unwrap().len(), 4, "{dir:#}");
    let everything = json(&["log", &text(&place.dir())]);
    assert_eq!(everything["records"].as_array().unwrap().len(), 5);
    assert_eq!(everything["gaps"].as_array().unwrap().len(), 1, "nothing was recorded before");
    prov(&["log", &text(&place.file("d/none"))]).badly(1, &["d/none", "no record"]);
    prov(&["log", &text(&place.file("no/such"))]).badly(1, &["no"]);
    place.umount().well();
}

#[test]
fn provenance_is_turned_on_and_off_under_a_mount_and_says_what_it_did_not_see() {
    let place = Place::with_image(64);
    place.mount("").well();
    shell(&place, "echo before > before");
    prov(&["log", &text(&place.dir())]).badly(1, &["no provenance", "bento upgrade --to bento-prov"]);
    let upgrade = |to: &str| run(called("bento").args(["upgrade", "--to", to]).arg(place.dir())).well();
    assert!(upgrade("bento-prov").contains("bento-prov"));
    shell(&place, "touch first; echo x >> before");
    upgrade("bento-fs");
    shell(&place, "touch unseen");
    upgrade("bento-prov");
    shell(&place, "touch second; echo y >> before");
    let log = json(&["log", &text(&place.dir())]);
    let paths: Vec<_> = all(&log["records"], "create").iter().map(|record| record["path"].clone()).collect();
    assert_eq!(paths, ["/first", "/second"]);
    assert_eq!(log["gaps"].as_array().unwrap().len(), 2, "{log:#}");
    let before = json(&["log", &text(&place.file("before"))]);
    assert_eq!(all(&before["records"], "write").len(), 2, "{before:#}");
    let said = prov(&["why", &text(&place.file("before"))]).well();
    assert!(
        said.contains("made while nothing was recorded") && said.contains("not recorded: until"),
        "{said}"
    );
    place.umount().well();
    prov(&["why", &text(&place.image()), "unseen"]).badly(1, &["no record tells of it"]);
    place.expect_clean();
}

#[test]
fn each_open_file_is_recorded_when_it_is_first_written_to_and_not_again() {
    let place = Place::with_image(64);
    place.mount("prov").well();
    shell(&place, "exec 3> a; echo 1 >&3; echo 2 >&3; exec 3>> a; echo 3 >&3; echo 4 > b; cat a > /dev/null");
    let writes = |name: &str| all(&json(&["log", &text(&place.file(name))])["records"], "write").len();
    assert_eq!((writes("a"), writes("b")), (2, 1));
    place.umount().well();
}

#[test]
fn a_killed_daemons_records_are_read_from_the_dirty_image_without_writing_to_it() {
    let place = Place::with_image(64);
    let daemon = place.serve("prov,commit=3600");
    shell(&place, "touch kept; sync kept");
    daemon.kill();
    let before = fs::read(place.image()).unwrap();
    let log = json(&["log", &text(&place.image())]);
    assert_eq!(all(&log["records"], "create").len(), 1);
    assert!(fs::read(place.image()).unwrap() == before, "asking changes nothing");
}

#[test]
fn what_is_no_volume_is_named() {
    let place = Place::with_image(64);
    prov(&["log", "/proc/self"]).badly(1, &["/proc/self", "neither"]);
    prov(&["log", &text(&place.image())]).badly(1, &["no provenance"]);
    prov(&["log", &text(&place.path("missing"))]).badly(1, &["missing"]);
}

#[test]
fn whoever_reads_only_the_start_ends_it_in_peace() {
    let place = Place::with_image(64);
    place.mount("prov").well();
    shell(&place, "i=0; while [ $i -lt 1500 ]; do : > f$i; i=$((i + 1)); done");
    place.umount().well();
    let script = format!("{} prov log {} | head -n 1", env!("CARGO_BIN_EXE_bento"), text(&place.image()));
    let ended = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}
