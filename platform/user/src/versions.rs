//! The versions of the file system that this program holds, by name: what a mount starts with, and what it can be
//! upgraded to while it runs.
use crate::run::Core;
use bento_api::envelope::Refused;
use bento_fs::{BentoFs, Plain, Variant, Volume};

/// A version that a mount can be upgraded to.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// What `bento upgrade --to` calls it.
    pub name: &'static str,
    /// Takes over from what another version exported.
    pub import: fn(&[u8]) -> Result<Core, Refused>,
}

/// A second version of the core, to upgrade to and back: the same code, another name.
#[derive(Clone, Copy, Debug)]
pub struct Second;

impl Variant for Second {
    const NAME: &'static str = concat!("bento-fs ", env!("CARGO_PKG_VERSION"), " (second)");
}

fn import<V: Variant>(bytes: &[u8]) -> Result<Core, Refused> {
    Ok(Box::new(BentoFs::<V>::import(bytes)?))
}

/// All versions, the one that a mount starts with first.
pub const VERSIONS: &[Version] = &[
    Version { name: "bento-fs", import: import::<Plain> },
    Version { name: "bento-fs-second", import: import::<Second> },
];

/// The version that a mount starts with.
pub fn first(volume: Volume) -> Core {
    Box::new(BentoFs::<Plain>::new(volume))
}

/// The version with a name; without one, the one after the version that runs.
pub fn choose(name: Option<&str>, running: &str) -> Option<&'static Version> {
    match name {
        Some(name) => VERSIONS.iter().find(|version| version.name == name),
        None if running == Plain::NAME => VERSIONS.get(1),
        None => VERSIONS.first(),
    }
}
