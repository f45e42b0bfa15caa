//! Two hundred swaps while the host has more to do than it can.
//!
//! One host serves a handler of each ordering and each delivery, and one that waits for answers; each is replaced again and
//! again, mostly by another manifest, now and then by another component.
//! **Invariant:** what is judged is read back from Kafka: what each record became, and under which revision.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::{HandlersDir, Host, TestRecord, clients, guest, remarked, wait_until};
use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, count_lines, field, start, wait_lines};

const PARTITIONS: i32 = 4;
const KEYS: u64 = 40;
/// Rounds, in each of which all six handlers are replaced.
const ROUNDS: usize = 34;
/// In one round of so many the components are others, too.
const ROUNDS_PER_COMPONENT: usize = 8;
/// Outputs of each handler before the first swap.
const CALM: u64 = 10_000;

/// A handler, and what it is fed.
struct Swapped {
    stage: Stage,
    /// As many partitions as the input: records that share one there share one here.
    output: String,
    fixture: &'static str,
    /// Keys of the manifest.
    keys: String,
    ordering: &'static str,
    /// The records of one batch that is written, and how many may wait for the host.
    batch: u64,
}

impl Swapped {
    fn new(name: &str, ordering: &'static str, more: &str) -> Self {
        let stage = Stage::new(name, PARTITIONS);
        let output = format!("{}.wide", stage.name);
        stage.create_topic(&output, PARTITIONS);
        Self {
            output,
            stage,
            fixture: "label",
            keys: format!("ordering = \"{ordering}\"\n{more}"),
            ordering,
            batch: 3000,
        }
    }

    /// One whose handler asks, and the handler that answers, which is swapped too.
    fn asking() -> [Self; 2] {
        let mut asks = Self::new("swap-asks", "key", "");
        let mut answers = Self::new("swap-answers", "none", "");
        let responses = format!("{}.responses", asks.stage.name);
        asks.stage.create_topic(&responses, PARTITIONS);
        asks.keys += &format!("response = [{{ topic = \"{responses}\" }}]");
        for it in [&mut asks, &mut answers] {
            it.fixture = "act";
            it.batch = 20;
        }
        [asks, answers]
    }

    fn manifest(&self, round: usize) -> String {
        let more = format!("config.label = \"v{round:03}\"\n{}", self.keys);
        let manifest = self.stage.manifest(&more);
        manifest.replace(
            &format!("\"{}\"", self.stage.output),
            &format!("\"{}\"", self.output),
        )
    }

    fn ends(&self) -> u64 {
        let ends = clients::end_offsets(&self.stage.bootstrap, &self.output).unwrap();
        let sum: i64 = ends.iter().map(|(_, end)| end).sum();
        u64::try_from(sum).unwrap()
    }

    /// Writes until it is told to stop, never far ahead of the host; returns how many records.
    fn feed(&self, questions: Option<&str>, stop: &AtomicBool) -> u64 {
        let record = |n: u64| {
            let value = match questions {
                Some(topic) => format!("ask {topic} 60000 answer {n}"),
                None => n.to_string(),
            };
            TestRecord::new(format!("key-{}", n % KEYS), value)
        };
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let batch = next..next + self.batch;
            next = batch.end;
            self.stage.produce_records(batch.map(record));
            wait_until("the host comes after", PATIENCE * 2, || {
                self.ends() + 3 * self.batch >= next
            })
            .unwrap();
        }
        next
    }

    /// The number that a record was written with.
    fn number(&self, output: &TestRecord) -> u64 {
        let text = match self.fixture {
            "act" => field(output, "result"),
            _ => output.text(),
        };
        text.parse()
            .unwrap_or_else(|_| panic!("{}: {text}", self.stage.name))
    }

    fn label(&self, output: &TestRecord) -> String {
        match self.fixture {
            "act" => field(output, "label"),
            _ => output.header_text("label").unwrap(),
        }
    }

    /// What revisions of records that keep their order may not go back in.
    fn lane(&self, output: &TestRecord) -> Option<String> {
        match self.ordering {
            "partition" => output.partition.map(|partition| partition.to_string()),
            "key" => Some(output.key_text()),
            _ => None,
        }
    }

    /// Judges all outputs, in the order in which each partition has them.
    fn judge(&self, host: &Host, written: u64) {
        let name = &self.stage.name;
        let total = usize::try_from(written).unwrap();
        let outputs = self.stage.exactly(&self.output, host, total);
        let (mut numbers, mut labels) = (BTreeSet::new(), BTreeSet::new());
        let mut last_number: BTreeMap<String, u64> = BTreeMap::new();
        let mut last_label: BTreeMap<String, String> = BTreeMap::new();
        for output in &outputs {
            let (number, label) = (self.number(output), self.label(output));
            assert!(numbers.insert(number), "{name}: {number} came twice");
            if let Some(lane) = self.lane(output) {
                let before = last_number.insert(output.key_text(), number);
                assert!(
                    before.is_none_or(|before| before < number),
                    "{name}: {number} after {before:?}"
                );
                let before = last_label.insert(lane, label.clone());
                assert!(
                    before.as_ref().is_none_or(|before| *before <= label),
                    "{name}: {label} after {before:?}"
                );
            }
            labels.insert(label);
        }
        assert_eq!(numbers.last(), Some(&(written - 1)), "{name}");
        println!("{name}: {total} records under {} revisions", labels.len());
        assert!(
            labels.len() > ROUNDS / 2,
            "{name}: swaps under load, not after it: {labels:?}"
        );
    }
}

/// Stops those who feed, also where the claim fails: they would be waited for.
struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_swap_under_full_load_loses_repeats_and_reorders_nothing() {
    let once = "delivery = \"exactly-once\"";
    let [asks, answers] = Swapped::asking();
    let swapped = [
        Swapped::new("swap-partition", "partition", ""),
        Swapped::new("swap-key", "key", ""),
        Swapped::new("swap-none", "none", ""),
        Swapped::new("swap-once", "partition", once),
        Swapped::new("swap-key-once", "key", once),
        asks,
    ];
    let all = || swapped.iter().chain([&answers]);
    let folder = HandlersDir::new().unwrap();
    for it in all() {
        let component = guest(it.fixture);
        folder
            .swap_in(&it.stage.name, component, &it.manifest(1))
            .unwrap();
    }
    let host = start(&answers.stage.bootstrap, folder.path(), &[]);

    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let feeds = swapped.each_ref().map(|it| {
            let questions = (it.fixture == "act").then_some(answers.stage.input.as_str());
            let stop = &stop;
            scope.spawn(move || it.feed(questions, stop))
        });
        let stops = Stops(&stop);
        wait_until("a calm start", PATIENCE * 2, || {
            let mut quick = swapped.iter().filter(|it| it.batch > 100);
            quick.all(|it| it.ends() > CALM)
        })
        .unwrap();
        let began = Instant::now();
        for round in 2..=ROUNDS + 1 {
            for it in all() {
                if round % ROUNDS_PER_COMPONENT == 0 {
                    let component = fs::read(guest(it.fixture)).unwrap();
                    let component = remarked(&component, &format!("remark {round}"));
                    folder
                        .swap_component_bytes(&it.stage.name, &component)
                        .unwrap();
                }
                folder
                    .swap_manifest(&it.stage.name, &it.manifest(round))
                    .unwrap();
            }
            for it in all() {
                wait_lines(
                    &host,
                    &[" deployed ", &format!("handler={} ", it.stage.name)],
                    round,
                );
            }
            // Each revision has records, also where one is deployed faster than it is fed.
            let before = swapped.each_ref().map(Swapped::ends);
            for (it, before) in swapped.iter().zip(before) {
                wait_until("outputs of the new revision", PATIENCE, || {
                    it.ends() > before
                })
                .unwrap();
            }
        }
        let (swaps, took) = (ROUNDS * all().count(), began.elapsed());
        println!("{swaps} swaps in {:.1} s", took.as_secs_f32());
        assert!(
            took < Duration::from_secs(180),
            "200 in a minute on a machine that does nothing else"
        );
        drop(stops);
        feeds.map(|feed| feed.join().unwrap())
    });
    for (it, written) in swapped.iter().zip(written) {
        it.judge(&host, written);
    }
    assert_eq!(count_lines(&host, &["partitions revoked"]), 0);
}
