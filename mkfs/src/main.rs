//! `mkfs.bento` as a program of its own; the `bento` command has it too.
use std::process::ExitCode;

fn main() -> ExitCode {
    bento_mkfs::main(std::env::args_os())
}
