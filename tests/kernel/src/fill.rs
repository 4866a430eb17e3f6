//! `fs-fill DIR`: single blocks in many sparse files, in no order, until the file system is full; then everything is
//! written back, and nothing that was accepted may be lost.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const FILES: u64 = 64;
const BLOCK: usize = 4096;
const SPREAD: u64 = 1 << 20;

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn block_of(number: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (at, word) in block.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = mix(number * 1000 + at as u64).to_le_bytes();
    }
    block
}

fn fill(dir: &Path) -> Result<()> {
    let free = |at: &Path| rustix::fs::statvfs(at).map(|stat| stat.f_bavail);
    let before = free(dir)?;
    let open = |number: u64| -> Result<File> {
        let path = dir.join(format!("sparse{number}"));
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| path.display().to_string())
    };
    let files = (0..FILES).map(open).collect::<Result<Vec<_>>>()?;
    let mut written = BTreeMap::new();
    let mut number = 0;
    loop {
        number += 1;
        let (file, block) = (mix(number) % FILES, mix(number + 1_000_000_007) % SPREAD);
        match files[file as usize].write_at(&block_of(number), block * BLOCK as u64) {
            Ok(BLOCK) => drop(written.insert((file, block), number)),
            Ok(other) => anyhow::bail!("wrote {other} bytes"),
            Err(error) if error.raw_os_error() == Some(28) => break,
            Err(error) => return Err(error).context("write"),
        }
    }
    for file in &files {
        file.sync_all().context("fsync of what was accepted")?;
    }
    for ((file, block), number) in &written {
        let mut read = [0; BLOCK];
        let file = &files[*file as usize];
        file.read_exact_at(&mut read, block * BLOCK as u64).context("read")?;
        ensure!(read == block_of(*number), "block {block} is not what was written");
    }
    let taken = written.len() as u64;
    println!("{taken} blocks of {before} free ones were written, {} are left", free(dir)?);
    ensure!(taken * 100 >= before * 97, "full at {} % of what was free", taken * 100 / before);
    // Room that was kept for trees may have come back meanwhile; but what is accepted is kept.
    match files[0].write_at(&block_of(1), (SPREAD + 5) * BLOCK as u64) {
        Ok(_) => files[0].sync_all().context("fsync of what a full file system accepted")?,
        Err(error) => ensure!(error.raw_os_error() == Some(28), "writing to a full file system: {error}"),
    }
    for number in 0..FILES {
        std::fs::remove_file(dir.join(format!("sparse{number}"))).context("remove on a full file system")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: fs-fill DIR");
        return ExitCode::from(2);
    };
    match fill(&dir) {
        Ok(()) => {
            println!("1 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}
