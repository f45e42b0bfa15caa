//! Topics by declaration: what is shown, what is created, and what is left as it is.
//!
//! Each claim has a handlers folder and topics of its own on the shared node.
//! **Invariant:** what exists is asked of Kafka, never taken from what the command prints.

mod serving;

use std::thread;

use harness::host::command;
use harness::kafka::unique;
use harness::{Cluster, HandlersDir, Host, Kafka, clients, guest};
use serde_json::Value;

use super::stage::{PATIENCE, value_on};
use crate::answer::Answer;

/// The exit code of a plan that has something to do.
const SOMETHING_TO_DO: i32 = 2;
/// The exit code for wrong usage and wrong manifests.
const EX_USAGE: i32 = 64;

impl Answer {
    /// The line about a topic that begins with this mark.
    fn line(&self, mark: &str, topic: &str) -> &str {
        let start = format!("{mark} {topic}  ");
        let mut lines = self.stdout.lines();
        lines
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("no {start:?} in\n{}{}", self.stdout, self.stderr))
    }
}

/// A handler with the name `group` in a folder of its own.
struct Scene {
    kafka: &'static Kafka,
    group: String,
    folder: HandlersDir,
}

impl Scene {
    /// `manifest` has `{g}` where the group's name stands.
    fn new(name: &str, manifest: &str) -> Self {
        let scene = Self {
            kafka: Kafka::shared(),
            group: unique(name),
            folder: HandlersDir::new().unwrap(),
        };
        scene.declare(manifest);
        scene
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.group)
    }

    fn manifest(&self, manifest: &str) -> String {
        let group = &self.group;
        format!("group = \"{group}\"\n{}", manifest.replace("{g}", group))
    }

    fn declare(&self, manifest: &str) {
        let manifest = self.manifest(manifest);
        self.folder
            .handler(&self.group, guest("pass"), &manifest)
            .unwrap();
    }

    fn run(&self, word: &str, flags: &[&str]) -> Answer {
        run(self.kafka.bootstrap(), &self.folder, word, flags)
    }

    fn partitions(&self, suffix: &str) -> usize {
        let name = self.name(suffix);
        clients::partitions(self.kafka.bootstrap(), &name).map_or(0, |found| found.len())
    }

    fn config(&self, suffix: &str, key: &str) -> String {
        self.kafka.topic_config(&self.name(suffix), key).unwrap()
    }

    fn serve(&self, flags: &[&str]) -> Host {
        Host::builder(self.kafka.bootstrap())
            .handlers(self.folder.path())
            .args(flags)
            .start()
            .unwrap()
    }
}

fn run(bootstrap: &str, folder: &HandlersDir, word: &str, flags: &[&str]) -> Answer {
    let mut command = command("topics").unwrap();
    command.arg(word).arg("--handlers").arg(folder.path());
    Answer::of(command.args(["--brokers", bootstrap]).args(flags))
}

/// A topic that is read, three that are written, and one that others make.
const ORDERS: &str = "topics = [\"{g}.orders\", \"{g}.others\"]
[[topic]]
name = \"{g}.orders\"
partitions = 3
replication = 1
retention-ms = 7200000
cleanup = \"compact,delete\"
config = { segment.bytes = 2_000_000 }
[[topic]]
streams = [\"{g}.bills.eu\", \"{g}.bills.us\"]
partitions = 2
";

#[test]
fn topics_apply_is_idempotent_and_never_destroys() {
    let scene = Scene::new("applied", ORDERS);
    // What is there already has records, more partitions than are declared, and settings of its own.
    let eu = scene.name("bills.eu");
    scene
        .kafka
        .create_topic(&eu, 4, &[("cleanup.policy", "compact")])
        .unwrap();
    let mut keyed = value_on(3, "kept");
    keyed.key = Some(b"k".to_vec());
    clients::produce_records(scene.kafka.bootstrap(), &eu, [keyed]).unwrap();

    let plan = scene.run("plan", &[]);
    println!("{}{}", plan.stdout, plan.stderr);
    assert_eq!(plan.code, SOMETHING_TO_DO);
    let orders = scene.name("orders");
    assert!(
        plan.line("+", &orders)
            .contains("3 partitions, 1 replica, ")
    );
    assert_eq!(scene.partitions("orders"), 0, "a plan creates nothing");

    let first = scene.run("apply", &[]);
    println!("{}{}", first.stdout, first.stderr);
    assert_eq!(first.code, 0, "{}{}", first.stdout, first.stderr);
    assert_eq!(
        (scene.partitions("orders"), scene.partitions("bills.us")),
        (3, 2)
    );
    for (key, value) in [
        ("retention.ms", "7200000"),
        ("cleanup.policy", "compact,delete"),
        ("segment.bytes", "2000000"),
    ] {
        assert_eq!(scene.config("orders", key), value);
    }
    // What a handler needs besides, with as many partitions as its largest input.
    assert_eq!(
        (scene.partitions("dead-letter"), scene.partitions("replay")),
        (3, 3)
    );
    assert_eq!(scene.config("replay", "retention.ms"), "2592000000");
    // What others make is theirs.
    assert_eq!(scene.partitions("others"), 0);

    let second = scene.run("apply", &["--raise-partitions"]);
    assert_eq!(second.code, 0, "{}{}", second.stdout, second.stderr);
    assert!(!second.stdout.contains("created"), "{}", second.stdout);
    second.line("=", &orders);
    second.line("!", &scene.name("others"));
    // All of it is as it was, and shown as it is.
    assert!(
        second
            .line("~", &eu)
            .contains("partitions is 4, declared 2")
    );
    assert!(
        second
            .stdout
            .contains("cleanup.policy is compact, declared delete")
    );
    assert_eq!(scene.partitions("bills.eu"), 4);
    assert_eq!(scene.config("bills.eu", "cleanup.policy"), "compact");
    let kept = clients::consume_all(scene.kafka.bootstrap(), &eu, true).unwrap();
    assert_eq!(kept.len(), 1);
}

#[test]
fn two_that_apply_at_once_do_no_harm() {
    let scene = Scene::new("twice", ORDERS);
    thread::scope(|scope| {
        let all = [0, 1, 2].map(|_| scope.spawn(|| scene.run("apply", &[])));
        for one in all {
            let answer = one.join().unwrap();
            assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
        }
    });
    assert_eq!(
        (scene.partitions("orders"), scene.partitions("bills.eu")),
        (3, 2)
    );
}

#[test]
fn drift_is_shown_with_both_sides_and_what_would_change_it() {
    let scene = Scene::new("drifted", ORDERS);
    let orders = scene.name("orders");
    let config = [("retention.ms", "1000"), ("segment.bytes", "2000000")];
    scene.kafka.create_topic(&orders, 1, &config).unwrap();
    let plan = scene.run("plan", &[]);
    println!("{}", plan.stdout);
    assert_eq!(plan.code, SOMETHING_TO_DO);
    let bootstrap = scene.kafka.bootstrap();
    let folder = scene.folder.path().display();
    for told in [
        format!(
            "~ {orders}  partitions is 1, declared 3: `kafka-wasm-host topics apply --handlers {folder} --brokers \
             {bootstrap} --raise-partitions` adds them, after which keys go to other partitions"
        ),
        format!(
            "~ {orders}  retention.ms is 1000, declared 7200000: `kafka-configs.sh --bootstrap-server {bootstrap} --alter \
             --entity-type topics --entity-name {orders} --add-config retention.ms=7200000`"
        ),
        format!("--entity-name {orders} --add-config cleanup.policy=[compact,delete]`"),
    ] {
        assert!(
            plan.stdout.contains(&told),
            "no {told:?} in\n{}",
            plan.stdout
        );
    }
    assert!(!plan.stdout.contains("segment.bytes is"), "{}", plan.stdout);

    // Partitions are added only where that is asked for, settings never.
    assert_eq!(scene.run("apply", &[]).code, 0);
    assert_eq!(scene.partitions("orders"), 1);
    let raised = scene.run("apply", &["--raise-partitions"]);
    assert_eq!(raised.code, 0, "{}{}", raised.stdout, raised.stderr);
    assert!(
        raised.stdout.contains("partitions added"),
        "{}",
        raised.stdout
    );
    assert_eq!(scene.partitions("orders"), 3);
    assert_eq!(scene.config("orders", "retention.ms"), "1000");

    let plan = scene.run("plan", &["--json"]);
    let lines = plan.stdout.lines();
    let objects: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let object = objects
        .iter()
        .find(|it| it["topic"] == orders.as_str())
        .unwrap();
    assert_eq!(object["state"], "differs");
    let what: Vec<&str> = object["drift"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["what"].as_str().unwrap())
        .collect();
    assert_eq!(what, ["cleanup.policy", "retention.ms"]);
}

#[test]
fn topics_get_three_replicas_where_there_are_three_brokers() {
    let nodes = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(nodes.path()).unwrap();
    let scene = Scene::new(
        "replicated",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.in\"\n[[topic]]\nname = \"{g}.two\"\nreplication = 2\n",
    );
    let apply = run(&cluster.bootstrap(), &scene.folder, "apply", &[]);
    println!("{}{}", apply.stdout, apply.stderr);
    assert_eq!(apply.code, 0, "{}{}", apply.stdout, apply.stderr);
    for (suffix, replicas) in [("in", 3), ("two", 2), ("dead-letter", 3)] {
        let found = clients::replicas(&cluster.bootstrap(), &scene.name(suffix)).unwrap();
        assert_eq!(found, replicas, "{suffix}");
    }
    let plan = run(&cluster.bootstrap(), &scene.folder, "plan", &[]);
    assert_eq!(plan.code, 0, "{}{}", plan.stdout, plan.stderr);
}

#[test]
fn a_plan_is_empty_when_all_is_as_declared() {
    let scene = Scene::new(
        "empty",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.in\"\n",
    );
    assert_eq!(scene.run("apply", &[]).code, 0);
    let plan = scene.run("plan", &[]);
    assert_eq!(plan.code, 0, "{}{}", plan.stdout, plan.stderr);
    assert!(
        plan.stdout.lines().all(|line| line.starts_with("= ")),
        "{}",
        plan.stdout
    );
    assert!(
        plan.stderr.ends_with("3 topics: 3 as wanted\n"),
        "{}",
        plan.stderr
    );
}

#[test]
fn what_brokers_would_refuse_is_told_by_the_plan() {
    let scene = Scene::new(
        "refused",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.in\"\nreplication = 2\n[[topic]]\nname = \"{g}.out\"\n\
         config = { no.such.setting = 1 }\n",
    );
    let plan = scene.run("plan", &[]);
    println!("{}", plan.stdout);
    assert_eq!(plan.code, SOMETHING_TO_DO);
    assert!(
        plan.stdout
            .contains("fewer brokers than `replication` asks for"),
        "{}",
        plan.stdout
    );
    let apply = scene.run("apply", &[]);
    assert_eq!(apply.code, 1, "{}{}", apply.stdout, apply.stderr);
    assert!(
        apply
            .stdout
            .contains("`config` has a setting that Kafka does not have"),
        "{}",
        apply.stdout
    );
    // The others are there.
    assert_eq!((scene.partitions("in"), scene.partitions("out")), (0, 0));
    assert!(scene.partitions("dead-letter") > 0);
}

#[test]
fn two_manifests_that_declare_a_topic_differently_are_told_with_both_files() {
    let scene = Scene::new(
        "torn",
        "topics = [\"a\"]\n[[topic]]\nname = \"{g}.t\"\npartitions = 2\n",
    );
    let other = scene.manifest("topics = [\"b\"]\n[[topic]]\nname = \"{g}.t\"\npartitions = 3\n");
    scene.folder.handler("zz", guest("pass"), &other).unwrap();
    let [first, second] =
        [scene.group.as_str(), "zz"].map(|name| scene.folder.folder(name).join("handler.toml"));
    let told = format!(
        "{}: does not go together with {}: [[topic]] {}: partitions is 3 here and 2 there",
        second.display(),
        first.display(),
        scene.name("t")
    );
    let plan = scene.run("plan", &[]);
    assert_eq!(plan.code, EX_USAGE);
    assert!(
        plan.stderr.contains(&told),
        "no {told:?} in {}",
        plan.stderr
    );
    let check = command("check")
        .unwrap()
        .arg(scene.folder.path())
        .output()
        .unwrap();
    let check = String::from_utf8(check.stderr).unwrap();
    assert!(check.contains(&told), "{check}");
    let mut host = scene.serve(&[]);
    host.wait_for_line(&told, PATIENCE).unwrap();
    host.stop().unwrap();
}
