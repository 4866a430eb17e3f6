//! `fs-stalls STOP`: how often and how long this machine itself stands still, until the file `STOP` is there.
//!
//! Looks at the clock without a break for a short while, again and again. Started ahead of all other work (`chrt -f`), what
//! it misses nobody here had: the machine below a guest gave its time to somebody else. Prints for how many nanoseconds it
//! looked, and how many gaps of a millisecond or more it saw.

use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// So short that those who have to wait for it are not held up.
const LOOK: Duration = Duration::from_micros(200);
const BREAK: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_millis(1);

fn run() -> Result<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [stop] = words.as_slice() else { bail!("usage: fs-stalls STOP") };
    let (mut looked, mut stalls) = (Duration::ZERO, 0_u64);
    while !stop.exists() {
        let start = Instant::now();
        let mut last = start;
        while last - start < LOOK {
            let now = Instant::now();
            if now - last >= LONG {
                stalls += 1;
            }
            last = now;
        }
        looked += LOOK;
        std::thread::sleep(BREAK);
    }
    println!("{} {stalls}", looked.as_nanos());
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fs-stalls: {error:#}");
            ExitCode::FAILURE
        }
    }
}
