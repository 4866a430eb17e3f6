//! The C header, written from the declarations, and a number that changes with every one of them.
use crate::describe::{Constant, Function, Struct, Type};
use crate::{CONSTANTS, FUNCTIONS, OPS, SHARED, STRUCTURES};
use core::fmt::{self, Display, Formatter};

/// The text of `bentofs.h`.
pub struct Header;

impl Display for Header {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "/* SPDX-License-Identifier: GPL-2.0-only */")?;
        writeln!(
            f,
            "/* What C and Rust call of each other. Written by the build: edit platform/kernel/abi. */"
        )?;
        writeln!(f, "#ifndef BENTOFS_H\n#define BENTOFS_H\n")?;
        writeln!(f, "#include <linux/build_bug.h>\n#include <linux/stddef.h>\n#include <linux/types.h>\n")?;
        writeln!(f, "#define BENTO_FINGERPRINT {FINGERPRINT:#x}ULL")?;
        for Constant { name, value } in CONSTANTS {
            writeln!(f, "#define {name} {value}")?;
        }
        writeln!(f, "\n/* Operations: places in the table. */\nenum {{")?;
        for op in OPS {
            writeln!(f, "\tBENTO_OP_{},", Upper(op))?;
        }
        writeln!(f, "}};\n")?;
        for structure in SHARED.iter().chain(STRUCTURES) {
            write_struct(f, structure)?;
        }
        for function in FUNCTIONS {
            write_function(f, function)?;
        }
        writeln!(f, "\n#endif")
    }
}

struct Upper(&'static str);

impl Display for Upper {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| write!(f, "{}", letter.to_ascii_uppercase()))
    }
}

/// A declaration of `name` with a type.
struct Declared(Type, &'static str);

impl Display for Declared {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(Type { name, stars, elements }, declared) = self;
        write!(f, "{name} {stars}{declared}")?;
        if *elements > 0 { write!(f, "[{elements}]") } else { Ok(()) }
    }
}

fn write_struct(f: &mut Formatter<'_>, structure: &Struct) -> fmt::Result {
    let Struct { name, size, fields } = structure;
    if fields.is_empty() {
        return writeln!(f, "struct {name};\n");
    }
    writeln!(f, "struct {name} {{")?;
    for field in *fields {
        writeln!(f, "\t{};", Declared(field.ty, field.name))?;
    }
    writeln!(f, "}};\nstatic_assert(sizeof(struct {name}) == {size});")?;
    for field in *fields {
        writeln!(f, "static_assert(offsetof(struct {name}, {}) == {});", field.name, field.offset)?;
    }
    writeln!(f)
}

fn write_function(f: &mut Formatter<'_>, function: &Function) -> fmt::Result {
    write!(f, "{}(", Declared(function.result, function.name))?;
    if function.parameters.is_empty() {
        write!(f, "void")?;
    }
    for (at, parameter) in function.parameters.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(f, "{comma}{}", Declared(parameter.ty, parameter.name))?;
    }
    writeln!(f, ");")
}

/// Changes with every name, type, offset and number above.
pub const FINGERPRINT: u64 = fingerprint();

const fn word(hash: u64, value: u64) -> u64 {
    let (bytes, mut hash, mut at) = (value.to_le_bytes(), hash, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

const fn text(hash: u64, value: &str) -> u64 {
    let (bytes, mut hash, mut at) = (value.as_bytes(), hash, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    word(hash, bytes.len() as u64)
}

const fn typed(hash: u64, ty: Type) -> u64 {
    word(text(text(hash, ty.name), ty.stars), ty.elements as u64)
}

const fn structures(mut hash: u64, list: &[Struct]) -> u64 {
    let mut at = 0;
    while at < list.len() {
        hash = word(text(hash, list[at].name), list[at].size as u64);
        let mut field = 0;
        while field < list[at].fields.len() {
            let it = list[at].fields[field];
            hash = word(typed(text(hash, it.name), it.ty), it.offset as u64);
            field += 1;
        }
        at += 1;
    }
    hash
}

const fn fingerprint() -> u64 {
    let mut hash = word(0xcbf2_9ce4_8422_2325, bento_api::ABI_VERSION as u64);
    hash = structures(structures(hash, SHARED), STRUCTURES);
    let mut at = 0;
    while at < FUNCTIONS.len() {
        hash = typed(text(hash, FUNCTIONS[at].name), FUNCTIONS[at].result);
        let mut parameter = 0;
        while parameter < FUNCTIONS[at].parameters.len() {
            hash = typed(hash, FUNCTIONS[at].parameters[parameter].ty);
            parameter += 1;
        }
        at += 1;
    }
    at = 0;
    while at < CONSTANTS.len() {
        hash = word(text(hash, CONSTANTS[at].name), CONSTANTS[at].value);
        at += 1;
    }
    at = 0;
    while at < OPS.len() {
        hash = text(hash, OPS[at]);
        at += 1;
    }
    hash
}
