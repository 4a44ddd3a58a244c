//! The raw bytes that follow an entry, from its `extra`.

use super::encode::{Encoded, Members, encode_fields, read_base64, sized};
use super::parse::{Data, Value, read_integer};
use crate::layout::{PAGE_BYTES, Payload, padding};
use crate::schema::Message;

/// Appends what the `extra` of an entry stands for; it has to be as long as the entry says.
pub(super) fn encode(payload: Payload, members: &Members<'_>, entry: &Value<'_>, out: &mut Vec<u8>) -> Encoded {
    let extra = members.iter().find(|m| *m.0 == *b"extra").map(|m| &m.1);
    if payload == Payload::None || payload == Payload::Ghost && is_true(members, "chunks") {
        return match extra {
            Some(extra) => Err(extra.fault("nothing may follow this entry")),
            None => Ok(()),
        };
    }
    let Some(extra) = extra else {
        // A segment kept as pages has no bytes here.
        return match payload {
            Payload::Segment if is_true(members, "in_pagemaps") => Ok(()),
            Payload::Ghost => Ok(()),
            _ => Err(entry.fault("the entry has no \"extra\"")),
        };
    };
    let bytes = match payload {
        Payload::TcpQueues => return put_queues(members, entry, extra, out),
        Payload::Messages => return put_messages(number(members, "qnum", entry)?, extra, out),
        Payload::Semaphores => return put_semaphores(number(members, "nsems", entry)?, extra, out),
        _ => read_base64(extra)?,
    };
    let len = bytes.len() as u64;
    match payload {
        Payload::Bytes(_) => {
            let name = ["bytes", "length", "len"].into_iter().find(|n| find(members, n).is_some()).unwrap_or("bytes");
            fits(len, number(members, name, entry)?, 1, extra)?;
        }
        Payload::TwoParts(..) => {
            let sum = number(members, "keys_bytes", entry)?.saturating_add(number(members, "values_bytes", entry)?);
            fits(len, sum, 1, extra)?;
        }
        Payload::Pages => {
            fits(len, number(members, "compat_nr_pages", entry)?.saturating_mul(PAGE_BYTES), 1, extra)?;
        }
        // May hold the entries that follow; see the decoder.
        Payload::Segment if is_true(members, "in_pagemaps") => {}
        Payload::Segment => {
            let zeros = fits(len, number(members, "size", entry)?, 4, extra)?;
            out.extend_from_slice(&bytes);
            out.resize(out.len() + zeros, 0);
            return Ok(());
        }
        _ => {}
    }
    out.extend_from_slice(&bytes);
    Ok(())
}

/// How much padding is missing from `len` bytes, where `wanted` were announced and follow in multiples of `unit`.
fn fits(len: u64, wanted: u64, unit: u64, extra: &Value<'_>) -> Encoded<usize> {
    match len {
        _ if len == wanted => Ok(padding(wanted, unit) as usize),
        _ if len == wanted.saturating_add(padding(wanted, unit)) => Ok(0),
        _ => Err(extra.fault(format!("{len} bytes where the entry announces {wanted}"))),
    }
}

fn find<'a, 'v>(members: &'a Members<'v>, name: &str) -> Option<&'a Value<'v>> {
    members.iter().find(|m| *m.0 == *name.as_bytes()).map(|m| &m.1)
}

fn is_true(members: &Members<'_>, name: &str) -> bool {
    matches!(find(members, name).map(|v| &v.data), Some(Data::Bool(true)))
}

fn number(members: &Members<'_>, name: &str, entry: &Value<'_>) -> Encoded<u64> {
    let value = find(members, name).ok_or_else(|| entry.fault(format!("the entry has no {name:?}")))?;
    let number = match &value.data {
        Data::String(digits) => read_integer(digits),
        _ => value.integer(),
    };
    number.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| value.fault(format!("{name}: not a length")))
}

fn put_queues(members: &Members<'_>, entry: &Value<'_>, extra: &Value<'_>, out: &mut Vec<u8>) -> Encoded {
    let Data::Object(queues) = &extra.data else {
        return Err(extra.fault("the queues are an object"));
    };
    for (name, len) in [("inq", "inq_len"), ("outq", "outq_len")] {
        let queue = find(queues, name).ok_or_else(|| extra.fault(format!("no {name:?}")))?;
        let bytes = read_base64(queue)?;
        fits(bytes.len() as u64, number(members, len, entry)?, 1, queue)?;
        out.extend_from_slice(&bytes);
    }
    Ok(())
}

fn put_messages(qnum: u64, extra: &Value<'_>, out: &mut Vec<u8>) -> Encoded {
    let Data::List(values) = &extra.data else {
        return Err(extra.fault("the messages are a list"));
    };
    if qnum.checked_mul(2) != Some(values.len() as u64) {
        return Err(extra.fault(format!("{} values for {qnum} messages and their texts", values.len())));
    }
    let message = Message::by_name("ipc_msg").ok_or_else(|| extra.fault("ipc_msg is not in the schema"))?;
    for pair in values.chunks_exact(2) {
        let Data::Object(members) = &pair[0].data else {
            return Err(pair[0].fault("a message is an object"));
        };
        sized(out, |out| encode_fields(message, members, false, &pair[0], 0, out))?;
        let bytes = read_base64(&pair[1])?;
        let zeros = fits(bytes.len() as u64, number(members, "msize", &pair[0])?, 8, &pair[1])?;
        out.extend_from_slice(&bytes);
        out.resize(out.len() + zeros, 0);
    }
    Ok(())
}

fn put_semaphores(nsems: u64, extra: &Value<'_>, out: &mut Vec<u8>) -> Encoded {
    let Data::List(values) = &extra.data else {
        return Err(extra.fault("the values are a list"));
    };
    let zeros = fits(values.len() as u64 * 2, nsems.saturating_mul(2), 8, extra)?;
    for value in values {
        let number = value.integer().and_then(|n| u16::try_from(n).ok());
        let number = number.ok_or_else(|| value.fault("not the value of a semaphore"))?;
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(out.len() + zeros, 0);
    Ok(())
}
