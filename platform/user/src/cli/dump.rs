//! `bento dump`: one structure of a volume, as it is.
use super::info::volume_at;
use crate::session::{Purpose, Session, SessionOptions, read_block};
use anyhow::{Context, Result, anyhow, bail};
use bento_api::{BlockNo, Cursor, Emit, InodeNo, OpKind};
use bento_console::{Name, quoted_bytes};
use bento_fs::format::{Header, Inode};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;

/// Arguments of `bento dump`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Image, device, or mount point.
    place: PathBuf,
    #[command(subcommand)]
    what: What,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Go by the copy of the superblock in this block.
    #[arg(long = "sb", value_name = "BLOCK", global = true)]
    superblock: Option<u64>,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum What {
    /// An inode's record.
    Inode {
        /// Its number (`ls -i`); the root is 1.
        number: u64,
    },
    /// A directory's entries.
    Dir {
        /// Its inode number.
        number: u64,
    },
    /// A block's header and bytes.
    Block {
        /// Its number.
        number: u64,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let source = volume_at(&args.place)?;
    let options = SessionOptions {
        purpose: Purpose::Look,
        superblock: args.superblock.map(BlockNo),
        ..SessionOptions::default()
    };
    let session = Session::open(&source, &options)?;
    let value = match args.what {
        What::Inode { number } => inode(&session, InodeNo(number))?,
        What::Dir { number } => {
            let entries = directory(&session, InodeNo(number))?;
            if !args.json {
                return Ok(bento_console::print(|to| {
                    writeln!(to, "{:<14}{number}", "inode")?;
                    entries.iter().try_for_each(|entry| writeln!(to, "  {}", entry.line()))
                })?);
            }
            json!({ "inode": number, "entries": entries })
        }
        What::Block { number } => block(&session, BlockNo(number))?,
    };
    if args.json {
        bento_console::print_json(&value)?;
    } else {
        bento_console::print(|to| print(&value, 0, to))?;
    }
    Ok(())
}

fn inode(session: &Session, ino: InodeNo) -> Result<Value> {
    let superblock = session.superblock();
    let (no, offset) =
        superblock.geometry.inode_place(ino).with_context(|| format!("there is no inode {ino}"))?;
    let bytes = read_block(session.device(), no).map_err(|errno| anyhow!("block {no}: {errno:?}"))?;
    let record = bytes.get(offset..).unwrap_or_default();
    let inode = Inode::decode(record, ino, superblock.csum_seed)
        .map_err(|what| anyhow!("inode {ino} in block {no}: {} (problem {})", what.text(), what.code()))?;
    let time = |time: bento_api::Time| format!("{}.{:09}", time.seconds, time.nanoseconds);
    Ok(json!({
        "inode": ino.0, "block": no.0, "offset": offset, "free": inode.is_free(),
        "mode": format!("{:o}", inode.mode), "nlink": inode.nlink, "uid": inode.uid, "gid": inode.gid,
        "size": inode.size, "blocks": inode.blocks, "generation": inode.generation, "version": inode.version,
        "flags": format!("{:#x}", inode.flags.bits()), "project": inode.project,
        "depth": inode.depth, "index_depth": inode.index_depth,
        "atime": time(inode.atime), "mtime": time(inode.mtime), "ctime": time(inode.ctime), "btime": time(inode.btime),
        "orphan_slot": inode.orphan, "xattr_block": inode.xattr_block.map(|block| block.0), "parent": inode.parent.0,
        "extents": extents(session, ino),
    }))
}

/// The mapped ranges of a file, as the file system itself sees them.
fn extents(session: &Session, ino: InodeNo) -> Vec<Value> {
    let mount = session.mount();
    let mut call = mount.call();
    let mut found = Vec::new();
    let mut at = 0;
    let size =
        mount.run(&mut call, OpKind::Read, |fs, call| fs.getattr(call, ino)).map_or(0, |attr| attr.size);
    let end = size.div_ceil(bento_api::BLOCK_BYTES);
    while at < end && found.len() < 4096 {
        let file = bento_api::FileBlock(at);
        let Ok(mapping) = mount.run(&mut call, OpKind::Read, |fs, call| fs.map(call, ino, file, end - at))
        else {
            break;
        };
        let (kind, block) = match mapping.kind {
            bento_api::MapKind::Hole => ("hole", None),
            bento_api::MapKind::Unwritten(block) => ("unwritten", Some(block.0)),
            bento_api::MapKind::Data(block) => ("data", Some(block.0)),
        };
        found.push(json!({ "file_block": at, "blocks": mapping.blocks, "kind": kind, "block": block }));
        at = at.saturating_add(mapping.blocks.max(1));
    }
    found
}

/// A name in a directory.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    name: Name,
    inode: u64,
    cookie: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Entry {
    fn line(&self) -> String {
        let name = quoted_bytes(self.name.bytes().unwrap_or_default());
        let kind = self.kind.as_deref().unwrap_or("-");
        format!("name {name}, inode {}, cookie {}, type {kind}", self.inode, self.cookie)
    }
}

fn directory(session: &Session, ino: InodeNo) -> Result<Vec<Entry>> {
    let mount = session.mount();
    let mut call = mount.call();
    let mut entries = Vec::new();
    let mut from = Cursor(0);
    loop {
        let mut part = Vec::new();
        let mut next = from;
        let end = mount
            .run(&mut call, OpKind::ReadDir, |fs, call| {
                part.clear();
                next = from;
                fs.readdir(call, ino, from, Emit::Names, &mut |entry| {
                    next = entry.next;
                    part.push(Entry {
                        name: Name::of("name", Some(entry.name)),
                        inode: entry.ino.0,
                        cookie: entry.next.0,
                        kind: entry.kind.map(|kind| format!("{kind:?}")),
                    });
                    true
                })
            })
            .map_err(|errno| anyhow!("directory {ino}: {errno:?}"))?;
        let none = part.is_empty();
        entries.append(&mut part);
        from = next;
        if end || none {
            return Ok(entries);
        }
    }
}

fn block(session: &Session, no: BlockNo) -> Result<Value> {
    let superblock = session.superblock();
    if no.0 >= superblock.geometry.blocks_total {
        bail!("the volume ends at block {}", superblock.geometry.blocks_total);
    }
    let bytes = read_block(session.device(), no).map_err(|errno| anyhow!("block {no}: {errno:?}"))?;
    let header = Header::read(&*bytes, superblock.csum_seed, no).map(|header| {
        json!({ "kind": format!("{:?}", header.kind), "owner": header.owner.0, "batch": header.seq.0 })
    });
    let rows = bytes.chunks(32).enumerate().filter(|(_, row)| row.iter().any(|byte| *byte != 0));
    let text = rows.map(|(at, row)| {
        let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}: {hex}", at * 32)
    });
    Ok(
        json!({ "block": no.0, "inode_table": superblock.geometry.is_table_block(no), "header": header, "bytes": text.collect::<Vec<_>>() }),
    )
}

fn print(value: &Value, indent: usize, to: &mut dyn Write) -> io::Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            if field.is_array() || field.is_object() {
                writeln!(to, "{:indent$}{name}", "")?;
                print(field, indent + 2, to)
            } else {
                writeln!(to, "{:indent$}{name:<14}{}", "", plain(field))
            }
        }),
        Value::Array(items) => items.iter().try_for_each(|item| match item {
            Value::Object(fields) => {
                let line: Vec<String> =
                    fields.iter().map(|(name, field)| format!("{name} {}", plain(field))).collect();
                writeln!(to, "{:indent$}{}", "", line.join(", "))
            }
            other => writeln!(to, "{:indent$}{}", "", plain(other)),
        }),
        other => writeln!(to, "{:indent$}{}", "", plain(other)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}
