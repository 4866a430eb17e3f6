//! Whether somebody uses a device or an image: mounts, swap, loop devices, device mapper and MD.
use bento_console::quoted;
use rustix::fs::{FileType, Stat, major, minor};
use std::fs;
use std::path::{Path, PathBuf};

/// Who uses it, in words.
pub(crate) fn user_of(path: &Path, stat: &Stat) -> Option<String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    let number = device.then(|| format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev)));
    mount(&path, number.as_deref())
        .map(|place| format!("mounted on {place}"))
        .or_else(|| swap(&path).then(|| "swap".to_string()))
        .or_else(|| holder(number.as_deref()?).map(|holder| format!("part of {holder}")))
        .or_else(|| {
            let image = backing_file(device.then_some(stat.st_rdev)?)?;
            Some(format!("its image {} is mounted on {}", quoted(&image), mount(&image, None)?))
        })
        .or_else(|| loop_device(&path).map(|device| format!("the image behind {device}")))
}

/// The image behind a loop device, or behind the loop device that a partition is of.
pub fn backing_file(device: u64) -> Option<PathBuf> {
    let place = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
    let file = ["loop/backing_file", "../loop/backing_file"].iter().find_map(|name| {
        // Through the link: `..` is then the disk of a partition.
        fs::read_to_string(fs::canonicalize(&place).ok()?.join(name)).ok()
    })?;
    Some(PathBuf::from(file.trim_end_matches('\n')))
}

/// The mount point of a device, by its number or by its path as the source: a FUSE mount has no number of its own.
fn mount(path: &Path, number: Option<&str>) -> Option<String> {
    mount_in(&fs::read_to_string("/proc/self/mountinfo").ok()?, path, number)
}

fn mount_in(table: &str, path: &Path, number: Option<&str>) -> Option<String> {
    table.lines().find_map(|line| {
        // 36 35 98:0 /root /mount/point options [fields] - type source options
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let (found, place) = (front.next()?, front.nth(1)?);
        let source = unescape(back.split(' ').nth(1)?);
        let same = Some(found) == number || Path::new(&source) == path;
        same.then(|| unescape(place))
    })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(text: &str) -> String {
    let mut plain = text.to_string();
    for (escape, byte) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        plain = plain.replace(escape, byte);
    }
    plain
}

fn swap(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/swaps").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .any(|name| Path::new(&unescape(name)) == path)
}

/// A device that is made of this one: device mapper, MD, bcache.
fn holder(number: &str) -> Option<String> {
    let holders = fs::read_dir(format!("/sys/dev/block/{number}/holders")).ok()?;
    holders.flatten().map(|entry| format!("/dev/{}", entry.file_name().to_string_lossy())).next()
}

fn loop_device(path: &Path) -> Option<String> {
    let devices = fs::read_dir("/sys/block").ok()?.flatten();
    devices
        .filter(|device| {
            let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            Path::new(file.trim_end_matches('\n')) == path
        })
        .map(|device| format!("/dev/{}", device.file_name().to_string_lossy()))
        .next()
}

#[cfg(test)]
mod tests {
    use super::mount_in;
    use std::path::Path;

    const TABLE: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        40 22 0:50 / /mnt/my\\040disk rw,nosuid - fuse.bento /srv/my\\040image rw\n\
        41 22 0:51 /sub /mnt/bind rw - tmpfs tmpfs rw\n";

    fn place(path: &str, number: Option<&str>) -> Option<String> {
        mount_in(TABLE, Path::new(path), number)
    }

    #[test]
    fn a_mounted_device_is_found_by_number_and_by_path() {
        assert_eq!(place("/dev/other", Some("8:1")), Some("/".into()));
        assert_eq!(place("/dev/sda1", None), Some("/".into()));
        assert_eq!(place("/dev/sda", Some("8:0")), None);
    }

    #[test]
    fn an_image_that_fuse_serves_is_found_by_its_path_whatever_its_name() {
        assert_eq!(place("/srv/my image", None), Some("/mnt/my disk".into()));
        assert_eq!(place("/srv/my", None), None);
    }
}
