//! The page for counters that are known.

use std::collections::BTreeSet;

use super::*;
use crate::rate::{Rate, Rates};
use crate::stats::{Received, Registry};
use crate::watchdog::{Stall, Why};
use crate::watcher::{Poll, StalledPartition};

/// 2026-01-01T00:00:10Z.
const NOW_MS: i64 = 1_767_225_610_000;

/// A host with two lanes of one handler, and a handler that just began.
fn scrape() -> Scrape {
    let registry = Arc::new(Registry::default());
    let bills: HandlerId = "acme/bills".parse().unwrap();
    let orders: Arc<str> = Arc::from("orders");
    let lanes = [0, 1].map(|partition| registry.open(&bills, &orders, Some(partition)));
    for (lane, behind_ms) in lanes.iter().zip([2_500, 1_000]) {
        lane.ended(Ending::Handled, 10);
        lane.bytes_in.add(1_000);
        lane.emitted.add(4);
        lane.invoke.observe(Duration::from_micros(70));
        lane.instance_starts.increment();
        lane.in_flight.set(5);
        lane.memory_bytes.set(65_536);
        lane.lag_records.set(100);
        lane.last_timestamp_ms.set(NOW_MS - behind_ms);
    }
    lanes[0].ended(Ending::DeadLettered, 1);
    lanes[0].failed(FailureKind::Trap);
    lanes[0].invoke.observe(Duration::from_mins(1));
    lanes[1].halted_at.set(17);
    lanes[0].is_bulk.set(1);
    lanes[0].is_map_full.set(1);
    let _starting = registry.open(&"new".parse().unwrap(), &orders, Some(2));
    let group = |tenant: &str, group: &str| (tenant.parse().unwrap(), group.parse().unwrap());
    let reading = |assigned, is_up| GroupReading {
        assigned,
        rebalances: 2,
        is_up,
        transactions: (assigned > 0).then_some([40, 1]),
    };
    let decrypt = registry.stage(&bills, "decrypt");
    decrypt.note(Received::Changed, Duration::from_micros(60));
    // A new revision goes on where the last one was.
    let decrypt = registry.stage(&bills, "decrypt");
    decrypt.note(Received::Changed, Duration::from_micros(60));
    let price = registry.step(&bills, "bill", "price");
    price.observe(Duration::from_micros(60));
    let watched = seen(&bills, &orders, group("acme", "acme.bills"));
    let canary = bills.clone();
    Scrape {
        now_ms: NOW_MS,
        series: registry.read(),
        stages: registry.stages(),
        steps: registry.steps(),
        handlers: vec![(bills, Revision::from_digest(&[0xab; 32]), [true, false])],
        groups: vec![
            (group("acme", "acme.bills"), reading(2, true)),
            (group("default", "a\"\\b"), reading(0, false)),
        ],
        tenants: tenants(),
        requests: vec![("acme".parse().unwrap(), requests())],
        reply_store: Some((true, 5)),
        producers: Producers {
            queued: 3,
            delivered: 8,
            refused: 1,
        },
        watched,
        deploys: [2, 1, 3],
        reloads: [4, 5],
        shadows: vec![(canary.clone(), shadow())],
        canaries: vec![(canary, [side(5, 1, 30), side(2, 0, 500)])],
        state_failures: Some(4),
        compile: HistogramReading::default(),
        process: Usage {
            resident_bytes: Some(4_096),
            cpu: Some(Duration::from_millis(1_500)),
        },
        instances: (2, 1_000),
    }
}

/// A tenant with two quotas by the second, of which it has exceeded one.
fn shadow() -> Comparison {
    Comparison {
        equal: 8,
        differing: 1,
        skipped: 2,
        first: Vec::new(),
    }
}

fn side(handled: u64, failed: u64, took_ms: u64) -> Side {
    Side {
        handled,
        failed,
        took: Duration::from_millis(took_ms),
    }
}

fn tenants() -> Vec<(TenantId, MeterReading)> {
    let registry = Registry::default();
    let meter = registry.meter(&"acme".parse().unwrap());
    meter.bound(
        Rates::default()
            .with(Rate::EmitBytes, Some(8))
            .with(Rate::LogLines, Some(1)),
    );
    meter.compiled(
        Some(Duration::from_millis(50)),
        Some(Duration::from_millis(200)),
    );
    meter.emitted(3, 3 << 19);
    meter.ran(Duration::from_millis(250));
    meter.waited(Duration::from_millis(500));
    let log = [meter.line(), meter.line()];
    assert!(log[0].is_written && !log[1].is_written);
    registry.meters()
}

/// Three requests: one has its response, one timed out, one waits.
fn requests() -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    counts.begun.add(3);
    counts.ended.add(2);
    counts.answered.increment();
    counts.timed_out.increment();
    counts.late.add(4);
    counts.orphaned.add(2);
    counts.held.set(3);
    counts
}

/// One partition stalls, and one consumer is late.
fn seen(handler: &HandlerId, topic: &Arc<str>, group: GroupKey) -> Seen {
    let stall = Stall {
        offset: Some(17),
        why: Why::Poll,
        stood: Duration::from_secs(90),
        over_for: None,
    };
    let poll = Poll {
        age: stall.stood,
        late: Some(stall),
    };
    Seen {
        watches: (true, true),
        is_strict: false,
        partitions: vec![StalledPartition {
            handler: handler.clone(),
            topic: Arc::clone(topic),
            partition: 1,
            stall,
        }],
        polls: [(group, poll)].into(),
        stalls: [((handler.clone(), Arc::clone(topic)), 3)].into(),
    }
}

/// Lines of the page, among others.
const SAMPLES: &str = r#"
kafka_wasm_records_total{tenant="acme",handler="bills",topic="orders",outcome="handled"} 20
kafka_wasm_records_total{tenant="acme",handler="bills",topic="orders",outcome="filtered"} 0
kafka_wasm_records_total{tenant="acme",handler="bills",topic="orders",outcome="dead_lettered"} 1
kafka_wasm_record_bytes_total{tenant="acme",handler="bills",topic="orders"} 2000
kafka_wasm_emitted_records_total{tenant="acme",handler="bills",topic="orders"} 8
kafka_wasm_completed_before_total{tenant="acme",handler="bills",topic="orders"} 0
kafka_wasm_retries_total{tenant="acme",handler="bills",topic="orders"} 0
kafka_wasm_failures_total{tenant="acme",handler="bills",topic="orders",kind="trap"} 1
kafka_wasm_failures_total{tenant="acme",handler="bills",topic="orders",kind="emit"} 0
kafka_wasm_invoke_duration_seconds_sum{tenant="acme",handler="bills",topic="orders"} 60.00014
kafka_wasm_invoke_duration_seconds_count{tenant="acme",handler="bills",topic="orders"} 3
kafka_wasm_invoke_duration_seconds_bucket{le="0.00005",tenant="acme",handler="bills",topic="orders"} 0
kafka_wasm_invoke_duration_seconds_bucket{le="0.0001",tenant="acme",handler="bills",topic="orders"} 2
kafka_wasm_invoke_duration_seconds_bucket{le="+Inf",tenant="acme",handler="bills",topic="orders"} 3
kafka_wasm_instance_starts_total{tenant="acme",handler="bills",topic="orders"} 2
kafka_wasm_middleware_records_total{tenant="acme",handler="bills",middleware="decrypt",result="changed"} 2
kafka_wasm_pipeline_step_duration_seconds_count{tenant="acme",handler="bills",pipeline="bill",step="price"} 1
kafka_wasm_in_flight_records{tenant="acme",handler="bills",topic="orders"} 10
kafka_wasm_lag_records{tenant="acme",handler="bills",topic="orders"} 200
kafka_wasm_lag_seconds{tenant="acme",handler="bills",topic="orders"} 2.5
kafka_wasm_partitions{tenant="acme",handler="bills",topic="orders"} 2
kafka_wasm_halted_partitions{tenant="acme",handler="bills",topic="orders"} 1
kafka_wasm_bulk_partitions{tenant="acme",handler="bills",topic="orders"} 1
kafka_wasm_map_full_partitions{tenant="acme",handler="bills",topic="orders"} 1
kafka_wasm_stalled_partitions{tenant="acme",handler="bills",topic="orders"} 1
kafka_wasm_stalled_partitions{tenant="default",handler="new",topic="orders"} 0
kafka_wasm_stalls_total{tenant="acme",handler="bills",topic="orders"} 3
kafka_wasm_stalls_total{tenant="default",handler="new",topic="orders"} 0
kafka_wasm_poll_late{tenant="acme",group="acme.bills"} 1
kafka_wasm_poll_age_seconds{tenant="acme",group="acme.bills"} 90.0
kafka_wasm_guest_memory_bytes{tenant="acme",handler="bills",topic="orders"} 131072
kafka_wasm_records_total{tenant="default",handler="new",topic="orders",outcome="handled"} 0
kafka_wasm_partitions{tenant="default",handler="new",topic="orders"} 1
kafka_wasm_assigned_partitions{tenant="acme",group="acme.bills"} 2
kafka_wasm_rebalances_total{tenant="acme",group="acme.bills"} 2
kafka_wasm_kafka_up{tenant="acme",group="acme.bills"} 1
kafka_wasm_kafka_up{tenant="default",group="a\"\\b"} 0
kafka_wasm_transactions_total{tenant="acme",group="acme.bills",result="committed"} 40
kafka_wasm_transactions_total{tenant="acme",group="acme.bills",result="aborted"} 1
kafka_wasm_guest_cpu_seconds_total{tenant="acme"} 0.25
kafka_wasm_quota_used_total{tenant="acme",quota="emit-mib-per-s"} 1.5
kafka_wasm_quota_used_total{tenant="acme",quota="log-lines-per-s"} 2.0
kafka_wasm_quota{tenant="acme",quota="emit-mib-per-s"} 8
kafka_wasm_quota{tenant="acme",quota="log-lines-per-s"} 1
kafka_wasm_compile_quota_share{tenant="acme"} 0.25
kafka_wasm_throttled_seconds_total{tenant="acme"} 0.5
kafka_wasm_dropped_log_lines_total{tenant="acme"} 1
kafka_wasm_pending_requests{tenant="acme"} 1
kafka_wasm_requests_total{tenant="acme",result="answered"} 1
kafka_wasm_requests_total{tenant="acme",result="timeout"} 1
kafka_wasm_requests_total{tenant="acme",result="failed"} 0
kafka_wasm_dropped_responses_total{tenant="acme",reason="late"} 4
kafka_wasm_dropped_responses_total{tenant="acme",reason="unknown"} 0
kafka_wasm_dropped_responses_total{tenant="acme",reason="orphaned"} 2
kafka_wasm_held_responses{tenant="acme"} 3
kafka_wasm_reply_store_up 1
kafka_wasm_reply_store_errors_total 5
kafka_wasm_producer_queue_records 3
kafka_wasm_delivered_records_total 8
kafka_wasm_refused_records_total 1
kafka_wasm_deploys_total{result="published"} 2
kafka_wasm_deploys_total{result="refused"} 1
kafka_wasm_deploys_total{result="rolled-back"} 3
kafka_wasm_trial_records_total{tenant="acme",handler="bills",side="serving",result="handled"} 5
kafka_wasm_trial_records_total{tenant="acme",handler="bills",side="serving",result="failed"} 1
kafka_wasm_trial_records_total{tenant="acme",handler="bills",side="tried",result="handled"} 2
kafka_wasm_trial_records_total{tenant="acme",handler="bills",side="tried",result="failed"} 0
kafka_wasm_trial_seconds_total{tenant="acme",handler="bills",side="serving"} 0.03
kafka_wasm_trial_seconds_total{tenant="acme",handler="bills",side="tried"} 0.5
kafka_wasm_shadow_records_total{tenant="acme",handler="bills",result="equal"} 8
kafka_wasm_shadow_records_total{tenant="acme",handler="bills",result="differing"} 1
kafka_wasm_shadow_records_total{tenant="acme",handler="bills",result="skipped"} 2
kafka_wasm_compile_duration_seconds_count 0
kafka_wasm_compile_duration_seconds_bucket{le="+Inf"} 0
kafka_wasm_paused{tenant="acme",handler="bills"} 1
kafka_wasm_paused_by_command{tenant="acme",handler="bills"} 0
kafka_wasm_state_failures_total 4
kafka_wasm_handler_info{tenant="acme",handler="bills",revision="abababababab"} 1
process_resident_memory_bytes 4096
process_cpu_seconds_total 1.5
# UNIT kafka_wasm_lag_seconds seconds
# TYPE kafka_wasm_records counter
# EOF
"#;

#[test]
fn the_page_has_these_samples() {
    let page = text(scrape()).unwrap();
    let lines: BTreeSet<&str> = page.lines().collect();
    for line in SAMPLES.trim().lines() {
        assert!(lines.contains(line), "no line {line} in\n{page}");
    }
}

#[test]
fn an_unknown_lag_is_absent() {
    let page = text(scrape()).unwrap();
    let lags: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("kafka_wasm_lag_"))
        .collect();
    assert!(
        lags.iter().all(|line| line.contains("handler=\"bills\"")),
        "{lags:?}"
    );
}

#[test]
fn lag_in_seconds_is_zero_at_the_end_and_unknown_before_the_first_record() {
    let reading = |lag_records, oldest_timestamp_ms| Reading {
        lag_records,
        oldest_timestamp_ms,
        ..Reading::default()
    };
    let second = Some(Duration::from_secs(1));
    assert_eq!(lag(&reading(None, None), NOW_MS), None);
    assert_eq!(lag(&reading(Some(0), None), NOW_MS), Some(Duration::ZERO));
    assert_eq!(lag(&reading(Some(5), None), NOW_MS), None);
    assert_eq!(lag(&reading(Some(5), Some(NOW_MS - 1_000)), NOW_MS), second);
    assert_eq!(
        lag(&reading(Some(5), Some(NOW_MS + 1_000)), NOW_MS),
        Some(Duration::ZERO)
    );
}

#[test]
fn every_family_is_written_once_with_help_and_its_name_is_its_own() {
    let page = text(scrape()).unwrap();
    let helps: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
        .collect();
    let expected: Vec<String> = names::ALL
        .iter()
        .map(|family| {
            let unit = family
                .unit
                .as_ref()
                .map(|unit| format!("_{}", unit.as_str()));
            format!(
                "{}{} {}",
                family.stem(),
                unit.unwrap_or_default(),
                family.help
            )
        })
        .collect();
    assert_eq!(helps, expected);
    let distinct: BTreeSet<&str> = names::ALL.iter().map(|family| family.name).collect();
    assert_eq!(distinct.len(), names::ALL.len());
    for family in names::ALL {
        let has_sample = page.lines().any(|line| {
            let rest = line.strip_prefix(family.name).unwrap_or_default();
            rest.starts_with(['{', ' ']) || rest.starts_with("_count")
        });
        assert!(has_sample, "{} has no sample in\n{page}", family.name);
    }
}

#[test]
fn what_is_not_watched_is_absent() {
    let page = text(Scrape {
        watched: Seen::default(),
        ..scrape()
    })
    .unwrap();
    let watched = ["kafka_wasm_stall", "kafka_wasm_poll_"];
    let is_watched = |line: &str| watched.iter().any(|start| line.starts_with(start));
    assert!(!page.lines().any(is_watched), "{page}");
}

#[test]
fn what_the_system_does_not_tell_is_absent() {
    let page = text(Scrape {
        process: Usage::default(),
        ..scrape()
    })
    .unwrap();
    assert!(!page.lines().any(|line| line.starts_with("process_")));
}
