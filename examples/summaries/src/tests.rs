use kafka_wasm_guest::{Message, testing};

use super::*;

fn batch(values: &[&str]) -> Vec<Message> {
    values
        .iter()
        .map(|value| testing::message("earthquakes").text(value).build())
        .collect()
}

#[test]
fn each_network_of_a_batch_has_one_summary() {
    let values = [
        r#"{"network":"us","magnitude":4.5}"#,
        r#"{"network":"ak","magnitude":1.0}"#,
        r#"{"network":"us","magnitude":-0.5}"#,
    ];
    assert_eq!(
        testing::deliver_bulk(on_bulk, batch(&values)),
        Ok(Vec::new())
    );
    let emitted = testing::emitted();
    let keys: Vec<_> = emitted.iter().map(testing::Emitted::key_text).collect();
    assert_eq!(keys, [Some("ak"), Some("us")]);
    let us = Summary {
        network: "us".into(),
        count: 2,
        magnitude_max: 4.5,
    };
    assert_eq!(emitted[1].json(), Some(us));
}

#[test]
fn a_broken_line_fails_alone() {
    let values = ["broken", r#"{"network":"us","magnitude":4.5}"#];
    let failures = testing::deliver_bulk(on_bulk, batch(&values)).unwrap();
    assert_eq!(
        failures
            .iter()
            .map(|failure| failure.index)
            .collect::<Vec<_>>(),
        [0]
    );
    assert_eq!(testing::emitted().len(), 1);
}

#[test]
fn the_summaries_count_every_earthquake() {
    let lines: Vec<&str> = include_str!("../../data/earthquakes.jsonl")
        .lines()
        .collect();
    testing::deliver_bulk(on_bulk, batch(&lines)).unwrap();
    let summaries: Vec<Summary> = testing::emitted()
        .iter()
        .filter_map(testing::Emitted::json)
        .collect();
    assert_eq!(summaries.len(), 12);
    assert_eq!(
        summaries.iter().map(|summary| summary.count).sum::<u32>(),
        400
    );
}
