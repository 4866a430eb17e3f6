//! The `bento` command, and the other names that it is called by: `mkfs.bento`, `fsck.bento`, `mount.fuse.bento`,
//! `umount.fuse.bento`.
use std::process::ExitCode;

fn main() -> ExitCode {
    bento_user::cli::main(std::env::args_os())
}
