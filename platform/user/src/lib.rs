//! Bento in userspace: the FUSE connection and its server.

pub mod fuse;
mod sys;
