//! The end of bad luck: everything that can still come to its ending must, soon.
//!
//! **Invariant:** nothing happens here that is not good for somebody.

use super::super::task::Task;
use super::super::truth::{Claim, Held, Violation};
use super::World;

impl World {
    /// Bad luck ends; every record must come to its ending, soon.
    pub(super) fn calm_down(&mut self) -> Held {
        self.scene.say(|| "bad luck ends".to_owned());
        self.scene.is_calm = true;
        self.handler_is_replaced()?;
        if self.scene.scenario.replays.is_some() {
            // What is replayed must be handled at last.
            self.scene.revision += 1;
        }
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
        if self.scene.scenario.replays.is_some() {
            self.parking_step()?;
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
            && self.is_parking_at_rest()
            && partitions.iter().all(|log| log.owner.is_some())
            && self.tasks.len() == partitions.len()
            && self.tasks.iter().all(is_done)
    }

    fn judge(&self) -> Held {
        for task in &self.tasks {
            self.scene.truth.rested(task.partition, task.is_halted())?;
        }
        self.scene.truth.made_good(&self.halted())
    }
}
