//! An image, a directory to mount it on, and the command to do it with.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What takes longer than this has failed.
pub const BUDGET: Duration = Duration::from_secs(60);

/// `f_type` of statfs(2).
const FUSE: i64 = 0x6573_5546;

/// A command that has ended: its exit status, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub said: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let said = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
        Self { status: output.status.code().expect("no signal ended it"), said }
    }

    /// It went well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.status, 0, "{}", self.said);
        self.said
    }

    /// It failed with this status, and said all of this.
    #[track_caller]
    pub fn badly(self, status: i32, said: &[&str]) {
        assert_eq!(self.status, status, "{}", self.said);
        for part in said {
            assert!(self.said.contains(part), "it should say {part:?}: {}", self.said);
        }
        let lines = self.said.trim_end().lines().count();
        assert!((1..=2).contains(&lines), "a message has a line or two: {}", self.said);
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    Ended::of(&command.stdin(Stdio::null()).output().expect("it can be started"))
}

/// For tests that make a mount namespace, which has the mounts of all others too, and for those whom that disturbs: a device is in
/// use for as long as any namespace has it mounted. One of them goes on at a time, also in other processes.
pub fn alone_with_mounts() -> File {
    let file = File::create(std::env::temp_dir().join("bento-test-mounts.lock")).unwrap();
    file.lock().unwrap();
    file
}

/// The program under one of its names.
pub fn called(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bento"));
    command.arg0(name);
    command
}

/// Puts a copy of the program where every user may run it. By cp(1): a file that this process had open for writing could
/// still be open in a process that another test is just starting, and then it cannot be run.
pub fn copy_program(to: &Path) {
    run(Command::new("cp").arg(env!("CARGO_BIN_EXE_bento")).arg(to)).well();
}

/// A directory of the test's own, with an image and a mount point in it. Nothing of it is left behind.
pub struct Place {
    top: TempDir,
}

impl Place {
    /// An image of so many mebibytes, with an empty file system.
    pub fn with_image(mebibytes: u64) -> Self {
        let place = Self::empty();
        let file = fs::File::create(place.image()).unwrap();
        file.set_len(mebibytes << 20).unwrap();
        run(called("mkfs.bento").arg("-q").arg(place.image())).well();
        place
    }

    /// A mount point alone.
    pub fn empty() -> Self {
        let place = Self { top: tempfile::tempdir().unwrap() };
        fs::create_dir(place.dir()).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    pub fn image(&self) -> PathBuf {
        self.path("volume.img")
    }

    pub fn dir(&self) -> PathBuf {
        self.path("dir")
    }

    /// A path in the mounted volume.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// `bento mount`, which returns when the daemon serves.
    pub fn mount(&self, options: &str) -> Ended {
        self.mount_of(&self.image(), &self.dir(), options)
    }

    pub fn mount_of(&self, source: &Path, dir: &Path, options: &str) -> Ended {
        let mut command = called("bento");
        command.arg("mount").arg(source).arg(dir);
        if !options.is_empty() {
            command.arg("-o").arg(options);
        }
        run(&mut command)
    }

    /// `bento umount`, which returns when the volume is clean.
    pub fn umount(&self) -> Ended {
        run(called("bento").arg("umount").arg(self.dir()))
    }

    /// `fsck.bento -n -f`.
    pub fn check(&self) -> Ended {
        run(called("fsck.bento").args(["-n", "-f"]).arg(self.image()))
    }

    /// `mount -o remount`, as the helper gets it.
    pub fn remount(&self, options: &str) -> Ended {
        let options = format!("remount,{options}");
        run(called("mount.fuse.bento").arg(self.image()).arg(self.dir()).arg("-o").arg(options))
    }

    /// A daemon that is a child of the test; serving when this returns.
    pub fn serve(&self, options: &str) -> Daemon {
        self.serve_from(&self.image(), options)
    }

    /// The same for a block device.
    pub fn serve_device(&self, device: &Path) -> Daemon {
        self.serve_from(device, "")
    }

    fn serve_from(&self, source: &Path, options: &str) -> Daemon {
        self.serve_by(called("bento").arg("mount"), source, options)
    }

    /// The same by a command that so far says how `bento mount` is started.
    pub fn serve_by(&self, command: &mut Command, source: &Path, options: &str) -> Daemon {
        command.arg("-f").arg(source).arg(self.dir());
        command.args(["-o", if options.is_empty() { "defaults" } else { options }]);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        while !self.is_ready() {
            assert!(child.try_wait().unwrap().is_none(), "{:?}", child.wait_with_output());
            assert!(start.elapsed() < BUDGET);
            std::thread::sleep(Duration::from_millis(2));
        }
        Daemon { child: Some(child) }
    }

    /// Whether a daemon serves the mount point, and its own first look at the mount is over: that keeps it busy.
    fn is_ready(&self) -> bool {
        // A dead mount that is being replaced does not answer this, and no mount is of another type. It waits for INIT.
        if !rustix::fs::statfs(self.dir()).is_ok_and(|found| found.f_type == FUSE) {
            return false;
        }
        let Ok(found) = rustix::fs::stat(self.dir()) else { return false };
        let (major, minor) = (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
        // How far the kernel reads ahead is set behind that look.
        ["", "-fuseblk"].iter().any(|kind| {
            let path = format!("/sys/class/bdi/{major}:{minor}{kind}/read_ahead_kb");
            fs::read_to_string(path).is_ok_and(|kib| kib.trim() == "1024")
        })
    }

    /// Whether a volume is on the mount point, living or dead.
    pub fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4).map(Path::new) == Some(&*self.dir()))
    }

    /// A field of `bento info --json`.
    pub fn info(&self, field: &str) -> serde_json::Value {
        let said = run(called("bento").args(["info", "--json"]).arg(self.image())).well();
        serde_json::from_str::<serde_json::Value>(&said).unwrap()[field].clone()
    }

    /// The image was left by a clean unmount, and nothing is wrong with it.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert_eq!(self.info("state"), "clean");
        self.check().well();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed may leave it mounted; its daemon ends with the mount.
        if self.is_mounted() {
            let _ = Command::new("umount").arg("-l").arg(self.dir()).status();
        }
    }
}

/// A daemon in the foreground.
pub struct Daemon {
    child: Option<Child>,
}

impl Daemon {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().unwrap();
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The most memory that it had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let start = Instant::now();
        while self.lives() {
            assert!(start.elapsed() < BUDGET, "the daemon did not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ended::of(&self.child.take().unwrap().wait_with_output().unwrap())
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
