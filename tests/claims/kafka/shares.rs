//! Who gets the host's threads where all want them: tenants by their weights, however many lanes they have.
//!
//! It is handed a stage of its own for each tenant, whose handler computes. What tenants get is told by the time that the host
//! counts for them.
//! **Invariant:** shares are compared only while all have records left.

use std::fs;

use harness::{Host, TestRecord, clients, guest, wait_until};
use tempfile::TempDir;

use super::stage::{PATIENCE, Stage, start, value_on};

/// A record that takes three milliseconds of a thread.
const WORK: &str = "work 3";
/// Records of a partition, more than are handled while it is looked.
const BACKLOG: usize = 4_000;

/// Four to one. What the system takes from a thread meanwhile counts as if it were the guest's, and other tests have this
/// machine, too; without weights it is about one to one.
const FOURFOLD: std::ops::Range<f64> = 1.4..12.0;

/// Tenants whose handlers compute all the time, each with so many partitions.
struct Crowd {
    aside: TempDir,
    stages: Vec<(String, Stage)>,
}

impl Crowd {
    fn new(name: &str, tenants: &[(&str, i32)]) -> Self {
        let stage = |(tenant, partitions): &(&str, i32)| {
            let stage = Stage::new(&format!("{name}-{tenant}"), *partitions);
            ((*tenant).to_owned(), stage)
        };
        let crowd = Self {
            aside: tempfile::tempdir().unwrap(),
            stages: tenants.iter().map(stage).collect(),
        };
        for ((tenant, stage), (_, partitions)) in crowd.stages.iter().zip(tenants) {
            // Alone in a folder that all of them share.
            let manifest = stage.manifest("limits.deadline-ms = 10000");
            let name = format!("{tenant}/{}", stage.name);
            let folder = &crowd.stages[0].1.folder;
            folder.swap_in(&name, guest("act"), &manifest).unwrap();
            let records =
                (0..*partitions).flat_map(|partition| vec![value_on(partition, WORK); BACKLOG]);
            let records: Vec<TestRecord> = records.collect();
            clients::produce_records(&stage.bootstrap, &stage.input, records).unwrap();
        }
        crowd
    }

    /// Writes the host's settings; returns their file.
    fn settings(&self, text: &str) -> String {
        let toml = self.aside.path().join("host.toml");
        fs::write(&toml, text).unwrap();
        toml.display().to_string()
    }

    fn serve(&self, settings: &str) -> Host {
        let (_, first) = &self.stages[0];
        let toml = self.settings(settings);
        start(&first.bootstrap, first.folder.path(), &["--config", &toml])
    }

    /// Seconds that the handlers of each ran so far.
    fn ran(&self, host: &Host) -> Vec<f64> {
        let one = |(tenant, _): &(String, Stage)| {
            let name = "kafka_wasm_guest_cpu_seconds_total";
            host.metric(name, &[("tenant", tenant)]).unwrap_or(0.0)
        };
        self.stages.iter().map(one).collect()
    }

    /// Seconds that each ran while all had something to do and all of them together ran for so long.
    fn shares(&self, host: &Host, seconds: f64) -> Vec<f64> {
        wait_until("all at work", PATIENCE, || {
            self.ran(host).iter().all(|ran| *ran > 0.05)
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        let began = self.ran(host);
        let mut got = Vec::new();
        wait_until("much that was done", 4 * PATIENCE, || {
            let now = self.ran(host);
            got = now.iter().zip(&began).map(|(now, was)| now - was).collect();
            got.iter().sum::<f64>() >= seconds
        })
        .unwrap_or_else(|error| panic!("{error}: {got:?}\n{}", host.tail()));
        println!("{:?} of {seconds} s", got);
        got
    }
}

#[test]
fn tenants_that_want_all_of_the_host_get_it_by_their_weights() {
    let crowd = Crowd::new("weights", &[("heavy", 4), ("light", 4)]);
    let mut host = crowd.serve("[tenants.heavy]\nweight = 4\n");
    let got = crowd.shares(&host, 6.0);
    let share = got[0] / got[1];
    assert!(FOURFOLD.contains(&share), "{got:?}");
    // Records of the same size come in the same proportion.
    let handled = |tenant: &str| {
        let labels = [("tenant", tenant), ("outcome", "handled")];
        host.metric("kafka_wasm_records_total", &labels).unwrap()
    };
    let records = handled("heavy") / handled("light");
    assert!(FOURFOLD.contains(&records), "{records}");
    // Another weight counts as soon as it is said.
    crowd.settings("[tenants.light]\nweight = 4\n");
    host.hang_up().unwrap();
    let told = "tenants.light.weight: changed from its default to 4";
    host.wait_for_line(told, PATIENCE).unwrap();
    let got = crowd.shares(&host, 4.0);
    let share = got[1] / got[0];
    assert!(FOURFOLD.contains(&share), "{got:?}");
    host.kill9();
}

#[test]
fn a_tenant_beside_eight_that_want_everything_has_its_share_of_the_host() {
    let names: Vec<String> = (0..8).map(|nth| format!("enemy-{nth}")).collect();
    let mut tenants = vec![("calm", 1)];
    tenants.extend(names.iter().map(|name| (name.as_str(), 6)));
    let crowd = Crowd::new("crowd", &tenants);
    let mut host = crowd.serve("[tenants.calm]\nweight = 2\n");
    let got = crowd.shares(&host, 9.0);
    // A fifth of it where nothing else runs on the machine, though the others have 48 partitions and this one has one;
    // without weights it would be a fiftieth.
    let share = got[0] / got.iter().sum::<f64>();
    assert!((0.06..0.4).contains(&share), "{got:?}");
    host.kill9();
}
