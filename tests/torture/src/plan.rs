//! The schedule of faults: two tracks that run beside each other, one for hosts, one for brokers and the network.
//!
//! It is handed a seed, a duration and the kinds of faults that are wanted. Within a track one fault ends before the
//! next begins, so that never more than one broker is down, and a host is whole again before another is hurt.
//! **Invariant:** equal arguments give equal schedules.

use std::fmt;
use std::time::Duration;

use harness::WallClock;
use harness::cluster::NODES;
use harness::dice::Dice;

use crate::skew::{Skew, Skews};

/// The kinds of faults, by the names that the command line has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// SIGKILL of a host, and a new one
    Kill,
    /// SIGTERM of a host, and a new one
    Term,
    /// One more host for a while
    Join,
    /// SIGSTOP of a host beyond its session, then SIGCONT
    Freeze,
    /// A new revision of the handler
    Replace,
    /// No folder for compiled components: a host starts without, and all compile a new revision
    Disk,
    /// The wall clock of a host jumps, or is wrong when a host starts
    Clock,
    /// A broker stopped or killed, and started again
    Broker,
    /// Connections between hosts and brokers closed, and none accepted
    Cut,
    /// Connections between hosts and brokers that stand still
    Hold,
    /// Connections between hosts and brokers with delay
    Slow,
}

impl Kind {
    /// Whether nothing may be repeated because of it.
    pub(crate) fn is_graceful(self) -> bool {
        matches!(self, Self::Term | Self::Join | Self::Replace | Self::Clock)
    }

    /// Whether this system can do it.
    pub(crate) fn is_possible(self) -> bool {
        self != Self::Clock || WallClock::IS_POSSIBLE
    }

    fn is_of_hosts(self) -> bool {
        !matches!(self, Self::Broker | Self::Cut | Self::Hold | Self::Slow)
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill {
        host: usize,
    },
    Term {
        host: usize,
    },
    Join,
    Freeze {
        host: usize,
    },
    Replace,
    Disk {
        host: usize,
    },
    /// The clock of a host jumps, and then is right again.
    Jump {
        host: usize,
        by: Skews,
    },
    /// A new host starts with a wrong clock.
    Skewed {
        host: usize,
        by: Skew,
    },
    BrokerKill {
        node: usize,
    },
    BrokerStop {
        node: usize,
    },
    Cut {
        nodes: Nodes,
    },
    Hold {
        nodes: Nodes,
    },
    Slow {
        nodes: Nodes,
        by: Duration,
    },
}

impl Fault {
    /// What usually passes, once it is over, until all is as before.
    fn recovery(self) -> Duration {
        match self {
            Self::BrokerKill { .. } | Self::BrokerStop { .. } => Duration::from_secs(8),
            Self::Term { .. } | Self::Join | Self::Disk { .. } | Self::Skewed { .. } => {
                Duration::from_secs(1)
            }
            _ => Duration::ZERO,
        }
    }
}

/// Whose network it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    All,
    One(usize),
}

/// One fault of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Time after the end of the one before it.
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    /// How long it lasts.
    pub(crate) lasts: Duration,
}

/// The schedule of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Hosts that serve when nothing is done to them.
    pub(crate) hosts: usize,
    pub(crate) of_hosts: Vec<Step>,
    pub(crate) of_brokers: Vec<Step>,
}

impl Plan {
    /// Draws a schedule that lasts as long as `duration`, apart from what waits take longer than planned. Faults come and go
    /// `pace` times faster than usual.
    pub(crate) fn new(seed: u64, duration: Duration, kinds: &[Kind], pace: f64) -> Self {
        let mut dice = Dice::new(seed);
        let hosts = dice.between(2, 3);
        let (of_hosts, of_brokers): (Vec<Kind>, Vec<Kind>) =
            kinds.iter().partition(|kind| kind.is_of_hosts());
        let mut draw = |kinds: &[Kind], pause_s: (usize, usize)| {
            let mut steps = Vec::new();
            let mut planned = Duration::ZERO;
            // Every kind comes once before one comes again.
            let mut bag: Vec<Kind> = Vec::new();
            while planned < duration && !kinds.is_empty() {
                if bag.is_empty() {
                    bag = kinds.to_vec();
                }
                let kind = bag.swap_remove(dice.below(bag.len()));
                let step = step(&mut dice, kind, hosts, pause_s).at_pace(pace);
                planned += step.pause + step.lasts + step.fault.recovery();
                steps.push(step);
            }
            steps
        };
        Self {
            hosts,
            of_hosts: draw(&of_hosts, (1, 4)),
            of_brokers: draw(&of_brokers, (2, 6)),
        }
    }
}

impl Step {
    fn at_pace(self, pace: f64) -> Self {
        // A host is frozen for longer than its session, or nothing comes of it.
        let is_freeze = matches!(self.fault, Fault::Freeze { .. });
        Self {
            pause: self.pause.div_f64(pace),
            lasts: self.lasts.div_f64(if is_freeze { 1.0 } else { pace }),
            ..self
        }
    }
}

fn step(dice: &mut Dice, kind: Kind, hosts: usize, (from, to): (usize, usize)) -> Step {
    let host = dice.below(hosts);
    let node = dice.below(NODES);
    let nodes = if dice.chance(30) {
        Nodes::All
    } else {
        Nodes::One(node)
    };
    // Seconds between which it lasts.
    let (fault, shortest, longest) = match kind {
        Kind::Kill => (Fault::Kill { host }, 0, 8),
        Kind::Term => (Fault::Term { host }, 0, 4),
        Kind::Join => (Fault::Join, 5, 10),
        Kind::Freeze => (Fault::Freeze { host }, 8, 12),
        Kind::Replace => (Fault::Replace, 0, 1),
        Kind::Disk => (Fault::Disk { host }, 4, 8),
        Kind::Clock if dice.chance(25) => {
            let by = Skew::draw(dice);
            (Fault::Skewed { host, by }, 2, 12)
        }
        Kind::Clock => {
            let by = Skews::draw(dice);
            (Fault::Jump { host, by }, 2, 12)
        }
        Kind::Broker if dice.chance(70) => (Fault::BrokerKill { node }, 1, 10),
        Kind::Broker => (Fault::BrokerStop { node }, 1, 6),
        Kind::Cut => (Fault::Cut { nodes }, 0, 8),
        Kind::Hold => (Fault::Hold { nodes }, 2, 12),
        Kind::Slow => {
            let by = ms(dice.between(10, 200));
            (Fault::Slow { nodes, by }, 3, 10)
        }
    };
    Step {
        pause: ms(dice.between(from * 1000, to * 1000)),
        fault,
        lasts: ms(dice.between(shortest * 1000, longest * 1000)),
    }
}

fn ms(ms: usize) -> Duration {
    Duration::from_millis(ms as u64)
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all brokers"),
            Self::One(node) => write!(f, "broker {}", node + 1),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts = self.lasts.as_secs_f64();
        match self.fault {
            Fault::Kill { host } => write!(
                f,
                "host {}: SIGKILL, a new one {lasts:.1} s later",
                host + 1
            ),
            Fault::Term { host } => write!(
                f,
                "host {}: SIGTERM, a new one {lasts:.1} s later",
                host + 1
            ),
            Fault::Join => write!(f, "one more host for {lasts:.1} s"),
            Fault::Freeze { host } => write!(f, "host {}: SIGSTOP for {lasts:.1} s", host + 1),
            Fault::Replace => f.write_str("a new revision of the handler"),
            Fault::Disk { host } => write!(
                f,
                "host {}: SIGTERM, a new one and a new revision, with nowhere to keep what is compiled for {lasts:.1} s",
                host + 1
            ),
            Fault::Jump { host, by } => {
                write!(f, "host {}: its clock is {by}, for {lasts:.1} s", host + 1)
            }
            Fault::Skewed { host, by } => write!(
                f,
                "host {}: SIGTERM, a new one whose clock is {by}, for {lasts:.1} s",
                host + 1
            ),
            Fault::BrokerKill { node } => {
                write!(f, "broker {}: SIGKILL, again {lasts:.1} s later", node + 1)
            }
            Fault::BrokerStop { node } => {
                write!(f, "broker {}: SIGTERM, again {lasts:.1} s later", node + 1)
            }
            Fault::Cut { nodes } => write!(f, "{nodes}: connections cut for {lasts:.1} s"),
            Fault::Hold { nodes } => write!(f, "{nodes}: connections stand still for {lasts:.1} s"),
            Fault::Slow { nodes, by } => {
                write!(
                    f,
                    "{nodes}: connections {} ms slower for {lasts:.1} s",
                    by.as_millis()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_seed_gives_the_same_schedule_again() {
        let plan = |seed| Plan::new(seed, MINUTE, Kind::value_variants(), 1.0);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn both_tracks_last_as_long_as_they_are_asked_to_and_have_every_kind() {
        let plan = Plan::new(3, MINUTE * 5, Kind::value_variants(), 1.0);
        for (steps, kinds) in [(&plan.of_hosts, 7), (&plan.of_brokers, 4)] {
            let lasts: Duration = steps
                .iter()
                .map(|step| step.pause + step.lasts + step.fault.recovery())
                .sum();
            assert!((MINUTE * 5..MINUTE * 6).contains(&lasts), "{lasts:?}");
            let mut found: Vec<_> = steps
                .iter()
                .map(|step| std::mem::discriminant(&step.fault))
                .collect();
            let mut distinct = Vec::new();
            found.retain(|one| {
                let is_new = !distinct.contains(one);
                distinct.push(*one);
                is_new
            });
            assert!(found.len() >= kinds, "{steps:?}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_done() {
        let plan = Plan::new(1, MINUTE, &[Kind::Term], 1.0);
        assert!(plan.of_brokers.is_empty());
        let is_term = |step: &Step| matches!(step.fault, Fault::Term { .. });
        assert!(plan.of_hosts.iter().all(is_term));
    }

    #[test]
    fn clocks_jump_and_are_wrong_from_the_start() {
        let plan = Plan::new(1, MINUTE * 5, &[Kind::Clock], 1.0);
        let count = |is: fn(&Fault) -> bool| {
            let faults = plan.of_hosts.iter().map(|step| step.fault);
            faults.filter(is).count()
        };
        let jumps = count(|fault| matches!(fault, Fault::Jump { .. }));
        let starts = count(|fault| matches!(fault, Fault::Skewed { .. }));
        assert!(jumps > 0 && starts > 0, "{:?}", plan.of_hosts);
        assert_eq!(jumps + starts, plan.of_hosts.len());
    }

    #[test]
    fn at_a_faster_pace_there_are_more_faults_and_freezes_are_as_long_as_ever() {
        let plan = |pace| Plan::new(5, MINUTE * 10, Kind::value_variants(), pace);
        let (slow, fast) = (plan(1.0), plan(8.0));
        let count = |plan: &Plan| plan.of_hosts.len() + plan.of_brokers.len();
        assert!(count(&fast) > 2 * count(&slow));
        let is_freeze = |step: &&Step| matches!(step.fault, Fault::Freeze { .. });
        let shortest = fast
            .of_hosts
            .iter()
            .filter(is_freeze)
            .map(|step| step.lasts);
        assert!(
            shortest
                .min()
                .is_some_and(|lasts| lasts >= Duration::from_secs(8))
        );
    }
}
