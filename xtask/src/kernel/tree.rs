//! The kernels that modules can be built for, and what each asks of the build.

use super::config::Config;
use super::debian::{Release, Series, compiler};
use super::place::Places;
use super::source::{Build, Linux};
use super::toolbox::Toolbox;
use crate::setup;
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
        let machine = Running { release: &release, root: Path::new("/") };
        let dir = machine.headers()?;
        let config = Config::read(&dir.join(".config"))?;
        setup::need(&[setup::BUILD, setup::MAKE])?;
        if let Some(missing) = machine.missing_compiler(&dir, |program| setup::which(program).is_some()) {
            setup::install_packages(&[&missing])?;
        }
        Ok(Tree {
            config,
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

/// The kernel that runs, and where its files are looked for.
struct Running<'a> {
    release: &'a str,
    root: &'a Path,
}

impl Running<'_> {
    /// What modules are built against; says how to get it where it is not.
    fn headers(&self) -> Result<PathBuf> {
        let release = self.release;
        if !self.root.join("proc/modules").is_file() {
            bail!(
                "the running kernel {release} loads no modules (CONFIG_MODULES is off); \
                 try Bento in a guest: cargo xtask vm --kernel 6.12"
            );
        }
        let dir = self.root.join("lib/modules").join(release).join("build");
        if dir.join(".config").is_file() && dir.join("Module.symvers").is_file() {
            return Ok(dir);
        }
        bail!(
            "the headers of the running kernel are not in /lib/modules/{release}/build; install them with:\n    \
             sudo apt-get install -y --no-install-recommends linux-headers-{release}\n\
             If no package has them, this kernel was built elsewhere: make that name a link to its build tree, where \
             `make` and `make modules_prepare` have run"
        )
    }

    /// The package of the compiler that Debian's headers ask for, if the machine lacks it.
    fn missing_compiler(&self, headers: &Path, has: impl Fn(&str) -> bool) -> Option<String> {
        let compiler = compiler(headers)?;
        let names = [compiler.clone(), format!("x86_64-linux-gnu-{compiler}")];
        // The headers call it by its long name, which the package has too.
        (!names.iter().all(|name| has(name))).then_some(compiler)
    }
}

/// Without BTF: it takes another tool, a slow pass over Rust's debug information, and serves nobody here.
const NO_TYPE_INFORMATION: &str = "CONFIG_DEBUG_INFO_BTF_MODULES=";

const NEWEST_COMPILER: &str = "x86_64-linux-gnu-gcc-14";

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("its directory");
            fs::write(path, "CC = gcc-14\n").expect("a file");
        }
        root
    }

    fn headers(files: &[&str]) -> Result<PathBuf> {
        Running { release: "6.12.1-amd64", root: machine(files).path() }.headers()
    }

    #[test]
    fn missing_headers_of_the_running_kernel_are_named_with_the_line_that_installs_them() {
        let error = headers(&["proc/modules"]).expect_err("no headers").to_string();
        assert!(
            error.contains("apt-get install -y --no-install-recommends linux-headers-6.12.1-amd64\n"),
            "{error}"
        );
        let half = ["proc/modules", "lib/modules/6.12.1-amd64/build/.config"];
        assert!(headers(&half).is_err(), "a tree that was only configured");
        let whole = [half[0], half[1], "lib/modules/6.12.1-amd64/build/Module.symvers"];
        assert!(headers(&whole).is_ok());
    }

    #[test]
    fn a_kernel_without_modules_is_told_from_one_without_headers() {
        let error = headers(&[]).expect_err("no modules").to_string();
        assert!(error.contains("loads no modules") && error.contains("cargo xtask vm"), "{error}");
    }

    #[test]
    fn the_compiler_of_the_headers_is_a_package_to_install_if_it_is_missing() {
        let root = machine(&[".kernelvariables"]);
        let machine = Running { release: "", root: root.path() };
        assert_eq!(machine.missing_compiler(root.path(), |_| false).as_deref(), Some("gcc-14"));
        assert_eq!(machine.missing_compiler(root.path(), |_| true), None);
        assert_eq!(machine.missing_compiler(&root.path().join("other"), |_| false), None);
    }
}
