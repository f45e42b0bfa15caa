//! Responses that came and wait to be taken.
//!
//! Handed the responses to one request, in the order in which they came; gives them in that order.
//! **Invariant:** it holds only so many of them, and what a store shows again is not taken twice in a row.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::record::Fingerprint;
use crate::response::Response;

/// How many responses to one request wait to be taken.
const RESPONSES_MAX: usize = 64;
/// With so many bytes of them no more are kept.
const RESPONSES_BYTES_MAX: usize = 1 << 20;

/// How a response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was read from its topic, or told by who read it: another one, even if it has the same value.
    Told,
    /// It was seen in a store, maybe not for the first time.
    Seen,
}

/// Responses that wait to be taken. Smaller than a channel, of which ten thousand may wait.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    content: Mutex<Content>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Content {
    responses: VecDeque<Response>,
    /// What the last one is recognized by, when a store shows it again.
    last: Option<Fingerprint>,
}

impl Inbox {
    /// Takes a response in, if there is room; returns whether there was.
    pub(super) fn put(&self, came: Came, response: impl FnOnce() -> Response) -> bool {
        let mut content = self.content.lock();
        // A single one of any size has room.
        let bytes: usize = content.responses.iter().map(Response::size_bytes).sum();
        let has_room = content.responses.len() < RESPONSES_MAX && bytes < RESPONSES_BYTES_MAX;
        if has_room {
            let response = response();
            let this = Fingerprint::of("", None, response.value.as_deref());
            let before = content.last.replace(this);
            if came == Came::Seen && before == Some(this) {
                return true;
            }
            content.responses.push_back(response);
            self.came.notify_one();
        }
        has_room
    }

    /// Waits for the next one.
    pub(super) async fn take(&self) -> Response {
        loop {
            let next = self.content.lock().responses.pop_front();
            if let Some(response) = next {
                return response;
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(value: &str) -> Response {
        Response {
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    fn values(inbox: &Inbox) -> Vec<String> {
        let responses = &inbox.content.lock().responses;
        let values = responses
            .iter()
            .map(|response| response.value.clone().unwrap());
        values
            .map(|value| String::from_utf8(value).unwrap())
            .collect()
    }

    #[test]
    fn what_a_store_shows_again_is_not_taken_twice() {
        let inbox = Inbox::default();
        for (came, value) in [
            (Came::Told, "a"),
            (Came::Seen, "a"),
            (Came::Told, "a"),
            (Came::Seen, "b"),
            (Came::Seen, "b"),
        ] {
            assert!(inbox.put(came, || response(value)));
        }
        assert_eq!(values(&inbox), ["a", "a", "b"]);
    }

    #[test]
    fn only_so_many_wait_and_one_of_any_size() {
        let inbox = Inbox::default();
        assert!(inbox.put(Came::Told, || response(&"a".repeat(RESPONSES_BYTES_MAX))));
        assert!(!inbox.put(Came::Told, || response("b")));
        let inbox = Inbox::default();
        let taken = (0..=RESPONSES_MAX).filter(|_| inbox.put(Came::Told, || response("a")));
        assert_eq!(taken.count(), RESPONSES_MAX);
    }
}
