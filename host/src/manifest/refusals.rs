//! The settings of librdkafka that a file may not hold, each with the reason.
//!
//! Tables only; `kafka.rs` reads them.
//! **Invariant:** a reason says what the host does instead, or what to write.

/// Settings that nobody may change, with the reason or what to write instead.
pub(super) const KEPT: &[(&str, &str)] = &[
    // Delivery: when a position counts as done.
    (
        "enable.auto.commit",
        "the host has librdkafka commit the positions of settled records; without that nothing would be committed",
    ),
    (
        "auto.commit.enable",
        "the host has librdkafka commit the positions of settled records; without that nothing would be committed",
    ),
    (
        "enable.auto.offset.store",
        "the host stores a position itself, after the record is settled and its outputs are acknowledged",
    ),
    (
        "offset.store.method",
        "positions are kept by the broker, where every host of the group finds them",
    ),
    (
        "offset.store.path",
        "positions are kept by the broker, where every host of the group finds them",
    ),
    (
        "offset.store.sync.interval.ms",
        "positions are kept by the broker, where every host of the group finds them",
    ),
    (
        "enable.partition.eof",
        "the host takes every event of a partition for a record or a failure, and the end of a partition is neither",
    ),
    // Order across a rebalance.
    (
        "partition.assignment.strategy",
        "the host drains single partitions when the group changes and needs cooperative-sticky for it",
    ),
    (
        "group.protocol.type",
        "the host is a member of a group of consumers",
    ),
    // What is acknowledged stays, once and in order.
    (
        "enable.idempotence",
        "without it outputs may be repeated or change their order",
    ),
    (
        "acks",
        "a record counts as written when all replicas in sync have it",
    ),
    (
        "request.required.acks",
        "a record counts as written when all replicas in sync have it",
    ),
    ("transactional.id", "the host names its transactions itself"),
    (
        "message.timeout.ms",
        "an output must not be lost to a timeout while its input waits for it",
    ),
    (
        "delivery.timeout.ms",
        "an output must not be lost to a timeout while its input waits for it",
    ),
    (
        "message.send.max.retries",
        "an output is sent until it is acknowledged or refused for good",
    ),
    (
        "retries",
        "an output is sent until it is acknowledged or refused for good",
    ),
    (
        "enable.gapless.guarantee",
        "the producer would stop for good at the first output that is refused",
    ),
    (
        "queuing.strategy",
        "outputs leave in the order in which they were emitted",
    ),
    (
        "delivery.report.only.error",
        "the host waits for the report of every output",
    ),
    (
        "partitioner",
        "the host uses murmur2_random, so that keys land in the partitions where Java clients put them",
    ),
    // What the host measures and hears.
    (
        "statistics.interval.ms",
        "the host chooses how often it reads librdkafka's statistics",
    ),
    ("log.queue", "the host receives librdkafka's log itself"),
    (
        "test.mock.num.brokers",
        "start the host with --dev for an embedded broker",
    ),
    (
        "test.mock.broker.rtt",
        "start the host with --dev for an embedded broker",
    ),
];

/// Settings with an own key, which differs by who writes: name, in a manifest, in host.toml.
pub(super) const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "bootstrap.servers",
        "the brokers are the host's, it is started with --brokers",
        "use `brokers` or --brokers",
    ),
    (
        "metadata.broker.list",
        "the brokers are the host's, it is started with --brokers",
        "use `brokers` or --brokers",
    ),
    (
        "group.id",
        "use `group`",
        "every handler has a `group` of its own",
    ),
    (
        "auto.offset.reset",
        "use `start`",
        "every handler has a `start` of its own",
    ),
    (
        "topic.blacklist",
        "name the topics with `topics`, `pattern` or `regex`",
        "every handler names its topics itself",
    ),
];

/// Settings that reach beyond Kafka: for the operator, not for a handler's author.
pub(super) const OPERATOR: &[(&str, &str)] = &[
    ("plugin.library.paths", "it loads code into the host"),
    ("ssl.engine.location", "it loads code into the host"),
    ("ssl.engine.id", "it loads code into the host"),
    ("ssl.providers", "it loads code into the host"),
    (
        "sasl.kerberos.kinit.cmd",
        "it runs a program on the host's machine",
    ),
];
