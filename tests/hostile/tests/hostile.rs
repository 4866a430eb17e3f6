//! Every field of every structure with every kind of value, the cases that once did harm, and some at random.
use bento_hostile::{Case, Change, HOME, LOGGED, Patch, image, operations};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// One case takes no longer, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(20);
/// Structures of a kind whose every field is tried: the first, the last, and some between.
const OF_A_KIND: usize = 12;
/// The memory that all cases together may take.
const MOST_MEMORY: u64 = 1 << 30;

static PANICS: AtomicU64 = AtomicU64::new(0);
/// One case at a time, so that a panic in a thread of a mount is that of the case.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts panics, those that a mount catches too.
fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Relaxed);
            hook(info);
        }));
    });
}

/// Runs a case, and says if it does harm.
fn does_harm(what: &dyn std::fmt::Display, case: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    count_panics();
    let _alone = ALONE.lock().expect("no case panics outside its own catch");
    let (before, started) = (PANICS.load(Relaxed), Instant::now());
    let failed = std::panic::catch_unwind(case).is_err();
    let (panics, took) = (PANICS.load(Relaxed) - before, started.elapsed());
    let harm = failed || panics > 0 || took > LONGEST;
    if harm {
        println!("HARM ({panics} panics, {took:?}): {what}");
    }
    harm
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak of its memory");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

/// Each field of some structures of each kind with each value, one at a time.
fn every_field(logged: bool) -> Vec<Case> {
    let base = if logged { &*LOGGED } else { &*HOME };
    let mut cases = Vec::new();
    for (layout, (known, all)) in base.targets.0.iter().enumerate() {
        let chosen =
            (0..OF_A_KIND.min(all.len())).map(|at| at * all.len().saturating_sub(1) / (OF_A_KIND - 1));
        for (nth, field) in chosen.flat_map(|nth| (0..known.fields.len()).map(move |field| (nth, field))) {
            for change in [Change::Zero, Change::Ones, Change::Up, Change::Down, Change::Random(field as u16)]
            {
                let patch = Patch { layout: layout as u8, nth: nth as u16, field: field as u8, change };
                cases.push(Case { logged, sealed: true, read_only: false, patches: vec![patch] });
            }
        }
    }
    cases
}

fn try_every_field(logged: bool) {
    let cases = every_field(logged);
    let started = Instant::now();
    let harm = cases.iter().filter(|case| does_harm(case, || case.run())).count();
    println!("{} cases in {:?}, {} MiB at most", cases.len(), started.elapsed(), peak_memory() >> 20);
    assert_eq!(harm, 0);
    assert!(peak_memory() < MOST_MEMORY);
}

#[test]
fn no_field_of_any_structure_does_harm_whatever_its_value() {
    try_every_field(false);
}

#[test]
fn no_field_of_the_log_does_harm_whatever_its_value() {
    try_every_field(true);
}

#[test]
fn all_structures_on_disk_are_tried() {
    let tried = |name| {
        HOME.targets
            .0
            .iter()
            .chain(&LOGGED.targets.0)
            .any(|(layout, _): &(&bento_fs::format::Layout, _)| layout.name == name)
    };
    for layout in bento_fs::format::LAYOUTS {
        assert!(tried(layout.name), "{}", layout.name);
    }
}

/// The bytes of the cases in a list: a line for each, in hexadecimal, and why it is there.
fn cases_of(list: &str) -> Vec<Vec<u8>> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    let byte =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hexadecimal");
    lines.filter(|line| !line.is_empty()).map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

#[test]
fn images_that_did_harm_do_so_no_longer() {
    let cases = cases_of(include_str!("../regress/image.txt"));
    let harm = cases.iter().filter(|data| does_harm(&Case::decode(data), || image(data))).count();
    assert_eq!(harm, 0);
}

#[test]
fn operations_that_did_harm_do_so_no_longer() {
    let cases = cases_of(include_str!("../regress/operations.txt"));
    let harm = cases.iter().filter(|data| does_harm(&format!("{data:02x?}"), || operations(data))).count();
    assert_eq!(harm, 0);
}

/// How many random cases: more if the environment says so.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let from = number("HOSTILE_FIRST").unwrap_or(0);
    from..from + number("HOSTILE_SEEDS").unwrap_or(default)
}

#[test]
fn images_with_random_damage_do_no_harm() {
    let harm = seeds(150).filter(|seed| {
        let mut random = SmallRng::seed_from_u64(*seed);
        let data: Vec<u8> = (0..1 + 8 * random.random_range(1..8)).map(|_| random.random()).collect();
        does_harm(&Case::decode(&data), || image(&data))
    });
    assert_eq!(harm.count(), 0);
}

#[test]
fn random_operations_do_what_the_model_says() {
    let harm = seeds(60).filter(|seed| {
        let mut random = SmallRng::seed_from_u64(*seed);
        let data: Vec<u8> = (0..5 * random.random_range(1..400)).map(|_| random.random()).collect();
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        does_harm(&hex, || operations(&data))
    });
    assert_eq!(harm.count(), 0);
}
