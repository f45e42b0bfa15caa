use kafka_wasm_guest::{Error, FailureKind, testing};

use super::*;

const DATA: &str = include_str!("../../data/earthquakes.jsonl");

fn handle(value: &str) -> Result {
    testing::deliver(
        on_message,
        testing::message("earthquakes").text(value).build(),
    )
}

fn handle_all() -> Vec<testing::Emitted> {
    for line in DATA.lines() {
        handle(line).unwrap();
    }
    testing::emitted()
}

#[test]
fn strong_earthquakes_are_alerts_keyed_by_network() {
    let alerts = handle_all();
    assert_eq!(alerts.len(), 39);
    for alert in alerts {
        let quake: Quake = alert.json().unwrap();
        assert_eq!(alert.topic, "alerts");
        assert_eq!(alert.key_text(), Some(quake.network.as_str()));
        assert!(quake.magnitude >= 5.0);
    }
}

#[test]
fn the_magnitude_is_configured_and_a_bad_one_is_refused() {
    define_context([("magnitude-min", "6")].into_iter().collect()).unwrap();
    let strong = handle_all();
    assert!(!strong.is_empty() && strong.len() < 39, "{}", strong.len());
    let error = define_context([("magnitude-min", "huge")].into_iter().collect()).unwrap_err();
    assert_eq!(
        error.reason(),
        "config `magnitude-min` = \"huge\": invalid float literal"
    );
    assert!(define_context([("magnitude-min", "nan")].into_iter().collect()).is_err());
}

#[test]
fn a_broken_line_is_rejected_and_dead_lettered() {
    let Err(Error::Reject(reason)) = handle(r#"{"id":"x""#) else {
        panic!("not rejected")
    };
    let failure = Failure {
        kind: FailureKind::Reject,
        message: reason,
        attempt: 1,
        max_attempts: 5,
    };
    let message = testing::message("earthquakes").build();
    assert_eq!(on_error(&failure, &message), Verdict::DeadLetter);
    let failure = Failure {
        kind: FailureKind::Other,
        ..failure
    };
    assert_eq!(on_error(&failure, &message), Verdict::Retry);
}
