//! The `events!` macro: from functions with the name of an event to the exports of a component.
//!
//! The host reads the event of each record and calls the component for those that it names; which function
//! that is stands here alone, so there is no second table of routes to keep in step.
//!
//! **Invariant:** the events that are told to the host are those that have a function.

use std::cell::RefCell;

use crate::bindings::imports::kafka::handler::types::HandlerError;

thread_local! {
    static EVENT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns the event of the record that is being handled; empty outside of the functions of
/// [`events!`](crate::events). Of use where the pattern of a function matches several.
pub fn event() -> String {
    EVENT.with_borrow(String::clone)
}

/// Runs the function of an event, with the event at hand.
pub fn with_event(
    event: String,
    function: impl FnOnce() -> Result<(), HandlerError>,
) -> Result<(), HandlerError> {
    EVENT.set(event);
    let result = function();
    EVENT.take();
    result
}

/// What the host is told when it asks for an event that the component does not name.
pub fn unknown(pattern: &str) -> HandlerError {
    HandlerError::Other(format!(
        "the component has no function for the event {pattern}"
    ))
}

/// Makes functions the hooks for records of certain events.
///
/// Each function begins with `#[on("...")]`, the event that it is for: `*` is any run of characters, `?` is one. Of
/// several that match the most specific one is called. A function takes what `on_message` does, so `Json<T>` for a typed
/// payload. The host finds the event of a record where the manifest's `event.source` says: unless told otherwise, under
/// `event` in its value, a JSON document.
///
/// ```
/// use kafka_wasm_guest::{Json, Message, Result, emit, event, events};
///
/// #[derive(serde::Deserialize)]
/// struct Created {
///     id: String,
/// }
///
/// events! {
///     #[on("order.created")]
///     fn created(order: Json<Created>) -> Result {
///         emit("orders.new").key(&order.id).send()?;
///         Ok(())
///     }
///
///     #[on("order.*")]
///     fn changed(_order: Message) -> Result {
///         emit("orders.changed").text(&event()).send()?;
///         Ok(())
///     }
/// }
/// # fn main() {}
/// ```
///
/// Other hooks are named in [`handler!`](crate::handler) as usual; with `on_message` there it gets the records of all
/// other events.
#[macro_export]
macro_rules! events {
    ($(
        #[on($pattern:literal)]
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:tt)*) $(-> $returned:ty)? $body:block
    )+) => {
        $(
            $(#[$attribute])*
            $visibility fn $name($($argument)*) $(-> $returned)? $body
        )+

        $crate::__export! { events export_events event_handler {
            fn events() -> ::std::vec::Vec<::std::string::String> {
                ::std::vec![$(::std::string::String::from($pattern)),+]
            }

            fn on_event(
                pattern: ::std::string::String,
                event: ::std::string::String,
                message: $crate::Message,
            ) -> ::core::result::Result<(), $crate::__private::HandlerError> {
                $crate::__private::with_event(event, || match &*pattern {
                    $($pattern => $crate::__private::one($name, message),)+
                    other => ::core::result::Result::Err($crate::__private::unknown(other)),
                })
            }
        }}
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_at_hand_while_its_function_runs() {
        let result = with_event("order.created".to_owned(), || {
            assert_eq!(event(), "order.created");
            Err(unknown("x"))
        });
        assert!(matches!(result, Err(HandlerError::Other(text)) if text.ends_with("event x")));
        assert_eq!(event(), "");
    }
}
