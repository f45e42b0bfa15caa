//! The names of all metrics, in one place.
//!
//! **Invariant:** a name says what is counted, then its unit: `_seconds`, `_bytes`, or the things themselves. Label
//! values come from manifests and from the host's own enums, never from records.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// A metric with its samples' common properties.
#[derive(Debug)]
pub(super) struct Family {
    /// The name as it is scraped.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) unit: Option<Unit>,
    pub(super) help: &'static str,
}

impl Family {
    /// Returns the name without what the encoder appends to it.
    pub(super) fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        let name = self.name.strip_suffix(suffix).unwrap_or(self.name);
        let without_unit = self.unit.as_ref().and_then(|unit| {
            let name = name.strip_suffix(unit.as_str())?;
            name.strip_suffix('_')
        });
        without_unit.unwrap_or(name)
    }
}

macro_rules! families {
    ($($place:ident = $kind:ident $unit:ident $name:literal: $help:literal;)*) => {
        $(pub(super) static $place: Family =
            Family { name: $name, kind: MetricType::$kind, unit: families!(@$unit), help: $help };)*

        /// All metrics, in the order of the page.
        #[cfg(test)]
        pub(super) static ALL: &[&Family] = &[$(&$place),*];
    };
    (@Count) => { None };
    (@Seconds) => { Some(Unit::Seconds) };
    (@Bytes) => { Some(Unit::Bytes) };
}

families! {
    // By tenant, handler and topic.
    RECORDS = Counter Count "kafka_wasm_records_total":
        "Records that were settled, by how that ended";
    RECORD_BYTES = Counter Bytes "kafka_wasm_record_bytes_total":
        "Bytes of the keys and values of fetched records";
    EMITTED_RECORDS = Counter Count "kafka_wasm_emitted_records_total":
        "Records that handlers emitted and that were handed to the producer";
    REPEATED_OUTPUTS = Counter Count "kafka_wasm_repeated_outputs_total":
        "Emitted records that were sent again because Kafka had refused them";
    REDIRECTED_OUTPUTS = Counter Count "kafka_wasm_redirected_outputs_total":
        "Refused records that were sent to the topic for them";
    COMPLETED_BEFORE = Counter Count "kafka_wasm_completed_before_total":
        "Records that were not handled because an earlier owner of their partition had completed them";
    RETRIES = Counter Count "kafka_wasm_retries_total":
        "Attempts after the first";
    FAILURES = Counter Count "kafka_wasm_failures_total":
        "Attempts that failed, by kind of failure";
    INVOKE_DURATION = Histogram Seconds "kafka_wasm_invoke_duration_seconds":
        "Time in the guest, a record or a batch at a time";
    INSTANCE_STARTS = Counter Count "kafka_wasm_instance_starts_total":
        "Instances that were made: when a partition meets a revision, after each trap, after a rest";
    IN_FLIGHT_RECORDS = Gauge Count "kafka_wasm_in_flight_records":
        "Records that were taken and are not settled, or are settled behind one that is not";
    LAG_RECORDS = Gauge Count "kafka_wasm_lag_records":
        "Records between the position and the end of the partitions; absent while the end is not known";
    LAG_SECONDS = Gauge Seconds "kafka_wasm_lag_seconds":
        "Age of the last record taken from the partition that is furthest behind; 0 with nothing to take, absent while not known";
    PARTITIONS = Gauge Count "kafka_wasm_partitions":
        "Partitions that this host handles";
    HALTED_PARTITIONS = Gauge Count "kafka_wasm_halted_partitions":
        "Partitions that stopped at a record";
    BULK_PARTITIONS = Gauge Count "kafka_wasm_bulk_partitions":
        "Partitions whose records come in batches now";
    MAP_FULL_PARTITIONS = Gauge Count "kafka_wasm_map_full_partitions":
        "Partitions that take no records until what is complete above their position fits into the metadata of a commit";
    GUEST_MEMORY_BYTES = Gauge Bytes "kafka_wasm_guest_memory_bytes":
        "Linear memory of the instances";
    STALLED_PARTITIONS = Gauge Count "kafka_wasm_stalled_partitions":
        "Partitions that make no progress though they have something to do";
    STALLS = Counter Count "kafka_wasm_stalls_total":
        "Times that a record was in hand, or a partition with lag stood, for too long";
    PARKED_KEYS = Gauge Count "kafka_wasm_parked_keys":
        "Keys whose records go to the dead letters unhandled, since one of them failed";

    // By tenant, handler and middleware.
    MIDDLEWARE_RECORDS = Counter Count "kafka_wasm_middleware_records_total":
        "Records that middleware saw, by what became of them there: passed, changed, dropped, failed";
    MIDDLEWARE_DURATION = Histogram Seconds "kafka_wasm_middleware_duration_seconds":
        "Time of a record in middleware";

    // By tenant, handler, pipeline and step.
    PIPELINE_STEP_DURATION = Histogram Seconds "kafka_wasm_pipeline_step_duration_seconds":
        "Time of a record in a step of a pipeline, with the wait for an answer";

    // By tenant and group.
    ASSIGNED_PARTITIONS = Gauge Count "kafka_wasm_assigned_partitions":
        "Partitions that Kafka assigned to this host";
    REBALANCES = Counter Count "kafka_wasm_rebalances_total":
        "Times that partitions were assigned or revoked";
    KAFKA_UP = Gauge Count "kafka_wasm_kafka_up":
        "1 while Kafka answers the group's consumer, else 0";
    POLL_LATE = Gauge Count "kafka_wasm_poll_late":
        "1 while the thread of the group's consumer is late, else 0";
    POLL_AGE = Gauge Seconds "kafka_wasm_poll_age_seconds":
        "Time since the thread of the group's consumer was seen to come round";
    TRANSACTIONS = Counter Count "kafka_wasm_transactions_total":
        "Transactions of groups whose delivery is exactly once, committed and aborted";

    // By tenant.
    GUEST_CPU_SECONDS = Counter Seconds "kafka_wasm_guest_cpu_seconds_total":
        "Time for which hooks ran, without what they waited";
    QUOTA_USED = Counter Count "kafka_wasm_quota_used_total":
        "What was used of a quota by the second, in the unit of the quota";
    QUOTA = Gauge Count "kafka_wasm_quota":
        "How much of it may be used in a second";
    COMPILE_SHARE = Gauge Count "kafka_wasm_compile_quota_share":
        "The time that the slowest component took to compile, as a part of quotas.compile-ms";
    THROTTLED_SECONDS = Counter Seconds "kafka_wasm_throttled_seconds_total":
        "Time for which partitions and their lanes waited since their tenant had used more than it may, added up";
    DROPPED_LOG_LINES = Counter Count "kafka_wasm_dropped_log_lines_total":
        "Lines of the log that were dropped since there were more than quotas.log-lines-per-s allows";
    PENDING_REQUESTS = Gauge Count "kafka_wasm_pending_requests":
        "Requests of handlers that wait for their responses";
    REQUESTS = Counter Count "kafka_wasm_requests_total":
        "Requests of handlers, by what became of them: answered, timeout, failed";
    DROPPED_RESPONSES = Counter Count "kafka_wasm_dropped_responses_total":
        "Responses that no request waited for: late, repeated, unknown, such as those to requests of other hosts, or orphaned: not known to the reply store either";
    HELD_RESPONSES = Gauge Count "kafka_wasm_held_responses":
        "Responses to requests of other hosts that the reply store has not taken yet";

    // Of the reply store, where hosts share one.
    REPLY_STORE_UP = Gauge Count "kafka_wasm_reply_store_up":
        "1 while the reply store answers, else 0";
    REPLY_STORE_ERRORS = Counter Count "kafka_wasm_reply_store_errors_total":
        "Commands and connections that the reply store did not take or answer";

    // Over all producers.
    PRODUCER_QUEUE_RECORDS = Gauge Count "kafka_wasm_producer_queue_records":
        "Records that were handed to producers and wait for Kafka's acknowledgement";
    DELIVERED_RECORDS = Counter Count "kafka_wasm_delivered_records_total":
        "Records that Kafka acknowledged, dead letters among them";
    REFUSED_RECORDS = Counter Count "kafka_wasm_refused_records_total":
        "Records that Kafka refused for good";

    // Instances of all handlers, deployments, and the process.
    INSTANCES = Gauge Count "kafka_wasm_instances":
        "Instances that live";
    INSTANCES_MAX = Gauge Count "kafka_wasm_instances_max":
        "Instances that may live at once";
    DEPLOYS = Counter Count "kafka_wasm_deploys_total":
        "Revisions that were published, refused, or rolled back";
    RELOADS = Counter Count "kafka_wasm_reloads_total":
        "Times that the settings were read again, and that something was wrong with them so that nothing changed";
    TRIAL_RECORDS = Counter Count "kafka_wasm_trial_records_total":
        "Records under a revision that has a share of the keys, and under the one beside it";
    TRIAL_SECONDS = Counter Seconds "kafka_wasm_trial_seconds_total":
        "How long those took that were handled";
    SHADOW_RECORDS = Counter Count "kafka_wasm_shadow_records_total":
        "Records of which a shadow made the same, something else, or that it did not see";
    COMPILE_DURATION = Histogram Seconds "kafka_wasm_compile_duration_seconds":
        "Time to compile a component or to take it from the cache";
    PAUSED = Gauge Count "kafka_wasm_paused":
        "1 while a handler pauses because too many of its records fail, else 0";
    PAUSED_BY_COMMAND = Gauge Count "kafka_wasm_paused_by_command":
        "1 while somebody has paused a handler, else 0";
    STATE_FAILURES = Counter Count "kafka_wasm_state_failures_total":
        "Times that the state folder could not be read or written";
    HANDLER_INFO = Info Count "kafka_wasm_handler_info":
        "The revision of each handler that serves";
    BUILD_INFO = Info Count "kafka_wasm_build_info":
        "The version of the host";
    RESIDENT_MEMORY_BYTES = Gauge Bytes "process_resident_memory_bytes":
        "Memory of the process that is not swapped out";
    CPU_SECONDS = Counter Seconds "process_cpu_seconds_total":
        "Time of the process on processors, in user and kernel mode";
}
