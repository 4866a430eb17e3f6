//! How much memory there is for this process: the machine's, or less if a limit says so.
use rustix::process::{Resource, getrlimit};
use std::path::{Path, PathBuf};

/// Bytes that this process may hope for.
pub(super) fn limit() -> u64 {
    let limits = [machine(), resource(Resource::As), resource(Resource::Data), control_group()];
    limits.into_iter().flatten().min().unwrap_or(1 << 30)
}

fn machine() -> Option<u64> {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the field's width depends on the architecture")]
    let total = u64::try_from(info.totalram).ok()?;
    total.checked_mul(u64::from(info.mem_unit).max(1))
}

fn resource(resource: Resource) -> Option<u64> {
    getrlimit(resource).current
}

/// The least limit of the control groups that this process is in.
fn control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(|line| of_group(Path::new("/sys/fs/cgroup"), line)).min()
}

/// The limit that a line of `/proc/self/cgroup` leads to: `number:controllers:/path`, without controllers in the
/// unified hierarchy.
fn of_group(root: &Path, line: &str) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (root, file): (PathBuf, _) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        list if list.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = root.join(path.trim_start_matches('/'));
    let above = group.ancestors().take_while(|ancestor| ancestor.starts_with(&root));
    above.filter_map(|group| std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_a_group_above_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let group = root.path().join("a/b");
        std::fs::create_dir_all(&group).expect("groups");
        std::fs::write(group.join("memory.max"), "max\n").expect("a limit");
        std::fs::write(root.path().join("a/memory.max"), "536870912\n").expect("a limit");
        assert_eq!(of_group(root.path(), "0::/a/b"), Some(512 << 20));
        assert_eq!(of_group(root.path(), "0::/c"), None);
        assert_eq!(of_group(root.path(), "3:cpu,cpuacct:/a"), None);
        assert!(limit() > 1 << 20);
    }
}
