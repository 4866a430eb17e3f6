//! The rule by which the later generator thins sets of three operations: the second and the third must
//! share something with what came before.
//!
//! The original compares Python sets, and a lone file name is a set of its letters there; option words
//! count like names; anything that begins with an `A` or a `B` passes. The figures published for those
//! sets rest on exactly that, so it is done here the same way, on sets of short strings.

use super::bounds::{Argument, Bounds, Core, Kind, Shape};
use super::name::Name;
use crate::jlang::FallocMode;

/// What the original compares: a word, which may be a single letter, or a mode of `fallocate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Word(&'static str),
    Mode(FallocMode),
}

/// The marks of one operation, and whether its first element begins like a directory.
struct Marks {
    set: Vec<Mark>,
    leads_with_directory: bool,
}

fn shape_word(shape: Shape) -> &'static str {
    match shape {
        Shape::Append => "append",
        Shape::Overlap => "overlap_start",
        Shape::OverlapUnaligned => "overlap_unaligned_start",
        Shape::OverlapExtend => "overlap_extend",
        Shape::ToZero => "aligned",
        Shape::ToMiddle => "unaligned",
        Shape::Extend => "extend",
        Shape::FarOut => "far_out",
    }
}

fn marks(core: &Core) -> Marks {
    let first = core.name.spelling();
    let mut set = vec![Mark::Word(first)];
    match (core.argument, core.other) {
        (Argument::Falloc(mode, shape), _) => {
            set.extend([Mark::Mode(mode), Mark::Word(shape_word(shape))]);
        }
        (Argument::Shape(shape), _) => set.push(Mark::Word(shape_word(shape))),
        (_, Some(other)) => set.push(Mark::Word(other.spelling())),
        (_, None) => {
            // A lone name: a set of letters, and its first element is one letter.
            set = first.split("").filter(|letter| !letter.is_empty()).map(Mark::Word).collect();
            return Marks { set, leads_with_directory: first.starts_with(['A', 'B']) };
        }
    }
    Marks { set, leads_with_directory: matches!(core.name, Name::A | Name::B | Name::AC) }
}

/// Whether the set of three has this sequence.
pub fn keeps(bounds: &Bounds, cores: &[Core]) -> bool {
    if !bounds.thin_at_three || cores.len() != 3 {
        return true;
    }
    // There is a generator of its own for three writes.
    if cores.iter().all(|core| core.kind == Kind::Write) {
        return false;
    }
    let mut seen: Vec<Mark> = Vec::new();
    for (i, core) in cores.iter().enumerate() {
        let marks = marks(core);
        let directory = |mark: &Mark| matches!(mark, Mark::Word("A" | "B" | "AC"));
        let shares = marks.set.iter().any(|mark| seen.contains(mark))
            || marks.leads_with_directory
            || (only_two(&seen) && seen.iter().any(directory));
        if i > 0 && !shares {
            return false;
        }
        seen.extend(marks.set);
    }
    true
}

/// Whether exactly two different marks are in the list.
fn only_two(seen: &[Mark]) -> bool {
    let mut distinct: Vec<Mark> = Vec::new();
    for mark in seen {
        if !distinct.contains(mark) {
            distinct.push(*mark);
        }
    }
    distinct.len() == 2
}
