//! What an idle handler takes of memory, and what an instance takes that is kept for the next record.
//!
//! Each figure is a difference of two hosts that differ in their number only, divided by that. Each lane keeps an instance for
//! its next record, so there are more of them than may run at once.
//! **Invariant:** all partitions are assigned, or all instances live, before a host is looked at.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{HandlersDir, Host, Kafka, TestRecord, clients, guest, wait_until};

use super::site::{PATIENCE, Scene, Topics};
use crate::inputs::PARTITIONS;
use crate::usage::memory_bytes;

/// Records of each instance, and of how many there are outputs when it is looked at.
const EACH: usize = 12;
const DONE: usize = 4;
/// An idle host has done by then all that it does at its start.
const SETTLED: Duration = Duration::from_secs(3);
/// How many instances may run at once, of the two hosts that are compared.
const CONCURRENCY: [usize; 2] = [1, 64];
const TRUSTED: &str = "[tenants.default]\ntrusted = true\n";

/// Measures and prints the table.
pub(crate) fn print(scene: &Scene<'_>) -> Result<()> {
    println!(
        "| Resident memory | Host with few | with many | each, resident | each, of its own |\n|---|---:|---:|---:|---:|"
    );
    let idle = &scene.options.idle;
    let (few, many) = (idle[0], idle[1]);
    ensure!(few < many, "--idle {few} {many}: few, then many");
    let found = [idle_host(scene, few)?, idle_host(scene, many)?];
    row("an idle handler of one group", found);
    for (name, settings) in [
        ("a warm instance", ""),
        ("a warm instance, trusted", TRUSTED),
    ] {
        let mut found = [Memory::default(); 2];
        for (concurrency, found) in CONCURRENCY.into_iter().zip(&mut found) {
            *found = warm_host(scene, concurrency, settings)?;
        }
        row(name, found);
    }
    Ok(())
}

/// Resident bytes of a host with so many of something, and those among them that are not backed by a file.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    count: f64,
    resident: u64,
    own: u64,
}

impl Memory {
    fn of(host: &Host, count: f64) -> Result<Self> {
        Ok(Self {
            count,
            resident: memory_bytes(host.pid(), "VmRSS")?,
            own: memory_bytes(host.pid(), "RssAnon")?,
        })
    }
}

fn row(name: &str, [few, many]: [Memory; 2]) {
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let count = many.count - few.count;
    let each = |few: u64, many: u64| {
        let kib = (many as f64 - few as f64) / 1024.0;
        kib / count
    };
    println!(
        "| {name} | {}: {:.1} MiB | {}: {:.1} MiB | {:.0} KiB | {:.0} KiB |",
        few.count,
        mib(few.resident),
        many.count,
        mib(many.resident),
        each(few.resident, many.resident),
        each(few.own, many.own),
    );
}

/// A host with so many handlers of one group, each with a topic of one partition.
fn idle_host(scene: &Scene<'_>, count: usize) -> Result<Memory> {
    let group = harness::kafka::unique("idle");
    let folder = HandlersDir::new()?;
    for nth in 0..count {
        let topic = format!("{group}-{nth}");
        scene.kafka.create_topic(&topic, 1, &[])?;
        let manifest = crate::subject::manifest(&topic, &group, "nothing", "");
        folder.handler(&format!("idle-{nth}"), guest("pass"), &manifest)?;
        if nth == 0 {
            scene.warm(&folder, "")?;
        }
    }
    let host = scene.start(&folder, "")?;
    wait_until("all partitions", PATIENCE, || {
        let assigned = host.metric("kafka_wasm_assigned_partitions", &[]);
        assigned.is_ok_and(|assigned| assigned >= count as f64)
    })?;
    thread::sleep(SETTLED);
    let memory = Memory::of(&host, count as f64)?;
    eprintln!("  {count} handlers: {memory:?}");
    host.stop()?;
    for nth in 0..count {
        scene.kafka.delete_topic(&format!("{group}-{nth}"))?;
    }
    Ok(memory)
}

/// A host of which so many instances may run at once, and all have handled records.
fn warm_host(scene: &Scene<'_>, instances: usize, settings: &str) -> Result<Memory> {
    let topics = Topics::new(scene.kafka, "warm")?;
    let folder = HandlersDir::new()?;
    let keys = format!("ordering = \"none\"\nconcurrency = {instances}\n");
    folder.handler("warm", guest("act"), &topics.manifest(&keys))?;
    scene.warm(&folder, settings)?;
    sleepers(scene.kafka, &topics.input, instances)?;
    let progress = crate::run::Progress::outputs(scene.kafka, &topics.output)?;
    let host = scene.start(&folder, settings)?;
    // An instance that has nothing to do is given up after a while, so it is looked at while there is more.
    wait_until("outputs", PATIENCE, || {
        let count = progress.count();
        count.is_ok_and(|count| count >= (DONE * instances) as u64)
    })?;
    let alive = host.metric("kafka_wasm_instances", &[])?;
    let memory = Memory::of(&host, alive)?;
    eprintln!("  {instances} instances at once: {memory:?}");
    ensure!(alive >= instances as f64, "{alive} of {instances} live");
    host.stop()?;
    topics.delete(scene.kafka)?;
    Ok(memory)
}

/// Records for each instance that keep it busy long enough for all others to be needed.
fn sleepers(kafka: &Kafka, topic: &str, instances: usize) -> Result<()> {
    let records = (0..EACH * instances).map(|nth| {
        let partition = i32::try_from(nth).unwrap_or_default() % PARTITIONS;
        TestRecord::new(nth.to_string(), "sleep 100").on(partition)
    });
    clients::produce_records(kafka.bootstrap(), topic, records).map(drop)
}
