//! Steps that ask, and go on with the answer.

use std::time::Duration;

use harness::{Host, TestRecord, clients, guest, wait_until};
use tokio::time::Instant;

use super::super::stage::{PATIENCE, Stage, is, said, texts, value_on, verdict};
use super::{QUICKLY, deploy, ended, pipe, pipeline, record, step, trail, trails};

/// A stage whose pipeline asks.
struct Asking {
    stage: Stage,
    questions: String,
    answers: String,
}

impl Asking {
    fn new(name: &str) -> Self {
        let stage = Stage::new(name, 1);
        let questions = format!("{}.questions", stage.name);
        let answers = format!("{}.answers", stage.name);
        stage.create_topic(&questions, 1);
        stage.create_topic(&answers, 1);
        Self {
            stage,
            questions,
            answers,
        }
    }

    /// A step that asks and waits so long.
    fn ask(&self, ms: u32, more: &str) -> String {
        format!(
            "{{ name = \"ask\", pipe = {{ topic = \"{}\", event = \"question\", response = {{ topic = \"{}\", timeout-ms = {ms} }} }}{more} }}",
            self.questions, self.answers
        )
    }

    /// Waits for so many requests.
    fn asked(&self, host: &Host, n: usize) -> Vec<TestRecord> {
        let found = clients::consume_until(&self.stage.bootstrap, &self.questions, n, PATIENCE);
        found.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()))
    }

    fn answer(&self, question: &TestRecord, text: &str) {
        let id = question.header_text("event_id").unwrap();
        let answer = TestRecord::new("answered", text)
            .header("event_id", Some(id.as_bytes()))
            .header("by", Some(b"somebody"));
        clients::produce_records(&self.stage.bootstrap, &self.answers, [answer]).unwrap();
    }
}

#[test]
fn the_answer_takes_the_place_of_the_record() {
    let asking = Asking::new("pipe-asks");
    let stage = &asking.stage;
    let steps = [
        step("a", ", repeatable = false"),
        asking.ask(60_000, ", repeatable = false"),
        step("b", ""),
        pipe(&stage.output),
    ];
    deploy(stage, QUICKLY, &pipeline("p", "", &steps));
    let host = stage.serve(&[]);
    // It is a request itself, which a later step answers.
    let original = record("order", &[]).header("event_id", Some(b"7"));
    stage.produce_records([original]);
    let question = asking.asked(&host, 1).remove(0);
    assert_eq!(
        (
            trail(&question),
            super::super::stage::field(&question, "event")
        ),
        ("a1".to_owned(), "question".to_owned())
    );
    assert_eq!(
        question.header_text("reply-to").as_deref(),
        Some(asking.answers.as_str())
    );
    assert!(stage.read(&stage.output).is_empty());
    // The next step fails at first, and the request is not repeated.
    asking.answer(&question, r#"{"trail":["answer"],"deeds":{"b":"fail 2"}}"#);
    let output = stage.outputs(&host, 1).remove(0);
    assert_eq!(trail(&output), "answer b3");
    assert_eq!(output.key_text(), "answered");
    assert_eq!(output.header_text("event_id").as_deref(), Some("7"));
    assert_eq!(output.header_text("by").as_deref(), Some("somebody"));
    assert_eq!(asking.asked(&host, 1).len(), 1);
    stage.committed(&host, &[(0, 1)]);
    host.stop().unwrap();
}

#[test]
fn a_request_without_an_answer_is_a_failed_step() {
    let asking = Asking::new("pipe-unanswered");
    let stage = &asking.stage;
    let tables = ["go-on", "retry"].map(|word| {
        let on_error = format!(", on-error = \"{word}\"");
        let steps = [
            step("a", ""),
            asking.ask(200, &on_error),
            pipe(&stage.output),
        ];
        pipeline(word, &format!("event = \"{word}\""), &steps)
    });
    let retry = "retry.max-attempts = 2\nretry.initial-ms = 10\n";
    deploy(stage, retry, &tables.concat());
    let host = stage.serve(&[]);
    stage.produce_records([record("go-on", &[]), record("retry", &[])]);
    assert_eq!(trails(&stage.outputs(&host, 1)), ["a1"]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("other", "2"));
    let error = format!(
        "pipeline retry, step ask: the request to {} was not answered within 200 ms",
        asking.questions
    );
    assert_eq!(said(&letter, "error"), error);
    assert_eq!(asking.asked(&host, 3).len(), 3);
    stage.committed(&host, &[(0, 2)]);
    host.stop().unwrap();
}

#[test]
fn a_pipeline_that_waits_for_an_answer_leaves_its_places_to_who_answers() {
    let asking = Asking::new("pipe-places");
    let stage = &asking.stage;
    let steps = [
        step("a", ""),
        step("b", ""),
        asking.ask(60_000, ""),
        pipe(&stage.output),
    ];
    let more = format!("ordering = \"none\"\nconcurrency = 2\n{QUICKLY}");
    // No more than may wait.
    deploy(stage, &more, &pipeline("p", "max-concurrent = 3", &steps));
    let answering = format!("{}-answering", stage.name);
    let told = format!("{}.told", stage.name);
    let manifest = format!(
        "topics = [\"{}\"]\ngroup = \"{answering}\"\ndead-letter-topic = \"{}\"\nconfig.output = \"{told}\"\n",
        asking.questions, stage.dead_letters
    );
    stage.create_topic(&told, 1);
    stage
        .folder
        .swap_in(&answering, guest("act"), &manifest)
        .unwrap();
    let host = stage.serve(&["--instances-max", "4"]);
    let deed = r#"{"deeds":{},"deed":"answer {\"trail\":[\"answer\"]}"}"#;
    stage.produce_records((0..6).map(|_| value_on(0, deed)));
    assert_eq!(trails(&stage.outputs(&host, 6)), ["answer"; 6]);
    stage.committed(&host, &[(0, 6)]);
    host.stop().unwrap();
}

#[test]
fn records_that_wait_for_their_pipeline_hold_up_no_others() {
    let asking = Asking::new("pipe-entry");
    let stage = &asking.stage;
    let slow = [asking.ask(60_000, ""), pipe(&stage.output)];
    let quick = [step("b", ""), pipe(&stage.output)];
    let tables = [
        pipeline("slow", "event = \"slow\"\nmax-concurrent = 1", &slow),
        pipeline("quick", "event = \"quick\"", &quick),
    ];
    let more = format!("ordering = \"key\"\nconcurrency = 1\n{QUICKLY}");
    deploy(stage, &more, &tables.concat());
    let host = stage.serve(&[]);
    let of_key = |key: &str, event: &str| TestRecord {
        key: Some(key.as_bytes().to_vec()),
        ..record(event, &[])
    };
    let slow = ["a", "b", "c", "d"].map(|key| of_key(key, "slow"));
    stage.produce_records(slow.into_iter().chain([of_key("e", "quick")]));
    assert_eq!(trails(&stage.outputs(&host, 1)), ["b1"]);
    for n in 0..4 {
        let question = asking.asked(&host, n + 1).remove(n);
        asking.answer(&question, r#"{"trail":["answer"]}"#);
    }
    assert_eq!(trails(&stage.outputs(&host, 5))[1..], ["answer"; 4]);
    stage.committed(&host, &[(0, 5)]);
    host.stop().unwrap();
}

#[test]
fn a_step_that_waits_for_a_receipt_holds_up_no_stop() {
    let asking = Asking::new("pipe-stop");
    let stage = &asking.stage;
    // A producer that goes on looking for a topic that does not exist.
    let more = "kafka.producer.\"topic.metadata.propagation.max.ms\" = 600000\n";
    deploy(stage, more, &pipeline("p", "", &[step("a", "")]));
    let mut host = stage.serve(&[]);
    let missing = format!("receipt {}.missing", stage.name);
    stage.produce_records([record("x", &[("a", &missing)])]);
    let is_taken = || {
        host.metric("kafka_wasm_record_bytes_total", &[])
            .is_ok_and(|it| it > 0.0)
    };
    wait_until("the record is taken", PATIENCE, is_taken).unwrap();
    let began = Instant::now();
    host.term().unwrap();
    host.wait(PATIENCE).unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}\n{}", host.tail());
}

#[test]
fn a_step_decides_what_is_done_with_a_record() {
    let asking = Asking::new("decides");
    let stage = &asking.stage;
    let choose = |event: &str, actions: &str| {
        let decide = format!("{{ component = \"choose.wasm\", args.actions = [{actions}] }}");
        let steps = [step("a", ""), decide, step("b", ""), pipe(&stage.output)];
        pipeline(event, &format!("event = \"{event}\""), &steps)
    };
    let (out, questions, answers) = (&stage.output, &asking.questions, &asking.answers);
    let tables = [
        choose(
            "all",
            &format!("[\"pipe\", \"{out}\", \"sent\"], [\"replace\", '{{\"trail\":[\"new\"]}}']"),
        ),
        choose(
            "finish",
            &format!("[\"pipe\", \"{out}\"], [\"finish\"], [\"drop\"]"),
        ),
        choose("drop", &format!("[\"pipe\", \"{out}\"], [\"drop\"]")),
        choose(
            "ask",
            &format!("[\"ask\", \"{questions}\", \"60000\", \"{answers}\"]"),
        ),
        choose("bad", "[\"pipe\", \"no topic\"]"),
        choose(
            "unread",
            &format!("[\"ask\", \"{questions}\", \"60000\", \"elsewhere\"]"),
        ),
    ];
    let more = format!("response = [{{ topic = \"{answers}\" }}]\n{QUICKLY}");
    deploy(stage, &more.replace("4\n", "1\n"), &tables.concat());
    let host = stage.serve(&[]);
    stage.produce_records(
        ["all", "finish", "drop", "bad", "unread", "ask"].map(|event| record(event, &[])),
    );
    let question = asking.asked(&host, 1).remove(0);
    asking.answer(&question, r#"{"trail":["answer"]}"#);
    let outputs = stage.outputs(&host, 5);
    assert_eq!(
        trails(&outputs),
        ["a1", "new b1", "a1", "a1", "answer b1"],
        "{:?}",
        texts(&outputs)
    );
    assert_eq!(super::super::stage::field(&outputs[0], "event"), "sent");
    let letters = stage.letters(&host, 2);
    let error = "pipeline bad, step choose: \"no topic\" is no topic name: the character ' ' is not allowed, only ASCII letters, \
                 digits, '.', '_' and '-'";
    assert_eq!(said(&letters[0], "error"), error);
    let error = "pipeline unread, step choose: the answer to a request cannot be read (pipe.response.topic = \"elsewhere\"): the \
                 manifest does not name elsewhere for responses";
    assert_eq!(said(&letters[1], "error"), error);
    stage.committed(&host, &[(0, 6)]);
    assert_eq!(
        (ended(&host, "handled"), ended(&host, "filtered")),
        (3.0, 1.0)
    );
    host.stop().unwrap();
}

#[test]
fn a_topic_for_answers_that_does_not_exist_is_told() {
    let stage = Stage::new("pipe-nowhere", 1);
    let nowhere = format!("{}.nowhere", stage.name);
    let ask = format!(
        "{{ name = \"ask\", pipe = {{ topic = \"{}\", response.topic = \"{nowhere}\" }} }}",
        stage.output
    );
    deploy(&stage, "retry.max-attempts = 1", &pipeline("p", "", &[ask]));
    let host = stage.serve(&[]);
    stage.produce_records([record("x", &[])]);
    let error = said(&stage.letter(&host), "error");
    let expected = format!(
        "(pipe.response.topic = \"{nowhere}\"): no topic for responses exists: create {nowhere}"
    );
    assert!(error.ends_with(&expected), "{error}");
    assert!(stage.read(&stage.output).is_empty());
    stage.committed(&host, &[(0, 1)]);
    host.stop().unwrap();
}
