//! Planted faults: each is one that a host could make, and the account has to find it.

use super::*;

const AT_LEAST_ONCE: Rules = Rules {
    ordered: true,
    repeats: Repeats::Within(60_000),
};

/// Two keys with ten records each, in one partition each; `k0 #3` and `k1 #0` always trap.
fn sound() -> Facts {
    let mut facts = Facts::default();
    for sequence in 0..10_u32 {
        for partition in 0..2 {
            let id = id(partition, sequence.into());
            let source = place(partition, sequence.into());
            let is_letter = [(0, 3), (1, 0)].contains(&(partition, sequence));
            let fate = if is_letter {
                let (kind, only_once) = ("trap", false);
                Fate::Letter { kind, only_once }
            } else {
                Fate::Output
            };
            facts.stored.insert(source, id.clone());
            facts.inputs.push(Input {
                id: id.clone(),
                place: source,
                value: format!("value #{sequence}"),
                fate,
            });
            if is_letter {
                facts.letters.push(letter(id, source));
            } else {
                out(&mut facts, id, source);
            }
        }
    }
    facts.positions = BTreeMap::from([(0, 10), (1, 10)]);
    facts.ends = facts.positions.clone();
    facts
}

fn id(key: i32, sequence: u64) -> Id {
    Id {
        key: format!("k{key}"),
        sequence,
    }
}

fn place(partition: i32, offset: i64) -> Place {
    Place { partition, offset }
}

fn letter(id: Id, source: Place) -> Letter {
    Letter {
        value: format!("value #{}", id.sequence),
        id,
        place: place(0, source.partition.into()),
        source,
        at_ms: 0,
        kind: "trap".to_owned(),
        attempts: ATTEMPTS_MAX,
        problems: Vec::new(),
    }
}

/// Appends an output, all to partition 0, a second after the one before.
fn out(facts: &mut Facts, id: Id, source: Place) {
    let offset = i64::try_from(facts.outputs.len()).unwrap();
    facts.outputs.push(Output {
        id,
        place: place(0, offset),
        source,
        at_ms: offset * 1000,
    });
}

fn found(facts: &Facts, rules: Rules) -> Vec<String> {
    let violations = account(facts, rules).violations;
    violations.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_found(facts: &Facts, expected: &[&str]) {
    let found = found(facts, AT_LEAST_ONCE);
    let is_like = |(found, expected): (&String, &&str)| found.starts_with(*expected);
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(is_like),
        "{found:#?}, expected {expected:#?}"
    );
}

#[test]
fn a_sound_run_has_no_violation() {
    let account = account(&sound(), AT_LEAST_ONCE);
    assert_eq!(account.violations, []);
    let counts = (account.acknowledged, account.handled, account.dead_lettered);
    assert_eq!(counts, (20, 18, 2));
    assert_eq!(
        (account.lost, account.repeated, account.reordered),
        (0, 0, 0)
    );
}

#[test]
fn a_lost_record_is_found_with_its_place() {
    let mut facts = sound();
    facts.outputs.retain(|output| output.id != id(1, 9));
    assert_found(&facts, &["lost       k1 #9 at input[1]@9, committed"]);
    let result = account(&facts, AT_LEAST_ONCE);
    assert_eq!((result.lost, result.committed_without_emit), (1, 1));
    facts.positions.insert(1, 9);
    assert_found(
        &facts,
        &[
            "lost       k1 #9 at input[1]@9, not committed",
            "uncommitted  input[1] at 9 of 10; 0",
        ],
    );
}

#[test]
fn a_gap_is_a_loss_and_no_disorder() {
    let mut facts = sound();
    facts.outputs.retain(|output| output.id != id(1, 5));
    assert_found(&facts, &["lost       k1 #5"]);
}

#[test]
fn two_outputs_that_changed_places_are_found() {
    let mut facts = sound();
    let places: Vec<usize> = [4, 5]
        .map(|sequence| {
            let mut outputs = facts.outputs.iter();
            outputs
                .position(|output| output.id == id(0, sequence))
                .unwrap()
        })
        .to_vec();
    let (a, b) = (
        facts.outputs[places[0]].place,
        facts.outputs[places[1]].place,
    );
    facts.outputs[places[0]].place = b;
    facts.outputs[places[1]].place = a;
    assert_found(&facts, &["reordered  k0 #4 at [0]@8, behind #5"]);
    let unordered = Rules {
        ordered: false,
        ..AT_LEAST_ONCE
    };
    assert_eq!(found(&facts, unordered), Vec::<String>::new());
}

#[test]
fn a_suffix_that_is_repeated_is_counted_and_only_forbidden_where_nothing_may_repeat() {
    let mut facts = sound();
    for sequence in [7, 8, 9, 8, 9] {
        out(
            &mut facts,
            id(1, sequence),
            place(1, sequence.try_into().unwrap()),
        );
    }
    let result = account(&facts, AT_LEAST_ONCE);
    assert_eq!(
        (result.repeated, result.handled, result.reordered),
        (5, 18, 0)
    );
    assert_eq!(result.violations, []);
    let strict = Rules {
        repeats: Repeats::Never,
        ..AT_LEAST_ONCE
    };
    assert_eq!(found(&facts, strict).len(), 5);
}

#[test]
fn a_repeat_of_what_was_done_long_ago_is_found() {
    let mut facts = sound();
    out(&mut facts, id(0, 0), place(0, 0));
    facts.outputs.last_mut().unwrap().at_ms = 60_001;
    assert_found(
        &facts,
        &["repeated   k0 #0 at [0]@18, of input[0]@0, 60.0 s after the first"],
    );
}

#[test]
fn a_repeat_that_skips_ahead_of_what_never_came_out_is_found() {
    let mut facts = sound();
    facts
        .outputs
        .retain(|output| output.id.key == "k0" || output.id.sequence < 5);
    // The new owner begins again at 3, and then leaves 5 out for the moment.
    for sequence in [3, 4, 6, 5, 7, 8, 9] {
        out(
            &mut facts,
            id(1, sequence),
            place(1, sequence.try_into().unwrap()),
        );
    }
    for (nth, output) in facts.outputs.iter_mut().enumerate() {
        output.place.offset = i64::try_from(nth).unwrap();
    }
    assert_found(&facts, &["reordered  k1 #5 at [0]@16, behind #6"]);
}

#[test]
fn a_record_with_the_wrong_end_is_found() {
    let mut facts = sound();
    facts.letters.clear();
    out(&mut facts, id(0, 3), place(0, 3));
    facts.outputs.retain(|output| output.id != id(1, 9));
    facts.letters.push(letter(id(1, 0), place(1, 0)));
    facts.letters.push(letter(id(1, 9), place(1, 9)));
    assert_found(
        &facts,
        &[
            "handled    k0 #3 at input[0]@3",
            "buried     k1 #9 at input[1]@9",
            "reordered  k0 #3 at [0]@18, behind #9",
        ],
    );
}

#[test]
fn a_dead_letter_that_says_something_else_is_found() {
    let mut facts = sound();
    facts.letters[0].kind = "other".to_owned();
    facts.letters[0].attempts = ATTEMPTS_MAX - 1;
    facts.letters[0].value = "changed".to_owned();
    facts.letters[1].source.offset = 5;
    facts.letters[1].problems = vec!["no dead-letter.time".to_owned()];
    let mut found = found(&facts, AT_LEAST_ONCE);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "letter     k0 #3 at letters[0]@0: no dead-letter.time",
            "letter     k0 #3 at letters[0]@0: no such record went in there",
            "letter     k1 #0 at letters[0]@1: its attempts are 15",
            "letter     k1 #0 at letters[0]@1: its error-kind is other, not trap",
            "letter     k1 #0 at letters[0]@1: its value is \"changed\"",
        ]
    );
}

#[test]
fn an_output_of_nothing_and_one_of_a_failed_attempt_are_found() {
    let mut facts = sound();
    out(&mut facts, id(0, 77), place(0, 4));
    facts.unwanted.push(id(1, 4));
    assert_found(
        &facts,
        &["unknown    k0 #77 at output[0]@18", "emitted    k1 #4"],
    );
}

#[test]
fn outputs_that_are_not_committed_are_found() {
    let mut facts = sound();
    facts.positions.remove(&0);
    assert_found(&facts, &["uncommitted  input[0] at 0 of 10; 9 outputs"]);
    assert_eq!(account(&facts, AT_LEAST_ONCE).emitted_without_commit, 9);
}

#[test]
fn an_input_that_kafka_does_not_have_is_not_blamed_on_the_host() {
    let mut facts = sound();
    facts.stored.remove(&place(0, 4));
    facts.stored.insert(place(0, 10), id(0, 4));
    assert_found(
        &facts,
        &[
            "input      k0 #4 at input[0]@4: acknowledged, but not there",
            "input      k0 #4 at input[0]@10: there, but not acknowledged",
            "input      k0 #4 at input[0]@10: not behind",
        ],
    );
}

#[test]
fn a_record_that_was_acknowledged_without_a_place_gets_the_one_it_has() {
    let mut facts = sound();
    for sequence in [4, 5] {
        let mut inputs = facts.inputs.iter_mut();
        let input = inputs.find(|input| input.id == id(1, sequence)).unwrap();
        input.place.offset = -1001;
    }
    facts.stored.remove(&place(1, 5));
    give_places(&mut facts.inputs, &facts.stored);
    assert_found(
        &facts,
        &[
            "input      k1 #5 at input[1]@-1001: acknowledged, but not there",
            "unknown    k1 #5",
        ],
    );
}

#[test]
fn a_key_whose_outputs_are_scattered_has_no_order() {
    let mut facts = sound();
    facts.outputs.last_mut().unwrap().place.partition = 1;
    assert_found(&facts, &["reordered  k1 #9 at [1]"]);
}

#[test]
fn the_copy_that_was_not_acknowledged_may_be_the_first_one() {
    let mut facts = sound();
    let source = place(0, 10);
    facts.stored.insert(source, id(0, 9));
    out(&mut facts, id(0, 9), source);
    let input = facts.inputs.iter_mut().find(|input| input.id == id(0, 9));
    input.unwrap().place = source;
    facts.positions.insert(0, 11);
    facts.ends.insert(0, 11);
    let strict = Rules {
        repeats: Repeats::Never,
        ..AT_LEAST_ONCE
    };
    tell_copies_apart(&mut facts);
    assert_eq!(found(&facts, strict), Vec::<String>::new());
}

#[test]
fn what_is_in_the_input_twice_has_to_come_out_twice_and_once_each() {
    let mut facts = sound();
    for (nth, sequence) in [8, 9].into_iter().enumerate() {
        let source = place(0, 10 + i64::try_from(nth).unwrap());
        facts.stored.insert(source, id(0, sequence));
        out(&mut facts, id(0, sequence), source);
    }
    facts.positions.insert(0, 12);
    facts.ends.insert(0, 12);
    let mut lacking = facts.clone();
    let strict = Rules {
        repeats: Repeats::Never,
        ..AT_LEAST_ONCE
    };
    tell_copies_apart(&mut facts);
    assert_eq!(found(&facts, strict), Vec::<String>::new());
    assert_eq!(
        (facts.copies, account(&facts, strict).acknowledged),
        (2, 20)
    );

    let copy = lacking.outputs.pop().unwrap();
    lacking
        .outputs
        .push(lacking.outputs.last().unwrap().clone());
    assert_eq!(copy.source, place(0, 11));
    tell_copies_apart(&mut lacking);
    let told = found(&lacking, strict);
    assert!(told[0].starts_with("repeated   k0 (copy) #8"), "{told:?}");
    assert!(
        told[1].starts_with("lost       k0 (copy) #9 at input[0]@11"),
        "{told:?}"
    );
}
