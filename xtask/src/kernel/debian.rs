//! Debian's own kernels: image, modules and headers, unpacked side by side from their packages.

use super::apt::{self, Archive, Version};
use super::config::Config;
use super::place::{Places, write_if_changed};
use super::process::step;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
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
                let name = step(&format!("Debian's kernel {}", series.name()), || fetch(places, series, &dir))?;
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
        let variables = fs::read_to_string(self.headers().join(".kernelvariables")).ok()?;
        let start = variables.rfind("gcc-")?;
        let version: String = variables[start + 4..].chars().take_while(char::is_ascii_digit).collect();
        Some(format!("gcc-{version}"))
    }

    /// The compressed image.
    pub fn image(&self) -> Result<PathBuf> {
        let places = [format!("boot/vmlinuz-{}", self.name), format!("usr/lib/modules/{}/vmlinuz", self.name)];
        let found = places.iter().map(|place| self.root.join(place)).find(|path| path.is_file());
        found.with_context(|| format!("no image in the packages of {}", self.name))
    }

    /// One of its modules, possibly compressed; nothing if the kernel has it built in.
    pub fn module(&self, name: &str) -> Option<PathBuf> {
        let base = ["usr/lib/modules", "lib/modules"].map(|dir| self.root.join(dir).join(&self.name).join("kernel"));
        base.iter().filter(|dir| dir.is_dir()).find_map(|dir| find_module(dir, name))
    }
}

fn headers(root: &Path, name: &str) -> PathBuf {
    root.join("usr/src").join(format!("linux-headers-{name}"))
}

fn find_module(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut below = Vec::new();
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        let file = entry.file_name();
        let stem = file.to_string_lossy();
        if path.is_dir() {
            below.push(path);
        } else if stem.split('.').next().is_some_and(|stem| stem.replace('-', "_") == name) {
            return Some(path);
        }
    }
    below.iter().find_map(|dir| find_module(dir, name))
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
                let parts = ["linux-headers-", "linux-kbuild-", "linux-base-", "linux-binary-", "linux-modules-"];
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

/// Makes the headers usable where they lie: their Makefile names /usr/src.
fn settle(root: &Path, name: &str) -> Result<()> {
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
    fn the_newest_kernel_of_the_series_is_chosen_and_a_backport_only_if_there_is_no_other() {
        let archive = versions(&["7.2.13-1", "7.2.12-1~bpo13+1", "6.12.117-1", "6.1.192-2", "6.1.176-1"]);
        assert_eq!(choose(Series::V6_1, &archive).as_deref(), Some("6.1.192-2"));
        assert_eq!(choose(Series::V6_12, &archive).as_deref(), Some("6.12.117-1"));
        assert_eq!(choose(Series::V7_2, &archive).as_deref(), Some("7.2.13-1"));
        let later = versions(&["7.3.1-1", "7.2.12-1~bpo13+1"]);
        assert_eq!(choose(Series::V7_2, &later).as_deref(), Some("7.2.12-1~bpo13+1"));
    }
}
