//! How far the check is: a bar for people, lines for programs.
use super::arguments::Arguments;
use crate::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Where the passes begin, in percent of all the work: what systemd-fsck reckons with, too.
const BEGINS: [u64; 6] = [0, 70, 90, 92, 95, 100];
const PASSES: [&str; 5] = ["inodes and blocks", "directories", "connectivity", "link counts", "bitmaps"];

enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines(RefCell<File>, String),
}

/// The display.
pub(super) struct Display {
    show: Show,
    last: Cell<Option<Instant>>,
}

impl Display {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, String> {
        let show = match arguments.progress {
            // The descriptor is opened once more by its name: it is another program's, and stays its own.
            Some(fd @ 1..) => {
                let file = OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}"));
                let file = file.map_err(|error| format!("-C {fd}: {error}"))?;
                Show::Lines(RefCell::new(file), arguments.device.display().to_string())
            }
            Some(0) => Show::Bar(bar()),
            None if !arguments.json && std::io::stderr().is_terminal() => Show::Bar(bar()),
            None => Show::Nothing,
        };
        Ok(Self { show, last: Cell::new(None) })
    }

    /// Shows how far it is, at most ten times a second, and the end of each pass.
    pub(super) fn update(&self, progress: Progress) {
        let now = Instant::now();
        let ends = progress.done >= progress.total;
        if !ends && self.last.get().is_some_and(|last| now - last < Duration::from_millis(100)) {
            return;
        }
        self.last.set(Some(now));
        let pass = usize::from(progress.pass);
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => {
                let [from, to] =
                    [pass.saturating_sub(1), pass].map(|at| BEGINS.get(at).copied().unwrap_or(100));
                bar.set_position(
                    from + (to - from) * progress.done.min(progress.total) / progress.total.max(1),
                );
                bar.set_message(PASSES.get(pass.saturating_sub(1)).copied().unwrap_or(""));
            }
            Show::Lines(file, device) => {
                // Nobody has to listen.
                let _ = writeln!(file.borrow_mut(), "{pass} {} {} {device}", progress.done, progress.total);
            }
        }
    }

    pub(super) fn end(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(100);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}") {
        bar.set_style(style);
    }
    bar
}
