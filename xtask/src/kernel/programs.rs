//! Bento's own programs for guests: linked statically, so that they run beside any C library or none.

use super::place::{Places, write_if_changed};
use super::process::run;
use crate::{build, setup};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The host's target, named so that its flags do not reach build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds `bento` and puts it, under all its names, into a directory of the guest.
pub fn install(places: &Places, dir: &Path) -> Result<()> {
    setup::need(&[setup::BUILD])?;
    let target = places.build.join("programs");
    let mut cargo = build::cargo();
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "bento-user",
        "--bin",
        "bento",
        "--target",
        TARGET,
    ]);
    run(cargo
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static"))?;
    let stripped = target.join("bento.stripped");
    let built = target.join(TARGET).join("release/bento");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(&built))?;
    write_if_changed(&dir.join("bento"), &fs::read(&stripped)?)?;
    for name in build::LINKS {
        build::link(Path::new("bento"), &dir.join(name)).with_context(|| (*name).to_string())?;
    }
    Ok(())
}
