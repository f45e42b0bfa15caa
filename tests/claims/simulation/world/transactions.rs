//! The transactions of the hosts: outputs and positions become visible together, or neither does.
//!
//! **Invariant:** a host has one transaction for all of its partitions, and all of them go back with it.

use kafka_wasm_host::offset_map::CommitPoint;
use kafka_wasm_host::suspects::Refusal;

use super::super::broker::{Epoch, Sent};
use super::super::scene::Bug;
use super::super::truth::Held;
use super::World;

impl World {
    /// Ends a task with the commit that precedes the answer to a revocation.
    pub(super) fn leave_transaction(&mut self, at: usize) -> Held {
        let (epoch, host) = (self.tasks[at].epoch, self.tasks[at].host);
        self.commit_transaction(host, true)?;
        // Where that was aborted, the task is gone already.
        let at = self.tasks.iter().position(|task| task.epoch == epoch);
        if let Some(task) = at.map(|at| self.tasks.swap_remove(at)) {
            self.scene.say(|| format!("epoch {epoch} is revoked"));
            self.scene.truth.over(epoch);
            self.disown(&task);
        }
        Ok(())
    }

    /// Commits what a host has done, unless somebody is between two outputs of a record. The last commit before a
    /// partition goes waits for them.
    pub(super) fn commit_transaction(&mut self, host: usize, is_last: bool) -> Held {
        let mut tasks = self.tasks.iter().filter(|task| task.host == host);
        let is_closed = self.scene.bug != Some(Bug::CommitsWithASenderInside);
        if is_closed && tasks.any(|task| task.is_sending(&self.scene)) {
            self.scene.note("a commit waits for a sender");
            if !is_last {
                return Ok(());
            }
            for task in self.tasks.iter_mut().filter(|task| task.host == host) {
                while task.is_sending(&self.scene) {
                    task.send(&mut self.scene);
                }
            }
        }
        let partitions = &self.scene.broker.partitions;
        let mut tasks = self.tasks.iter().filter(|task| task.host == host);
        let is_fenced = tasks.any(|task| partitions[task.partition].owner != Some(task.epoch));
        if is_fenced && self.scene.bug != Some(Bug::CommitsAfterALoss) {
            // Kafka knows the generation of a member.
            self.scene.note("a transaction is fenced");
            self.abort_transaction(host);
            return Ok(());
        }
        if self.is_refused(host) {
            self.abort_transaction(host);
            return Ok(());
        }
        let is_rough = !self.scene.scenario.is_graceful;
        if is_rough && self.scene.dice.chance(5) {
            self.scene.note("a transaction is not committed");
            self.abort_transaction(host);
            return Ok(());
        }
        self.take_effect(host)?;
        if is_rough && self.scene.dice.chance(5) {
            self.scene.note("the answer to a commit is lost");
            self.abort_transaction(host);
        }
        Ok(())
    }

    /// Whether Kafka refused an output of the transaction; of whom is remembered.
    fn is_refused(&mut self, host: usize) -> bool {
        let mut is_any = false;
        for (flight, _) in &self.scene.transactions[host] {
            let Some((partition, offsets, attempts)) = self.scene.doomed.remove(flight) else {
                continue;
            };
            is_any = true;
            self.scene.truth.refused(*flight);
            let refusal = Refusal {
                reason: "too large".to_owned(),
                is_letter: false,
                attempts,
                taker: None,
            };
            if self.scene.bug != Some(Bug::ForgetsSuspects) {
                self.scene.suspects[host][partition].note(&offsets, &refusal);
            }
        }
        if is_any {
            self.scene.note("an output of a transaction was refused");
        }
        is_any
    }

    /// Kafka commits: a reader sees the outputs, and the positions are those of the next owners.
    fn take_effect(&mut self, host: usize) -> Held {
        let mut outputs = std::mem::take(&mut self.scene.transactions[host]);
        if self.scene.bug == Some(Bug::CommitsPositionsAlone) {
            outputs.clear();
        }
        if !outputs.is_empty() {
            self.scene.note("a transaction is committed");
        }
        for (_, sent) in &outputs {
            self.scene.broker.keep(sent);
            if let Sent::Letter(letter) = sent {
                self.scene.truth.lettered(letter.from)?;
            }
        }
        let outputs: Vec<usize> = outputs.into_iter().map(|(flight, _)| flight).collect();
        self.scene.truth.became_visible(&outputs)?;
        let mut points: Vec<(Epoch, CommitPoint)> = Vec::new();
        for task in self.tasks.iter_mut().filter(|task| task.host == host) {
            if let Some(point) = task.point(&self.scene) {
                task.stored = Some(point.clone());
                self.scene.broker.partitions[task.partition].committed = point.clone();
                self.scene.suspects[host][task.partition].forget_below(point.offset);
                points.push((task.epoch, point));
            }
        }
        self.scene
            .say(|| format!("host {host} commits {points:?} with {outputs:?}"));
        for (epoch, point) in &points {
            self.scene.truth.stored(*epoch, point)?;
            self.scene.truth.committed(*epoch, point)?;
        }
        self.scene.truth.is_covered(&outputs)
    }

    /// Throws away what a host has not committed; it reads its partitions again from what is committed.
    pub(super) fn abort_transaction(&mut self, host: usize) {
        self.scene.say(|| format!("host {host} aborts"));
        self.scene.transactions[host].clear();
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tasks)
            .into_iter()
            .partition(|task| task.host == host);
        self.tasks = left;
        for task in gone {
            self.scene.truth.over(task.epoch);
            let owner = self.scene.broker.partitions[task.partition].owner;
            self.disown(&task);
            if owner == Some(task.epoch) && !task.is_stopping {
                self.assign(task.partition, host);
            }
        }
    }
}
