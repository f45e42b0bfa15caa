//! Calls of components that are steps of pipelines.
//!
//! **Invariant:** a failed hook leaves an empty outbox.

use tokio::time::Instant;
use wasmtime::component::TypedFunc;

use super::bindings::steps::ActionResult;
use super::bindings::{HandlerError, MessageParam, MessageResult, header_params};
use super::instance::Instance;
use crate::outbox::Outbox;
use crate::outcome::{Failure, FailureKind};
use crate::pipeline::Action;
use crate::record::{Changed, RecordView};

pub(super) type CheckArguments = TypedFunc<(&'static str,), (Result<(), String>,)>;
pub(super) type Transform = TypedFunc<
    (MessageParam<'static>, &'static str),
    (Result<Option<MessageResult>, HandlerError>,),
>;
pub(super) type Decide =
    TypedFunc<(MessageParam<'static>, &'static str), (Result<Vec<ActionResult>, HandlerError>,)>;

impl Instance {
    /// Asks whether the component can work with the arguments of a step; the error says why not.
    pub(crate) async fn check_arguments(&mut self, arguments: &str) -> Result<(), String> {
        let functions = [self.functions.check_transform, self.functions.check_decide];
        for function in functions.into_iter().flatten() {
            let deadline = Instant::now() + self.deadline;
            let answer = self.call(&function, (arguments,), deadline).await;
            let (checked,) = answer.map_err(|failure| failure.message)?;
            checked?;
        }
        Ok(())
    }

    /// Lets the component change a record, where it has the hook for that. `None` ends the pipeline.
    pub(crate) async fn transform(
        &mut self,
        record: &RecordView<'_>,
        arguments: &str,
    ) -> Result<Option<Changed>, Failure> {
        let Some(function) = self.functions.transform else {
            return Err(no_hook());
        };
        let answer = self.on_step(&function, record, arguments).await?;
        Ok(answer.map(Changed::from))
    }

    /// Lets the component decide about a record, where it has the hook for that.
    pub(crate) async fn decide(
        &mut self,
        record: &RecordView<'_>,
        arguments: &str,
    ) -> Result<Vec<Action>, Failure> {
        let Some(function) = self.functions.decide else {
            return Err(no_hook());
        };
        let answer = self.on_step(&function, record, arguments).await?;
        let prefix = &self.store.data().prefix;
        let answer = answer.into_iter();
        Ok(answer.map(|it| it.action(prefix)).collect())
    }

    /// Takes what the step emitted.
    pub(crate) fn take_outbox(&mut self) -> Outbox {
        self.store.data_mut().outbox.take()
    }

    async fn on_step<R>(
        &mut self,
        function: &TypedFunc<(MessageParam<'static>, &'static str), (Result<R, HandlerError>,)>,
        record: &RecordView<'_>,
        arguments: &str,
    ) -> Result<R, Failure>
    where
        (Result<R, HandlerError>,):
            wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
        R: Send + Sync + 'static,
    {
        self.begin(record.offset, true);
        self.store.data_mut().current.keep(record);
        let headers = header_params(&record.headers);
        let message = self.message(record, &headers);
        let deadline = Instant::now() + self.deadline;
        let answer = self.call(function, (message, arguments), deadline).await;
        self.store.data_mut().current.release();
        let result = answer.and_then(|(result,)| result.map_err(Failure::from));
        if result.is_err() {
            self.clear_outbox();
        }
        result
    }
}

fn no_hook() -> Failure {
    Failure::new(FailureKind::Other, "the component has no such hook")
}
