//! The file systems under test: the shipped one, and copies of it with one fault each.

use bento_api::envelope::Refused;
use bento_api::limits::Costs;
use bento_api::{Disk, Mounted, Platform, Stop, Time};
use bento_fs::format::Superblock;
use bento_fs::{BentoFs, Event, Failed, Fault, Options, Plain, RecordLog, Recording, Space, Variant, Volume};
use bento_prov::Prov;
use bento_user::run::Core;

use crate::check::reader::{self, Checksums, Contents, Walked};

/// What bringing a volume back comes to.
pub type Brought = Result<(Mounted, Volume, Superblock), Failed>;

/// A version of the file system, and what can be done with it.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// What it is called in reports.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
    /// Whether it keeps records of what is done.
    pub recording: Recording,
    /// Brings a volume back.
    pub mount: fn(&dyn Disk, &Options, &mut Space) -> Brought,
    /// Starts on a mounted volume.
    pub start: fn(Volume) -> Core,
    /// Another version, which takes over in an upgrade.
    pub other: fn(&[u8]) -> Result<Core, Refused>,
    /// Reads all names and what they name.
    pub walk: fn(Volume, &Contents<'_>, Checksums) -> Result<Walked, reader::Unreadable>,
}

fn start<V: Variant>(volume: Volume) -> Core {
    Box::new(BentoFs::<V>::new(volume))
}

fn import<V: Variant>(bytes: &[u8]) -> Result<Core, Refused> {
    Ok(Box::new(BentoFs::<V>::import(bytes)?))
}

const fn build<V: Variant, Other: Variant>(name: &'static str) -> Build {
    Build {
        name,
        fault: V::FAULT,
        recording: V::RECORDING,
        mount: bento_fs::mount::<V>,
        start: start::<V>,
        other: import::<Other>,
        walk: reader::walk::<V>,
    }
}

/// The file system as it is shipped.
pub const PLAIN: Build = build::<Plain, bento_user::versions::Second>("plain");

macro_rules! recording {
    ($($variant:ident: $fault:expr, $doc:literal;)*) => { $(
        #[doc = $doc]
        #[derive(Debug)]
        struct $variant;
        impl Variant for $variant {
            const NAME: &'static str = concat!("bento-prov, ", stringify!($variant));
            const RECORDING: Recording = Recording::Yes;
            const EXTRA: Costs = bento_prov::EXTRA;
            const FAULT: Fault = $fault;

            fn record<P: Platform>(
                log: &mut RecordLog<'_, '_, '_, P, Self>,
                event: &Event<'_>,
            ) -> Result<(), Stop> {
                bento_prov::append(log, event)
            }
        }
    )* };
}

recording! {
    NextProv: Fault::None, "A second version of the provenance variant, to take over from the first.";
    LateRecord: Fault::LateRecord, "The provenance variant with [`Fault::LateRecord`].";
}

/// The provenance variant as it is shipped.
pub const PROV: Build = build::<Prov, NextProv>("prov");

macro_rules! faulty {
    ($($variant:ident),* $(,)?) => {
        $(
            #[doc = concat!("The file system with [`Fault::", stringify!($variant), "`].")]
            #[derive(Debug)]
            struct $variant;
            impl Variant for $variant {
                const NAME: &'static str = concat!("bento-fs with ", stringify!($variant));
                const FAULT: Fault = Fault::$variant;
            }
        )*
        /// One build for each fault that can be seeded.
        pub const FAULTY: &[Build] = &[
            build::<LateRecord, LateRecord>("LateRecord"),
            $(build::<$variant, $variant>(stringify!($variant))),*
        ];
    };
}

faulty!(
    NoPreflush,
    NoCommitFlush,
    NoCheckpointFlush,
    NoRecoveryFlush,
    StaleEpoch,
    TrustCopies,
    EarlyReuse,
    SplitRename,
    SizeBeforeData,
    LostClaim,
    FreeUnloaded,
    NoOrphan,
);

/// When every volume here is made, in seconds; operations come after it.
pub const MADE: Time = Time::new(1_000_000_000, 0);
