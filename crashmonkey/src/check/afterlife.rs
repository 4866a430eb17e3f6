//! Work goes on after a recovery: everything can be used, everything can be removed, and then nothing is missing.

use bento_api::{BLOCK, Disk, FileKind};
use bento_fs::Space;
use bento_fs::format::Inode;
use bento_fs::format::geometry::PROVENANCE;

use super::recovered::check;
use crate::disk::{Image, Recorder};
use crate::host::actor::Pace;
use crate::host::build::MADE;
use crate::host::{Actor, Base, Stage, steps};
use crate::jlang::{Op, OpenFlags, Path};
use crate::oracle::{Stream, Tree};

/// Bytes that a new file gets: a block, and a part of one.
const BYTES: u32 = 5000;
/// The name of the new file in each directory.
const NEW: &str = "made-after-the-crash";

/// Mounts a recovered disk and works on it.
///
/// # Errors
/// What failed.
pub fn go_on(base: &Base, image: Image, life: u64, tree: &Tree) -> Result<(), String> {
    let base_now = Base::mount(base.build, image, life)?;
    let stage = Stage::new(&base_now, Pace::Shipped);
    let mut actor = Actor::new(&stage, Stream(0));
    actor.evict_orphans().map_err(|errno| format!("taking orphans away: {errno:?}"))?;
    for op in use_all(tree).into_iter().chain(remove_all(tree)).chain([Op::Sync]) {
        let done = steps::block_on(actor.run(&op, MADE));
        done.map_err(|errno| format!("{op}: {errno}"))?;
    }
    drop(actor);
    end(&stage, base)
}

/// A new file in each directory.
fn use_all(tree: &Tree) -> Vec<Op> {
    let mut ops = Vec::new();
    for (dir, _) in tree.nodes.iter().filter(|(_, node)| node.kind == FileKind::Directory) {
        let path = below(dir, NEW);
        ops.push(Op::Open {
            path: path.clone(),
            flags: OpenFlags::CREATE | OpenFlags::EXCLUSIVE,
            mode: 0o644,
        });
        ops.push(Op::Write { path: path.clone(), off: 0, len: BYTES });
        ops.push(Op::Fsync { path: path.clone() });
        ops.push(Op::Close { path: path.clone() });
        ops.push(Op::Unlink { path });
    }
    ops
}

/// Everything, the deepest first.
pub fn remove_all(tree: &Tree) -> Vec<Op> {
    let mut paths: Vec<&Vec<u8>> = tree.nodes.keys().filter(|path| !path.is_empty()).collect();
    paths.sort_by_key(|path| std::cmp::Reverse((path.split(|byte| *byte == b'/').count(), *path)));
    paths.into_iter().map(|path| Op::Remove { path: below(path, "") }).collect()
}

fn below(dir: &[u8], name: &str) -> Path {
    let dir = String::from_utf8_lossy(dir);
    Path::new(match (dir.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => dir.into_owned(),
        _ => format!("{dir}/{name}"),
    })
}

/// Blocks that the provenance log took since the volume was new.
fn log_growth(stage: &Stage, base: &Base) -> Result<u64, String> {
    let blocks = |disk: &dyn Disk| -> Result<u64, String> {
        let (no, at) = base.volume.geometry.inode_place(PROVENANCE).ok_or("there is no inode 5")?;
        let mut bytes = [0; BLOCK];
        disk.read(no, &mut bytes).map_err(|errno| format!("block {no}: {errno:?}"))?;
        let inode = Inode::decode(bytes.get(at..).unwrap_or_default(), PROVENANCE, base.volume.seed);
        Ok(inode.map_err(|what| what.to_string())?.blocks)
    };
    let before = blocks(&Recorder::new(base.image.clone()))?;
    Ok(blocks(&*stage.device)?.saturating_sub(before))
}

/// Unmounts, and compares with a volume that nobody used.
fn end(stage: &Stage, base: &Base) -> Result<(), String> {
    let clean = stage.mount.unmount().map_err(|errno| format!("unmount: {errno:?}"))?;
    if !clean {
        return Err("unmount left something in the log".to_owned());
    }
    let containers = stage.mount.containers();
    let (now, mut new) = (containers.totals(), base.mounted.totals);
    new.blocks -= log_growth(stage, base)?;
    if now != new {
        return Err(format!("with everything removed {now:?} is free, of {new:?}"));
    }
    bento_fs::unmount(&*stage.device, MADE, &mut Space::default()).map_err(|why| why.to_string())?;
    check(&*stage.device).map_err(|finding| finding.to_string())
}
