//! JSON to image, byte for byte what it was printed from.

use std::borrow::Cow;

use super::extra_encode;
use super::parse::{Data, Parser, Value, read_integer};
use super::quoted;
use crate::error::{ImageError, Result};
use crate::kind::Kind;
use crate::layout::{Layout, Payload};
use crate::schema::{Enum, Field, Label, Message, Show, Type};
use crate::wire::{Fault, MAX_DEPTH};

pub(super) type Members<'a> = [(Cow<'a, [u8]>, Value<'a>)];
pub(super) type Encoded<T = ()> = std::result::Result<T, Fault>;

/// The image that a JSON text, of either form, stands for; `file` names the text in errors.
///
/// Memory: the image and one parsed entry, both in proportion to the text.
///
/// # Errors
///
/// [`ImageError::Corrupt`] with the offset in the text: no JSON, an unknown magic, key, name or value, a number out of
/// range, a required field that is not there, an `extra` that does not fit its entry.
pub fn encode(file: &str, json: &[u8]) -> Result<Vec<u8>> {
    encode_image(Parser::new(json)).map_err(|Fault { offset, reason }| ImageError::Corrupt {
        file: file.to_owned(),
        offset,
        reason,
    })
}

fn encode_image(mut text: Parser<'_>) -> Encoded<Vec<u8>> {
    let (mut kind, mut image, mut unread) = (None, None, None);
    let mut first = true;
    text.expect(b'{')?;
    while text.more(std::mem::take(&mut first), b'}')? {
        let key = text.key()?;
        match (&*key, kind) {
            (b"magic", None) => kind = Some(read_kind(&text.value(0)?)?),
            (b"entries", Some(kind)) if image.is_none() => image = Some(encode_entries(kind, &mut text)?),
            // Before the magic they mean nothing yet.
            (b"entries", None) if unread.is_none() => {
                unread = Some(text);
                text.value(0)?;
            }
            (b"magic" | b"entries", _) => return Err(text.fault("given twice")),
            (other, _) => return Err(text.fault(format!("{} is no part of an image", quote(other)))),
        }
    }
    if text.peek().is_some() {
        return Err(text.fault("something follows the image"));
    }
    match (image, kind, unread) {
        (Some(image), ..) => Ok(image),
        (None, Some(kind), Some(mut entries)) => encode_entries(kind, &mut entries),
        (None, None, _) => Err(text.fault("the image has no \"magic\"")),
        (None, ..) => Err(text.fault("the image has no \"entries\"")),
    }
}

pub(super) fn quote(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn read_kind(value: &Value<'_>) -> Encoded<Kind> {
    let Data::String(name) = &value.data else {
        return Err(value.fault("a magic is a name"));
    };
    std::str::from_utf8(name)
        .ok()
        .and_then(Kind::by_name)
        .filter(|k| k.magic() != 0)
        .ok_or_else(|| value.fault(format!("magic {} is of no image", quote(name))))
}

fn encode_entries(kind: Kind, text: &mut Parser<'_>) -> Encoded<Vec<u8>> {
    let layout = Layout::of(kind).ok_or_else(|| text.fault(format!("{kind} has no entries")))?;
    let mut encoder = Encoder { layout, image: kind.lead(), first: true };
    text.expect(b'[')?;
    while text.more(encoder.first, b']')? {
        encoder.put(&text.value(0)?)?;
    }
    Ok(encoder.image)
}

/// Makes an image from values, one entry after the other.
#[derive(Debug)]
pub struct Encoder {
    layout: Layout,
    image: Vec<u8>,
    first: bool,
}

impl Encoder {
    /// Starts an image of this magic.
    ///
    /// # Errors
    /// [`ImageError::Invalid`] when no image has it.
    pub fn new(magic: &str) -> Result<Self> {
        let kind = read_kind(&Value::new(Data::String(Cow::Borrowed(magic.as_bytes()))));
        let made = kind.and_then(|kind| {
            let layout =
                Layout::of(kind).ok_or_else(|| Fault { offset: 0, reason: format!("{kind} has no entries") })?;
            Ok(Encoder { layout, image: kind.lead(), first: true })
        });
        made.map_err(|f| ImageError::Invalid { what: "image".to_owned(), reason: f.reason })
    }

    /// Adds an entry with the bytes that follow it.
    ///
    /// # Errors
    /// [`ImageError::Invalid`] when it is no entry of this kind.
    pub fn entry(&mut self, entry: &Value<'_>) -> Result<()> {
        self.put(entry).map_err(|f| ImageError::Invalid { what: "entry".to_owned(), reason: f.reason })
    }

    /// The image.
    pub fn finish(self) -> Vec<u8> {
        self.image
    }

    fn put(&mut self, entry: &Value<'_>) -> Encoded {
        let (message, payload) = self.layout.entry(self.first);
        let Data::Object(members) = &entry.data else {
            return Err(entry.fault("an entry is an object"));
        };
        sized(&mut self.image, |out| encode_fields(message, members, payload != Payload::None, entry, 0, out))?;
        extra_encode::encode(payload, members, entry, &mut self.image)?;
        self.first = false;
        Ok(())
    }
}

/// The wire format of one message, from the object that stands for it.
///
/// # Errors
/// [`ImageError::Invalid`] when it does not stand for one; [`ImageError::Missing`] when there is no message of this name.
pub fn encode_message(name: &str, value: &Value<'_>) -> Result<Vec<u8>> {
    let message = Message::by_name(name).ok_or_else(|| ImageError::Missing { file: format!("message {name}") })?;
    let mut out = Vec::new();
    let done = match &value.data {
        Data::Object(members) => encode_fields(message, members, false, value, 0, &mut out),
        _ => Err(value.fault("a message is an object")),
    };
    done.map_err(|f| ImageError::Invalid { what: name.to_owned(), reason: f.reason })?;
    Ok(out)
}

/// Appends what `write` writes behind its length as u32.
pub(super) fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Encoded) -> Encoded {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let len = u32::try_from(out.len() - start - 4)
        .map_err(|_| Fault { offset: 0, reason: "an entry of more than 4 GiB".into() })?;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// Appends a message whose fields are these members, in order of their numbers.
pub(super) fn encode_fields(
    message: &'static Message,
    members: &Members<'_>,
    extra: bool,
    whole: &Value<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Encoded {
    if depth > MAX_DEPTH {
        return Err(whole.fault(format!("messages are nested deeper than {MAX_DEPTH}")));
    }
    let mut fields: Vec<(u32, Option<&'static Field>, &Value<'_>)> = Vec::with_capacity(members.len());
    let mut guess = 0;
    for (name, value) in members {
        if extra && **name == *b"extra" || matches!(value.data, Data::Null) {
            continue;
        }
        // Members mostly come in the order of the fields.
        let found = message.fields[guess..].iter().chain(&message.fields[..guess]);
        let at = found.into_iter().position(|f| f.name.as_bytes() == &**name);
        match at.map(|i| (guess + i) % message.fields.len()) {
            Some(i) => {
                guess = i;
                fields.push((message.fields[i].number, Some(&message.fields[i]), value));
            }
            None => fields.push((unknown_number(message, name, value)?, None, value)),
        }
    }
    fields.sort_by_key(|f| f.0);
    if let Some(pair) = fields.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(pair[1].2.fault(format!("field {} of {} is given twice", pair[1].0, message.name)));
    }
    for f in message.fields.iter().filter(|f| f.label == Label::Required) {
        if fields.binary_search_by_key(&f.number, |x| x.0).is_err() {
            return Err(whole.fault(format!("{} lacks {}", message.name, f.name)));
        }
    }
    for (number, field, value) in fields {
        match field {
            Some(field) => encode_field(field, value, depth, out)?,
            None => encode_unknown(number, value, out)?,
        }
    }
    Ok(())
}

fn unknown_number(message: &'static Message, name: &[u8], value: &Value<'_>) -> Encoded<u32> {
    let number = name.strip_prefix(b"#").and_then(|n| std::str::from_utf8(n).ok()).and_then(|n| n.parse().ok());
    number
        .filter(|&n| (1..1 << 29).contains(&n) && message.field(n).is_none())
        .ok_or_else(|| value.fault(format!("{} has no field {}", message.name, quote(name))))
}

fn encode_field(field: &'static Field, value: &Value<'_>, depth: usize, out: &mut Vec<u8>) -> Encoded {
    if field.label != Label::Repeated {
        put_tag(out, field.number, field.kind.wire());
        return encode_value(field, value, depth, out);
    }
    let Data::List(values) = &value.data else {
        return Err(value.fault(format!("{} is a list", field.name)));
    };
    if field.packed && !values.is_empty() {
        put_tag(out, field.number, 2);
        return length_prefixed(out, |out| values.iter().try_for_each(|v| encode_value(field, v, depth, out)));
    }
    for value in values {
        if let (Show::Ip, Data::String(address)) = (field.show, &value.data) {
            for word in read_address(address).ok_or_else(|| value.fault(format!("{} is no address", quote(address))))? {
                put_tag(out, field.number, 0);
                put_varint(out, u64::from(word));
            }
            continue;
        }
        put_tag(out, field.number, field.kind.wire());
        encode_value(field, value, depth, out)?;
    }
    Ok(())
}

fn read_address(text: &[u8]) -> Option<Vec<u32>> {
    let bytes = match std::str::from_utf8(text).ok()?.parse().ok()? {
        std::net::IpAddr::V4(a) => a.octets().to_vec(),
        std::net::IpAddr::V6(a) => a.octets().to_vec(),
    };
    Some(bytes.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect())
}

fn encode_value(field: &'static Field, value: &Value<'_>, depth: usize, out: &mut Vec<u8>) -> Encoded {
    match (field.kind, &value.data) {
        (Type::Message(_), Data::Object(members)) => {
            let Some(inner) = field.kind.message() else {
                return Err(value.fault("no such message"));
            };
            length_prefixed(out, |out| encode_fields(inner, members, false, value, depth + 1, out))
        }
        (Type::String, Data::String(text)) => put_bytes(out, text),
        (Type::Bytes, Data::String(text)) if matches!(field.show, Show::UnixName) => {
            put_bytes(out, &quoted::decode(text))
        }
        (Type::Bytes, Data::String(_)) => put_bytes(out, &read_base64(value)?),
        (Type::Bool, Data::Bool(on)) => {
            out.push(u8::from(*on));
            Ok(())
        }
        (Type::Message(_) | Type::String | Type::Bytes, _) => {
            Err(value.fault(format!("{} has another type", field.name)))
        }
        _ => {
            let number = read_number(field, value)?;
            put_number(out, field, number).ok_or_else(|| value.fault(format!("{}: out of range", field.name)))
        }
    }
}

/// A base64 string.
pub(super) fn read_base64(value: &Value<'_>) -> Encoded<Vec<u8>> {
    match &value.data {
        Data::String(text) => super::base64::decode(text).ok_or_else(|| value.fault("no base64")),
        _ => Err(value.fault("base64 belongs here")),
    }
}

fn read_number(field: &Field, value: &Value<'_>) -> Encoded<i128> {
    let number = match (&value.data, field.kind, field.show) {
        (Data::Number(_) | Data::Integer(_), ..) => value.integer(),
        (Data::String(name), Type::Enum(e), _) => Enum::at(e).value(name).map(i128::from),
        (Data::String(text), _, Show::Flags(names)) => read_flags(text, names),
        (Data::String(text), _, Show::Dict(names)) => named(text, names).or_else(|| read_integer(text)),
        (Data::String(text), _, Show::Dev) => read_dev(text).map(|(major, minor)| i128::from(major << 20 | minor)),
        (Data::String(text), _, Show::OldDev) => {
            let bits = |(major, minor): (u64, u64)| (major & 0xfff) << 8 | (minor & 0xff) | (minor & !0xff) << 12;
            read_dev(text).map(|dev| i128::from(bits(dev)))
        }
        (Data::String(text), ..) => read_integer(text),
        _ => None,
    };
    number.ok_or_else(|| match &value.data {
        Data::String(text) => value.fault(format!("{}: {} is no value of it", field.name, quote(text))),
        _ => value.fault(format!("{}: not an integer", field.name)),
    })
}

fn named(text: &[u8], names: &[(&str, u64)]) -> Option<i128> {
    names.iter().find(|n| n.0.as_bytes() == text).map(|n| i128::from(n.1))
}

fn read_flags(text: &[u8], names: &[(&str, u64)]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.is_empty() {
        return Some(0);
    }
    text.split('|')
        .map(|f| f.trim().as_bytes())
        .try_fold(0, |all, f| Some(all | named(f, names).or_else(|| read_integer(f))?))
}

fn read_dev(text: &[u8]) -> Option<(u64, u64)> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    // More does not fit 32 bits in either encoding.
    (major < 1 << 12 && minor < 1 << 20).then_some((u64::from(major), u64::from(minor)))
}

/// `None` when the type cannot hold the number.
fn put_number(out: &mut Vec<u8>, field: &Field, number: i128) -> Option<()> {
    match field.kind {
        Type::Uint32 => put_varint(out, u64::from(u32::try_from(number).ok()?)),
        Type::Uint64 => put_varint(out, u64::try_from(number).ok()?),
        Type::Int32 | Type::Enum(_) => put_varint(out, i64::from(i32::try_from(number).ok()?) as u64),
        Type::Int64 => put_varint(out, i64::try_from(number).ok()? as u64),
        Type::Sint32 => put_varint(out, zigzag(i64::from(i32::try_from(number).ok()?))),
        Type::Sint64 => put_varint(out, zigzag(i64::try_from(number).ok()?)),
        Type::Fixed32 => out.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes()),
        Type::Fixed64 => out.extend_from_slice(&u64::try_from(number).ok()?.to_le_bytes()),
        Type::Bool => out.push(u8::try_from(number).ok().filter(|&n| n <= 1)?),
        _ => return None,
    }
    Some(())
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn encode_unknown(number: u32, value: &Value<'_>, out: &mut Vec<u8>) -> Encoded {
    let Data::List(values) = &value.data else {
        return Err(value.fault("the values of an unknown field are a list"));
    };
    for value in values {
        let integer = |v: &Value<'_>| v.integer().and_then(|n| u64::try_from(n).ok());
        let bad = || value.fault("no value of an unknown field");
        match &value.data {
            Data::Number(_) | Data::Integer(_) => {
                put_tag(out, number, 0);
                put_varint(out, integer(value).ok_or_else(bad)?);
            }
            Data::String(_) => {
                put_tag(out, number, 2);
                put_bytes(out, &read_base64(value)?)?;
            }
            Data::Object(members) => match &members[..] {
                [(name, v)] if **name == *b"fixed64" => {
                    put_tag(out, number, 1);
                    out.extend_from_slice(&integer(v).ok_or_else(bad)?.to_le_bytes());
                }
                [(name, v)] if **name == *b"fixed32" => {
                    put_tag(out, number, 5);
                    let n = integer(v).and_then(|n| u32::try_from(n).ok()).ok_or_else(bad)?;
                    out.extend_from_slice(&n.to_le_bytes());
                }
                _ => return Err(bad()),
            },
            _ => return Err(bad()),
        }
    }
    Ok(())
}

fn put_tag(out: &mut Vec<u8>, number: u32, wire: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire));
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Encoded {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends what `write` writes behind its length as varint.
fn length_prefixed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Encoded) -> Encoded {
    let start = out.len();
    out.push(0);
    write(out)?;
    let len = out.len() - start - 1;
    if len < 0x80 {
        out[start] = len as u8;
        return Ok(());
    }
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, len as u64);
    out.splice(start..start + 1, prefix);
    Ok(())
}
