//! What the page tells of tenants as a whole: what they use by the second, and their requests.
//!
//! **Invariant:** a quota that a tenant does not have is absent.

use std::fmt;

use super::{Scrape, Writer, names};

impl Scrape {
    /// What tenants use by the second.
    pub(super) fn write_tenants(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let tenants = || {
            let tenants = self.tenants.iter();
            tenants.map(|(tenant, reading)| (("tenant", tenant.as_str()), reading))
        };
        let cpu = tenants().map(|(tenant, reading)| ([tenant], reading.cpu.as_secs_f64()));
        writer.counters(&names::GUEST_CPU_SECONDS, cpu)?;
        let quotas = || {
            tenants().flat_map(|(tenant, reading)| {
                let quotas = reading.quotas.iter();
                quotas.map(move |(rate, used, quota)| {
                    let labels = [tenant, ("quota", rate.as_str())];
                    (labels, (*rate, *used), *quota)
                })
            })
        };
        let used = quotas().map(|(labels, (rate, used), _)| (labels, in_units(used, rate.scale())));
        writer.counters(&names::QUOTA_USED, used)?;
        writer.gauges(
            &names::QUOTA,
            quotas().map(|(labels, _, quota)| (labels, quota)),
        )?;
        let compile = tenants().filter_map(|(tenant, reading)| {
            let (slowest, max) = reading.compile?;
            Some(([tenant], slowest.as_secs_f64() / max.as_secs_f64()))
        });
        writer.gauges(&names::COMPILE_SHARE, compile)?;
        let waited = tenants().map(|(tenant, reading)| ([tenant], reading.waited.as_secs_f64()));
        writer.counters(&names::THROTTLED_SECONDS, waited)?;
        let dropped = tenants().map(|(tenant, reading)| ([tenant], reading.dropped_lines));
        writer.counters(&names::DROPPED_LOG_LINES, dropped)
    }

    pub(super) fn write_requests(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let tenants = || {
            let requests = self.requests.iter();
            requests.map(|(tenant, counts)| (("tenant", tenant.as_str()), counts))
        };
        let pending = tenants().map(|(tenant, counts)| ([tenant], counts.pending()));
        writer.gauges(&names::PENDING_REQUESTS, pending)?;
        let results = tenants().flat_map(|(tenant, counts)| {
            let results = [
                ("answered", &counts.answered),
                ("timeout", &counts.timed_out),
                ("failed", &counts.failed),
            ];
            results.map(|(result, count)| ([tenant, ("result", result)], count.get()))
        });
        writer.counters(&names::REQUESTS, results)?;
        let dropped = tenants().flat_map(|(tenant, counts)| {
            let reasons = [
                ("late", &counts.late),
                ("repeated", &counts.repeated),
                ("unknown", &counts.unknown),
                ("orphaned", &counts.orphaned),
            ];
            reasons.map(|(reason, count)| ([tenant, ("reason", reason)], count.get()))
        });
        writer.counters(&names::DROPPED_RESPONSES, dropped)?;
        let held = tenants().map(|(tenant, counts)| ([tenant], counts.held.get()));
        writer.gauges(&names::HELD_RESPONSES, held)?;
        let store = self.reply_store;
        let up = store.map(|(is_up, _)| ([], u32::from(is_up)));
        writer.gauges(&names::REPLY_STORE_UP, up)?;
        let errors = store.map(|(_, errors)| ([], errors));
        writer.counters(&names::REPLY_STORE_ERRORS, errors)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates of it are looked at, which need no more digits"
)]
fn in_units(used: u64, scale: u64) -> f64 {
    used as f64 / scale as f64
}
