//! The `fsck.bento` command as a program of its own.
use std::process::ExitCode;

fn main() -> ExitCode {
    bento_fsck::main(std::env::args_os())
}
