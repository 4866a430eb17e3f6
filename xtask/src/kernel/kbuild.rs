//! `cargo xtask kmod`: the modules, by the kernel's own build, and checked.

use super::objects;
use super::place::{Places, copy_changed, write_if_changed};
use super::process::capture;
use super::rust;
use super::tree::{Kernel, Tree};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Build the kernel modules and check their objects.
#[derive(Args)]
pub struct Options {
    /// The kernel to build for; it need not be the one that runs
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
}

/// The modules of one kernel, built.
pub struct Modules {
    /// What `uname -r` prints where they load.
    pub release: String,
    /// The module files, in the order in which they load.
    pub files: Vec<PathBuf>,
}

/// Builds, and says what came of it.
pub fn run(options: &Options) -> Result<()> {
    let places = Places::find()?;
    let start = Instant::now();
    let modules = build(&places, options.kernel)?;
    for file in &modules.files {
        println!("{}", file.display());
    }
    eprintln!("modules for {} in {:.1} s", modules.release, start.elapsed().as_secs_f64());
    Ok(())
}

/// Builds `bentofs.ko` and one module for each crate in `platform/kernel/modules`.
pub fn build(places: &Places, kernel: Kernel) -> Result<Modules> {
    let tree = Tree::open(places, kernel)?;
    let dir = places.build.join(&tree.release);
    let _lock = places.lock_build(&tree.release)?;
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let source = places.repo.join("platform/kernel");

    let base = dir.join("bentofs");
    copy_changed(&source.join("bentofs"), &base)?;
    // Both languages' declarations have one source.
    write_if_changed(&base.join("bentofs.h"), bento_kernel_abi::Header.to_string().as_bytes())?;
    make(&tree, &base, &[])?;
    let symbols = format!("KBUILD_EXTRA_SYMBOLS={}", base.join("Module.symvers").display());
    let mut files = vec![base.join("bentofs.ko")];
    for name in crates(&source.join("modules"))? {
        let module = dir.join(&name);
        fs::create_dir_all(&module).with_context(|| module.display().to_string())?;
        copy_changed(&source.join("glue"), &module)?;
        let object = module.join("rust.o");
        rust::build_object(places, &tree, &format!("{name}_module"), &object)?;
        // Tells kbuild that this object was made by somebody else: its rule for shipped ones ended with 7.x.
        write_if_changed(
            &module.join(".rust.o.cmd"),
            format!("savedcmd_{} := cp\n", object.display()).as_bytes(),
        )?;
        objtool(&tree, &object)?;
        make(&tree, &module, &[&symbols, &format!("BENTO_MODULE={name}")])?;
        files.push(module.join(format!("{name}.ko")));
    }
    for file in &files {
        objects::check(file, &tree)?;
    }
    Ok(Modules { release: tree.release, files })
}

fn crates(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Runs the kernel's build on one directory; whatever it says beyond the known is an error.
fn make(tree: &Tree, module: &Path, arguments: &[&str]) -> Result<()> {
    let mut make = tree.make();
    make.arg(format!("M={}", module.display())).args(arguments).arg("modules");
    complain_about(&capture(&mut make)?.lines().collect::<Vec<_>>())
}

/// Fails on any line but those that are about how Debian built the kernel, not about our objects.
fn complain_about(lines: &[&str]) -> Result<()> {
    const HARMLESS: &[&str] = &[
        "pahole version differs",
        "the compiler differs from the one used to build the kernel",
        "The kernel was built by:",
        "The kernel was built with:",
        "You are using:",
        "Skipping BTF generation",
    ];
    let told = |line: &&&str| !line.trim().is_empty() && !HARMLESS.iter().any(|known| line.contains(known));
    let bad: Vec<&str> = lines.iter().filter(told).copied().collect();
    if bad.is_empty() { Ok(()) } else { bail!("the kernel's build complains:\n{}", bad.join("\n")) }
}

/// Gives the Rust object its unwind tables where the kernel's build would not.
///
/// With landing pads the kernel runs objtool over the whole module, without (6.1) over each C file alone.
fn objtool(tree: &Tree, object: &Path) -> Result<()> {
    if tree.is_user_mode || tree.config.landing_pads() {
        return Ok(());
    }
    let mut command = tree.command(&tree.dir.join("tools/objtool/objtool"));
    command.args(["--hacks=jump_label", "--hacks=noinstr", "--orc", "--static-call", "--uaccess"]);
    let config = &tree.config;
    let wanted = [
        (config.retpolines(), "--retpoline"),
        (config.return_thunks(), "--rethunk"),
        (config.speculation_barriers(), "--sls"),
    ];
    command.args(wanted.iter().filter_map(|(wanted, flag)| wanted.then_some(*flag)));
    complain_about(&capture(command.arg(object))?.lines().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_objtool_or_modpost_fails_the_build_and_a_known_notice_does_not() {
        assert!(
            complain_about(&["", "  You are using:           gcc-14", "Skipping BTF generation for x.ko"])
                .is_ok()
        );
        assert!(complain_about(&["x.o: warning: objtool: f() falls through to next function g()"]).is_err());
        assert!(complain_about(&["ERROR: modpost: \"thing\" [x.ko] undefined!"]).is_err());
    }
}
