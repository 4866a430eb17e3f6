//! Debian's own kernels: image, modules and headers, unpacked side by side from their packages.

use super::apt::{self, Archive, Version};
use super::config::Config;
use super::image;
use super::place::{Places, write_if_changed};
use super::process::{run, step};
use super::toolbox::Toolbox;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The flavour that boots fastest: no drivers for real machines.
const FLAVOUR: &str = "cloud-amd64";

/// A line of stable kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Debian 12, bookworm.
    V6_1,
    /// Debian 13, trixie.
    V6_12,
    /// Debian 14, forky.
    V7_2,
}

impl Series {
    /// Its version number.
    pub fn name(self) -> &'static str {
        match self {
            Series::V6_1 => "6.1",
            Series::V6_12 => "6.12",
            Series::V7_2 => "7.2",
        }
    }

    fn holds(self, version: &str) -> bool {
        version.strip_prefix(self.name()).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// An unpacked kernel.
pub struct Release {
    /// What `uname -r` prints.
    pub name: String,
    root: PathBuf,
}

impl Release {
    /// Opens the newest kernel of a series; the first time, fetches and unpacks it (half a minute).
    ///
    /// It stays at that point release until its directory in the cache is removed.
    pub fn open(places: &Places, series: Series) -> Result<Release> {
        let dir = places.cache.join("kernels").join(series.name());
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let _lock = places.lock_cache(&format!("kernels/{}", series.name()))?;
        let stamp = dir.join("release");
        let name = match fs::read_to_string(&stamp) {
            Ok(name) => name.trim().to_string(),
            Err(_) => {
                let name =
                    step(&format!("Debian's kernel {}", series.name()), || fetch(places, series, &dir))?;
                fs::write(&stamp, format!("{name}\n"))?;
                name
            }
        };
        Ok(Release { name, root: dir.join("root") })
    }

    /// The directory that modules are built against.
    pub fn headers(&self) -> PathBuf {
        headers(&self.root, &self.name)
    }

    /// Its configuration.
    pub fn config(&self) -> Result<Config> {
        Config::read(&self.headers().join(".config"))
    }

    /// The compiler that built it, as the headers name it: `gcc-12`.
    pub fn compiler(&self) -> Option<String> {
        compiler(&self.headers())
    }

    /// The compressed image.
    pub fn image(&self) -> Result<PathBuf> {
        let places =
            [format!("boot/vmlinuz-{}", self.name), format!("usr/lib/modules/{}/vmlinuz", self.name)];
        let found = places.iter().map(|place| self.root.join(place)).find(|path| path.is_file());
        found.with_context(|| format!("no image in the packages of {}", self.name))
    }

    /// The image as an ELF file, which QEMU starts without a firmware and without unpacking it at each boot.
    pub fn uncompressed_image(&self, toolbox: &Toolbox) -> Result<PathBuf> {
        let unpacked = self.root.with_file_name("vmlinux");
        if !unpacked.is_file() {
            let aside = self.root.with_file_name("vmlinux.new");
            image::unpack(toolbox, &self.image()?, &aside)?;
            fs::rename(&aside, &unpacked)?;
        }
        Ok(unpacked)
    }

    /// The files of some of its modules and of all that they need; those that are built in have none.
    pub fn modules_with_dependencies(&self, toolbox: &Toolbox, names: &[&str]) -> Result<Vec<PathBuf>> {
        let dir = self.root.join("usr/lib/modules").join(&self.name);
        let list = dir.join("modules.dep");
        if !list.is_file() {
            run(toolbox.command(&self.root, "depmod").arg("-b").arg(&self.root).arg(&self.name))?;
        }
        let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
        Ok(closure_of_modules(&text, names).iter().map(|path| dir.join(path)).collect())
    }
}

/// The paths that a `modules.dep` gives for some modules and all that they need.
fn closure_of_modules<'a>(list: &'a str, names: &[&str]) -> BTreeSet<&'a str> {
    let stem = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default().replace('-', "_")
    };
    let lines = list.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(path, _)| names.contains(&stem(path).as_str()))
        .flat_map(|(path, needs)| std::iter::once(path).chain(needs.split_whitespace()))
        .collect()
}

/// The compiler that Debian's headers name, if they are Debian's.
pub fn compiler(headers: &Path) -> Option<String> {
    let variables = fs::read_to_string(headers.join(".kernelvariables")).ok()?;
    let start = variables.rfind("gcc-")?;
    let version: String = variables[start + 4..].chars().take_while(char::is_ascii_digit).collect();
    Some(format!("gcc-{version}"))
}

fn headers(root: &Path, name: &str) -> PathBuf {
    root.join("usr/src").join(format!("linux-headers-{name}"))
}

/// Chooses a version, fetches its packages, unpacks them below `dir/root`; returns the release name.
fn fetch(places: &Places, series: Series, dir: &Path) -> Result<String> {
    let archive = Archive::open(places)?;
    let meta = format!("linux-headers-{FLAVOUR}");
    let chosen = choose(series, &archive.versions(&meta)?)
        .with_context(|| format!("no suite of Debian has a kernel {} any more", series.name()))?;
    let depends = archive.depends(&meta, &chosen)?.unwrap_or_default();
    let name = depends
        .iter()
        .filter(|dependency| dependency.package.ends_with(FLAVOUR))
        .find_map(|dependency| dependency.package.strip_prefix("linux-headers-"))
        .with_context(|| format!("{meta} {chosen} names no headers"))?
        .to_string();
    let packages = closure(&archive, &name, &chosen)?;
    let (fetched, root) = (dir.join("fetched"), dir.join("root"));
    for stale in [&fetched, &root] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| stale.display().to_string())?;
        }
    }
    archive.download(&packages, &fetched)?;
    apt::unpack(&fetched, &root)?;
    fs::remove_dir_all(&fetched)?;
    settle(&root, &name)?;
    Ok(name)
}

/// The newest version of a series, a release's own before a backport of it.
fn choose(series: Series, versions: &[Version]) -> Option<String> {
    let mut ours = versions.iter().filter(|version| series.holds(&version.version));
    let first = ours.clone().next();
    ours.find(|version| !version.version.contains("~bpo")).or(first).map(|version| version.version.clone())
}

/// The kernel's own packages that image and headers need, as apt is to fetch them.
///
/// Which they are changed over time: from 7.2 on the image package is empty and others hold its parts.
fn closure(archive: &Archive, name: &str, version: &str) -> Result<Vec<String>> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut queue = vec![format!("linux-headers-{name}"), format!("linux-image-{name}")];
    while let Some(package) = queue.pop() {
        if found.contains_key(&package) {
            continue;
        }
        match archive.depends(&package, version)? {
            Some(depends) => {
                found.insert(package.clone(), format!("{package}={version}"));
                let parts =
                    ["linux-headers-", "linux-kbuild-", "linux-base-", "linux-binary-", "linux-modules-"];
                let part = |package: &String| parts.iter().any(|part| package.starts_with(part));
                queue.extend(depends.into_iter().map(|dependency| dependency.package).filter(part));
            }
            // The build tools of one series serve all its point releases.
            None if package.starts_with("linux-kbuild-") => {
                found.insert(package.clone(), package);
            }
            None => bail!("Debian has no {package} {version}"),
        }
    }
    Ok(found.into_values().collect())
}

/// Makes the unpacked files usable where they lie.
fn settle(root: &Path, name: &str) -> Result<()> {
    // Older packages have /lib, newer ones /usr/lib: both names lead to the modules.
    let (old, new) = (root.join("lib"), root.join("usr/lib"));
    fs::create_dir_all(&new)?;
    if old.join("modules").is_dir() {
        fs::rename(old.join("modules"), new.join("modules"))?;
        fs::remove_dir_all(&old)?;
    }
    std::os::unix::fs::symlink("usr/lib", &old).with_context(|| old.display().to_string())?;
    // The headers' Makefile names /usr/src.
    let makefile = headers(root, name).join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| makefile.display().to_string())?;
    let here = format!("{}/", root.join("usr/src").display());
    write_if_changed(&makefile, text.replace("/usr/src/", &here).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(names: &[&str]) -> Vec<Version> {
        names.iter().map(|name| Version { version: name.to_string(), suite: String::new() }).collect()
    }

    #[test]
    fn modules_come_with_what_they_need() {
        let list =
            "kernel/a/virtio-blk.ko.xz: kernel/b/virtio.ko.xz\nkernel/b/virtio.ko.xz:\nkernel/c/loop.ko:\n";
        let found: Vec<&str> = closure_of_modules(list, &["virtio_blk", "built_in"]).into_iter().collect();
        assert_eq!(found, ["kernel/a/virtio-blk.ko.xz", "kernel/b/virtio.ko.xz"]);
    }

    #[test]
    fn the_newest_kernel_of_the_series_is_chosen_and_a_backport_only_if_there_is_no_other() {
        let archive = versions(&["7.2.13-1", "7.2.12-1~bpo13+1", "6.12.117-1", "6.1.192-2", "6.1.176-1"]);
        assert_eq!(choose(Series::V6_1, &archive).as_deref(), Some("6.1.192-2"));
        assert_eq!(choose(Series::V6_12, &archive).as_deref(), Some("6.12.117-1"));
        assert_eq!(choose(Series::V7_2, &archive).as_deref(), Some("7.2.13-1"));
        let later = versions(&["7.3.1-1", "7.2.12-1~bpo13+1"]);
        assert_eq!(choose(Series::V7_2, &later).as_deref(), Some("7.2.12-1~bpo13+1"));
    }
}
