//! Times of warm operations, with criterion.
use bento_bench::Volume;
use criterion::{BatchSize, Criterion};
use std::hint::black_box;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let volume = Volume::new(1024);
    let mut user = volume.user();
    let dir = user.mkdir("bench");
    user.create(dir, "file");
    criterion.bench_function("lookup", |bencher| bencher.iter(|| black_box(user.lookup(dir, "file"))));
    let mut number = 0_u64;
    criterion.bench_function("create and unlink", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                format!("f{number}")
            },
            |name| {
                user.create(dir, &name);
                user.unlink(dir, &name);
            },
            BatchSize::SmallInput,
        );
    });
    criterion.final_summary();
}
