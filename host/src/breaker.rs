//! When a handler pauses because too many of its records fail.
//!
//! Asked before each attempt whether it may begin, and told how each record ended. Time is whatever the caller counts it
//! in.
//! **Invariant:** while the breaker is open no attempt begins but one probe after each pause, and no record is given up.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::BreakerPolicy;

/// Whether an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<At> {
    /// It may.
    Go,
    /// It may, and what becomes of it decides whether others may.
    Probe,
    /// It is to be asked for again, not before this time.
    Wait(At),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State<At> {
    Closed,
    /// Until then nothing begins.
    Open(At),
    /// A probe is under way; if nothing is heard of it until then, there is another.
    Probing(At),
}

/// See the module.
#[derive(Debug)]
pub struct Breaker<At> {
    policy: BreakerPolicy,
    /// The last records, whether each failed.
    window: VecDeque<bool>,
    failed: usize,
    state: State<At>,
}

impl<At: Copy + Ord + std::ops::Add<Duration, Output = At>> Breaker<At> {
    /// Makes a closed one.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            window: VecDeque::new(),
            failed: 0,
            state: State::Closed,
        }
    }

    /// Returns whether an attempt may begin.
    pub fn admit(&mut self, now: At) -> Admission<At> {
        match self.state {
            State::Closed => Admission::Go,
            State::Open(until) if now < until => Admission::Wait(until),
            // Whoever waits for the probe is to hear of it soon.
            State::Probing(until) if now < until => {
                Admission::Wait(until.min(now + self.policy.pause / 10))
            }
            State::Open(_) | State::Probing(_) => {
                self.state = State::Probing(now + self.policy.pause);
                Admission::Probe
            }
        }
    }

    /// Takes note of a record that was handled. Returns whether the breaker closed by that.
    pub fn handled(&mut self) -> bool {
        match self.state {
            State::Closed => self.note(false),
            // It began before the breaker opened.
            State::Open(_) => {}
            State::Probing(_) => {
                self.state = State::Closed;
                self.window.clear();
                self.failed = 0;
                return true;
            }
        }
        false
    }

    /// Takes note of a record that is about to be given up. Returns until when it shall wait instead, if it shall.
    pub fn failed(&mut self, now: At) -> Option<At> {
        match self.state {
            // It began before the breaker opened.
            State::Open(until) => Some(until),
            State::Probing(_) => Some(self.open(now)),
            State::Closed => {
                self.note(true);
                self.is_over().then(|| self.open(now))
            }
        }
    }

    /// As [`Self::failed`], of a record that failed before its attempt: it was no probe, so a pause goes on as it is.
    pub fn failed_before(&mut self, now: At) -> Option<At> {
        match self.state {
            State::Closed => self.failed(now),
            State::Open(until) | State::Probing(until) if now < until => Some(until),
            State::Open(_) | State::Probing(_) => Some(now + self.policy.pause),
        }
    }

    /// Takes note that a record of which it was said that it was handled is given up after all: Kafka refused an output.
    /// Returns until when others shall wait, if they shall.
    pub fn refused(&mut self, now: At) -> Option<At> {
        let handled = self
            .window
            .iter_mut()
            .rev()
            .find(|has_failed| !**has_failed);
        match handled {
            Some(handled) if self.state == State::Closed => {
                *handled = true;
                self.failed += 1;
                self.is_over().then(|| self.open(now))
            }
            _ => self.failed(now),
        }
    }

    fn open(&mut self, now: At) -> At {
        let until = now + self.policy.pause;
        self.state = State::Open(until);
        until
    }

    /// Returns whether the handler pauses.
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    fn note(&mut self, has_failed: bool) {
        self.window.push_back(has_failed);
        self.failed += usize::from(has_failed);
        if self.window.len() > self.policy.window_records
            && let Some(oldest) = self.window.pop_front()
        {
            self.failed -= usize::from(oldest);
        }
    }

    fn is_over(&self) -> bool {
        let (failed, all) = (self.failed, self.policy.window_records);
        self.window.len() >= all && share(failed, all) > self.policy.failure_share
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of records in a small window"
)]
fn share(part: usize, all: usize) -> f64 {
    part as f64 / all as f64
}

#[cfg(test)]
mod tests;
