//! What fsck says of volumes that are well, and of volumes that are not.
mod clean;
mod command;
mod corrupt;
mod hostile;
mod log;
mod volume;
