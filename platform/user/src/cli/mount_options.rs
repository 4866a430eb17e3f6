//! What `-o` can say.
use crate::fuse::mount::Access;
use crate::session::{Purpose, SessionOptions};
use bento_api::BlockNo;
use rustix::mount::MountFlags;
use std::time::Duration;

/// What a mount, or a remount, is asked for.
#[derive(Debug)]
pub(super) struct Parsed {
    pub session: SessionOptions,
    pub flags: MountFlags,
    /// Who may use the mount; what there is by default depends on who mounts.
    pub access: Option<Access>,
    /// Only the flags of a mount that exists are to change.
    pub remount: bool,
    /// Options that only a new mount can take.
    pub fixed: Vec<String>,
    /// Provenance is recorded from the start, open files included.
    pub records: bool,
}

/// Options for others: mount(8), systemd, FUSE itself (as a remount hands them back).
fn is_for_others(option: &str) -> bool {
    let names = "auto noauto user users nouser owner group nofail _netdev defaults default_permissions data=ordered \
                 errors=remount-ro silent loud";
    let prefixes = "x- X- comment= fsname= subtype= helper= uhelper= loop offset= sizelimit= user= user_id= group_id= \
                    rootmode= max_read= blksize= fd=";
    option.is_empty()
        || names.split_whitespace().any(|name| name == option)
        || prefixes.split_whitespace().any(|prefix| option.starts_with(prefix))
}

fn later(option: &str) -> Option<&'static str> {
    match option {
        "data=journal" => Some("data=journal is planned; data=ordered is what there is"),
        "strictatime" => Some("strictatime: access times are not kept over FUSE (docs/guarantees.md)"),
        "writeback" => {
            Some("the kernel's write-back cache is not supported yet; writes go through to the daemon")
        }
        _ => None,
    }
}

/// Whether these options ask for a change of a mount that exists.
pub(super) fn ask_for_remount(strings: &[String]) -> bool {
    strings.iter().flat_map(|string| string.split(',')).any(|option| option == "remount")
}

/// Reads option strings, each with options separated by commas, onto the flags that there would be without any.
pub(super) fn parse(strings: &[String], flags: MountFlags) -> Result<Parsed, String> {
    let session = SessionOptions::default();
    let mut parsed = Parsed {
        session,
        flags,
        access: None,
        remount: ask_for_remount(strings),
        fixed: Vec::new(),
        records: false,
    };
    for option in strings.iter().flat_map(|string| string.split(',')) {
        apply(&mut parsed, option)?;
    }
    match parsed.session.superblock {
        Some(no) if !parsed.remount && parsed.session.purpose == Purpose::Write => {
            Err(format!("sb={no}: by a copy of the superblock a volume is only read: add ro"))
        }
        _ => Ok(parsed),
    }
}

/// What an option does to the flags of mount(2): sets, or takes away.
fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        _ => return None,
    })
}

fn apply(parsed: &mut Parsed, option: &str) -> Result<(), String> {
    if let Some((flag, set)) = flag(option) {
        parsed.flags.set(flag, set);
        parsed.session.purpose =
            if parsed.flags.contains(MountFlags::RDONLY) { Purpose::Read } else { Purpose::Write };
        return Ok(());
    }
    match option {
        "remount" => {}
        "prov" => {
            parsed.session.version = crate::versions::PROV;
            parsed.records = true;
            parsed.fixed.push(option.into());
        }
        "allow_other" => parsed.access = Some(Access::Everybody),
        "private" => {
            parsed.access = Some(Access::OwnerUnchecked);
            parsed.fixed.push(option.into());
        }
        option if is_for_others(option) => {}
        option => {
            apply_value(parsed, option)?;
            parsed.fixed.push(option.into());
        }
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
            let seconds: u64 =
                value.parse().map_err(|_| format!("commit={value}: not a number of seconds"))?;
            parsed.session.commit_every = Duration::from_secs(if seconds == 0 { 5 } else { seconds });
        }
        "sb" => {
            let number = value.parse().map_err(|_| format!("sb={value}: not a number of a block"))?;
            parsed.session.superblock = Some(BlockNo(number));
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

    fn parse(text: &str) -> Result<Parsed, String> {
        super::parse(&[text.to_owned()], MountFlags::NOSUID | MountFlags::NODEV)
    }

    #[test]
    fn an_unknown_option_is_named_and_a_known_one_is_obeyed() {
        assert!(parse("colour=red").unwrap_err().contains("colour=red"));
        assert!(parse("bogus").unwrap_err().contains("bogus"));
        assert!(parse("commit=soon").unwrap_err().contains("commit=soon"));
        assert!(parse("data=journal").is_err());
        assert!(parse("strictatime").unwrap_err().contains("access times"));
        assert!(parse("relatime,nostrictatime").is_ok());
        assert!(parse("ro,sb=first").unwrap_err().contains("sb=first"));
        assert!(parse("sb=100").unwrap_err().contains("add ro"));
        assert_eq!(parse("sb=100,ro").unwrap().session.superblock, Some(BlockNo(100)));
        let parsed = parse("rw,nofail,x-systemd.automount,suid,commit=30,cache=64M").unwrap();
        assert_eq!(parsed.session.commit_every, Duration::from_secs(30));
        assert_eq!(parsed.session.cache_bytes, Some(64_000_000));
        assert_eq!(parsed.flags, MountFlags::NODEV);
        assert_eq!(parsed.fixed, ["commit=30", "cache=64M"]);
        assert!(!parsed.remount);
    }

    #[test]
    fn of_two_that_contradict_each_other_the_later_one_holds() {
        assert_eq!(parse("ro").unwrap().session.purpose, Purpose::Read);
        assert_eq!(parse("ro,rw").unwrap().session.purpose, Purpose::Write);
        assert_eq!(
            parse("rw,ro").unwrap().flags,
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY
        );
    }

    #[test]
    fn a_remount_takes_back_what_the_mount_table_shows() {
        let shown = "ro,nosuid,nodev,relatime,remount,user_id=0,group_id=0,default_permissions,allow_other,max_read=1048576";
        let parsed = parse(shown).unwrap();
        assert!(parsed.remount && parsed.fixed.is_empty());
    }
}
