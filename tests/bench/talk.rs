//! Requests and responses between two hosts, and between two applications of kafka-python-app.
//!
//! **Invariant:** each side is a process of its own, and all variants have topics of the same shape.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::kafka::unique;
use harness::python::Script;
use harness::{HandlersDir, Host, Kafka, Redis, TestRecord, clients, guest};
use serde_json::Value;

use crate::{Load, PATIENCE, Places, Talk, Times, usage};

/// Of both topics.
pub(crate) const PARTITIONS: i32 = 4;

/// The topics of a run.
pub(crate) struct Topics {
    pub(crate) requests: String,
    pub(crate) responses: String,
}

impl Topics {
    /// Creates them.
    pub(crate) fn create(kafka: &Kafka) -> Result<Self> {
        let [requests, responses] = ["requests", "responses"].map(unique);
        for topic in [&requests, &responses] {
            // The broker says when it wrote a record.
            let stamped = [("message.timestamp.type", "LogAppendTime")];
            kafka.create_topic(topic, PARTITIONS, &stamped)?;
        }
        Ok(Self {
            requests,
            responses,
        })
    }

    /// Deletes them, when those who read them have ended.
    pub(crate) fn delete(&self, kafka: &Kafka) -> Result<()> {
        kafka.delete_topic(&self.requests)?;
        kafka.delete_topic(&self.responses)
    }
}

/// Returns the number after a name in JSON.
pub(crate) fn number(text: &str, name: &str) -> Result<u64> {
    let rest = text.split_once(name).map(|(_, rest)| rest);
    let digits = rest.and_then(|rest| rest.split([',', '}']).next());
    Ok(digits.context("a response without a time")?.parse()?)
}

/// How two hosts are set up, beside the defaults.
#[derive(Debug, Default)]
pub(crate) struct Setup<'a> {
    /// More keys of the manifest of the handler that answers.
    pub(crate) answering: &'a str,
    /// Where the host that asks keeps what it waits for, if not in memory.
    pub(crate) store: Option<&'a Redis>,
}

/// One host asks by as many guests as there are askers, the other answers.
pub(crate) fn between_hosts(kafka: &Kafka, load: Load, setup: &Setup<'_>) -> Result<Talk> {
    let topics = Topics::create(kafka)?;
    let [input, output] = ["asked", "told"].map(unique);
    kafka.create_topic(&input, 1, &[])?;
    kafka.create_topic(&output, 1, &[])?;
    let (askers, answerers) = (HandlersDir::new()?, HandlersDir::new()?);
    let manifest = format!("topics = [\"{}\"]\n{}", topics.requests, setup.answering);
    answerers.handler("answers", guest("converse"), &manifest)?;
    let manifest = format!(
        "topics = [\"{input}\"]\nordering = \"none\"\nconcurrency = {count}\nconfig.output = \"{output}\"\n\
         limits.in-flight-records = {count}\nlimits.pending-requests = {count}\n\
         response = [{{ topic = \"{}\", event = \"priced\" }}]\n",
        topics.responses,
        count = load.askers,
    );
    askers.handler("asks", guest("converse"), &manifest)?;
    // Three of four instances may wait.
    let instances = (load.askers * 2 + 8).to_string();
    let config = tempfile::NamedTempFile::new()?;
    let path = config.path().display().to_string();
    let start = |folder: &HandlersDir, store: Option<&Redis>| {
        let store = store.map(Redis::url);
        let text = store.map(|url| format!("[response]\nstore = \"{url}\"\n"));
        std::fs::write(config.path(), text.unwrap_or_default())?;
        Host::builder(kafka.bootstrap())
            .handlers(folder.path())
            .args(["--instances-max", &instances, "--config", &path])
            .start_ready()
    };
    let hosts = [start(&askers, setup.store)?, start(&answerers, None)?];
    let before = cpu(&hosts)?;
    let text = format!("ask {} {}", load.each, topics.requests);
    let asks = (0..load.askers).map(|nth| TestRecord::new(nth.to_string(), text.clone()));
    clients::produce_records(kafka.bootstrap(), &input, asks)?;
    let told = clients::consume_until(kafka.bootstrap(), &output, load.askers, PATIENCE);
    let told = told.with_context(|| hosts.iter().map(Host::tail).collect::<String>())?;
    let after = cpu(&hosts)?;
    for host in hosts {
        host.stop()?;
    }
    for topic in [&input, &output] {
        kafka.delete_topic(topic)?;
    }
    topics.delete(kafka)?;
    let times = told
        .iter()
        .map(|record| record.text().lines().map(times).collect());
    Ok(Talk {
        times: times.collect::<Result<_>>()?,
        cpu: Some([0, 1].map(|nth| after[nth].saturating_sub(before[nth]))),
    })
}

fn cpu(hosts: &[Host; 2]) -> Result<[Duration; 2]> {
    let [asks, answers] = hosts;
    Ok([usage::cpu(asks.pid())?, usage::cpu(answers.pid())?])
}

/// What a guest tells of a request.
fn times(line: &str) -> Result<Times> {
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[asked_us, written_ms, at_us, answered_ms, took_us] = numbers.as_slice() else {
        anyhow::bail!("{line:?} are not five numbers");
    };
    let places = Places {
        asked_us,
        written_ms,
        at_us,
        answered_ms,
    };
    Ok(Times {
        took_us,
        places: Some(places),
    })
}

/// One application asks by as many tasks as there are askers, the other answers by an asynchronous handler.
pub(crate) fn between_python_apps(kafka: &Kafka, load: Load) -> Result<Talk> {
    let topics = Topics::create(kafka)?;
    let (bootstrap, requests, responses) = (kafka.bootstrap(), &topics.requests, &topics.responses);
    let answers = Script::start("answers.py", [bootstrap, requests, responses])?;
    let request = "{\"event\":\"price\",\"count\":NUMBER}";
    let (askers, each) = (load.askers.to_string(), load.each.to_string());
    let options = ["--reply-to", "--askers", &askers, "--each", &each];
    let args = [bootstrap, requests, responses, "priced", request];
    let asks = Script::start("asks.py", args.into_iter().chain(options))?;
    let lines = asks.lines(PATIENCE).with_context(|| answers.tail())?;
    drop(answers);
    topics.delete(kafka)?;
    let times = |line: &String| {
        let told: Value = serde_json::from_str(line)?;
        ensure!(told["error"].is_null(), "{line}");
        Ok(Times {
            took_us: told["took_us"].as_u64().context("no time")?,
            places: None,
        })
    };
    // The lines of an asker follow each other.
    let times = lines
        .chunks(load.each)
        .map(|asker| asker.iter().map(times).collect());
    Ok(Talk {
        times: times.collect::<Result<_>>()?,
        cpu: None,
    })
}
