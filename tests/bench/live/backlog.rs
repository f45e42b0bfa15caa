//! How fast the host works off a backlog, with or without swaps meanwhile.
//!
//! **Invariant:** a run counts only when as many records came out as went in.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::kafka::unique;
use harness::{HandlersDir, guest};

use super::site::{PATIENCE, Scene, published};
use crate::inputs::{Input, PARTITIONS};
use crate::run::Progress;
use crate::subject::manifest;
use crate::usage;

const POLL: Duration = Duration::from_millis(10);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Drained {
    /// From the first output to the last.
    pub(crate) records_per_s: f64,
    /// CPU time of the host from its start on, in microseconds a record.
    pub(crate) cpu_us: f64,
    /// Revisions that were published after the first.
    pub(crate) swaps: usize,
}

/// Lets a host work off a backlog whose handler is replaced each `every`, if at all.
pub(crate) fn drain(scene: &Scene<'_>, input: &Input, every: Option<Duration>) -> Result<Drained> {
    let (kafka, group, output) = (scene.kafka, unique("drain"), unique("drained"));
    kafka.create_topic(&output, PARTITIONS, &[])?;
    let manifest = |label: usize| {
        let manifest = manifest(&input.topic, &group, &output, "");
        format!("{manifest}label = \"v{label}\"\n")
    };
    let folder = HandlersDir::new()?;
    folder.handler("bench", guest("pass"), &manifest(1))?;
    let progress = Progress::outputs(kafka, &output)?;
    let host = scene.start(&folder, "")?;
    let (mut first, mut label, mut swapped) = (None, 1, Instant::now());
    let began = Instant::now();
    let records_per_s = loop {
        let (count, now) = (progress.count()?, Instant::now());
        if count > 0 && first.is_none() {
            first = Some((count, now));
        }
        let (first_count, first_at) = first.unwrap_or((count, now));
        if count >= input.records {
            let seconds = (now - first_at).as_secs_f64().max(1e-3);
            break (count - first_count) as f64 / seconds;
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "{count} records\n{}",
            host.tail()
        );
        if count > 0 && every.is_some_and(|every| swapped.elapsed() >= every) {
            label += 1;
            folder.swap_manifest("bench", &manifest(label))?;
            swapped = now;
        }
        thread::sleep(POLL);
    };
    let cpu = usage::cpu(host.pid())?;
    let swaps = published(&host)?.saturating_sub(1);
    host.stop()?;
    let count = progress.count()?;
    ensure!(
        count == input.records,
        "{count} outputs of {} records",
        input.records
    );
    kafka.delete_topic(&output)?;
    Ok(Drained {
        records_per_s,
        cpu_us: cpu.as_secs_f64() * 1e6 / input.records as f64,
        swaps,
    })
}
