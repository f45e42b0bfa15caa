//! What `/metrics` says of deployments, of handlers as a whole, and of the host's version.

use std::fmt;

use super::{Scrape, Writer, names, of_handler};

impl Scrape {
    pub(super) fn write_deployments(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let (live, max) = self.instances;
        writer.gauges(&names::INSTANCES, [([], live)])?;
        writer.gauges(&names::INSTANCES_MAX, [([], max)])?;
        let results = ["published", "refused", "rolled-back"].into_iter();
        let deploys = results
            .zip(self.deploys)
            .map(|(result, count)| ([("result", result)], count));
        writer.counters(&names::DEPLOYS, deploys)?;
        let results = ["done", "refused"].into_iter().zip(self.reloads);
        let reloads = results.map(|(result, count)| ([("result", result)], count));
        writer.counters(&names::RELOADS, reloads)?;
        self.write_trials(writer)?;
        writer.histograms(&names::COMPILE_DURATION, [([], &self.compile)])?;
        let handlers = || self.handlers.iter();
        let paused = handlers().map(|(id, _, [paused, _])| (of_handler(id), u64::from(*paused)));
        writer.gauges(&names::PAUSED, paused)?;
        let paused = handlers().map(|(id, _, [_, paused])| (of_handler(id), u64::from(*paused)));
        writer.gauges(&names::PAUSED_BY_COMMAND, paused)?;
        let failures = self.state_failures.map(|count| ([], count));
        writer.counters(&names::STATE_FAILURES, failures)?;
        let handlers = self.handlers.iter().map(|(handler, revision, _)| {
            let [tenant, handler] = of_handler(handler);
            [tenant, handler, ("revision", revision.as_str())]
        });
        writer.infos(&names::HANDLER_INFO, handlers)?;
        writer.infos(
            &names::BUILD_INFO,
            [[("version", env!("CARGO_PKG_VERSION"))]],
        )
    }

    fn write_trials(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let sides = || {
            let canaries = self.canaries.iter();
            canaries.flat_map(|(id, sides)| {
                let [tenant, handler] = of_handler(id);
                let named = ["serving", "tried"].into_iter().zip(sides);
                named.map(move |(name, side)| ([tenant, handler, ("side", name)], side))
            })
        };
        let records = sides().flat_map(|([tenant, handler, side], it)| {
            let results = [("handled", it.handled), ("failed", it.failed)];
            results.map(|(result, count)| ([tenant, handler, side, ("result", result)], count))
        });
        writer.counters(&names::TRIAL_RECORDS, records)?;
        let took = sides().map(|(labels, it)| (labels, it.took.as_secs_f64()));
        writer.counters(&names::TRIAL_SECONDS, took)?;
        let compared = self.shadows.iter().flat_map(|(id, seen)| {
            let [tenant, handler] = of_handler(id);
            let results = [
                ("equal", seen.equal),
                ("differing", seen.differing),
                ("skipped", seen.skipped),
            ];
            results.map(|(result, count)| ([tenant, handler, ("result", result)], count))
        });
        writer.counters(&names::SHADOW_RECORDS, compared)
    }
}
