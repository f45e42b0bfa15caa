//! Who is in the group: partitions come and go, hosts leave, start, crash and are lost.
//!
//! **Invariant:** a partition has one owner at most; a host that lost it may not know.

use super::super::scene::{Bug, Reader, Scene, nobody};
use super::super::task::Task;
use super::super::truth::Held;
use super::{Dice, World};

impl World {
    pub(super) fn assign_one(&mut self) -> Held {
        let partition = self.scene.dice.below(self.scene.broker.partitions.len());
        let host = self.scene.dice.below(self.is_up.len());
        self.assign(partition, host);
        Ok(())
    }

    pub(super) fn assign(&mut self, partition: usize, host: usize) {
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

    pub(super) fn revoke(&mut self, is_meant: impl Fn(&mut Dice, &Task) -> bool) -> Held {
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

    pub(super) fn revoke_some(&mut self) -> Held {
        self.scene.note("rebalance");
        self.revoke(|dice, _| dice.chance(50))
    }

    pub(super) fn host_leaves(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        self.scene.note("a host leaves");
        self.is_up[host] = false;
        self.revoke(|_, task| task.host == host)
    }

    pub(super) fn host_starts(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        // A host that leaves is gone when its last partition is drained.
        if self.tasks.iter().all(|task| task.host != host) {
            self.is_up[host] = true;
        }
        Ok(())
    }

    /// Ends a task with the commit that precedes the answer to a revocation.
    pub(super) fn acknowledge_revocation(&mut self, at: usize) -> Held {
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

    pub(super) fn disown(&mut self, task: &Task) {
        let owner = &mut self.scene.broker.partitions[task.partition].owner;
        if *owner == Some(task.epoch) {
            *owner = None;
        }
    }

    /// The group gives a partition to somebody else, for instance after a missed heartbeat; its host does not know.
    pub(super) fn assignment_is_lost(&mut self) -> Held {
        let at = self.scene.dice.below(self.scene.broker.partitions.len());
        if self.scene.broker.partitions[at].owner.take().is_some() {
            self.scene.note("an assignment is lost");
            self.scene.truth.lost(at);
            self.scene
                .say(|| format!("partition {at} is taken from its host"));
            if self.scene.dice.chance(50) {
                let host = self.scene.dice.below(self.is_up.len());
                self.assign(at, host);
            }
        }
        Ok(())
    }

    /// A host learns that an assignment was lost, or the drain deadline passes.
    pub(super) fn bad_news_arrives(&mut self) -> Held {
        let owner = |scene: &Scene, task: &Task| scene.broker.partitions[task.partition].owner;
        let is_lost = |scene: &Scene, task: &Task| owner(scene, task) != Some(task.epoch);
        let Some(at) =
            (self.tasks.iter()).position(|task| task.is_stopping || is_lost(&self.scene, task))
        else {
            return Ok(());
        };
        if self.tasks[at].is_stopping {
            self.scene.note("the drain deadline passed");
            let partition = self.tasks[at].partition;
            self.scene.truth.lost(partition);
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

    pub(super) fn host_crashes(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        self.scene.note("a host crashes");
        self.scene.say(|| format!("host {host} crashes"));
        self.is_up[host] = false;
        self.scene.transactions[host].clear();
        self.scene.suspects[host] = nobody(&self.scene.scenario);
        self.scene.readers[host] = Reader::default();
        for report in self.scene.broker.cut(host, &mut self.scene.dice) {
            self.is_written(&report)?;
        }
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
}
