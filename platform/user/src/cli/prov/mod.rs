//! `bento prov`: asks the provenance log.
mod log;
mod paths;
mod shown;
mod why;

use crate::provenance::{Found, History, Source};
use anyhow::{Result, bail};
use bento_console::quoted;
use bento_fs::format::geometry::ROOT;
use paths::Paths;
use std::path::{Path, PathBuf};

/// Arguments of `bento prov`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    query: Query,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Query {
    /// What happened to a file, a directory and its names, or (for a root directory or an image) to everything.
    Log(Place),
    /// Which processes made what is at a path, from which names it came, and what else they wrote before.
    Why(Place),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// A path on a mounted volume; or an image or a device, which is only read.
    place: PathBuf,
    /// The path inside the image or the device, from its root.
    path: Option<PathBuf>,
}

/// A question: the log, and what it is asked about.
struct Asked {
    /// The path as the user gave it.
    path: PathBuf,
    history: History,
    found: Found,
    paths: Paths,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let (Query::Log(place) | Query::Why(place)) = &args.query;
    let asked = ask(place)?;
    match args.query {
        Query::Log(_) => {
            let log = log::answer(&asked)?;
            bento_console::print(|to| log.print(args.json, to))?;
        }
        Query::Why(_) => {
            let why = why::answer(&asked)?;
            bento_console::print(|to| why.print(args.json, to))?;
        }
    }
    Ok(())
}

fn ask(place: &Place) -> Result<Asked> {
    let (source, within) = Source::find(&place.place)?;
    let (within, path) = match (&source, &place.path) {
        (Source::Mount(_), Some(path)) => {
            bail!("{} is on a mount; {} would be a second path", quoted(&place.place), quoted(&path))
        }
        (Source::Mount(_), None) => (within, place.place.clone()),
        (Source::Image(_), path) => {
            let path = path.clone().unwrap_or_default();
            let shown = Path::new("/").join(path.strip_prefix("/").unwrap_or(&path));
            (path, shown)
        }
    };
    let found = source.follow(&within)?;
    let history = source.history()?;
    let paths = Paths::new(&found.way);
    Ok(Asked { path, history, found, paths })
}

impl Asked {
    fn is_root(&self) -> bool {
        self.found.object.is_some_and(|(ino, _)| ino == ROOT)
    }

    /// The inode asked about: what has the name now, or what had it last.
    fn object(&self) -> Result<(bento_api::InodeNo, u32)> {
        if let Some(object) = self.found.object {
            return Ok(object);
        }
        let named = self.found.named.as_ref();
        let had = self.history.events.iter().rev().find_map(|event| {
            let to = event.to.as_ref().or(event.name.as_ref());
            let is_it = to.is_some_and(|to| Some(to) == named) || event.name.as_ref() == named;
            is_it.then_some((event.object.ino, event.object.generation))
        });
        match had {
            Some(object) => Ok(object),
            None => bail!("{}: there is no such file, and no record of one", quoted(&self.path)),
        }
    }
}
