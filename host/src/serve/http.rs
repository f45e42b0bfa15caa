//! The HTTP address of a host: where it listens, and who is let in.
//!
//! Handed the settings, gives what the server is made of.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Error;
use crate::admin::{Access, Admin, Control, Reload};
use crate::audit::Audit;
use crate::config::ServeConfig;
use crate::deploy::Order;
use crate::state_folder::StateFolder;
use crate::telemetry::LogLevel;

/// Begins to listen for HTTP, where it is served.
pub(super) async fn admin(config: &ServeConfig) -> Result<Option<Admin>, Error> {
    let Some(addr) = config.http else {
        return Ok(None);
    };
    let admin = Admin::bind(addr, config.control.tls.clone()).await;
    admin
        .map(Some)
        .map_err(|error| Error::Admin(error.to_string()))
}

/// Puts together what is needed to change something.
pub(super) fn control(
    config: &ServeConfig,
    (orders, reloads): (mpsc::Sender<Order>, mpsc::Sender<Reload>),
    state: Option<Arc<StateFolder>>,
    (audit, log): (Arc<Audit>, LogLevel),
) -> Control {
    let is_open = config.control.tls.is_some() || config.control.api.insecure.unwrap_or(false);
    let access = Access::new(config.control.tokens.clone(), config.http, is_open);
    if let Some(addr) = config.http.filter(|_| !access.is_open()) {
        tracing::warn!(%addr, "health and metrics are served there, the control API is not: it takes --http-tls-cert or --http-insecure on an address \
                               that is no loopback address");
    }
    Control {
        orders,
        reloads,
        tls: config.control.tls.clone(),
        state,
        access,
        audit,
        log,
        drain: watch::Sender::default(),
    }
}
