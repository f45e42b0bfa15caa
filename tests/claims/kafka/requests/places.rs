//! Guests that ask where places for instances are few.

use harness::{TestRecord, guest};

use super::{Asking, MINUTE};

#[test]
fn a_guest_that_asks_keeps_no_place_beside_its_own() {
    let asking = Asking::new("asks-alone", 3);
    let (stage, answering) = (&asking.stage, asking.answering());
    // Who answers lives on the same host, and middleware has a place of its own in each lane.
    let folder = &stage.folder;
    let answers = answering.manifest("");
    folder
        .swap_in(&answering.name, guest("act"), &answers)
        .unwrap();
    folder
        .swap_beside(&stage.name, "middleware.wasm", guest("middleware"))
        .unwrap();
    let tables = ["a", "b"].map(|name| {
        format!(
            "[[middleware]]\ncomponent = \"middleware.wasm\"\nname = \"{name}\"\nconfig.name = \"{name}\"\n"
        )
    });
    let manifest = stage.manifest(&asking.keys(""));
    let manifest = format!("{manifest}{}", tables.concat());
    folder
        .handler(&stage.name, guest("act"), &manifest)
        .unwrap();
    let host = stage.serve(&["--instances-max", "4"]);
    let ask = |n: i32| TestRecord {
        key: None,
        ..asking.ask("", MINUTE, &format!("answer {n}")).on(n % 3)
    };
    stage.produce_records((0..9).map(ask));
    let mut results = asking.results(&host, 9);
    results.sort_unstable();
    assert_eq!(results, (0..9).map(|n| n.to_string()).collect::<Vec<_>>());
    host.stop().unwrap();
}
