//! Counts that do not depend on the machine's mood, as JSON: allocations in warm operations, commits for each fsync, the
//! gain of a second thread. With an operation's name as argument it only runs that one 20,000 times, for callgrind.
use bento_bench::Volume;
use serde_json::json;
use std::time::{Duration, Instant};

const COUNT: u64 = 20_000;
/// For a thread, so that a round takes half a second.
const THREAD_COUNT: u64 = 80_000;

/// Creates and removes files in a directory, `count` of them, `alive` at a time.
fn churn(volume: &Volume, dir: &str, count: u64, alive: u64) {
    let mut user = volume.user();
    let dir = user.mkdir(dir);
    let names: Vec<String> = (0..alive).map(|at| format!("file-{at}")).collect();
    for round in 0..count / alive {
        for name in &names {
            user.create(dir, name);
        }
        for name in &names {
            user.unlink(dir, name);
        }
        if round % 16 == 15 {
            volume.mount().commit().expect("memory does not fail");
        }
    }
}

/// How many times as much two threads do as one, and what one does a second: medians of rounds that take turns.
fn two_over_one() -> (f64, f64) {
    let rounds: Vec<(f64, f64)> = (0..9).map(|_| (threads(1), threads(2))).collect();
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let ratios = rounds.iter().map(|(one, two)| two / one).collect();
    (median(ratios), median(rounds.iter().map(|(one, _)| *one).collect()))
}

/// Operations a second of so many threads, each in a directory of its own.
fn threads(count: u64) -> f64 {
    let volume = Volume::new(1024);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..count {
            let volume = &volume;
            scope.spawn(move || churn(volume, &format!("dir-{thread}"), THREAD_COUNT, 50));
        }
    });
    (count * THREAD_COUNT * 2) as f64 / started.elapsed().as_secs_f64()
}

fn commits_per_fsync() -> f64 {
    let volume = Volume::new(1024);
    volume.slow_flushes(Duration::from_micros(200));
    let before = volume.mount().counters();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let volume = &volume;
            scope.spawn(move || {
                let mut user = volume.user();
                let dir = user.mkdir(&format!("sync-{thread}"));
                for file in 0..50 {
                    let ino = user.create(dir, &format!("f{file}"));
                    user.write_and_sync(ino, b"a line of a mail\n");
                }
            });
        }
    });
    let after = volume.mount().counters();
    (after.commits - before.commits) as f64 / (after.fsyncs - before.fsyncs) as f64
}

/// Allocations for each warm create, lookup and unlink; commits in between are not counted.
fn allocations() -> f64 {
    const ROUNDS: u64 = 2048;
    let volume = Volume::new(256);
    let mut user = volume.user();
    let dir = user.mkdir("warm");
    let mut counted = 0;
    for round in 0..2 * ROUNDS {
        let made = allocation_counter::measure(|| {
            user.create(dir, "file");
            user.lookup(dir, "file");
            user.unlink(dir, "file");
        });
        if round >= ROUNDS {
            counted += made.count_total;
        }
        if round % 32 == 31 {
            volume.mount().commit().expect("memory does not fail");
            volume.mount().checkpoint().expect("memory does not fail");
        }
    }
    counted as f64 / (3 * ROUNDS) as f64
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => {
            let (ratio, one) = two_over_one();
            let numbers = json!({
                "allocations_per_warm_operation": allocations(),
                "commits_per_fsync_16_threads": commits_per_fsync(),
                "operations_per_second_1_thread": one,
                "two_threads_over_one": ratio,
            });
            println!("{numbers:#}");
        }
        Some("churn") => churn(&Volume::new(1024), "dir", COUNT, 50),
        Some("one") => println!("{:.0} operations a second", threads(1)),
        Some("two") => println!("{:.0} operations a second", threads(2)),
        Some(other) => {
            eprintln!("core-numbers: no operation is called '{other}'; there are churn, one and two");
            std::process::exit(2);
        }
    }
}
