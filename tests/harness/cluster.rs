//! Three nodes of Apache Kafka that keep three replicas of everything, with a bad network in front of them.
//!
//! It is handed a folder, where each node keeps its log and its data. Clients of a test speak to the nodes directly;
//! hosts are led through one [`Proxy`] a node, by a listener of their own.
//! **Invariant:** a node keeps its ports and its data while it is killed and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::kafka::{self, START_TIMEOUT};
use crate::process::{Process, free_port};
use crate::{Proxy, clients, wait_until};

/// Nodes of a cluster: the fewest that go on without one.
pub const NODES: usize = 3;
/// Three of them share the machine with what is tested.
const HEAP_MIB: u32 = 320;
/// Of 16 bytes each, in the base64 that Kafka writes its ids in.
const DIRECTORY_IDS: [&str; NODES] = [
    "a2Fma2Etd2FzbS1ub2RlMQ",
    "a2Fma2Etd2FzbS1ub2RlMg",
    "a2Fma2Etd2FzbS1ub2RlMw",
];

/// A running cluster; dropping it kills the nodes and removes their data, but not their logs.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
}

#[derive(Debug)]
struct Node {
    folder: PathBuf,
    ports: Ports,
    process: Process,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    /// For clients of the test, and between the nodes.
    direct: u16,
    /// Where the proxy leads to.
    behind_proxy: u16,
    /// What hosts are told.
    proxy: u16,
    controller: u16,
}

impl Cluster {
    /// Starts the nodes, each in a folder of its own below `folder`, and waits until all of them answer.
    pub fn start(folder: &Path) -> Result<Self> {
        let (mut ports, mut proxies) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let behind_proxy = free_port()?;
            let proxy = Proxy::start(behind_proxy)?;
            ports.push(Ports {
                direct: free_port()?,
                behind_proxy,
                proxy: proxy.port(),
                controller: free_port()?,
            });
            proxies.push(proxy);
        }
        // Formatting is mostly the start of a JVM, so they do it at once.
        let formatting: Vec<_> = (0..NODES)
            .map(|nth| {
                let (folder, ports) = (folder.join(format!("node-{}", nth + 1)), ports.clone());
                thread::spawn(move || format_node(nth, &folder, &ports).map(|()| folder))
            })
            .collect();
        let mut nodes = Vec::new();
        for (formatted, ports) in formatting.into_iter().zip(&ports) {
            let folder = formatted.join().ok().context("a thread panicked")??;
            nodes.push(Node {
                process: serve(&folder)?,
                folder,
                ports: *ports,
            });
        }
        let mut cluster = Self { nodes, proxies };
        cluster.wait_until_complete(START_TIMEOUT * 3)?;
        Ok(cluster)
    }

    /// What clients of a test connect to, past the proxies.
    pub fn bootstrap(&self) -> String {
        self.addresses(|ports| ports.direct)
    }

    /// What hosts connect to, through the proxies.
    pub fn bootstrap_of_hosts(&self) -> String {
        self.addresses(|ports| ports.proxy)
    }

    /// The proxy in front of each node.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Creates a topic with a replica on each node.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let replicas = i32::try_from(NODES)?;
        kafka::create_topic(&self.bootstrap(), (name, partitions, replicas), config)
    }

    /// Kills a node, of 0 to 2, with SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].process.kill();
    }

    /// Stops a node in good order.
    pub fn stop(&mut self, node: usize) -> Result<()> {
        let process = &mut self.nodes[node].process;
        process.signal("TERM")?;
        process.wait(START_TIMEOUT).map(drop)
    }

    /// Starts a killed or stopped node on the same ports, with the same data, and waits until the cluster is complete.
    pub fn start_again(&mut self, node: usize, timeout: Duration) -> Result<()> {
        let Node { folder, ports, .. } = &self.nodes[node];
        let own = format!("127.0.0.1:{}", ports.direct);
        self.nodes[node].process = serve(folder)?;
        // The others take it for alive until its session has ended; its own answer says that it is back.
        let process = &mut self.nodes[node].process;
        wait_until("an answer of the node", timeout, || {
            clients::brokers(&own).unwrap_or(0) > 0 || !matches!(process.ended(), Ok(None))
        })?;
        self.wait_until_complete(timeout)
    }

    /// Waits until all nodes are there and every replica of every partition is in sync.
    pub fn wait_until_complete(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let bootstrap = self.bootstrap();
        loop {
            for node in &mut self.nodes {
                if let Some(status) = node.process.ended()? {
                    bail!("a node ended: {status}\n{}", kafka::log_tail(&node.folder));
                }
            }
            if clients::are_in_sync(&bootstrap, NODES).unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let tail = kafka::log_tail(&self.nodes[0].folder);
                bail!("the cluster is not complete after {timeout:?}\n{tail}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn addresses(&self, port: impl Fn(&Ports) -> u16) -> String {
        let address = |node: &Node| format!("127.0.0.1:{}", port(&node.ports));
        let all: Vec<String> = self.nodes.iter().map(address).collect();
        all.join(",")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.process.kill();
            // What is left is in the way of nobody.
            let _ = fs::remove_dir_all(node.folder.join("data"));
        }
    }
}

fn serve(folder: &Path) -> Result<Process> {
    kafka::serve(folder, &folder.join("data"), HEAP_MIB)
}

fn format_node(nth: usize, folder: &Path, ports: &[Ports]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let controllers: Vec<String> = ports
        .iter()
        .zip(DIRECTORY_IDS)
        .enumerate()
        .map(|(nth, (ports, id))| format!("{}@127.0.0.1:{}:{id}", nth + 1, ports.controller))
        .collect();
    let properties = properties(nth, folder, ports);
    let quorum = ["--initial-controllers", &controllers.join(",")];
    kafka::format_storage(folder, &properties, &quorum)
}

fn properties(nth: usize, folder: &Path, ports: &[Ports]) -> String {
    let Ports {
        direct,
        behind_proxy,
        proxy,
        controller,
    } = ports[nth];
    let quorum: Vec<String> = ports
        .iter()
        .map(|ports| format!("127.0.0.1:{}", ports.controller))
        .collect();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.bootstrap.servers={quorum}
listeners=PLAINTEXT://127.0.0.1:{direct},HOSTS://127.0.0.1:{behind_proxy},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{direct},HOSTS://127.0.0.1:{proxy},CONTROLLER://127.0.0.1:{controller}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,HOSTS:PLAINTEXT,CONTROLLER:PLAINTEXT
default.replication.factor={NODES}
min.insync.replicas=2
# By default a node gives up where the machine is so busy that the others do not answer for a minute.
initial.broker.registration.timeout.ms=240000
# As short as the sessions that classic members ask for themselves.
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=1000
group.consumer.heartbeat.interval.ms=2000
{common}",
        id = nth + 1,
        quorum = quorum.join(","),
        common = kafka::common_properties(folder, 3, 2)
    )
}
