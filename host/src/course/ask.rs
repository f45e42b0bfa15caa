//! The request of a step, and the answer that takes the record's place.
//!
//! **Invariant:** while the answer is waited for, nothing is held that others may need but the lane's instances, which it gives up
//! when somebody wants a place.

use std::borrow::Cow;

use tokio::time::Instant;

use crate::catalog::Deployed;
use crate::duration::millis;
use crate::guest::{Conversation, Lent};
use crate::outcome::{Failure, FailureKind};
use crate::pipeline::Question;
use crate::record::{Changed, Header};
use crate::reply::{Error, ID_HEADER, REPLY_TO_HEADER, WAIT_MAX, Wants};
use crate::route::{next_hop, with_hops};

/// The headers by which a request is answered.
const OF_REQUESTS: [&str; 2] = [ID_HEADER, REPLY_TO_HEADER];

/// What a request is made with.
pub(super) struct Asking<'a> {
    pub(super) lent: Lent,
    /// How often the record in hand was passed on.
    pub(super) hops: u32,
    pub(super) handler: &'a Deployed,
}

impl Asking<'_> {
    /// Sends a message as a request and waits for the answer. It has the headers by which the message itself is to be
    /// answered, where that is a request, so that a later step may answer it.
    pub(super) async fn ask(
        self,
        message: &Changed,
        question: &Question,
    ) -> Result<Changed, Failure> {
        let why = |error| failed(question, error);
        let asker = match &self.handler.setup.conversation {
            Conversation::Allowed(asker) => asker,
            Conversation::Denied(reason) => return Err(why(Error::Denied((*reason).to_owned()))),
        };
        let until = Instant::now() + question.timeout.min(WAIT_MAX);
        // Held until the answer is there, so that those who wait never take all places for instances.
        let _slot = asker.wait_slot().map_err(why)?;
        let turn = self
            .lent
            .wait(asker.ready(until, until))
            .await
            .map_err(why)?;
        let asked_by = question.response_topic.as_deref();
        if let Some(trouble) = asked_by.and_then(|topic| asker.trouble_with(topic)) {
            return Err(why(Error::ReplyStore(trouble)));
        }
        let mut emit = message.emit(&question.topic);
        let is_own = |header: &Header<'_>| !OF_REQUESTS.contains(&&*header.key);
        emit.headers.retain(is_own);
        if let Some(topic) = &question.response_topic {
            emit.headers.push(Header {
                key: Cow::Borrowed(REPLY_TO_HEADER),
                value: Some(topic.as_bytes()),
            });
        }
        // Whoever answers may ask in turn, on whatever host.
        let count = next_hop(self.hops).to_string();
        let meter = &self.handler.setup.meter;
        meter.emitted(1, emit.size_bytes());
        let ticket = asker.ask(turn, with_hops(emit, &count), Wants::One, until);
        let mut ticket = ticket.map_err(why)?;
        let response = self.lent.wait(ticket.response(until)).await.map_err(why)?;
        let is_of_request = |(name, _): &&(String, _)| OF_REQUESTS.contains(&&**name);
        let answered = response.headers.into_iter();
        let mut headers: Vec<_> = answered.filter(|it| !is_of_request(&it)).collect();
        headers.extend(message.headers.iter().filter(is_of_request).cloned());
        Ok(Changed {
            timestamp_ms: response.timestamp_ms,
            key: response.key,
            value: response.value,
            headers,
        })
    }
}

fn failed(question: &Question, error: Error) -> Failure {
    let (topic, ms) = (&question.topic, millis(question.timeout));
    let what = match error {
        Error::Timeout => format!("the request to {topic} was not answered within {ms} ms"),
        Error::TooManyPending(limit) => format!("too many requests wait: {limit}"),
        Error::ReplyStore(why) => {
            let by = question.response_topic.as_deref().unwrap_or_default();
            format!("the answer to a request cannot be read (pipe.response.topic = {by:?}): {why}")
        }
        Error::Broker(why) => format!("the request to {topic} was not written: {why}"),
        Error::Denied(why) => format!("a request to {topic} is denied: {why}"),
    };
    Failure::new(FailureKind::Other, what)
}
