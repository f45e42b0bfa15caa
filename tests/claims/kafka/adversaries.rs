//! What a tenant can do to others that means no good: each of its deeds ends as docs/OPERATIONS.md says, and costs nobody
//! else a record.
//!
//! The fixture `act` does what its records say; the components that are bombs themselves are made here.
//! **Invariant:** while an enemy is at work, each record of the tenant calm is handled.

mod bombs;

use harness::{Host, guest, wait_until};

use self::bombs::{Bomb, bomb};
use super::rates::Neighbours;
use super::stage::{PATIENCE, TWICE, count_lines, field, is, said, verdict, wait_lines};

/// Little of everything, so that an enemy is at its end soon.
const NARROW: &str = "limits.deadline-ms = 1000\nlimits.memory-mib = 32\nlimits.outbox-records = 1000\n\
                      limits.outbox-mib = 1\n";

/// A deed that fails its record: the kind of failure, and a part of the message.
const FAILING: [(&str, &str, &str); 11] = [
    ("spin", "deadline", "did not return within 1000 ms"),
    ("sleep 600000", "deadline", "did not return within 1000 ms"),
    ("spam", "deadline", "did not return within 1000 ms"),
    ("alloc 200", "memory", "its limit is 32 MiB"),
    ("recurse", "trap", "stack"),
    ("trap", "trap", "unreachable"),
    ("shout 8", "trap", "too much data"),
    ("headers 200000", "trap", "too much data"),
    ("hoard-times", "trap", "resource table"),
    ("hoard-fields", "trap", "resource table"),
    ("emit-flood", "other", "at most 1000 records"),
];

fn calm_goes_on(two: &Neighbours, host: &Host, handled: &mut usize) {
    two.calm.produce(&["ok"; 20]);
    *handled += 20;
    two.calm.outputs(host, *handled);
}

#[test]
fn each_adversary_ends_in_its_documented_way_and_costs_nobody_else() {
    let more = format!("{TWICE}{NARROW}");
    let two = Neighbours::new("enemy", 1, "log-lines-per-s = 100", &more);
    let host = two.serve(&[]);
    let mut handled = 0;
    calm_goes_on(&two, &host, &mut handled);
    for (nth, (deed, kind, error)) in FAILING.iter().enumerate() {
        two.acme.produce(&[deed, "ok"]);
        calm_goes_on(&two, &host, &mut handled);
        let letter = two.acme.letters(&host, nth + 1).remove(nth);
        println!("{deed}: {} {}", verdict(&letter).0, said(&letter, "error"));
        assert_eq!(
            (letter.text().as_str(), verdict(&letter)),
            (*deed, is(kind, "2"))
        );
        assert!(
            said(&letter, "error").contains(error),
            "{deed}: {}",
            said(&letter, "error")
        );
        // The record behind it is handled.
        two.acme.outputs(&host, nth + 1);
    }
    host.stop().unwrap();
}

#[test]
fn what_is_refused_to_an_adversary_is_told_to_it() {
    let more = format!("{TWICE}{NARROW}");
    let two = Neighbours::new("enemy-refused", 1, "log-lines-per-s = 100", &more);
    let host = two.serve(&[]);
    let mut handled = 0;
    two.acme.produce(&[
        "emit-big 2000000",
        "nest 100000",
        "log-many 5000 flood",
        "file",
    ]);
    calm_goes_on(&two, &host, &mut handled);
    let all = two.acme.outputs(&host, 5);
    let refused = field(&all[0], "result");
    assert!(refused.contains("1048588"), "{refused}");
    // The host does not read what it is not asked to read.
    assert_eq!(all[1].value.as_ref().unwrap().len(), 200_000);
    let denied = field(&all[4], "result");
    assert!(
        denied.starts_with("file denied (") && !denied.contains("allowed"),
        "{denied}"
    );
    let dropped = host.metric("kafka_wasm_dropped_log_lines_total", &[("tenant", "acme")]);
    assert!(dropped.unwrap() > 4000.0);
    host.stop().unwrap();
}

#[test]
fn a_component_that_is_a_bomb_is_refused_or_serves_and_costs_nobody_else() {
    let two = Neighbours::new("bomb", 1, "component-mib = 16", "");
    let host = two.serve(&[]);
    let mut handled = 0;
    calm_goes_on(&two, &host, &mut handled);
    let name = format!("acme/{}", two.acme.name);
    let component = std::fs::read(guest("act")).unwrap();
    for (nth, kind) in Bomb::ALL.iter().enumerate() {
        let bytes = bomb(&component, *kind);
        println!("{kind:?}: {} bytes", bytes.len());
        let published = count_lines(&host, &[" deployed ", "acme"]);
        let refused = count_lines(&host, &["the old one goes on serving"]);
        let folder = &two.acme.folder;
        folder.replace_component_bytes(&name, &bytes).unwrap();
        calm_goes_on(&two, &host, &mut handled);
        if let Some(told) = kind.refusal() {
            wait_lines(&host, &["acme", told], 1);
            wait_lines(&host, &["the old one goes on serving"], refused + 1);
        } else {
            wait_until("the new revision", 3 * PATIENCE, || {
                count_lines(&host, &[" deployed ", "acme"]) > published
            })
            .unwrap();
        }
        // The old revision or the new one serves.
        two.acme.produce(&["ok"]);
        two.acme.outputs(&host, nth + 1);
    }
    calm_goes_on(&two, &host, &mut handled);
    host.stop().unwrap();
}
