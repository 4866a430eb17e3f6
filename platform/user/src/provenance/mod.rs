//! Reading the provenance log: from a mount or from an image, as a history that can be asked.
//!
//! A mount answers the log's blocks as attributes of its root directory (`bento_fs`'s `trusted.bento.prov.N`), whatever
//! host serves it: nothing has to be unmounted or synced, and what is read is what happened up to now. An image is
//! opened for looking, its log replayed in memory, and asked in the same way.
mod history;
mod source;

pub use history::{Damaged, Event, History, Named, Process};
pub use source::{Found, Source, SourceError};
