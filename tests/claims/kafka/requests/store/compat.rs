//! Hosts beside processes of kafka-python-app.

use std::process::Command;

use harness::{TestRecord, clients, wait_until};

use super::Sharing;
use crate::kafka::requests::MINUTE;
use crate::kafka::stage::PATIENCE;

const COMPAT: &str = "key = \"compat\"";

/// As the system's own program has it.
fn sha256(text: &str) -> String {
    let script = "printf %s \"$1\" | sha256sum";
    let output = Command::new("sh").args(["-c", script, "sh", text]).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    output.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn responses_are_shared_with_processes_of_kafka_python_app() {
    let sharing = Sharing::new("compat");
    let host = sharing.serve(COMPAT);
    // The response to a request of the host is read by a Python process, which tells nobody.
    let question = sharing.ask(&host, &["k"], MINUTE).remove(0);
    let name = sha256(&question.header_text("event_id").unwrap());
    assert_eq!(sharing.names(), std::slice::from_ref(&name));
    let value = "{\"event\":\"priced\",\"price\":5}";
    let set = ["SET", &name, value, "EX", "30"];
    sharing.redis.ask(&set).unwrap();
    assert_eq!(sharing.asking.results(&host, 1), [value]);
    // The response to a request of a Python process is read by the host.
    let id = "0f4c3d4e-0000-4000-8000-000000000000";
    let answer = TestRecord::new("k", value).header("event_id", Some(id.as_bytes()));
    let stage = &sharing.asking.stage;
    clients::produce_records(&stage.bootstrap, &sharing.asking.answers, [answer]).unwrap();
    let name = sha256(id);
    let found = || sharing.redis.ask(&["GET", &name]).unwrap().as_deref() == Some(value);
    wait_until("the response is stored", PATIENCE, found).unwrap();
    let ttl = sharing.redis.ask(&["TTL", &name]).unwrap().unwrap();
    assert!((1..=30).contains(&ttl.parse::<i32>().unwrap()), "{ttl}");
    // Python's clients share out partitions so by default, and may be members as well.
    let assignor = clients::assignor(&stage.bootstrap, &sharing.group()).unwrap();
    assert_eq!(assignor.as_deref(), Some("range"));
}

#[test]
fn names_without_a_tenant_are_for_one_tenant() {
    let sharing = Sharing::new("compat-tenants");
    let folder = &sharing.asking.stage.folder;
    let manifest = sharing.asking.stage.manifest(&sharing.asking.keys(""));
    let manifest = manifest.replace("group = \"", "group = \"other-");
    let guest = harness::guest("act");
    folder.swap_in("other/asks", guest, &manifest).unwrap();
    let mut host = sharing.serve(COMPAT);
    let line = host.wait_for_line("is for one tenant", PATIENCE).unwrap();
    assert!(
        line.contains("response.key = \\\"compat\\\"")
            || line.contains("response.key = \"compat\""),
        "{line}"
    );
}
