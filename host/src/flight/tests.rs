//! What is known of a refusal, and when.

use super::*;

fn flight(ledger: &Arc<Ledger>) -> Arc<Flight> {
    let kind = FlightKind {
        purpose: Purpose::Outputs,
        ending: Ending::Handled,
        attempts: 1,
        mending: None,
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
