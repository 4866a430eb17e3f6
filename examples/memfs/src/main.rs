//! `memfs DIR`: the in-memory file system on a directory, behind the host that serves Bento's volumes.
//!
//! There is nothing between the requests and a few hash tables, so it shows what the host costs: the ceiling.
use anyhow::{Context, Result};
use bento_memfs::Memfs;
use bento_user::containers::{Containers, Options, system_time};
use bento_user::device::{Medium, RamDevice};
use bento_user::fuse::mount::{Detach, Mount as Attached, MountOptions, mount};
use bento_user::fuse::{Connection, InitConfig, Opens, Server, ServerOptions, prime};
use bento_user::run::Mount;
use bento_user::server::{Bento, Served};
use bento_user::session::SessionError;
use bytesize::ByteSize;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Mounts a file system that lives in memory, and is gone when it is unmounted.
#[derive(Debug, Parser)]
#[command(name = "memfs", version)]
struct Arguments {
    /// Where to mount it
    dir: PathBuf,
    /// Stay in the foreground: the only way
    #[arg(short, long)]
    foreground: bool,
    /// Room for file data; memory is taken as it is used
    #[arg(short, long, default_value = "64GiB")]
    size: ByteSize,
}

/// The file system, mounted, with nothing to keep.
struct InMemory(Arc<Mount>);

impl Served for InMemory {
    fn mount(&self) -> &Arc<Mount> {
        &self.0
    }

    fn close(&self) -> Result<(), SessionError> {
        Ok(())
    }
}

fn main() -> ExitCode {
    match serve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memfs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.dir;
    let signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    let place = std::fs::metadata(dir).with_context(|| dir.display().to_string())?;
    let blocks = arguments.size.as_u64() / bento_api::BLOCK_BYTES;
    let fs = Memfs::new(blocks, place.uid(), place.gid(), system_time())
        .map_err(|errno| anyhow::anyhow!("{errno:?}"))?;
    let medium = Arc::new(Medium::new(Arc::new(RamDevice::new(blocks))));
    let containers = Containers::new(medium, &fs.mounted(), Options::default());
    let served = Arc::new(InMemory(Mount::new(Box::new(fs), containers, false)));
    let (device, attached) = mount(dir, &MountOptions::image("memfs"))?;
    let attached = Arc::new(attached);
    let connection = Connection::handshake(device, &InitConfig::default())?;
    let server = Server::start(connection, Bento::new(served, Opens::Stateless), ServerOptions::default())?;
    prime::prime(dir, Opens::Stateless).context("the new mount does not answer")?;
    // As for Bento's own mounts, which it is to be compared with; without it reads are only slower.
    let _ = attached.set_read_ahead(1024);
    unmount_at(signals, attached)?;
    server.wait();
    Ok(())
}

/// SIGINT and SIGTERM unmount.
fn unmount_at(mut signals: Signals, attached: Arc<Attached>) -> Result<()> {
    let watch = move || {
        for _ in signals.forever() {
            match attached.unmount(Detach::IfIdle) {
                Ok(()) => return,
                Err(why) => eprintln!("memfs: {why}"),
            }
        }
    };
    std::thread::Builder::new().name("memfs-signals".into()).spawn(watch).context("cannot watch signals")?;
    Ok(())
}
