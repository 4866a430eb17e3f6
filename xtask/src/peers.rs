//! The file systems that a run can be made on: ours and its peers, each on a fresh image.
//!
//! A FUSE server runs in the foreground as our child, so that its end is seen: an unmounted volume
//! is one whose server has exited.

use crate::build::{self, Bento, release_program};
use crate::setup;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A file system to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// Ours, over FUSE.
    Bento,
    /// Ours, in the kernel.
    BentoKernel,
    /// An in-memory file system behind our FUSE host: what the host alone costs.
    Ceiling,
    /// ext4's userspace server.
    Fuse2fs,
    /// ext4 in the kernel, data=ordered.
    Ext4Ordered,
    /// ext4 in the kernel, data=journal.
    Ext4Journal,
    /// The kernel's own file system in memory: what system calls cost where no file system does any work.
    Tmpfs,
}

impl System {
    /// Every system, in the order of the tables.
    pub const ALL: [System; 7] = [
        System::BentoKernel,
        System::Bento,
        System::Ceiling,
        System::Fuse2fs,
        System::Ext4Ordered,
        System::Ext4Journal,
        System::Tmpfs,
    ];

    /// Those that are measured against each other outside a guest.
    pub const OUTSIDE: [System; 5] =
        [System::Bento, System::Ceiling, System::Fuse2fs, System::Ext4Ordered, System::Ext4Journal];

    /// Those that are measured against each other in one.
    pub const IN_GUEST: [System; 5] =
        [System::BentoKernel, System::Bento, System::Ext4Ordered, System::Ext4Journal, System::Tmpfs];

    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            System::Bento if build::in_guest() => "bento-fuse",
            System::Bento => "bento",
            System::BentoKernel => "bento-kernel",
            System::Ceiling => "ceiling",
            System::Fuse2fs => "fuse2fs",
            System::Ext4Ordered => "ext4-ordered",
            System::Ext4Journal => "ext4-journal",
            System::Tmpfs => "tmpfs",
        }
    }

    /// Whether its content is gone when it is unmounted.
    fn is_volatile(self) -> bool {
        matches!(self, System::Ceiling | System::Tmpfs)
    }
}

/// The programs of one system, found or built.
pub enum Programs {
    /// Bento's, under all its names.
    Bento(Bento),
    /// The in-memory file system's one program.
    Memfs(PathBuf),
    /// Those of the operating system.
    Native,
}

/// Finds or builds what `system` takes; the error says what is missing.
pub fn programs(system: System) -> Result<Programs> {
    match system {
        System::Bento | System::BentoKernel => Ok(Programs::Bento(Bento::build()?)),
        System::Ceiling => Ok(Programs::Memfs(release_program("bento-memfs", "memfs")?)),
        System::Fuse2fs => {
            setup::need(&[setup::FUSE2FS])?;
            Ok(Programs::Native)
        }
        System::Ext4Ordered | System::Ext4Journal => {
            setup::need(&[setup::EXT4])?;
            Ok(Programs::Native)
        }
        System::Tmpfs => Ok(Programs::Native),
    }
}

/// Options of a new volume.
pub struct Shape<'a> {
    /// Where the image, the mount point and the server's log go.
    pub place: &'a Path,
    /// Size of the image in bytes.
    pub size: u64,
    /// A block device to use in place of an image.
    pub device: Option<&'a Path>,
    /// Further mount options, comma-separated, for the systems that take them.
    pub options: &'a str,
}

/// A mounted image; unmounts and removes itself.
pub struct Volume<'a> {
    system: System,
    programs: &'a Programs,
    image: PathBuf,
    is_device: bool,
    dir: PathBuf,
    log: PathBuf,
    options: String,
    server: Option<Child>,
}

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

impl<'a> Volume<'a> {
    /// Makes a fresh image and mounts it.
    pub fn create(system: System, programs: &'a Programs, shape: &Shape) -> Result<Volume<'a>> {
        let mut volume = Volume::describe(system, programs, shape)?;
        if !volume.is_device && !system.is_volatile() {
            let image = File::create(&volume.image).with_context(|| volume.image.display().to_string())?;
            image.set_len(shape.size)?;
        }
        if !system.is_volatile() {
            volume.make_file_system()?;
        }
        volume.mount()?;
        Ok(volume)
    }

    /// Mounts what is there.
    pub fn open(system: System, programs: &'a Programs, shape: &Shape) -> Result<Volume<'a>> {
        let mut volume = Volume::describe(system, programs, shape)?;
        volume.mount()?;
        Ok(volume)
    }

    fn describe(system: System, programs: &'a Programs, shape: &Shape) -> Result<Volume<'a>> {
        let base = shape.place.join(system.name());
        let volume = Volume {
            system,
            programs,
            image: shape.device.map_or_else(|| base.with_extension("img"), Path::to_path_buf),
            is_device: shape.device.is_some(),
            dir: shape.place.join("mnt"),
            log: base.with_extension("log"),
            options: shape.options.to_string(),
            server: None,
        };
        std::fs::create_dir_all(&volume.dir).with_context(|| volume.dir.display().to_string())?;
        Ok(volume)
    }

    /// The mount point.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn make_file_system(&self) -> Result<()> {
        match self.programs {
            Programs::Bento(bento) => {
                // Zeroing all of a large disk of user-mode Linux would allocate all of its file.
                setup::quiet(bento.command("mkfs.bento").args(["-q", "-f", "-K"]).arg(&self.image))
            }
            Programs::Memfs(_) => Ok(()),
            Programs::Native => {
                // As many inodes as the workloads need; no lazy work in the middle of a measurement.
                let mut command = Command::new("mke2fs");
                command.args(["-q", "-F", "-t", "ext4", "-N", "200000"]);
                command.args(["-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]);
                setup::quiet(command.arg(&self.image))
            }
        }
    }

    fn server_command(&self) -> Option<Command> {
        let mut command = match (self.programs, self.system) {
            (_, System::BentoKernel) => return None,
            (Programs::Bento(bento), _) => {
                let mut command = bento.command("bento");
                command.arg("mount").arg(&self.image).arg(&self.dir).arg("-f");
                command
            }
            (Programs::Memfs(program), _) => {
                let mut command = Command::new(program);
                command.arg(&self.dir).arg("-f");
                command
            }
            (Programs::Native, System::Fuse2fs) => {
                let mut command = Command::new("fuse2fs");
                command.arg(&self.image).arg(&self.dir).arg("-f");
                command
            }
            (Programs::Native, _) => return None,
        };
        if !self.options.is_empty() && !matches!(self.programs, Programs::Memfs(_)) {
            command.arg("-o").arg(&self.options);
        }
        Some(command)
    }

    /// Mounts the image.
    pub fn mount(&mut self) -> Result<()> {
        let Some(mut command) = self.server_command() else { return self.mount_in_kernel() };
        let log = File::create(&self.log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server = command.spawn().with_context(|| format!("{command:?}"))?;
        let start = Instant::now();
        while mount_state(&self.dir) != MountState::Alive {
            if let Some(status) = server.try_wait()? {
                bail!("{command:?}: {status}: {}", self.log_text());
            }
            if start.elapsed() > PATIENCE {
                server.kill()?;
                server.wait()?;
                bail!("{command:?} mounted nothing in {} s: {}", PATIENCE.as_secs(), self.log_text());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.server = Some(server);
        Ok(())
    }

    fn mount_in_kernel(&self) -> Result<()> {
        let (kind, mode) = match self.system {
            System::BentoKernel => ("bento", self.options.as_str()),
            System::Ext4Journal => ("ext4", "data=journal"),
            System::Tmpfs => ("tmpfs", ""),
            _ => ("ext4", ""),
        };
        let on_image = !self.is_device && !self.system.is_volatile();
        let options: Vec<&str> = [if on_image { "loop" } else { "" }, mode]
            .into_iter()
            .filter(|option| !option.is_empty())
            .collect();
        let mut mount = Command::new("mount");
        mount.args(["-t", kind]);
        if !options.is_empty() {
            mount.arg("-o").arg(options.join(","));
        }
        setup::quiet(mount.arg(&self.image).arg(&self.dir))
    }

    /// Unmounts, and waits until the server is gone: the image is complete from here on.
    pub fn unmount(&mut self) -> Result<()> {
        setup::quiet(Command::new("umount").arg(&self.dir))?;
        let Some(mut server) = self.server.take() else { return Ok(()) };
        let start = Instant::now();
        loop {
            match server.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    bail!("the server of {} ended with {status}: {}", self.name(), self.log_text())
                }
                None if start.elapsed() > PATIENCE => {
                    server.kill()?;
                    server.wait()?;
                    bail!("the server of {} did not end after umount: {}", self.name(), self.log_text());
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Kills the server as a crash would. Ours clears the dead mount away when it mounts again; for
    /// the others it is done here.
    pub fn kill_server(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no server of ours to kill")?;
        server.kill()?;
        server.wait()?;
        if self.system == System::Bento {
            return Ok(());
        }
        setup::quiet(Command::new("umount").arg("-l").arg(&self.dir))
    }

    /// Empties every cache above the image: by a new mount, or, where that would lose the content,
    /// by asking the kernel (which empties everybody's).
    pub fn chill(&mut self) -> Result<()> {
        if self.system.is_volatile() {
            rustix::fs::sync();
            return std::fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches");
        }
        self.unmount()?;
        self.mount()
    }

    /// Checks the unmounted image with the system's own checker.
    pub fn check(&self) -> Result<()> {
        match self.programs {
            Programs::Bento(bento) => {
                setup::quiet(bento.command("fsck.bento").args(["-n", "-f"]).arg(&self.image))
            }
            Programs::Memfs(_) => Ok(()),
            Programs::Native if self.system.is_volatile() => Ok(()),
            Programs::Native => setup::quiet(Command::new("e2fsck").args(["-n", "-f"]).arg(&self.image)),
        }
    }

    fn name(&self) -> &'static str {
        self.system.name()
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default().trim().to_string()
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        // Whatever went wrong before has been reported; here only nothing may be left behind.
        if mount_state(&self.dir) != MountState::Absent {
            let _ = Command::new("umount").arg("-l").arg(&self.dir).stderr(Stdio::null()).status();
        }
        if let Some(mut server) = self.server.take() {
            let start = Instant::now();
            while matches!(server.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        if !self.is_device {
            let _ = std::fs::remove_file(&self.image);
        }
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// What a directory is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountState {
    /// Nothing is mounted there.
    Absent,
    /// A file system answers.
    Alive,
    /// A FUSE mount whose server is gone: everything there answers ENOTCONN.
    Dead,
}

/// What is mounted on `dir`.
pub fn mount_state(dir: &Path) -> MountState {
    let Some(parent) = dir.parent().and_then(|parent| parent.metadata().ok()) else {
        return MountState::Absent;
    };
    match dir.metadata() {
        // The kernel may answer stat from its cache after the server died; statfs is never cached.
        Ok(own) if own.dev() != parent.dev() => match rustix::fs::statfs(dir) {
            Ok(_) => MountState::Alive,
            Err(_) => MountState::Dead,
        },
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error()) => {
            MountState::Dead
        }
        _ => MountState::Absent,
    }
}
