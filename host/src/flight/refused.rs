//! What is said of a flight of which Kafka refused an output for good.

use super::{Cargo, Flight, Part, Purpose};
use crate::record::Fingerprint;
use crate::suspects::{Refusal, Taker};

impl Flight {
    /// Returns what was refused of the records, by the handler that had them last.
    pub(crate) fn as_refusal(&self) -> Refusal {
        let whole = |handler| Taker {
            handler,
            share: None,
        };
        Refusal {
            reason: self.refusal.get().cloned().unwrap_or_default(),
            is_letter: self.kind.purpose == Purpose::DeadLetter,
            attempts: self.kind.attempts,
            taker: self.stats.handler.clone().map(whole),
        }
    }

    /// Returns what was refused, once for each who emitted it where several have the record.
    pub(super) fn refusals_of(&self, output: Fingerprint, reason: &str) -> Vec<Refusal> {
        let refusals = self.parts.iter().filter_map(|part| {
            Some(Refusal {
                reason: reason.to_owned(),
                is_letter: part.has(output)?,
                attempts: part.attempts,
                taker: Some(Taker {
                    handler: part.handler.clone(),
                    share: Some(part.share.clone()),
                }),
            })
        });
        let mut refusals: Vec<Refusal> = refusals.collect();
        if refusals.is_empty() {
            refusals.push(Refusal {
                reason: reason.to_owned(),
                ..self.as_refusal()
            });
        }
        refusals
    }

    /// Returns what was refused, once for each of whom something was; all of it once where there are no several.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        if self.parts.is_empty() {
            return vec![self.as_refusal()];
        }
        let mut refusals: Vec<Refusal> = Vec::new();
        for refused in self.refused.lock().iter() {
            for refusal in self.refusals_of(refused.output, &refused.reason) {
                match refusals.iter_mut().find(|it| it.taker == refusal.taker) {
                    // A dead letter that was refused halts the partition; that is not to be overlooked.
                    Some(known) => known.is_letter |= refusal.is_letter,
                    None => refusals.push(refusal),
                }
            }
        }
        refusals
    }

    /// Takes the records of a refused flight. Those who take the record beside the guilty are done with it.
    pub(crate) fn unload_refused(&self) -> Cargo {
        let mut cargo = self.unload();
        if let [only] = cargo.as_mut_slice() {
            let refusals = self.refusals();
            let is_guilty = |part: &&Part| {
                let is_its = |it: &Refusal| it.is_of(&part.handler, &part.share);
                refusals.iter().any(is_its)
            };
            let innocent = self.parts.iter().filter(|part| !is_guilty(part));
            only.parts = innocent.map(Part::sent).collect();
        }
        cargo
    }
}
