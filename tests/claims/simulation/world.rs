//! A group of hosts, a broker and bad luck: everything that one seed plays.
//!
//! Each step lets one thing happen: a task advances, a report arrives, a position is committed, a partition moves, a
//! host dies. After the drawn number of steps bad luck ends, and the world must come to rest.
//! **Invariant:** every promise is checked after every step.

mod calm;
mod members;
mod parking;
mod transactions;

use kafka_wasm_host::offset_map::CommitPoint;

use super::broker::{Report, Sent};
use super::replays::Command;
use super::scenario::Scenario;
use super::scene::{Bug, Scene, Seen};
use super::task::Task;
use super::truth::{Claim, Held, hold};
use harness::dice::Dice;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    scene: Scene,
    tasks: Vec<Task>,
    /// Which hosts are members of the group.
    is_up: Vec<bool>,
    /// The command that replays a parked key, if one runs, and how many there were.
    command: Option<Command>,
    commands: u32,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::draw(&mut dice);
        let is_up = vec![true; scenario.hosts];
        Self {
            scene: Scene::new(dice, scenario, bug),
            tasks: Vec::new(),
            is_up,
            command: None,
            commands: 0,
        }
    }

    /// Plays a seed to its end.
    pub(super) fn play(seed: u64, bug: Option<Bug>) -> Held<Seen> {
        let mut world = Self::new(seed, bug);
        world.run()?;
        Ok(world.scene.seen)
    }

    /// Plays a seed again and returns its scenario and what happened, one line each.
    pub(super) fn diary(seed: u64, bug: Option<Bug>) -> Vec<String> {
        let mut world = Self::new(seed, bug);
        world.scene.diary = Some(vec![format!("{:?}", world.scene.scenario)]);
        let end = world.run();
        let mut diary = world.scene.diary.unwrap_or_default();
        diary.push(end.map_or_else(|violation| violation.to_string(), |()| "at rest".to_owned()));
        diary
    }

    fn run(&mut self) -> Held {
        for _ in 0..self.scene.scenario.steps {
            self.step()?;
        }
        self.calm_down()
    }

    /// Lets one thing happen.
    fn step(&mut self) -> Held {
        if self.scene.scenario.replays.is_some() && self.scene.dice.chance(30) {
            self.parking_step()?;
        }
        match self.scene.dice.below(100) {
            0..40 => self.advance_one(),
            40..58 => self.broker_answers(),
            58..70 => self.report_arrives(),
            70..75 => self.some_task(|task, scene| task.store(scene)),
            75..79 => self.commit_one(),
            79..84 => self.time_passes(),
            84..88 => self.records_are_produced(),
            88..92 => self.assign_one(),
            92..94 => self.revoke_some(),
            94 => self.host_leaves(),
            95 => self.host_starts(),
            96 => self.handler_is_replaced(),
            97 => self.unless_graceful(Self::assignment_is_lost),
            98 => self.unless_graceful(Self::host_crashes),
            _ => self.unless_graceful(Self::bad_news_arrives),
        }?;
        self.check()
    }

    fn check(&self) -> Held {
        let max = self.scene.scenario.in_flight_max;
        for task in &self.tasks {
            let position = task.position(&self.scene);
            let is_stored_so = !self.scene.scenario.is_exactly_once;
            if let Some(position) = position.filter(|_| is_stored_so) {
                self.scene.truth.held(task.partition, position)?;
            }
            let load = task.load(&self.scene);
            hold(Claim::Bounded, load <= max, || {
                format!("{load} of {max} records are open")
            })?;
        }
        Ok(())
    }

    fn some_task(&mut self, act: impl FnOnce(&mut Task, &mut Scene) -> Held) -> Held {
        let at = self.scene.dice.below(self.tasks.len());
        self.tasks
            .get_mut(at)
            .map_or(Ok(()), |task| act(task, &mut self.scene))
    }

    fn advance_one(&mut self) -> Held {
        let at = self.scene.dice.below(self.tasks.len());
        self.advance(at)
    }

    fn advance(&mut self, at: usize) -> Held {
        let Some(task) = self.tasks.get_mut(at) else {
            return Ok(());
        };
        if task.advance(&mut self.scene)? {
            self.scene.note("drained");
            self.acknowledge_revocation(at)?;
        }
        Ok(())
    }

    /// Kafka takes positions from the owner of a partition only.
    fn commit(&mut self, task: &Task, point: &CommitPoint) -> Held {
        let partition = &mut self.scene.broker.partitions[task.partition];
        if partition.owner != Some(task.epoch) {
            self.scene.note("a commit was refused");
            return Ok(());
        }
        partition.committed = point.clone();
        if !point.metadata.is_empty() {
            self.scene.note("a map is committed");
        }
        self.scene
            .say(|| format!("epoch {} commits {point:?}", task.epoch));
        self.scene.truth.committed(task.epoch, point)
    }

    fn commit_one(&mut self) -> Held {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let at = self.scene.dice.below(self.tasks.len());
        if self.scene.scenario.is_exactly_once {
            return self.commit_transaction(self.tasks[at].host, false);
        }
        let task = self.tasks.swap_remove(at);
        let stored = task.stored.clone();
        let held = stored.map_or(Ok(()), |point| self.commit(&task, &point));
        self.tasks.push(task);
        held
    }

    fn broker_answers(&mut self) -> Held {
        match self.scene.broker.answer(&mut self.scene.dice) {
            Some(report) if report.is_written => self.is_written(&report),
            Some(report) => {
                self.scene.truth.refused(report.flight);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn is_written(&mut self, report: &Report) -> Held {
        self.scene.truth.written(report.flight);
        match &report.sent {
            Sent::Letter(letter) => self.scene.truth.lettered(letter.from),
            Sent::Emit | Sent::Marker(_) => Ok(()),
        }
    }

    fn report_arrives(&mut self) -> Held {
        let Some(report) = self.scene.broker.report(&mut self.scene.dice) else {
            return Ok(());
        };
        match self
            .tasks
            .iter_mut()
            .find(|task| task.epoch == report.epoch)
        {
            Some(task) => task.landed(&mut self.scene, report.flight, report.is_written),
            None => self.scene.note("a report found nobody"),
        }
        Ok(())
    }

    fn time_passes(&mut self) -> Held {
        let timer_ms = self.tasks.iter().filter_map(Task::timer_ms).min();
        let some_ms = self.scene.now_ms + self.scene.dice.between(1, 300) as u64;
        let is_exact = self.scene.dice.chance(50);
        self.scene.now_ms = timer_ms
            .filter(|_| is_exact)
            .map_or(some_ms, |timer_ms| timer_ms.max(self.scene.now_ms));
        Ok(())
    }

    fn records_are_produced(&mut self) -> Held {
        let at = self.scene.dice.below(self.scene.broker.partitions.len());
        let more = self.scene.dice.between(1, 4);
        let log = &mut self.scene.broker.partitions[at];
        log.visible = (log.visible + more).min(log.records.len());
        Ok(())
    }

    fn handler_is_replaced(&mut self) -> Held {
        if self.scene.dice.chance(30) {
            self.scene.note("a handler is replaced");
            self.scene.revision += 1;
        }
        Ok(())
    }

    fn unless_graceful(&mut self, act: impl FnOnce(&mut Self) -> Held) -> Held {
        if self.scene.scenario.is_graceful {
            Ok(())
        } else {
            act(self)
        }
    }
}
