//! `cargo xtask blind`: the checker finds what the file system's own readers pass over.
//!
//! Bugs are put into a copy of the file system's readers of directories and extents, so that they take damage for health.
//! Its own tests must notice that; the tests of fsck, built on the same copy, must go on finding every kind of damage.

use crate::board::Counts;
use crate::build;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// A bug: in this file, this is replaced by that.
struct Bug {
    file: &'static str,
    was: &'static str,
    is: &'static str,
}

const BUGS: &[Bug] = &[
    // Directories: names, padding, holes and lengths are believed.
    Bug {
        file: "bento-fs/src/format/dirent.rs",
        was: "    if !is_name(name) {\n        return Err(Corruption::DirName);\n    }\n    if !all_zero(padding) {\n        return Err(Corruption::DirPadding);\n    }\n",
        is: "    let _ = padding;\n",
    },
    Bug {
        file: "bento-fs/src/format/dirent.rs",
        was: "Slot::Hole { .. } if self.after_hole => Err(Corruption::DirHole),",
        is: "Slot::Hole { .. } if self.after_hole => Ok(slot),",
    },
    Bug {
        file: "bento-fs/src/format/dirent.rs",
        was: "head.hash.get() == 0 && head.name_len == 0 && head.kind == 0 && all_zero(whole)",
        is: "whole.len() < BLOCK",
    },
    // Trees of extents: their order and what follows them are believed, and so is every extent.
    Bug {
        file: "bento-fs/src/format/node.rs",
        was: "            if before.is_some_and(|before| !self.in_order(before, record)) {",
        is: "            if before.is_some_and(|before| self.in_order(before, record) && record.word1 == 0) {",
    },
    Bug {
        file: "bento-fs/src/format/node.rs",
        was: "        if !all_zero(self.unused.as_bytes()) {",
        is: "        if self.unused.len() > CAPACITY {",
    },
    Bug {
        file: "bento-fs/src/format/node.rs",
        was: "(0, Tree::Extents) => Extent::try_from(record).map(drop)?,",
        is: "(0, Tree::Extents) => {}",
    },
];

/// `cargo xtask blind`.
pub fn run() -> Result<()> {
    let copy = build::own_dir("blind")?;
    copy_tree(&copy)?;
    for bug in BUGS {
        let file = copy.join(bug.file);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        if text.matches(bug.was).count() != 1 {
            bail!("{} has changed: the bug cannot be put where it read\n{}", bug.file, bug.was);
        }
        std::fs::write(&file, text.replace(bug.was, bug.is))?;
    }
    let mut counts = Counts::default();
    let mut verdict = |what: &str, is_good: bool, output: &str| {
        println!("{} {what}", if is_good { "ok    " } else { "FAILED" });
        if !is_good {
            println!("{output}");
        }
        counts += Counts { passed: u64::from(is_good), failed: u64::from(!is_good) };
    };
    let (passed, output) = tests(&copy, &["--package", "bento-fs", "--test", "format"])?;
    let noticed = !passed && output.contains("test result: FAILED");
    verdict("the file system's own tests notice the bugs", noticed, &output);
    let (passed, output) = tests(&copy, &["--package", "bento-fsck"])?;
    verdict("fsck reports all damage without the file system's readers", passed, &output);
    println!("{counts}");
    if counts.failed > 0 {
        bail!("fsck leans on the readers that it has to check");
    }
    Ok(())
}

/// Copies what git knows of, as it lies in the work tree.
fn copy_tree(to: &Path) -> Result<()> {
    let root = build::root();
    let listed = crate::tree::git_command(&root).args(["ls-files", "-z"]).output()?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    }
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (from, to) = (root.join(name), to.join(name));
        if let Some(dir) = to.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

/// Runs tests of the copy; whether they passed, and what they printed.
fn tests(copy: &Path, which: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(build::cargo().get_program());
    command.args(["test", "--quiet", "--no-fail-fast", "--profile", "checked"]).args(which);
    command.current_dir(copy).env("CARGO_TARGET_DIR", copy.join("target")).stdin(Stdio::null());
    // Bugs leave things unused, and that is not what is tested.
    command.env("RUSTFLAGS", "--cap-lints=warn");
    let output = command.output().context("cargo test")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
