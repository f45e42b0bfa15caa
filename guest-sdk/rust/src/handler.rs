//! The `handler!` macro: from the names of functions to the exports of a component.
//!
//! It is handed the hooks that a handler names and owns what they expand to: one `Guest` per hook
//! and, on wasm, the export of its interface.
//!
//! **Invariant:** what is not named is not exported; the host's fallbacks depend on it.

/// Exports functions as the hooks of a handler.
///
/// Each hook is given by its name alone, or as `name: path::to::function`. A handler needs
/// `on_message`, `on_view` or `on_bulk`; all else is optional. A step of pipelines needs `transform`
/// or `decide`.
///
/// | hook | function |
/// |---|---|
/// | `on_message`, `on_tombstone` | `fn(T) -> Result`, `T:` [`FromMessage`](crate::FromMessage) |
/// | `on_view` | `fn(T) -> Result`, `T:` [`View`](crate::View) or a [`json_view!`](crate::json_view), see below |
/// | `on_bulk` | `fn(Vec<T>) -> Result` or `-> Result<Vec<BulkFailure>>`; `T` may also be [`MessageView`](crate::MessageView) |
/// | `on_bulk_list` | as `on_bulk`, see below |
/// | `on_error` | `fn(&Failure, &Message) -> Verdict` |
/// | `on_bulk_error` | `fn(&Failure, &[Message]) -> Verdict` |
/// | `did_receive` | `fn(Message) -> Result<Option<Message>>`; `None` drops the record |
/// | `middleware` | `fn(Message) -> Result<`[`Reception`](crate::Reception)`>`, see below |
/// | `did_receive_bulk` | `fn(Batch) -> Result<Batch>` |
/// | `on_finished` | `fn(&[Message], Outcome)` |
/// | `define_context` | `fn(Config) -> Result`; an error refuses the deployment |
/// | `transform` | `fn(Message, A) -> Result<Option<Message>>`, see below; `None` drops the record |
/// | `decide` | `fn(Message, A) -> Result<Vec<Action>>`, see below |
/// | `on_assigned`, `on_revoked` | `fn(topic: &str, partition: u32)` |
///
/// `on_view` is called in place of `on_message`: the record stays with the host, which reads what the
/// handler asks for.
///
/// `on_bulk` gets its records in one block of bytes, the packed interface, which costs a fraction of
/// a list of records where they are small. `on_bulk_list` gets the list: for values of more than
/// about 10 KiB. Where both are named the host calls `on_bulk`.
///
/// `middleware` makes a component that stands before handlers, where a manifest names it in `[[middleware]]`; it needs no
/// other hook.
///
/// `transform` and `decide` make the component a step of pipelines, which needs no other hook. `A` is
/// what the `args` of the step are read as, any type of serde; a step whose arguments are no `A` is
/// not deployed. See [`Action`](crate::Action).
///
/// In place of [`Error`](crate::Error) a function may return any error that converts into it.
///
/// ```
/// use kafka_wasm_guest::{Failure, Message, Result, Verdict, handler};
///
/// fn on_message(_text: String) -> Result {
///     Ok(())
/// }
///
/// mod policy {
///     use super::*;
///     pub fn decide(_failure: &Failure, _message: &Message) -> Verdict {
///         Verdict::DeadLetter
///     }
/// }
///
/// handler! { on_message, on_error: policy::decide }
/// # fn main() {}
/// ```
///
/// A name that is no hook does not compile:
///
/// ```compile_fail
/// fn on_mesage(_text: String) -> kafka_wasm_guest::Result { Ok(()) }
/// kafka_wasm_guest::handler! { on_mesage }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! handler {
    ($($hook:ident $(: $function:path)?),+ $(,)?) => {
        $($crate::__hook! { $hook $($function)? })+
        $crate::__partition_hooks! { [] [] $($hook [$($function)?])+ }
    };
}

/// The function of a hook: the one given, else the one that bears the hook's name.
#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    ($hook:ident) => {
        $hook
    };
    ($hook:ident $function:path) => {
        $function
    };
}

/// Implements the interface of one hook and, on wasm, exports it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($module:ident $export:ident $interface:ident { $($body:tt)* }) => {
        #[allow(dead_code, reason = "used by the export, which exists on wasm only")]
        const _: () = {
            struct __Hook;

            impl $crate::__private::$module::exports::kafka::handler::$interface::Guest for __Hook {
                $($body)*
            }

            #[cfg(target_arch = "wasm32")]
            $crate::__private::$module::$export!(__Hook with_types_in $crate::__private::$module);
        };
    };
}

/// One hook of `handler!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (on_message $($f:path)?) => {
        $crate::__export! { message export_message message_handler {
            fn on_message(
                message: $crate::Message,
            ) -> ::core::result::Result<(), $crate::__private::HandlerError> {
                $crate::__private::one($crate::__function!(on_message $($f)?), message)
            }
        }}
    };
    (on_view $($f:path)?) => {
        $crate::__export! { view export_view view_handler {
            fn on_view(
                head: $crate::__private::MessageHead,
            ) -> ::core::result::Result<(), $crate::__private::HandlerError> {
                $crate::__private::on_view($crate::__function!(on_view $($f)?), &head)
            }
        }}
    };
    (on_tombstone $($f:path)?) => {
        $crate::__export! { tombstone export_tombstone tombstone_handler {
            fn on_tombstone(
                message: $crate::Message,
            ) -> ::core::result::Result<(), $crate::__private::HandlerError> {
                $crate::__private::one($crate::__function!(on_tombstone $($f)?), message)
            }
        }}
    };
    (on_bulk $($f:path)?) => {
        $crate::__export! { packed_bulk export_packed_bulk packed_bulk_handler {
            fn on_packed_bulk(
                batch: $crate::__private::PackedBatch,
            ) -> ::core::result::Result<
                ::std::vec::Vec<$crate::__private::WireFailure>,
                $crate::__private::HandlerError,
            > {
                $crate::__private::bulk($crate::__function!(on_bulk $($f)?), &batch)
            }
        }}
    };
    (on_bulk_list $($f:path)?) => {
        $crate::__export! { bulk export_bulk bulk_handler {
            fn on_bulk(
                messages: ::std::vec::Vec<$crate::Message>,
            ) -> ::core::result::Result<
                ::std::vec::Vec<$crate::__private::WireFailure>,
                $crate::__private::HandlerError,
            > {
                $crate::__private::bulk_list($crate::__function!(on_bulk_list $($f)?), messages)
            }
        }}
    };
    (on_error $($f:path)?) => {
        $crate::__export! { error export_error error_handler {
            fn on_error(failure: $crate::Failure, message: $crate::Message) -> $crate::Verdict {
                $crate::__private::decide($crate::__function!(on_error $($f)?), &failure, &message)
            }
        }}
    };
    (on_bulk_error $($f:path)?) => {
        $crate::__export! { bulk_error export_bulk_error bulk_error_handler {
            fn on_bulk_error(
                failure: $crate::Failure,
                messages: ::std::vec::Vec<$crate::Message>,
            ) -> $crate::Verdict {
                $crate::__private::decide_bulk(
                    $crate::__function!(on_bulk_error $($f)?),
                    &failure,
                    &messages,
                )
            }
        }}
    };
    (did_receive $($f:path)?) => {
        $crate::__export! { received export_received received_hook {
            fn did_receive(
                message: $crate::Message,
            ) -> ::core::result::Result<
                ::core::option::Option<$crate::Message>,
                $crate::__private::HandlerError,
            > {
                $crate::__private::receive($crate::__function!(did_receive $($f)?), message)
            }
        }}
    };
    (middleware $($f:path)?) => {
        $crate::__export! { middleware export_middleware middleware {
            fn did_receive(
                message: $crate::Message,
            ) -> ::core::result::Result<$crate::Reception, $crate::__private::HandlerError> {
                $crate::__private::receive($crate::__function!(middleware $($f)?), message)
            }
        }}
    };
    (did_receive_bulk $($f:path)?) => {
        $crate::__export! { bulk_received export_bulk_received bulk_received_hook {
            fn did_receive_bulk(
                messages: ::std::vec::Vec<$crate::Message>,
            ) -> ::core::result::Result<
                ::std::vec::Vec<$crate::Message>,
                $crate::__private::HandlerError,
            > {
                $crate::__private::receive($crate::__function!(did_receive_bulk $($f)?), messages)
            }
        }}
    };
    (on_finished $($f:path)?) => {
        $crate::__export! { finished export_finished finished_hook {
            fn on_finished(
                messages: ::std::vec::Vec<$crate::Message>,
                outcome: $crate::Outcome,
            ) {
                $crate::__private::finish(
                    $crate::__function!(on_finished $($f)?),
                    &messages,
                    outcome,
                )
            }
        }}
    };
    (transform $($f:path)?) => {
        $crate::__export! { transform export_transform transformer {
            fn check_arguments(
                arguments: ::std::string::String,
            ) -> ::core::result::Result<(), ::std::string::String> {
                $crate::__private::check_arguments(
                    $crate::__function!(transform $($f)?),
                    &arguments,
                )
            }

            fn transform(
                message: $crate::Message,
                arguments: ::std::string::String,
            ) -> ::core::result::Result<
                ::core::option::Option<$crate::Message>,
                $crate::__private::HandlerError,
            > {
                $crate::__private::transform(
                    $crate::__function!(transform $($f)?),
                    message,
                    &arguments,
                )
            }
        }}
    };
    (decide $($f:path)?) => {
        $crate::__export! { decide export_decide decider {
            fn check_arguments(
                arguments: ::std::string::String,
            ) -> ::core::result::Result<(), ::std::string::String> {
                $crate::__private::check_arguments($crate::__function!(decide $($f)?), &arguments)
            }

            fn decide(
                message: $crate::Message,
                arguments: ::std::string::String,
            ) -> ::core::result::Result<
                ::std::vec::Vec<$crate::__private::WireAction>,
                $crate::__private::HandlerError,
            > {
                $crate::__private::actions($crate::__function!(decide $($f)?), message, &arguments)
            }
        }}
    };
    (define_context $($f:path)?) => {
        $crate::__export! { context export_context context_definer {
            fn define_context(
                config: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
            ) -> ::core::result::Result<(), ::std::string::String> {
                $crate::__private::define($crate::__function!(define_context $($f)?), config)
            }
        }}
    };
    // These two share an interface: `__partition_hooks!` exports them.
    (on_assigned $($f:path)?) => {};
    (on_revoked $($f:path)?) => {};
    ($unknown:ident $($f:path)?) => {
        ::core::compile_error!(::core::concat!(
            "`",
            ::core::stringify!($unknown),
            "` is no hook: expected on_message, on_view, on_tombstone, on_bulk, on_bulk_list, on_error, \
             on_bulk_error, did_receive, did_receive_bulk, on_finished, define_context, transform, decide, \
             on_assigned or on_revoked",
        ));
    };
}

/// Picks the two partition hooks out of the list: `[assigned] [revoked] hook [function]…`.
#[doc(hidden)]
#[macro_export]
macro_rules! __partition_hooks {
    ([] []) => {};
    ([] [$($r:tt)+]) => {
        $crate::__partition_hooks! { [$crate::__private::no_partition_hook] [$($r)+] }
    };
    ([$($a:tt)+] []) => {
        $crate::__partition_hooks! { [$($a)+] [$crate::__private::no_partition_hook] }
    };
    ([$($a:tt)+] [$($r:tt)+]) => {
        $crate::__export! { partition export_partition partition_hook {
            fn on_assigned(topic: ::std::string::String, partition: u32) {
                $crate::__private::partition($($a)+, &topic, partition)
            }

            fn on_revoked(topic: ::std::string::String, partition: u32) {
                $crate::__private::partition($($r)+, &topic, partition)
            }
        }}
    };
    ([$($a:tt)*] [$($r:tt)*] on_assigned [$($f:path)?] $($rest:tt)*) => {
        $crate::__partition_hooks! { [$crate::__function!(on_assigned $($f)?)] [$($r)*] $($rest)* }
    };
    ([$($a:tt)*] [$($r:tt)*] on_revoked [$($f:path)?] $($rest:tt)*) => {
        $crate::__partition_hooks! { [$($a)*] [$crate::__function!(on_revoked $($f)?)] $($rest)* }
    };
    ([$($a:tt)*] [$($r:tt)*] $hook:ident [$($f:path)?] $($rest:tt)*) => {
        $crate::__partition_hooks! { [$($a)*] [$($r)*] $($rest)* }
    };
}

#[cfg(test)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signatures are those of the hooks"
)]
mod tests {
    //! That every hook compiles, by its name and by a path; what they do is tested in the modules.

    mod named {
        use crate::{
            Action, Batch, BulkFailure, Config, Failure, Json, Message, Outcome, Record, Result,
            Verdict,
        };

        fn on_message(_: Json<u32>) -> Result {
            Ok(())
        }
        fn on_view(_: crate::View<'_>) -> Result {
            Ok(())
        }
        fn on_tombstone(_: Message) -> std::result::Result<(), std::fmt::Error> {
            Ok(())
        }
        fn on_bulk(_: Vec<Record<String>>) -> Result<Vec<BulkFailure>> {
            Ok(Vec::new())
        }
        fn on_bulk_list(_: Vec<Json<u32>>) -> Result {
            Ok(())
        }
        fn on_error(_: &Failure, _: &Message) -> Verdict {
            Verdict::Resume
        }
        fn on_bulk_error(_: &Failure, _: &[Message]) -> Verdict {
            Verdict::Resume
        }
        fn did_receive(message: Message) -> Result<Option<Message>> {
            Ok(Some(message))
        }
        fn did_receive_bulk(batch: Batch) -> Result<Batch> {
            Ok(batch)
        }
        fn on_finished(_: &[Message], _: Outcome) {}
        fn define_context(_: Config) -> Result {
            Ok(())
        }
        fn transform(message: Message, _: ()) -> Result<Option<Message>> {
            Ok(Some(message))
        }
        fn decide(_: Message, _: Vec<u32>) -> Result<Vec<Action>> {
            Ok(vec![Action::Finish])
        }
        fn on_assigned(_: &str, _: u32) {}
        fn on_revoked(_: &str, _: u32) {}

        crate::handler! {
            on_message, on_view, on_tombstone, on_bulk, on_bulk_list, on_error, on_bulk_error, did_receive,
            did_receive_bulk, on_finished, define_context, transform, decide, on_assigned, on_revoked,
        }
    }

    mod by_path {
        mod hooks {
            pub(super) fn each(_: Vec<u8>) -> crate::Result {
                Ok(())
            }
            pub(super) fn gone(_: &str, _: u32) {}
            pub(super) fn lent(_: Vec<crate::MessageView<'_>>) -> crate::Result {
                Ok(())
            }
        }

        crate::handler! { on_message: hooks::each, on_bulk: hooks::lent, on_revoked: hooks::gone }
    }
}
