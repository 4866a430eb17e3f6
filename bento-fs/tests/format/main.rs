//! The format: structures against themselves, against models, against damage, and against `docs/format.md`.
mod damage;
mod directory;
mod document;
mod hash;
mod inode;
mod log;
mod prov;
mod tree;
mod volume;
mod xattr;

use bento_api::BlockNo;
use bento_fs::format::Geometry;

/// A volume of 64 MiB, as mkfs makes it.
pub fn small_geometry() -> Geometry {
    Geometry {
        blocks_total: 16_384,
        groups_start: BlockNo(1027),
        groups: 4,
        blocks_per_group: 3840,
        inodes_per_group: 960,
        log_start: BlockNo(2),
        log_len: 1024,
        summary_start: BlockNo(1026),
        summary_len: 1,
    }
}
