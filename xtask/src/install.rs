//! `cargo xtask install`: the command and its names, where the system looks for them.

use crate::build::{Bento, LINKS, link, release_program};
use crate::scratch::PassingLink;
use crate::setup;
use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What `cargo xtask install` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Install below this directory only; without it, below /usr/local, with the names that
    /// mount(8) and fsck(8) run linked in /sbin, the one place where they look
    #[arg(long)]
    prefix: Option<PathBuf>,
}

/// `cargo xtask install`.
pub fn run(options: &Options) -> Result<()> {
    let built = release_program("bento-user", "bento")?;
    // A staged installation into a directory of the caller's needs no root.
    if options.prefix.is_none() {
        setup::become_root("installing below /usr/local and in /sbin")?;
    }
    let prefix = options.prefix.clone().unwrap_or_else(|| PathBuf::from("/usr/local"));
    let sbin = prefix.join("sbin");
    std::fs::create_dir_all(&sbin).with_context(|| sbin.display().to_string())?;
    let program = sbin.join("bento");
    place(&built, &program)?;
    for name in LINKS {
        link(Path::new("bento"), &sbin.join(name))?;
        if options.prefix.is_none() {
            link(&program, &Path::new("/sbin").join(name))?;
        }
    }
    println!("installed {} and {}", program.display(), LINKS.join(", "));
    Ok(())
}

/// Puts the program in place in one step, so that a running one is never half replaced.
fn place(built: &Path, program: &Path) -> Result<()> {
    let aside = program.with_extension(format!("new{}", std::process::id()));
    std::fs::copy(built, &aside).with_context(|| aside.display().to_string())?;
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&aside, program).with_context(|| program.display().to_string())
}

/// Makes sure that mount(8), mkfs(8) and fsck(8) find Bento, for suites that go through them.
pub fn ensure(bento: &Bento) -> Result<()> {
    for name in LINKS {
        link(&std::fs::canonicalize(bento.path("bento"))?, &Path::new("/sbin").join(name))?;
    }
    Ok(())
}

/// Lets mount(8) and umount(8) find Bento's helpers for as long as the links live: a remount goes through them.
pub fn helpers_for_now(bento: &Bento) -> Result<Vec<PassingLink>> {
    let program = std::fs::canonicalize(bento.path("bento"))?;
    let names = LINKS.iter().filter(|name| name.contains("mount"));
    let links = names.map(|name| PassingLink::new(&program, &Path::new("/sbin").join(name)));
    Ok(links.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}
