//! Runs sandboxed WebAssembly components as Kafka message handlers.
//!
//! ```text
//! CONTROL  handlers/ ──watch──▶ deploy (one task: validate, compile, try, publish) ──▶ catalog (immutable snapshot)
//!                                                                                          │ read once per record
//! DATA     Kafka ─▶ source ─▶ assignment ─▶ partition ─▶ lane ─▶ deliver ──────────────────┘
//!                      ▲                        ▲                  │ route, lease, invoke, settle
//!                      │ stored positions       │ watermark        ▼
//!                      └────────────────────── flight ◀─ reports ─ sink ◀─ outbox, dead letters
//! ```
//!
//! Modules stand in levels; a module uses its own level and lower ones only.

// L0 words: plain data, no IO.
pub mod duration;
pub mod ids;
mod layers;
pub mod moment;
pub mod outcome;
mod pattern;
pub mod policy;
pub mod prefix;
pub mod rate;
pub mod record;
mod stats;
pub mod telemetry;
mod vitals;

// L1 decisions: pure, tested against naive models.
pub mod breaker;
pub mod canary;
pub mod catch_up;
pub mod changes;
pub mod compact;
pub mod gait;
mod gate;
pub mod grants;
pub mod history;
pub mod imports;
pub mod json;
pub mod key_letters;
pub mod lag_switch;
mod letter;
pub mod manifest;
pub mod map_room;
pub mod marker;
pub mod offset_map;
pub mod outbox;
pub mod parked;
pub mod parts;
pub mod pending;
pub mod pipeline;
pub mod probation;
pub mod provenance;
pub mod publish;
pub mod quotas;
pub mod release;
pub mod reload;
pub mod response;
pub mod retry;
mod returned;
pub mod route;
pub mod schedule;
pub mod secrets;
pub mod settings;
pub mod settle;
pub mod shadow;
pub mod steps;
pub mod suspects;
pub mod tar;
pub mod tokens;
pub mod topics;
pub mod trust;
mod utf8;
pub mod watchdog;
pub mod watermark;

// L2 edges: everything that does IO, and the guests.
mod api_versions;
mod audit;
mod courier;
pub mod dev_broker;
mod flight;
mod groupless;
mod guest;
mod marker_log;
mod reply;
mod setting;
mod sink;
mod sinks;
mod source;
mod state_folder;
mod timed_wait;
pub mod tls;
mod topic_admin;
mod topic_settings;

// L3 flow: the life of a record.
mod assignment;
mod bulk;
mod catalog;
mod course;
mod dead_letter;
mod deliver;
mod lane;
mod parking;
mod partition;
mod receive;
mod routes;
mod stop;
mod subscriptions;

// L4 control: never on a record's path.
mod admin;
pub mod cli;
pub mod config;
mod deploy;
#[cfg(any(fuzzing, test))]
pub mod fuzzed;
pub mod serve;
mod watcher;
