//! What an exchange has of the store that hosts share.
//!
//! Handed the responses that are read in its group, and what the store tells and shows; puts them into the table of those
//! that wait.
//! **Invariant:** it names only requests of its own tenant and group, so nothing of others is written or seen.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::store::{Item, Store, Written};
use super::{Came, Counts, Response, Waiter, arrive};
use crate::pending::{CorrelationId, Pending};
use crate::response::{Found, KeyForm, Names, decode, encode, time_to_live_secs};

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    names: Names,
    channel: String,
    store: Arc<Store>,
    exchange: u64,
    pending: Arc<Mutex<Pending<Waiter>>>,
    counts: Arc<Counts>,
}

impl Link {
    /// Opens the link of an exchange; what is told to its group is heard from some moment on.
    pub(super) fn open(
        names: Names,
        store: Arc<Store>,
        exchange: u64,
        pending: Arc<Mutex<Pending<Waiter>>>,
        counts: Arc<Counts>,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            channel: names.channel(),
            names,
            store,
            exchange,
            pending,
            counts,
        });
        link.store.join(&link);
        link
    }

    /// Returns where the hosts of the group are told.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Returns how requests are named.
    pub(super) fn form(&self) -> KeyForm {
        self.names.form()
    }

    /// Returns the name of a request.
    pub(super) fn key(&self, id: CorrelationId) -> String {
        self.names.key(id)
    }

    /// Writes down that somebody is about to ask and waits so long; the error says why that cannot be, by `deadline`.
    pub(super) async fn announce(
        &self,
        id: CorrelationId,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), String> {
        let ttl_secs = time_to_live_secs(timeout);
        self.store.announce(&self.key(id), ttl_secs, deadline).await
    }

    /// Lists the requests of the exchange that wait.
    pub(super) fn waiting(&self) -> Vec<CorrelationId> {
        let pending = self.pending.lock();
        let own = pending
            .waiting()
            .filter(|(_, waiter)| waiter.exchange == self.exchange);
        own.map(|(id, _)| id).collect()
    }

    /// Takes in a response that was read; returns whether its request is one of this host.
    pub(super) fn read(
        &self,
        id: CorrelationId,
        (topic, value): (&str, Option<&[u8]>),
        response: impl FnOnce() -> Response,
    ) -> bool {
        let place = (Some(topic), value);
        arrive(self.own(), id, Came::Told, place, |_| response())
    }

    /// Takes in a response that another host has read and tells; returns whether its request is one of this host.
    pub(super) fn heard(&self, told: &[u8]) -> bool {
        let Ok((id, response)) = decode(told) else {
            return false;
        };
        let (topic, value) = (response.topic.clone(), response.value.clone());
        let place = (Some(topic.as_str()), value.as_deref());
        arrive(self.own(), id, Came::Told, place, |_| response)
    }

    /// Takes in what the store shows under the name of a request.
    pub(super) fn seen(&self, id: CorrelationId, value: Vec<u8>) {
        match self.names.look(id, value) {
            Found::Nothing => {}
            Found::Response(response) => {
                let (topic, value) = (response.topic.clone(), response.value.clone());
                let place = (Some(topic.as_str()), value.as_deref());
                arrive(self.own(), id, Came::Seen, place, |_| response);
            }
            Found::Value(value) => {
                let bytes = value.clone();
                arrive(self.own(), id, Came::Seen, (None, Some(&bytes)), |route| {
                    Response {
                        topic: route.topic.to_string(),
                        partition: 0,
                        offset: 0,
                        timestamp_ms: None,
                        key: None,
                        value: Some(value),
                        headers: Vec::new(),
                    }
                });
            }
        }
    }

    /// Hands responses on whose requests are none of this host. The error says why the store has none of them.
    pub(super) async fn hand_on<'a>(
        &self,
        responses: impl Iterator<Item = &'a (CorrelationId, Response)>,
    ) -> Result<(), String> {
        let told: Vec<_> = responses
            .map(|(id, response)| (self.key(*id), response, encode(*id, response)))
            .collect();
        let items: Vec<Item<'_>> = told
            .iter()
            .map(|(key, response, told)| Item {
                key,
                stored: self.names.stored(response, told),
                told,
            })
            .collect();
        let written = self.store.tell(&self.channel, &items).await?;
        let orphaned = written.iter().filter(|item| **item == Written::Unasked);
        self.counts
            .orphaned
            .add(u64::try_from(orphaned.count()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Says how many responses wait to be handed on.
    pub(super) fn holds(&self, n: usize) {
        self.counts.held.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    fn own(&self) -> (&Mutex<Pending<Waiter>>, u64, &Counts) {
        (&self.pending, self.exchange, &self.counts)
    }
}
