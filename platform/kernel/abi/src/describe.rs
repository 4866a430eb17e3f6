//! Declarations in Rust that also know what they are called in C.

/// A type, as C writes it.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// The type's name, qualifiers in front.
    pub name: &'static str,
    /// What follows the name: a `*` for a pointer.
    pub stars: &'static str,
    /// Elements of an array; 0 if it is none.
    pub elements: usize,
}

impl Type {
    pub(crate) const fn plain(name: &'static str) -> Self {
        Self { name, stars: "", elements: 0 }
    }
}

/// A type that both languages know.
pub trait InC {
    /// What C calls it.
    const TYPE: Type;
    /// What C calls it behind a pointer to constant.
    const CONSTANT: &'static str;
}

macro_rules! plain {
    ($($rust:ty => $c:literal),* $(,)?) => { $(
        impl $crate::describe::InC for $rust {
            const TYPE: $crate::describe::Type = $crate::describe::Type::plain($c);
            const CONSTANT: &'static str = concat!("const ", $c);
        }
    )* };
}
pub(crate) use plain;

plain! {
    () => "void", bool => "bool", u8 => "u8", u32 => "u32", u64 => "u64", i32 => "s32", i64 => "s64", usize => "size_t",
    core::ffi::c_void => "void",
    bento_api::InodeNo => "u64", bento_api::BlockNo => "u64", bento_api::BatchSeq => "u64",
    bento_api::FileBlock => "u64", bento_api::GroupNo => "u32", bento_api::Map => "u32", bento_api::Change => "u32",
}

impl<T: InC> InC for *mut T {
    const TYPE: Type =
        Type { name: T::TYPE.name, stars: if T::TYPE.stars.is_empty() { "*" } else { "**" }, elements: 0 };
    const CONSTANT: &'static str = "";
}

impl<T: InC> InC for *const T {
    const TYPE: Type = Type { name: T::CONSTANT, stars: "*", elements: 0 };
    const CONSTANT: &'static str = "";
}

impl<T: InC, const N: usize> InC for [T; N] {
    const TYPE: Type = Type { name: T::TYPE.name, stars: T::TYPE.stars, elements: N };
    const CONSTANT: &'static str = "";
}

/// A field of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Bytes before it.
    pub offset: usize,
}

/// A structure.
#[derive(Clone, Copy, Debug)]
pub struct Struct {
    /// Its tag in C.
    pub name: &'static str,
    /// Its bytes.
    pub size: usize,
    /// Its fields, in order.
    pub fields: &'static [Field],
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
}

/// A function of C's that Rust calls.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// What it returns.
    pub result: Type,
}

/// A number that both sides know by a name.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its name in C.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
}

/// Describes structures that are declared elsewhere; a field of another type does not compile.
macro_rules! described {
    ($list:ident: $($rust:ty as $c:literal { $($field:ident: $ty:ty),* $(,)? })*) => {
        $(
            impl $crate::describe::InC for $rust {
                const TYPE: $crate::describe::Type =
                    $crate::describe::Type { name: concat!("struct ", $c), stars: "", elements: 0 };
                const CONSTANT: &'static str = concat!("const struct ", $c);
            }
            $( const _: fn(&$rust) -> &$ty = |whole| &whole.$field; )*
        )*
        /// Structures.
        pub const $list: &[$crate::describe::Struct] = &[$(
            $crate::describe::Struct {
                name: $c,
                size: size_of::<$rust>(),
                fields: &[$( $crate::describe::Field {
                    name: stringify!($field),
                    ty: <$ty as $crate::describe::InC>::TYPE,
                    offset: core::mem::offset_of!($rust, $field),
                } ),*],
            }
        ),*];
    };
}
pub(crate) use described;

/// Declares structures for both sides.
macro_rules! structures {
    ($list:ident: $($(#[$doc:meta])* $name:ident as $c:literal { $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            pub struct $name { $( $(#[$field_doc])* pub $field: $ty ),* }
        )*
        $crate::describe::described! { $list: $($name as $c { $($field: $ty),* })* }
    };
}
pub(crate) use structures;

/// Declares functions of C's for Rust.
macro_rules! functions {
    ($($(#[$doc:meta])* fn $name:ident($($parameter:ident: $ty:ty),* $(,)?) -> $result:ty;)*) => {
        unsafe extern "C" { $( $(#[$doc])* pub fn $name($($parameter: $ty),*) -> $result; )* }
        /// Functions of C's that Rust calls.
        pub const FUNCTIONS: &[$crate::describe::Function] = &[$(
            $crate::describe::Function {
                name: stringify!($name),
                parameters: &[$( $crate::describe::Parameter {
                    name: stringify!($parameter),
                    ty: <$ty as $crate::describe::InC>::TYPE,
                } ),*],
                result: <$result as $crate::describe::InC>::TYPE,
            }
        ),*];
    };
}
pub(crate) use functions;

/// Declares numbers for both sides; C's names begin with `BENTO_`.
macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        $( $(#[$doc])* pub const $name: u32 = $value; )*
        /// Numbers.
        pub const CONSTANTS: &[$crate::describe::Constant] = &[$(
            $crate::describe::Constant { name: concat!("BENTO_", stringify!($name)), value: $value as u64 }
        ),*];
    };
}
pub(crate) use constants;
