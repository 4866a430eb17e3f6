//! What is on a device already: a table of the marks that matter, and blkid(8) for the rest.
use super::target::read_some;
use bento_api::BLOCK;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// A mark: where it lies, counted from the end if negative, and its bytes.
struct Mark(&'static str, i64, &'static [u8]);

/// What a Bento file system is called here.
pub const BENTO: &str = "a Bento file system";

const MARKS: &[Mark] = &[
    Mark(BENTO, 4096, b"BENTOFS"),
    Mark("an ext2, ext3 or ext4 file system", 0x438, b"\x53\xef"),
    Mark("an XFS file system", 0, b"XFSB"),
    Mark("a btrfs file system", 0x1_0040, b"_BHRfS_M"),
    Mark(
        "a bcachefs file system",
        0x1018,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
    ),
    // bcachefs had the older magic of bcache, too.
    Mark(
        "a bcache device or a bcachefs file system",
        0x1018,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
    ),
    Mark("a qcow2 disk image", 0, b"QFI\xfb"),
    Mark("a VMDK disk image", 0, b"KDMV"),
    Mark("a VMDK disk image", 0, b"COWD"),
    Mark("a VMDK disk image", 0, b"# Disk DescriptorFile"),
    Mark("a VDI disk image", 0x40, b"\x7f\x10\xda\xbe"),
    Mark("a VHDX disk image", 0, b"vhdxfile"),
    Mark("a VHD disk image", 0, b"conectix"),
    Mark("a VHD disk image", -512, b"conectix"),
    Mark("an F2FS file system", 0x400, b"\x10\x20\xf5\xf2"),
    Mark("an EROFS file system", 0x400, b"\xe2\xe1\xf5\xe0"),
    Mark("a squashfs file system", 0, b"hsqs"),
    Mark("a swap area", 0xff6, b"SWAPSPACE2"),
    Mark("a swap area", 0xff6, b"SWAP-SPACE"),
    Mark("a LUKS volume", 0, b"LUKS\xba\xbe"),
    Mark("an LVM physical volume", 0x218, b"LVM2 001"),
    Mark("an LVM physical volume", 0x18, b"LVM2 001"),
    Mark("a member of an MD array", 0x1000, b"\xfc\x4e\x2b\xa9"),
    Mark("a member of an MD array", 0, b"\xfc\x4e\x2b\xa9"),
    Mark("a GPT partition table", 0x200, b"EFI PART"),
    Mark("a GPT partition table", -512, b"EFI PART"),
    Mark("an NTFS file system", 3, b"NTFS    "),
    Mark("an exFAT file system", 3, b"EXFAT   "),
    Mark("a FAT file system", 0x36, b"FAT1"),
    Mark("a FAT file system", 0x52, b"FAT32"),
    Mark("an ISO 9660 file system", 0x8001, b"CD001"),
    Mark("a UDF file system", 0x8001, b"BEA01"),
    Mark("a ReiserFS file system", 0x1_0034, b"ReIsEr"),
    Mark("a JFS file system", 0x8000, b"JFS1"),
    Mark("a partition table", 0x1fe, b"\x55\xaa"),
];

/// The first mark on a device, in words.
pub fn find(file: &mut File, bytes: u64, path: &Path) -> Option<String> {
    let known = MARKS.iter().find(|Mark(_, at, mark)| {
        let place = if *at < 0 { bytes.checked_add_signed(*at) } else { u64::try_from(*at).ok() };
        place.and_then(|place| read_some(file, place)).is_some_and(|content| content.starts_with(mark))
    });
    known
        .map(|Mark(name, ..)| (*name).to_string())
        .or_else(|| has_zfs(file, bytes).then(|| "a member of a ZFS pool".into()))
        .or_else(|| blkid(path))
}

/// A label of ZFS, of which a device has two at its start and two at its end: its second half is a ring, and which of
/// its places has been written depends on how old the pool is.
const ZFS_LABEL: u64 = 256 << 10;
const ZFS_SLOT: usize = 1 << 10;
const ZFS_MAGIC: u64 = 0x00ba_b10c;

/// Whether a slot of a ring is written, by a machine of either byte order. blkid(8) wants to see more of them.
fn has_zfs(file: &mut File, bytes: u64) -> bool {
    let end = bytes - bytes % ZFS_LABEL;
    let labels = [Some(0), Some(ZFS_LABEL), end.checked_sub(2 * ZFS_LABEL), end.checked_sub(ZFS_LABEL)];
    labels.into_iter().flatten().any(|label| {
        let mut ring = (label + ZFS_LABEL / 2..label + ZFS_LABEL).step_by(BLOCK);
        ring.any(|at| {
            let content = read_some(file, at).unwrap_or([0; BLOCK]);
            content.chunks(ZFS_SLOT).filter_map(<[u8]>::first_chunk).any(|magic| {
                u64::from_le_bytes(*magic) == ZFS_MAGIC || u64::from_be_bytes(*magic) == ZFS_MAGIC
            })
        })
    })
}

/// Asks blkid(8), which knows many more; without it the table must do.
fn blkid(path: &Path) -> Option<String> {
    let mut command = Command::new("blkid");
    command.args(["-p", "-o", "export"]).arg(path).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_string);
    let file_system = value("TYPE=").map(|name| format!("something that blkid calls {name}"));
    file_system.or_else(|| value("PTTYPE=").map(|name| format!("a partition table ({name})")))
}
