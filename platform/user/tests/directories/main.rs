//! Directories through the operations of the file system, on the userspace platform.
mod collisions;
mod cookies;
mod damage;
mod large;
mod model;
mod pressure;
mod volume;
