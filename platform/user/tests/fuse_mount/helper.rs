//! Mounting without privileges, through fusermount3.

use super::*;
use bento_user::fuse::mount::Access;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;
/// Tells the second run of this test, as nobody, where to mount.
const WHERE: &str = "BENTO_TEST_MOUNT_AS_NOBODY";

#[test]
fn a_user_other_than_root_mounts_and_unmounts_through_the_helper() {
    if let Some(dir) = std::env::var_os(WHERE) {
        return as_nobody(Path::new(&dir));
    }
    if Command::new("fusermount3").arg("--version").output().is_err() {
        return eprintln!("fusermount3 is not installed (package fuse3): nothing to test");
    }
    if fs::metadata("/dev/fuse").unwrap().permissions().mode() & 0o006 != 0o006 {
        return eprintln!("/dev/fuse is not for everybody on this machine: nothing to test");
    }
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("dir");
    fs::create_dir(&dir).unwrap();
    let program = place.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    let name = "helper::a_user_other_than_root_mounts_and_unmounts_through_the_helper";
    let mut command = Command::new(&program);
    command.args(["--exact", name, "--nocapture"]).env(WHERE, &dir).uid(NOBODY).gid(NOBODY);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

fn as_nobody(dir: &Path) {
    let options = MountOptions { access: Access::Owner, ..MountOptions::image("an, odd\\ name") };
    let (device, mount) = mount(dir, &options).unwrap();
    let connection = Connection::handshake(device, &InitConfig::default()).unwrap();
    let server = Server::start(connection, Memory::new(), ServerOptions::default()).unwrap();
    prime(dir, Opens::Stateless).unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(dir.to_str().unwrap())).unwrap();
    assert!(line.contains(" - fuse.bento an,\\040odd\\134\\040name "), "{line}");
    // The root directory of the test's file system belongs to root, and the kernel checks permissions.
    let denied = fs::write(dir.join("file"), b"x").unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(names(dir), [""; 0]);
    unmount(&mount);
    assert_eq!(server.wait(), End::Unmounted);
}
