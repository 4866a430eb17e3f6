//! Crash states of generated and of collected workloads.

use std::fs;
use std::path::Path;

use bento_crashmonkey::ace::Generator;
use bento_crashmonkey::ace::bounds::Profile;
use bento_crashmonkey::host::{Base, Build, PLAIN, PROV};
use bento_crashmonkey::jlang::Workload;
use bento_crashmonkey::run::{Batch, Homing, Limits, Mode};

fn check(workloads: &[Workload], modes: &[Mode]) {
    check_build(&PLAIN, workloads, modes);
}

fn check_build(build: &'static Build, workloads: &[Workload], modes: &[Mode]) {
    let batch = Batch {
        modes: modes.to_vec(),
        homings: vec![Homing::Never, Homing::Always],
        limits: Limits::default(),
        work_every: 8,
        jobs: 2,
        failures: 1,
    };
    let base = Base::new(build).expect("the volume is made and mounted");
    let results = batch.run(&base, workloads, &|_| ());
    assert!(results.failures.is_empty(), "{:#?}", results.failures);
    assert_eq!((results.figures.workloads, results.figures.capped()), (workloads.len() as u64, 0));
}

#[test]
fn every_workload_of_one_operation_survives_every_crash() {
    let workloads: Vec<Workload> = Generator::new(Profile::Fixed, 1).iter().collect();
    assert_eq!(workloads.len(), 328);
    check(&workloads, &Mode::ALL);
}

#[test]
fn a_sample_of_workloads_of_two_operations_survives_every_crash() {
    let generator = Generator::new(Profile::Osdi18, 2);
    let workloads: Vec<Workload> =
        (0..generator.count()).step_by(601).filter_map(|n| generator.nth(n)).collect();
    check(&workloads, &[Mode::Checkpoint, Mode::Lazy, Mode::Torn]);
}

#[test]
fn every_collected_workload_survives_every_crash() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("regress");
    let mut workloads = Vec::new();
    for entry in fs::read_dir(&dir).expect("the workloads are there") {
        let path = entry.expect("the directory can be read").path();
        let text = fs::read_to_string(&path).expect("a workload can be read");
        workloads.push(text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
    assert!(workloads.len() > 20);
    check(&workloads, &Mode::ALL);
}

#[test]
fn names_and_provenance_agree_after_every_crash() {
    let (one, two) = (Generator::new(Profile::Fixed, 1), Generator::new(Profile::Osdi18, 2));
    let sample = (0..two.count()).step_by(2503).filter_map(|n| two.nth(n));
    let workloads: Vec<Workload> = one.iter().step_by(2).chain(sample).collect();
    assert!(workloads.len() > 200, "{}", workloads.len());
    check_build(&PROV, &workloads, &[Mode::Prefix, Mode::Lazy]);
}
