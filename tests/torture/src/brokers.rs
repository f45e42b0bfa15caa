//! The brokers of a run and the network in front of them, and what is done to them.
//!
//! It is handed the cluster and does one step after the other.
//! **Invariant:** at most one broker is down, and after each step all replicas are in sync and the network is fine.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::Cluster;
use harness::proxy::Network;

use crate::Clock;
use crate::plan::{Fault, Nodes, Step};

/// What a broker may take to come back and catch up on a loaded machine.
const SYNC_TIMEOUT: Duration = Duration::from_mins(5);

/// Does all steps.
pub(crate) fn run(cluster: &mut Cluster, steps: &[Step], clock: Clock) -> Result<()> {
    for step in steps {
        thread::sleep(step.pause);
        clock.tell(step);
        match step.fault {
            Fault::BrokerKill { node } => {
                cluster.kill(node);
                bring_back(cluster, node, step, clock)?;
            }
            Fault::BrokerStop { node } => {
                if cluster.stop(node).is_err() {
                    clock.tell(&format!(
                        "broker {}: does not stop, so it is killed",
                        node + 1
                    ));
                    cluster.kill(node);
                }
                bring_back(cluster, node, step, clock)?;
            }
            Fault::Cut { nodes } => network(cluster, nodes, Network::Cut, step),
            Fault::Hold { nodes } => network(cluster, nodes, Network::Held, step),
            Fault::Slow { nodes, by } => network(cluster, nodes, Network::Slow(by), step),
            _ => {}
        }
    }
    Ok(())
}

fn bring_back(cluster: &mut Cluster, node: usize, step: &Step, clock: Clock) -> Result<()> {
    thread::sleep(step.lasts);
    let begun = Instant::now();
    cluster.start_again(node, SYNC_TIMEOUT)?;
    let after = begun.elapsed().as_secs_f64();
    clock.tell(&format!(
        "broker {}: in sync {after:.1} s after its start",
        node + 1
    ));
    Ok(())
}

fn network(cluster: &Cluster, nodes: Nodes, network: Network, step: &Step) {
    let set = |network| {
        for (nth, proxy) in cluster.proxies().iter().enumerate() {
            if nodes == Nodes::All || nodes == Nodes::One(nth) {
                proxy.set(network);
            }
        }
    };
    set(network);
    thread::sleep(step.lasts);
    set(Network::Fine);
}
