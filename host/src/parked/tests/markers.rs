//! Requests by the markers in which they came.

use super::*;

#[test]
fn the_request_of_a_hold_that_is_over_is_void_under_the_name_of_its_marker() {
    // Earlier commands named no session there.
    let nameless = || {
        let mut requests = asked("s", Want::Hold, 1);
        for askers in requests.values_mut() {
            let asked = askers.remove("s").unwrap();
            askers.insert(String::new(), asked);
        }
        requests
    };
    let void = (slot(), News::NoRequest(String::new()));
    let mut parked = Parked::<u64>::default();
    parked.park(&slot(), &like(3), 0);
    parked.ask(&nameless(), 0, |_| 10);
    assert_eq!(parked.tend_holds(10, None), std::slice::from_ref(&void));
    let held = State {
        session: Some("s".to_owned()),
        ..like(3)
    };
    let markers = PlaceMarkers {
        states: HashMap::from([(slot(), held)]),
        requests: nameless(),
    };
    let mut restored = Parked::<u64>::default();
    restored.restore(markers, 10);
    let over = [(slot(), News::State(like(3))), void];
    assert_eq!(restored.tend_holds(10, None), over);
}
