//! Streams of operations that meet, a second life on one disk, and the teeth of all this.

use bento_crashmonkey::explore::{Figures, explore};
use bento_crashmonkey::host::{Base, PLAIN};
use bento_crashmonkey::lives::lives;
use bento_crashmonkey::run::{Limits, Mode};
use bento_crashmonkey::selftest::{Effort, selftest, workloads};

fn seed(base: &Base, seed: u64) -> Figures {
    let mut figures = Figures::default();
    if let Err(failure) = explore(base, seed, Mode::Lazy, Limits::default(), &mut figures) {
        panic!("{failure:#?}");
    }
    figures
}

#[test]
fn streams_that_meet_at_every_attempt_survive_every_crash() {
    let base = Base::new(&PLAIN).expect("the volume is made and mounted");
    let mut all = Figures::default();
    (0..400).for_each(|number| all.add(&seed(&base, number)));
    assert!(all.upgrades > 100 && all.joins > 1000 && all.crashes.capped == 0, "{all:?}");
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let base = Base::new(&PLAIN).expect("the volume is made and mounted");
    assert_eq!(seed(&base, 7), seed(&base, 7));
}

#[test]
fn nothing_of_a_first_life_comes_back_in_a_second() {
    let base = Base::new(&PLAIN).expect("the volume is made and mounted");
    let counts = lives(&base, &workloads()).unwrap_or_else(|error| panic!("{error}"));
    assert!(counts.runs > 1000, "{counts:?}");
}

#[test]
fn every_seeded_fault_is_caught_and_the_plain_file_system_passes() {
    let verdict = selftest(Effort { seeds: 60, every_way: false }).expect("the volumes are made and mounted");
    assert!(verdict.is_good(), "{verdict:#?}");
}
