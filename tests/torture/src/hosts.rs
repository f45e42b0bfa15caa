//! The hosts of a run, and what is done to them.
//!
//! It is handed the run's folder and the brokers' addresses behind the proxies. Each host is a process of the built
//! binary; all of them serve one folder with one handler.
//! **Invariant:** what a host does that no fault explains is a violation, and another takes its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::{HandlersDir, Host, WallClock, guest};

use crate::account::Violation;
use crate::deed::{ATTEMPTS_MAX, DEADLINE_MS};
use crate::plan::{Fault, Kind, Step};
use crate::skew::Skew;
use crate::{Clock, Delivery, GROUP, INPUT, LETTERS, OUTPUT, Options, Ordering, Protocol};

/// The handler's name.
pub(crate) const HANDLER: &str = "torture";
/// More than a host needs to drain, to flush and to leave.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// More than a host needs to compile its handler, on a machine that is busy.
const SERVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Settings of the hosts' consumers. Sessions are short, so that a host that went away is missed in seconds; with the
/// other protocol the brokers say how short. Where nobody goes away without a word they are as long as ever: a machine
/// that is busy must not make a fault of a stop in good order.
fn settings(protocol: Protocol, is_graceful: bool) -> &'static [&'static str] {
    match protocol {
        Protocol::Classic if is_graceful => &[],
        Protocol::Classic => &["session.timeout.ms=6000", "heartbeat.interval.ms=2000"],
        Protocol::Consumer => &["group.protocol=consumer"],
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hosts {
    brokers: String,
    folder: PathBuf,
    handlers: HandlersDir,
    ordering: Ordering,
    delivery: Delivery,
    protocol: Protocol,
    /// Whether no host goes away without a word.
    is_graceful: bool,
    /// Whether hosts have clocks of their own.
    has_clocks: bool,
    seats: Vec<Seat>,
    started: usize,
    revision: usize,
    violations: Vec<Violation>,
}

#[derive(Debug)]
struct Seat {
    /// Counts all hosts of the run; names the log.
    number: usize,
    host: Host,
    clock: Option<WallClock>,
    begun: Instant,
}

impl Seat {
    fn set_clock(&self, skew: Skew) -> Result<()> {
        self.clock
            .as_ref()
            .map_or(Ok(()), |clock| clock.set(skew.ahead_s))
    }
}

impl Hosts {
    /// Starts so many hosts and waits until they are ready.
    pub(crate) fn start(
        count: usize,
        brokers: &str,
        folder: &Path,
        options: &Options,
    ) -> Result<Self> {
        let ordering = options.ordering;
        let handlers = HandlersDir::new()?;
        handlers.handler(
            HANDLER,
            guest("act"),
            &manifest(ordering, options.delivery, 0),
        )?;
        let mut hosts = Self {
            brokers: brokers.to_owned(),
            folder: folder.to_path_buf(),
            handlers,
            ordering,
            delivery: options.delivery,
            protocol: options.group_protocol,
            is_graceful: options.is_graceful(),
            has_clocks: options.kinds().contains(&Kind::Clock),
            seats: Vec::new(),
            started: 0,
            revision: 0,
            violations: Vec::new(),
        };
        fs::create_dir_all(hosts.cache())?;
        for _ in 0..count {
            let seat = hosts.launch(Skew::NONE)?;
            hosts.seats.push(seat);
        }
        for seat in &mut hosts.seats {
            seat.host.wait_until_ready(READY_TIMEOUT)?;
        }
        Ok(hosts)
    }

    /// Does all steps, one after the other.
    pub(crate) fn run(&mut self, steps: &[Step], clock: Clock) -> Result<()> {
        for step in steps {
            thread::sleep(step.pause);
            self.look_after()?;
            clock.tell(step);
            self.apply(step)?;
        }
        Ok(())
    }

    /// Stops all hosts in good order; returns what they did wrong over the run.
    pub(crate) fn finish(mut self) -> Result<Vec<Violation>> {
        self.look_after()?;
        for seat in &mut self.seats {
            if let Err(error) = seat.host.wait_until_ready(READY_TIMEOUT) {
                // The host's last lines follow; they are in its log.
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                let problem = format!("host {} is not ready at the end: {why}", seat.number);
                self.violations.push(Violation::Host(problem));
            }
        }
        for seat in &mut self.seats {
            seat.host.term()?;
        }
        while let Some(seat) = self.seats.pop() {
            self.end(seat)?;
        }
        Ok(std::mem::take(&mut self.violations))
    }

    /// What `/readyz` of every host says, for a run that does not come to its end.
    pub(crate) fn state(&self) -> String {
        let state = |seat: &Seat| match seat.host.get("/readyz") {
            Ok((status, body)) => format!("host {}: {status} {body}\n", seat.number),
            Err(error) => format!("host {}: {error}\n", seat.number),
        };
        self.seats.iter().map(state).collect()
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        match step.fault {
            Fault::Kill { host } => {
                self.seats[host].host.kill9();
                thread::sleep(step.lasts);
                self.reseat(host)
            }
            Fault::Term { host } => {
                self.stop(host)?;
                thread::sleep(step.lasts);
                self.reseat(host)
            }
            Fault::Disk { host } => {
                self.stop(host)?;
                self.take_the_cache_away()?;
                self.reseat(host)?;
                // What serves already has to compile without the folder too.
                self.replace()?;
                thread::sleep(step.lasts);
                self.give_the_cache_back()
            }
            Fault::Join => {
                let mut guest = self.launch(Skew::NONE)?;
                thread::sleep(step.lasts);
                guest.host.term()?;
                self.end(guest)
            }
            Fault::Jump { host, by } => {
                let skews = by.all();
                let each = step.lasts / skews.len() as u32;
                for skew in skews {
                    self.seats[host].set_clock(skew)?;
                    thread::sleep(each);
                }
                self.seats[host].set_clock(Skew::NONE)
            }
            Fault::Skewed { host, by } => {
                self.stop(host)?;
                self.reseat_with(host, by)?;
                thread::sleep(step.lasts);
                self.seats[host].set_clock(Skew::NONE)
            }
            Fault::Freeze { host } => {
                self.seats[host].host.freeze()?;
                thread::sleep(step.lasts);
                self.seats[host].host.thaw()
            }
            _ => {
                self.replace()?;
                thread::sleep(step.lasts);
                Ok(())
            }
        }
    }

    /// Gives the handler a new revision.
    fn replace(&mut self) -> Result<()> {
        self.revision += 1;
        let manifest = manifest(self.ordering, self.delivery, self.revision);
        self.handlers.swap_manifest(HANDLER, &manifest).map(drop)
    }

    /// Puts a file where the folder of compiled components is: nobody can write there then, not even root.
    fn take_the_cache_away(&self) -> Result<()> {
        fs::rename(self.cache(), self.folder.join("cache-aside"))?;
        Ok(fs::write(self.cache(), "")?)
    }

    fn give_the_cache_back(&self) -> Result<()> {
        fs::remove_file(self.cache())?;
        Ok(fs::rename(self.folder.join("cache-aside"), self.cache())?)
    }

    fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// Looks whether all are alive, and replaces those that are not.
    fn look_after(&mut self) -> Result<()> {
        for nth in 0..self.seats.len() {
            let Seat { number, host, .. } = &mut self.seats[nth];
            let problem = match (host.ended()?, host.get("/livez")) {
                (Some(status), _) => format!("host {number} ended by itself: {status}"),
                (None, Ok((200, _))) => continue,
                (None, Ok((status, body))) => {
                    format!("host {number} says of itself {status}: {body}")
                }
                (None, Err(error)) => format!("host {number} does not answer: {error}"),
            };
            self.violations.push(Violation::Host(problem));
            self.seats[nth].host.kill9();
            self.reseat(nth)?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for a good end; the seat is still taken by what is left.
    fn stop(&mut self, host: usize) -> Result<()> {
        self.seats[host].host.term()?;
        self.violations.extend(ended_badly(&mut self.seats[host]));
        Ok(())
    }

    /// Puts a new host into a seat whose host is gone.
    fn reseat(&mut self, nth: usize) -> Result<()> {
        self.reseat_with(nth, Skew::NONE)
    }

    /// Puts a new host into a seat whose host is gone, with its clock wrong by so much.
    fn reseat_with(&mut self, nth: usize, skew: Skew) -> Result<()> {
        let seat = self.launch(skew)?;
        let old = std::mem::replace(&mut self.seats[nth], seat);
        self.save(&old)
    }

    fn end(&mut self, mut seat: Seat) -> Result<()> {
        self.violations.extend(ended_badly(&mut seat));
        self.save(&seat)
    }

    fn launch(&mut self, skew: Skew) -> Result<Seat> {
        self.started += 1;
        let settings = settings(self.protocol, self.is_graceful).iter();
        let mut host = Host::builder(&self.brokers)
            .handlers(self.handlers.path())
            .args(settings.flat_map(|setting| ["--kafka-setting", *setting]))
            .args(["--cache".as_ref(), self.cache().as_os_str()]);
        let mut clock = None;
        if self.has_clocks {
            let path = self.folder.join(format!("host-{}.clock", self.started));
            let own = WallClock::new(&path)?;
            own.set(skew.ahead_s)?;
            host = host.clock(&own);
            clock = Some(own);
        }
        Ok(Seat {
            number: self.started,
            host: host.start()?,
            clock,
            begun: Instant::now(),
        })
    }

    fn save(&self, seat: &Seat) -> Result<()> {
        let path = self.folder.join(format!("host-{}.log", seat.number));
        fs::write(&path, seat.host.lines().join("\n") + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for seat in std::mem::take(&mut self.seats) {
            // A run that failed has told why; this is what there is besides.
            let _ = self.save(&seat);
        }
    }
}

/// Waits for the end of a host that was told to stop; returns what was wrong with it.
fn ended_badly(seat: &mut Seat) -> Option<Violation> {
    let Seat {
        number,
        host,
        begun,
        ..
    } = seat;
    let lived = begun.elapsed();
    let problem = match host.wait(STOP_TIMEOUT) {
        Ok(status) if !status.success() => {
            format!("host {number} was told to stop and ended with {status}")
        }
        Ok(_) if lived > SERVE_TIMEOUT && !serves(host) => {
            format!("host {number} never served its handler")
        }
        Ok(_) => return None,
        Err(_) => {
            host.kill9();
            let timeout = STOP_TIMEOUT.as_secs();
            format!("host {number} was told to stop and did not within {timeout} s")
        }
    };
    Some(Violation::Host(problem))
}

/// Whether the host has taken over its handler, whatever became of Kafka.
fn serves(host: &Host) -> bool {
    host.lines().iter().any(|line| line.contains(" deployed "))
}

fn manifest(ordering: Ordering, delivery: Delivery, revision: usize) -> String {
    format!(
        "topics = [\"{INPUT}\"]
group = \"{GROUP}\"
dead-letter-topic = \"{LETTERS}\"
{ordering}
delivery = \"{delivery}\"
[limits]
deadline-ms = {DEADLINE_MS}
[retry]
max-attempts = {ATTEMPTS_MAX}
initial-ms = 20
max-ms = 100
[config]
output = \"{OUTPUT}\"
label = \"revision {revision}\"
",
        ordering = ordering.manifest(),
        delivery = delivery.word(),
    )
}
