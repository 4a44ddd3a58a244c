//! What the .proto files say, as static tables: every message, its fields, how each is encoded and shown.

use crate::json::names;

/// A message: its fields by ascending number.
#[derive(Debug)]
pub(crate) struct Message {
    pub name: &'static str,
    /// How many fields are required.
    pub required: u32,
    /// Field numbers below its length map to positions in `fields`; 255 is a hole.
    index: &'static [u8],
    pub fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub number: u32,
    pub name: &'static str,
    pub label: Label,
    /// Written packed; either form is read.
    pub packed: bool,
    pub kind: Type,
    pub show: Show,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Required,
    Optional,
    Repeated,
}

/// The type of a field; messages and enums by their position in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "every scalar type the images may use is handled, whether one does today or not")]
pub(crate) enum Type {
    Uint32,
    Uint64,
    Int32,
    Int64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Bool,
    String,
    Bytes,
    Message(u16),
    Enum(u16),
}

/// How the pretty form shows a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Show {
    Plain,
    /// `0x1f`; on a message, all integers inside.
    Hex,
    /// One word (IPv4) or four (IPv6), each in network order.
    Ip,
    /// Names joined by ` | `, what has no name as one hexadecimal number.
    Flags(&'static [(&'static str, u64)]),
    /// `major:minor`, 20 bits of minor.
    Dev,
    /// `major:minor`, in the encoding of `makedev(3)`.
    OldDev,
    /// A name for a value.
    Dict(&'static [(&'static str, u64)]),
    /// Quoted-printable bytes.
    UnixName,
}

/// The values of an enum.
#[derive(Debug)]
pub(crate) struct Enum {
    pub values: &'static [(i32, &'static str)],
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

impl Message {
    /// The message of this name.
    pub fn by_name(name: &str) -> Option<&'static Message> {
        MESSAGES.binary_search_by(|m| m.name.cmp(name)).ok().map(|at| &MESSAGES[at])
    }

    /// The field of this number.
    #[inline]
    pub fn field(&'static self, number: u32) -> Option<&'static Field> {
        if number < 128 {
            let at = *self.index.get(number as usize)?;
            return self.fields.get(usize::from(at));
        }
        self.fields.binary_search_by_key(&number, |f| f.number).ok().map(|at| &self.fields[at])
    }
}

impl Type {
    /// The message a field of this type holds.
    pub fn message(self) -> Option<&'static Message> {
        match self {
            Type::Message(at) => MESSAGES.get(usize::from(at)),
            _ => None,
        }
    }

    /// The wire type of one value.
    #[inline]
    pub fn wire(self) -> u8 {
        match self {
            Type::String | Type::Bytes | Type::Message(_) => 2,
            Type::Fixed32 => 5,
            Type::Fixed64 => 1,
            _ => 0,
        }
    }
}

impl Enum {
    /// The enum at this position of the tables.
    pub fn at(position: u16) -> &'static Enum {
        &ENUMS[usize::from(position)]
    }

    pub fn name(&self, value: i32) -> Option<&'static str> {
        self.values.iter().find(|v| v.0 == value).map(|v| v.1)
    }

    pub fn value(&self, name: &[u8]) -> Option<i32> {
        self.values.iter().find(|v| v.1.as_bytes() == name).map(|v| v.0)
    }
}
