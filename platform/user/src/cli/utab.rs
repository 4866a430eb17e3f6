//! What umount(8) knows of a mount beyond the kernel's table.
//!
//! umount(8) would find `umount.fuse.bento` by the mount's type, but to be quick it asks statfs(2) for the type, which for
//! any FUSE mount is `fuse`, unless its own table has an entry for the directory. So it gets one, with the helper's name
//! in it. The table is written by mount(8) alone, told to do nothing else, as libfuse does it too.
use crate::fuse::mount::SUBTYPE;
use crate::mount_table;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes umount(8) call our helper for this mount. Without mount(8) there is no umount(8) either.
pub(super) fn note(source: &Path, dir: &Path) {
    let (kind, options) = (format!("fuse.{SUBTYPE}"), format!("helper=fuse.{SUBTYPE}"));
    let mut command = Command::new("mount");
    command.args(["--no-canonicalize", "-i", "-f", "-t", &kind, "-o", &options]).arg(source).arg(dir);
    run(command);
}

/// Takes that back, once nothing is mounted there.
pub(super) fn forget(dir: &Path) {
    if mount_table::at(dir).is_none() {
        let mut command = Command::new("umount");
        command.args(["--no-canonicalize", "-i", "--fake"]).arg(dir);
        run(command);
    }
}

fn run(mut command: Command) {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    log::debug!("{command:?}: {done:?}");
}
