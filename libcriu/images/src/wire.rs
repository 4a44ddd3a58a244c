//! The protobuf wire format, read strictly: values in range, required fields present, nothing given twice, nothing
//! unknown passed over.

use crate::schema::{Enum, Field, Label, Message, Type};

/// How deep messages may be nested.
pub(crate) const MAX_DEPTH: usize = 100;

/// What is wrong with a message, and where in the file.
#[derive(Debug)]
pub(crate) struct Fault {
    pub offset: u64,
    pub reason: String,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// Reads bytes of a file that is in memory, or of a part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset in the file of `bytes[0]`.
    base: u64,
}

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Cursor<'a>),
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Cursor { bytes, at: 0, base }
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Offset in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// What has not been read yet.
    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault { offset: self.offset(), reason: reason.into() }
    }

    #[inline]
    pub fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let left = self.rest();
        match usize::try_from(len).ok().and_then(|n| left.get(..n)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.fault(format!("{len} bytes are announced, {} are left", left.len()))),
        }
    }

    /// The next `len` bytes as a cursor of their own.
    #[inline]
    pub fn part(&mut self, len: u64) -> Result<Cursor<'a>> {
        let base = self.offset();
        Ok(Cursor::new(self.take(len)?, base))
    }

    pub fn u32(&mut self) -> Result<u32> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self) -> Result<u64> {
        let low = self.u32()?;
        Ok(u64::from(low) | u64::from(self.u32()?) << 32)
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        match *self.rest() {
            [a, ..] if a < 0x80 => {
                self.at += 1;
                Ok(u64::from(a))
            }
            [a, b, ..] if b < 0x80 => {
                self.at += 2;
                Ok(u64::from(a & 0x7f) | u64::from(b) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (i, &b) in self.rest().iter().take(10).enumerate() {
            let bits = u64::from(b & 0x7f);
            if i == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * i);
            if b < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        let reason = if self.rest().len() < 10 { "a number is cut off" } else { "a number is longer than 64 bits" };
        Err(self.fault(reason))
    }

    /// The number and wire type of the next field.
    #[inline(always)]
    pub fn tag(&mut self) -> Result<(u32, u8)> {
        let start = *self;
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number) if number > 0 && number < 1 << 29 => Ok((number, (tag & 7) as u8)),
            _ => Err(start.fault("not a field number")),
        }
    }

    #[inline(always)]
    pub fn raw(&mut self, wire: u8) -> Result<Raw<'a>> {
        if wire == 0 { Ok(Raw::Varint(self.varint()?)) } else { self.long_raw(wire) }
    }

    fn long_raw(&mut self, wire: u8) -> Result<Raw<'a>> {
        Ok(match wire {
            1 => Raw::Fixed64(self.u64()?),
            2 => {
                let len = self.varint()?;
                Raw::Bytes(self.part(len)?)
            }
            5 => Raw::Fixed32(self.u32()?),
            other => return Err(self.fault(format!("wire type {other} does not exist in images"))),
        })
    }
}

/// A scalar as a number, checked against its type. Signed values come as the bits of an i64.
#[inline]
pub(crate) fn scalar(field: &Field, raw: Raw<'_>, at: &Cursor<'_>) -> Result<u64> {
    let value = match raw {
        Raw::Varint(v) | Raw::Fixed64(v) => v,
        Raw::Fixed32(v) => u64::from(v),
        Raw::Bytes(_) => return Err(at.fault(format!("{} is no number", field.name))),
    };
    let fits = match field.kind {
        Type::Uint32 | Type::Fixed32 | Type::Sint32 => value <= u64::from(u32::MAX),
        Type::Int32 | Type::Enum(_) => i32::try_from(value as i64).is_ok(),
        Type::Bool => value <= 1,
        _ => true,
    };
    if !fits {
        return Err(at.fault(format!("{}: {value:#x} is out of range", field.name)));
    }
    Ok(match field.kind {
        Type::Sint32 | Type::Sint64 => (value >> 1) ^ (value & 1).wrapping_neg(),
        _ => value,
    })
}

/// Reads every field of one message (not of those inside it): wire types, required fields, no field twice. Answers
/// whether the fields come in ascending order.
pub(crate) fn survey(message: &'static Message, body: Cursor<'_>) -> Result<bool> {
    let (mut in_order, mut required, mut last) = (true, 0u32, 0u32);
    let mut cursor = body;
    while !cursor.is_empty() {
        let start = cursor;
        let (number, wire) = cursor.tag()?;
        cursor.raw(wire)?;
        let known = message.field(number);
        if let Some(field) = known {
            fits(message, field, wire, &start)?;
            if number == last && field.label != Label::Repeated {
                return Err(twice(message, field, &start));
            }
            required += u32::from(field.label == Label::Required);
        }
        in_order &= number >= last;
        last = number;
    }
    if !in_order {
        required = check_unordered(message, body)?;
    }
    if required != message.required {
        return Err(body.fault(missing(message, body)));
    }
    Ok(in_order)
}

/// Is this the wire type of the field, or that of its values packed together?
#[inline]
pub(crate) fn fits(message: &Message, field: &Field, wire: u8, at: &Cursor<'_>) -> Result<()> {
    let packed = field.label == Label::Repeated && wire == 2;
    if wire != field.kind.wire() && !packed {
        return Err(at.fault(format!("{}.{} has wire type {wire}", message.name, field.name)));
    }
    Ok(())
}

pub(crate) fn twice(message: &Message, field: &Field, at: &Cursor<'_>) -> Fault {
    at.fault(format!("{}.{} is given twice", message.name, field.name))
}

/// Counts the required fields of a message whose fields are in no order, each only once.
fn check_unordered(message: &'static Message, body: Cursor<'_>) -> Result<u32> {
    let mut required = 0;
    for field in message.fields {
        let (mut cursor, mut count) = (body, 0);
        while !cursor.is_empty() {
            let start = cursor;
            let (number, wire) = cursor.tag()?;
            cursor.raw(wire)?;
            count += u32::from(number == field.number);
            if count > 1 && field.label != Label::Repeated {
                return Err(twice(message, field, &start));
            }
        }
        required += u32::from(count == 1 && field.label == Label::Required);
    }
    Ok(required)
}

pub(crate) fn missing(message: &'static Message, body: Cursor<'_>) -> String {
    let has = |wanted: u32| {
        let mut cursor = body;
        while let Ok((number, wire)) = cursor.tag() {
            if number == wanted {
                return true;
            }
            if cursor.raw(wire).is_err() {
                break;
            }
        }
        false
    };
    let lacking = message.fields.iter().find(|f| f.label == Label::Required && !has(f.number));
    match lacking {
        Some(f) => format!("{} lacks {}", message.name, f.name),
        None => format!("{} lacks a required field", message.name),
    }
}

/// Checks a message and all inside it. Fields that are not known are refused: whoever wrote them meant something.
pub(crate) fn check(message: &'static Message, body: Cursor<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(body.fault(format!("messages are nested deeper than {MAX_DEPTH}")));
    }
    survey(message, body)?;
    let mut cursor = body;
    while !cursor.is_empty() {
        let start = cursor;
        let (number, wire) = cursor.tag()?;
        let raw = cursor.raw(wire)?;
        let Some(field) = message.field(number) else {
            return Err(
                start.fault(format!("{} has an unknown field {number}; a newer version wrote it", message.name))
            );
        };
        check_value(field, raw, &start, depth)?;
    }
    Ok(())
}

fn check_value(field: &'static Field, raw: Raw<'_>, at: &Cursor<'_>, depth: usize) -> Result<()> {
    match (raw, field.kind) {
        (Raw::Bytes(body), Type::Message(_)) => match field.kind.message() {
            Some(inner) => check(inner, body, depth + 1),
            None => Ok(()),
        },
        (Raw::Bytes(_), Type::String | Type::Bytes) => Ok(()),
        (Raw::Bytes(body), _) => each_packed(field, body, |value, at| scalar(field, value, at).map(drop)),
        (value, Type::Enum(e)) => {
            let number = scalar(field, value, at)?;
            match Enum::at(e).name(number as i32) {
                Some(_) => Ok(()),
                None => Err(at.fault(format!("{}: {} is no value of its enum", field.name, number as i32))),
            }
        }
        (value, _) => scalar(field, value, at).map(drop),
    }
}

/// Calls `f` with each value of a packed field.
pub(crate) fn each_packed<'a>(
    field: &Field,
    mut body: Cursor<'a>,
    mut f: impl FnMut(Raw<'a>, &Cursor<'a>) -> Result<()>,
) -> Result<()> {
    while !body.is_empty() {
        let start = body;
        let value = body.raw(field.kind.wire())?;
        f(value, &start)?;
    }
    Ok(())
}
