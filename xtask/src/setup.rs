//! What the machine must have: programs from system packages, Rust targets, root.

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use xshell::{Shell, cmd};

/// A program and the Debian package that holds it.
#[derive(Clone, Copy)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// For building anything at all.
pub const BUILD: &[Tool] = &[tool("cc", "gcc"), tool("ld", "binutils")];
/// For building modules with the machine's own tools.
pub const MAKE: &[Tool] = &[tool("make", "make")];
/// For mounting, unmounting and loop devices.
pub const MOUNT: &[Tool] = &[tool("mount", "mount"), tool("losetup", "mount")];
/// For a mount by a user who is not root.
pub const FUSERMOUNT: &[Tool] = &[tool("fusermount3", "fuse3")];
/// For ext4, the peer in the kernel.
pub const EXT4: &[Tool] = &[tool("mke2fs", "e2fsprogs")];
/// For ext4's userspace server, the peer over FUSE.
pub const FUSE2FS: &[Tool] = &[tool("mke2fs", "e2fsprogs"), tool("fuse2fs", "fuse2fs")];
/// For trees and repositories.
pub const FILES: &[Tool] = &[tool("tar", "tar"), tool("find", "findutils"), tool("git", "git")];
/// For the tests of extended attributes and ACLs.
pub const ATTRIBUTES: &[Tool] = &[tool("setfattr", "attr"), tool("setfacl", "acl")];
/// For counting instructions.
pub const VALGRIND: &[Tool] = &[tool("valgrind", "valgrind")];
/// For making the box of tools that kernels are built and emulated with.
pub const TOOLBOX: &[Tool] =
    &[tool("mmdebstrap", "mmdebstrap"), tool("unshare", "util-linux"), tool("xz", "xz-utils")];

/// The target that stands for "no operating system below": the core crates must build for it.
pub const BARE_TARGET: &str = "x86_64-unknown-none";

/// Where root's shell looks and that of others need not: mke2fs, losetup and dpkg's helpers lie there.
const ROOT_PATH: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Starts this very command again with root's directories in the path, if they are not.
///
/// Not only what we start needs them: mount(8), apt-get and the tests start programs too.
pub fn find_root_programs() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let missing: Vec<PathBuf> =
        ROOT_PATH.iter().map(PathBuf::from).filter(|dir| !dirs.contains(dir)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    dirs.extend(missing);
    let error = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("PATH", std::env::join_paths(dirs)?)
        .exec();
    bail!("starting again with root's directories in the path: {error}")
}

/// Finds `program` in the path.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Whether this process may mount.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes sure that every program of `sets` is there: as root installs the packages, else says how.
pub fn need(sets: &[&[Tool]]) -> Result<()> {
    let mut packages: Vec<&str> = Vec::new();
    for tool in sets.iter().flat_map(|set| set.iter()) {
        if which(tool.program).is_none() && !packages.contains(&tool.package) {
            packages.push(tool.package);
        }
    }
    if packages.is_empty() { Ok(()) } else { install_packages(&packages) }
}

/// Installs Debian packages, or names the line that does.
pub fn install_packages(packages: &[&str]) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_root() {
        bail!("this machine lacks some programs; install them with:\n    sudo {line}");
    }
    if which("apt-get").is_none() {
        bail!("this machine lacks the Debian packages {}, and has no apt-get", packages.join(" "));
    }
    eprintln!("installing {}", packages.join(" "));
    if apt_install(packages).is_err() {
        // A new machine has no package lists yet, an old one has stale ones.
        quiet(Command::new("apt-get").args(["update", "-q"]))?;
        apt_install(packages).with_context(|| format!("{line} failed"))?;
    }
    Ok(())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    quiet(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages),
    )
}

/// Runs a command without a word unless it fails.
pub fn quiet(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Starts this very command again through sudo, when it is not root already.
///
/// Call it after building: what root builds, the caller could not rebuild.
pub fn become_root(why: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let Some(sudo) = which("sudo") else {
        bail!("{why} needs root, and this machine has no sudo: run the same line as root");
    };
    eprintln!("{why} needs root: going on through sudo");
    let mut command = Command::new(sudo);
    command.arg("env");
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR", "CI", "XFSTESTS"] {
        if let Some(value) = std::env::var_os(name) {
            let mut pair = std::ffi::OsString::from(name);
            pair.push("=");
            pair.push(value);
            command.arg(pair);
        }
    }
    let error = command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).exec();
    bail!("sudo: {error}")
}

/// How to build the core crates for [`BARE_TARGET`].
pub enum BareBuild {
    /// The target's `core` is installed.
    Installed,
    /// Only the library sources are: `core` is built along.
    FromSource,
}

/// Finds or installs what [`BARE_TARGET`] takes.
pub fn bare_target() -> Result<BareBuild> {
    let shell = Shell::new()?;
    let sysroot = PathBuf::from(cmd!(shell, "rustc --print sysroot").read()?);
    let installed = || sysroot.join("lib/rustlib").join(BARE_TARGET).join("lib").is_dir();
    if installed() {
        return Ok(BareBuild::Installed);
    }
    if which("rustup").is_some() {
        let added = quiet(Command::new("rustup").args(["target", "add", BARE_TARGET]));
        if installed() {
            return Ok(BareBuild::Installed);
        }
        if let Err(error) = added {
            eprintln!("rustup target add {BARE_TARGET}: {error:#}");
        }
    }
    if sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Ok(BareBuild::FromSource);
    }
    bail!("the Rust target {BARE_TARGET} is missing; install it with:\n    rustup target add {BARE_TARGET}")
}

/// `cargo xtask setup`.
pub fn everything() -> Result<()> {
    need(&[BUILD, MOUNT, FUSERMOUNT, EXT4, FUSE2FS, FILES, ATTRIBUTES, VALGRIND, TOOLBOX])?;
    bare_target()?;
    println!("everything is in place");
    Ok(())
}
