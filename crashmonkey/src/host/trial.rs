//! tmp
#[cfg(test)]
mod tests {
    use crate::ace::Generator;
    use crate::ace::bounds::Profile;
    use crate::check::live;
    use crate::host::actor::Pace;
    use crate::host::*;
    use crate::host::build::MADE;
    use crate::oracle::{Model, Oracle, Stream};
    use bento_api::Time;

    #[test]
    fn seq_one_agrees_with_the_model_without_a_crash() {
        let base = Base::new(&PLAIN).unwrap();
        let start = std::time::Instant::now();
        let mut n = 0;
        let mut bad = 0;
        for workload in Generator::new(Profile::Fixed, 1).iter() {
            let stage = Stage::new(&base, Pace::Shipped);
            let mut actor = Actor::new(&stage, Stream(0));
            for (second, op) in (1..).zip(&workload.ops) {
                let _ = steps::block_on(actor.run(op, Time::new(MADE.seconds + second, 0)));
            }
            n += 1;
            let history = stage.story.history();
            let oracle = match Oracle::build(Model::new(0o755, MADE), &history, &[]) {
                Ok(o) => o,
                Err(e) => { bad += 1; if bad < 10 { println!("{e}\n{workload}\n"); } continue }
            };
            match live::look(&stage, base.volume) {
                Err(e) => { bad += 1; println!("{e}\n{workload}\n") }
                Ok(tree) => {
                    let d = oracle.at(history.events.len()).check_live(&tree);
                    if !d.is_empty() { bad += 1; if bad < 10 { println!("{d:?}\n{workload}\n"); } }
                }
            }
        }
        println!("{n} workloads, {bad} bad, {:?}", start.elapsed());
    }
}
