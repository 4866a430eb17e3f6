//! Bento's own programs for guests: linked statically, so that they run beside any C library or none.

use super::place::{Places, write_if_changed};
use super::process::run;
use crate::{build, setup};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The host's target, named so that its flags do not reach build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Each program, and the package that it comes from.
const PROGRAMS: &[(&str, &str)] = &[
    ("bento-user", "bento"),
    ("bento-kernel-tests", "fs-suite"),
    ("bento-kernel-tests", "fs-load"),
    ("bento-kernel-tests", "fs-stalls"),
    ("bento-kernel-tests", "fs-shutdown"),
    ("bento-kernel-tests", "fs-exercise"),
    ("bento-kernel-tests", "fs-fill"),
    ("bento-kernel-tests", "fs-crash"),
    ("bento-kernel-tests", "fs-race"),
    ("bento-hostile", "hostile-mounts"),
    ("bento-hostile", "same-volume"),
];

/// Builds the programs and puts them, under all their names, into a directory of the guest.
pub fn install(places: &Places, dir: &Path) -> Result<()> {
    setup::need(&[setup::BUILD])?;
    let target = places.build.join("programs");
    let mut cargo = build::cargo();
    cargo.args(["build", "--quiet", "--release", "--target", TARGET]);
    for (package, program) in PROGRAMS {
        cargo.args(["--package", package, "--bin", program]);
    }
    run(cargo
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static"))?;
    for (_, program) in PROGRAMS {
        let built = target.join(TARGET).join("release").join(program);
        strip(&built, &target.join(format!("{program}.stripped")), &dir.join(program))?;
    }
    for name in build::LINKS {
        build::link(Path::new("bento"), &dir.join(name)).with_context(|| (*name).to_string())?;
    }
    // This very program, for what runs the same in a guest and here. It is linked against the C library of this
    // machine, which must not be newer than the user land's.
    // Through the process: the file may have been replaced meanwhile.
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    strip(&own, &target.join("xtask.stripped"), &dir.join("xtask"))
}

/// Copies a program without what only a debugger reads.
fn strip(program: &Path, aside: &Path, to: &Path) -> Result<()> {
    run(Command::new("strip").arg("-o").arg(aside).arg(program))?;
    write_if_changed(to, &fs::read(aside)?)
}
