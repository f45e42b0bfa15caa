//! What is known of a refusal, and when.

use super::*;

pub(crate) fn flight(ledger: &Arc<Ledger>) -> Arc<Flight> {
    flight_with(ledger, None)
}

fn flight_with(ledger: &Arc<Ledger>, mending: Option<Mending>) -> Arc<Flight> {
    let kind = FlightKind {
        purpose: Purpose::Outputs,
        ending: Ending::Handled,
        attempts: 1,
        mending,
    };
    ledger.take_off(Cargo::new(), 0, kind, &Arc::default())
}

fn output(value: &str) -> Fingerprint {
    Fingerprint::of("topic", None, Some(value.as_bytes()))
}

#[test]
fn a_refusal_tears_its_transaction_while_other_outputs_are_under_way() {
    let tear = Arc::new(AtomicBool::new(false));
    let suspects = Arc::new(Suspects::new(Arc::clone(&tear)));
    let ledger = Arc::new(Ledger::in_transaction(suspects));
    let flight = flight(&ledger);
    flight.add_output();
    flight.add_output();
    flight.refuse(output("large"), "too large".to_owned());
    flight.acknowledge();
    assert!(tear.load(Ordering::Acquire), "before the flight lands");
    assert!(!ledger.is_quiet());
    flight.acknowledge();
    assert!(ledger.is_quiet());
}

#[test]
fn a_refused_flight_tells_of_each_refused_output_once_it_has_landed() {
    let ledger = Arc::<Ledger>::default();
    let flight = flight(&ledger);
    for value in ["large", "larger"] {
        flight.add_output();
        flight.refuse(output(value), format!("{value} than allowed"));
    }
    assert!(ledger.take_refused().is_empty());
    flight.acknowledge();
    let refused = ledger.take_refused().remove(0);
    assert_eq!(refused.as_refusal().reason, "large than allowed");
    let outputs = refused.take_refused_outputs();
    let expected =
        ["large", "larger"].map(|value| (output(value), format!("{value} than allowed")));
    assert_eq!(outputs, expected);
    assert!(ledger.is_quiet());
}

#[test]
fn a_refusal_that_may_be_mended_holds_others_before_its_flight_lands_and_until_it_is_dealt_with() {
    let ledger = Arc::<Ledger>::default();
    let has_room = || ledger.has_room(9, 9);
    let first = flight_with(&ledger, Some(Mending::default()));
    first.add_output();
    first.add_output();
    assert!(has_room() && !ledger.is_held());
    first.refuse(output("missing"), "no such topic".to_owned());
    assert!(
        !has_room() && ledger.is_held(),
        "the other one is under way"
    );
    first.acknowledge();
    first.acknowledge();
    assert!(ledger.is_held(), "nobody has dealt with it");
    assert_eq!(ledger.take_refused().len(), 1);
    assert!(has_room() && !ledger.is_held());
    let sent_again = Mending {
        sent_before: 1,
        ..Mending::default()
    };
    let again = flight_with(&ledger, Some(sent_again));
    assert!(ledger.is_held());
    again.acknowledge();
    assert!(has_room() && !ledger.is_held());
}

#[test]
fn a_refusal_that_ends_its_record_holds_nobody_before_its_flight_lands() {
    let ledger = Arc::<Ledger>::default();
    let flight = flight(&ledger);
    flight.add_output();
    flight.refuse(output("large"), "too large".to_owned());
    assert!(!ledger.is_held());
    flight.acknowledge();
    assert!(ledger.is_held());
    ledger.take_refused();
    assert!(!ledger.is_held());
}
