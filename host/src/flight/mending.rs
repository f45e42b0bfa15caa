//! What a flight keeps of outputs that Kafka refused, so that they need not be the end of their records.
//!
//! **Invariant:** where it keeps them at all, it keeps each that is refused, as it was sent; and of several records none is
//! given up before all is mended that can be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Flight, FlightKind, Ledger};
use crate::ids::HandlerId;
use crate::outbox::Outbox;
use crate::publish::{ERROR_HEADER, Publish, Remedy, TOPIC_HEADER};
use crate::record::{Emit, Fingerprint, Header};

/// What the outputs of a flight have behind them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mending {
    /// How often they were sent before.
    pub(crate) sent_before: u32,
    /// Those that go in the place of refused ones to a topic of their own, each with that one.
    pub(super) letters: Vec<(Fingerprint, Fingerprint)>,
    /// What was refused before and nothing mends, and why. Its records are given up when the others' outputs are there.
    pub(super) lost: Vec<(Fingerprint, String)>,
}

impl Mending {
    /// Returns what becomes of a refused output; nothing where its record is to be given up.
    fn remedy<'r>(
        &self,
        refused: &'r RefusedOutput,
        publish: &Publish,
    ) -> Option<(Emit<'r>, Remedy)> {
        let is_letter = self.letters.iter().any(|(it, _)| *it == refused.output);
        let kept = refused.kept.as_ref().filter(|_| !is_letter)?;
        let emit = kept.record.iter().next()?;
        let remedy = publish.remedy(emit.topic, self.sent_before + 1, kept.may_pass)?;
        Some((emit, remedy))
    }
}

/// An output that was refused.
#[derive(Debug)]
pub(crate) struct RefusedOutput {
    pub(super) output: Fingerprint,
    pub(super) reason: String,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    may_pass: bool,
    /// One record.
    record: Outbox,
}

/// What a refusal says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// It is about the record itself, and would come again.
    pub(crate) is_own: bool,
    /// The same record may be taken later.
    pub(crate) may_pass: bool,
}

/// What a flight is followed by of which outputs were refused.
#[derive(Debug)]
pub(crate) struct Repair {
    pub(crate) kind: FlightKind,
    pub(crate) outputs: Outbox,
    /// How many of them are sent again; the others go in the place of refused ones.
    pub(crate) repeated: usize,
    /// How long it waits.
    pub(crate) wait: Duration,
    /// The first refusal of them.
    pub(crate) reason: String,
}

impl RefusedOutput {
    /// Makes one of which only what it consists of is known.
    pub(super) fn bare(output: Fingerprint, reason: String) -> Self {
        Self {
            output,
            reason,
            kept: None,
        }
    }
}

impl Flight {
    /// Takes note that an output was not written.
    pub(crate) fn fail(self: &Arc<Self>, emit: &Emit<'_>, fault: Fault, reason: String) {
        let output = emit.fingerprint();
        if self.kind.mending.is_some() {
            let mut record = Outbox::new(1, usize::MAX);
            // One record fits.
            let _ = record.push(emit);
            let kept = Some(Kept {
                may_pass: fault.may_pass,
                record,
            });
            self.note_refused(RefusedOutput {
                output,
                reason,
                kept,
            });
        } else if fault.is_own {
            self.refuse(output, reason);
        } else {
            self.withdraw(output, reason);
        }
    }

    /// Returns the handler whose outputs it carries.
    pub(crate) fn handler(&self) -> Option<&HandlerId> {
        self.stats.handler.as_ref()
    }

    /// Returns whether it follows another one of which outputs were refused.
    pub(super) fn is_repair(&self) -> bool {
        let mending = self.kind.mending.as_ref();
        mending.is_some_and(|it| it.sent_before > 0)
    }

    /// Begins to mend another flight: no other record may be begun, and what nothing mends is refused from the start.
    pub(super) fn begin_repair(&self) {
        self.hold_others();
        for (output, reason) in self.kind.mending.iter().flat_map(|it| &it.lost) {
            // The first one stands for all.
            let _ = self.refusal.set(reason.clone());
            let refused = RefusedOutput::bare(*output, reason.clone());
            self.refused.lock().push(refused);
        }
    }

    /// Lets no other record be begun: what it emits would pass what is to be sent again.
    pub(super) fn hold_others(&self) {
        if !self.is_holding.swap(true, Ordering::AcqRel) {
            self.ledger.holding.fetch_add(1, Ordering::AcqRel);
            // Where lanes work in parallel, the partition's task holds them.
            self.ledger.changed.notify_one();
        }
    }

    /// Takes back that it holds others, now that it has landed; returns whether it held any.
    pub(super) fn let_others_go(&self) -> bool {
        let is_holding = self.is_holding.load(Ordering::Acquire);
        if is_holding {
            self.ledger.holding.fetch_sub(1, Ordering::AcqRel);
        }
        is_holding
    }

    /// Returns the output that was refused in the place of which this one was sent, or this one.
    pub(super) fn original(&self, output: Fingerprint) -> Fingerprint {
        let letters = self.kind.mending.iter().flat_map(|it| &it.letters);
        let mut letters = letters.filter(|(letter, _)| *letter == output);
        letters.next().map_or(output, |(_, original)| *original)
    }

    /// Returns what is to follow now that it has landed refused; none where its records are to be given up.
    pub(crate) fn repair(&self, publish: &Publish) -> Option<Repair> {
        let mending = self.kind.mending.as_ref()?;
        let sent = mending.sent_before + 1;
        let mut next = Mending {
            sent_before: sent,
            ..Mending::default()
        };
        let (mut outputs, mut repeated) = (Outbox::new(usize::MAX, usize::MAX), 0);
        let mut reason = None;
        for refused in self.refused.lock().iter() {
            let Some((emit, remedy)) = mending.remedy(refused, publish) else {
                let output = self.original(refused.output);
                next.lost.push((output, refused.reason.clone()));
                continue;
            };
            reason.get_or_insert_with(|| refused.reason.clone());
            match remedy {
                Remedy::Again => {
                    repeated += 1;
                    // This outbox has no bounds.
                    let _ = outputs.push(&emit);
                }
                Remedy::Letter(topic) => {
                    let letter = letter(&emit, &topic, &refused.reason);
                    next.letters.push((letter.fingerprint(), refused.output));
                    let _ = outputs.push(&letter);
                }
            }
        }
        let is_one = self.cargo.lock().len() <= 1;
        if is_one && !next.lost.is_empty() {
            // It is given up whatever becomes of its other outputs.
            return None;
        }
        let reason = reason?;
        let retry = publish.retry.as_ref().filter(|_| repeated > 0);
        Some(Repair {
            kind: FlightKind {
                mending: Some(next),
                ..self.kind.clone()
            },
            outputs,
            repeated,
            wait: retry.map_or(Duration::ZERO, |retry| retry.wait(sent)),
            reason,
        })
    }
}

impl Ledger {
    /// Returns whether no other record may be begun: refused outputs are under way again, others may be mended once their
    /// flight has landed, or a refusal is to be dealt with.
    pub(crate) fn is_held(&self) -> bool {
        // In this order: a flight that lands refused is one to be dealt with before it holds others no more.
        self.holding.load(Ordering::Acquire) > 0 || self.has_refused.load(Ordering::Acquire)
    }
}

/// Makes what goes in the place of a refused output. Its time is that of its writing, so that the topic keeps it.
fn letter<'a>(emit: &Emit<'a>, topic: &'a str, reason: &'a str) -> Emit<'a> {
    let header = |key: &'static str, value: &'a str| Header {
        key: key.into(),
        value: Some(value.as_bytes()),
    };
    let mut headers = emit.headers.clone();
    headers.push(header(ERROR_HEADER, reason));
    headers.push(header(TOPIC_HEADER, emit.topic));
    Emit {
        topic,
        key: emit.key,
        value: emit.value,
        headers,
        partition: None,
        timestamp_ms: None,
    }
}
