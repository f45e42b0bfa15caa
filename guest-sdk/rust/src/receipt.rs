//! Writing a record at once, and knowing where it is.
//!
//! It is handed a record and gives the place that Kafka has for it.
//!
//! **Invariant:** a receipt is Kafka's word that the record is written.

use std::fmt;
use std::time::Duration;

use crate::Emit;
use crate::bindings::imports::kafka::handler::producer;

impl Emit<'_> {
    /// Sends the record at once and waits until Kafka has it, at most `timeout`, in whole milliseconds.
    ///
    /// Unlike with [`Emit::send`], the record stays written when the hook fails later, and an attempt after that sends it
    /// again. The time of waiting does not count against the hook's deadline.
    ///
    /// ```
    /// # fn main() -> kafka_wasm_guest::Result {
    /// use std::time::Duration;
    /// use kafka_wasm_guest::{emit, testing};
    ///
    /// let receipt = emit("ledger").key("7").text("12.50").send_and_wait(Duration::from_secs(5))?;
    /// assert_eq!((receipt.partition, receipt.offset), (0, 0));
    /// assert_eq!(testing::written()[0].text(), Some("12.50"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_and_wait(self, timeout: Duration) -> Result<Receipt, ReceiptError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.lend(|outgoing| {
            #[cfg(target_arch = "wasm32")]
            return producer::emit_and_wait(outgoing, timeout_ms)
                .map(Receipt::from)
                .map_err(ReceiptError::from);
            #[cfg(not(target_arch = "wasm32"))]
            {
                let _ = timeout_ms;
                crate::testing::write(&outgoing)
            }
        })
    }
}

/// Where Kafka has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The partition that it was written to.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// Milliseconds since the Unix epoch, as Kafka has it; `None` where the topic has no times.
    pub timestamp_ms: Option<i64>,
}

impl From<producer::Receipt> for Receipt {
    fn from(receipt: producer::Receipt) -> Self {
        Self {
            partition: receipt.partition,
            offset: receipt.offset,
            timestamp_ms: receipt.timestamp,
        }
    }
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// Kafka did not say in time that it has the record. It may be written nevertheless, also later.
    Timeout,
    /// As many records of the handler wait as may; which limit.
    TooManyPending(String),
    /// Kafka did not take the record; the reason.
    Broker(String),
    /// The record is larger than the producer may send.
    TooLarge {
        /// The largest size, in bytes.
        limit_bytes: u64,
    },
    /// The record may not be written, or nothing may be written at once; the reason.
    Denied(String),
    /// The running hook may not emit.
    NotNow,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no receipt came in time"),
            Self::TooManyPending(limit) => write!(f, "too many records wait: {limit}"),
            Self::Broker(why) => write!(f, "the record was not taken: {why}"),
            Self::TooLarge { limit_bytes } => {
                write!(
                    f,
                    "the record is too large: the limit is {limit_bytes} bytes"
                )
            }
            Self::Denied(reason) => write!(f, "the record was denied: {reason}"),
            Self::NotNow => f.write_str("this hook may not emit"),
        }
    }
}

impl std::error::Error for ReceiptError {}

impl From<producer::ReceiptError> for ReceiptError {
    fn from(error: producer::ReceiptError) -> Self {
        match error {
            producer::ReceiptError::Timeout => Self::Timeout,
            producer::ReceiptError::TooManyPending(limit) => Self::TooManyPending(limit),
            producer::ReceiptError::Broker(why) => Self::Broker(why),
            producer::ReceiptError::TooLarge(limit_bytes) => Self::TooLarge { limit_bytes },
            producer::ReceiptError::Denied(reason) => Self::Denied(reason),
            producer::ReceiptError::NotNow => Self::NotNow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Message, Result, emit, other, testing};

    #[test]
    fn what_was_written_at_once_stays_when_its_hook_fails() {
        fn hook(message: Message) -> Result {
            let text = message.text()?.to_owned();
            drop(message);
            emit("dropped").text(&text).send()?;
            let wait = Duration::from_secs(1);
            let first = emit("kept").partition(3).text(&text).send_and_wait(wait)?;
            let second = emit("kept").text("more").send_and_wait(wait)?;
            assert_eq!((first.partition, first.offset), (3, 0));
            assert_eq!((second.partition, second.offset), (0, 1));
            Err(other("told to"))
        }
        let failed = testing::deliver(hook, testing::message("t").text("x").build());
        assert_eq!(failed, Err(other("told to")));
        assert!(testing::emitted().is_empty());
        let written = testing::written();
        let texts: Vec<_> = written.iter().map(testing::Emitted::text).collect();
        assert_eq!(texts, [Some("x"), Some("more")]);
    }

    #[test]
    fn a_receipt_or_its_failure_is_what_the_test_gave() {
        let send = || emit("t").send_and_wait(Duration::from_secs(1));
        let given = Receipt {
            partition: 2,
            offset: 9,
            timestamp_ms: Some(4),
        };
        testing::acknowledge(Ok(given));
        testing::acknowledge(Err(ReceiptError::Timeout));
        assert_eq!(send(), Ok(given));
        let error = Error::from(send().unwrap_err());
        assert_eq!(error.reason(), "no receipt came in time");
        assert_eq!(send().unwrap().offset, 2);
    }
}
