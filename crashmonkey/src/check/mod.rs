//! A recovered disk, looked at from all sides.

pub mod live;
pub mod reader;
