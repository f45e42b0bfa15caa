//! The page at `/metrics`, in the text format of `OpenMetrics` 1.0.
//!
//! Handed what was read for one scrape; nothing is registered before, so the record path knows nothing of the format.
//! **Invariant:** each family is written once, with help, type and unit, then all of its samples; what is not known
//! is absent, never 0.

mod deployments;
mod tenants;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::registry::Registry as Page;

use super::names::{self, Family};
use super::process::Usage;
use crate::canary::Side;
use crate::catalog::GroupKey;
use crate::ids::{HandlerId, Revision, TenantId};
use crate::outcome::{Ending, FailureKind};
use crate::reply::Counts;
use crate::shadow::Comparison;
use crate::stats::{
    BUCKETS_US, HistogramReading, MeterReading, Reading, Received, StageReading, StepReading,
};
use crate::watcher::Seen;

/// What is read for one scrape.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
    pub(super) series: Vec<(HandlerId, Arc<str>, Reading)>,
    pub(super) stages: Vec<StageReading>,
    pub(super) steps: Vec<StepReading>,
    /// Who serves, with which revision, and whether it pauses by itself or by command.
    pub(super) handlers: Vec<(HandlerId, Revision, [bool; 2])>,
    pub(super) groups: Vec<(GroupKey, GroupReading)>,
    /// What each tenant has used by the second.
    pub(super) tenants: Vec<(TenantId, MeterReading)>,
    /// What was counted of the requests of each tenant.
    pub(super) requests: Vec<(TenantId, Arc<Counts>)>,
    /// Whether the reply store answers, and how often it did not; none where hosts share none.
    pub(super) reply_store: Option<(bool, u64)>,
    pub(super) producers: Producers,
    /// What the watchdog knows.
    pub(super) watched: Seen,
    /// Revisions that were published, that were refused, and that failed their probation.
    pub(super) deploys: [u64; 3],
    /// Times that the settings were read again, and that something was wrong with them.
    pub(super) reloads: [u64; 2],
    /// What revisions that have a share of the keys did, and those beside them: these first.
    pub(super) canaries: Vec<(HandlerId, [Side; 2])>,
    /// What was seen of shadows.
    pub(super) shadows: Vec<(HandlerId, Comparison)>,
    /// How often the state folder could not be read or written, where there is one.
    pub(super) state_failures: Option<u64>,
    pub(super) compile: HistogramReading,
    pub(super) process: Usage,
    /// Instances that live, and that may live.
    pub(super) instances: (usize, usize),
}

/// What is known of a group's consumer.
#[derive(Debug)]
pub(super) struct GroupReading {
    pub(super) assigned: usize,
    pub(super) rebalances: u64,
    pub(super) is_up: bool,
    /// Transactions that were committed, and aborted; none where delivery is at least once.
    pub(super) transactions: Option<[u64; 2]>,
}

/// What is known of all producers together.
#[derive(Debug, Default)]
pub(super) struct Producers {
    pub(super) queued: usize,
    pub(super) delivered: u64,
    pub(super) refused: u64,
}

/// Writes the page.
pub(super) fn text(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut page = Page::default();
    page.register_collector(Box::new(scrape));
    let mut text = String::new();
    text::encode(&mut text, &page)?;
    Ok(text)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(&mut encoder);
        self.write_counts(&mut writer)?;
        self.write_state(&mut writer)?;
        self.write_stages(&mut writer)?;
        self.write_groups(&mut writer)?;
        self.write_tenants(&mut writer)?;
        self.write_requests(&mut writer)?;
        self.write_producers(&mut writer)?;
        self.write_deployments(&mut writer)?;
        self.write_process(&mut writer)
    }
}

impl Scrape {
    /// What lanes counted.
    fn write_counts(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let endings = self.series.iter().flat_map(|series| {
            let counts = Ending::ALL.iter().zip(series.2.endings);
            counts.map(|(ending, n)| (labels_and(series, "outcome", ending.as_str()), n))
        });
        writer.counters(&names::RECORDS, endings)?;
        let each = |count: fn(&Reading) -> u64| {
            let series = self.series.iter();
            series.map(move |series| (labels(series), count(&series.2)))
        };
        writer.counters(&names::RECORD_BYTES, each(|reading| reading.bytes_in))?;
        writer.counters(&names::EMITTED_RECORDS, each(|reading| reading.emitted))?;
        writer.counters(&names::REPEATED_OUTPUTS, each(|reading| reading.repeated))?;
        let redirected = each(|reading| reading.redirected);
        writer.counters(&names::REDIRECTED_OUTPUTS, redirected)?;
        let before = each(|reading| reading.completed_before);
        writer.counters(&names::COMPLETED_BEFORE, before)?;
        writer.counters(&names::RETRIES, each(|reading| reading.retries))?;
        let failures = self.series.iter().flat_map(|series| {
            let counts = FailureKind::ALL.iter().zip(series.2.failures);
            counts.map(|(kind, n)| (labels_and(series, "kind", kind.as_str()), n))
        });
        writer.counters(&names::FAILURES, failures)?;
        let durations = self
            .series
            .iter()
            .map(|series| (labels(series), &series.2.invoke));
        writer.histograms(&names::INVOKE_DURATION, durations)?;
        writer.counters(
            &names::INSTANCE_STARTS,
            each(|reading| reading.instance_starts),
        )
    }

    /// What middleware and the steps of pipelines did.
    fn write_stages(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let records = self.stages.iter().flat_map(|stage| {
            let results = Received::ALL.iter().zip(stage.results);
            results.map(move |(result, n)| {
                let [tenant, handler, middleware] = stage_labels(stage);
                let labels = [tenant, handler, middleware, ("result", result.as_str())];
                (labels, n)
            })
        });
        writer.counters(&names::MIDDLEWARE_RECORDS, records)?;
        let durations = self.stages.iter();
        let durations = durations.map(|stage| (stage_labels(stage), &stage.duration));
        writer.histograms(&names::MIDDLEWARE_DURATION, durations)?;
        let steps = self.steps.iter();
        let steps = steps.map(|step| (step_labels(step), &step.duration));
        writer.histograms(&names::PIPELINE_STEP_DURATION, steps)
    }

    /// What lanes are like now.
    fn write_state(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let each = |value: fn(&Reading) -> i64| {
            let series = self.series.iter();
            series.map(move |series| (labels(series), value(&series.2)))
        };
        writer.gauges(&names::IN_FLIGHT_RECORDS, each(|reading| reading.in_flight))?;
        let lag_records = self.series.iter().filter_map(|series| {
            let records = series.2.lag_records?;
            Some((labels(series), records))
        });
        writer.gauges(&names::LAG_RECORDS, lag_records)?;
        let lag_seconds = self.series.iter().filter_map(|series| {
            let lag = lag(&series.2, self.now_ms)?;
            Some((labels(series), lag.as_secs_f64()))
        });
        writer.gauges(&names::LAG_SECONDS, lag_seconds)?;
        let lanes = self
            .series
            .iter()
            .map(|series| (labels(series), series.2.lanes));
        writer.gauges(&names::PARTITIONS, lanes)?;
        let halted = self
            .series
            .iter()
            .map(|series| (labels(series), series.2.halted.len()));
        writer.gauges(&names::HALTED_PARTITIONS, halted)?;
        writer.gauges(&names::BULK_PARTITIONS, each(|reading| reading.bulk))?;
        writer.gauges(
            &names::MAP_FULL_PARTITIONS,
            each(|reading| reading.map_full),
        )?;
        writer.gauges(
            &names::GUEST_MEMORY_BYTES,
            each(|reading| reading.memory_bytes),
        )?;
        self.write_stalls(writer)?;
        writer.gauges(&names::PARKED_KEYS, each(|reading| reading.parked_keys))
    }

    /// What stalls, where that is watched.
    fn write_stalls(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let watched = &self.watched;
        let series = || self.series.iter().filter(|_| watched.watches.0);
        let stalled = series().map(|series| {
            let (handler, topic, _) = series;
            let partitions = watched.partitions.iter();
            let stalled = partitions.filter(|one| one.handler == *handler && one.topic == *topic);
            (labels(series), stalled.count())
        });
        writer.gauges(&names::STALLED_PARTITIONS, stalled)?;
        let stalls = series().map(|series| {
            let key = (series.0.clone(), Arc::clone(&series.1));
            let stalls = watched.stalls.get(&key).copied();
            (labels(series), stalls.unwrap_or_default())
        });
        writer.counters(&names::STALLS, stalls)
    }

    fn write_groups(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let groups = || {
            self.groups.iter().map(|((tenant, group), reading)| {
                let labels = [("tenant", tenant.as_str()), ("group", group.as_str())];
                (labels, reading)
            })
        };
        let assigned = groups().map(|(labels, reading)| (labels, reading.assigned));
        writer.gauges(&names::ASSIGNED_PARTITIONS, assigned)?;
        let rebalances = groups().map(|(labels, reading)| (labels, reading.rebalances));
        writer.counters(&names::REBALANCES, rebalances)?;
        let up = groups().map(|(labels, reading)| (labels, u32::from(reading.is_up)));
        writer.gauges(&names::KAFKA_UP, up)?;
        self.write_polls(writer)?;
        let transactions = groups().filter_map(|([tenant, group], reading)| {
            let counts = ["committed", "aborted"]
                .into_iter()
                .zip(reading.transactions?);
            Some(counts.map(move |(result, count)| ([tenant, group, ("result", result)], count)))
        });
        writer.counters(&names::TRANSACTIONS, transactions.flatten())
    }

    /// How the threads of consumers come round, where that is watched.
    fn write_polls(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let polls = || {
            self.watched.polls.iter().map(|((tenant, group), poll)| {
                let labels = [("tenant", tenant.as_str()), ("group", group.as_str())];
                (labels, poll)
            })
        };
        let late = polls().map(|(labels, poll)| (labels, u32::from(poll.late.is_some())));
        writer.gauges(&names::POLL_LATE, late)?;
        let age = polls().map(|(labels, poll)| (labels, poll.age.as_secs_f64()));
        writer.gauges(&names::POLL_AGE, age)
    }

    fn write_producers(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let producers = &self.producers;
        writer.gauges(&names::PRODUCER_QUEUE_RECORDS, [([], producers.queued)])?;
        writer.counters(&names::DELIVERED_RECORDS, [([], producers.delivered)])?;
        writer.counters(&names::REFUSED_RECORDS, [([], producers.refused)])
    }

    fn write_process(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let resident = self.process.resident_bytes.map(|bytes| ([], bytes));
        writer.gauges(&names::RESIDENT_MEMORY_BYTES, resident)?;
        let cpu = self.process.cpu.map(|time| ([], time.as_secs_f64()));
        writer.counters(&names::CPU_SECONDS, cpu)
    }
}

/// How far behind the lanes are in time, if that is known.
fn lag(reading: &Reading, now_ms: i64) -> Option<Duration> {
    if reading.lag_records? == 0 {
        return Some(Duration::ZERO);
    }
    // Clocks of producers may run ahead of ours.
    let lag_ms = now_ms.saturating_sub(reading.oldest_timestamp_ms?).max(0);
    Some(Duration::from_millis(lag_ms.unsigned_abs()))
}

type Label<'a> = (&'static str, &'a str);

fn of_handler(handler: &HandlerId) -> [Label<'_>; 2] {
    [
        ("tenant", handler.tenant.as_str()),
        ("handler", handler.name.as_str()),
    ]
}

fn labels((handler, topic, _): &(HandlerId, Arc<str>, Reading)) -> [Label<'_>; 3] {
    let [tenant, handler] = of_handler(handler);
    [tenant, handler, ("topic", topic)]
}

fn step_labels(step: &StepReading) -> [Label<'_>; 4] {
    let [tenant, handler] = of_handler(&step.handler);
    let pipeline = ("pipeline", step.pipeline.as_str());
    [tenant, handler, pipeline, ("step", &step.step)]
}

fn stage_labels(stage: &StageReading) -> [Label<'_>; 3] {
    let [tenant, handler] = of_handler(&stage.handler);
    [tenant, handler, ("middleware", &stage.stage)]
}

fn labels_and<'a>(
    series: &'a (HandlerId, Arc<str>, Reading),
    name: &'static str,
    value: &'a str,
) -> [Label<'a>; 4] {
    let [tenant, handler, topic] = labels(series);
    [tenant, handler, topic, (name, value)]
}

/// Writes families one after the other.
struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn family(&mut self, family: &'static Family) -> Result<MetricEncoder<'_>, fmt::Error> {
        let unit = family.unit.as_ref();
        self.0
            .encode_descriptor(family.stem(), family.help, unit, family.kind)
    }

    fn counters<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        family: &'static Family,
        samples: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (labels, value) in samples {
            let labels = labels.as_slice();
            if N == 0 {
                encoder.encode_counter::<NoLabelSet, V, f64>(&value, None)?;
            } else {
                let mut encoder = encoder.encode_family(&labels)?;
                encoder.encode_counter::<NoLabelSet, V, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        family: &'static Family,
        samples: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (labels, value) in samples {
            let labels = labels.as_slice();
            if N == 0 {
                encoder.encode_gauge(&value)?;
            } else {
                encoder.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn histograms<'l, 'h, const N: usize>(
        &mut self,
        family: &'static Family,
        samples: impl IntoIterator<Item = ([Label<'l>; N], &'h HistogramReading)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (labels, reading) in samples {
            let labels = labels.as_slice();
            let sum = Duration::from_micros(reading.sum_us).as_secs_f64();
            // The encoder makes the buckets cumulative.
            let count = reading.buckets.iter().sum();
            let bounds = BUCKETS_US.map(|us| Duration::from_micros(us).as_secs_f64());
            let bounds = bounds.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(reading.buckets).collect();
            if N == 0 {
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            } else {
                let mut encoder = encoder.encode_family(&labels)?;
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }

    fn infos<'l, const N: usize>(
        &mut self,
        family: &'static Family,
        samples: impl IntoIterator<Item = [Label<'l>; N]>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for labels in samples {
            encoder.encode_info(&labels)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
