//! Who goes on: a choice at every switch.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use bento_api::Event;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::program::Program;
use crate::host::{Actor, Stage, steps};
use crate::jlang::Op;
use crate::oracle::Stream;
use crate::run::execute::time;

/// Switches after which the streams are taken to wait for each other.
const SWITCHES: u64 = 400_000;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Times that somebody else went on.
    pub switches: u64,
    /// Upgrades.
    pub upgrades: u64,
}

/// The streams of a program on a stage, and what they share.
pub struct Schedule<'s> {
    stage: &'s Stage,
    program: &'s Program,
    random: RefCell<SmallRng>,
    seconds: Cell<i64>,
    running: Cell<usize>,
    upgrades: Cell<u64>,
    broken: RefCell<Option<String>>,
}

impl<'s> Schedule<'s> {
    /// A run that has not begun.
    pub fn new(stage: &'s Stage, program: &'s Program) -> Schedule<'s> {
        // The order is another choice than the program's.
        let random = RefCell::new(SmallRng::seed_from_u64(!program.seed));
        Schedule {
            stage,
            program,
            random,
            seconds: Cell::new(1),
            running: Cell::new(program.streams.len()),
            upgrades: Cell::new(0),
            broken: RefCell::default(),
        }
    }

    async fn stream(&self, mut actor: Actor<'_>, ops: &[Op]) {
        for op in ops {
            let now = self.seconds.replace(self.seconds.get() + 1);
            // What it answers is for the oracle to judge.
            let _ = actor.run(op, time(now)).await;
        }
        self.running.set(self.running.get() - 1);
    }

    /// Commits, writes home, upgrades, empties the cache, now and then, as long as a stream runs.
    async fn keep(&self, mut actor: Actor<'_>) {
        while self.running.get() > 0 {
            let choice = self.random.borrow_mut().random_range(0..16);
            let driven = match choice {
                0..=2 => actor.drive(Event::Commit).await.map(|_| ()),
                3 | 4 => actor.drive(Event::Checkpoint).await.map(|_| ()),
                5 => {
                    if let Err(why) = self.stage.upgrade() {
                        self.broken.borrow_mut().get_or_insert(format!("upgrade: {why}"));
                    }
                    self.upgrades.set(self.upgrades.get() + 1);
                    Ok(())
                }
                6 => actor.summarise().await,
                7 => {
                    self.stage.mount.containers().evict_all();
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(errno) = driven {
                self.broken.borrow_mut().get_or_insert(format!("the journal failed: {errno}"));
            }
            actor.give_way().await;
        }
    }

    /// Runs everything to its end.
    ///
    /// # Errors
    /// The streams wait for each other, or the journal failed.
    pub fn run(&self) -> Result<Done, String> {
        let mut first = Actor::new(self.stage, Stream(0));
        for op in &self.program.prelude {
            let now = self.seconds.replace(self.seconds.get() + 1);
            let _ = steps::block_on(first.run(op, time(now)));
        }
        self.stage.mount.containers().set_always_miss(self.program.always_miss);
        let mut actors = vec![first];
        actors.extend(
            (1..self.program.streams.len())
                .map(|number| Actor::new(self.stage, Stream(u8::try_from(number).unwrap_or(u8::MAX)))),
        );
        let mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for (actor, ops) in actors.into_iter().zip(&self.program.streams) {
            futures.push(Box::pin(self.stream(actor, ops)));
        }
        futures.push(Box::pin(self.keep(Actor::new(self.stage, Stream(u8::MAX)))));
        let switches = self.switch_among(futures)?;
        self.stage.mount.containers().set_always_miss(false);
        match self.broken.take() {
            Some(why) => Err(why),
            None => Ok(Done { switches, upgrades: self.upgrades.get() }),
        }
    }

    fn switch_among(&self, mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) -> Result<u64, String> {
        let mut context = Context::from_waker(Waker::noop());
        for switches in 0..SWITCHES {
            if futures.is_empty() {
                return Ok(switches);
            }
            let chosen = self.random.borrow_mut().random_range(0..futures.len());
            if futures[chosen].as_mut().poll(&mut context).is_ready() {
                drop(futures.remove(chosen));
            }
        }
        Err(format!("{} streams wait for each other", futures.len()))
    }
}
