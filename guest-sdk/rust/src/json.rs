//! The value of the record in hand, read as JSON by the host.
//!
//! It is handed JSON pointers (RFC 6901) and gives what they name; the rest of the value stays with
//! the host, which goes over it once whatever the number of readers.
//!
//! **Invariant:** nothing is read before it is asked for, and what is wrong with a value is told
//! apart from what is wrong with a pointer.

mod error;
mod value;

pub use self::error::JsonError;
pub use self::value::{FromJson, OtherKind};

use std::marker::PhantomData;

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::kafka::handler::json;
use crate::bindings::imports::kafka::handler::json::Value;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::record as json;

/// The value of the record in hand as JSON, got from [`View::json`](crate::View::json). It is lazy:
/// the host looks at the value when it is first asked for something in it.
///
/// ```
/// use kafka_wasm_guest::{Result, View, emit, handler};
///
/// fn on_view(order: View<'_>) -> Result {
///     let json = order.json();
///     let city: Option<String> = json.get("/customer/city")?;
///     emit("totals")
///         .key(json.str("/customer/id")?)
///         .text(&json.f64("/total")?.to_string())
///         .header("city", city)
///         .send()?;
///     Ok(())
/// }
///
/// handler! { on_view }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JsonView<'a> {
    record: PhantomData<&'a ()>,
}

impl JsonView<'_> {
    pub(crate) fn of_current() -> Self {
        Self {
            record: PhantomData,
        }
    }

    /// What a pointer names, as a type of Rust: text, a number, a boolean, [`Json`] of anything, or
    /// an [`Option`] of these, which is `None` for `null` and where there is nothing.
    pub fn get<T: FromJson>(&self, pointer: &str) -> Result<T, JsonError> {
        T::from_json(json::get(pointer)?).map_err(|other| other.at(pointer))
    }

    /// A string.
    pub fn str(&self, pointer: &str) -> Result<String, JsonError> {
        self.get(pointer)
    }

    /// An integer, written without fraction and exponent.
    pub fn i64(&self, pointer: &str) -> Result<i64, JsonError> {
        self.get(pointer)
    }

    /// A number, the nearest of 64 bits.
    pub fn f64(&self, pointer: &str) -> Result<f64, JsonError> {
        self.get(pointer)
    }

    /// A boolean.
    pub fn bool(&self, pointer: &str) -> Result<bool, JsonError> {
        self.get(pointer)
    }

    /// What a pointer names as it is written, also a string with its quotes; `None` where there is
    /// nothing.
    pub fn raw(&self, pointer: &str) -> Result<Option<String>, JsonError> {
        Ok(json::raw(pointer)?)
    }

    /// Whether a pointer names anything, be it `null`.
    pub fn exists(&self, pointer: &str) -> Result<bool, JsonError> {
        Ok(json::exists(pointer)?)
    }

    /// How many items an array or members an object has; `None` of anything else.
    pub fn len(&self, pointer: &str) -> Result<Option<u64>, JsonError> {
        Ok(json::length(pointer)?)
    }

    /// The items of an array.
    pub fn items(&self, pointer: &str) -> Result<impl ExactSizeIterator<Item = Value>, JsonError> {
        match json::items(pointer)? {
            Some(items) => Ok(items.into_iter()),
            None => Err(OtherKind::new("an array", &json::get(pointer)?).at(pointer)),
        }
    }

    /// The fields of a type made by [`json_view!`](crate::json_view), all at once.
    pub fn read<T: JsonFields>(&self) -> Result<T, JsonError> {
        T::read_current()
    }
}

/// Pointers that are read together, in one call of the host. Best made once and kept.
#[derive(Debug)]
pub struct JsonSelection {
    #[cfg(target_arch = "wasm32")]
    inner: json::Selection,
    #[cfg(not(target_arch = "wasm32"))]
    inner: Vec<String>,
}

impl JsonSelection {
    /// Makes a selection. An instance may have 64, with 1,024 pointers together.
    pub fn new(pointers: &[&str]) -> Result<Self, JsonError> {
        #[cfg(target_arch = "wasm32")]
        let inner = json::Selection::make(pointers)?;
        #[cfg(not(target_arch = "wasm32"))]
        let inner = json::select(pointers)?;
        Ok(Self { inner })
    }

    /// What each pointer names in the value of the record in hand, in their order.
    pub fn read(&self) -> Result<Vec<Value>, JsonError> {
        #[cfg(target_arch = "wasm32")]
        return Ok(self.inner.read()?);
        #[cfg(not(target_arch = "wasm32"))]
        Ok(json::read(&self.inner)?)
    }
}

/// A type whose fields lie in the value of a record; [`json_view!`](crate::json_view) makes them.
pub trait JsonFields: Sized {
    /// Reads all fields from the value of the record in hand.
    fn read_current() -> Result<Self, JsonError>;
}

/// Makes a struct whose fields are read from the value of a record, each by its pointer, all in one
/// call of the host. The fields are what [`JsonView::get`] gives.
///
/// ```
/// use kafka_wasm_guest::{Result, forward, handler, json_view, testing};
///
/// json_view! {
///     /// What matters of an order.
///     struct Order {
///         id: String = "/id",
///         total: f64 = "/total",
///         country: Option<String> = "/customer/country",
///     }
/// }
///
/// fn on_view(order: Order) -> Result {
///     if order.total > 100.0 && order.country.is_none() {
///         forward("orders.strange").header("id", order.id).send()?;
///     }
///     Ok(())
/// }
///
/// handler! { on_view }
/// # fn main() {
/// let order = testing::message("orders").text(r#"{"id": "a", "total": 250}"#).build();
/// testing::deliver_view(on_view, order).unwrap();
/// assert_eq!(testing::emitted()[0].header("id"), Some(&b"a"[..]));
/// # }
/// ```
#[macro_export]
macro_rules! json_view {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty = $pointer:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])* $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type),+
        }

        impl $crate::JsonFields for $name {
            fn read_current() -> ::core::result::Result<Self, $crate::JsonError> {
                ::std::thread_local! {
                    static FIELDS: ::core::result::Result<$crate::JsonSelection, $crate::JsonError> =
                        $crate::JsonSelection::new(&[$($pointer),+]);
                }
                FIELDS.with(|fields| {
                    let fields = fields.as_ref().map_err(::core::clone::Clone::clone)?;
                    let mut values = fields.read()?.into_iter();
                    Ok(Self { $($field: $crate::__private::field(values.next(), $pointer)?),+ })
                })
            }
        }

        impl $crate::FromView<'_> for $name {
            fn from_view(view: $crate::View<'_>) -> $crate::Result<Self> {
                Ok(view.json().read()?)
            }
        }
    };
}

/// One field of a `json_view!`.
pub fn field<T: FromJson>(value: Option<Value>, pointer: &str) -> Result<T, JsonError> {
    T::from_json(value.unwrap_or(Value::Absent)).map_err(|other| other.at(pointer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Json, Result, View, reject, testing};

    const ORDER: &str = r#"{"id":"a","n":7,"big":18446744073709551615,"total":2.5,"paid":true,
        "none":null,"items":[{"sku":"x"},2,"y"],"a/b":{"~":1}}"#;

    crate::json_view! {
        #[derive(Debug, PartialEq)]
        pub(crate) struct Order {
            pub(crate) id: String = "/id",
            n: u8 = "/n",
            total: f64 = "/total",
            note: Option<String> = "/note",
        }
    }

    fn deliver(value: &str, hook: impl FnOnce(View<'_>) -> Result) -> Result {
        testing::deliver_view(hook, testing::message("t").text(value).build())
    }

    #[test]
    fn each_kind_of_value_is_read_as_its_type() {
        deliver(ORDER, |view| {
            let json = view.json();
            assert_eq!(json.str("/id"), Ok("a".to_owned()));
            assert_eq!((json.i64("/n"), json.f64("/n")), (Ok(7), Ok(7.0)));
            assert_eq!(json.get("/big"), Ok(u64::MAX));
            assert_eq!(json.f64("/total"), Ok(2.5));
            assert_eq!(json.bool("/paid"), Ok(true));
            assert_eq!(json.get("/none"), Ok(None::<String>));
            assert_eq!(json.get("/absent"), Ok(None::<bool>));
            assert_eq!(
                (json.exists("/none"), json.exists("/absent")),
                (Ok(true), Ok(false))
            );
            assert_eq!(json.i64("/a~1b/~0"), Ok(1));
            assert_eq!(json.get("/a~1b"), Ok(Json(serde_json::json!({"~": 1}))));
            assert_eq!(
                (json.len("/items"), json.len("/id")),
                (Ok(Some(3)), Ok(None))
            );
            assert_eq!(json.raw("/items/0"), Ok(Some(r#"{"sku":"x"}"#.to_owned())));
            let items: Vec<_> = json.items("/items")?.skip(1).collect();
            assert_eq!(items, [Value::Integer(2), Value::Text("y".to_owned())]);
            let order: Order = json.read()?;
            assert_eq!((order.n, order.note), (7, None));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_hook_may_take_the_fields_alone() {
        let hook = |order: Order| {
            assert_eq!((order.id.as_str(), order.total), ("a", 2.5));
            Ok::<_, Error>(())
        };
        let message = |value| testing::message("t").text(value).build();
        assert_eq!(testing::deliver_view(hook, message(ORDER)), Ok(()));
        let error = testing::deliver_view(hook, message(r#"{"id":1}"#)).unwrap_err();
        let text = "at `/id` the value has a number, not a string";
        assert_eq!(error, reject(text));
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        deliver("[1,]", |view| {
            let invalid = view.json().exists("");
            assert!(
                matches!(invalid, Err(JsonError::Invalid { at: 3, .. })),
                "{invalid:?}"
            );
            let pointer = view.json().exists("a").unwrap_err();
            assert!(matches!(pointer, JsonError::Pointer { .. }), "{pointer:?}");
            assert!(matches!(Error::from(pointer), Error::Other(_)));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            JsonSelection::new(&["/a", "/~"])
                .unwrap_err()
                .to_string()
                .split(':')
                .next(),
            Some("`/~` is no JSON pointer")
        );
        let selection = JsonSelection::new(&["/a"]).unwrap();
        assert_eq!(selection.read(), Err(JsonError::NoMessage));
        let tombstone = testing::message("t").tombstone().build();
        let hook = |view: View<'_>| view.json().exists("").map(drop);
        assert_eq!(
            testing::deliver_view(hook, tombstone),
            Err(reject("the record has no value: it is a tombstone"))
        );
    }
}
