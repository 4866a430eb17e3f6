//! `cargo xtask vm` and `cargo xtask uml`: what they share.

use super::guest::{Boot, Guest, Job};
use super::kbuild::{self, Modules};
use super::place::Places;
use super::programs;
use super::source::Build;
use super::toolbox::Toolbox;
use super::tree::Kernel;
use super::userland;
use super::verdict::Verdict;
use super::{qemu, uml};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Boot a kernel of Debian's in QEMU, by software emulation, and run a command in it.
#[derive(Args)]
pub struct VmOptions {
    /// The kernel to boot
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// A kernel built from its source, with KASAN and all checks of locks
    #[arg(long, conflicts_with = "kernel")]
    debug_kernel: bool,
    /// Processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    #[command(flatten)]
    common: Options,
}

/// Boot user-mode Linux and run a command in it.
#[derive(Args)]
pub struct UmlOptions {
    /// Without lockdep and the other checks, for measuring
    #[arg(long)]
    fast: bool,
    /// Processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    #[command(flatten)]
    common: Options,
}

/// What a guest is given.
#[derive(Args, Clone, Default)]
pub struct Options {
    /// Memory in MiB
    #[arg(long, default_value_t = 1024)]
    pub memory: u32,
    /// A disk: a size such as 512M (empty, gone afterwards), or a file (kept). In the guest, $DISKS names them
    #[arg(long = "disk", value_name = "SIZE|FILE", default_values_t = ["1G".to_string(), "1G".to_string()])]
    pub disks: Vec<String>,
    /// Only the modules and busybox, no Debian around them
    #[arg(long)]
    pub bare: bool,
    /// Without Bento's own programs, when only the modules matter
    #[arg(long)]
    pub no_programs: bool,
    /// A directory whose files the guest finds in /bento/files
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// Where the files go that the guest leaves in /out
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// End the guest after so many seconds (a shell: never)
    #[arg(long, default_value_t = 600)]
    pub timeout: u64,
    /// Kill the guest, as a power cut would, when its command prints this line; that is no failure
    #[arg(long, value_name = "LINE")]
    pub power_cut: Option<String>,
    /// Let time pass by instructions, a nanosecond each, so that other work on this machine costs the guest none; one
    /// processor, and not in user-mode Linux
    #[arg(long)]
    pub instruction_clock: bool,
    /// Further words for the kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub append: String,
    /// An image to take in place of the user land that guests have
    #[arg(skip)]
    pub userland: Option<PathBuf>,
    /// What to run; one word is a line of shell. Nothing: a shell for you
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Runs `cargo xtask vm`.
pub fn vm(options: &VmOptions) -> Result<ExitCode> {
    let kernel = if options.debug_kernel { Kernel::Debug } else { options.kernel };
    if kernel.series().is_none() && kernel != Kernel::Debug {
        bail!("a virtual machine takes one of Debian's kernels, or the debug kernel");
    }
    Ok(boot(kernel, &options.common, options.cpus)?.exit_code())
}

/// Runs `cargo xtask uml`.
pub fn uml(options: &UmlOptions) -> Result<ExitCode> {
    let kernel = if options.fast { Kernel::UmlFast } else { Kernel::Uml };
    Ok(boot(kernel, &options.common, options.cpus)?.exit_code())
}

/// Boots any kernel for the command in the options, and tells how that ended.
pub fn boot(kernel: Kernel, options: &Options, cpus: u32) -> Result<Verdict> {
    let mut session = Session::new(kernel, options)?;
    match kernel {
        Kernel::Uml => uml::boot(&session, Build::Checked, cpus),
        Kernel::UmlFast => uml::boot(&session, Build::Fast, cpus),
        Kernel::Running => bail!("no guest runs the kernel of this machine"),
        Kernel::V6_1 | Kernel::V6_12 | Kernel::V7_2 | Kernel::Debug => {
            qemu::boot(&mut session, kernel.series(), cpus)
        }
    }
}

impl Options {
    /// A guest with all that is ours, and two disks, for a line of shell.
    pub fn for_command(line: &str) -> Options {
        Options {
            memory: 1024,
            disks: vec!["1G".into(), "1G".into()],
            timeout: 600,
            command: vec![line.to_string()],
            ..Options::default()
        }
    }
}

/// One run of a guest, before it starts.
pub struct Session<'a> {
    /// Where things lie.
    pub places: Places,
    /// What programs are taken from.
    pub toolbox: Toolbox,
    /// The modules that the guest gets.
    pub modules: Modules,
    /// What it was asked for.
    pub options: &'a Options,
    /// The image of Debian's user land, unless the guest shall go without.
    pub userland: Option<PathBuf>,
    /// Files of this run, gone at its end.
    pub dir: TempDir,
    was_cut: AtomicBool,
}

impl<'a> Session<'a> {
    /// Builds everything that the guest needs.
    pub fn new(kernel: Kernel, options: &'a Options) -> Result<Session<'a>> {
        let places = Places::find()?;
        let modules = kbuild::build(&places, kernel)?;
        let toolbox = Toolbox::open(&places)?;
        let userland = match &options.userland {
            _ if options.bare => None,
            Some(image) => Some(image.clone()),
            None => Some(userland::image(&places, &toolbox)?),
        };
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&places.build)?;
        Ok(Session { places, toolbox, modules, options, userland, dir, was_cut: AtomicBool::new(false) })
    }

    /// What the guest is to do.
    pub fn job(&self) -> Job<'_> {
        if self.is_shell() { Job::Shell } else { Job::Command(&self.options.command) }
    }

    /// Writes the initial file system, and returns its place.
    pub fn write_archive(&self, boot: &Boot, drivers: &[PathBuf]) -> Result<PathBuf> {
        // Runs at the same time share the layout: one changes it while no other reads it.
        let _lock = self.places.lock_build(&format!("{}-guest", self.modules.release))?;
        let guest = Guest::lay_out(&self.places, &self.toolbox, &self.modules, drivers)?;
        if !self.options.no_programs {
            programs::install(&self.places, &guest.tools())?;
        }
        if let Some(files) = &self.options.files {
            guest.add_files(files)?;
        }
        let archive = guest.archive(&self.toolbox, boot, &self.job(), self.userland.is_some())?;
        let path = self.dir.path().join("initrd");
        fs::write(&path, archive)?;
        Ok(path)
    }

    /// The disks' files, made where a size was given.
    pub fn disks(&self) -> Result<Vec<PathBuf>> {
        self.options.disks.iter().enumerate().map(|(number, disk)| self.disk(number, disk)).collect()
    }

    fn disk(&self, number: usize, disk: &str) -> Result<PathBuf> {
        let Some(size) = size_of(disk) else {
            return Path::new(disk)
                .canonicalize()
                .with_context(|| format!("{disk} is neither a size nor a file"));
        };
        let path = self.dir.path().join(format!("disk{number}"));
        File::create(&path)?.set_len(size)?;
        Ok(path)
    }

    /// Whether a person sits at the guest's terminal.
    pub fn is_shell(&self) -> bool {
        self.options.command.is_empty()
    }

    /// Runs the guest to its end or its time limit; returns nothing if it was the limit.
    ///
    /// What the command prints is ours; standard error, where piped, is the kernel's and goes to its file.
    pub fn run(&self, mut command: Command) -> Result<Option<ExitStatus>> {
        let mut child = command.spawn().context("starting the guest")?;
        // Held open: a guest that sees the end of its input would think that its terminal went away.
        let _input = child.stdin.take();
        let cut = Arc::new(AtomicBool::new(false));
        let watch = self.options.power_cut.clone().map(|line| (line, Arc::clone(&cut)));
        let output = child.stdout.take().map(|from| copy(from, std::io::stdout(), watch));
        let messages = match child.stderr.take() {
            Some(from) => Some(copy(from, File::create(self.console())?, None)),
            None => None,
        };
        let limit = (!self.is_shell()).then(|| Duration::from_secs(self.options.timeout));
        let status = wait(&mut child, limit, &cut)?;
        if cut.load(Ordering::Relaxed) {
            self.was_cut.store(true, Ordering::Relaxed);
        }
        for copying in [output, messages].into_iter().flatten() {
            // It ends with the pipe, and an error of ours to write is no matter of the guest's.
            let _ = copying.join();
        }
        Ok(status)
    }

    /// Reads how it ended, and keeps the kernel's messages where the next run of this kernel leaves its own.
    pub fn verdict(&self, status: Option<u8>, was_cut_off: bool) -> Result<Verdict> {
        let console = self.places.build.join(&self.modules.release).join("console.log");
        fs::copy(self.console(), &console).with_context(|| console.display().to_string())?;
        // The end that was asked for.
        let power_cut = self.was_cut.load(Ordering::Relaxed);
        let status = if power_cut { Some(0) } else { status };
        Ok(Verdict::new(status, was_cut_off && !power_cut, &console))
    }

    /// Where the guest's kernel writes its messages.
    pub fn console(&self) -> PathBuf {
        self.dir.path().join("console")
    }
}

/// The status in a guest's report, if it got so far.
pub fn reported(report: &[u8]) -> Option<u8> {
    let text = String::from_utf8_lossy(report);
    text.lines().find_map(|line| line.trim().strip_prefix("EXIT ")?.parse().ok())
}

/// A size such as `64M` in bytes; nothing if it is none.
fn size_of(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_shl(shift)
}

/// Copies a stream to its end, at its pace; raises the flag when it sees the line that it watches for.
fn copy(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    watch: Option<(String, Arc<AtomicBool>)>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        let mut line = Vec::new();
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if let Some((wanted, seen)) = &watch {
                for byte in &piece[..length] {
                    if *byte != b'\n' {
                        line.push(*byte);
                        continue;
                    }
                    if line.trim_ascii_end() == wanted.as_bytes() {
                        seen.store(true, Ordering::Relaxed);
                    }
                    line.clear();
                }
            }
            if to.write_all(&piece[..length]).and_then(|()| to.flush()).is_err() {
                break;
            }
        }
    })
}

/// Waits for the end; past the limit, or when the power is cut, kills the guest and returns nothing.
fn wait(child: &mut Child, limit: Option<Duration>, cut: &AtomicBool) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if cut.load(Ordering::Relaxed) || limit.is_some_and(|limit| start.elapsed() > limit) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_size_or_a_file() {
        assert_eq!(size_of("512M"), Some(512 << 20));
        assert_eq!(size_of("1G"), Some(1 << 30));
        assert_eq!(size_of("disk.img"), None);
        assert_eq!(size_of(""), None);
    }

    #[test]
    fn a_report_without_a_status_is_no_report() {
        assert_eq!(reported(b"EXIT 3\r\n"), Some(3));
        assert_eq!(reported(b""), None);
        assert_eq!(reported(b"EXIT \n"), None);
    }
}
