//! How often and how long a failed record is tried.
//!
//! It is handed one stage for each test, and reads the attempts from the dead letters.
//! **Invariant:** times are only ever bounded from below.

use super::stage::{Stage, is, verdict};

#[test]
fn each_kind_of_failure_has_its_own_attempts() {
    let stage = Stage::new("kinds", 1);
    let policy = "retry.backoff = \"list\"\nretry.delays-ms = [10, 20]\nretry.max-attempts = 4\n\
                  retry.on.trap.max-attempts = 1\nretry.on.retry.max-attempts = 2\n";
    let host = stage.run("act", policy);
    stage.produce(&["other no", "trap", "retry 5 later", "reject no", "ok"]);
    let letters = stage.letters(&host, 4);
    let verdicts: Vec<_> = letters.iter().map(verdict).collect();
    let expected = [
        is("other", "4"),
        is("trap", "1"),
        is("retry", "2"),
        is("reject", "1"),
    ];
    assert_eq!(verdicts, expected);
    stage.outputs(&host, 1);
    host.stop().unwrap();
}

#[test]
fn a_record_is_not_tried_when_it_is_too_old() {
    let stage = Stage::new("aged", 1);
    let policy = "retry.max-attempts = 1000\nretry.max-age-ms = 1500\n";
    let host = stage.run("act", policy);
    // Waits of 400 ms end within the age three times; an hour never does, so the record does not wait at all.
    stage.produce(&["retry 400 again", "retry 3600000 much later"]);
    let letters = stage.letters(&host, 2);
    let attempts: u32 = verdict(&letters[0]).1.parse().unwrap();
    assert!((2..=4).contains(&attempts), "{attempts} attempts");
    assert_eq!(verdict(&letters[1]), is("retry", "1"));
    host.stop().unwrap();
}
