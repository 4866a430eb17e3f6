//! The thirteen names that ACE works with, and sets of them.

use crate::jlang::Path;

/// A file or directory of the bounded tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each name spells its path")]
pub enum Name {
    Root,
    A,
    B,
    AC,
    Foo,
    Bar,
    AFoo,
    ABar,
    BFoo,
    BBar,
    ACFoo,
    ACBar,
}

impl Name {
    /// All of them.
    pub const ALL: [Name; 12] = [
        Name::Root,
        Name::A,
        Name::B,
        Name::AC,
        Name::Foo,
        Name::Bar,
        Name::AFoo,
        Name::ABar,
        Name::BFoo,
        Name::BBar,
        Name::ACFoo,
        Name::ACBar,
    ];

    /// Where it is.
    pub const fn path(self) -> Path {
        Path::fixed(match self {
            Name::Root => "",
            Name::A => "A",
            Name::B => "B",
            Name::AC => "A/C",
            Name::Foo => "foo",
            Name::Bar => "bar",
            Name::AFoo => "A/foo",
            Name::ABar => "A/bar",
            Name::BFoo => "B/foo",
            Name::BBar => "B/bar",
            Name::ACFoo => "A/C/foo",
            Name::ACBar => "A/C/bar",
        })
    }

    /// The name as the original generator spells it internally; its overlap rule looks at the letters.
    pub const fn spelling(self) -> &'static str {
        match self {
            Name::Root => "test",
            Name::A => "A",
            Name::B => "B",
            Name::AC => "AC",
            Name::Foo => "foo",
            Name::Bar => "bar",
            Name::AFoo => "A/foo",
            Name::ABar => "A/bar",
            Name::BFoo => "B/foo",
            Name::BBar => "B/bar",
            Name::ACFoo => "AC/foo",
            Name::ACBar => "AC/bar",
        }
    }

    /// The directory that it is in; the root is its own parent.
    pub const fn parent(self) -> Name {
        match self {
            Name::Root | Name::A | Name::B | Name::Foo | Name::Bar => Name::Root,
            Name::AC | Name::AFoo | Name::ABar => Name::A,
            Name::BFoo | Name::BBar => Name::B,
            Name::ACFoo | Name::ACBar => Name::AC,
        }
    }

    /// The name beside it that a bug might confuse it with.
    pub const fn sibling(self) -> Name {
        match self {
            Name::Root => Name::Root,
            Name::A => Name::B,
            Name::B => Name::A,
            Name::AC => Name::AC,
            Name::Foo => Name::Bar,
            Name::Bar => Name::Foo,
            Name::AFoo => Name::ABar,
            Name::ABar => Name::AFoo,
            Name::BFoo => Name::BBar,
            Name::BBar => Name::BFoo,
            Name::ACFoo => Name::ACBar,
            Name::ACBar => Name::ACFoo,
        }
    }

    /// The two files that a directory may hold, and its one subdirectory.
    pub const fn children(self) -> (&'static [Name], Option<Name>) {
        match self {
            Name::A => (&[Name::AFoo, Name::ABar], Some(Name::AC)),
            Name::B => (&[Name::BFoo, Name::BBar], None),
            Name::AC => (&[Name::ACFoo, Name::ACBar], None),
            _ => (&[], None),
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names(u16);

impl Names {
    /// The set of these.
    pub const fn of(names: &[Name]) -> Names {
        let mut bits = 0;
        let mut i = 0;
        while i < names.len() {
            bits |= names[i].bit();
            i += 1;
        }
        Names(bits)
    }

    /// Adds one.
    pub fn insert(&mut self, name: Name) {
        self.0 |= name.bit();
    }

    /// Whether it is in.
    pub const fn contains(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// How many are in.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether none is in.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of [`Name::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Name> {
        Name::ALL.into_iter().filter(move |name| self.contains(*name))
    }

    /// The set, and every sibling and parent of its members.
    pub fn with_relatives(self) -> Names {
        let mut related = self;
        for name in self.iter() {
            related.insert(name.sibling());
            related.insert(name.parent());
        }
        related
    }
}
