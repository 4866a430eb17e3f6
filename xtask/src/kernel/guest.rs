//! What runs inside a guest: an archive with the modules, the tools and one command.

use super::kbuild::Modules;
use super::place::{Places, copy_changed, write_if_changed};
use super::process::{capture, run};
use super::toolbox::Toolbox;
use crate::setup;
use anyhow::{Context, Result};
use cpio::newc::Builder;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const INIT: &str = include_str!("init.sh");

/// The first process' part that differs between a virtual machine and a program.
pub struct Boot {
    /// Modules to load first.
    pub drivers: &'static [&'static str],
    /// The device that carries the command's input and output.
    pub terminal: &'static str,
    /// Shell functions `prepare`, `report STATUS` and `fail MESSAGE`.
    pub functions: String,
}

/// What a guest is to do.
pub enum Job<'a> {
    /// Run a command, its words as given.
    Command(&'a [String]),
    /// Give a person a shell.
    Shell,
}

/// The contents of a guest, laid out in a directory of the build tree.
pub struct Guest {
    dir: PathBuf,
    release: String,
}

impl Guest {
    /// Lays out modules, the kernel's own among them, and the tools.
    pub fn lay_out(
        places: &Places,
        toolbox: &Toolbox,
        modules: &Modules,
        drivers: &[PathBuf],
    ) -> Result<Guest> {
        let dir = places.build.join(&modules.release).join("guest");
        let guest = Guest { dir, release: modules.release.clone() };
        let ours = guest.modules();
        for file in &modules.files {
            let name = file.file_name().context("a module without a name")?;
            write_if_changed(&ours.join("updates").join(name), &fs::read(file)?)?;
        }
        for driver in drivers {
            unpack_driver(driver, &ours.join("kernel"))?;
        }
        link("usr/lib", &guest.dir.join("lib"))?;
        run(toolbox.command(&guest.dir, "depmod").arg("-b").arg(&guest.dir).arg(&guest.release))?;
        fs::create_dir_all(guest.tools())?;
        Ok(guest)
    }

    fn modules(&self) -> PathBuf {
        self.dir.join("usr/lib/modules").join(&self.release)
    }

    /// Where programs go that the guest shall find on its path.
    pub fn tools(&self) -> PathBuf {
        self.dir.join("usr/local/bin")
    }

    /// Puts the files of a directory into the guest's `/bento/files`.
    pub fn add_files(&self, from: &Path) -> Result<()> {
        copy_changed(from, &self.dir.join("bento/files"))
    }

    /// The initial file system, as the kernel unpacks it.
    pub fn archive(
        &self,
        toolbox: &Toolbox,
        boot: &Boot,
        job: &Job<'_>,
        has_userland: bool,
    ) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for dir in
            ["bin", "dev", "proc", "sys", "tmp", "mnt", "root", "out", "userland", "bento", "usr/bin", "sbin"]
        {
            archive.add(dir, DIRECTORY | 0o755, &[])?;
        }
        // The kernel opens it before anything could make it.
        archive.add_device("dev/console", 5, 1)?;
        archive.add("init", FILE | 0o755, INIT.as_bytes())?;
        archive.add("bento/boot", FILE | 0o644, boot.script(job, has_userland).as_bytes())?;
        if let Job::Command(words) = job {
            archive.add("bento/command", FILE | 0o755, script_of(words).as_bytes())?;
        }
        let busybox = toolbox.file("usr/bin/busybox");
        archive.add("bin/busybox", FILE | 0o755, &fs::read(&busybox)?)?;
        for applet in capture(Command::new(&busybox).arg("--list"))?.stdout.lines() {
            if applet != "busybox" {
                archive.add(&format!("bin/{applet}"), LINK | 0o777, b"busybox")?;
            }
        }
        archive.add_tree(&self.dir, Path::new(""))?;
        archive.finish()
    }
}

impl Boot {
    fn script(&self, job: &Job<'_>, has_userland: bool) -> String {
        let interactive = if matches!(job, Job::Shell) { "yes" } else { "" };
        let shell = if has_userland { "/bin/bash" } else { "/bin/sh" };
        format!(
            "drivers='{}'\nterminal={}\ninteractive={interactive}\nshell={shell}\nuserland=\n{}",
            self.drivers.join(" "),
            self.terminal,
            self.functions
        )
    }
}

/// A command as a script: one word is a line for the shell, several are a program and its arguments.
fn script_of(words: &[String]) -> String {
    let line = match words {
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    format!("cd /root\n{line}\n")
}

/// A word as the shell reads it back.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Copies one of the kernel's modules, unpacked: the guest's first tools know no compression.
fn unpack_driver(driver: &Path, to: &Path) -> Result<()> {
    let name = driver.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = to.join(name.trim_end_matches(".xz"));
    if target.is_file() {
        return Ok(());
    }
    if name.ends_with(".xz") {
        setup::need(&[setup::TOOLBOX])?;
        let output = Command::new("xz").arg("-dc").arg(driver).output()?;
        write_if_changed(&target, &output.stdout)
    } else {
        write_if_changed(&target, &fs::read(driver)?)
    }
}

fn link(target: &str, at: &Path) -> Result<()> {
    if at.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(target, at).with_context(|| at.display().to_string())?;
    }
    Ok(())
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive in the kernel's own format.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let entry = Builder::new(name).mode(mode);
        self.write(entry, content).with_context(|| format!("archiving {name}"))
    }

    fn add_device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        let entry = Builder::new(name).mode(CHARACTER_DEVICE | 0o600).rdev_major(major).rdev_minor(minor);
        self.write(entry, &[])
    }

    fn write(&mut self, entry: Builder, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let mut writer = entry.ino(self.entries).write(&mut self.bytes, u32::try_from(content.len())?);
        std::io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
        Ok(())
    }

    /// Adds everything below `top/below`, directories before what they hold.
    fn add_tree(&mut self, top: &Path, below: &Path) -> Result<()> {
        let dir = top.join(below);
        let mut entries =
            fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>().with_context(|| dir.display().to_string())?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = below.join(entry.file_name());
            let (name, kind) = (path.to_string_lossy().into_owned(), entry.file_type()?);
            if kind.is_dir() {
                self.add(&name, DIRECTORY | 0o755, &[])?;
                self.add_tree(top, &path)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.add(&name, LINK | 0o777, target.to_string_lossy().as_bytes())?;
            } else {
                let mode = if below.starts_with("usr/local/bin") || below.starts_with("bento/files") {
                    0o755
                } else {
                    0o644
                };
                self.add(&name, FILE | mode, &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>> {
        Ok(cpio::newc::trailer(self.bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_line_of_shell_and_several_are_passed_as_they_are() {
        let words = |words: &[&str]| script_of(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["ls | wc -l"]), "cd /root\nls | wc -l\n");
        assert_eq!(words(&["echo", "it's", "$HOME"]), "cd /root\n'echo' 'it'\\''s' '$HOME'\n");
    }

    #[test]
    fn an_archive_reads_back_as_it_was_written() {
        let mut archive = Archive::default();
        archive.add("init", FILE | 0o755, b"script").expect("added");
        archive.add_device("dev/console", 5, 1).expect("added");
        let bytes = archive.finish().expect("finished");
        let first = cpio::NewcReader::new(bytes.as_slice()).expect("an entry");
        assert_eq!((first.entry().name(), first.entry().mode()), ("init", FILE | 0o755));
        let rest = first.finish().expect("the next entry");
        let second = cpio::NewcReader::new(rest).expect("an entry");
        assert_eq!((second.entry().rdev_major(), second.entry().rdev_minor()), (5, 1));
    }
}
