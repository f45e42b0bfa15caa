//! The main job on real data: a week of earthquakes through the three examples, and a verdict.
//!
//! It builds host and examples, serves them on the embedded broker or a given Kafka, feeds the data with
//! some broken lines, and compares what comes out with what the data says has to come out.
//! **Invariant:** it succeeds only when every count is right and the host stopped in good order.

use std::fs;
use std::path::Path;
use std::process;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::feed::Feed;
use crate::guests::{self, EXAMPLES};
use crate::served::{Ends, Served, consume, produce};
use crate::sh::{step, target, write_file};
use crate::{json, setup, test};

/// How many alerts are shown.
const SHOWN: usize = 5;

/// Where the examples write. These names are the handlers' own and the same in every run.
const ALERTS: &str = "alerts";
/// The examples that are served; the others read what these do not write.
const SERVED: [&str; 3] = ["earthquakes", "hello", "summaries"];
const SUMMARIES: &str = "summaries";

/// An earthquake to send by hand, of those that alert.
const QUAKE: &str =
    r#"{"id":"me1","network":"me","time_ms":1735689600000,"magnitude":7.2,"place":"my desk"}"#;

/// The names that the manifests give, as the host gets them in this run.
struct Topics {
    /// Appended to every name, so that runs against one Kafka do not meet.
    suffix: String,
    input: String,
    dead_letters: String,
}

impl Topics {
    fn new(suffix: String) -> Self {
        Self {
            input: format!("earthquakes{suffix}"),
            dead_letters: format!("earthquakes.dead-letter{suffix}"),
            suffix,
        }
    }
}

/// What came out, one JSON line a record.
struct Outputs {
    alerts: Vec<String>,
    summaries: Vec<String>,
    dead_letters: Vec<String>,
}

/// Runs the demo on `brokers`, or on the embedded broker; `keep` stays up afterwards.
pub(crate) fn run(brokers: Option<&str>, keep: bool) -> Result<()> {
    step("setup", setup::c_toolchain)?;
    step("examples", || guests::build(&[EXAMPLES]))?;
    step("build", test::build_host)?;
    let start = Instant::now();
    let topics = Topics::new(match brokers {
        Some(_) => format!("-{}", run_id()),
        None => String::new(),
    });
    let handlers = target("demo/handlers");
    lay_out(&handlers, &topics.suffix)?;
    let feed = Feed::read()?;

    println!("\n── demo");
    let before = Before::read(brokers)?;
    let (mut host, brokers, http) = Served::on(&handlers, brokers)?;
    // A topic that nobody has written to may not exist yet, and the host is ready when its topics are.
    let name = "{\"value\":\"World\"}".to_owned();
    let names = format!("names{}", topics.suffix);
    println!("  {}", produce(&names, &brokers, &[name])?);
    println!("  {}", produce(&topics.input, &brokers, &feed.lines)?);
    println!("  fed {} records to {}", feed.lines.len(), topics.input);
    host.wait_until_ready(&http)?;

    let outputs = collect(&topics, &brokers, &feed, &before)?;
    let problems = judge(&feed, &outputs);
    report(&topics, &feed, &outputs);
    let to_try = keep.then(|| what_to_try(&topics, &brokers, &http));
    host.conclude(start, &problems, to_try.as_deref(), "every count is right")
}

/// Fills a fresh handlers folder with the examples, their topics and groups renamed.
fn lay_out(handlers: &Path, suffix: &str) -> Result<()> {
    if handlers.exists() {
        fs::remove_dir_all(handlers).context("cannot empty target/demo/handlers")?;
    }
    let shown = |example: &guests::Example| SERVED.contains(&example.name.as_str());
    for example in guests::examples()?.into_iter().filter(shown) {
        example.lay_out(handlers)?;
        let manifest = handlers.join(&example.name).join("handler.toml");
        let text = fs::read_to_string(&manifest)?;
        let group = format!("group = \"demo.{}\"\n", example.name);
        let text = if suffix.is_empty() || text.contains("\ngroup = ") {
            text
        } else {
            group + &text
        };
        write_file(&manifest, rename(&text, suffix).as_bytes())?;
    }
    Ok(())
}

/// Appends the suffix to every topic and group that a manifest names.
fn rename(manifest: &str, suffix: &str) -> String {
    let named = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        key.contains("topic") || key == "group"
    };
    let rename = |line: &str| {
        let parts: Vec<&str> = line.split('"').collect();
        let renamed = parts.iter().enumerate().map(|(at, part)| {
            // Every second part stands between quotes.
            let end = if at % 2 == 1 { suffix } else { "" };
            format!("{part}{end}")
        });
        renamed.collect::<Vec<String>>().join("\"")
    };
    manifest
        .lines()
        .map(|line| if named(line) { rename(line) } else { line.to_owned() } + "\n")
        .collect()
}

/// What the output topics held before this run: the embedded broker is new, another Kafka is not.
struct Before {
    alerts: Ends,
    summaries: Ends,
}

impl Before {
    fn read(brokers: Option<&str>) -> Result<Self> {
        let ends = |topic| brokers.map_or_else(|| Ok(Ends::default()), |at| Ends::of(topic, at));
        Ok(Self {
            alerts: ends(ALERTS)?,
            summaries: ends(SUMMARIES)?,
        })
    }
}

fn collect(topics: &Topics, brokers: &str, feed: &Feed, before: &Before) -> Result<Outputs> {
    let read = |topic: &str, old: &Ends, wanted: usize, weight: fn(&str) -> usize| {
        let mut seen = 0;
        let lines = consume(topic, brokers, old, |line| {
            seen += weight(line);
            seen >= wanted
        })?;
        println!("  read {} records of {topic}", lines.len());
        anyhow::Ok(lines)
    };
    let new = Ends::default();
    Ok(Outputs {
        alerts: read(ALERTS, &before.alerts, feed.alerts, |_| 1)?,
        dead_letters: read(&topics.dead_letters, &new, feed.broken, |_| 1)?,
        summaries: read(SUMMARIES, &before.summaries, feed.good, summarised)?,
    })
}

/// Returns how many earthquakes a record of `summaries` counts.
fn summarised(line: &str) -> usize {
    json::field(line, "value")
        .and_then(|value| json::field(&value, "count"))
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

fn judge(feed: &Feed, outputs: &Outputs) -> Vec<String> {
    let counted: usize = outputs.summaries.iter().map(|line| summarised(line)).sum();
    [
        ("alerts", outputs.alerts.len(), feed.alerts),
        ("dead letters", outputs.dead_letters.len(), feed.broken),
        ("earthquakes in the summaries", counted, feed.good),
    ]
    .into_iter()
    .filter(|(_, found, expected)| found != expected)
    .map(|(what, found, expected)| format!("{what}: {found}, and the data says {expected}"))
    .collect()
}

fn report(topics: &Topics, feed: &Feed, outputs: &Outputs) {
    let Outputs {
        alerts,
        summaries,
        dead_letters,
    } = outputs;
    println!("\n── what went in");
    println!(
        "  {} records to `{}`: {} earthquakes of {} networks and {} broken lines",
        feed.lines.len(),
        topics.input,
        feed.good,
        feed.networks,
        feed.broken
    );
    println!("── what came out");
    println!(
        "  {} alerts in `{ALERTS}`: magnitude {} or more",
        alerts.len(),
        feed.threshold
    );
    println!(
        "  {} summaries in `{SUMMARIES}`: by network and batch",
        summaries.len()
    );
    println!("── where the dead letters are");
    println!(
        "  {} records in `{}`, for example",
        dead_letters.len(),
        topics.dead_letters
    );
    if let Some(line) = dead_letters.first() {
        println!(
            "    value   {}",
            json::field(line, "value").unwrap_or_default()
        );
        println!(
            "    headers {}",
            json::field(line, "headers").unwrap_or_default()
        );
    }
    println!(
        "  the other handler keeps its own in `earthquake-summaries{}.dead-letter`",
        topics.suffix
    );
    println!("── {SHOWN} of the alerts");
    for line in alerts.iter().take(SHOWN) {
        let value = json::field(line, "value").unwrap_or_default();
        let get = |name| json::field(&value, name).unwrap_or_default();
        println!(
            "  {:>4}  {:<3} {}",
            get("magnitude"),
            get("network"),
            get("place")
        );
    }
}

fn what_to_try(topics: &Topics, brokers: &str, http: &str) -> String {
    let input = &topics.input;
    format!(
        r"
── still up; try this in another terminal, end with Ctrl-C
  see every alert as it comes:
    target/release/kafka-wasm-host consume {ALERTS} --brokers {brokers} --from beginning
  send an earthquake, then a broken line:
    echo '{QUAKE}' | target/release/kafka-wasm-host produce {input} --brokers {brokers}
    echo 'not an earthquake' | target/release/kafka-wasm-host produce {input} --brokers {brokers}
  read what was refused, and why:
    target/release/kafka-wasm-host consume {dead_letters} --brokers {brokers} --from beginning
  be greeted by the smallest handler:
    echo World | target/release/kafka-wasm-host produce names{suffix} --brokers {brokers}
    target/release/kafka-wasm-host consume greetings --brokers {brokers} --from beginning --count 1
  change examples/earthquakes, then replace it while it runs:
    cargo xtask guests && cp target/handlers/earthquakes/earthquakes.wasm target/demo/handlers/earthquakes/
  look inside:
    http://{http}/readyz   http://{http}/metrics   target/demo/host.log",
        dead_letters = topics.dead_letters,
        suffix = topics.suffix,
    )
}

/// Returns a name that no earlier run on the same Kafka has used.
pub(crate) fn run_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    format!(
        "{}-{}",
        since.unwrap_or(Duration::ZERO).as_secs(),
        process::id()
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Feed, QUAKE, Topics, json, rename, what_to_try};
    use crate::sh::root;

    /// The fields of the struct `Quake` that an example reads values as, with their types.
    fn fields(example: &str) -> Vec<(String, String)> {
        let source = root().join("examples").join(example).join("src/lib.rs");
        let source = fs::read_to_string(source).unwrap();
        let (_, rest) = source.split_once("struct Quake {").unwrap();
        let (fields, _) = rest.split_once('}').unwrap();
        fields
            .lines()
            .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect()
    }

    #[test]
    fn the_earthquake_to_try_is_one_for_both_handlers_and_alerts() {
        for example in ["earthquakes", "summaries"] {
            let fields = fields(example);
            assert!(!fields.is_empty());
            for (name, kind) in fields {
                let found = json::field(QUAKE, &name);
                assert!(found.is_some(), "{example} needs {name}");
                let is_number = json::number(QUAKE, &name).is_some();
                assert_eq!(is_number, kind != "String", "{example}: {name} is a {kind}");
            }
        }
        let magnitude = json::number(QUAKE, "magnitude").unwrap();
        assert!(magnitude >= Feed::read().unwrap().threshold);
        let told = what_to_try(&Topics::new("-7".to_owned()), "kafka:9092", "here:80");
        let line =
            format!("echo '{QUAKE}' | target/release/kafka-wasm-host produce earthquakes-7 ");
        assert!(told.contains(&line), "{told}");
    }

    #[test]
    fn only_topics_and_groups_are_renamed() {
        let manifest = "topics = [\"a\", \"b\"]\ngroup = \"g\"\n[config]\nalerts-topic = \"c\"\nname = \"d\"\n";
        let renamed = "topics = [\"a-1\", \"b-1\"]\ngroup = \"g-1\"\n[config]\nalerts-topic = \"c-1\"\nname = \"d\"\n";
        assert_eq!(rename(manifest, "-1"), renamed);
        assert_eq!(rename(manifest, ""), manifest);
    }
}
