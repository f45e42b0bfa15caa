//! Values that a component hands to the imports, whatever they are.
//!
//! Handed an input: the length of a document in two bytes, the document, and the calls that a component makes while it has
//! the document in hand (`fuzzed/caller.wat` has their form). The guest is a real one, so what is lifted is lifted as ever.
//! **Invariant:** the host stands whatever is called, and what is emitted may be written.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Runtime as Tokio};
use tokio::time::Instant;

use super::{Conversation, GuestLog, Handler, Instance, Lent, Receipts, Role, Runtime, Setup};
use crate::grants::Grants;
use crate::ids::HandlerId;
use crate::outcome::Outcome;
use crate::policy::Limits;
use crate::publish::KeyFrom;
use crate::record::RecordView;
use crate::stats::Meter;

/// What the topics of the tenant begin with.
const PREFIX: &str = "acme.";
/// Bytes of the largest record that may be emitted.
const MESSAGE_MAX: usize = 4096;
/// Set in the length of a document where keys are taken from values.
const HAS_KEYS: u16 = 1 << 15;

/// What all inputs share.
struct Bench {
    tokio: Tokio,
    handler: Handler,
    setup: Setup,
    id: HandlerId,
}

/// Lets the component call what the input says.
pub(crate) fn imports_fuzzed(data: &[u8]) {
    let _ = called(data);
}

/// As [`imports_fuzzed`]; returns what became of the record, and how many records were emitted.
fn called(data: &[u8]) -> Option<(Outcome, usize)> {
    static BENCH: OnceLock<Option<Bench>> = OnceLock::new();
    let bench = BENCH.get_or_init(bench);
    assert!(bench.is_some(), "the component cannot be loaded");
    let (head, rest) = data.split_first_chunk()?;
    let length = u16::from_le_bytes(*head);
    let document = usize::from(length & !HAS_KEYS).min(rest.len());
    let (document, calls) = rest.split_at(document);
    let bench = bench.as_ref()?;
    let calling = bench.call(document, calls, length & HAS_KEYS != 0);
    bench.tokio.block_on(calling)
}

fn bench() -> Option<Bench> {
    let tokio = Builder::new_current_thread().enable_all().build().ok()?;
    let wasm = wat::parse_str(include_str!("fuzzed/caller.wat"));
    let wasm = wasm.inspect_err(|error| tracing::error!("{error}")).ok()?;
    let runtime = Runtime::new(1, None).ok()?;
    let handler = Handler::load(&runtime, &wasm, Role::Handler);
    let handler = handler.inspect_err(|error| tracing::error!("{error}"));
    let topics = vec!["acme.o*".parse().ok()?];
    let setup = Setup {
        limits: Limits {
            memory_bytes: 4 << 20,
            outbox_records: 100,
            outbox_bytes: 64 << 10,
            ..Limits::DEFAULT
        },
        config: Arc::new(BTreeMap::from([("mode".to_owned(), "quick".to_owned())])),
        message_max_bytes: MESSAGE_MAX,
        key_from: None,
        conversation: Conversation::Denied("nobody answers here"),
        receipts: Receipts::Denied("nothing is written here"),
        prefix: PREFIX.parse().ok()?,
        grants: Arc::new(Grants::Only {
            consume: Vec::new(),
            produce: topics,
            groups: Vec::new(),
        }),
        meter: Arc::new(Meter::default()),
    };
    Some(Bench {
        tokio,
        handler: handler.ok()?,
        setup,
        id: "acme/orders".parse().ok()?,
    })
}

impl Bench {
    async fn call(
        &self,
        document: &[u8],
        calls: &[u8],
        has_keys: bool,
    ) -> Option<(Outcome, usize)> {
        let mut setup = self.setup.clone();
        setup.key_from = "/id".parse::<KeyFrom>().ok().filter(|_| has_keys);
        let meter = Arc::clone(&setup.meter);
        let log = GuestLog::new(self.id.clone(), Arc::from("acme.in"), 0, meter);
        let begun = Instance::start(&self.handler, &setup, log, None, Lent::default()).await;
        let mut instance = begun.ok()?;
        let record = RecordView {
            topic: "acme.in",
            partition: 0,
            offset: 7,
            timestamp_ms: Some(1),
            key: Some(calls),
            value: Some(document).filter(|it| !it.is_empty()),
            headers: Vec::new(),
        };
        let outcome = instance.handle(&record, None, Instant::now()).await;
        let outbox = instance.outbox();
        if matches!(outcome, Outcome::Failed(_)) {
            assert!(outbox.is_empty(), "what failed is sent");
        }
        let limits = &setup.limits;
        assert!(outbox.len() <= limits.outbox_records);
        assert!(outbox.size_bytes() <= limits.outbox_bytes);
        for emit in outbox.iter() {
            let topic = emit.topic;
            assert!(topic.starts_with(PREFIX), "{topic}");
            assert!(setup.grants.may_produce(topic), "{topic}");
            assert!(emit.size_bytes() <= MESSAGE_MAX, "{topic}");
            assert!(emit.key.is_some() || !has_keys, "{topic} without a key");
            assert!(emit.partition.is_none_or(|it| it >= 0), "{topic}");
        }
        Some((outcome, outbox.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;

    /// What a kept seed does, in words.
    fn done(seed: &str) -> String {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/imports");
        let data = std::fs::read(format!("{seeds}/{seed}")).unwrap();
        match called(&data) {
            Some((Outcome::Failed(failure), 0)) => failure.kind.as_str().to_owned(),
            Some((Outcome::Handled, emitted)) => format!("emitted {emitted}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_component_calls_what_a_seed_says() {
        for (seed, expected) in [
            ("emit", "emitted 1"),
            ("emit-denied", "emitted 0"),
            ("emit-large", "emitted 0"),
            ("emit-many", "emitted 100"),
            ("emit-no-key", "emitted 1"),
            ("current", "emitted 1"),
            ("changes", "emitted 1"),
            ("changes-wrong", "emitted 0"),
            ("forward-changes", "emitted 1"),
            ("selection", FailureKind::Trap.as_str()),
            ("fields", "emitted 0"),
            ("receipt", "emitted 0"),
            ("bad-pointer", "emitted 0"),
            ("returns", FailureKind::Reject.as_str()),
        ] {
            assert_eq!(done(seed), expected, "{seed}");
        }
    }
}
