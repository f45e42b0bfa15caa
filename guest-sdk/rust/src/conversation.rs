//! Asking others through Kafka, and answering them.
//!
//! It is handed a record to be sent as a request and gives the response to it; handed a request, it begins the
//! response.
//!
//! **Invariant:** a response bears the id of its request, whoever made that.

use std::fmt;
use std::time::Duration;

use crate::bindings::imports::kafka::handler::conversation;
use crate::{Emit, Message, emit};

/// The header that a request and its response share.
const ID_HEADER: &str = "event_id";
/// The header in which a request says where its response goes.
const REPLY_TO_HEADER: &str = "reply-to";

impl Emit<'_> {
    /// Sends the record as a request and waits for the response, at most `timeout`, in whole milliseconds. Where
    /// responses arrive stands in the manifest, in `[[response]]`.
    ///
    /// Unlike [`Emit::send`], this sends at once: the request is not taken back when the hook fails later, and an
    /// attempt after that asks again. The time of waiting does not count against the hook's deadline.
    ///
    /// ```
    /// # fn main() -> kafka_wasm_guest::Result {
    /// use std::time::Duration;
    /// use kafka_wasm_guest::{emit, testing};
    ///
    /// testing::respond(Ok(testing::message("prices").text("12.50").build()));
    /// let response = emit("price-requests").text("apples").with_response(Duration::from_secs(5))?;
    /// assert_eq!(response.text()?, "12.50");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_response(self, timeout: Duration) -> Result<Message, RequestError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.lend(|outgoing| {
            #[cfg(target_arch = "wasm32")]
            return conversation::emit_with_response(outgoing, timeout_ms)
                .map_err(RequestError::from);
            #[cfg(not(target_arch = "wasm32"))]
            {
                let _ = timeout_ms;
                crate::testing::start_request(&outgoing);
                crate::testing::next_response()
            }
        })
    }

    /// Sends the record as [`Emit::with_response`] does, but does not wait: so a hook asks several others at once, or takes
    /// several responses to one request.
    ///
    /// ```
    /// # fn main() -> kafka_wasm_guest::Result {
    /// use std::time::Duration;
    /// use kafka_wasm_guest::{emit, testing};
    ///
    /// # for price in ["1", "2"] {
    /// #     testing::respond(Ok(testing::message("prices").text(price).build()));
    /// # }
    /// let shops = ["north-requests", "south-requests"];
    /// let asked = shops.map(|shop| emit(shop).text("apples").start_request(Duration::from_secs(5)));
    /// for request in asked {
    ///     let price = request?.next_response()?;
    ///     println!("{}", price.text()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_request(self, timeout: Duration) -> Result<PendingRequest, RequestError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.lend(|outgoing| {
            #[cfg(target_arch = "wasm32")]
            return conversation::start_request(outgoing, timeout_ms)
                .map(|inner| PendingRequest { inner })
                .map_err(RequestError::from);
            #[cfg(not(target_arch = "wasm32"))]
            {
                let _ = timeout_ms;
                crate::testing::start_request(&outgoing);
                Ok(PendingRequest {})
            }
        })
    }

    /// Makes the record the response to a request: it gets the id of that. For requests that do not say where their
    /// response goes; [`reply`] is for those that do.
    pub fn answering(self, request: &Message) -> Self {
        self.header(ID_HEADER, request.header(ID_HEADER))
    }
}

/// A request that was sent by [`Emit::start_request`]. Once it is dropped, its responses are dropped as well.
#[derive(Debug)]
pub struct PendingRequest {
    #[cfg(target_arch = "wasm32")]
    inner: conversation::PendingRequest,
}

impl PendingRequest {
    /// Waits for a response, or for the next one where several answer, until the request's time is over. After the last
    /// one it is [`RequestError::Timeout`].
    pub fn next_response(&self) -> Result<Message, RequestError> {
        #[cfg(target_arch = "wasm32")]
        return self.inner.next_response().map_err(RequestError::from);
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::next_response()
    }
}

/// Begins the response to a request: it goes where the request says, and bears its id.
///
/// ```
/// # fn main() -> kafka_wasm_guest::Result {
/// use kafka_wasm_guest::{reply, testing};
///
/// let request = testing::message("price-requests").header("event_id", "7").header("reply-to", "prices").build();
/// reply(&request)?.text("12.50").send()?;
/// assert_eq!(testing::emitted()[0].header("event_id"), Some(&b"7"[..]));
/// # Ok(())
/// # }
/// ```
pub fn reply(request: &Message) -> Result<Emit<'_>, NoRequest> {
    let topic = request.header_text(REPLY_TO_HEADER).ok_or(NoRequest)?;
    Ok(emit(topic).answering(request))
}

/// The record does not say where a response goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRequest;

impl fmt::Display for NoRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the record has no header {REPLY_TO_HEADER} that says where a response goes"
        )
    }
}

impl std::error::Error for NoRequest {}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// None came in time.
    Timeout,
    /// As many requests wait for their responses as may; which limit.
    TooManyPending(String),
    /// Responses cannot be read; why.
    ReplyStore(String),
    /// Kafka did not take the request; why.
    Broker(String),
    /// The request is larger than the producer may send.
    TooLarge {
        /// The largest size, in bytes.
        limit_bytes: u64,
    },
    /// The request may not be sent; the reason.
    Denied(String),
    /// The running hook may not ask.
    NotNow,
}

impl RequestError {
    /// Whether the same request may have a response later: everything but what the handler, its manifest or the
    /// request itself is to blame for.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::TooManyPending(_) | Self::ReplyStore(_) | Self::Broker(_)
        )
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no response came in time"),
            Self::TooManyPending(limit) => {
                write!(f, "too many requests wait for responses: {limit}")
            }
            Self::ReplyStore(why) => write!(f, "responses cannot be read: {why}"),
            Self::Broker(why) => write!(f, "the request was not written: {why}"),
            Self::TooLarge { limit_bytes } => {
                write!(
                    f,
                    "the request is too large: the limit is {limit_bytes} bytes"
                )
            }
            Self::Denied(reason) => write!(f, "the request was denied: {reason}"),
            Self::NotNow => f.write_str("this hook may not ask"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<conversation::RequestError> for RequestError {
    fn from(error: conversation::RequestError) -> Self {
        match error {
            conversation::RequestError::Timeout => Self::Timeout,
            conversation::RequestError::TooManyPending(limit) => Self::TooManyPending(limit),
            conversation::RequestError::ReplyStore(why) => Self::ReplyStore(why),
            conversation::RequestError::Broker(why) => Self::Broker(why),
            conversation::RequestError::TooLarge(limit_bytes) => Self::TooLarge { limit_bytes },
            conversation::RequestError::Denied(reason) => Self::Denied(reason),
            conversation::RequestError::NotNow => Self::NotNow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_request_has_the_response_that_was_given_and_times_out_without() {
        testing::respond(Ok(testing::message("t").text("yes").build()));
        let ask = || emit("asked").key("k").with_response(Duration::from_secs(1));
        assert_eq!(ask().unwrap().text(), Ok("yes"));
        assert_eq!(ask(), Err(RequestError::Timeout));
        let [first, _] = testing::requested().try_into().unwrap();
        assert_eq!(
            (first.topic.as_str(), first.key_text()),
            ("asked", Some("k"))
        );
        assert!(testing::emitted().is_empty());
    }

    #[test]
    fn a_response_goes_where_the_request_says_and_bears_its_id() {
        let request = testing::message("t")
            .header(ID_HEADER, "7")
            .header(REPLY_TO_HEADER, "answers");
        reply(&request.build()).unwrap().text("no").send().unwrap();
        let [response] = testing::emitted().try_into().unwrap();
        assert_eq!(
            (response.topic.as_str(), response.text()),
            ("answers", Some("no"))
        );
        assert_eq!(response.header(ID_HEADER), Some(&b"7"[..]));
        let other = testing::message("t").header(ID_HEADER, "7").build();
        assert_eq!(reply(&other).err(), Some(NoRequest));
        emit("answers").answering(&other).send().unwrap();
        assert_eq!(testing::emitted()[0].header(ID_HEADER), Some(&b"7"[..]));
    }
}
