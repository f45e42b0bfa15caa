//! What a lane has for a call of a handler that waits for others: how long it waits once it is to stop, and places for who
//! wants them.
//!
//! **Invariant:** a handler at work is let finish; one that waits for a response or a receipt is left soon, since whoever reads its
//! record next asks again, and a whole group may be waiting for this partition.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::beside::Beside;
use super::{Lane, Stopped};
use crate::catalog::{Course, Deployed};
use crate::guest::Instance;
use crate::outcome::{Failure, FailureKind};
use crate::stop::StopSignal;
use crate::vitals::OpenHand;

/// How long a response or a receipt may take once the lane is to stop; and at most twice as long, should the wait have just begun.
const LAST_RESPONSE: Duration = Duration::from_secs(1);

/// See the module; nothing where the handler asks nobody.
#[derive(Debug)]
pub(crate) struct Patience<'a>(Option<Waits<'a>>);

#[derive(Debug)]
struct Waits<'a> {
    stop: StopSignal,
    hand: Arc<OpenHand>,
    beside: Option<Beside<'a>>,
}

impl Lane {
    /// Returns what the lane has for an attempt of a pipeline of this handler.
    pub(crate) fn patience(&self, handler: &Deployed, course: &Course) -> Patience<'static> {
        let mut stages = course.stations.iter().filter_map(|it| it.stage.as_ref());
        let may_wait = handler.setup.conversation.is_allowed()
            || stages.any(|stage| stage.component.wants_receipts());
        Patience(may_wait.then(|| Waits {
            stop: self.stop.clone(),
            hand: Arc::clone(&self.hand),
            beside: None,
        }))
    }

    /// As [`Self::lease`], with what the lane has for a call of the instance.
    pub(crate) async fn lease_patiently<'a>(
        &'a mut self,
        handler: &'a Deployed,
    ) -> Result<Result<(&'a mut Instance, Patience<'a>), Failure>, Stopped> {
        self.put_down_stage();
        if let Err(failure) = self.lease(handler).await? {
            return Ok(Err(failure));
        }
        let Some((_, instance)) = &mut self.instance else {
            return Ok(Err(Failure::new(FailureKind::Other, "no instance")));
        };
        let waits = may_wait(handler).then(|| Waits {
            stop: self.stop.clone(),
            hand: Arc::clone(&self.hand),
            beside: Some(Beside {
                places: handler.component.places(),
                own: None,
                stages: &mut self.stages,
                seats: &mut self.aside,
            }),
        });
        Ok(Ok((instance, Patience(waits))))
    }
}

/// Returns whether a hook of the handler may wait for others.
fn may_wait(handler: &Deployed) -> bool {
    handler.setup.conversation.is_allowed() || handler.component.wants_receipts()
}

impl Patience<'_> {
    /// Waits for the call, or leaves it; the instance is of no use then.
    pub(crate) async fn with<T>(self, call: impl Future<Output = T>) -> Result<T, Stopped> {
        let Some(Waits { stop, hand, beside }) = self.0 else {
            return Ok(call.await);
        };
        let is_over = async {
            stop.set().await;
            loop {
                tokio::time::sleep(LAST_RESPONSE).await;
                if hand.awaits_response() {
                    return;
                }
            }
        };
        let lending = async {
            match beside {
                Some(mut beside) => beside.lend().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            result = call => Ok(result),
            () = is_over => Err(Stopped),
            never = lending => match never {},
        }
    }
}
