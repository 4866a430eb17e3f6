//! The kernels that modules can be built for, and what each asks of the build.

use super::config::Config;
use super::debian::{Release, Series};
use super::place::Places;
use super::source::{Build, Linux};
use super::toolbox::Toolbox;
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Debian 12's.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's.
    #[value(name = "6.12")]
    V6_12,
    /// Debian 14's.
    #[value(name = "7.2")]
    V7_2,
    /// The one that runs this machine.
    Running,
    /// User-mode Linux with every check of locks and memory.
    Uml,
    /// User-mode Linux without them, for measuring.
    UmlFast,
    /// A kernel for QEMU with KASAN and all checks of locks.
    Debug,
}

impl Kernel {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Running => "running",
            Kernel::Uml => "uml",
            Kernel::UmlFast => "uml-fast",
            Kernel::Debug => "debug",
            Kernel::V6_1 | Kernel::V6_12 | Kernel::V7_2 => self.series().map_or("", Series::name),
        }
    }

    /// Its line of Debian's kernels, if it is one of those.
    pub fn series(self) -> Option<Series> {
        match self {
            Kernel::V6_1 => Some(Series::V6_1),
            Kernel::V6_12 => Some(Series::V6_12),
            Kernel::V7_2 => Some(Series::V7_2),
            Kernel::Running | Kernel::Uml | Kernel::UmlFast | Kernel::Debug => None,
        }
    }
}

/// Everything that building a module needs to know about a kernel.
pub struct Tree {
    /// What `uname -r` prints there, and the name of the build directory.
    pub release: String,
    /// What `make -C` gets.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// Whether it runs as a process: other addresses, none of the mitigations.
    pub is_user_mode: bool,
    make_arguments: Vec<String>,
    toolbox: Option<Toolbox>,
}

impl Tree {
    /// Fetches or builds what is missing of a kernel, and describes it.
    pub fn open(places: &Places, kernel: Kernel) -> Result<Tree> {
        match kernel {
            Kernel::Running => Tree::running(),
            Kernel::Uml => Tree::ours(places, Build::Checked),
            Kernel::UmlFast => Tree::ours(places, Build::Fast),
            Kernel::Debug => Tree::ours(places, Build::Debug),
            Kernel::V6_1 | Kernel::V6_12 | Kernel::V7_2 => match kernel.series() {
                Some(series) => Tree::debian(places, series),
                None => bail!("{kernel:?} is no kernel of Debian's"),
            },
        }
    }

    fn debian(places: &Places, series: Series) -> Result<Tree> {
        let toolbox = Toolbox::open(places)?;
        let release = Release::open(places, series)?;
        let mut make_arguments = vec![NO_TYPE_INFORMATION.to_string()];
        // A kernel may come from a newer compiler than the box has: its attributes are then unknown, no more.
        if !release.compiler().is_some_and(|compiler| toolbox.has(&compiler)) {
            make_arguments.extend([format!("CC={NEWEST_COMPILER}"), "KCFLAGS=-Wno-attributes".to_string()]);
        }
        Ok(Tree {
            dir: release.headers(),
            config: release.config()?,
            release: release.name,
            is_user_mode: false,
            make_arguments,
            toolbox: Some(toolbox),
        })
    }

    fn ours(places: &Places, build: Build) -> Result<Tree> {
        let toolbox = Toolbox::open(places)?;
        let linux = Linux::open(places, &toolbox, build)?;
        Ok(Tree {
            config: Config::read(&linux.dir.join(".config"))?,
            release: linux.release,
            dir: linux.dir,
            is_user_mode: build.is_user_mode(),
            make_arguments: build.make_arguments().iter().map(ToString::to_string).collect(),
            toolbox: Some(toolbox),
        })
    }

    /// The running kernel is built with the machine's own tools, as any other module of it.
    fn running() -> Result<Tree> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_string();
        let dir = Path::new("/lib/modules").join(&release).join("build");
        if !dir.join(".config").is_file() {
            bail!(
                "no headers of the running kernel; install them with:\n    \
                 apt-get install -y --no-install-recommends linux-headers-{release}"
            );
        }
        Ok(Tree {
            config: Config::read(&dir.join(".config"))?,
            release,
            dir,
            is_user_mode: false,
            make_arguments: vec![NO_TYPE_INFORMATION.to_string()],
            toolbox: None,
        })
    }

    /// A command in the surroundings that this kernel's tools need.
    pub fn command(&self, program: &Path) -> Command {
        match &self.toolbox {
            Some(toolbox) => toolbox.command(&self.dir, program),
            None => {
                let mut command = Command::new(program);
                command.current_dir(&self.dir);
                command
            }
        }
    }

    /// `make` in this kernel's tree, with its arguments.
    pub fn make(&self) -> Command {
        let mut command = self.command(Path::new("make"));
        command.arg("-s").args(&self.make_arguments);
        command
    }
}

/// Without BTF: it takes another tool, a slow pass over Rust's debug information, and serves nobody here.
const NO_TYPE_INFORMATION: &str = "CONFIG_DEBUG_INFO_BTF_MODULES=";

const NEWEST_COMPILER: &str = "x86_64-linux-gnu-gcc-14";
