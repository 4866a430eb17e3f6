//! Files without a name, open when the daemon is killed.

use super::Place;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

const O_TMPFILE: i32 = 0o20_200_000;
const FILES: u64 = 50_000;
/// One process may not have so many files open.
const PROCESSES: u64 = 5;
/// Tells the runs of this test that hold files open where.
const WHERE: &str = "BENTO_TEST_NAMELESS_IN";
const SAYS: &str = "they are open";

fn hold_files_open(dir: &Path) {
    let nameless = |_| {
        let mut file = OpenOptions::new().write(true).custom_flags(O_TMPFILE).open(dir).unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file
    };
    let files: Vec<File> = (0..FILES / PROCESSES).map(nameless).collect();
    println!("\n{SAYS}");
    // Until the other side closes the pipe.
    std::io::stdin().lines().for_each(drop);
    drop(files);
}

/// A process that holds its share of the files open, and its end of the pipe.
type Holder = (Child, BufReader<ChildStdout>);

/// The files are open when this returns.
fn holder(dir: &Path) -> Holder {
    let name = "orphans::fifty_thousand_nameless_files_that_were_open_at_a_kill_give_their_space_back";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(WHERE, dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    assert!(said.by_ref().lines().map_while(Result::ok).any(|line| line == SAYS));
    (child, said)
}

#[test]
fn fifty_thousand_nameless_files_that_were_open_at_a_kill_give_their_space_back() {
    if let Some(dir) = std::env::var_os(WHERE) {
        return hold_files_open(Path::new(&dir));
    }
    let place = Place::with_image(1024);
    let daemon = place.serve("commit=3600");
    let statfs = || rustix::fs::statvfs(place.dir()).unwrap();
    let (blocks, inodes) = (statfs().f_bfree, statfs().f_ffree);
    let opening = Instant::now();
    let holders: Vec<Holder> = (0..PROCESSES).map(|_| holder(&place.dir())).collect();
    let opening = opening.elapsed();
    File::open(place.dir()).unwrap().sync_all().unwrap();
    assert_eq!(statfs().f_ffree, inodes - FILES);
    daemon.kill();
    for (mut holder, said) in holders {
        drop(holder.stdin.take());
        said.lines().for_each(drop);
        assert!(holder.wait().unwrap().success());
    }
    place.check().well();
    let mounting = Instant::now();
    let said = place.mount("").well();
    let mounting = mounting.elapsed();
    assert!(said.contains(&format!("took away {FILES} files")), "{said}");
    File::open(place.dir()).unwrap().sync_all().unwrap();
    assert_eq!(statfs().f_ffree, inodes);
    // What lists the files may have grown.
    let lists = FILES / 256;
    assert!(statfs().f_bfree >= blocks - lists, "{} of {blocks}", statfs().f_bfree);
    place.umount().well();
    place.expect_clean();
    println!("{FILES} files: opened in {opening:?}, mounted in {mounting:?}: {}", said.trim_end());
}
