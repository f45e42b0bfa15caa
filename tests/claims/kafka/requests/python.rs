//! Requests between the host and the Python package kafka-python-app, whose names for them the host has.

use harness::python::Script;
use serde_json::{Value, json};

use super::{Asking, MINUTE};
use crate::kafka::stage::{PATIENCE, field};

/// How many requests each side makes at once.
const REQUESTS: usize = 20;

#[test]
fn kafka_python_app_can_call_us_and_be_called() {
    it_asks_and_we_answer();
    we_ask_and_it_answers();
}

/// Its requests bear an id and say no more; a handler that knows the topic answers them. With the header `reply-to`, which
/// its users can add, the handler needs to know nothing.
fn it_asks_and_we_answer() {
    let asking = Asking::new("python-asks", 2);
    let answering = asking.answering();
    let _host = answering.serve(&[]);
    let answer = json!({ "event": "priced", "price": "NUMBER" }).to_string();
    let with_header = format!("answer {answer}");
    let without = format!("answer-to {} {answer}", asking.answers);
    for (deed, more) in [(with_header, Some("--reply-to")), (without, None)] {
        let request = json!({ "event": "price", "deed": deed }).to_string();
        let (bootstrap, askers) = (asking.stage.bootstrap.as_str(), REQUESTS.to_string());
        let args = [
            bootstrap,
            &asking.questions,
            &asking.answers,
            "priced",
            &request,
        ];
        let asks = Script::start(
            "asks.py",
            args.into_iter().chain(["--askers", &askers]).chain(more),
        )
        .unwrap();
        let lines = asks.lines(PATIENCE).unwrap();
        assert_eq!(lines.len(), REQUESTS);
        for line in &lines {
            let answer: Value = serde_json::from_str(line).unwrap();
            assert_eq!(answer["error"], Value::Null, "{answer}");
            // Its own response, not that of a neighbour.
            let price = answer["number"].to_string();
            assert_eq!(
                answer["response"],
                json!({ "event": "priced", "price": price })
            );
        }
    }
}

/// A handler of its app answers, and one of its pipelines, which hands on the headers of the request with its result.
fn we_ask_and_it_answers() {
    let asking = Asking::new("python-answers", 2);
    let quotes = format!("{}.quotes", asking.stage.name);
    asking.stage.create_topic(&quotes, 1);
    let args = [&asking.stage.bootstrap, &asking.questions, &quotes];
    let app = Script::start("answers.py", args.map(String::as_str)).unwrap();
    let keys = format!(
        "ordering = \"key\"\nresponse = [{{ topic = \"{}\", event = \"priced\" }}, \
         {{ topic = \"{quotes}\", event = \"quoted\" }}]\n",
        asking.answers
    );
    let host = asking.stage.run("act", &keys);
    let (mut asks, mut expected) = (Vec::new(), Vec::new());
    for (event, answer) in [("price", "\"priced\""), ("quote", "\"quoted\"")] {
        for count in 0..REQUESTS {
            let key = format!("{event}-{count}");
            let request = json!({ "event": event, "count": count }).to_string();
            asks.push(asking.ask(&key, MINUTE, &request));
            expected.push((key, answer.to_owned(), (2 * count).to_string()));
        }
    }
    asking.stage.produce_records(asks);
    let outputs = asking.stage.outputs(&host, expected.len());
    let mut found: Vec<_> = outputs
        .iter()
        .map(|output| {
            let result = field(output, "result");
            let answer: Value = serde_json::from_str(&result)
                .unwrap_or_else(|error| panic!("{result}: {error}\n{}", app.tail()));
            let told = |name: &str| answer[name].to_string();
            (output.key_text(), told("event"), told("price"))
        })
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
