//! What it costs records that their handler is replaced each 300 ms.
//!
//! First under a steady load of half of what gets through at most: how long records take, and the longest time without a record of
//! a partition. Then at full speed: how fast a backlog is worked off.
//! **Invariant:** with and without swaps take turns under one load, and nothing is lost.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::{HandlersDir, guest, remarked};

use super::backlog::drain;
use super::load::{LANES, Load};
use super::seen::{Sample, Seen, Stretch};
use super::site::{Scene, Topics, each, published, wait_assigned};

/// How often the handler is replaced.
const EVERY: Duration = Duration::from_millis(300);
/// What the steady load takes of what gets through at most.
const SHARE: f64 = 0.5;
/// The last swap of a stretch is over by then.
const OVER: Duration = Duration::from_secs(1);
const HANDLER: &str = "bench";

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swap {
    Nothing,
    Manifest,
    /// By one of two components that were compiled before.
    Known,
    /// By a component that has to be compiled.
    New,
}

const SWAPS: [(Swap, &str); 4] = [
    (Swap::Nothing, "without swaps"),
    (Swap::Manifest, "another manifest"),
    (Swap::Known, "another component, compiled before"),
    (Swap::New, "another component, to be compiled"),
];

/// Measures and prints both tables.
pub(crate) fn print(scene: &Scene<'_>) -> Result<()> {
    steady(scene)?;
    println!();
    full(scene)
}

/// A handler that is replaced.
struct Swapped {
    topics: Topics,
    folder: HandlersDir,
    component: Vec<u8>,
    count: usize,
}

impl Swapped {
    fn new(scene: &Scene<'_>) -> Result<Self> {
        let topics = Topics::new(scene.kafka, "swaps")?;
        let folder = HandlersDir::new()?;
        folder.handler(HANDLER, guest("pass"), &topics.manifest(""))?;
        Ok(Self {
            topics,
            folder,
            component: fs::read(guest("pass"))?,
            count: 0,
        })
    }

    fn swap(&mut self, swap: Swap) -> Result<()> {
        self.count += 1;
        let remark = match swap {
            Swap::Nothing => return Ok(()),
            Swap::Manifest => {
                let manifest = self.topics.manifest("");
                let manifest = format!("{manifest}label = \"v{}\"\n", self.count);
                self.folder.swap_manifest(HANDLER, &manifest)?;
                return Ok(());
            }
            Swap::Known => format!("known {}", self.count % 2),
            Swap::New => format!("new {}", self.count),
        };
        let component = remarked(&self.component, &remark);
        self.folder.swap_component_bytes(HANDLER, &component)?;
        Ok(())
    }
}

fn steady(scene: &Scene<'_>) -> Result<()> {
    let rate = scene.rate(SHARE)?;
    let mut swapped = Swapped::new(scene)?;
    let host = scene.start(&swapped.folder, "")?;
    wait_assigned(&host, &swapped.topics.group)?;
    // Both of the components that are to be known.
    for _ in 0..2 {
        let before = published(&host)?;
        swapped.swap(Swap::Known)?;
        harness::wait_until("a swap", OVER * 30, || {
            published(&host).is_ok_and(|now| now > before)
        })?;
    }
    let (input, output) = (&swapped.topics.input, &swapped.topics.output);
    let load = Load::start(scene.kafka, input, output, rate)?;
    let mut stretches: Vec<(Swap, Stretch, usize)> = Vec::new();
    for nth in 1..=scene.options.rounds {
        for (swap, name) in SWAPS {
            let before = published(&host)?;
            let stretch = load.stretch(scene.options.stretch(), |until: Instant| {
                each(EVERY, until, || swapped.swap(swap))
            })?;
            thread::sleep(OVER);
            load.settle()?;
            let swaps = published(&host)? - before;
            eprintln!("  round {nth}: {name}, {swaps} swaps");
            stretches.push((swap, stretch, swaps));
        }
    }
    let samples = load.finish()?;
    host.stop()?;
    swapped.topics.delete(scene.kafka)?;
    println!(
        "{rate} records/s, a swap each {} ms\n\n\
         | Replaced | Swaps | p50 | p99 | of that without | Longest | Longest gap of a partition | of its sending |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|",
        EVERY.as_millis()
    );
    rows(&samples, &stretches);
    Ok(())
}

fn rows(samples: &[Sample], stretches: &[(Swap, Stretch, usize)]) {
    let of = |swap: Swap| stretches.iter().filter(move |(of, ..)| *of == swap);
    let seen = |swap| {
        let own: Vec<Stretch> = of(swap).map(|(_, stretch, _)| *stretch).collect();
        Seen::within(samples, &own, LANES)
    };
    let calm = seen(Swap::Nothing).at_ms(99);
    for (swap, name) in SWAPS {
        let (seen, swaps) = (seen(swap), of(swap).map(|(.., swaps)| swaps).sum::<usize>());
        println!(
            "| {name} | {swaps} | {:.1} ms | {:.1} ms | {:.2} × | {:.1} ms | {:.1} ms | {:.1} ms |",
            seen.at_ms(50),
            seen.at_ms(99),
            seen.at_ms(99) / calm,
            seen.at_ms(100),
            seen.gap.as_secs_f64() * 1e3,
            seen.gap_sent.as_secs_f64() * 1e3,
        );
    }
}

fn full(scene: &Scene<'_>) -> Result<()> {
    let input = scene.backlog()?;
    let kinds = [(None, "without swaps"), (Some(EVERY), "another manifest")];
    let mut runs = kinds.map(|_| Vec::new());
    for nth in 1..=scene.options.rounds {
        for ((every, name), runs) in kinds.iter().zip(&mut runs) {
            let run = drain(scene, input, *every)?;
            eprintln!("  run {nth}: {name}, {run:.1?}");
            runs.push(run);
        }
    }
    println!(
        "A backlog of {} records, median of {}\n\n\
         | Replaced | Swaps | Records/s | of that without | CPU a record |\n|---|---:|---:|---:|---:|",
        input.records, scene.options.rounds
    );
    let median = |all: Vec<f64>| super::quotas::median(all);
    let calm = median(runs[0].iter().map(|run| run.records_per_s).collect());
    for ((_, name), runs) in kinds.iter().zip(&runs) {
        let rate = median(runs.iter().map(|run| run.records_per_s).collect());
        let cpu = median(runs.iter().map(|run| run.cpu_us).collect());
        let swaps: usize = runs.iter().map(|run| run.swaps).sum();
        println!(
            "| {name} | {swaps} | {rate:.0} | {:.2} × | {cpu:.2} µs |",
            rate / calm
        );
    }
    Ok(())
}
