//! A group of hosts, a broker and bad luck: everything that one seed plays.
//!
//! Each step lets one thing happen: a task advances, a report arrives, a position is committed, a partition moves, a
//! host dies. After the drawn number of steps bad luck ends, and the world must come to rest.
//! **Invariant:** every promise is checked after every step.

mod transactions;

use kafka_wasm_host::offset_map::CommitPoint;

use super::scenario::Scenario;
use super::scene::{Bug, Scene, Seen};
use super::task::Task;
use super::truth::{Claim, Held, Violation, hold};
use harness::dice::Dice;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    scene: Scene,
    tasks: Vec<Task>,
    /// Which hosts are members of the group.
    is_up: Vec<bool>,
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

    /// Ends a task with the commit that precedes the answer to a revocation.
    fn acknowledge_revocation(&mut self, at: usize) -> Held {
        if self.scene.scenario.is_exactly_once {
            return self.leave_transaction(at);
        }
        let task = self.tasks.swap_remove(at);
        if let Some(point) = task.point(&self.scene) {
            self.commit(&task, &point)?;
        }
        self.scene
            .say(|| format!("epoch {} is revoked", task.epoch));
        self.scene.truth.over(task.epoch);
        self.disown(&task);
        Ok(())
    }

    fn disown(&mut self, task: &Task) {
        let owner = &mut self.scene.broker.partitions[task.partition].owner;
        if *owner == Some(task.epoch) {
            *owner = None;
        }
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
        if let Some(report) = self.scene.broker.answer(&mut self.scene.dice) {
            if report.is_written {
                self.scene.truth.written(report.flight);
            } else {
                self.scene.truth.refused(report.flight);
            }
        }
        Ok(())
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

    fn assign_one(&mut self) -> Held {
        let partition = self.scene.dice.below(self.scene.broker.partitions.len());
        let host = self.scene.dice.below(self.is_up.len());
        self.assign(partition, host);
        Ok(())
    }

    fn assign(&mut self, partition: usize, host: usize) {
        // A host hears of a loss before it is given the partition again.
        let is_here = self
            .tasks
            .iter()
            .any(|task| task.partition == partition && task.host == host);
        if !self.is_up[host] || is_here || self.scene.broker.partitions[partition].owner.is_some() {
            return;
        }
        let task = Task::new(host, partition, &mut self.scene);
        self.scene.broker.partitions[partition].owner = Some(task.epoch);
        self.scene.say(|| {
            format!(
                "epoch {}: partition {partition} is given to host {host}",
                task.epoch
            )
        });
        self.tasks.push(task);
    }

    fn revoke(&mut self, is_meant: impl Fn(&mut Dice, &Task) -> bool) -> Held {
        for at in (0..self.tasks.len()).rev() {
            if is_meant(&mut self.scene.dice, &self.tasks[at]) {
                self.tasks[at].is_stopping = true;
                let is_sudden = self.scene.bug == Some(Bug::StopsWithoutDraining);
                if is_sudden && !self.scene.scenario.is_exactly_once {
                    self.acknowledge_revocation(at)?;
                }
            }
        }
        Ok(())
    }

    fn revoke_some(&mut self) -> Held {
        self.scene.note("rebalance");
        self.revoke(|dice, _| dice.chance(50))
    }

    fn host_leaves(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        self.scene.note("a host leaves");
        self.is_up[host] = false;
        self.revoke(|_, task| task.host == host)
    }

    fn host_starts(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        // A host that leaves is gone when its last partition is drained.
        if self.tasks.iter().all(|task| task.host != host) {
            self.is_up[host] = true;
        }
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

    /// The group gives a partition to somebody else, for instance after a missed heartbeat; its host does not know.
    fn assignment_is_lost(&mut self) -> Held {
        let at = self.scene.dice.below(self.scene.broker.partitions.len());
        if self.scene.broker.partitions[at].owner.take().is_some() {
            self.scene.note("an assignment is lost");
            self.scene
                .say(|| format!("partition {at} is taken from its host"));
        }
        Ok(())
    }

    /// A host learns that an assignment was lost, or the drain deadline passes.
    fn bad_news_arrives(&mut self) -> Held {
        let owner = |scene: &Scene, task: &Task| scene.broker.partitions[task.partition].owner;
        let is_lost = |scene: &Scene, task: &Task| owner(scene, task) != Some(task.epoch);
        let Some(at) =
            (self.tasks.iter()).position(|task| task.is_stopping || is_lost(&self.scene, task))
        else {
            return Ok(());
        };
        if self.tasks[at].is_stopping {
            self.scene.note("the drain deadline passed");
            return self.acknowledge_revocation(at);
        }
        self.scene.note("a loss is noticed");
        self.scene.say(|| "a loss is noticed".to_owned());
        if self.scene.scenario.is_exactly_once {
            self.abort_transaction(self.tasks[at].host);
            return Ok(());
        }
        self.scene.truth.over(self.tasks[at].epoch);
        if self.scene.bug != Some(Bug::ServesAfterARevocation) {
            self.tasks.swap_remove(at);
        }
        Ok(())
    }

    fn host_crashes(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        self.scene.note("a host crashes");
        self.scene.say(|| format!("host {host} crashes"));
        self.is_up[host] = false;
        self.scene.transactions[host].clear();
        let (gone, left) = std::mem::take(&mut self.tasks)
            .into_iter()
            .partition(|task| task.host == host);
        self.tasks = left;
        let gone: Vec<Task> = gone;
        for task in &gone {
            self.scene.truth.over(task.epoch);
            self.disown(task);
        }
        Ok(())
    }

    /// Bad luck ends; every record must come to its ending, soon.
    fn calm_down(&mut self) -> Held {
        self.scene.say(|| "bad luck ends".to_owned());
        self.handler_is_replaced()?;
        for log in &mut self.scene.broker.partitions {
            log.visible = log.records.len();
        }
        for _ in 0..20_000 {
            if self.is_at_rest() {
                return self.judge();
            }
            self.calm_step()?;
            self.check()?;
        }
        let text = format!("no rest: {:?}", self.tasks);
        Err(Violation {
            claim: Claim::NoSilence,
            text,
        })
    }

    fn calm_step(&mut self) -> Held {
        self.bad_news_of_losses()?;
        self.host_starts()?;
        for partition in 0..self.scene.broker.partitions.len() {
            let host = self.scene.dice.below(self.is_up.len());
            self.assign(partition, host);
        }
        for at in (0..self.tasks.len()).rev() {
            self.advance(at)?;
        }
        for task in &mut self.tasks {
            task.store(&mut self.scene)?;
        }
        self.commit_one()?;
        self.broker_answers()?;
        self.report_arrives()?;
        self.time_passes()
    }

    fn bad_news_of_losses(&mut self) -> Held {
        let partitions = &self.scene.broker.partitions;
        let has_loss = (self.tasks.iter())
            .any(|task| !task.is_stopping && partitions[task.partition].owner != Some(task.epoch));
        if has_loss {
            self.bad_news_arrives()
        } else {
            Ok(())
        }
    }

    fn is_at_rest(&self) -> bool {
        let partitions = &self.scene.broker.partitions;
        let is_done = |task: &Task| {
            let committed = &partitions[task.partition].committed;
            let is_stored = task
                .stored
                .as_ref()
                .is_none_or(|stored| stored == committed);
            task.is_at_rest(&self.scene) && is_stored
        };
        self.scene.transactions.iter().all(Vec::is_empty)
            && partitions.iter().all(|log| log.owner.is_some())
            && self.tasks.len() == partitions.len()
            && self.tasks.iter().all(is_done)
    }

    fn judge(&self) -> Held {
        for task in &self.tasks {
            self.scene.truth.rested(task.partition, task.is_halted())?;
        }
        Ok(())
    }
}
