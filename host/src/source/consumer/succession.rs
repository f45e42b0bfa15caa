//! How a consumer follows another one: where the brokers refuse its protocol, and where it came to its end.
//!
//! Part of the consumer's thread. librdkafka gives a consumer up for good when its coordinator answers what asking again
//! does not mend (a fatal error). It calls nobody back then, and the partitions stay assigned and silent.
//! **Invariant:** no work goes on for a consumer that has come to its end, and it is no member of its group any more when
//! its successor subscribes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::{Callbacks, Poller};
use crate::duration::millis;
use crate::source::protocol::{Protocol, Trial};

/// How long the place of a consumer that ended stays empty at first; twice as long each time that its successor ends soon.
const REST_MIN: Duration = Duration::from_secs(1);
/// The longest that it stays empty.
const REST_MAX: Duration = Duration::from_secs(30);
/// How long a consumer has lived that did not end soon.
const CALM: Duration = Duration::from_mins(2);
/// How long a successor has lived that counts as taken by its group though it has no partitions.
const TAKEN: Duration = Duration::from_secs(10);
/// How long one poll of a consumer lasts that is being closed.
const POLL: Duration = Duration::from_millis(10);
/// How long a consumer without partitions may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// How the consumer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It is of use, as far as is known.
    Alive,
    /// It follows one that came to its end, and whether the group takes it is not known yet.
    Tried,
    /// It has come to its end; another one takes its place then, if any.
    Ended(Option<Instant>),
}

/// What is known of a consumer's life and its place.
#[derive(Debug)]
pub(super) struct Succession {
    stand: Stand,
    began: Instant,
    /// How long the place was empty last.
    rest: Duration,
}

impl Succession {
    pub(super) fn new() -> Self {
        Self {
            stand: Stand::Alive,
            began: Instant::now(),
            rest: Duration::ZERO,
        }
    }

    /// Returns whether the consumer has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stand, Stand::Ended(_))
    }

    /// Takes note that the consumer ends now; returns how long its place stays empty.
    fn ends(&mut self) -> Duration {
        if self.began.elapsed() >= CALM {
            self.rest = Duration::ZERO;
        }
        self.rest = (self.rest * 2).clamp(REST_MIN, REST_MAX);
        self.stand = Stand::Ended(Some(Instant::now() + self.rest));
        self.rest
    }
}

impl Poller {
    /// Has another consumer take the place of this one where that is due.
    pub(super) fn look_for_succession(&mut self) {
        if let Some(why) = self.trial().and_then(Trial::refusal) {
            return self.take_classic(&why);
        }
        let client = self.consumer.client();
        if self.trial().is_some_and(|trial| trial.is_ended(client)) {
            // Refused, so a classic one follows at the next look.
            return;
        }
        match self.succession.stand {
            Stand::Alive | Stand::Tried => {
                if let Some((code, why)) = client.fatal_error() {
                    self.end(code, &why);
                } else if self.succession.stand == Stand::Tried {
                    self.look_whether_taken();
                }
            }
            Stand::Ended(Some(next)) if next <= Instant::now() => self.begin_over(),
            Stand::Ended(_) => {}
        }
    }

    /// Ends all work of a consumer that has come to its end, and has it leave its group as far as it still can.
    fn end(&mut self, code: RDKafkaErrorCode, why: &str) {
        self.consumer.context().give_up();
        self.subscribed_at = None;
        let group = &self.group;
        if code == RDKafkaErrorCode::FencedInstanceId {
            // Another host has its name, and would be shut out next if this one took it back.
            self.succession.stand = Stand::Ended(None);
            let why = format!(
                "{why}; another member has its group.instance.id (give each host a name of its own, and restart this one)"
            );
            tracing::error!(group, why, "the consumer has come to its end");
            self.status.came_to_its_end(&why);
        } else {
            // Without that the group keeps its partitions for it until the session ends.
            self.consumer.unsubscribe();
            let rest_ms = millis(self.succession.ends());
            tracing::error!(
                group,
                why,
                rest_ms,
                "the consumer has come to its end; another one takes its place"
            );
            self.status.came_to_its_end(why);
        }
    }

    /// Has a new consumer take the place of one that came to its end.
    fn begin_over(&mut self) {
        let protocol = Protocol::of(&self.settings.kafka);
        match self.replace(protocol) {
            Ok(before) => {
                tracing::info!(group = self.group, "another consumer begins");
                self.status.begins(protocol != Protocol::Classic);
                self.succession.stand = Stand::Tried;
                self.succession.began = Instant::now();
                before.drop_aside(&self.group);
            }
            Err(error) => {
                let rest_ms = millis(self.succession.ends());
                tracing::error!(group = self.group, %error, rest_ms, "the consumer cannot be made; trying again");
            }
        }
    }

    /// Looks whether the group has taken a successor, so that the end of the one before is told no more.
    fn look_whether_taken(&mut self) {
        let has_lived = self.subscribed_at.is_some() && self.succession.began.elapsed() >= TAKEN;
        if has_lived || self.status.assigned_partitions() > 0 {
            self.succession.stand = Stand::Alive;
            self.status.is_taken();
        }
    }

    /// Has a consumer of the classic protocol take the place of this one, which the brokers gave nothing.
    fn take_classic(&mut self, why: &str) {
        let made = self.replace(Protocol::Classic);
        let error = made
            .as_ref()
            .err()
            .map(|error| format!("the consumer cannot be made: {error}"));
        if self.status.set_standstill(error.clone())
            && let Some(error) = error
        {
            tracing::error!(group = self.group, error, "the group is not read");
        }
        if let Ok(before) = made {
            let protocol = Protocol::Classic.name();
            tracing::info!(
                group = self.group,
                protocol,
                why,
                "the hosts share out the partitions"
            );
            self.status.begins(false);
            before.close(&self.group);
        }
    }

    /// Makes a consumer of this protocol in the place of this one, which is returned.
    fn replace(&mut self, protocol: Protocol) -> Result<Before, KafkaError> {
        let alive = Arc::new(());
        let callbacks = self.consumer.context();
        let callbacks = callbacks
            .successor(self.settings.start, Arc::clone(&alive))
            .trying((protocol == Protocol::Auto).then(Trial::default));
        let config = self.settings.client_config(protocol);
        let consumer = config.create_with_context(callbacks)?;
        self.subscribed_at = None;
        self.protocol = protocol;
        Ok(Before {
            consumer: std::mem::replace(&mut self.consumer, consumer),
            alive: std::mem::replace(&mut self.alive, alive),
        })
    }
}

/// A consumer whose place another one has taken.
struct Before {
    consumer: BaseConsumer<Callbacks>,
    alive: Arc<()>,
}

impl Before {
    /// Closes one that was given no partitions.
    fn close(self, group: &str) {
        let consumer = self.consumer;
        // One that came to its end cannot be closed and need not be: dropping it is enough.
        if consumer.close_queue().is_ok() {
            let deadline = Instant::now() + CLOSE_MAX;
            while !consumer.closed() && Instant::now() < deadline {
                consumer.poll(POLL);
            }
            if !consumer.closed() {
                tracing::warn!(group, "the consumer that was tried is left open");
                // Dropping it would wait without an end.
                std::mem::forget(consumer);
            }
        }
    }

    /// Drops one that came to its end, on a thread of its own: librdkafka waits until the last of its records is gone,
    /// and those whose outputs are under way last as long as these.
    fn drop_aside(self, group: &str) {
        let name = format!("drop {group}");
        let dropping = thread::Builder::new().name(name).spawn(move || {
            // The consumer's context holds one, this is the other; the rest are queues.
            while Arc::strong_count(&self.alive) > 2 {
                thread::sleep(POLL);
            }
            drop(self.consumer);
        });
        if let Err(error) = dropping {
            tracing::warn!(group, %error, "no thread to drop a consumer with; it was dropped at once");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_stays_empty_longer_each_time_and_at_first_briefly_after_a_calm_life() {
        let mut succession = Succession::new();
        let rests: Vec<u64> = (0..7).map(|_| succession.ends().as_secs()).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
        assert!(succession.has_ended());
        succession.began = Instant::now().checked_sub(CALM).unwrap();
        assert_eq!(succession.ends(), REST_MIN);
    }
}
