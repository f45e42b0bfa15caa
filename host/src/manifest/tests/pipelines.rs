//! What is done with records step by step, as a manifest says it.

use std::time::Duration;

use super::{parse, problems_of, texts};
use crate::pipeline::{Awaited, BuiltIn, ComponentWork, OnStepError, Pipe, Work};
use crate::secrets::Secrets;

const FULL: &str = r#"
topics = ["orders"]
[[response]]
topic = "answers"
[[pipeline]]
name = "bill"
topic = "orders"
event = "order.*"
headers = { region = "eu" }
max-concurrent = 7
[[pipeline.step]]
component = "price.wasm"
args = { limit = 1_000, share = 0.5, deep = { list = ["a", true, 2026-01-31] }, "/a/b" = 0x10 }
config = { label = "x" }
repeatable = false
on-error = "go-on"
[[pipeline.step]]
use = "require"
args.pointers = ["/id"]
pipe = { topic = "checked" }
[[pipeline.step]]
name = "ask"
pipe.topic = "questions"
pipe.event = "question"
pipe.response = { topic = "answers.of-steps", event = "answer", timeout-ms = 5000 }
on-error = "dead-letter"
[[pipeline.step]]
pipe = { topic = "done", response.topic = "answers" }
[[pipeline]]
name = "other"
step = [{ use = "headers", args = { a = "b" } }]
"#;

#[test]
fn pipelines_are_read_as_written() {
    let manifest = parse(FULL);
    let [bill, other] = manifest.pipelines.as_slice() else {
        panic!("{:?}", manifest.pipelines);
    };
    assert_eq!((&*bill.name, bill.max_concurrent), ("bill", Some(7)));
    let rule = bill.rule.to_string();
    assert_eq!(rule, "topic orders, event order.*, header region=eu");
    assert!(other.rule.is_any() && other.max_concurrent.is_none());
    let names: Vec<&str> = bill.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(names, ["price", "require", "ask", "pipe"]);
    let price = ComponentWork {
        file: "price.wasm".to_owned(),
        arguments:
            r#"{"/a/b":16,"deep":{"list":["a",true,"2026-01-31"]},"limit":1000,"share":0.5}"#
                .to_owned(),
        config: texts([("label", "x")]),
        secrets: Secrets::new(),
    };
    assert_eq!(bill.steps[0].work, Some(Work::Component(price)));
    assert!(!bill.steps[0].is_repeatable && bill.steps[1].is_repeatable);
    let on_error: Vec<OnStepError> = bill.steps.iter().map(|step| step.on_error).collect();
    let retry = OnStepError::Retry;
    let others = [OnStepError::GoOn, OnStepError::DeadLetter];
    assert_eq!(on_error, [others[0], retry, others[1], retry]);
    assert!(matches!(
        bill.steps[1].work,
        Some(Work::BuiltIn(BuiltIn::Require(_)))
    ));
    let pipes: Vec<Pipe> = bill.steps.iter().filter_map(|it| it.pipe.clone()).collect();
    let pipe = |topic: &str, event: Option<&str>, response: Option<(&str, u64)>| Pipe {
        topic: topic.parse().unwrap(),
        event: event.map(str::to_owned),
        response: response.map(|(topic, ms)| Awaited {
            topic: topic.parse().unwrap(),
            timeout: Duration::from_millis(ms),
        }),
    };
    let expected = [
        pipe("checked", None, None),
        pipe(
            "questions",
            Some("question"),
            Some(("answers.of-steps", 5000)),
        ),
        pipe("done", None, Some(("answers", 30_000))),
    ];
    assert_eq!(pipes, expected);
    let responses = manifest.responses.iter();
    let responses: Vec<_> = responses
        .map(|it| (it.topic.as_str(), it.event.as_deref()))
        .collect();
    assert_eq!(
        responses,
        [("answers", None), ("answers.of-steps", Some("answer"))]
    );
}

#[test]
fn a_pipeline_that_cannot_be_says_why() {
    assert_eq!(
        problems_of(
            "[[pipeline]]\nname = \"a b\"\ntopic = \"b\"\n[[pipeline]]\nname = \"x\"\nstep = []"
        ),
        [
            "2: pipeline[0].topic: b is none of the handler's topics, so no record can match",
            "2: pipeline[0].step: missing (a pipeline has one step at least: [[pipeline.step]])",
            "3: pipeline[0].name: the character ' ' is not allowed, only ASCII letters, digits, '.', '_' and '-'",
            "5: pipeline[1].step: missing (a pipeline has one step at least: [[pipeline.step]])",
        ]
    );
    let step = "step = [{ pipe.topic = \"b\" }]\n";
    assert_eq!(
        problems_of(&format!(
            "[[pipeline]]\nname = \"x\"\n{step}[[pipeline]]\nname = \"x\"\n{step}[[pipeline]]\n{step}[bulk]"
        )),
        [
            "2: pipeline: a pipeline is handed records one by one, so [[pipeline]] and [bulk] exclude each other (leave one \
             of them out)",
            "5: pipeline[1].name: there are two pipelines of the name x",
            "8: pipeline[2].name: missing (metrics and messages name the pipeline by it)",
        ]
    );
}

/// The problems of a step with these keys.
fn step(keys: &str) -> Vec<String> {
    problems_of(&format!(
        "[[pipeline]]\nname = \"x\"\n[[pipeline.step]]\n{keys}"
    ))
}

/// Keys of a step, and a problem that they have.
const WRONG: &[(&str, &str)] = &[
    (
        "name = \"a\"",
        "4: pipeline[0].step[0].component: there is nothing to do (say it by component, use or pipe)",
    ),
    (
        "use = \"drop-unles\"",
        "5: pipeline[0].step[0].use: expected \"set\", \"remove\", \"require\", \"key-from\", \"headers\" or \
             \"drop-unless\", found the text \"drop-unles\" (did you mean \"drop-unless\"?)",
    ),
    (
        "use = \"set\"\nargs = { a = 1 }",
        "6: pipeline[0].step[0].args: \"a\": no JSON pointer: the pointer begins with 'a' in place of '/'",
    ),
    (
        "use = \"require\"\nargs.pointers = 7",
        "6: pipeline[0].step[0].args: \"pointers\": expected a list of JSON pointers such as [\"/card\"]",
    ),
    (
        "use = \"headers\"\nargs = \"x\"",
        "6: pipeline[0].step[0].args: expected a table, [args], found the text \"x\"",
    ),
    (
        "component = \"a.wasm\"\nargs = { a = { b = [inf] } }",
        "6: pipeline[0].step[0].args.\"a.b[0]\": expected a value that JSON has, found inf",
    ),
    (
        "component = \"a.wasm\"\nuse = \"set\"",
        "6: pipeline[0].step[0].use: the step has a component already (make two steps of it)",
    ),
    (
        "component = \"a/b.wasm\"",
        "5: pipeline[0].step[0].component: expected a file name, found the path \"a/b.wasm\" (the component lies beside its \
             manifest)",
    ),
    (
        "pipe.topic = \"a\"\nargs = {}",
        "6: pipeline[0].step[0].args: there is nothing that takes arguments (name a component, or a built-in step by use)",
    ),
    (
        "pipe.topic = \"a\"\nconfig.a = 1",
        "6: pipeline[0].step[0].config: is for a component, and the step has none (leave it out, or name the component)",
    ),
    (
        "pipe.event = \"e\"",
        "4: pipeline[0].step[0].pipe.topic: missing (name the topic)",
    ),
    (
        "pipe = { topic = \"a\", respond = {} }",
        "5: unknown key \"pipeline[0].step[0].pipe.respond\" (did you mean \"pipe.response\"?)",
    ),
    (
        "pipe = { topic = \"a\", response.timeout-ms = 0 }",
        "5: pipeline[0].step[0].pipe.response.timeout-ms: expected a whole number of milliseconds from 1 to 3600000, found 0",
    ),
    (
        "pipe = { topic = \"a\", response.topic = \"a\" }",
        "5: pipeline[0].step[0].pipe.response.topic: a is where the request goes, which would be taken for its own answer \
             (let it come by another topic)",
    ),
    (
        "pipe.topic = \"__a\"",
        "5: pipeline[0].step[0].pipe.topic: __a has the name of one of Kafka's internal topics",
    ),
    (
        "pipe.topic = \"a\"\non-error = \"retri\"",
        "6: pipeline[0].step[0].on-error: expected \"retry\", \"go-on\", \"skip\", \"dead-letter\" or \"halt\", found the text \
             \"retri\" (did you mean \"retry\"?)",
    ),
    (
        "pipe.topic = \"a\"\n[[pipeline.step]]\npipe.topic = \"b\"",
        "6: pipeline[0].step[1].name: there are two steps of the name pipe (give one of them another name = \"…\")",
    ),
];

#[test]
fn a_step_that_cannot_be_done_says_why() {
    for (keys, expected) in WRONG {
        let found = step(keys);
        assert!(
            found.iter().any(|it| it == expected),
            "{keys}\n{found:#?}\nlacks {expected}"
        );
    }
}

#[test]
fn a_request_and_a_transaction_exclude_each_other() {
    let ask =
        "[[pipeline]]\nname = \"x\"\nstep = [{ pipe = { topic = \"a\", response.topic = \"b\" } }]";
    let found = problems_of(&format!("delivery = \"exactly-once\"\n{ask}"));
    let expected = "5: pipeline[0].step[0].pipe.response.topic: a request is written at once and no transaction takes it back, which \
                    delivery = \"exactly-once\" is meant to exclude (write side-effects = \"allowed\", or leave pipe.response out)";
    assert_eq!(found, [expected]);
    let both = "topics = [\"a\"]\ndelivery = \"exactly-once\"\nside-effects = \"allowed\"\n";
    assert_eq!(parse(&format!("{both}{ask}")).responses.len(), 1);
}
