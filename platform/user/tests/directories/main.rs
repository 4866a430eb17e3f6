//! Directories through the operations of the file system, on the userspace platform.
mod cookies;
mod damage;
mod large;
mod model;
mod volume;
