//! `bento_prov.ko`: the provenance variant of the Bento file system as a kernel module.
#![no_std]

bento_kernel::module!(bento_prov::Prov);
