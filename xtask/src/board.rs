//! Runs named stages: a moving line on a terminal, one line a stage in a pipe, a log file each.

use crate::build;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many passed.
    pub passed: u64,
    /// How many failed, whatever the way.
    pub failed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// A progress line on stderr that exists only on a terminal; the console of a guest is a log, and none.
pub fn spinner(message: &str) -> ProgressBar {
    if build::in_guest() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_message(message.to_string());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Sums up the test counts in a runner's output.
///
/// Knows the closing lines of nextest (`Summary ... 3 passed, 1 failed`), of libtest
/// (`test result: ok. 3 passed; 0 failed`), and the plain one that this program prints itself.
pub fn count(output: &str) -> Counts {
    let mut sum = Counts::default();
    for line in output.lines().map(str::trim) {
        let nextest = line.starts_with("Summary [");
        let libtest = line.starts_with("test result:");
        let plain = line.ends_with(" failed") && line.starts_with(|c: char| c.is_ascii_digit());
        if nextest || libtest || plain {
            sum += count_line(line);
        }
    }
    sum
}

fn count_line(line: &str) -> Counts {
    let mut counts = Counts::default();
    for part in line.split([',', ';', ':', '.']) {
        // A part is "3 passed", or "3 passed (1 slow" in nextest's longer form.
        let mut words = part.split_whitespace();
        let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" => counts.passed += number,
            "failed" | "timed" | "exec" => counts.failed += number,
            _ => {}
        }
    }
    counts
}

/// Runs stages one after another and keeps the score.
pub struct Board {
    score: Counts,
    failed: Vec<String>,
    logs: PathBuf,
    started: Instant,
}

impl Board {
    /// An empty board.
    pub fn new() -> Result<Board> {
        Ok(Board {
            score: Counts::default(),
            failed: Vec::new(),
            logs: build::own_dir("logs")?,
            started: Instant::now(),
        })
    }

    /// Runs a command as a stage. The stage counts as one test, and so does each test that its
    /// output counts; when it fails with no failed test to show, the stage is the failure.
    pub fn stage(&mut self, name: &str, command: Result<Command>) -> Result<()> {
        let start = Instant::now();
        let bar = spinner(name);
        let (success, output) = match command {
            Ok(mut command) => self.run(name, &mut command, &bar)?,
            Err(error) => (false, format!("{error:#}\n")),
        };
        bar.finish_and_clear();
        let mut counts = count(&output);
        if success && counts.failed == 0 {
            counts.passed += 1;
        } else {
            counts.failed += 1;
        }
        self.close(name, counts, start.elapsed(), &output);
        Ok(())
    }

    /// Runs the command with its output in the stage's log and, line by line, in the bar.
    fn run(&self, name: &str, command: &mut Command, bar: &ProgressBar) -> Result<(bool, String)> {
        let (reader, writer) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        command.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
        let spawned = command.spawn();
        // The command holds the pipe's write end; the reader below ends only when that is gone.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return Ok((false, format!("{command:?}: {error}\n"))),
        };
        let mut log = File::create(self.logs.join(format!("{}.log", name.replace(' ', "-"))))?;
        let mut output = String::new();
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).context("stage output")? > 0 {
            log.write_all(&line)?;
            let text = String::from_utf8_lossy(&line);
            bar.set_message(format!("{name}: {}", text.trim()));
            output.push_str(&text);
            line.clear();
        }
        Ok((child.wait()?.success(), output))
    }

    fn close(&mut self, name: &str, counts: Counts, took: Duration, output: &str) {
        let verdict = if counts.failed == 0 { "ok" } else { "FAIL" };
        println!("{verdict:4} {name:32} {counts:>24} {:8.1} s", took.as_secs_f64());
        if counts.failed > 0 {
            let lines: Vec<&str> = output.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(200)) {
                println!("     | {line}");
            }
            self.failed.push(name.to_string());
        }
        self.score += counts;
    }

    /// Prints the closing line; an error if anything failed.
    pub fn finish(self) -> Result<()> {
        println!("{:.0} s in all; logs in {}", self.started.elapsed().as_secs_f64(), self.logs.display());
        println!("{}", self.score);
        if self.failed.is_empty() {
            return Ok(());
        }
        anyhow::bail!("failed: {}", self.failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_nextest_is_counted_with_its_slow_and_timed_out_tests() {
        let line =
            "     Summary [   0.012s] 9 tests run: 5 passed (2 slow), 3 failed, 1 timed out, 4 skipped";
        assert_eq!(count(line), Counts { passed: 5, failed: 4 });
    }

    #[test]
    fn the_closing_lines_of_libtest_are_added_up() {
        let text = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(count(text), Counts { passed: 4, failed: 2 });
    }

    #[test]
    fn our_own_closing_line_is_counted_and_other_numbers_are_not() {
        let text = "wrote 12 files\n7 passed, 1 failed\nerror: 3 failed attempts";
        assert_eq!(count(text), Counts { passed: 7, failed: 1 });
    }
}
