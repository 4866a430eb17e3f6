//! The command line, in the manner of mke2fs(8).
use super::{Failure, size};
use crate::Options;
use crate::plan::SMALL_LOG;
use bento_api::BLOCK_BYTES;
use bento_fs::format::superblock::{Compat, OnError};
use clap::{ArgAction, Parser, ValueEnum};
use std::path::PathBuf;

/// Makes a Bento file system on a device, or in an image file.
///
/// Sizes take the suffixes k, m, g, t (powers of 1024).
///
/// Exit status: 0 made (though the report may be lost: standard error says so then), or shown with -n; 1 anything else.
#[derive(Debug, Parser)]
#[command(name = "mkfs.bento", version = concat!(env!("CARGO_PKG_VERSION"), " (format 1)"), args_override_self = true)]
pub(crate) struct Arguments {
    /// Block size: 4096, the only one
    #[arg(short = 'b', value_name = "BYTES", default_value = "4096", value_parser = bytes)]
    block_size: u64,
    /// One inode for this many bytes (default 16k)
    #[arg(short = 'i', value_name = "BYTES", value_parser = bytes, conflicts_with = "inodes")]
    pub(crate) bytes_per_inode: Option<u64>,
    /// Inode size: 256, the only one
    #[arg(short = 'I', value_name = "BYTES", default_value = "256")]
    inode_size: u64,
    /// At least this many inodes
    #[arg(short = 'N', value_name = "COUNT")]
    pub(crate) inodes: Option<u64>,
    /// Blocks of a group, a multiple of 64 (default 24576, fewer on a small volume)
    #[arg(short = 'g', value_name = "BLOCKS")]
    pub(crate) blocks_per_group: Option<u32>,
    /// The journal: size=SIZE, in MiB if without suffix (default 1/64 of the volume, 4m to 1g)
    #[arg(short = 'J', value_name = "size=SIZE")]
    journal: Option<String>,
    /// Label, at most 63 bytes
    #[arg(short = 'L', value_name = "LABEL")]
    pub(crate) label: Option<String>,
    /// A UUID, or random, time, clear
    #[arg(short = 'U', value_name = "UUID", default_value = "random")]
    uuid: String,
    /// Features to switch on, or with ^ off: prov
    #[arg(short = 'O', value_name = "[^]FEATURE,..", value_delimiter = ',')]
    features: Vec<String>,
    /// discard, nodiscard, root_owner[=UID:GID], root_perms=MODE, lazy_itable_init[=0|1]
    #[arg(short = 'E', value_name = "OPTION,..", value_delimiter = ',')]
    extended: Vec<String>,
    /// Percentage of the volume kept back for unlink
    #[arg(short = 'm', value_name = "PERCENT", default_value_t = 0)]
    pub(crate) reserved_percent: u8,
    /// What a mount does at an error
    #[arg(short = 'e', value_name = "BEHAVIOUR", default_value = "remount-ro")]
    pub(crate) errors: Behaviour,
    /// Show what would be made; write nothing
    #[arg(short = 'n', long = "dry-run")]
    pub(crate) dry_run: bool,
    /// Say nothing unless something is wrong
    #[arg(short = 'q', long = "quiet")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short = 'v', long = "verbose", conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Overwrite another file system; given twice, even one that is in use
    #[arg(short = 'F', long = "force", short_alias = 'f', action = ArgAction::Count)]
    pub(crate) force: u8,
    /// Do not discard the device's old content (the same as -E nodiscard)
    #[arg(short = 'K')]
    keep: bool,
    /// Report in JSON
    #[arg(long = "json")]
    pub(crate) json: bool,
    /// Device or image file
    #[arg(value_name = "DEVICE")]
    pub(crate) device: PathBuf,
    /// Size of the file system, in blocks of 4 KiB if without suffix; an image that is not there is made
    #[arg(value_name = "SIZE")]
    size: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Behaviour {
    Continue,
    RemountRo,
    Panic,
}

impl From<Behaviour> for OnError {
    fn from(behaviour: Behaviour) -> Self {
        match behaviour {
            Behaviour::Continue => Self::Continue,
            Behaviour::RemountRo => Self::RemountReadOnly,
            Behaviour::Panic => Self::Panic,
        }
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    size::parse(text, 1).ok_or("not a size; write 4096, 16k or 1m".into())
}

impl Arguments {
    /// Sizes that have one value.
    pub(crate) fn check_fixed(&self) -> Result<(), Failure> {
        if self.block_size != BLOCK_BYTES {
            return Err(format!("-b {}: the block size is 4096 and nothing else", self.block_size));
        }
        if self.inode_size != 256 {
            return Err(format!("-I {}: the inode size is 256 and nothing else", self.inode_size));
        }
        Ok(())
    }

    /// The size asked for, in bytes.
    pub(crate) fn size(&self) -> Result<Option<u64>, Failure> {
        let Some(text) = &self.size else { return Ok(None) };
        match size::parse(text, BLOCK_BYTES) {
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(Some(bytes)),
            _ => Err(format!("{text}: not a size; write 64m, 10g or a number of 4 KiB blocks")),
        }
    }

    /// The journal's size, in bytes.
    pub(crate) fn log_bytes(&self) -> Result<Option<u64>, Failure> {
        let Some(text) = &self.journal else { return Ok(None) };
        let least = SMALL_LOG * BLOCK_BYTES;
        let bytes = text.strip_prefix("size=").and_then(|size| size::parse(size, 1 << 20));
        match bytes {
            Some(bytes) if bytes >= least => Ok(Some(bytes)),
            Some(_) => Err(format!("-J {text}: the journal has at least {}", size::show(least))),
            None => Err(format!("-J {text}: only size=SIZE is known, as in -J size=64m")),
        }
    }

    /// Puts the UUID; true if it was given, not drawn.
    pub(crate) fn uuid(&self, uuid: &mut [u8; 16]) -> Result<bool, Failure> {
        match self.uuid.as_str() {
            "random" => return Ok(false),
            "clear" | "nil" => *uuid = [0; 16],
            "time" => *uuid = time_uuid(),
            text => {
                let parsed = uuid::Uuid::try_parse(text);
                let wrong = |_| format!("-U {text}: not a UUID; give one, or random, time or clear");
                *uuid = parsed.map_err(wrong)?.into_bytes();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Features, of which only `prov` can be chosen so far.
    pub(crate) fn features(&self) -> Result<Compat, Failure> {
        let mut compat = Compat::empty();
        for word in &self.features {
            let (on, name) = word.strip_prefix('^').map_or((true, word.as_str()), |name| (false, name));
            match name {
                "prov" => compat.set(Compat::PROV, on),
                "delta_log" | "external_log" | "quota" | "resize" if !on => {}
                "delta_log" | "external_log" | "quota" | "resize" => {
                    return Err(format!("-O {name}: the format has a place for it, this version does not"));
                }
                _ => return Err(format!("-O {name}: no such feature; there is prov")),
            }
        }
        Ok(compat)
    }

    /// True unless the old content is to be kept from the device's eyes.
    pub(crate) fn discard(&self) -> Result<bool, Failure> {
        let last = self.extended.iter().rev().find_map(|word| match word.as_str() {
            "discard" => Some(true),
            "nodiscard" => Some(false),
            _ => None,
        });
        Ok(last.unwrap_or(!self.keep))
    }

    /// The other extended options.
    pub(crate) fn extended(&self, options: &mut Options) -> Result<(), Failure> {
        for word in &self.extended {
            let (name, value) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            match (name, value) {
                ("discard" | "nodiscard", None) => {}
                // No inode table is initialised here at all: records are, when they are first used.
                ("lazy_itable_init" | "lazy_journal_init", None | Some("0" | "1")) => {}
                ("root_owner", None) => {
                    options.root_owner =
                        (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
                }
                ("root_owner", Some(value)) => {
                    let ids = value
                        .split_once(':')
                        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
                    options.root_owner =
                        ids.ok_or(format!("-E {word}: write root_owner=UID:GID, in numbers"))?;
                }
                ("root_perms", Some(value)) => {
                    let mode = u16::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                    options.root_mode = mode.ok_or(format!("-E {word}: write root_perms=755, in octal"))?;
                }
                _ => {
                    let known =
                        "discard, nodiscard, root_owner[=UID:GID], root_perms=MODE, lazy_itable_init[=0|1]";
                    return Err(format!("-E {word}: no such option; there are {known}"));
                }
            }
        }
        Ok(())
    }
}

/// A UUID that begins with the time, so that volumes sort by their age.
fn time_uuid() -> [u8; 16] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid().into_bytes()
}
