//! Parked keys: hosts read which there are, and now and then somebody replays one.
//!
//! **Invariant:** one replay at a time, as the product has it.

use super::super::replays::{Command, parked};
use super::super::truth::Held;
use super::World;

impl World {
    /// Lets something happen about parked keys.
    pub(super) fn parking_step(&mut self) -> Held {
        match self.scene.dice.below(10) {
            0..4 => self.markers_are_read(),
            4 => {
                self.scene.broker.compact();
                Ok(())
            }
            _ => self.command_goes_on(),
        }
    }

    fn markers_are_read(&mut self) -> Held {
        let host = self.scene.dice.below(self.is_up.len());
        let most = self.scene.dice.between(1, 8);
        self.scene.readers[host].read(&self.scene.broker.markers, most);
        Ok(())
    }

    fn command_goes_on(&mut self) -> Held {
        let Some(mut command) = self.command.take() else {
            return self.command_begins();
        };
        let is_in_vain = self.scene.truth.is_stuck(command.partition, &self.halted());
        if (!self.scene.is_calm || is_in_vain) && self.scene.dice.chance(3) {
            self.scene.note("a replay dies");
            self.scene
                .say(|| format!("replay {} dies", command.session));
            return Ok(());
        }
        if !command.advance(&mut self.scene)? {
            self.command = Some(command);
        }
        Ok(())
    }

    fn command_begins(&mut self) -> Held {
        let mut keys = parked(&self.scene);
        if self.scene.is_calm {
            let (truth, halted) = (&self.scene.truth, self.halted());
            keys.retain(|(partition, _)| !truth.is_stuck(*partition, &halted));
        } else if self.scene.dice.chance(50) {
            return Ok(());
        }
        if keys.is_empty() {
            return Ok(());
        }
        let key = keys.swap_remove(self.scene.dice.below(keys.len()));
        self.commands += 1;
        self.command = Some(Command::begin(&mut self.scene, self.commands, key));
        Ok(())
    }

    /// The partitions that have halted.
    pub(super) fn halted(&self) -> Vec<usize> {
        let halted = self.tasks.iter().filter(|task| task.is_halted());
        halted.map(|task| task.partition).collect()
    }

    /// Whether no key is parked that could be replayed.
    pub(super) fn is_parking_at_rest(&self) -> bool {
        let halted = self.halted();
        let is_stuck = |partition| self.scene.truth.is_stuck(partition, &halted);
        self.command.is_none() && parked(&self.scene).iter().all(|key| is_stuck(key.0))
    }
}
