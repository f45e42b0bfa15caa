//! What `/v1` tells of tenants: their handlers, and what they use of what they may have.
//!
//! Reads the running parts as readiness does.
//! **Invariant:** what is not known, or not bounded, is null, never 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::View;
use crate::catalog::Deployed;
use crate::duration::millis;
use crate::ids::{HandlerId, TenantId};
use crate::policy::Limits;
use crate::quotas::Quotas;
use crate::rate::Rate;
use crate::stats::MeterReading;

const MIB: usize = 1 << 20;

/// What the deployed handlers of a tenant come to.
#[derive(Debug, Default)]
struct Sum {
    handlers: BTreeSet<String>,
    quotas: Quotas,
    /// What the largest of them have.
    component_bytes: Option<usize>,
    limits: Option<Limits>,
}

impl Sum {
    fn add(&mut self, deployed: &Deployed) {
        self.quotas = deployed.share.quotas;
        self.component_bytes = self
            .component_bytes
            .max(Some(deployed.share.component_bytes));
        let own = deployed.manifest.limits;
        let limits = self.limits.get_or_insert(own);
        limits.memory_bytes = limits.memory_bytes.max(own.memory_bytes);
        limits.deadline = limits.deadline.max(own.deadline);
        limits.in_flight_bytes = limits.in_flight_bytes.max(own.in_flight_bytes);
        limits.pending_requests = limits.pending_requests.max(own.pending_requests);
    }
}

impl View {
    /// Tells of the tenants that `is_meant` picks: those with handlers, also with refused ones only.
    pub(super) fn tenants(&self, is_meant: impl Fn(&TenantId) -> bool) -> Vec<Value> {
        let mut sums: BTreeMap<TenantId, Sum> = BTreeMap::new();
        // Those that were refused are only named here.
        for (what, _) in self.board.problems() {
            let id = what.strip_prefix("handler ");
            if let Some(id) = id.and_then(|it| it.parse::<HandlerId>().ok()) {
                let sum = sums.entry(id.tenant.clone()).or_default();
                sum.handlers.insert(id.name.to_string());
            }
        }
        let catalog = Arc::clone(&self.catalog.borrow());
        for deployed in catalog.handlers() {
            let sum = sums.entry(deployed.id.tenant.clone()).or_default();
            sum.handlers.insert(deployed.id.name.to_string());
            sum.add(deployed);
        }
        let serving = |tenant: &TenantId| {
            let own = catalog.handlers().filter(|it| it.id.tenant == *tenant);
            own.count()
        };
        let meters: BTreeMap<_, _> = self.registry.meters().into_iter().collect();
        let requests: BTreeMap<_, _> = self.exchanges.counts().into_iter().collect();
        let meant = sums.iter().filter(|(tenant, _)| is_meant(tenant));
        let told = meant.map(|(tenant, sum)| {
            let used = meters.get(tenant);
            json!({
                "tenant": tenant.as_str(),
                "handlers": sum.handlers,
                "quotas": quotas(sum, serving(tenant), used),
                "cpu-seconds": used.map(|it| it.cpu.as_secs_f64()),
                "throttled-seconds": used.map(|it| it.waited.as_secs_f64()),
                "dropped-log-lines": used.map(|it| it.dropped_lines),
                "waiting-requests": requests.get(tenant).map(|it| it.pending()),
            })
        });
        told.collect()
    }
}

/// Tells each quota by its key: how much there may be, and how much is used.
fn quotas(sum: &Sum, handlers: usize, used: Option<&MeterReading>) -> Value {
    let (quotas, limits) = (&sum.quotas, sum.limits.as_ref());
    let whole = |it: Option<usize>| it.map(|it| it as u64);
    let mib = |it: Option<usize>| it.map(|it| it.div_ceil(MIB) as u64);
    let ms = |it: Option<Duration>| it.map(millis);
    let all = [
        ("handlers", whole(quotas.handlers), Some(handlers as u64)),
        (
            "component-mib",
            mib(quotas.component_bytes),
            mib(sum.component_bytes),
        ),
        (
            "memory-mib",
            mib(quotas.memory_bytes),
            mib(limits.map(|it| it.memory_bytes)),
        ),
        (
            "deadline-ms",
            ms(quotas.deadline),
            ms(limits.map(|it| it.deadline)),
        ),
        (
            "in-flight-mib",
            mib(quotas.in_flight_bytes),
            mib(limits.map(|it| it.in_flight_bytes)),
        ),
        (
            "pending-requests",
            whole(quotas.pending_requests),
            whole(limits.map(|it| it.pending_requests)),
        ),
    ];
    let told = all.map(|(key, max, used)| (key.to_owned(), json!({ "max": max, "used": used })));
    let mut told = Map::from_iter(told);
    for rate in Rate::ALL {
        let lately = used.and_then(|it| it.lately.iter().find(|(of, _)| *of == rate));
        let used = lately.map(|(_, used)| in_units(*used, rate.scale()));
        let max = quotas.rates.quota(rate);
        let value = json!({ "max": max, "used": used });
        told.insert(rate.as_str().to_owned(), value);
    }
    told.into()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is used in a second is looked at, which needs no more digits"
)]
fn in_units(used: u64, scale: u64) -> f64 {
    used as f64 / scale as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_bounded_has_no_maximum_and_what_nobody_counts_is_not_known() {
        let sum = Sum {
            quotas: Quotas {
                handlers: Some(2),
                memory_bytes: Some(32 * MIB),
                ..Quotas::default()
            },
            component_bytes: Some(MIB + 1),
            limits: Some(Limits::DEFAULT),
            ..Sum::default()
        };
        let reading = MeterReading {
            lately: vec![(Rate::Cpu, 25_000_000)],
            ..MeterReading::default()
        };
        let told = quotas(&sum, 1, Some(&reading));
        assert_eq!(told["handlers"], json!({ "max": 2, "used": 1 }));
        assert_eq!(told["component-mib"], json!({ "max": null, "used": 2 }));
        assert_eq!(told["memory-mib"], json!({ "max": 32, "used": 64 }));
        assert_eq!(told["cpu-percent"]["used"], json!(2.5));
        assert_eq!(told["records-per-s"], json!({ "max": null, "used": null }));
        assert_eq!(told.as_object().unwrap().len(), 6 + Rate::ALL.len());
    }
}
