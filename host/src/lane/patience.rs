//! How long a lane that is to stop waits for a handler that waits for others.
//!
//! **Invariant:** a handler at work is let finish; one that waits for a response or a receipt is left soon, since whoever reads its
//! record next asks again, and a whole group may be waiting for this partition.

use std::sync::Arc;
use std::time::Duration;

use super::{Lane, Stopped};
use crate::catalog::Deployed;
use crate::stop::StopSignal;
use crate::vitals::OpenHand;

/// How long a response or a receipt may take once the lane is to stop; and at most twice as long, should the wait have just begun.
const LAST_RESPONSE: Duration = Duration::from_secs(1);

/// See the module; nothing where the handler asks nobody.
#[derive(Debug)]
pub(crate) struct Patience(Option<(StopSignal, Arc<OpenHand>)>);

impl Lane {
    /// Returns what the lane has for a call of this handler.
    pub(crate) fn patience(&self, handler: &Deployed) -> Patience {
        let asks = handler.setup.conversation.is_allowed() || handler.component.wants_receipts();
        Patience(asks.then(|| (self.stop.clone(), Arc::clone(&self.hand))))
    }
}

impl Patience {
    /// Waits for the call, or leaves it; the instance is of no use then.
    pub(crate) async fn with<T>(self, call: impl Future<Output = T>) -> Result<T, Stopped> {
        let Some((stop, hand)) = self.0 else {
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
        tokio::select! {
            biased;
            result = call => Ok(result),
            () = is_over => Err(Stopped),
        }
    }
}
