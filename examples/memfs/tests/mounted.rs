//! The program, mounted; needs root and /dev/fuse.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The running program; unmounted whatever happens to the test.
struct Mounted<'d>(Child, &'d Path);

impl<'d> Mounted<'d> {
    fn on(dir: &'d Path) -> Self {
        let device = fs::metadata(dir).unwrap().dev();
        let program = Command::new(env!("CARGO_BIN_EXE_memfs")).arg(dir).arg("-f").spawn().unwrap();
        let mounted = Self(program, dir);
        let started = Instant::now();
        while fs::metadata(dir).unwrap().dev() == device {
            assert!(started.elapsed() < Duration::from_secs(20), "nothing is mounted");
            std::thread::sleep(Duration::from_millis(5));
        }
        mounted
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.1).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
        assert!(self.0.wait().is_ok_and(|status| status.success()));
    }
}

#[test]
fn files_are_kept_until_it_is_unmounted() {
    let dir = tempfile::tempdir().unwrap();
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    {
        let _mounted = Mounted::on(dir.path());
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), &data).unwrap();
        fs::rename(dir.path().join("a/b/file"), dir.path().join("a/moved")).unwrap();
        fs::hard_link(dir.path().join("a/moved"), dir.path().join("linked")).unwrap();
        assert!(fs::read(dir.path().join("linked")).unwrap() == data);
        assert!(fs::remove_dir(dir.path().join("a")).is_err());
        fs::remove_dir(dir.path().join("a/b")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
