//! Handlers that are paused by command, and go on.
//!
//! **Invariant:** a claim sees records before the pause, and others that wait for its end.

use std::fs;
use std::thread;
use std::time::Duration;

use harness::{TestRecord, clients};

use super::kept::Kept;
use super::stage::{PATIENCE, count_lines, field, never, texts, wait_lines};

/// Pauses while records of this handler are under way, restarts, and resumes.
fn pause_and_resume(fixture: &str, more: &str) {
    const RECORDS: usize = 200;
    let kept_here = Kept::new("pause");
    let stage = &kept_here.stage;
    stage.deploy(fixture, more);
    let toml = kept_here.aside.path().join("host.toml");
    let state = kept_here.state().display().to_string();
    fs::write(
        &toml,
        format!("state = \"{state}\"\nwatchdog.stall-after-ms = 500\n"),
    )
    .unwrap();
    let serve = || stage.serve(&["--config", &toml.display().to_string()]);
    let record = |n: usize| TestRecord::new(format!("key-{}", n % 20), "sleep 20").on(0);
    stage.produce_records((0..RECORDS).map(record));
    let host = serve();
    let count = || stage.read(&stage.output).len();
    clients::consume_until(&stage.bootstrap, &stage.output, 10, PATIENCE).unwrap();
    let told = kept_here.does(&host, &["pause"]);
    assert_eq!(told, format!("default/{} is paused\n", stage.name));

    // What is in hand is finished; then nothing more.
    let position = || {
        let status = kept_here.status(&host);
        assert_eq!(status["state"], "paused");
        assert_eq!(status["problems"].as_array().unwrap().len(), 0, "{status}");
        status["partitions"][0]["position"].as_i64()
    };
    thread::sleep(Duration::from_secs(1));
    let handled = count();
    assert!(handled < RECORDS, "it was paused too late to see anything");
    stage.produce_records([record(RECORDS)]);
    never("a record is handled", Duration::from_secs(2), || {
        count() > handled
    });
    assert!(position().unwrap() <= i64::try_from(handled).unwrap());
    let (status, said) = host.get("/readyz").unwrap();
    assert_eq!(status, 200, "{said}");
    assert!(
        said.contains("\"state\": \"serving\"") && said.contains("\"paused\": true"),
        "{said}"
    );
    let metric = |name: &str| host.metric(name, &[("handler", &stage.name)]).unwrap();
    assert!(metric("kafka_wasm_paused_by_command") > 0.0);
    assert!(
        metric("kafka_wasm_stalled_partitions") < 1.0,
        "{}",
        host.tail()
    );
    assert_eq!(count_lines(&host, &["partitions revoked"]), 0);
    host.stop().unwrap();

    // Another revision, and another host.
    let host = serve();
    wait_lines(&host, &["the handler is paused, as it was before"], 1);
    wait_lines(&host, &["partitions assigned"], 1);
    never("a record is handled", Duration::from_secs(2), || {
        count() > handled
    });
    let other = stage.manifest(&format!("{more}\nlimits.deadline-ms = 5000"));
    stage.folder.swap_manifest(&stage.name, &other).unwrap();
    wait_lines(&host, &[" deployed "], 2);
    never("a record is handled", Duration::from_secs(1), || {
        count() > handled
    });
    assert_eq!(
        kept_here.does(&host, &["resume"]),
        format!("default/{} goes on\n", stage.name)
    );
    let outputs = stage.outputs(&host, RECORDS + 1);
    let mut offsets: Vec<i64> = outputs
        .iter()
        .map(|it| field(it, "offset").parse().unwrap())
        .collect();
    if !more.contains("ordering") {
        assert!(offsets.is_sorted(), "{offsets:?}");
    }
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), RECORDS + 1, "each record once");
    stage.committed(&host, &[(0, i64::try_from(RECORDS + 1).unwrap())]);
    host.stop().unwrap();
    // It is over for good.
    let host = serve();
    stage.produce_records([record(0)]);
    stage.outputs(&host, RECORDS + 2);
}

#[test]
fn a_paused_handler_takes_nothing_and_resumes_where_it_was() {
    pause_and_resume("act", "");
}

#[test]
fn a_paused_handler_with_lanes_beside_each_other_takes_nothing() {
    pause_and_resume("act", "ordering = \"key\"\nconcurrency = 3");
    pause_and_resume("act", "ordering = \"none\"\nconcurrency = 3");
}

#[test]
fn a_pause_without_a_state_folder_ends_with_the_host() {
    let kept_here = Kept::new("forgets");
    let stage = &kept_here.stage;
    let host = stage.run("label", "config.label = \"v1\"");
    kept_here.labels_are(&host, &["v1"]);
    let paused = kept_here.ask(&host, &["pause"]);
    assert!(
        paused
            .stderr
            .contains("note: it goes on when the host starts again"),
        "{}",
        paused.stderr
    );
    assert!(paused.stderr.contains("--state DIR"), "{}", paused.stderr);
    stage.produce(&["waits"]);
    never("a record is handled", Duration::from_secs(1), || {
        stage.read(&stage.output).len() > 1
    });
    host.stop().unwrap();
    let host = stage.serve(&[]);
    assert_eq!(texts(&stage.outputs(&host, 2))[1], "waits");
}
