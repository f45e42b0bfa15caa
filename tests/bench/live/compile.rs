//! How many components are compiled in a second, and what it does to records that several are compiled at once.
//!
//! First a host starts with components that nobody has compiled. Then a handler has a steady load of a third of what gets through
//! at most, while those beside it, which are idle, are replaced by components that have to be compiled.
//! **Invariant:** with and without take turns under one load, and all components were deployed.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{HandlersDir, Host, guest, remarked};

use super::load::{LANES, Load};
use super::seen::{Sample, Seen, Stretch};
use super::site::{PATIENCE, Scene, Topics, published, wait_assigned};

/// What the steady load takes of what gets through at most.
const SHARE: f64 = 1.0 / 3.0;
const POLL: Duration = Duration::from_millis(5);
const FIXTURE: &str = "act";

/// Measures and prints both tables.
pub(crate) fn print(scene: &Scene<'_>) -> Result<()> {
    cold(scene)?;
    println!();
    beside(scene)
}

fn name(nth: usize) -> String {
    format!("idle-{nth}")
}

/// Handlers without a record, all of the same component, each with a topic of its own; returns the topics.
fn idle(scene: &Scene<'_>, folder: &HandlersDir) -> Result<Vec<Topics>> {
    let one = |nth| {
        let topics = Topics::new(scene.kafka, "idle")?;
        folder.handler(&name(nth), guest(FIXTURE), &topics.manifest(""))?;
        Ok(topics)
    };
    (0..scene.options.components).map(one).collect()
}

fn delete(scene: &Scene<'_>, all: &[Topics]) -> Result<()> {
    all.iter().try_for_each(|topics| topics.delete(scene.kafka))
}

/// Gives each of them a component that nobody has seen.
fn replace(folder: &HandlersDir, count: usize, remark: &str) -> Result<()> {
    let component = fs::read(guest(FIXTURE))?;
    for nth in 0..count {
        let component = remarked(&component, &format!("{remark} {nth}"));
        folder.swap_component_bytes(&name(nth), &component)?;
    }
    Ok(())
}

fn wait_published(host: &Host, count: usize) -> Result<()> {
    // Finer than others wait, since it is timed.
    let began = Instant::now();
    while published(host)? < count && began.elapsed() < PATIENCE {
        thread::sleep(POLL);
    }
    let now = published(host)?;
    ensure!(now >= count, "{now} of {count}\n{}", host.tail());
    Ok(())
}

fn cold(scene: &Scene<'_>) -> Result<()> {
    let count = scene.options.components;
    let folder = HandlersDir::new()?;
    let topics = idle(scene, &folder)?;
    replace(&folder, count, "cold")?;
    let cache = tempfile::tempdir()?;
    let mut times = Vec::new();
    for _ in ["cold", "warm"] {
        let began = Instant::now();
        let host = scene.start_with(&folder, "", cache.path())?;
        wait_published(&host, count)?;
        times.push(began.elapsed());
        host.stop()?;
    }
    delete(scene, &topics)?;
    let bytes = fs::metadata(guest(FIXTURE))?.len();
    println!(
        "{count} components of {} KB, from the start of the host until all are deployed\n\n\
         | Cache | Time | Components/s |\n|---|---:|---:|",
        bytes / 1000
    );
    for (name, time) in ["empty", "full"].into_iter().zip(times) {
        let seconds = time.as_secs_f64();
        println!(
            "| {name} | {seconds:.2} s | {:.1} |",
            count as f64 / seconds
        );
    }
    Ok(())
}

fn beside(scene: &Scene<'_>) -> Result<()> {
    let (count, rate) = (scene.options.components, scene.rate(SHARE)?);
    let topics = Topics::new(scene.kafka, "calm")?;
    let folder = HandlersDir::new()?;
    folder.handler("calm", guest("pass"), &topics.manifest(""))?;
    let others = idle(scene, &folder)?;
    let host = scene.start(&folder, "")?;
    for topics in others.iter().chain([&topics]) {
        wait_assigned(&host, &topics.group)?;
    }
    let load = Load::start(scene.kafka, &topics.input, &topics.output, rate)?;
    let (mut alone, mut compiling) = (Vec::new(), Vec::new());
    for nth in 1..=scene.options.rounds {
        alone.push(load.stretch(scene.options.stretch(), |_| Ok(()))?);
        let wanted = published(&host)? + count;
        // As long as it takes.
        compiling.push(load.stretch(Duration::ZERO, |_| {
            replace(&folder, count, &format!("beside {nth}"))?;
            wait_published(&host, wanted)
        })?);
        let took = compiling.last().map(|it| it.to.saturating_sub(it.from));
        eprintln!(
            "  round {nth}: {count} components in {:.1?}",
            took.unwrap_or_default()
        );
        load.settle()?;
    }
    let samples = load.finish()?;
    host.stop()?;
    topics.delete(scene.kafka)?;
    delete(scene, &others)?;
    table(&samples, rate, &alone, &compiling);
    println!("\n{count} components each time.");
    Ok(())
}

fn table(samples: &[Sample], rate: u32, alone: &[Stretch], compiling: &[Stretch]) {
    println!(
        "A handler with {rate} records/s\n\n\
         | Meanwhile | Time | Records/s | p50 | p99 | of that alone | Longest | Longest gap of a partition |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|"
    );
    let calm = Seen::within(samples, alone, LANES).at_ms(99);
    for (name, stretches) in [("nothing", alone), ("components are compiled", compiling)] {
        let seen = Seen::within(samples, stretches, LANES);
        let time: Duration = stretches
            .iter()
            .map(|it| it.to.saturating_sub(it.from))
            .sum();
        println!(
            "| {name} | {:.1} s | {:.0} | {:.1} ms | {:.1} ms | {:.2} × | {:.1} ms | {:.1} ms |",
            time.as_secs_f64(),
            seen.per_s.min(seen.sent_per_s),
            seen.at_ms(50),
            seen.at_ms(99),
            seen.at_ms(99) / calm,
            seen.at_ms(100),
            seen.gap.as_secs_f64() * 1e3,
        );
    }
}
