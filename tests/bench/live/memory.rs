//! What an idle handler takes of memory, and what an instance takes that is kept for the next record.
//!
//! Each figure is a difference of two hosts that differ in their number only, divided by that.
//! **Invariant:** all partitions are assigned, or all instances live, before a host is looked at.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{HandlersDir, Host, Kafka, TestRecord, clients, guest, wait_until};

use super::site::{PATIENCE, Scene, Topics};
use crate::inputs::PARTITIONS;
use crate::usage::memory_bytes;

/// An idle host has done by then all that it does at its start.
const SETTLED: Duration = Duration::from_secs(3);
/// Of how many warm instances the memory is compared.
const INSTANCES: [usize; 2] = [1, 64];
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
    row("an idle handler of one group", [few, many], found);
    for (name, settings) in [
        ("a warm instance", ""),
        ("a warm instance, trusted", TRUSTED),
    ] {
        let mut found = [Memory::default(); 2];
        for (instances, found) in INSTANCES.into_iter().zip(&mut found) {
            *found = warm_host(scene, instances, settings)?;
        }
        row(name, INSTANCES, found);
    }
    Ok(())
}

/// Resident bytes, and those among them that are not backed by a file.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    resident: u64,
    own: u64,
}

impl Memory {
    fn of(host: &Host) -> Result<Self> {
        thread::sleep(SETTLED);
        Ok(Self {
            resident: memory_bytes(host.pid(), "VmRSS")?,
            own: memory_bytes(host.pid(), "RssAnon")?,
        })
    }
}

fn row(name: &str, counts: [usize; 2], [few, many]: [Memory; 2]) {
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let each = |few: u64, many: u64| {
        let kib = (many as f64 - few as f64) / 1024.0;
        kib / (counts[1] - counts[0]) as f64
    };
    println!(
        "| {name} | {}: {:.1} MiB | {}: {:.1} MiB | {:.0} KiB | {:.0} KiB |",
        counts[0],
        mib(few.resident),
        counts[1],
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
    }
    let host = scene.start(&folder, "")?;
    wait_until("all partitions", PATIENCE, || {
        let assigned = host.metric("kafka_wasm_assigned_partitions", &[]);
        assigned.is_ok_and(|assigned| assigned >= count as f64)
    })?;
    let memory = Memory::of(&host)?;
    eprintln!("  {count} handlers: {memory:?}");
    host.stop()?;
    for nth in 0..count {
        scene.kafka.delete_topic(&format!("{group}-{nth}"))?;
    }
    Ok(memory)
}

/// A host with so many instances that have handled records.
fn warm_host(scene: &Scene<'_>, instances: usize, settings: &str) -> Result<Memory> {
    let topics = Topics::new(scene.kafka, "warm")?;
    let folder = HandlersDir::new()?;
    let keys = format!("ordering = \"none\"\nconcurrency = {instances}\n");
    folder.handler("warm", guest("act"), &topics.manifest(&keys))?;
    let host = scene.start(&folder, settings)?;
    sleepers(scene.kafka, &topics.input, instances)?;
    wait_until("instances", PATIENCE, || {
        let alive = host.metric("kafka_wasm_instances", &[]);
        alive.is_ok_and(|alive| alive >= instances as f64)
    })?;
    let progress = crate::run::Progress::outputs(scene.kafka, &topics.output)?;
    wait_until("outputs", PATIENCE, || {
        progress
            .count()
            .is_ok_and(|count| count >= 4 * instances as u64)
    })?;
    let memory = Memory::of(&host)?;
    let alive = host.metric("kafka_wasm_instances", &[])?;
    eprintln!("  {instances} instances: {memory:?}, {alive} live");
    host.stop()?;
    topics.delete(scene.kafka)?;
    Ok(memory)
}

/// Four records for each instance that keep it busy long enough for all others to be needed.
fn sleepers(kafka: &Kafka, topic: &str, instances: usize) -> Result<()> {
    let records = (0..4 * instances).map(|nth| {
        let partition = i32::try_from(nth).unwrap_or_default() % PARTITIONS;
        TestRecord::new(nth.to_string(), "sleep 300").on(partition)
    });
    clients::produce_records(kafka.bootstrap(), topic, records).map(drop)
}
