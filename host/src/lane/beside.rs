//! What a lane keeps beside the instance that is at work: those of middleware and of steps, and of handlers whose turn it
//! is not.
//!
//! **Invariant:** a guest that waits for others holds one place: what lies beside its instance is given up when somebody
//! wants a place.

use std::convert::Infallible;
use std::future::pending;

use super::Route;
use super::stage::Working;
use super::turn::Seat;
use crate::guest::{Instance, Places};
use crate::ids::Revision;

/// The instance of a lane's handler, if there is one.
type Own = Option<(Revision, Instance)>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    pub(super) places: &'a Places,
    /// The handler's own instance with its counters, where a stage is at work.
    pub(super) own: Option<(&'a mut Own, Option<&'a Route>)>,
    pub(super) stages: &'a mut Vec<Working>,
    pub(super) seats: &'a mut Vec<Seat>,
}

impl Beside<'_> {
    /// Waits for a call; meanwhile gives up what others want.
    pub(crate) async fn lent_during<T>(mut self, call: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            result = call => result,
            never = self.lend() => match never {},
        }
    }

    /// Gives up what there is when somebody wants a place.
    pub(super) async fn lend(&mut self) -> Infallible {
        if self.has_any() {
            // Who wanted one before was not heard.
            if !self.places.is_short() {
                self.places.asked().await;
            }
            self.give_up();
        }
        pending().await
    }

    fn has_any(&self) -> bool {
        let has_own = self.own.as_ref().is_some_and(|(own, _)| own.is_some());
        has_own || !self.stages.is_empty() || self.seats.iter().any(Seat::has_instance)
    }

    fn give_up(&mut self) {
        self.stages.clear();
        self.seats.iter_mut().for_each(Seat::rest);
        if let Some((own, route)) = &mut self.own {
            **own = None;
            if let Some(route) = route {
                route.stats.memory_bytes.set(0);
            }
        }
    }
}
