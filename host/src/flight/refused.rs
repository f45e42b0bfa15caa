//! What is said of a flight of which Kafka refused an output for good.

use super::{Flight, Purpose};
use crate::record::Fingerprint;
use crate::suspects::Refusal;

impl Flight {
    /// Returns what was refused of the records.
    pub(crate) fn as_refusal(&self) -> Refusal {
        Refusal {
            reason: self.refusal.get().cloned().unwrap_or_default(),
            is_letter: self.kind.purpose == Purpose::DeadLetter,
            attempts: self.kind.attempts,
            handler: None,
        }
    }

    /// Returns what was refused, with the handler that emitted it where there are several.
    pub(super) fn refusal_of(&self, output: Fingerprint) -> Refusal {
        let parts = self.parts.iter();
        let blamed = parts.filter_map(|part| Some((part, part.has(output)?)));
        // A handler that lost its dead letter halts; that is not to be overlooked for another one's output.
        match blamed.max_by_key(|(_, is_letter)| *is_letter) {
            None => self.as_refusal(),
            Some((part, is_letter)) => Refusal {
                is_letter,
                attempts: part.attempts,
                handler: Some(part.handler.clone()),
                ..self.as_refusal()
            },
        }
    }

    /// Returns what was refused of each handler of which something was; all of it once where there are no several.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        if self.parts.is_empty() {
            return vec![self.as_refusal()];
        }
        let mut refusals: Vec<Refusal> = Vec::new();
        for (output, reason) in self.refused.lock().iter() {
            let refusal = Refusal {
                reason: reason.clone(),
                ..self.refusal_of(*output)
            };
            if !refusals.iter().any(|it| it.handler == refusal.handler) {
                refusals.push(refusal);
            }
        }
        refusals
    }
}
