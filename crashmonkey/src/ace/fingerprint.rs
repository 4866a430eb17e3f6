//! Golden figures of a set of workloads: equal fingerprints, equal sets.

use std::collections::HashSet;

use rustc_hash::FxBuildHasher;

use super::Generator;
use crate::jlang::fnv1a;

/// What identifies a set, whatever the order in which it is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fingerprint {
    /// How many workloads were generated.
    pub raw: u64,
    /// How many different texts they are.
    pub distinct: u64,
    /// The sum of the FNV-1a hashes of the different canonical texts, modulo 2^64.
    pub sum: u64,
}

impl Fingerprint {
    /// Generates the whole set and sums it up.
    pub fn of(generator: &Generator) -> Fingerprint {
        let mut seen: HashSet<u64, FxBuildHasher> = HashSet::default();
        let mut print = Fingerprint { raw: 0, distinct: 0, sum: 0 };
        let mut text = String::with_capacity(1024);
        for workload in generator.iter() {
            text.clear();
            workload.write_canonical(&mut text);
            let hash = fnv1a(text.as_bytes());
            print.raw += 1;
            if seen.insert(hash) {
                print.distinct += 1;
                print.sum = print.sum.wrapping_add(hash);
            }
        }
        print
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Profile;
    use super::*;

    #[track_caller]
    fn check(profile: Profile, length: usize, raw: u64, distinct: u64, sum: u64) {
        let print = Fingerprint::of(&Generator::new(profile, length));
        assert_eq!(print, Fingerprint { raw, distinct, sum }, "{profile:?} seq-{length}");
    }

    #[test]
    fn sets_of_one_equal_those_of_the_original_generators() {
        check(Profile::Osdi18, 1, 336, 318, 0x2974_2067_8e72_a266);
        check(Profile::Fixed, 1, 328, 316, 0xdc53_c292_c8b6_a866);
        check(Profile::Head, 1, 435, 423, 0x9b08_f641_899e_3210);
        check(Profile::Nested, 1, 587, 569, 0x81d7_53c8_535c_ce43);
    }

    #[test]
    fn the_set_of_two_of_osdi18_equals_the_original() {
        check(Profile::Osdi18, 2, 254_032, 222_911, 0x7a5a_eb55_2c43_d64b);
    }

    #[test]
    fn the_set_of_two_of_the_later_generator_equals_what_it_should_have_been() {
        check(Profile::Fixed, 2, 241_720, 221_402, 0x323a_6910_3d0a_5cb5);
    }

    #[test]
    fn the_set_of_two_of_the_later_generator_equals_what_was_shipped() {
        check(Profile::Head, 2, 466_382, 436_978, 0x3817_701d_7c7a_1ee3);
    }

    #[test]
    fn the_nested_set_of_two_equals_the_original() {
        check(Profile::Nested, 2, 909_362, 843_922, 0x9c1a_d84c_ccc6_e770);
    }
}
