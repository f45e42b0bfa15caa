//! The example `tenants` as a whole: a calm tenant and a hostile one on one host, and a verdict.
//!
//! It builds host and examples, serves both on the embedded broker, feeds them for a while, shows each second what the metrics
//! say, and compares what came out with what went in.
//! **Invariant:** it succeeds only when the calm tenant has lost nothing and the hostile one was held to its file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::guests::{self, EXAMPLES};
use crate::served::{Ends, Served, consume, get, produce};
use crate::sh::{root, step, target, write_file};
use crate::{json, setup, test};

/// The folder of the example.
const FOLDER: &str = "examples/tenants";
/// Its handlers, each with the crate of the component that lies beside its manifest.
const HANDLERS: [(&str, &str); 2] = [("calm/hello", "hello"), ("hostile/deeds", "deeds")];
const SECONDS: usize = 8;
/// Names that the calm tenant is fed each second.
const NAMES: usize = 200;
/// What the hostile one is fed each second, so many of each.
const DEEDS: [(&str, usize); 6] = [
    ("work", 10),
    ("spin", 1),
    ("hoard", 1),
    ("flood", 5),
    ("shout", 1),
    ("forge", 1),
];

/// Runs the example on the embedded broker; `keep` stays up afterwards. On another Kafka its topics may be those of others.
pub(crate) fn run(brokers: Option<&str>, keep: bool) -> Result<()> {
    if brokers.is_some() {
        bail!("the demo of the tenants runs on the embedded broker only (leave --brokers out)");
    }
    step("setup", setup::c_toolchain)?;
    step("examples", || guests::build(&[EXAMPLES]))?;
    step("build", test::build_host)?;
    let start = Instant::now();
    let handlers = target("demo/tenants");
    lay_out(&handlers)?;

    println!("\n── demo");
    let (mut host, brokers, http) = Served::on(&handlers, None)?;
    feed(&brokers, 0)?;
    host.wait_until_ready(&http)?;
    println!(
        "\n  {:>3}  {:>10}  {:>12}  {:>12}  {:>12}  {:>13}",
        "s", "greeted", "deeds done", "failed", "throttled", "lines dropped"
    );
    for second in 1..=SECONDS {
        feed(&brokers, second)?;
        thread::sleep(Duration::from_secs(1));
        let seen = Seen::at(&http)?;
        println!(
            "  {second:>3}  {:>10.0}  {:>12.0}  {:>12.0}  {:>10.1} s  {:>13.0}",
            seen.greeted, seen.done, seen.failed, seen.throttled_s, seen.dropped
        );
    }
    let wanted = NAMES * (SECONDS + 1);
    let mut read = 0;
    let greetings = consume("calm.greetings", &brokers, &Ends::default(), |_| {
        read += 1;
        read >= wanted
    })?;
    let seen = Seen::at(&http)?;
    let problems = judge(&greetings, wanted, &seen);
    println!("\n── what came of it");
    println!("  calm: {} of {wanted} names greeted", greetings.len());
    println!(
        "  hostile: {:.0} deeds failed (deadline, memory, denied), waited {:.1} s for its quotas, {:.0} lines of the log dropped",
        seen.failed, seen.throttled_s, seen.dropped
    );
    let to_try = format!(
        "\n── still up, until Ctrl-C; see what each tenant uses:\n    curl -s http://{http}/metrics | grep -e quota -e throttled"
    );
    let to_try = keep.then_some(to_try.as_str());
    host.conclude(
        start,
        &problems,
        to_try,
        "nobody paid for what the hostile tenant did",
    )
}

/// Fills a fresh handlers folder with both tenants.
fn lay_out(handlers: &Path) -> Result<()> {
    if handlers.exists() {
        fs::remove_dir_all(handlers).context("cannot empty target/demo/tenants")?;
    }
    let copy = |file: &str| {
        let text = root().join(FOLDER).join(file);
        let text = fs::read(&text).with_context(|| format!("cannot read {}", text.display()))?;
        write_file(&handlers.join(file), &text)
    };
    for tenant in ["calm", "hostile"] {
        copy(&format!("{tenant}/tenant.toml"))?;
    }
    for (name, krate) in HANDLERS {
        copy(&format!("{name}/handler.toml"))?;
        let wasm = fs::read(guests::component(krate))
            .with_context(|| format!("{krate} was not built: is it in examples/Cargo.toml?"))?;
        write_file(&handlers.join(name).join(format!("{krate}.wasm")), &wasm)?;
    }
    Ok(())
}

/// Feeds both tenants what a second has.
fn feed(brokers: &str, second: usize) -> Result<()> {
    let value = |text: &str| format!("{{\"value\":\"{text}\"}}");
    let names: Vec<String> = (0..NAMES)
        .map(|n| value(&format!("{second}-{n}")))
        .collect();
    let deeds = DEEDS.iter();
    let deeds: Vec<String> = deeds
        .flat_map(|(deed, times)| vec![value(deed); *times])
        .collect();
    produce("hostile.deeds", brokers, &deeds)?;
    produce("calm.names", brokers, &names)?;
    Ok(())
}

/// What the metrics say.
#[derive(Debug, Default)]
struct Seen {
    greeted: f64,
    done: f64,
    failed: f64,
    throttled_s: f64,
    dropped: f64,
}

impl Seen {
    fn at(http: &str) -> Result<Self> {
        Ok(Self::of(&get(http, "/metrics")?))
    }

    fn of(page: &str) -> Self {
        let sum = |name: &str, labels: &[&str]| -> f64 {
            let lines = page.lines().filter_map(|line| line.split_once(' '));
            let meant = lines.filter(|(series, _)| {
                let is_named = series.split('{').next() == Some(name);
                is_named && labels.iter().all(|label| series.contains(label))
            });
            meant
                .filter_map(|(_, value)| value.parse::<f64>().ok())
                .sum()
        };
        let (calm, hostile) = ("tenant=\"calm\"", "tenant=\"hostile\"");
        let records = "kafka_wasm_records_total";
        Self {
            greeted: sum(records, &[calm, "outcome=\"handled\""]),
            done: sum(records, &[hostile, "outcome=\"handled\""]),
            failed: sum(records, &[hostile, "outcome=\"dead_lettered\""]),
            throttled_s: sum("kafka_wasm_throttled_seconds_total", &[hostile]),
            dropped: sum("kafka_wasm_dropped_log_lines_total", &[hostile]),
        }
    }
}

/// Tells what is not as it should be.
fn judge(greetings: &[String], wanted: usize, seen: &Seen) -> Vec<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in greetings {
        *times
            .entry(json::field(line, "value").unwrap_or_default())
            .or_default() += 1;
    }
    let forged = times.keys().filter(|text| text.contains("fool")).count();
    let is_complete = times.len() == wanted && times.values().all(|times| *times == 1);
    let checks = [
        (
            is_complete,
            format!(
                "{} greetings, and {wanted} names were to be greeted once",
                greetings.len()
            ),
        ),
        (forged == 0, format!("{forged} greetings were forged")),
        (
            seen.throttled_s > 0.0,
            "the hostile tenant did not wait for its quotas".to_owned(),
        ),
        (
            seen.dropped > 0.0,
            "no line of its log was dropped".to_owned(),
        ),
        (seen.failed > 0.0, "none of its deeds failed".to_owned()),
    ];
    let wrong = checks.into_iter().filter(|(is_right, _)| !is_right);
    wrong.map(|(_, what)| what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_by_name_and_tenant() {
        let page = "# TYPE kafka_wasm_records counter\n\
                    kafka_wasm_records_total{tenant=\"calm\",topic=\"a\",outcome=\"handled\"} 3\n\
                    kafka_wasm_records_total{tenant=\"calm\",topic=\"b\",outcome=\"handled\"} 4\n\
                    kafka_wasm_records_total{tenant=\"hostile\",outcome=\"handled\"} 5\n\
                    kafka_wasm_records_total{tenant=\"hostile\",outcome=\"dead_lettered\"} 2\n\
                    kafka_wasm_throttled_seconds_total{tenant=\"hostile\"} 1.5\n\
                    kafka_wasm_dropped_log_lines_total{tenant=\"hostile\"} 9\n";
        let seen = Seen::of(page);
        let found = [
            seen.greeted,
            seen.done,
            seen.failed,
            seen.dropped,
            seen.throttled_s,
        ];
        let told = found.map(|it| it.to_string());
        assert_eq!(told, ["7", "5", "2", "9", "1.5"]);
    }

    #[test]
    fn a_lost_a_repeated_and_a_forged_greeting_are_noticed() {
        let line = |text: &str| format!("{{\"value\":\"{text}\"}}");
        let seen = Seen {
            failed: 1.0,
            throttled_s: 1.0,
            dropped: 1.0,
            ..Seen::default()
        };
        let judged = |texts: &[&str]| {
            let lines: Vec<String> = texts.iter().map(|text| line(text)).collect();
            judge(&lines, 2, &seen).len()
        };
        assert_eq!(judged(&["Hello, a!", "Hello, b!"]), 0);
        assert_eq!(judged(&["Hello, a!"]), 1);
        assert_eq!(judged(&["Hello, a!", "Hello, b!", "Hello, b!"]), 1);
        assert_eq!(judged(&["Hello, a!", "Hello, fool!"]), 1);
        assert_eq!(judge(&[line("a"), line("b")], 2, &Seen::default()).len(), 3);
    }
}
