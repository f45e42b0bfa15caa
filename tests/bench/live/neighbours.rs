//! What a tenant that does its work feels of a neighbour that does none, or too much.
//!
//! The calm tenant has a steady load of a third of what gets through at most. It is alone, then beside each enemy in turn, which has no
//! quotas at first and quotas after that, and alone again in between.
//! **Invariant:** every enemy was at work in its stretch, and no record of the calm tenant is lost.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{HandlersDir, Host, guest, remarked};

use super::enemies::{Deed, ENEMIES, Enemy, QUOTAS, manifest};
use super::load::{LANES, Load};
use super::seen::{Sample, Seen, Stretch};
use super::site::{Scene, Topics, each, published, tenant, wait_assigned};

/// What the calm tenant takes of what gets through at most.
const SHARE: f64 = 1.0 / 3.0;
/// A new component each so long is more than the host can compile of this size.
const COMPILE_EVERY: Duration = Duration::from_millis(160);
/// After each so many enemies the calm tenant is alone for a while.
const ENEMIES_PER_PAUSE: usize = 4;
/// What an enemy left behind is gone by then.
const GONE: Duration = Duration::from_secs(1);
/// An enemy that takes long to begin is at work by then.
const BEGUN: Duration = Duration::from_millis(300);

/// One host, the load of its calm tenant, and who is beside it.
struct Street<'a> {
    scene: &'a Scene<'a>,
    folder: &'a HandlersDir,
    host: Host,
    load: Load,
}

/// Measures and prints the table.
pub(crate) fn print(scene: &Scene<'_>) -> Result<()> {
    let rate = scene.rate(SHARE)?;
    let topics = Topics::new(scene.kafka, "calm")?;
    let folder = HandlersDir::new()?;
    folder.handler("calm/bench", guest("pass"), &topics.manifest(""))?;
    folder.swap_text("calm", "tenant.toml", &tenant(""))?;
    let host = scene.start(&folder, "")?;
    wait_assigned(&host, &topics.group)?;
    let load = Load::start(scene.kafka, &topics.input, &topics.output, rate)?;
    let street = Street {
        scene,
        folder: &folder,
        host,
        load,
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for has_quotas in [false, true] {
        for (nth, enemy) in ENEMIES.iter().enumerate() {
            if nth.is_multiple_of(ENEMIES_PER_PAUSE) {
                alone.push(street.alone()?);
            }
            let stretch = street.beside(enemy, has_quotas);
            let stretch = stretch.with_context(|| enemy.name);
            let stretch = stretch.with_context(|| street.host.tail())?;
            beside.push(stretch);
        }
    }
    alone.push(street.alone()?);
    let Street { host, load, .. } = street;
    let samples = load.finish()?;
    host.stop()?;
    topics.delete(scene.kafka)?;
    table(&samples, rate, &alone, &beside);
    Ok(())
}

impl Street<'_> {
    fn alone(&self) -> Result<Stretch> {
        self.load.stretch(self.scene.options.stretch(), |_| Ok(()))
    }

    /// A stretch beside an enemy, which comes before it and is gone after it.
    fn beside(&self, enemy: &Enemy, has_quotas: bool) -> Result<Stretch> {
        let (kafka, folder, host) = (self.scene.kafka, self.folder, &self.host);
        let topics = Topics::new(kafka, "enemy")?;
        enemy.write(kafka, &topics.input)?;
        self.load.settle()?;
        let quotas = if has_quotas { QUOTAS } else { "" };
        folder.swap_text("enemy", "tenant.toml", &tenant(quotas))?;
        let text = topics.manifest(manifest(has_quotas));
        folder.swap_in("enemy/bench", guest("act"), &text)?;
        wait_assigned(host, &topics.group)?;
        let before = worked(host, enemy)?;
        thread::sleep(BEGUN);
        let component = fs::read(guest("act"))?;
        let mut count = 0;
        let stretch = self.load.stretch(self.scene.options.stretch(), |until| {
            if let Deed::Records(..) = enemy.deed {
                return Ok(());
            }
            each(COMPILE_EVERY, until, || {
                count += 1;
                let remark = format!("{} {count}", topics.group);
                let component = remarked(&component, &remark);
                folder.swap_component_bytes("enemy/bench", &component)?;
                Ok(())
            })
        })?;
        let worked = worked(host, enemy)? - before;
        eprintln!("  {}, quotas: {has_quotas}, {worked:.2}", enemy.name);
        ensure!(worked > 0.0, "it did nothing");
        folder.swap_out("enemy/bench")?;
        thread::sleep(GONE);
        topics.delete(kafka)?;
        self.load.settle()?;
        Ok(stretch)
    }
}

/// What an enemy has done so far: the revisions of all, or seconds for which its hooks ran.
fn worked(host: &Host, enemy: &Enemy) -> Result<f64> {
    match enemy.deed {
        Deed::Compile => Ok(published(host)? as f64),
        Deed::Records(..) => {
            let labels = [("tenant", "enemy")];
            // No series before its first record.
            let worked = host.metric("kafka_wasm_guest_cpu_seconds_total", &labels);
            Ok(worked.unwrap_or_default())
        }
    }
}

fn table(samples: &[Sample], rate: u32, alone: &[Stretch], beside: &[Stretch]) {
    println!(
        "The calm tenant: {rate} records/s\n\n\
         | Neighbour | Records/s | of those alone | p99 | of that alone | Records/s, neighbour with quotas | of those alone | p99 | of that alone |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    let within = |stretches: &[Stretch]| Seen::within(samples, stretches, LANES);
    let calm = within(alone);
    let figures = |seen: &Seen| {
        // Who catches up is quicker than what is sent, and no better for it.
        let (per_s, p99) = (seen.per_s.min(seen.sent_per_s), seen.at_ms(99));
        format!(
            "{per_s:.0} | {:.2} × | {p99:.1} ms | {:.2} × |",
            per_s / calm.per_s,
            p99 / calm.at_ms(99)
        )
    };
    println!("| nobody | {} – | – | – | – |", figures(&calm));
    let (without, with) = beside.split_at(ENEMIES.len());
    for ((enemy, without), with) in ENEMIES.iter().zip(without).zip(with) {
        let figures = [without, with].map(|stretch| figures(&within(&[*stretch])));
        println!("| {} | {} {}", enemy.name, figures[0], figures[1]);
    }
}
