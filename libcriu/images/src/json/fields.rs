//! The fields of a message as an object: one walk over the wire format, which checks them on the way.

use super::decode::Walk;
use super::sink::Sink;
use super::{quoted, values};
use crate::schema::{Enum, Field, Label, Message, Show, Type};
use crate::wire::{self, Cursor, MAX_DEPTH, Raw};

/// What the messages around a value say of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Context {
    /// Numbers are shown in hexadecimal.
    pub hex: bool,
    pub depth: usize,
}

impl Context {
    fn within(self, field: &Field) -> Context {
        Context { hex: self.hex || matches!(field.show, Show::Hex), depth: self.depth + 1 }
    }
}

/// Prints one message as an object.
pub(super) fn print_message(p: &mut impl Sink, message: &'static Message, body: Cursor<'_>, context: Context) -> Walk {
    p.open(b'{');
    let mut empty = true;
    print_fields(p, message, body, context, &mut empty)?;
    p.close(b'}', empty);
    Ok(())
}

pub(super) fn print_fields(
    p: &mut impl Sink,
    message: &'static Message,
    body: Cursor<'_>,
    context: Context,
    empty: &mut bool,
) -> Walk {
    if context.depth > MAX_DEPTH {
        return Err(body.fault(format!("messages are nested deeper than {MAX_DEPTH}")).into());
    }
    // A sink that can take back what it was given saves the look ahead.
    if p.can_start_over() || wire::survey(message, body)? {
        if print_run(p, message, body, context, empty)? {
            return Ok(());
        }
        p.start_over();
        *empty = true;
        wire::survey(message, body)?;
    }
    // In no order: one field after another, by number.
    let mut next = 1;
    while let Some(number) = least_number(body, next)? {
        print_only(p, message, body, number, context, empty)?;
        next = number + 1;
    }
    Ok(())
}

/// Prints the fields of a message that has them in ascending order, and checks them as [`wire::survey`] does. Ends with
/// `false` where a field comes too late.
fn print_run(
    p: &mut impl Sink,
    message: &'static Message,
    mut body: Cursor<'_>,
    context: Context,
    empty: &mut bool,
) -> Walk<bool> {
    let (whole, mut last, mut required) = (body, 0, 0);
    while !body.is_empty() {
        let start = body;
        let (number, wire) = body.tag()?;
        if number < last {
            return Ok(false);
        }
        match message.field(number) {
            Some(field) if field.label == Label::Repeated => {
                body = print_list(p, message, field, start, false, context, empty)?
            }
            Some(field) => {
                wire::fits(message, field, wire, &start)?;
                if number == last {
                    return Err(wire::twice(message, field, &start).into());
                }
                required += u32::from(field.label == Label::Required);
                let raw = body.raw(wire)?;
                p.next(std::mem::take(empty))?;
                p.key(field.name);
                print_value(p, field, raw, &start, context)?;
            }
            None => body = print_unknown(p, start, number, empty)?,
        }
        last = number;
    }
    if required != message.required {
        return Err(whole.fault(wire::missing(message, whole)).into());
    }
    Ok(true)
}

/// Prints the field of this number where its values are scattered over the message.
fn print_only(
    p: &mut impl Sink,
    message: &'static Message,
    body: Cursor<'_>,
    number: u32,
    context: Context,
    empty: &mut bool,
) -> Walk {
    match message.field(number) {
        Some(field) if field.label == Label::Repeated => {
            print_list(p, message, field, body, true, context, empty).map(drop)
        }
        Some(field) => {
            let mut cursor = body;
            while !cursor.is_empty() {
                let start = cursor;
                let (n, wire) = cursor.tag()?;
                let raw = cursor.raw(wire)?;
                if n == number {
                    p.next(std::mem::take(empty))?;
                    p.key(field.name);
                    print_value(p, field, raw, &start, context)?;
                }
            }
            Ok(())
        }
        None => Err(body.fault(format!("{} has an unknown field {number} and no order", message.name)).into()),
    }
}

fn least_number(mut body: Cursor<'_>, from: u32) -> wire::Result<Option<u32>> {
    let mut least: Option<u32> = None;
    while !body.is_empty() {
        let (number, wire) = body.tag()?;
        body.raw(wire)?;
        if number >= from && least.is_none_or(|l| number < l) {
            least = Some(number);
        }
    }
    Ok(least)
}

/// Prints a list from the values of `field` in what follows: up to the first other field, or wherever they are
/// `scattered`. Answers where it stopped.
fn print_list<'a>(
    p: &mut impl Sink,
    message: &'static Message,
    field: &'static Field,
    mut from: Cursor<'a>,
    scattered: bool,
    context: Context,
    empty: &mut bool,
) -> Walk<Cursor<'a>> {
    if matches!(field.show, Show::Ip) && p.pretty() {
        return print_address(p, message, field, from, scattered, empty);
    }
    let mut first = true;
    while let Some((start, raw)) = next_value(message, field, &mut from, scattered)? {
        let mut element = |value: Raw<'a>, at: &Cursor<'a>| {
            if first {
                p.next(std::mem::take(empty))?;
                p.key(field.name);
                p.open(b'[');
            }
            p.next(std::mem::take(&mut first))?;
            print_value(p, field, value, at, context)
        };
        match raw {
            Raw::Bytes(mut packed) if field.kind.wire() != 2 => {
                while !packed.is_empty() {
                    let at = packed;
                    let value = packed.raw(field.kind.wire())?;
                    element(value, &at)?;
                }
            }
            value => element(value, &start)?,
        }
    }
    if !first {
        p.close(b']', false);
    }
    Ok(from)
}

/// The next value of a repeated field, and where it stands.
#[inline(always)]
fn next_value<'a>(
    message: &'static Message,
    field: &'static Field,
    from: &mut Cursor<'a>,
    scattered: bool,
) -> wire::Result<Option<(Cursor<'a>, Raw<'a>)>> {
    while !from.is_empty() {
        let start = *from;
        let (number, wire) = from.tag()?;
        if number == field.number {
            wire::fits(message, field, wire, &start)?;
            return Ok(Some((start, from.raw(wire)?)));
        }
        if !scattered {
            *from = start;
            break;
        }
        from.raw(wire)?;
    }
    Ok(None)
}

/// One word is an IPv4 address, four are an IPv6 one; any other count is printed as numbers.
fn print_address<'a>(
    p: &mut impl Sink,
    message: &'static Message,
    field: &'static Field,
    mut from: Cursor<'a>,
    scattered: bool,
    empty: &mut bool,
) -> Walk<Cursor<'a>> {
    let mut words = Vec::new();
    while let Some((start, raw)) = next_value(message, field, &mut from, scattered)? {
        match raw {
            Raw::Bytes(packed) => wire::each_packed(field, packed, |value, at| {
                words.push(wire::scalar(field, value, at)? as u32);
                Ok(())
            })?,
            value => words.push(wire::scalar(field, value, &start)? as u32),
        }
    }
    if words.is_empty() {
        return Ok(from);
    }
    p.next(std::mem::take(empty))?;
    p.key(field.name);
    p.open(b'[');
    match values::address(&words) {
        Some(text) => {
            p.next(true)?;
            p.label(&text);
        }
        None => {
            for (i, word) in words.iter().enumerate() {
                p.next(i == 0)?;
                p.unsigned(u64::from(*word));
            }
        }
    }
    p.close(b']', false);
    Ok(from)
}

#[inline]
fn print_value(p: &mut impl Sink, field: &'static Field, raw: Raw<'_>, at: &Cursor<'_>, context: Context) -> Walk {
    if let Raw::Bytes(body) = raw {
        match (field.kind, field.show) {
            (Type::Bytes, Show::UnixName) => p.string(&quoted::encode(body.rest()))?,
            (Type::Bytes, _) => p.base64(body.rest())?,
            (Type::String, _) => p.string(body.rest())?,
            (kind, _) => match kind.message() {
                Some(inner) => print_message(p, inner, body, context.within(field))?,
                None => return Err(at.fault(format!("{} is no number", field.name)).into()),
            },
        }
        return Ok(());
    }
    let value = wire::scalar(field, raw, at)?;
    match field.kind {
        Type::Bool => p.bool(value != 0),
        Type::Enum(e) => match Enum::at(e).name(value as i32) {
            Some(name) => p.name(name),
            None => p.signed(value as i64),
        },
        kind if p.pretty() => values::number(p, field.show, kind, value, context.within(field).hex),
        kind => values::plain(p, kind, value),
    }
    Ok(())
}

/// Fields the schema does not know: `#` and the number, the values as they stand on the wire.
fn print_unknown<'a>(p: &mut impl Sink, mut from: Cursor<'a>, number: u32, empty: &mut bool) -> Walk<Cursor<'a>> {
    p.next(std::mem::take(empty))?;
    p.unknown_key(number);
    p.open(b'[');
    let mut first = true;
    while !from.is_empty() {
        let start = from;
        let (n, wire) = from.tag()?;
        if n != number {
            from = start;
            break;
        }
        p.next(std::mem::take(&mut first))?;
        match from.raw(wire)? {
            Raw::Varint(v) => p.unsigned(v),
            Raw::Bytes(body) => p.base64(body.rest())?,
            Raw::Fixed64(v) => p.fixed(64, v),
            Raw::Fixed32(v) => p.fixed(32, u64::from(v)),
        }
    }
    p.close(b']', false);
    Ok(from)
}
