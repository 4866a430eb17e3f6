//! `bento upgrade`: replaces the code under a mount.
use anyhow::{Context, Result, bail};
use bento_api::control::{UPGRADE_IOCTL, UpgradeReply, UpgradeRequest};
use bento_console::quoted;
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Arguments of `bento upgrade`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The mount point.
    dir: PathBuf,
    /// The version to go to; the other one unless given.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    version: String,
    pause_ns: u64,
    total_ns: u64,
    refusals: u64,
    handed_over_bytes: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let dir = File::open(&args.dir).with_context(|| quoted(&args.dir).to_string())?;
    let mut request = UpgradeRequest::new_zeroed();
    let to = args.to.as_deref().unwrap_or("");
    // Nothing stands for the other version, in the request.
    if args.to.as_deref() == Some("") {
        bail!("there is no version ''; there are {}", names(&dir));
    }
    match request.to.get_mut(..to.len()) {
        Some(place) if to.len() < 64 => place.copy_from_slice(to.as_bytes()),
        _ => bail!("there is no version '{to}'"),
    }
    let mut bytes = [0; 256];
    bytes.copy_from_slice(request.as_bytes());
    crate::sys::exchange::<UPGRADE_IOCTL, 256>(&dir, &mut bytes)
        .map_err(|errno| explain(args, &dir, errno))?;
    let (reply, _) = UpgradeReply::read_from_prefix(&bytes).map_err(|_| anyhow::anyhow!("a short answer"))?;
    let version = crate::server::text(&reply.version);
    let refused = crate::server::text(&reply.refused);
    if !refused.is_empty() {
        bail!("{}: {refused}; {version} serves on", quoted(&args.dir));
    }
    let report = Report {
        version,
        pause_ns: reply.closed_ns,
        total_ns: reply.total_ns,
        refusals: reply.refusals,
        handed_over_bytes: reply.handed_over,
    };
    if args.json {
        // In one line: scripts look at it by themselves.
        let text = serde_json::to_string(&report)?;
        return Ok(bento_console::print(|to| writeln!(to, "{text}"))?);
    }
    let (pause, total) = (Duration::from_nanos(report.pause_ns), Duration::from_nanos(report.total_ns));
    Ok(bento_console::print(|to| {
        writeln!(
            to,
            "{} is served by {}: operations were kept out for {pause:?} (in all {total:?}, {} earlier tries gave up)",
            quoted(&args.dir),
            report.version,
            report.refusals
        )
    })?)
}

/// What statfs(2) says of a mount that the kernel module serves.
const KERNEL_MAGIC: i64 = 0x4245_4e54;
/// The versions whose modules are loaded, one a line.
const LOADED: &str = "/sys/fs/bento/versions";

/// The names that a mount can be upgraded to, and what else could help.
fn names(mount: &File) -> String {
    let is_in_kernel = rustix::fs::fstatfs(mount).is_ok_and(|told| told.f_type == KERNEL_MAGIC);
    if !is_in_kernel {
        let names: Vec<&str> = crate::versions::VERSIONS.iter().map(|version| version.name).collect();
        return names.join(", ");
    }
    let loaded = std::fs::read_to_string(LOADED).unwrap_or_default();
    let names: Vec<&str> = loaded.lines().filter_map(|line| line.split_whitespace().next()).collect();
    format!("{}, and no module of that name is installed", names.join(", "))
}

fn explain(args: &Args, mount: &File, errno: rustix::io::Errno) -> anyhow::Error {
    use rustix::io::Errno;
    let dir = quoted(&args.dir);
    match errno {
        Errno::NOTTY | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTDIR => {
            anyhow::anyhow!("{dir} is no mounted Bento volume")
        }
        Errno::NOENT => {
            anyhow::anyhow!("there is no such version; there are {}", names(mount))
        }
        Errno::INTR => anyhow::anyhow!("{dir}: interrupted; the version before serves on"),
        Errno::PERM => anyhow::anyhow!("{dir}: only root, or who mounted it, may upgrade it"),
        other => anyhow::anyhow!("{dir}: {}", std::io::Error::from(other)),
    }
}
