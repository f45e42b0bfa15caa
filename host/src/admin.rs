//! Stand-in.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
pub(crate) struct View {
    pub(crate) registry: Arc<crate::stats::Registry>,
    pub(crate) catalog: crate::catalog::CatalogReader,
    pub(crate) subscriptions: Arc<parking_lot::Mutex<crate::subscriptions::Subscriptions>>,
    pub(crate) sinks: Arc<crate::sinks::Sinks>,
    pub(crate) board: Arc<crate::deploy::Board>,
    pub(crate) draining: AtomicBool,
}
pub(crate) struct Admin(SocketAddr);
impl Admin {
    pub(crate) async fn bind(addr: SocketAddr) -> Result<Admin, std::io::Error> {
        Ok(Admin(addr))
    }
    pub(crate) fn addr(&self) -> SocketAddr {
        self.0
    }
    pub(crate) async fn serve(
        self,
        _view: Arc<View>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), std::io::Error> {
        stop.await;
        Ok(())
    }
}
