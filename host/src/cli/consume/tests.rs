//! `produce` and `consume` together, against the embedded broker.
//!
//! A line goes in at one end and comes out at the other; JSON shows what is between.
//! **Invariant:** what a record consists of arrives unchanged.

use std::sync::Arc;
use std::thread;

use clap::Parser;
use rdkafka::config::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::time::Instant;

use super::*;
use crate::cli::console::tests::Said;
use crate::cli::produce::{ProduceArgs, produce};
use crate::cli::sender::Tally;
use crate::dev_broker::DevBroker;

#[derive(Parser)]
enum Cli {
    Produce(ProduceArgs),
    Consume(ConsumeArgs),
}

fn parse(broker: &DevBroker, command: &str) -> Cli {
    let flags = command.split(' ').chain(["--brokers", broker.bootstrap()]);
    Cli::try_parse_from(["kafka-wasm-host"].into_iter().chain(flags)).unwrap()
}

/// Runs `produce` and expects that all is acknowledged.
fn feed(broker: &DevBroker, command: &str, input: &[u8]) {
    let Cli::Produce(args) = parse(broker, command) else {
        panic!("{command}")
    };
    let (console, said) = Said::console();
    let tally = produce(&args, input, &Arc::new(console)).unwrap();
    assert_eq!((tally.failed, said.text().as_str()), (0, ""));
}

struct Output {
    complete: bool,
    text: Vec<u8>,
    said: String,
}

impl Output {
    fn lines(&self) -> Vec<&str> {
        std::str::from_utf8(&self.text).unwrap().lines().collect()
    }
}

fn read(broker: &DevBroker, command: &str) -> Output {
    let Cli::Consume(args) = parse(broker, command) else {
        panic!("{command}")
    };
    let (console, said) = Said::console();
    let mut text = Vec::new();
    let complete = consume(&args, &mut text, &console).unwrap();
    Output {
        complete,
        text,
        said: said.text(),
    }
}

#[test]
fn every_part_of_a_record_arrives_unchanged() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("parts", 3).unwrap();
    let input = concat!(
        r#"{"topic":"parts","partition":2,"offset":0,"timestamp":1700000000000,"key":"k","value":null}"#,
        "\n",
        r#"{"topic":"parts","partition":2,"offset":1,"timestamp":1700000000001,"key":null,"value":""}"#,
        "\n",
        r#"{"topic":"parts","partition":2,"offset":2,"timestamp":1700000000002,"key":"","#,
        r#""headers":[["h","é"],["h",null],["h",{"base64":"//4="}],["e",""]],"value":"{\"a\":1}"}"#,
        "\n",
        r#"{"topic":"parts","partition":2,"offset":3,"timestamp":1700000000003,"key-base64":"/w==","#,
        r#""headers":{"one":"1","two":null},"value-base64":"AP8="}"#,
        "\n",
    );
    feed(&broker, "produce parts --format json", input.as_bytes());
    let output = read(&broker, "consume parts --format json --until-end");
    assert!(output.complete);
    assert_eq!(String::from_utf8(output.text).unwrap(), input);
}

#[test]
fn flags_of_produce_fill_what_a_line_leaves_out() {
    let broker = DevBroker::start().unwrap();
    let flags = "--key k --header a=1 --header b= --partition 1 --timestamp 1700000000000";
    feed(&broker, &format!("produce flags {flags}"), b"text\n");
    let own = br#"{"key":"own","headers":{"c":"3"},"timestamp":5,"value":{"n": 1.50}}"#;
    feed(
        &broker,
        &format!("produce flags --format json {flags}"),
        own,
    );
    feed(
        &broker,
        &format!("produce flags --tombstone {flags}"),
        b"never read",
    );
    let common = r#"{"topic":"flags","partition":1,"offset":"#;
    assert_eq!(
        read(
            &broker,
            "consume flags --format json --until-end --partition 1"
        )
        .lines(),
        [
            format!(
                r#"{common}0,"timestamp":1700000000000,"key":"k","headers":{{"a":"1","b":""}},"value":"text"}}"#
            ),
            format!(
                r#"{common}1,"timestamp":5,"key":"own","headers":{{"a":"1","b":"","c":"3"}},"value":"{{\"n\":1.50}}"}}"#
            ),
            format!(
                r#"{common}2,"timestamp":1700000000000,"key":"k","headers":{{"a":"1","b":""}},"value":null}}"#
            ),
        ]
    );
}

#[test]
fn text_goes_through_byte_by_byte() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("text", 1).unwrap();
    feed(
        &broker,
        "produce text --key-separator :",
        b"a:1\n:no key text\nb:x:y\r\nc:\nd:\xff",
    );
    let output = read(&broker, "consume text --until-end --keys");
    assert_eq!(
        output.text,
        b"a\t1\n\tno key text\nb\tx:y\r\nc\t\nd\t\xff\n"
    );
    feed(&broker, "produce text --key a --tombstone", b"");
    let output = read(&broker, "consume text --until-end --from 5");
    assert_eq!(output.text, b"\n");
}

#[test]
fn equal_keys_share_the_partition_that_java_chooses() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("keys", 12).unwrap();
    feed(
        &broker,
        "produce keys --key-separator =",
        b"21=a\nfoobar=b\n21=c",
    );
    let output = read(&broker, "consume keys --until-end --format json");
    let partition_of = |key: &str| {
        let mut lines = output.lines();
        lines.retain(|line| line.contains(&format!("\"key\":\"{key}\"")));
        let partition = |line: &str| records::parse(line.as_bytes()).unwrap().partition.unwrap();
        assert!(
            lines
                .iter()
                .all(|line| partition(line) == partition(lines[0]))
        );
        partition(lines[0])
    };
    // Kafka's own UtilsTest has these hashes.
    let chosen = |hash: i32| (hash & i32::MAX) % 12;
    assert_eq!(partition_of("21"), chosen(-973_932_308));
    assert_eq!(partition_of("foobar"), chosen(-790_332_482));
}

#[test]
fn reading_starts_where_it_is_told_to() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("starts", 1).unwrap();
    feed(&broker, "produce starts", b"0\n1\n2\n3\n4\n5");
    assert_eq!(
        read(&broker, "consume starts --until-end --from 4").lines(),
        ["4", "5"]
    );
    assert_eq!(read(&broker, "consume starts --until-end").lines().len(), 6);
    let output = read(&broker, "consume starts --until-end --from end");
    assert!(output.complete && output.text.is_empty());
    let output = read(&broker, "consume starts --from 9 --timeout 300ms");
    assert!(output.complete && output.text.is_empty());
    assert_eq!(output.said, "partition 0 ends at offset 6, waiting for 9\n");
}

#[test]
fn a_reader_at_the_end_gets_what_comes_next() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("next", 2).unwrap();
    feed(&broker, "produce next", b"old\nolder");
    let Cli::Consume(args) = parse(&broker, "consume next --from end --count 2 --timeout 10s")
    else {
        panic!()
    };
    let (console, said) = Said::console();
    let reading = thread::spawn(move || {
        let mut text = Vec::new();
        (consume(&args, &mut text, &console).unwrap(), text)
    });
    let start = Instant::now();
    while said.text().is_empty() && start.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(said.text(), "waiting for new records of next\n");
    feed(&broker, "produce next --key k", b"new\nnewer");
    assert_eq!(reading.join().unwrap(), (true, b"new\nnewer\n".to_vec()));
}

#[test]
fn a_count_that_is_not_met_is_a_failure() {
    let broker = DevBroker::start().unwrap();
    feed(&broker, "produce counted", b"a\nb\nc");
    assert_eq!(
        read(&broker, "consume counted --count 2 --timeout 10s")
            .lines()
            .len(),
        2
    );
    let output = read(&broker, "consume counted --count 5 --timeout 1500ms");
    assert!(!output.complete);
    assert_eq!(
        (output.lines().len(), output.said.as_str()),
        (3, "got 3 of 5 records within 1.5s\n")
    );
    let output = read(&broker, "consume counted --count 5 --until-end");
    assert!(!output.complete);
    assert_eq!(
        output.said,
        "got 3 of 5 records before the end of counted\n"
    );
    assert!(read(&broker, "consume counted --timeout 200ms").complete);
}

#[test]
fn a_topic_that_does_not_exist_is_waited_for() {
    let broker = DevBroker::start().unwrap();
    let output = read(&broker, "consume later --timeout 400ms");
    assert!(!output.complete);
    assert_eq!(
        output.said,
        "topic later does not exist yet, waiting for it\ntopic later did not appear within 400ms\n"
    );
    thread::scope(|scope| {
        let reading = scope.spawn(|| read(&broker, "consume later --count 1 --timeout 10s"));
        thread::sleep(Duration::from_millis(200));
        feed(&broker, "produce later", b"here");
        assert_eq!(reading.join().unwrap().lines(), ["here"]);
    });
}

#[test]
fn a_partition_that_does_not_exist_is_named() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("two", 2).unwrap();
    let Cli::Consume(args) = parse(&broker, "consume two --partition 2") else {
        panic!()
    };
    let problem = consume(&args, &mut Vec::new(), &Said::console().0)
        .unwrap_err()
        .to_string();
    assert_eq!(problem, "two has no partition 2, only 0 to 1");
}

#[test]
fn a_broker_that_is_not_there_is_reported_in_time() {
    let flags = [
        "x",
        "consume",
        "t",
        "--brokers",
        "127.0.0.1:1",
        "--timeout",
        "500ms",
    ];
    let Cli::Consume(args) = Cli::try_parse_from(flags).unwrap() else {
        panic!()
    };
    let problem = consume(&args, &mut Vec::new(), &Said::console().0)
        .unwrap_err()
        .to_string();
    assert!(
        problem.starts_with("no broker answered at 127.0.0.1:1 within 500ms"),
        "{problem}"
    );
    assert!(problem.contains("Connection refused"), "{problem}");
}

#[test]
fn settings_that_would_commit_are_refused() {
    let broker = DevBroker::start().unwrap();
    let command = "consume t --kafka-setting enable.auto.commit=true";
    let Cli::Consume(args) = parse(&broker, command) else {
        panic!()
    };
    let problem = consume(&args, &mut Vec::new(), &Said::console().0)
        .unwrap_err()
        .to_string();
    assert!(
        problem.starts_with("--kafka-setting enable.auto.commit: this command depends on"),
        "{problem}"
    );
}

#[test]
fn a_closed_pipe_ends_reading_without_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let broker = DevBroker::start().unwrap();
    feed(&broker, "produce piped", b"a");
    for command in ["consume piped", "consume piped --format json"] {
        let Cli::Consume(args) = parse(&broker, command) else {
            panic!()
        };
        let error = consume(&args, &mut Closed, &Said::console().0).unwrap_err();
        assert!(is_broken_pipe(&error), "{error:?}");
    }
}

#[test]
#[expect(
    unsafe_code,
    reason = "the client's own headers only take names that are text"
)]
fn a_header_name_that_is_not_text_does_not_stop_reading() {
    let broker = DevBroker::start().unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    let headers = OwnedHeaders::new();
    let list = std::ptr::from_ref(headers.as_borrowed()).cast::<bindings::rd_kafka_headers_t>();
    let (name, value) = (b"a\xff", b"v");
    // SAFETY: `headers` owns the list and is not shared yet; name and value are copied, with their lengths.
    let code = unsafe {
        bindings::rd_kafka_header_add(
            list.cast_mut(),
            name.as_ptr().cast(),
            2,
            value.as_ptr().cast(),
            1,
        )
    };
    assert_eq!(
        code,
        bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    );
    producer
        .send(BaseRecord::<(), _>::to("odd").payload("p").headers(headers))
        .unwrap();
    producer.flush(Duration::from_secs(5)).unwrap();
    let output = read(&broker, "consume odd --format json --until-end");
    assert!(
        output.lines()[0].contains("\"headers\":{\"a\u{fffd}\":\"v\"}"),
        "{:?}",
        output.lines()
    );
}

#[test]
fn starts_are_parsed() {
    assert_eq!("beginning".parse(), Ok(Start::Beginning));
    assert_eq!("end".parse(), Ok(Start::End));
    assert_eq!("17".parse(), Ok(Start::Offset(17)));
    assert!("-1".parse::<Start>().is_err());
    assert!("start".parse::<Start>().is_err());
}

#[test]
fn a_hundred_thousand_lines_arrive_in_order() {
    let broker = DevBroker::start().unwrap();
    broker.create_topic("many", 1).unwrap();
    let input: Vec<u8> = (0..100_000)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    let Cli::Produce(args) = parse(&broker, "produce many") else {
        panic!()
    };
    let (console, _) = Said::console();
    let tally = produce(&args, input.as_slice(), &Arc::new(console)).unwrap();
    assert_eq!(
        tally,
        Tally {
            acknowledged: 100_000,
            failed: 0
        }
    );
    assert!(read(&broker, "consume many --count 100000 --timeout 20s").text == input);
}
