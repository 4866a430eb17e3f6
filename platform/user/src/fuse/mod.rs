//! FUSE, from the wire up.
//!
//! | module | what it knows |
//! |---|---|
//! | [`abi`] | the kernel's constants and structures |
//! | [`request`], [`reply`] | bytes to requests, replies to bytes: pure functions |
//! | [`conn`] | the device, INIT, what was agreed |
//! | [`server`] | threads, pausing, the [`Handler`] |
//! | [`prime`] | making open and close cost nothing |
//! | [`mount`] | attaching a connection to a directory, and detaching it |
//!
//! No `unsafe`, no C library. Nothing here knows a file system: that is the handler's business.
//!
//! ```no_run
//! # use bento_user::fuse::{abi, mount, prime, *};
//! # use std::{io, path::Path};
//! struct Empty;
//! impl Handler for Empty {
//!     fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
//!         let attr = abi::Attr { ino: 1, mode: 0o040_755, nlink: 2, ..Default::default() };
//!         match op {
//!             Op::Getattr { .. } if request.header.nodeid == abi::ROOT_ID => {
//!                 reply.attr(&abi::AttrOut { attr_valid: abi::FOREVER_S, attr, ..Default::default() })
//!             }
//!             _ => Err(Errno::NOSYS),
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = Path::new("/mnt/empty");
//! let (device, mount) = mount::mount(dir, &mount::MountOptions::image("empty"))?;
//! let connection = Connection::handshake(device, &InitConfig::default())?;
//! let server = Server::start(connection, Empty, ServerOptions::default())?;
//! prime::prime(dir, Opens::Stateless)?;
//! mount.unmount(mount::Detach::IfIdle)?;
//! assert_eq!(server.wait(), End::Unmounted);
//! # Ok(())
//! # }
//! ```

pub mod abi;
pub mod conn;
pub mod mount;
mod pool;
pub mod prime;
pub mod reply;
pub mod request;
pub mod server;

pub use conn::{Connection, End, InitConfig, Negotiated};
pub use prime::Opens;
pub use reply::{DirEntry, Full, Notification, ReplyBuf};
pub use request::{Header, Op};
pub use rustix::io::Errno;
pub use server::{Handler, PauseError, Request, RequestCounts, Server, ServerOptions};
