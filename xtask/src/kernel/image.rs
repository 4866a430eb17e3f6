//! Compressed kernel images.

use super::toolbox::Toolbox;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Takes the kernel proper out of a compressed image.
pub fn unpack(toolbox: &Toolbox, image: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(image).with_context(|| image.display().to_string())?;
    let payload = payload(&bytes).with_context(|| format!("{} is no boot image", image.display()))?;
    let program = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x02, 0x21, 0x4c, 0x18, ..] => "lz4",
        [0x1f, 0x8b, ..] => "gzip",
        _ => bail!("{}: an unknown compression", image.display()),
    };
    let mut command = toolbox.command(Path::new("/"), program);
    let mut child =
        command.arg("-dc").stdin(Stdio::piped()).stdout(File::create(to)?).stderr(Stdio::piped()).spawn()?;
    // The payload has its length after it, which the programs refuse as trailing garbage: what counts is the ELF.
    let written = child.stdin.take().context("a pipe")?.write_all(payload);
    child.wait()?;
    drop(written);
    if !fs::read(to)?.starts_with(b"\x7fELF") {
        bail!("{}: unpacking gave no kernel", image.display());
    }
    Ok(())
}

/// The compressed kernel in an image, by the x86 boot protocol's header.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes: [u8; 4] = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206).is_none() || image.get(0x1fe..0x200)? != [0x55, 0xaa] {
        return None;
    }
    let setup_sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_lies_where_the_header_says() {
        let mut image = vec![0; 4096];
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x1f1] = 2;
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&3u32.to_le_bytes());
        image[3 * 512 + 16..][..3].copy_from_slice(b"abc");
        assert_eq!(payload(&image), Some(b"abc".as_slice()));
        image[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(payload(&image), None);
        assert_eq!(payload(b"short"), None);
    }
}
