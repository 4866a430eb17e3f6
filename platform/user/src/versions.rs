//! The versions of the file system that this program holds, by name: what a mount starts with, and what it can be
//! upgraded to while it runs.
use crate::run::Core;
use bento_api::envelope::Refused;
use bento_api::{Disk, Mounted};
use bento_fs::format::Superblock;
use bento_fs::{BentoFs, Failed, Options, Plain, Space, Variant, Volume};
use bento_prov::Prov;

/// How a version brings a volume back.
pub type MountVolume = fn(&dyn Disk, &Options, &mut Space) -> Result<(Mounted, Volume, Superblock), Failed>;

/// A version that a mount can start with, or be upgraded to.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// What `bento upgrade --to` calls it.
    pub name: &'static str,
    /// Brings a volume back.
    pub mount: MountVolume,
    /// Begins to serve a volume that was brought back.
    pub start: fn(Volume) -> Core,
    /// Takes over from what another version exported.
    pub import: fn(&[u8]) -> Result<Core, Refused>,
}

/// A second version of the core, to upgrade to and back: the same code, another name.
#[derive(Clone, Copy, Debug)]
pub struct Second;

impl Variant for Second {
    const NAME: &'static str = concat!("bento-fs ", env!("CARGO_PKG_VERSION"), " (second)");
}

const fn version<V: Variant>(name: &'static str) -> Version {
    Version {
        name,
        mount: bento_fs::mount::<V>,
        start: |volume| Box::new(BentoFs::<V>::new(volume)),
        import: |bytes| Ok(Box::new(BentoFs::<V>::import(bytes)?)),
    }
}

/// What a mount starts with unless asked otherwise.
pub const PLAIN: Version = version::<Plain>("bento-fs");
/// The variant that records provenance.
pub const PROV: Version = version::<Prov>("bento-prov");

/// All versions, the one that a mount starts with first.
pub const VERSIONS: &[Version] = &[PLAIN, version::<Second>("bento-fs-second"), PROV];

/// The version with a name; without one, the other plain one.
pub fn choose(name: Option<&str>, running: &str) -> Option<&'static Version> {
    match name {
        Some(name) => VERSIONS.iter().find(|version| version.name == name),
        None if running == Plain::NAME => VERSIONS.get(1),
        None => VERSIONS.first(),
    }
}
