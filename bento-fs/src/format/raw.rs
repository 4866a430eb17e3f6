//! How a structure on disk is declared: once, with its offsets written out and checked by the compiler.

/// A structure on disk, as plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The name of the Rust type.
    pub name: &'static str,
    /// The module that declares it.
    pub module: &'static str,
    /// Bytes on disk.
    pub size: usize,
    /// The fields, in order, without gaps.
    pub fields: &'static [Field],
}

/// A field of a structure on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name of the Rust field.
    pub name: &'static str,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Bytes of the field.
    pub size: usize,
}

/// Declares a structure on disk: its size, and each field with its offset. A wrong number is a build error.
macro_rules! raw {
    (
        $(#[$doc:meta])*
        pub struct $name:ident [$size:literal] {
            $($(#[$field_doc:meta])* $offset:literal => $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
            zerocopy::Unaligned,
        )]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Name, size and fields, for the test against `docs/format.md`.
            pub const LAYOUT: $crate::format::raw::Layout = $crate::format::raw::Layout {
                name: stringify!($name),
                module: module_path!(),
                size: core::mem::size_of::<$name>(),
                fields: &[$($crate::format::raw::Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!($name, $field),
                    size: core::mem::size_of::<$type>(),
                },)*],
            };
        }

        const _: () = {
            assert!(core::mem::size_of::<$name>() == $size, concat!(stringify!($name), " has another size"));
            $(assert!(
                core::mem::offset_of!($name, $field) == $offset,
                concat!(stringify!($name), ".", stringify!($field), " lies elsewhere")
            );)*
        };
        static_assertions::assert_impl_all!($name: zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Unaligned, Send, Sync);
    };
}
