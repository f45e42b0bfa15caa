//! Log lines, which the host writes with the handler and the record they belong to.
//!
//! It is handed a level, the module that speaks and a text. Use the macros: `trace!`, `debug!`,
//! `info!`, `warn!`, `error!`, `critical!`, from here or from the crate's root.
//!
//! **Invariant:** a text without arguments is passed on as it is, without an allocation.

use std::borrow::Cow;
use std::fmt;

pub use crate::bindings::imports::wasi::logging::logging::Level;
pub use crate::{critical, debug, error, info, trace, warn};

/// Writes one line; `context` names the part of the program that speaks.
pub fn write(level: Level, context: &str, text: fmt::Arguments<'_>) {
    let text = text
        .as_str()
        .map_or_else(|| Cow::Owned(text.to_string()), Cow::Borrowed);
    #[cfg(target_arch = "wasm32")]
    crate::bindings::imports::wasi::logging::logging::log(level, context, &text);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::take_log(level, context, &text);
}

/// Writes a log line at level trace; takes what `format!` takes.
#[macro_export]
macro_rules! trace {
    ($($arg:tt)+) => {
        $crate::__log!(Trace $($arg)+)
    };
}

/// Writes a log line at level debug; takes what `format!` takes.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)+) => {
        $crate::__log!(Debug $($arg)+)
    };
}

/// Writes a log line at level info; takes what `format!` takes.
#[macro_export]
macro_rules! info {
    ($($arg:tt)+) => {
        $crate::__log!(Info $($arg)+)
    };
}

/// Writes a log line at level warn; takes what `format!` takes.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)+) => {
        $crate::__log!(Warn $($arg)+)
    };
}

/// Writes a log line at level error; takes what `format!` takes.
#[macro_export]
macro_rules! error {
    ($($arg:tt)+) => {
        $crate::__log!(Error $($arg)+)
    };
}

/// Writes a log line at level critical; takes what `format!` takes.
#[macro_export]
macro_rules! critical {
    ($($arg:tt)+) => {
        $crate::__log!(Critical $($arg)+)
    };
}

/// The one body of the macros above.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident $($arg:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level,
            ::core::module_path!(),
            ::core::format_args!($($arg)+),
        )
    };
}

#[cfg(test)]
mod tests {
    use super::Level;
    use crate::testing;

    #[test]
    fn a_line_carries_level_module_and_text() {
        let n = 2;
        crate::info!("{n} of {}", 3);
        super::warn!("plain");
        let lines = testing::logged();
        assert_eq!(
            (lines[0].level, lines[0].text.as_str()),
            (Level::Info, "2 of 3")
        );
        assert_eq!(lines[0].context, "kafka_wasm_guest::log::tests");
        assert_eq!(
            (lines[1].level, lines[1].text.as_str()),
            (Level::Warn, "plain")
        );
        assert!(testing::logged().is_empty());
    }
}
