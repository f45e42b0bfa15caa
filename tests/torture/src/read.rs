//! Reads what is in Kafka at the end of a run: the topics and the committed positions.
//!
//! It is handed what the producers wrote down, and asks no host for anything.
//! **Invariant:** a record that cannot be understood is an error, never left out.

use anyhow::{Context as _, Result};
use harness::{TestRecord, clients};
use serde_json::Value;

use crate::account::{Facts, Id, Input, Letter, Output, Place, give_places, tell_copies_apart};
use crate::deed::sequence_of;
use crate::hosts::HANDLER;
use crate::{GROUP, INPUT, LETTERS, OUTPUT, UNWANTED};

/// Collects the facts of a run.
pub(crate) fn facts(bootstrap: &str, mut inputs: Vec<Input>) -> Result<Facts> {
    let all = |topic| clients::consume_all(bootstrap, topic, true);
    let stored = all(INPUT)?
        .iter()
        .map(|record| Ok((place(record)?, id(record, &record.text())?)))
        .collect::<Result<_>>()?;
    give_places(&mut inputs, &stored);
    let mut facts = Facts {
        inputs,
        stored,
        outputs: all(OUTPUT)?.iter().map(output).collect::<Result<_>>()?,
        letters: all(LETTERS)?.iter().map(letter).collect::<Result<_>>()?,
        unwanted: all(UNWANTED)?
            .iter()
            .map(|record| Ok(output(record)?.id))
            .collect::<Result<_>>()?,
        positions: clients::committed(bootstrap, GROUP, INPUT)?
            .into_iter()
            .collect(),
        ends: clients::end_offsets(bootstrap, INPUT)?
            .into_iter()
            .collect(),
        copies: 0,
    };
    tell_copies_apart(&mut facts);
    Ok(facts)
}

fn place(record: &TestRecord) -> Result<Place> {
    Ok(Place {
        partition: record.partition.context("a record without a partition")?,
        offset: record.offset.context("a record without an offset")?,
    })
}

fn id(record: &TestRecord, value: &str) -> Result<Id> {
    Ok(Id {
        key: record.key_text(),
        sequence: sequence_of(value).with_context(|| format!("no sequence in {record:?}"))?,
    })
}

/// What the fixture `act` tells of a record that it handled.
fn output(record: &TestRecord) -> Result<Output> {
    let told: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())
        .with_context(|| format!("an output that is not JSON: {record:?}"))?;
    let number = |key: &str| {
        let number = told[key].as_i64();
        number.with_context(|| format!("no {key} in {record:?}"))
    };
    Ok(Output {
        id: id(record, told["value"].as_str().unwrap_or_default())?,
        place: place(record)?,
        source: Place {
            partition: i32::try_from(number("partition")?)?,
            offset: number("offset")?,
        },
        at_ms: record.timestamp_ms.context("an output without a time")?,
    })
}

fn letter(record: &TestRecord) -> Result<Letter> {
    let header = |name: &str| {
        let name = format!("dead-letter.{name}");
        let text = record.header_text(&name);
        text.with_context(|| format!("no {name} in {record:?}"))
    };
    let mut problems = Vec::new();
    let mut expect = |name: &str, expected: &str| -> Result<()> {
        let found = header(name)?;
        if found != expected {
            problems.push(format!("its {name} is {found}, not {expected}"));
        }
        Ok(())
    };
    expect("topic", INPUT)?;
    expect("handler", &format!("default/{HANDLER}"))?;
    for name in ["timestamp", "revision", "error", "time"] {
        if header(name)?.is_empty() {
            problems.push(format!("its {name} is empty"));
        }
    }
    Ok(Letter {
        id: id(record, &record.text())?,
        place: place(record)?,
        source: Place {
            partition: header("partition")?.parse()?,
            offset: header("offset")?.parse()?,
        },
        at_ms: record
            .timestamp_ms
            .context("a dead letter without a time")?,
        value: record.text(),
        kind: header("error-kind")?,
        attempts: header("attempts")?.parse()?,
        problems,
    })
}
