//! What a tenant may use by the second: beyond it the tenant itself waits, and nobody else.
//!
//! It is handed two stages with a handler each on one host: that of the tenant acme, which has quotas, and that of the tenant
//! calm, which has none.
//! **Invariant:** how long something took is told by the timestamps of its outputs, and only a least time is claimed.

use std::fs;
use std::time::Duration;

use harness::{Host, TestRecord, guest, wait_until};
use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, TWICE, count_lines, field, never, value_on, wait_lines};

/// Two tenants on one host.
pub struct Neighbours {
    pub acme: Stage,
    pub calm: Stage,
}

impl Neighbours {
    /// With these quotas for acme, and more keys for the manifest of its handler.
    pub fn new(name: &str, partitions: i32, quotas: &str, more: &str) -> Self {
        let neighbours = Self {
            acme: Stage::new(name, partitions),
            calm: Stage::new(&format!("{name}-calm"), 1),
        };
        neighbours.set_quotas(quotas);
        let Self { acme, calm } = &neighbours;
        let deploy = |tenant: &str, stage: &Stage, more: &str| {
            let name = format!("{tenant}/{}", stage.name);
            let manifest = stage.manifest(more);
            acme.folder.swap_in(&name, guest("act"), &manifest).unwrap();
        };
        deploy("acme", acme, more);
        deploy("calm", calm, "");
        neighbours
    }

    pub fn set_quotas(&self, quotas: &str) {
        let tenant = format!(
            "grants = {{ consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }}\n[quotas]\n{quotas}\n"
        );
        let folder = &self.acme.folder;
        folder.swap_text("acme", "tenant.toml", &tenant).unwrap();
    }

    pub fn serve(&self, args: &[&str]) -> Host {
        self.acme.serve(args)
    }

    /// Sees that all calm records were handled before the last of these outputs was written.
    fn nobody_else_waited(&self, host: &Host, calm: usize, outputs: &[TestRecord]) {
        let others = self.calm.outputs(host, calm);
        assert!(
            span_ms(&others).1 < span_ms(outputs).1,
            "another tenant waited: {:?}, {:?}",
            span_ms(&others),
            span_ms(outputs)
        );
        let waited = host.metric("kafka_wasm_throttled_seconds_total", &[("tenant", "calm")]);
        assert_eq!(waited.unwrap(), 0.0);
    }
}

/// When the first and the last of these records were written, in milliseconds.
fn span_ms(records: &[TestRecord]) -> (i64, i64) {
    let times = || records.iter().map(|record| record.timestamp_ms.unwrap());
    (times().min().unwrap(), times().max().unwrap())
}

/// Sees that from the first to the last at least so much time went by.
fn took(records: &[TestRecord], least: Duration) {
    let (first, last) = span_ms(records);
    println!("{} records in {} ms", records.len(), last - first);
    assert!(
        last - first >= i64::try_from(least.as_millis()).unwrap(),
        "only {} ms",
        last - first
    );
}

/// The offsets of the input that outputs tell, of one partition.
fn offsets(outputs: &[TestRecord], partition: &str) -> Vec<i64> {
    let own = outputs
        .iter()
        .filter(|output| field(output, "partition") == partition);
    own.map(|output| field(output, "offset").parse().unwrap())
        .collect()
}

fn used(host: &Host, quota: &str) -> f64 {
    let labels = [("tenant", "acme"), ("quota", quota)];
    host.metric("kafka_wasm_quota_used_total", &labels).unwrap()
}

fn throttled(host: &Host) -> f64 {
    let labels = [("tenant", "acme")];
    let waited = host.metric("kafka_wasm_throttled_seconds_total", &labels);
    waited.unwrap()
}

#[test]
fn quota_of_log_lines_is_obeyed() {
    let two = Neighbours::new("quota-lines", 1, "log-lines-per-s = 20", "");
    let host = two.serve(&[]);
    let began = Instant::now();
    two.acme.produce(&["log-many 300 flood"; 3]);
    two.calm.produce(&["log-many 100 calm"]);
    // No record pays for it.
    two.acme.outputs(&host, 3);
    two.calm.outputs(&host, 1);
    let seconds = began.elapsed().as_secs();
    let lines = |tenant: &str| count_lines(&host, &[" guest: ", &format!("tenant={tenant}")]);
    let written = || f64::from(u32::try_from(lines("acme")).unwrap());
    let dropped = || {
        let name = "kafka_wasm_dropped_log_lines_total";
        host.metric(name, &[("tenant", "acme")]).unwrap()
    };
    wait_until("all lines", PATIENCE, || {
        written() + dropped() == 900.0 && lines("calm") == 100
    })
    .unwrap();
    let written = lines("acme");
    println!("{written} of 900 lines were written in {seconds} s");
    assert!(written >= 20 && written <= 20 * (usize::try_from(seconds).unwrap() + 2));
    assert_eq!(used(&host, "log-lines-per-s"), 900.0);
    let told = ["of the tenant's log were dropped", "dropped="];
    wait_lines(&host, &told, 1);
    assert!(count_lines(&host, &told) <= usize::try_from(seconds).unwrap() + 2);
    assert_eq!(throttled(&host), 0.0);
    host.stop().unwrap();
}

#[test]
fn quota_of_records_is_obeyed_and_nobody_else_waits() {
    const RECORDS: usize = 120;
    let two = Neighbours::new("quota-records", 3, "records-per-s = 20", TWICE);
    let partition = |n: usize| i32::try_from(n % 3).unwrap();
    let records = (0..RECORDS).map(|n| value_on(partition(n), &format!("ok {n}")));
    two.acme.produce_records(records);
    two.calm.produce(&["ok"; 300]);
    let host = two.serve(&[]);
    let outputs = two.acme.outputs(&host, RECORDS);
    // A second's worth goes at once, and each partition may have begun one more.
    took(&outputs, Duration::from_millis(4500));
    for partition in ["0", "1", "2"] {
        let expected: Vec<i64> = (0..40).collect();
        assert_eq!(offsets(&outputs, partition), expected);
    }
    two.acme.committed(&host, &[(0, 40), (1, 40), (2, 40)]);
    assert_eq!(used(&host, "records-per-s"), 120.0);
    assert!(throttled(&host) > 1.0);
    two.nobody_else_waited(&host, 300, &outputs);
    host.stop().unwrap();
}

#[test]
fn quota_of_records_keeps_the_order_of_each_key() {
    const RECORDS: usize = 90;
    let more = "ordering = \"key\"\nconcurrency = 4";
    let two = Neighbours::new("quota-keys", 1, "records-per-s = 20", more);
    let record = |n: usize| TestRecord::new(format!("k{}", n % 5), format!("ok {n}")).on(0);
    two.acme.produce_records((0..RECORDS).map(record));
    let host = two.serve(&[]);
    let outputs = two.acme.outputs(&host, RECORDS);
    took(&outputs, Duration::from_secs(3));
    let of_key = |n: usize| {
        let own = outputs
            .iter()
            .filter(move |it| it.key_text() == format!("k{n}"));
        own.map(|it| field(it, "value"))
    };
    for n in 0..5 {
        let expected = (0..RECORDS / 5).map(|m| format!("ok {}", m * 5 + n));
        assert!(
            of_key(n).eq(expected),
            "{:?}",
            of_key(n).collect::<Vec<_>>()
        );
    }
    two.acme.committed(&host, &[(0, 90)]);
    assert!(throttled(&host) > 0.0);
    host.stop().unwrap();
}

#[test]
fn quota_of_emitted_records_is_obeyed_and_no_record_is_split() {
    let two = Neighbours::new("quota-emits", 1, "emit-records-per-s = 20", "");
    two.acme.produce(&["emit-many 30"; 5]);
    two.calm.produce(&["ok"; 300]);
    let host = two.serve(&[]);
    let outputs = two.acme.outputs(&host, 150);
    // The last record's outputs are owed, not waited for.
    took(&outputs, Duration::from_millis(4500));
    for record in outputs.chunks(30) {
        let spread = span_ms(record);
        assert!(spread.1 - spread.0 < 1000, "{spread:?}");
        assert!(
            record
                .iter()
                .all(|it| field(it, "offset") == field(&record[0], "offset"))
        );
    }
    assert_eq!(used(&host, "emit-records-per-s"), 150.0);
    two.nobody_else_waited(&host, 300, &outputs);
    host.stop().unwrap();
}

#[test]
fn quota_of_emitted_bytes_is_obeyed() {
    let two = Neighbours::new("quota-bytes", 1, "emit-mib-per-s = 1", "");
    two.acme.produce(&["emit-big 524288"; 8]);
    two.calm.produce(&["ok"; 300]);
    let host = two.serve(&[]);
    let outputs = two.acme.outputs(&host, 16);
    took(&outputs, Duration::from_secs(2));
    let mib = used(&host, "emit-mib-per-s");
    assert!((4.0..4.1).contains(&mib), "{mib}");
    two.nobody_else_waited(&host, 300, &outputs);
    host.stop().unwrap();
}

#[test]
fn quota_of_time_on_a_processor_is_obeyed_and_what_is_waited_is_not_counted() {
    let two = Neighbours::new("quota-cpu", 1, "cpu-percent = 20", "");
    // What sleeps does not run.
    two.acme.produce(&["sleep 500"; 2]);
    two.acme.produce(&["work 50"; 20]);
    two.calm.produce(&["ok"; 300]);
    let host = two.serve(&[]);
    let outputs = two.acme.outputs(&host, 22);
    let worked = &outputs[2..];
    took(worked, Duration::from_secs(3));
    let cpu = |tenant: &str| {
        let name = "kafka_wasm_guest_cpu_seconds_total";
        host.metric(name, &[("tenant", tenant)]).unwrap()
    };
    println!("{} s of acme, {} s of calm", cpu("acme"), cpu("calm"));
    assert!((1.0..1.9).contains(&cpu("acme")), "{}", cpu("acme"));
    let slept = span_ms(&outputs[..2]);
    assert!(slept.1 - slept.0 < 1000, "{slept:?}");
    two.nobody_else_waited(&host, 300, &outputs);
    host.stop().unwrap();
}

#[test]
fn who_waits_for_a_quota_holds_nothing_and_is_not_called_stalled() {
    let two = Neighbours::new("quota-holds", 2, "emit-records-per-s = 1", "");
    let config = tempfile::tempdir().unwrap();
    let file = config.path().join("host.toml");
    fs::write(&file, "[watchdog]\nstall-after-ms = 1000\n").unwrap();
    let file = file.to_str().unwrap();
    // One place for all, so that the calm tenant gets on only where the other one gives it up.
    let host = two.serve(&["--config", file, "--instances-max", "1"]);
    for partition in 0..2 {
        two.acme.produce_on(partition, &["emit-many 1000", "ok"]);
    }
    wait_until("a debt", PATIENCE, || {
        used(&host, "emit-records-per-s") >= 1000.0
    })
    .unwrap();
    two.calm.produce(&["ok"; 50]);
    two.calm.outputs(&host, 50);
    never("a stall", Duration::from_secs(5), || {
        host.metric("kafka_wasm_stalls_total", &[]).unwrap() > 0.0
    });
    let (code, ready) = host.get("/readyz").unwrap();
    assert_eq!(code, 200, "{ready}");
    // Nor does it hold up a stop.
    let began = Instant::now();
    host.stop().unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    // Nothing is lost: whoever reads the partitions next goes on there.
    two.set_quotas("");
    let host = two.serve(&[]);
    two.acme.outputs(&host, 2002);
    two.acme.committed(&host, &[(0, 2), (1, 2)]);
    host.stop().unwrap();
}

#[test]
fn a_larger_quota_takes_effect_at_once() {
    let two = Neighbours::new("quota-larger", 1, "emit-records-per-s = 1", "");
    let host = two.serve(&[]);
    two.acme.produce(&["emit-many 1000", "ok"]);
    wait_until("a debt", PATIENCE, || {
        used(&host, "emit-records-per-s") >= 1000.0
    })
    .unwrap();
    two.set_quotas("emit-records-per-s = 100000");
    two.acme.outputs(&host, 1001);
    host.stop().unwrap();
}
