//! The deeds themselves. Each returns what it has to tell.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_wasm_guest::{Error, Message, Result, emit, other, reply, retry_after};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

type Told = Option<String>;

/// Traps without a word.
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Never returns.
pub fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Takes memory, touches all of it and gives it back.
pub fn alloc(mib: &str) -> Result<Told> {
    let bytes = mib.parse::<usize>()? << 20;
    drop(black_box(vec![1_u8; bytes]));
    Ok(None)
}

/// Waits inside an import of the host.
pub fn sleep(ms: &str) -> Result<Told> {
    std::thread::sleep(Duration::from_millis(ms.parse()?));
    Ok(None)
}

/// `[MS] TEXT`
pub fn retry(rest: &str) -> Error {
    if let Some((ms, text)) = rest.split_once(' ')
        && let Ok(ms) = ms.parse()
    {
        return retry_after(Duration::from_millis(ms), text);
    }
    kafka_wasm_guest::retry(rest)
}

/// Emits a value of so many bytes and tells how the host refused it.
pub fn emit_big(topic: &str, bytes: &str) -> Result<Told> {
    let value = vec![b'x'; bytes.parse()?];
    Ok(emit(topic)
        .bytes(value)
        .send()
        .err()
        .map(|error| error.to_string()))
}

pub fn stdout(text: &str) -> Told {
    println!("{text}");
    None
}

pub fn stderr(text: &str) -> Told {
    eprintln!("{text}");
    None
}

/// Reaches for a file, the environment, the network and the web; tells what each answered.
pub fn escape() -> String {
    let file = std::fs::read("/etc/passwd").map(|bytes| format!("{} bytes", bytes.len()));
    let environment = std::env::vars().count();
    let socket = TcpStream::connect("127.0.0.1:9").map(|_| "connected".to_owned());
    let text = |answer: std::io::Result<String>| match answer {
        Ok(text) => format!("allowed ({text})"),
        Err(error) => format!("denied ({error})"),
    };
    format!(
        "file {}; environment {environment} variables; socket {}; web {}",
        text(file),
        text(socket),
        request()
    )
}

fn request() -> String {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some("127.0.0.1:9")))
        .and_then(|()| request.set_path_with_query(Some("/")));
    let answer = match set {
        Ok(()) => handle(request, None),
        Err(()) => return "cannot be asked".to_owned(),
    };
    let answer = answer.map(|response| {
        response.subscribe().block();
        response.get()
    });
    match answer {
        Err(code) | Ok(Some(Ok(Err(code)))) => format!("denied ({code:?})"),
        Ok(other) => format!("allowed ({other:?})"),
    }
}

/// Whether a deed that is only done sometimes is left undone now. A record is ill for 200 ms, then well for 400 ms, and
/// when depends on its place. So an attempt after a trap, or on another host, needs no memory of those before it.
pub fn is_well(message: &Message) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let own = message.offset * 97 + u64::from(message.partition) * 31;
    (u64::try_from(now.as_millis()).unwrap_or_default() + own) % 600 >= 200
}

/// Fails the first N calls for its record, as this instance counts them.
pub fn flaky(message: &Message, failures: &str) -> Result<Told> {
    thread_local! {
        static CALLS: RefCell<BTreeMap<(String, u32, u64), u32>> = RefCell::default();
    }
    let failures: u32 = failures.parse()?;
    let place = (message.topic.clone(), message.partition, message.offset);
    let call = CALLS.with_borrow_mut(|calls| {
        let call = calls.entry(place).or_default();
        *call += 1;
        *call
    });
    if call <= failures {
        return Err(other(format!("flaky: call {call} of {failures} that fail")));
    }
    Ok(Some(format!("call {call}")))
}

/// `TOPIC MS TEXT`
pub fn ask(message: &Message, rest: &str) -> Result<String> {
    let mut words = rest.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (topic, timeout_ms, text) = (word(), word().parse()?, word());
    // A key of its own: in key order a request to the handler itself would else wait for its own record.
    let key = format!("{}?", message.key_text().unwrap_or_default());
    let request = emit(topic).key(key).text(text);
    let response = request.with_response(Duration::from_millis(timeout_ms));
    Ok(match response {
        Ok(response) => response.text()?.to_owned(),
        Err(error) => error.to_string(),
    })
}

/// `N TOPIC MS`: N requests at once, each with its number. Tells how many responses bear the number of their request.
pub fn ask_many(rest: &str) -> Result<String> {
    let mut words = rest.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (count, topic, timeout_ms) = (word().parse::<u32>()?, word(), word().parse()?);
    let start = |number: u32| {
        let request = emit(topic)
            .text(&number.to_string())
            .start_request(Duration::from_millis(timeout_ms))?;
        Ok::<_, Error>((number, request))
    };
    let started = (0..count).map(start).collect::<Result<Vec<_>>>()?;
    let mut right = 0;
    for (number, request) in &started {
        right += u32::from(request.next_response()?.text()? == number.to_string());
    }
    Ok(right.to_string())
}

/// `N TOPIC MS`: one request, and up to N responses to it; tells their texts.
pub fn ask_several(rest: &str) -> Result<String> {
    let mut words = rest.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (count, topic, timeout_ms) = (word().parse::<usize>()?, word(), word().parse()?);
    let request = emit(topic).start_request(Duration::from_millis(timeout_ms))?;
    let mut texts = Vec::new();
    while texts.len() < count {
        match request.next_response() {
            Ok(response) => texts.push(response.text()?.to_owned()),
            Err(error) => {
                texts.push(error.to_string());
                break;
            }
        }
    }
    Ok(texts.join(", "))
}

/// Answers where the request says.
pub fn answer(message: &Message, text: &str) -> Result<Told> {
    reply(message)?.text(text).send()?;
    Ok(None)
}

/// `TOPIC TEXT`: answers a request that does not say where to.
pub fn answer_to(message: &Message, rest: &str) -> Result<Told> {
    let (topic, text) = rest.split_once(' ').unwrap_or((rest, ""));
    emit(topic).answering(message).text(text).send()?;
    Ok(None)
}

/// `TOPIC MS TEXT`
pub fn receipt(rest: &str) -> Result<String> {
    let mut words = rest.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (topic, timeout_ms, text) = (word(), word().parse()?, word());
    let sent = emit(topic).text(text);
    Ok(
        match sent.send_and_wait(Duration::from_millis(timeout_ms)) {
            Ok(receipt) => format!(
                "{} {} {}",
                receipt.partition,
                receipt.offset,
                receipt.timestamp_ms.unwrap_or(-1)
            ),
            Err(error) => error.to_string(),
        },
    )
}
