//! Whether names and provenance agree: the records that were recovered, played from an empty volume, must give exactly
//! the names that were recovered. A record without its operation gives a name too many or too few, and so does an
//! operation without its record; the numbers of the records say that none is missing in between.

use std::collections::{BTreeMap, BTreeSet};

use bento_api::Bytes;
use bento_fs::format::geometry::{LOST_AND_FOUND, ROOT};
use bento_fs::format::prov::What;
use bento_user::provenance::{Event, History, Named};

use super::reader::Walked;

/// What a name leads to; a whiteout's inode has no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    To(u64),
    Whiteout,
}

type Names = BTreeMap<(u64, Vec<u8>), Leads>;

fn key(named: &Named) -> (u64, Vec<u8>) {
    (named.dir.0, named.name.clone())
}

/// Compares the log's records with the names that were found.
///
/// # Errors
/// Where they differ.
pub fn agree(walked: &Walked) -> Result<(), String> {
    let history = history(&walked.log)?;
    let recorded = play(&history)?;
    let found = names(walked);
    let every: BTreeSet<_> = recorded.keys().chain(found.keys()).collect();
    for name in every {
        let same = match (recorded.get(name), found.get(name)) {
            (Some(Leads::Whiteout), Some(_)) => true,
            (recorded, found) => recorded == found,
        };
        if !same {
            let (dir, text) = (name.0, String::from_utf8_lossy(&name.1));
            let (recorded, found) = (recorded.get(name), found.get(name));
            return Err(format!(
                "{text} in directory {dir} leads {found:?}, and by its records {recorded:?}"
            ));
        }
    }
    written(&history, walked)
}

fn history(log: &[Bytes]) -> Result<History, String> {
    let history = History::of_blocks(log).map_err(|why| why.to_string())?;
    let numbers = history.events.iter().map(|event| event.number);
    match (1..).zip(numbers).find(|(wanted, number)| wanted != number) {
        Some((wanted, number)) => Err(format!("record {number} is where {wanted} belongs")),
        None => Ok(history),
    }
}

/// The names that there are after all records.
fn play(history: &History) -> Result<Names, String> {
    let mut names = Names::from([((ROOT.0, b"lost+found".to_vec()), Leads::To(LOST_AND_FOUND.0))]);
    for event in &history.events {
        step(&mut names, event).ok_or_else(|| format!("record {} cannot follow: {event:?}", event.number))?;
    }
    Ok(names)
}

/// What one operation does to the names; none if it cannot have happened.
fn step(names: &mut Names, event: &Event) -> Option<()> {
    let ino = Leads::To(event.object.ino.0);
    let is =
        |leads: Option<Leads>, wanted| leads.is_some_and(|leads| leads == wanted || leads == Leads::Whiteout);
    match event.what {
        What::TmpFile | What::Truncate | What::FirstWrite => Some(()),
        What::Create | What::Link => names.insert(key(event.name.as_ref()?), ino).is_none().then_some(()),
        What::Unlink => is(names.remove(&key(event.name.as_ref()?)), ino).then_some(()),
        What::Rename => {
            let (from, to) = (key(event.name.as_ref()?), key(event.to.as_ref()?));
            let moved = is(names.remove(&from), ino);
            if event.whiteout {
                names.insert(from, Leads::Whiteout);
            }
            let replaced = names.insert(to, ino);
            let fits = match (replaced, event.other) {
                (None, None) => true,
                (replaced, Some((other, _))) => is(replaced, Leads::To(other.0)),
                (Some(_), None) => false,
            };
            (moved && fits).then_some(())
        }
        What::Exchange => {
            let (from, to) = (key(event.name.as_ref()?), key(event.to.as_ref()?));
            let other = Leads::To(event.other?.0.0);
            let both = is(names.insert(to, ino), other) && is(names.insert(from, other), ino);
            both.then_some(())
        }
    }
}

/// The names that were found, lost+found among them.
fn names(walked: &Walked) -> Names {
    let mut names = Names::from([((ROOT.0, b"lost+found".to_vec()), Leads::To(LOST_AND_FOUND.0))]);
    for (path, node) in walked.tree.nodes.iter().filter(|(path, _)| !path.is_empty()) {
        let cut = path.iter().rposition(|byte| *byte == b'/');
        let (dir, name) = match cut {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
            None => (&b""[..], &path[..]),
        };
        let dir = walked.tree.nodes.get(dir).map_or(ROOT.0, |node| node.ino);
        names.insert((dir, name.to_vec()), Leads::To(node.ino));
    }
    names
}

/// Data was written by somebody: every file that has some has a record of a first write.
fn written(history: &History, walked: &Walked) -> Result<(), String> {
    let writes = history.events.iter().filter(|event| event.what == What::FirstWrite);
    let writes: BTreeSet<u64> = writes.map(|event| event.object.ino.0).collect();
    for (path, blocks) in &walked.data {
        let Some(node) = walked.tree.nodes.get(path) else { continue };
        if !blocks.is_empty() && !writes.contains(&node.ino) {
            return Err(format!(
                "{} has data, and no record says who wrote it",
                String::from_utf8_lossy(path)
            ));
        }
    }
    Ok(())
}
