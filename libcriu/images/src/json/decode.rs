//! Image to JSON: one walk over the wire format, straight to text or to whatever else takes the values.

use std::io::{self, Write};

use super::print::Printer;
use super::sink::{Nothing, Sink};
use super::{Form, extra_decode, quoted};
use crate::error::{ImageError, Result};
use crate::kind::{COMMON_MAGIC, Kind, SERVICE_MAGIC};
use crate::layout::Layout;
use crate::schema::{Enum, Field, Label, Message, Show, Type};
use crate::wire::{self, Cursor, Fault, MAX_DEPTH, Raw};

/// Why the walk stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Write(io::Error),
}

impl Stop {
    fn at(self, file: &str) -> ImageError {
        match self {
            Stop::Fault(Fault { offset, reason }) => ImageError::Corrupt { file: file.to_owned(), offset, reason },
            Stop::Write(source) => ImageError::Io { file: file.to_owned(), call: "write", source },
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Write(error)
    }
}

pub(super) type Walk<T = ()> = std::result::Result<T, Stop>;

/// Prints an image that is in memory as JSON, without a final newline. `file` names it in errors, and tells page files
/// of the oldest format from pagemaps, whose magic they share.
///
/// Memory: a piece of the output; nothing that an image announces is allocated.
///
/// # Errors
///
/// [`ImageError::Corrupt`] with the offset for an unknown or raw file, a cut-off or lying length, a message that breaks
/// its schema; [`ImageError::Io`] when `out` does.
pub fn decode(file: &str, image: &[u8], form: Form, out: &mut dyn Write) -> Result<()> {
    let mut printer = Printer::new(form, out);
    let walked = print_image(file, Cursor::new(image, 0), &mut printer).and_then(|()| Ok(printer.finish()?));
    walked.map_err(|stop| stop.at(file))
}

/// Hands the values of an image that is in memory to `sink`, as [`decode`] would print them.
///
/// # Errors
///
/// As [`decode`]; [`ImageError::Io`] when the sink fails.
pub fn walk(file: &str, image: &[u8], sink: &mut impl Sink) -> Result<()> {
    print_image(file, Cursor::new(image, 0), sink).map_err(|stop| stop.at(file))
}

/// Hands the values of one message in wire format to `sink`; with `hex`, numbers as the display option says.
///
/// # Errors
///
/// As [`walk`]; offsets count from the start of the message. A `name` that no message has is [`ImageError::Missing`].
pub fn walk_message(name: &str, bytes: &[u8], hex: bool, sink: &mut impl Sink) -> Result<()> {
    let message = Message::by_name(name).ok_or_else(|| ImageError::Missing { file: format!("message {name}") })?;
    print_message(sink, message, Cursor::new(bytes, 0), hex, 0).map_err(|stop| stop.at(name))
}

/// The kind of an image in memory and how many entries it has.
///
/// # Errors
///
/// As [`decode`].
pub fn count(file: &str, image: &[u8]) -> Result<(Kind, u64)> {
    let mut cursor = Cursor::new(image, 0);
    let kind = read_magic(file, &mut cursor).map_err(|f| Stop::from(f).at(file))?;
    let mut entries = 0;
    print_entries(kind, &mut cursor, |layout, first, image| {
        entries += 1;
        print_entry(&mut Nothing, layout, first, image)
    })
    .map_err(|stop| stop.at(file))?;
    Ok((kind, entries))
}

fn print_image(file: &str, mut image: Cursor<'_>, p: &mut impl Sink) -> Walk {
    let kind = read_magic(file, &mut image)?;
    p.open(b'{');
    p.next(true)?;
    p.key("magic");
    p.name(kind.name());
    p.next(false)?;
    p.key("entries");
    p.open(b'[');
    let mut empty = true;
    print_entries(kind, &mut image, |layout, first, image| {
        empty = false;
        p.next(first)?;
        print_entry(p, layout, first, image)
    })?;
    p.close(b']', empty);
    p.close(b'}', false);
    Ok(())
}

fn print_entries<'a>(
    kind: Kind,
    image: &mut Cursor<'a>,
    mut print: impl FnMut(&Layout, bool, &mut Cursor<'a>) -> Walk,
) -> Walk {
    let layout = Layout::of(kind).ok_or_else(|| image.fault(format!("{kind} has no entries")))?;
    let mut first = true;
    while !image.is_empty() {
        print(&layout, first, image)?;
        first = false;
    }
    Ok(())
}

/// The kind by its magics, the cursor behind them.
fn read_magic(file: &str, image: &mut Cursor<'_>) -> wire::Result<Kind> {
    let start = *image;
    let lead = image.u32().map_err(|_| start.fault("too short for a magic"))?;
    let (at, magic) = match lead {
        COMMON_MAGIC | SERVICE_MAGIC => {
            let at = *image;
            (at, image.u32().map_err(|_| at.fault("too short for the type's magic"))?)
        }
        // The inventory and images of version 1 have no other.
        own => (start, own),
    };
    let kind = Kind::by_magic(magic).ok_or_else(|| at.fault(format!("magic {magic:#x} is of no image")))?;
    let misled = match lead {
        COMMON_MAGIC => kind.is_service(),
        SERVICE_MAGIC => !kind.is_service(),
        _ => false,
    };
    if misled {
        return Err(start.fault(format!("magic {lead:#x} does not go with {kind}")));
    }
    Ok(kind.told_by_name(file))
}

fn print_entry(p: &mut impl Sink, layout: &Layout, first: bool, image: &mut Cursor<'_>) -> Walk {
    let (message, payload) = layout.entry(first);
    let body = read_entry(image)?;
    p.open(b'{');
    let mut empty = true;
    print_fields(p, message, body, false, 0, &mut empty)?;
    extra_decode::print(p, payload, body, image, &mut empty)?;
    p.close(b'}', empty);
    Ok(())
}

/// The body of the next entry.
pub(super) fn read_entry<'a>(image: &mut Cursor<'a>) -> wire::Result<Cursor<'a>> {
    let start = *image;
    let len = image.u32().map_err(|_| start.fault(format!("{} stray bytes at the end", start.rest().len())))?;
    image.part(u64::from(len)).map_err(|f| start.fault(format!("an entry of {len} bytes, {}", left(&f))))
}

fn left(fault: &Fault) -> &str {
    fault.reason.split_once(", ").map_or(fault.reason.as_str(), |(_, left)| left)
}

/// Prints one message as an object.
pub(super) fn print_message(
    p: &mut impl Sink,
    message: &'static Message,
    body: Cursor<'_>,
    hex: bool,
    depth: usize,
) -> Walk {
    p.open(b'{');
    let mut empty = true;
    print_fields(p, message, body, hex, depth, &mut empty)?;
    p.close(b'}', empty);
    Ok(())
}

fn print_fields(
    p: &mut impl Sink,
    message: &'static Message,
    body: Cursor<'_>,
    hex: bool,
    depth: usize,
    empty: &mut bool,
) -> Walk {
    if depth > MAX_DEPTH {
        return Err(body.fault(format!("messages are nested deeper than {MAX_DEPTH}")).into());
    }
    // A sink that can take back what it was given saves the look ahead.
    if p.can_start_over() || wire::survey(message, body)? {
        if print_run(p, message, body, hex, depth, empty)? {
            return Ok(());
        }
        p.start_over();
        *empty = true;
        wire::survey(message, body)?;
    }
    // In no order: one field after another, by number.
    let mut next = 1;
    while let Some(number) = least_number(body, next)? {
        print_only(p, message, body, number, hex, depth, empty)?;
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
    hex: bool,
    depth: usize,
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
                body = print_list(p, message, field, start, false, hex, depth, empty)?
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
                print_value(p, field, raw, &start, hex, depth)?;
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
    hex: bool,
    depth: usize,
    empty: &mut bool,
) -> Walk {
    match message.field(number) {
        Some(field) if field.label == Label::Repeated => {
            print_list(p, message, field, body, true, hex, depth, empty).map(drop)
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
                    print_value(p, field, raw, &start, hex, depth)?;
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
#[allow(clippy::too_many_arguments)]
fn print_list<'a>(
    p: &mut impl Sink,
    message: &'static Message,
    field: &'static Field,
    mut from: Cursor<'a>,
    scattered: bool,
    hex: bool,
    depth: usize,
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
            print_value(p, field, value, at, hex, depth)
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
    match address(&words) {
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

fn address(words: &[u32]) -> Option<String> {
    match *words {
        [v4] => Some(std::net::Ipv4Addr::from(v4.to_le_bytes()).to_string()),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            Some(ipv6(std::net::Ipv6Addr::from(bytes).segments()))
        }
        _ => None,
    }
}

/// Groups only, also for mapped IPv4 addresses; the first longest run of two or more zeros is left out.
fn ipv6(groups: [u16; 8]) -> String {
    let (mut best_at, mut best_len, mut at) = (0, 1, 0);
    while at < 8 {
        let len = groups[at..].iter().take_while(|&&g| g == 0).count();
        if len > best_len {
            (best_at, best_len) = (at, len);
        }
        at += len.max(1);
    }
    let join = |part: &[u16]| part.iter().map(|g| format!("{g:x}")).collect::<Vec<_>>().join(":");
    match best_len {
        1 => join(&groups),
        _ => format!("{}::{}", join(&groups[..best_at]), join(&groups[best_at + best_len..])),
    }
}

#[inline]
fn print_value(
    p: &mut impl Sink,
    field: &'static Field,
    raw: Raw<'_>,
    at: &Cursor<'_>,
    hex: bool,
    depth: usize,
) -> Walk {
    let hex = hex || matches!(field.show, Show::Hex);
    if let Raw::Bytes(body) = raw {
        match (field.kind, field.show) {
            (Type::Bytes, Show::UnixName) => p.string(&quoted::encode(body.rest()))?,
            (Type::Bytes, _) => p.base64(body.rest())?,
            (Type::String, _) => p.string(body.rest())?,
            (kind, _) => match kind.message() {
                Some(inner) => print_message(p, inner, body, hex, depth + 1)?,
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
        kind if p.pretty() => print_number(p, field.show, kind, value, hex),
        kind => print_plain(p, kind, value),
    }
    Ok(())
}

#[inline]
fn print_plain(p: &mut impl Sink, kind: Type, value: u64) {
    match kind {
        Type::Int32 | Type::Int64 | Type::Sint32 | Type::Sint64 => p.signed(value as i64),
        _ => p.unsigned(value),
    }
}

fn print_number(p: &mut impl Sink, show: Show, kind: Type, value: u64, hex: bool) {
    if hex {
        let signed = matches!(kind, Type::Int32 | Type::Int64 | Type::Sint32 | Type::Sint64) && (value as i64) < 0;
        p.hex(signed, if signed { (value as i64).unsigned_abs() } else { value });
        return;
    }
    match show {
        Show::Dev => print_dev(p, value >> 20, value & 0xf_ffff),
        Show::OldDev => {
            let v = value;
            print_dev(p, (v >> 8 & 0xfff) | (v >> 32 & 0xffff_f000), (v & 0xff) | (v >> 12 & 0xffff_ff00));
        }
        Show::Flags(names) => print_flags(p, names, value),
        Show::Dict(names) => match names.iter().find(|n| n.1 == value) {
            Some((name, _)) => p.name(name),
            None => print_plain(p, kind, value),
        },
        _ => print_plain(p, kind, value),
    }
}

fn print_dev(p: &mut impl Sink, major: u64, minor: u64) {
    p.label(&format!("{major}:{minor}"));
}

fn print_flags(p: &mut impl Sink, names: &[(&str, u64)], value: u64) {
    let (mut rest, mut text) = (value, String::new());
    let mut add = |flag: &str| {
        text.push_str(if text.is_empty() { "" } else { " | " });
        text.push_str(flag);
    };
    for (name, bits) in names {
        if rest & bits == *bits {
            add(name);
            rest &= !bits;
        }
    }
    if rest != 0 {
        add(&format!("{rest:#x}"));
    }
    p.label(&text);
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
