//! The kernel's table of mounts, as this process sees it.
use crate::fuse::mount::SUBTYPE;
use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Which file system it is: its device's numbers, the same in every mount namespace.
    pub device: String,
    /// Where.
    pub dir: PathBuf,
    /// What it shows as its source.
    pub source: PathBuf,
    /// Whether it is of our type.
    pub is_bento: bool,
    /// Whether it was mounted with `dirsync`.
    pub is_dirsync: bool,
}

/// All mounts, the oldest first; none if the table cannot be read.
pub fn all() -> Vec<Mounted> {
    parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// What one finds at a directory: the newest mount there. The path has to be absolute and free of links.
pub fn at(dir: &Path) -> Option<Mounted> {
    all().into_iter().rfind(|mount| mount.dir == dir)
}

/// Where a file or a device is mounted as a volume of ours.
pub fn of_source(source: &Path) -> Option<Mounted> {
    let source = source.canonicalize().ok()?;
    all().into_iter().find(|mount| mount.is_bento && mount.source == source)
}

/// Another mount namespace in which a file system is mounted: a process in it, and what that is called. Only those whom one may
/// look at are found.
pub fn elsewhere(device: &str) -> Option<(u32, String)> {
    let namespace = |process: &Path| std::fs::read_link(process.join("ns/mnt")).ok();
    let mut seen = HashSet::from([namespace(Path::new("/proc/self"))?]);
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process = entry.path();
        let number = entry.file_name().to_str()?.parse().ok()?;
        if !seen.insert(namespace(&process)?) {
            return None;
        }
        let mounts = parse(&std::fs::read(process.join("mountinfo")).ok()?);
        mounts.iter().find(|mount| mount.is_bento && mount.device == device)?;
        let name = std::fs::read(process.join("comm")).unwrap_or_default();
        Some((number, String::from_utf8_lossy(name.trim_ascii()).into_owned()))
    })
}

fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /in/it /dir rw,noatime optional fields - type source options`
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let (dir, kind, source) = (fields.get(4)?, fields.get(dash + 1)?, fields.get(dash + 2)?);
    let options = fields.get(dash + 3).copied().unwrap_or_default();
    let subtype = kind.strip_prefix(b"fuse.").or_else(|| kind.strip_prefix(b"fuseblk."));
    Some(Mounted {
        device: String::from_utf8_lossy(fields.get(2)?).into_owned(),
        dir: unescape(dir),
        source: unescape(source),
        // The kernel's own type has the same name.
        is_bento: subtype.unwrap_or(kind) == SUBTYPE.as_bytes(),
        is_dirsync: options.split(|byte| *byte == b',').any(|option| option == b"dirsync"),
    })
}

/// Undoes the octal escapes of the table.
fn unescape(text: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.first_chunk::<3>().filter(|digits| digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match digits {
            Some(digits) if *first == b'\\' => {
                plain.push(
                    digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_what_and_whether_it_is_ours() {
        let table = b"21 1 0:40 / /a rw - fuse.sshfs host rw\n\
                      22 1 0:41 / /b\\040c rw shared:1 master:2 - fuse.bento /x\\134y.img rw,dirsync,user_id=0\n\
                      23 1 7:0 / /d rw - fuseblk.bento /dev/loop0 rw\n\
                      24 1 7:0 / /e rw - bento /dev/vda rw\n\
                      25 1 7:0 / /f rw - ext4 /dev/vdb rw\n\
                      not a line\n";
        let mounts = parse(table);
        assert_eq!(
            mounts.iter().map(|mount| mount.is_bento).collect::<Vec<_>>(),
            [false, true, true, true, false]
        );
        assert_eq!(mounts.iter().filter(|mount| mount.is_dirsync).count(), 1);
        assert_eq!(mounts[1].device, "0:41");
        assert_eq!(mounts[1].dir, Path::new("/b c"));
        assert_eq!(mounts[1].source, Path::new("/x\\y.img"));
    }

    #[test]
    fn an_escape_that_is_cut_off_stands_for_itself() {
        assert_eq!(unescape(b"\\04"), Path::new("\\04"));
    }
}
