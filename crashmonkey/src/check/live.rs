//! The running system, as somebody who looks at it would see it.

use std::sync::Arc;

use bento_api::{BlockNo, Errno, Fetch, InodeNo, OpKind, Platform, Wait};
use bento_fs::Volume;

use super::reader::{Checksums, Unreadable};
use crate::host::Stage;
use crate::oracle::Tree;

/// Reads everything on a running mount.
///
/// # Errors
/// What could not be read.
pub fn look(stage: &Stage, volume: Volume) -> Result<Tree, Unreadable> {
    let mount = &stage.mount;
    let cached = |no: u64| {
        let mut call = mount.call();
        mount.run(&mut call, OpKind::Read, |_, call| match call.platform.pin(BlockNo(no))? {
            Some(block) => Ok(call.platform.read(block, |bytes| Arc::new(*bytes))),
            None => {
                call.platform.want(BlockNo(no), Fetch::Read);
                Err(Wait::Blocks.into())
            }
        })
    };
    let walked = (stage.build.walk)(volume, &cached, Checksums::Ignore)?;
    let image = stage.device.image();
    let on_disk = |no: u64| Ok(image.get(no));
    let io = |errno: Errno| Unreadable { path: String::new(), errno, reported: None };
    let mut tree = walked.fill(&on_disk).map_err(io)?;
    for node in tree.nodes.values_mut() {
        mount.containers().slot(InodeNo(node.ino), |slot| {
            if slot.times_dirty != 0 {
                let node = Arc::make_mut(node);
                (node.mtime, node.ctime) = (slot.mtime, slot.ctime);
            }
        });
    }
    Ok(tree)
}
