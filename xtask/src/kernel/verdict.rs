//! How a guest ended: by its command, by a time limit, by dying, or with a complaint of its kernel.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a run of a guest came to.
#[derive(Debug)]
pub struct Verdict {
    /// The command's status, if it ended.
    pub status: Option<u8>,
    /// Whether the time limit ended it.
    pub was_cut_off: bool,
    /// Lines in which the kernel says that something is wrong.
    pub complaints: Vec<String>,
    /// Where the kernel's messages were kept.
    pub console: PathBuf,
}

/// The guest died: what `timeout` and shells use is left free.
const DIED: u8 = 99;
/// The command succeeded, but the kernel complained.
const COMPLAINED: u8 = 98;
/// As `timeout` does.
const CUT_OFF: u8 = 124;

/// Beginnings of what kernels say when they find a fault in themselves.
const SIGNS: &[&str] = &[
    "BUG: ",
    "WARNING: ",
    "kernel BUG at",
    "Kernel panic",
    "Oops: ",
    "general protection fault",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "held lock freed",
    "lock held when returning to user space",
    "Objects remaining",
    "blocked for more than",
    "detected stall",
    "UBSAN: ",
    "KASAN: ",
    "KFENCE: ",
    "list_add corruption",
    "list_del corruption",
    "scheduling while atomic",
    "Memory failure",
    "Out of memory: ",
];

/// What a working kernel says all the same.
const HARMLESS: &[&str] = &["Spectre V2 : WARNING", "RETBleed: WARNING"];

impl Verdict {
    /// Reads the kernel's messages for complaints.
    pub fn new(status: Option<u8>, was_cut_off: bool, console: &Path) -> Verdict {
        let text = std::fs::read(console).unwrap_or_default();
        let complaints = complaints(&String::from_utf8_lossy(&text));
        Verdict { status, was_cut_off, complaints, console: console.to_path_buf() }
    }

    /// Whether the command succeeded and the kernel had nothing to complain of.
    pub fn succeeded(&self) -> bool {
        self.status == Some(0) && self.complaints.is_empty()
    }

    /// The status of the whole run; says on standard error what a caller would not see from it.
    pub fn exit_code(&self) -> ExitCode {
        match self.status {
            Some(status) => {
                if !self.complaints.is_empty() {
                    self.tell("the guest's kernel complains:", &self.complaints);
                    return ExitCode::from(if status == 0 { COMPLAINED } else { status });
                }
                ExitCode::from(status)
            }
            None if self.was_cut_off => {
                self.tell("the time limit ended the guest; its kernel's last messages:", &self.tail());
                ExitCode::from(CUT_OFF)
            }
            None => {
                self.tell("the guest died; its kernel's last messages:", &self.tail());
                ExitCode::from(DIED)
            }
        }
    }

    fn tail(&self) -> Vec<String> {
        let text = std::fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_string()).collect();
        lines[lines.len().saturating_sub(60)..].to_vec()
    }

    fn tell(&self, what: &str, lines: &[String]) {
        eprintln!("{what}");
        for line in lines {
            eprintln!("  {line}");
        }
        eprintln!("all of them are in {}", self.console.display());
    }
}

fn complaints(console: &str) -> Vec<String> {
    let is_complaint = |line: &&str| {
        SIGNS.iter().any(|sign| line.contains(sign)) && !HARMLESS.iter().any(|known| line.contains(known))
    };
    console.lines().filter(is_complaint).map(|line| line.trim_end().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_lockdep_is_a_complaint_and_a_greeting_is_not() {
        let console = "[    0.1] Linux version 6.12\r\n[    0.2] WARNING: possible circular locking dependency detected\r\n\
                       [    0.3] BENTO-fs (vda): mounted\r\n[    0.4] BUG: sleeping function called from invalid context\r\n";
        let found = complaints(console);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("circular"));
    }
}
