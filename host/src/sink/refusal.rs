//! What a refusal of Kafka says: whose fault it is, and whether it may pass.
//!
//! **Invariant:** of a record of which the refusal says that it may pass, the next attempt may go well as it is.

use std::borrow::Cow;

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::record::{Emit, Header};

/// Returns whether the error is about the record itself, and would come again.
pub(super) fn is_own(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnsupportedForMessageFormat
    )
}

/// Returns whether the same record may be taken later: what is missing may come, and what is down may come up. A record that
/// is wrong, or that the host has no right to write, is not among them.
pub(super) fn may_pass(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        // The topic is not there yet.
        Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            // Too few replicas are in sync, or the one that leads is gone.
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::UnknownLeaderEpoch
            | Code::FencedLeaderEpoch
            | Code::KafkaStorageError
            // Nobody answered in time, or at all.
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::NetworkException
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::ThrottlingQuotaExceeded
    )
}

/// Lends a record that was refused as it would be sent again.
pub(super) fn emit_of<'a>(message: &'a BorrowedMessage<'_>) -> Emit<'a> {
    let headers = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    Emit {
        topic: message.topic(),
        key: message.key(),
        value: message.payload(),
        headers: headers
            .map(|header| Header {
                key: Cow::Borrowed(header.key),
                value: header.value,
            })
            .collect(),
        // The partition that the key chose, or none where there was no topic to choose one of.
        partition: Some(message.partition()).filter(|&partition| partition >= 0),
        timestamp_ms: message.timestamp().to_millis(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    #[test]
    fn only_a_missing_topic_is_the_records_own_fault_and_may_pass() {
        let both = [Code::UnknownTopic, Code::UnknownTopicOrPartition];
        for code in both {
            assert!(is_own(code) && may_pass(code), "{code:?}");
        }
        for code in [
            Code::MessageSizeTooLarge,
            Code::InvalidRecord,
            Code::PolicyViolation,
            Code::TopicAuthorizationFailed,
            Code::UnknownPartition,
        ] {
            assert!(is_own(code) && !may_pass(code), "{code:?}");
        }
        for code in [Code::NotEnoughReplicas, Code::RequestTimedOut] {
            assert!(!is_own(code) && may_pass(code), "{code:?}");
        }
        for code in [
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::Fatal,
            Code::Unknown,
            Code::ClusterAuthorizationFailed,
            Code::OutOfOrderSequenceNumber,
        ] {
            assert!(!is_own(code) && !may_pass(code), "{code:?}");
        }
    }
}
