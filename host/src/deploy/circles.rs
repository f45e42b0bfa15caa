//! Circles of handlers that come of their manifests alone, told before anything is deployed.
//!
//! Handed all handlers of a folder, gives a sentence for each topic by which the records of one come back to it.
//! **Invariant:** only handlers of one tenant feed each other here, as when they serve.

use std::collections::BTreeSet;

use super::conflict::Party;
use crate::catalog::{WRITES, circle, is_fed_by};
use crate::ids::TopicName;
use crate::manifest::Manifest;
use crate::route::way_back;

/// Returns what is to be warned of, each with the place of the handler that writes.
pub(super) fn circles(parties: &[Party<'_>]) -> Vec<(usize, String)> {
    let readers = |from: usize, topic: &TopicName| -> Vec<usize> {
        let tenant = parties.get(from).map(|it| &it.id.tenant);
        let all = parties.iter().enumerate();
        let fed = all.filter(|(_, it)| {
            Some(&it.id.tenant) == tenant && is_fed_by(it.manifest, it.rules, topic.as_str())
        });
        fed.map(|(place, _)| place).collect()
    };
    let outputs = |from: usize| -> BTreeSet<&TopicName> {
        let manifest = parties.get(from).map(|it| it.manifest);
        manifest.into_iter().flat_map(Manifest::outputs).collect()
    };
    let feeds: Vec<Vec<usize>> = (0..parties.len())
        .map(|from| {
            let topics = outputs(from).into_iter();
            topics.flat_map(|topic| readers(from, topic)).collect()
        })
        .collect();
    let told = |(from, topic)| {
        let way = way_back(from, &readers(from, topic), &feeds)?;
        let names = way.into_iter().chain([from]);
        let names = names.filter_map(|place| Some(parties.get(place)?.id.name.as_str()));
        let way = names.collect::<Vec<_>>().join(" > ");
        Some((from, format!("{} ({topic}: {way})", circle(WRITES))))
    };
    let all = (0..parties.len())
        .flat_map(|from| outputs(from).into_iter().map(move |topic| (from, topic)));
    all.filter_map(told).collect()
}
