//! Placements that are open: chosen, and neither published nor abandoned.
use bento_api::{Errno, Extent, InodeNo, Placement, PlacementId};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Open placements of a mount. One has a kilobyte and a half; whoever writes has one.
const MOST: usize = 4096;

#[derive(Default)]
struct Table {
    open: FxHashMap<u32, Box<Placement>>,
    /// Boxes of placements that ended.
    #[allow(
        clippy::vec_box,
        reason = "a placement is more than a KiB; boxes go to and fro without copying it"
    )]
    idle: Vec<Box<Placement>>,
    of_inode: FxHashMap<u64, Vec<u32>>,
    next: u32,
}

#[derive(Default)]
pub(super) struct Placements(Mutex<Table>);

/// Whether two ranges of a file have a block in common.
fn overlap(placement: &Placement, range: Extent) -> bool {
    let end = |start: u64, blocks: u32| start.saturating_add(u64::from(blocks));
    placement.file.0 < end(range.file.0, range.blocks)
        && range.file.0 < end(placement.file.0, placement.blocks)
}

impl Placements {
    pub(super) fn add(&self, placement: &Placement) -> Result<PlacementId, Errno> {
        let mut table = self.0.lock();
        if table.open.len() >= MOST {
            return Err(Errno::Capacity);
        }
        let id = loop {
            table.next = table.next.wrapping_add(1).max(1);
            if !table.open.contains_key(&table.next) {
                break table.next;
            }
        };
        let kept = match table.idle.pop() {
            Some(mut kept) => {
                *kept = *placement;
                kept
            }
            None => Box::new(*placement),
        };
        table.of_inode.entry(placement.ino.0).or_default().push(id);
        table.open.insert(id, kept);
        Ok(PlacementId(id))
    }

    pub(super) fn get(&self, id: PlacementId, to: &mut Placement) -> bool {
        match self.0.lock().open.get(&id.0) {
            Some(placement) => {
                *to = **placement;
                true
            }
            None => false,
        }
    }

    pub(super) fn overlapping(&self, ino: InodeNo, range: Extent) -> Option<PlacementId> {
        let table = self.0.lock();
        let ids = table.of_inode.get(&ino.0)?;
        ids.iter().copied().find(|id| table.open.get(id).is_some_and(|p| overlap(p, range))).map(PlacementId)
    }

    pub(super) fn end(&self, id: PlacementId) {
        let mut table = self.0.lock();
        let Some(placement) = table.open.remove(&id.0) else { return };
        let ino = placement.ino.0;
        let last = table.of_inode.get_mut(&ino).is_some_and(|ids| {
            ids.retain(|other| *other != id.0);
            ids.is_empty()
        });
        if last && table.of_inode.len() > 1024 {
            table.of_inode.retain(|_, ids| !ids.is_empty());
        }
        if table.idle.len() < 64 {
            table.idle.push(placement);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().open.len()
    }
}
