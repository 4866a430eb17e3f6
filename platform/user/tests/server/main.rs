//! The `bento` command and its daemon, as their users meet them: real images, real mounts. Needs root and /dev/fuse.

mod copies;
mod devices;
mod errors;
mod helpers;
mod life;
mod memory;
mod orphans;
mod permissions;
mod place;
mod power;
mod provenance;
mod requests;
mod said;
mod space;
mod sync;

use place::Place;
