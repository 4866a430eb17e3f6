//! Files through the operations of the file system: data, sizes, holes, attributes, targets, and their going away.
mod attributes;
mod holes;
mod model;
mod orphans;
mod placements;
mod provenance;
mod races;
mod space;
mod tree;
mod volume;
