//! The protobuf wire format as protobuf-c reads it: anything that is well formed, known or not.

/// What a varint can take.
const MAX_VARINT: usize = 10;

pub(super) const VARINT: u32 = 0;
pub(super) const BYTES: u32 = 2;

/// One field as it stands on the wire.
pub(super) struct Member<'a> {
    pub id: u32,
    pub wire_type: u32,
    /// All after the tag, a length included.
    pub raw: &'a [u8],
    /// What the length announces, else all of `raw`.
    pub content: &'a [u8],
}

impl Member<'_> {
    /// The number of a varint.
    pub(super) fn number(&self) -> Option<u64> {
        (self.wire_type == VARINT).then(|| varint(self.raw).map(|(value, _)| value))?
    }
}

/// The fields of a message; `Err` for bytes that are none, and nothing after it.
pub(super) struct Members<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let member = self.member();
        if member.is_none() {
            self.0 = &[];
        }
        Some(member.ok_or(()))
    }
}

impl<'a> Members<'a> {
    fn member(&mut self) -> Option<Member<'a>> {
        let (tag, len) = varint(self.0)?;
        let tag = u32::try_from(tag).ok()?;
        let (id, wire_type) = (tag >> 3, tag & 7);
        let rest = &self.0[len..];
        let (head, body) = match wire_type {
            VARINT => (0, varint(rest)?.1),
            1 => (0, 8),
            BYTES => {
                let (body, head) = varint(rest)?;
                (head, usize::try_from(body).ok()?)
            }
            5 => (0, 4),
            _ => return None,
        };
        let raw = rest.get(..head.checked_add(body)?)?;
        self.0 = &rest[raw.len()..];
        (id > 0).then_some(Member { id, wire_type, raw, content: &raw[head..] })
    }
}

/// The number at the beginning and how many bytes it takes; bits above 64 are dropped.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &b) in bytes.iter().take(MAX_VARINT).enumerate() {
        value |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Gives the bytes of a varint to `sink`; returns how many.
pub(super) fn put_varint(mut value: u64, sink: &mut dyn FnMut(&[u8])) -> usize {
    let mut bytes = [0; MAX_VARINT];
    let mut len = 0;
    loop {
        bytes[len] = (value & 0x7f) as u8;
        len += 1;
        value >>= 7;
        if value == 0 {
            break;
        }
        bytes[len - 1] |= 0x80;
    }
    sink(&bytes[..len]);
    len
}
