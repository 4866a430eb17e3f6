//! Debian's packages of several releases at once, through a package state of our own: the system's is not touched.

use super::place::Places;
use super::process::{capture, run, step};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const SUITES: &[&str] = &["bookworm", "trixie", "trixie-backports", "forky", "sid"];
const SECURITY_SUITES: &[&str] = &["bookworm-security", "trixie-security"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lists older than this are fetched again before a package is chosen: point releases leave the archive.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The two Debian archives that this system itself uses.
pub struct Mirror {
    /// Where releases come from.
    pub main: String,
    /// Where their security updates come from.
    pub security: String,
}

impl Mirror {
    /// Reads `$BENTO_MIRROR`, else asks apt which archives of Debian the system has.
    pub fn of_this_system() -> Result<Mirror> {
        if let Ok(main) = std::env::var("BENTO_MIRROR") {
            return Ok(Mirror { security: security_beside(&main), main });
        }
        let mut command = Command::new("apt-get");
        command.args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(CODENAME)|$(REPO_URI)",
            "Created-By: Packages",
        ]);
        let targets = capture(&mut command)?.stdout;
        let archive = |wanted: &dyn Fn(&str) -> bool| {
            targets.lines().find_map(|line| {
                let mut fields = line.split('|');
                let (origin, codename, uri) = (fields.next()?, fields.next()?, fields.next()?);
                (origin == "Debian" && wanted(codename)).then(|| uri.trim_end_matches('/').to_string())
            })
        };
        let main = archive(&|codename| !codename.contains('-'))
            .context("no Debian archive in apt's lists: run `apt-get update`, or name one in BENTO_MIRROR")?;
        let security = archive(&|codename| codename.ends_with("-security"));
        Ok(Mirror { security: security.unwrap_or_else(|| security_beside(&main)), main })
    }
}

fn security_beside(main: &str) -> String {
    format!("{}-security", main.trim_end_matches('/'))
}

/// One version of a package, and the suite that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As Debian writes it.
    pub version: String,
    /// Such as `trixie-security`.
    pub suite: String,
}

/// Our own view of the archive.
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Opens the lists, and fetches them when they are missing or a day old.
    pub fn open(places: &Places) -> Result<Archive> {
        let dir = places.cache.join("apt");
        let archive = Archive { dir };
        let _lock = places.lock_cache("apt")?;
        let stamp = archive.dir.join("updated");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok();
        let age = age.map(|then| SystemTime::now().duration_since(then).unwrap_or_default());
        if age.is_none_or(|age| age > STALE) {
            archive.lay_out()?;
            step("package lists", || run(archive.apt("apt-get").arg("update")))?;
            fs::write(&stamp, "")?;
        }
        Ok(archive)
    }

    fn lay_out(&self) -> Result<()> {
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(self.dir.join(dir)).with_context(|| self.dir.display().to_string())?;
        }
        let mirror = Mirror::of_this_system()?;
        let source = |uri: &str, suite: &str| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n");
        let main = SUITES.iter().map(|suite| source(&mirror.main, suite));
        let security = SECURITY_SUITES.iter().map(|suite| source(&mirror.security, suite));
        fs::write(self.dir.join("sources.list"), main.chain(security).collect::<String>())?;
        fs::write(self.dir.join("status"), "")?;
        Ok(())
    }

    /// An apt program that sees our lists and nothing of the system's.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, path: &Path| {
            command.arg("-o").arg(format!("{name}={}", path.display()));
        };
        option("Dir::Etc::SourceList", &self.dir.join("sources.list"));
        for nothing in ["Dir::Etc::SourceParts", "Dir::Etc::Preferences", "Dir::Etc::PreferencesParts"] {
            option(nothing, Path::new("/dev/null"));
        }
        option("Dir::State::Lists", &self.dir.join("lists"));
        option("Dir::State::Status", &self.dir.join("status"));
        option("Dir::Cache", &self.dir.join("cache"));
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none", "--quiet"]);
        command
    }

    /// Every version of a package, newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<Version>> {
        let listed = capture(self.apt("apt-cache").args(["madison", package]))?.stdout;
        Ok(listed.lines().filter_map(version_of).collect())
    }

    /// The `Depends` of one version of a package; nothing if there is no such version.
    pub fn depends(&self, package: &str, version: &str) -> Result<Option<Vec<Dependency>>> {
        let mut command = self.apt("apt-cache");
        let Ok(shown) = capture(command.args(["show", &format!("{package}={version}")])) else {
            return Ok(None);
        };
        // Of a version that is gone from a suite apt says nothing, and calls that a success.
        if !shown.stdout.lines().any(|line| line.strip_prefix("Version: ") == Some(version)) {
            return Ok(None);
        }
        let field = shown.stdout.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        Ok(Some(field.split(',').filter_map(Dependency::parse).collect()))
    }

    /// Fetches packages, named `package` or `package=version`, into a directory.
    pub fn download(&self, packages: &[String], dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        run(self.apt("apt-get").arg("download").args(packages).current_dir(dir))
    }
}

/// One line of `apt-cache madison`: `package | version | uri suite/component architecture Packages`.
fn version_of(line: &str) -> Option<Version> {
    let mut fields = line.split('|').map(str::trim);
    let (version, place) = (fields.nth(1)?, fields.next()?);
    let suite = place.split_whitespace().nth(1)?.split('/').next()?;
    Some(Version { version: version.to_string(), suite: suite.to_string() })
}

/// One dependency, its alternatives left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package.
    pub package: String,
    /// The version that it must have exactly, if one is named so.
    pub exactly: Option<String>,
}

impl Dependency {
    fn parse(text: &str) -> Option<Dependency> {
        let first = text.split('|').next()?.trim();
        let package = first.split_whitespace().next()?.to_string();
        let exactly = first.split_once("(= ").and_then(|(_, rest)| rest.strip_suffix(')'));
        Some(Dependency { package, exactly: exactly.map(str::to_string) })
    }
}

/// Unpacks every package file in a directory below `root`, and removes it.
pub fn unpack(dir: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root).with_context(|| root.display().to_string())?;
    let mut packages = 0;
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(root))?;
            fs::remove_file(&path)?;
            packages += 1;
        }
    }
    if packages == 0 {
        bail!("no package in {}", dir.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_madison_gives_version_and_suite() {
        let line = " linux-headers-cloud-amd64 | 6.12.117-1 | http://mirror/debian-security trixie-security/main amd64 Packages";
        let expected = Version { version: "6.12.117-1".into(), suite: "trixie-security".into() };
        assert_eq!(version_of(line), Some(expected));
        assert_eq!(version_of("nothing here"), None);
    }

    #[test]
    fn a_dependency_keeps_its_first_alternative_and_its_exact_version() {
        let parse = |text| Dependency::parse(text).map(|found| (found.package, found.exactly));
        let exact = parse(" linux-image-6.12 (= 6.12.117-1) | linux-image-6.12-unsigned (= 6.12.117-1)");
        assert_eq!(exact, Some(("linux-image-6.12".into(), Some("6.12.117-1".into()))));
        assert_eq!(parse("linux-base (>= 4.12~)"), Some(("linux-base".into(), None)));
        assert_eq!(parse(""), None);
    }
}
