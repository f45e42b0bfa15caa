//! Settings of the host, right and wrong.

use proptest::prelude::*;

use super::*;

fn problems(text: &str) -> Vec<String> {
    Settings::parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_empty_file_leaves_everything_open() {
    assert_eq!(Settings::parse(""), Ok(Settings::default()));
}

#[test]
fn a_full_file_is_read_as_written() {
    let text = r#"
            brokers = "kafka-1:9092,SSL://kafka-2, [::1]:9093"
            handlers = "/srv/handlers"
            http = "localhost:8080"
            drain-timeout-ms = 5000
            log = "warn,guest=debug"
            log-format = "json"
            cache = "/var/cache/host"
            cache-max-mib = 100
            secrets = "/run/secrets"
            instances-max = 20
            strict = true
            only = ["quakes", "acme/orders"]
            until-caught-up = true
            max-records = 1000
            create-topics = true
            [kafka]
            security.protocol = "ssl"
            "socket.timeout.ms" = 10_000
        "#;
    let settings = Settings::parse(text).unwrap();
    let pairs = [("security.protocol", "ssl"), ("socket.timeout.ms", "10000")];
    assert_eq!(
        settings,
        Settings {
            brokers: Some("kafka-1:9092,SSL://kafka-2, [::1]:9093".to_owned()),
            handlers: Some("/srv/handlers".into()),
            http: Some("localhost:8080".to_owned()),
            drain_timeout: Some(Duration::from_secs(5)),
            log: Some("warn,guest=debug".to_owned()),
            log_format: Some(LogFormat::Json),
            cache: Some("/var/cache/host".into()),
            cache_max_mib: Some(100),
            secrets: Some("/run/secrets".into()),
            instances_max: Some(20),
            strict: Some(true),
            only: Some(vec![
                "default/quakes".parse().unwrap(),
                "acme/orders".parse().unwrap()
            ]),
            until_caught_up: Some(true),
            max_records: Some(1000),
            create_topics: Some(true),
            kafka: pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Settings::default()
        }
    );
}

#[test]
fn every_problem_is_named_with_its_line() {
    let text = r#"brokers = "kafka:port"
handlers = ""
http = 8080
drain-timeout-ms = -1
log-format = "jason"
cache = true
instances-max = 0
strict = "yes"
only = ["a/b/c", 5]
handler = "x"
until-caught-up = 1
max-records = 0
[kafka]
acks = 1
group.id = "g"
producer.linger.ms = 5
"#;
    assert_eq!(
        problems(text),
        [
            r#"1: brokers: expected brokers such as "kafka-1:9092,kafka-2:9092", found the broker "kafka:port""#,
            r#"2: handlers: expected the path of a folder, found the text """#,
            r#"3: http: expected an address such as "127.0.0.1:8080", found 8080"#,
            "4: drain-timeout-ms: expected a whole number of milliseconds from 0 to 3600000, found -1",
            r#"5: log-format: expected "text" or "json", found the text "jason" (did you mean "json"?)"#,
            "6: cache: expected the path of a folder, found true",
            "7: instances-max: expected a whole number of instances from 1 to 100000, found 0",
            r#"8: strict: expected true or false, found the text "yes""#,
            "9: only[0]: the character '/' is not allowed, only ASCII letters, digits, '_' and '-'",
            "9: only[1]: expected a text, found 5",
            r#"10: unknown key "handler" (did you mean "handlers"?)"#,
            "11: until-caught-up: expected true or false, found 1",
            "12: max-records: expected a whole number of records from 1 to 9007199254740992, found 0",
            r#"14: kafka."acks": cannot be set: a record counts as written when all replicas in sync have it"#,
            r#"15: kafka."group.id": cannot be set: every handler has a `group` of its own"#,
            r#"16: kafka."producer.linger.ms": librdkafka has no such setting (did you mean "linger.ms"?)"#,
        ]
    );
}

#[test]
fn addresses_have_a_host_and_a_port() {
    for good in ["localhost:80", "127.0.0.1:0", "[::1]:65535"] {
        assert!(is_address(good), "{good}");
    }
    for bad in [
        "",
        "localhost",
        ":80",
        "a b:80",
        "::1:80",
        "http://a:80",
        "a:65536",
        "a:",
    ] {
        assert!(!is_address(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_settings_panic(text in any::<String>()) {
        if let Err(problems) = Settings::parse(&text) {
            prop_assert!(!problems.is_empty());
        }
    }
}
