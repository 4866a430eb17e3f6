//! What `-o` can say.
use crate::fuse::mount::{Access, MountOptions};
use crate::session::{Purpose, SessionOptions};
use rustix::mount::MountFlags;
use std::path::Path;
use std::time::Duration;

/// All options of a mount.
#[derive(Debug)]
pub(super) struct Parsed {
    pub session: SessionOptions,
    pub mount: MountOptions,
}

/// Options for others: mount(8), systemd, FUSE itself.
fn is_for_others(option: &str) -> bool {
    matches!(
        option,
        "" | "auto" | "noauto" | "user" | "users" | "nouser" | "owner" | "group" | "nofail" | "_netdev" | "defaults" | "rw"
            | "async" | "relatime" | "norelatime" | "strictatime" | "default_permissions" | "allow_other" | "nodev" | "nosuid" | "exec"
            | "data=ordered" | "errors=remount-ro"
    ) || ["x-", "comment=", "fsname=", "subtype=", "helper="].iter().any(|prefix| option.starts_with(prefix))
}

fn later(option: &str) -> Option<&'static str> {
    match option {
        "data=journal" => Some("data=journal is planned; data=ordered is what there is"),
        "writeback" => Some("the kernel's write-back cache is not supported yet; writes go through to the daemon"),
        "prov" => Some("provenance is not supported yet"),
        _ => None,
    }
}

/// Reads option strings, each with options separated by commas.
pub(super) fn parse(source: &Path, strings: &[String]) -> Result<Parsed, String> {
    let mount = MountOptions::for_path(source).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut parsed = Parsed { session: SessionOptions::default(), mount };
    for option in strings.iter().flat_map(|string| string.split(',')) {
        apply(&mut parsed, option)?;
    }
    Ok(parsed)
}

fn apply(parsed: &mut Parsed, option: &str) -> Result<(), String> {
    let flags = &mut parsed.mount.flags;
    match option {
        "ro" => {
            flags.insert(MountFlags::RDONLY);
            parsed.session.purpose = Purpose::Read;
        }
        "suid" => flags.remove(MountFlags::NOSUID),
        "dev" => flags.remove(MountFlags::NODEV),
        "noexec" => flags.insert(MountFlags::NOEXEC),
        "noatime" => flags.insert(MountFlags::NOATIME),
        "nodiratime" => flags.insert(MountFlags::NODIRATIME),
        "sync" => flags.insert(MountFlags::SYNCHRONOUS),
        "dirsync" => flags.insert(MountFlags::DIRSYNC),
        "private" => parsed.mount.access = Access::OwnerUnchecked,
        option if is_for_others(option) => {}
        option => return apply_value(parsed, option),
    }
    Ok(())
}

fn apply_value(parsed: &mut Parsed, option: &str) -> Result<(), String> {
    let unknown = || format!("unknown mount option '{option}'; `bento mount --help` lists them");
    if let Some(why) = later(option) {
        return Err(why.into());
    }
    let (name, value) = option.split_once('=').ok_or_else(unknown)?;
    match name {
        "commit" => {
            let seconds: u64 = value.parse().map_err(|_| format!("commit={value}: not a number of seconds"))?;
            parsed.session.commit_every = Duration::from_secs(if seconds == 0 { 5 } else { seconds });
        }
        "cache" => {
            let size: bytesize::ByteSize = value.parse().map_err(|why| format!("cache={value}: {why}"))?;
            parsed.session.cache_bytes = Some(size.as_u64());
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_named_and_a_known_one_is_obeyed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let parse = |text: &str| parse(file.path(), &[text.to_owned()]);
        assert!(parse("colour=red").unwrap_err().contains("colour=red"));
        assert!(parse("bogus").unwrap_err().contains("bogus"));
        assert!(parse("data=journal").is_err());
        let parsed = parse("rw,nofail,x-systemd.automount,suid,commit=30,cache=64M").unwrap();
        assert_eq!(parsed.session.commit_every, Duration::from_secs(30));
        assert_eq!(parsed.session.cache_bytes, Some(64_000_000));
        assert!(!parsed.mount.flags.contains(MountFlags::NOSUID));
        assert_eq!(parse("ro").unwrap().session.purpose, Purpose::Read);
    }
}
