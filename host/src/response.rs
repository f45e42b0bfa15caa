//! A response, and how it lies in a store that hosts share: under which name, in which form, for how long.
//!
//! Handed requests' ids and what a store holds; pure.
//! **Invariant:** two requests never have one name, nor have two groups or two tenants one channel; what was written is
//! read back as it was, and whatever else lies there is told from it.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::ids::{GroupId, TenantId, hex};
use crate::pending::CorrelationId;

/// How much longer a name is kept than its request waits: clocks differ, and what comes late is told from what nobody asked.
const MARGIN: Duration = Duration::from_secs(30);
/// The first byte of what is stored; another one stands for another form.
const VERSION: u8 = 1;

/// A response as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The topic.
    pub topic: String,
    /// The partition, counted from 0.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, if the record carries a timestamp.
    pub timestamp_ms: Option<i64>,
    /// The key, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value, `None` for null.
    pub value: Option<Vec<u8>>,
    /// The headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Response {
    /// Returns the bytes of key, value and headers together.
    pub fn size_bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let payload = [&self.key, &self.value].map(|bytes| bytes.as_ref().map_or(0, Vec::len));
        payload.iter().sum::<usize>() + headers.sum::<usize>()
    }
}

/// Under which names the requests of a group lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyForm {
    /// `kwh:{tenant}:{group}:{sha256}`.
    #[default]
    Tenant,
    /// `{sha256}`, as kafka-python-app has it; the value is that of the response alone.
    Compat,
}

/// The names of one group in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What the names of a tenant's group begin with.
    prefix: String,
    form: KeyForm,
}

impl Names {
    /// Makes the names of a group.
    pub fn new(form: KeyForm, tenant: &TenantId, group: &GroupId) -> Self {
        // No tenant has a colon in its name.
        let prefix = format!("kwh:{tenant}:{group}:");
        Self { prefix, form }
    }

    /// Returns the form of the names.
    pub fn form(&self) -> KeyForm {
        self.form
    }

    /// Returns the name of a request: of the SHA-256 of its id as it is written.
    pub fn key(&self, id: CorrelationId) -> String {
        let digest = hex(&Sha256::digest(id.to_string()));
        match self.form {
            KeyForm::Tenant => format!("{}{digest}", self.prefix),
            KeyForm::Compat => digest,
        }
    }

    /// Returns where responses are told to the hosts of the group.
    pub fn channel(&self) -> String {
        format!("{}responses", self.prefix)
    }

    /// Returns what is stored of a response under its request's name; `told` is what [`encode`] made of it.
    pub fn stored<'a>(&self, response: &'a Response, told: &'a [u8]) -> &'a [u8] {
        match self.form {
            KeyForm::Tenant => told,
            KeyForm::Compat => response.value.as_deref().unwrap_or_default(),
        }
    }

    /// Says what the value is that lies under the name of this request.
    pub fn look(&self, id: CorrelationId, value: Vec<u8>) -> Found {
        // What is written before a request is sent.
        if value.is_empty() {
            return Found::Nothing;
        }
        match self.form {
            KeyForm::Compat => Found::Value(value),
            KeyForm::Tenant => match decode(&value) {
                Ok((of, response)) if of == id => Found::Response(response),
                Ok(_) | Err(Malformed) => Found::Nothing,
            },
        }
    }
}

/// What lies under the name of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No response, or nothing that a host wrote.
    Nothing,
    /// The response.
    Response(Response),
    /// Only its value, as kafka-python-app writes it.
    Value(Vec<u8>),
}

/// Returns for how many seconds a name is kept whose request waits so long, at least 1.
pub fn time_to_live_secs(timeout: Duration) -> u64 {
    let kept = timeout.saturating_add(MARGIN);
    kept.as_secs()
        .saturating_add(u64::from(kept.subsec_nanos() > 0))
}

/// Some bytes are no response that a host wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a response as a host writes it")]
pub struct Malformed;

/// Writes a response: version, id, place, time, then texts and bytes, each behind its length; numbers are big-endian.
pub fn encode(id: CorrelationId, response: &Response) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + response.topic.len() + response.size_bytes());
    bytes.push(VERSION);
    bytes.extend(id.to_bits().to_be_bytes());
    bytes.extend(response.partition.to_be_bytes());
    bytes.extend(response.offset.to_be_bytes());
    let timestamp = response.timestamp_ms.map(i64::to_be_bytes);
    put(&mut bytes, timestamp.as_ref().map(<[u8; 8]>::as_slice));
    put(&mut bytes, Some(response.topic.as_bytes()));
    put(&mut bytes, response.key.as_deref());
    put(&mut bytes, response.value.as_deref());
    for (key, value) in &response.headers {
        put(&mut bytes, Some(key.as_bytes()));
        put(&mut bytes, value.as_deref());
    }
    bytes
}

/// Reads what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<(CorrelationId, Response), Malformed> {
    let mut rest = Rest(bytes);
    if rest.number()? != [VERSION] {
        return Err(Malformed);
    }
    let id = CorrelationId::from_bits(u128::from_be_bytes(rest.number()?));
    let partition = i32::from_be_bytes(rest.number()?);
    let offset = i64::from_be_bytes(rest.number()?);
    let timestamp_ms = match rest.bytes()? {
        Some(bytes) => Some(i64::from_be_bytes(bytes.try_into().map_err(|_| Malformed)?)),
        None => None,
    };
    let topic = rest.text()?;
    let (key, value) = (rest.owned()?, rest.owned()?);
    let mut headers = Vec::new();
    while !rest.0.is_empty() {
        headers.push((rest.text()?, rest.owned()?));
    }
    let response = Response {
        topic,
        partition,
        offset,
        timestamp_ms,
        key,
        value,
        headers,
    };
    Ok((id, response))
}

/// Appends bytes behind their length; 2^32 - 1 stands for null. Kafka's records are smaller by far.
fn put(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let len = bytes.map(|bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    to.extend(len.unwrap_or(u32::MAX).to_be_bytes());
    to.extend(bytes.unwrap_or_default());
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*number)
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let len = u32::from_be_bytes(self.number()?);
        if len == u32::MAX {
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(Some(bytes))
    }

    fn owned(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        Ok(self.bytes()?.map(<[u8]>::to_vec))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.owned()?.ok_or(Malformed)?;
        String::from_utf8(bytes).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(form: KeyForm, tenant: &str, group: &str) -> Names {
        Names::new(form, &tenant.parse().unwrap(), &group.parse().unwrap())
    }

    fn any_id() -> impl Strategy<Value = CorrelationId> {
        any::<u128>().prop_map(CorrelationId::from_random)
    }

    fn any_response() -> impl Strategy<Value = Response> {
        let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
        let headers = proptest::collection::vec((any::<String>(), bytes()), 0..4);
        let place = (any::<String>(), any::<i32>(), any::<i64>());
        (place, any::<Option<i64>>(), bytes(), bytes(), headers).prop_map(
            |((topic, partition, offset), timestamp_ms, key, value, headers)| Response {
                topic,
                partition,
                offset,
                timestamp_ms,
                key,
                value,
                headers,
            },
        )
    }

    #[test]
    fn a_name_is_the_sha256_of_the_id_as_it_is_written() {
        let id = CorrelationId::from_random(0);
        // printf %s 00000000-0000-4000-8000-000000000000 | sha256sum
        let sha = "db8055e0e0307d5a016bec4dc338d69875eb0fb7e614a8b125b08fb082095d98";
        assert_eq!(names(KeyForm::Compat, "acme", "orders").key(id), sha);
        assert_eq!(
            names(KeyForm::Tenant, "acme", "orders").key(id),
            format!("kwh:acme:orders:{sha}")
        );
    }

    #[test]
    fn a_name_is_kept_longer_than_its_request_waits() {
        for (timeout_ms, secs) in [(0, 30), (1, 31), (1000, 31), (40_500, 71)] {
            assert_eq!(time_to_live_secs(Duration::from_millis(timeout_ms)), secs);
        }
        assert_eq!(time_to_live_secs(Duration::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn a_response_is_read_as_it_was_written(id in any_id(), response in any_response()) {
            prop_assert_eq!(decode(&encode(id, &response)), Ok((id, response)));
        }

        #[test]
        fn a_response_that_is_cut_off_is_none(id in any_id(), mut response in any_response(), cut in any::<prop::sample::Index>()) {
            // With headers, an end between two of them could not be told.
            response.headers.clear();
            let bytes = encode(id, &response);
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), Err(Malformed));
        }

        #[test]
        fn what_is_no_response_is_told(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok((id, response)) = decode(&bytes) {
                prop_assert_eq!(encode(id, &response), bytes);
            }
        }

        #[test]
        fn what_lies_there_is_the_response_or_nothing(id in any_id(), other in any_id(), response in any_response(), is_compat: bool) {
            let form = if is_compat { KeyForm::Compat } else { KeyForm::Tenant };
            let names = names(form, "acme", "orders");
            let told = encode(id, &response);
            let found = names.look(id, names.stored(&response, &told).to_vec());
            let value = response.value.clone().unwrap_or_default();
            let expected = match form {
                KeyForm::Tenant => Found::Response(response),
                KeyForm::Compat if value.is_empty() => Found::Nothing,
                KeyForm::Compat => Found::Value(value),
            };
            prop_assert_eq!(found, expected);
            prop_assert_eq!(names.look(id, Vec::new()), Found::Nothing);
            if form == KeyForm::Tenant && other != id {
                prop_assert_eq!(names.look(other, told), Found::Nothing);
            }
        }

        #[test]
        fn names_of_two_groups_are_two(
            left in ("[a-b-]{1,3}", "[a-b.:-]{1,3}", any_id()),
            right in ("[a-b-]{1,3}", "[a-b.:-]{1,3}", any_id()),
        ) {
            let group = |text: &str| text.parse::<GroupId>();
            prop_assume!(group(&left.1).is_ok() && group(&right.1).is_ok());
            let of = |(tenant, group, id): &(String, String, CorrelationId)| {
                let names = names(KeyForm::Tenant, tenant, group);
                (names.key(*id), names.channel())
            };
            let (one, other) = (of(&left), of(&right));
            prop_assert_eq!(one.0 == other.0, left == right);
            prop_assert_eq!(one.1 == other.1, (left.0, left.1) == (right.0, right.1));
        }
    }
}
