//! A thousand handlers on one host: what they take while they have nothing to do.
//!
//! **Invariant:** all of them have their partitions before anything is measured, and one of them answers afterwards.

use std::fmt;
use std::fs;

use harness::{HandlersDir, Host, clients, guest, wait_until};
use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, start, value_on, wait_lines};

const TENANTS: usize = 20;
const HANDLERS: usize = 50;
const ALL: usize = TENANTS * HANDLERS;
const MIB: u64 = 1 << 20;
/// Threads of the host itself, however many handlers there are.
const THREADS_MAX: usize = 40;
/// Those of a consumer of librdkafka: its own, one of the host that polls it, and one for each broker.
const THREADS_OF_CONSUMER: usize = 6;

/// What a process has of the machine.
struct Taken {
    rss_mib: u64,
    threads: usize,
    descriptors: usize,
}

impl Taken {
    fn by(host: &Host) -> Self {
        let proc = format!("/proc/{}", host.pid());
        let count = |what: &str| fs::read_dir(format!("{proc}/{what}")).unwrap().count();
        Self {
            rss_mib: host.rss_bytes().unwrap() / MIB,
            threads: count("task"),
            descriptors: count("fd"),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rss_mib,
            threads,
            descriptors,
        } = self;
        write!(
            f,
            "{rss_mib} MiB, {threads} threads, {descriptors} descriptors"
        )
    }
}

fn name(nth: usize) -> String {
    format!("tenant-{:02}/handler-{:02}", nth / HANDLERS, nth % HANDLERS)
}

/// Serves a thousand handlers, of which the manifest is told by number; returns the host when all have their partitions.
fn serve(stage: &Stage, folder: &HandlersDir, partitions: f64) -> Host {
    let began = Instant::now();
    let host = start(&stage.bootstrap, folder.path(), &[]);
    wait_until("all have their partitions", PATIENCE * 4, || {
        let assigned = host.metric("kafka_wasm_assigned_partitions", &[]);
        assigned.is_ok_and(|assigned| assigned >= partitions)
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    println!("all assigned after {:.1} s", began.elapsed().as_secs_f32());
    host
}

fn folder(manifest: impl Fn(usize) -> String) -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    for nth in 0..ALL {
        folder
            .handler(&name(nth), guest("label"), &manifest(nth))
            .unwrap();
    }
    folder
}

#[test]
fn a_thousand_handlers_with_a_group_each_fit_in_one_and_a_half_gibibytes() {
    let stage = Stage::new("thousand", 1);
    let manifest = |nth: usize, label: &str| {
        let group = format!("{}-{nth}", stage.name);
        let manifest = stage.manifest(&format!("config.label = \"{label}\""));
        manifest.replace(
            &format!("group = \"{}\"", stage.name),
            &format!("group = \"{group}\""),
        )
    };
    let folder = folder(|nth| manifest(nth, "first"));
    let host = serve(&stage, &folder, 1000.0);
    let taken = Taken::by(&host);
    println!("a thousand groups: {taken}");
    assert!(taken.rss_mib <= 1536, "{taken}");

    assert!(
        taken.threads <= THREADS_MAX + ALL * THREADS_OF_CONSUMER,
        "{taken}"
    );

    // One of them is replaced, and it is the new one that answers.
    let began = Instant::now();
    let nth = ALL / 2;
    folder
        .swap_manifest(&name(nth), &manifest(nth, "second"))
        .unwrap();
    wait_lines(
        &host,
        &[
            " deployed ",
            "tenant=tenant-10 handler=handler-00 ",
            "changes=",
        ],
        1,
    );
    println!("a swap among them was seen after {:?}", began.elapsed());
    stage.produce(&["a record"]);
    let outputs = clients::consume_until(&stage.bootstrap, &stage.output, ALL, PATIENCE).unwrap();
    let second = outputs
        .iter()
        .filter(|it| it.header_text("label").unwrap() == "second");
    assert_eq!(second.count(), 1);
    let taken = Taken::by(&host);
    println!("after each has handled a record: {taken}");
    host.stop().unwrap();
}

#[test]
fn a_thousand_handlers_of_twenty_groups_fit_in_250_mib() {
    let stage = Stage::new("thousand-shared", 1);
    let topic = |nth: usize| format!("{}-{}", stage.input, nth % HANDLERS);
    for nth in 0..HANDLERS {
        stage.create_topic(&topic(nth), 1);
    }
    let folder = folder(|nth| {
        let manifest = stage.manifest("");
        let group = format!("{}-{}", stage.name, nth / HANDLERS);
        let manifest = manifest.replace(&stage.input, &topic(nth));
        manifest.replace(
            &format!("group = \"{}\"", stage.name),
            &format!("group = \"{group}\""),
        )
    });
    let host = serve(&stage, &folder, 1000.0);
    let taken = Taken::by(&host);
    println!("twenty groups: {taken}");
    assert!(taken.rss_mib <= 250, "{taken}");

    assert!(
        taken.threads <= THREADS_MAX + TENANTS * THREADS_OF_CONSUMER,
        "{taken}"
    );
    clients::produce_records(&stage.bootstrap, &topic(7), [value_on(0, "a record")]).unwrap();
    stage.outputs(&host, TENANTS);
    host.stop().unwrap();
}
