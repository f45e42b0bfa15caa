use kafka_wasm_guest::testing;

use super::*;

#[test]
fn what_nobody_felt_is_not_told() {
    for reports in ["null", "0"] {
        let value = format!(r#"{{"id":"a","network":"us","place":"x","felt_reports":{reports}}}"#);
        let message = testing::message("earthquakes").text(&value).build();
        assert_eq!(testing::deliver(on_message, message), Ok(()));
    }
    assert_eq!(testing::emitted().len(), 0);
}

#[test]
fn every_report_of_the_data_is_counted() {
    let lines = include_str!("../../data/earthquakes.jsonl").lines();
    for line in lines {
        let message = testing::message("earthquakes").text(line).build();
        testing::deliver(on_message, message).unwrap();
    }
    let felt: Vec<Felt> = testing::emitted()
        .iter()
        .filter_map(testing::Emitted::json)
        .collect();
    assert_eq!(felt.len(), 49);
    assert_eq!(felt.iter().map(|felt| felt.reports).sum::<u32>(), 1377);
}
