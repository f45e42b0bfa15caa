//! How soon a host with a thousand handlers reads all of their partitions, and what it then has of the machine.
//!
//! The handlers are of twenty tenants. Once each has a group of its own, once those of a tenant share one. Their component is in
//! the cache, as it is at every start but a machine's first.
//! **Invariant:** all partitions are assigned before anything is looked at.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::kafka::unique;
use harness::{HandlersDir, Host, guest, wait_until};

use super::site::{PATIENCE, Scene, published};
use crate::subject::manifest;
use crate::usage;

const TENANTS: usize = 20;
const POLL: Duration = Duration::from_millis(20);

/// What a host took.
struct Taken {
    published: Duration,
    assigned: Duration,
    cpu: Duration,
    resident: u64,
    threads: usize,
    descriptors: usize,
    swap: Duration,
}

/// Measures and prints the table.
pub(crate) fn print(scene: &Scene<'_>) -> Result<()> {
    let all = scene.options.handlers;
    ensure!(
        all >= TENANTS && all.is_multiple_of(TENANTS),
        "--handlers {all}: a multiple of {TENANTS}"
    );
    println!(
        "{all} handlers\n\n\
         | Groups | All deployed | All assigned | CPU until then | Resident | Threads | Descriptors | A swap among them |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    for groups in [TENANTS, all] {
        let taken = measure(scene, groups)?;
        println!(
            "| {groups} | {:.1} s | {:.1} s | {:.1} s | {} MiB | {} | {} | {:.0} ms |",
            taken.published.as_secs_f64(),
            taken.assigned.as_secs_f64(),
            taken.cpu.as_secs_f64(),
            taken.resident >> 20,
            taken.threads,
            taken.descriptors,
            taken.swap.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

fn measure(scene: &Scene<'_>, groups: usize) -> Result<Taken> {
    let all = scene.options.handlers;
    let each = all / TENANTS;
    let base = unique("thousand");
    let topics: Vec<String> = (0..each).map(|nth| format!("{base}-{nth}")).collect();
    for topic in &topics {
        scene.kafka.create_topic(topic, 1, &[])?;
    }
    let name = |nth: usize| format!("tenant-{:02}/handler-{:03}", nth / each, nth % each);
    let text = |nth: usize, label: &str| {
        let group = format!("{base}-{}", nth * groups / all);
        let manifest = manifest(&topics[nth % each], &group, "nothing", "");
        format!("{manifest}label = \"{label}\"\n")
    };
    let folder = HandlersDir::new()?;
    folder.handler(&name(0), guest("label"), &text(0, "first"))?;
    scene.warm(&folder, "")?;
    for nth in 1..all {
        folder.handler(&name(nth), guest("label"), &text(nth, "first"))?;
    }
    let began = Instant::now();
    let host = scene.start(&folder, "")?;
    let mut deployed = None;
    let assigned = loop {
        let now = began.elapsed();
        // Each look at the metrics of a thousand handlers costs time; what is looked for first comes first.
        if deployed.is_none() {
            deployed = (published(&host)? >= all).then_some(now);
        } else if host.metric("kafka_wasm_assigned_partitions", &[])? >= all as f64 {
            break now;
        }
        ensure!(now < PATIENCE, "not all are assigned\n{}", host.tail());
        thread::sleep(POLL);
    };
    let cpu = usage::cpu(host.pid())?;
    thread::sleep(Duration::from_secs(3));
    let proc = format!("/proc/{}", host.pid());
    let count = |what: &str| anyhow::Ok(fs::read_dir(format!("{proc}/{what}"))?.count());
    let taken = Taken {
        published: deployed.unwrap_or(assigned),
        assigned,
        cpu,
        resident: usage::memory_bytes(host.pid(), "VmRSS")?,
        threads: count("task")?,
        descriptors: count("fd")?,
        swap: swap(&host, &folder, &name(all / 2), &text(all / 2, "second"))?,
    };
    host.stop()?;
    for topic in &topics {
        scene.kafka.delete_topic(topic)?;
    }
    Ok(taken)
}

/// How long it takes until a new revision serves, from the moment that its file is there.
fn swap(host: &Host, folder: &HandlersDir, name: &str, manifest: &str) -> Result<Duration> {
    let lines = || {
        let lines = host.lines();
        let told = |line: &&String| line.contains(" deployed ") && line.contains("changes=");
        lines.iter().filter(told).count()
    };
    let before = lines();
    let began = Instant::now();
    folder.swap_manifest(name, manifest)?;
    wait_until("the new revision", PATIENCE, || lines() > before)?;
    Ok(began.elapsed())
}
