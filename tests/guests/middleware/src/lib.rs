//! Middleware that does what the record says, named by config `name`. Words of the value that end with `@` and that name
//! are for it: `pass` lets the record go on as it is, `drop`, `reject` and `trap` are what they say, `once` fails the
//! first time, `upper` makes the value's letters capital, `event=x` sets the header `event`, `emit` tries to emit,
//! `tombstone` takes the value away, `cut` takes the word itself away, and `key=x` sets the key.
//!
//! Unless it passes, a record gets a header with that name, which says how many calls the instance has had.

use std::cell::{Cell, RefCell};

use kafka_wasm_guest::{
    Header, Message, Reception, Result, config, emit, handler, other, reject, retry,
};

thread_local! {
    static NAME: String = config("name").unwrap_or_else(|| "a".into());
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static FAILED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn header(message: &mut Message, key: &str, value: &str) {
    message.headers.push(Header {
        key: key.to_owned(),
        value: Some(value.as_bytes().to_vec()),
    });
}

fn middleware(mut message: Message) -> Result<Reception> {
    let calls = CALLS.replace(CALLS.get() + 1) + 1;
    let name = NAME.with(String::clone);
    let text = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
    let ours = text
        .split(' ')
        .filter_map(|word| word.strip_suffix(&*format!("@{name}")));
    for word in ours {
        match word.split_once('=').unwrap_or((word, "")) {
            ("pass", _) => return Ok(Reception::Pass),
            ("drop", _) => return Ok(Reception::Drop),
            ("reject", _) => return Err(reject("the middleware does not like it")),
            ("trap", _) => panic!("trapped"),
            ("once", _) if !FAILED.with_borrow(|failed| failed.contains(&message.offset)) => {
                FAILED.with_borrow_mut(|failed| failed.push(message.offset));
                return Err(retry("once"));
            }
            ("upper", _) => message.value = Some(text.to_uppercase().into_bytes()),
            ("event", event) => header(&mut message, "event", event),
            ("cut", _) => {
                let rest = text.replace(&format!(" cut@{name}"), "");
                message.value = Some(rest.into_bytes());
            }
            ("tombstone", _) => message.value = None,
            ("key", key) => message.key = Some(key.as_bytes().to_vec()),
            ("emit", _) => {
                let refused = emit("elsewhere").text("x").send().err();
                let why = refused.ok_or_else(|| other("it may emit"))?;
                header(&mut message, "refused", &why.to_string());
            }
            _ => {}
        }
    }
    header(&mut message, &name, &calls.to_string());
    Ok(Reception::Change(message))
}

handler! { middleware }
