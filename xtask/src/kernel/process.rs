//! Running other programs: quietly when they succeed, with all they said when they do not.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs a command to its end; an error holds the tail of its output.
pub fn run(command: &mut Command) -> Result<()> {
    capture(command).map(drop)
}

/// Runs a command to its end and returns what it printed, standard output and error apart.
pub fn capture(command: &mut Command) -> Result<Printed> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    let printed = Printed {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    if !output.status.success() {
        bail!("{} failed ({}):\n{}", shown(command), output.status, printed.tail());
    }
    Ok(printed)
}

/// What a guest is started with: the kernel kills it when the thread ends that started it and waits for it, even if
/// nobody let us clean up.
pub const TIED: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// What a command printed.
pub struct Printed {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Printed {
    /// Every line of both, errors last.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines().chain(self.stderr.lines())
    }

    fn tail(&self) -> String {
        let lines: Vec<&str> = self.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// A command as one line, for a message.
fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        // The tool box puts a script before what was asked for: nobody wants to read that.
        let argument = if argument.contains('\n') { "..." } else { &argument };
        let _ = write!(line, " {argument}");
    }
    line
}

/// Says what takes a while, and how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    eprintln!("{what} ...");
    let done = work().with_context(|| what.to_string())?;
    eprintln!("{what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(done)
}
