//! Netlink messages of nf_tables as bytes. Numbers inside attributes are big-endian, headers are the machine's.

/// Messages of one batch, which the kernel applies as a whole or not at all.
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

/// `NFNETLINK` subsystem of nf_tables and the family `inet`.
pub(super) const SUBSYSTEM: u16 = 10;
pub(super) const FAMILY_INET: u8 = 1;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_DUMP: u16 = 0x300;
const NLA_F_NESTED: u16 = 0x8000;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Batch { bytes: Vec::new(), sequence: 0 };
        batch.control(BATCH_BEGIN);
        batch
    }

    fn control(&mut self, kind: u16) {
        let at = header(&mut self.bytes, kind, NLM_F_REQUEST, self.sequence, [0, 0], SUBSYSTEM);
        self.sequence += 1;
        close(&mut self.bytes, at);
    }

    /// One message; the kernel acknowledges each.
    pub(super) fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let kind = SUBSYSTEM << 8 | kind;
        let flags = flags | NLM_F_REQUEST | NLM_F_ACK;
        let at = header(&mut self.bytes, kind, flags, self.sequence, [FAMILY_INET, 0], 0);
        self.sequence += 1;
        fill(&mut Attributes { bytes: &mut self.bytes });
        close(&mut self.bytes, at);
    }

    /// The bytes to send, and how many acknowledgements they get.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        let messages = self.sequence - 1;
        self.control(BATCH_END);
        (self.bytes, messages)
    }
}

/// A request outside of a batch.
pub(super) fn request(kind: u16, flags: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let at = header(&mut bytes, SUBSYSTEM << 8 | kind, NLM_F_REQUEST | flags, 1, [FAMILY_INET, 0], 0);
    close(&mut bytes, at);
    bytes
}

fn header(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: [u8; 2], resource: u16) -> usize {
    let at = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(family);
    bytes.extend(resource.to_be_bytes());
    at
}

fn close(bytes: &mut [u8], at: usize) {
    let len = (bytes.len() - at) as u32;
    bytes[at..at + 4].copy_from_slice(&len.to_ne_bytes());
}

/// Appends attributes to a message.
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub(super) fn data(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.data(kind, &value.to_be_bytes());
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.data(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// Attributes inside an attribute; together under 64 KiB, which is all that its length can say.
    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let at = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        fill(&mut Attributes { bytes: self.bytes });
        let len = (self.bytes.len() - at) as u16;
        self.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes());
    }
}

/// A message that came from the kernel.
pub(super) struct Message<'a> {
    pub kind: u16,
    /// Behind the netlink header.
    pub payload: &'a [u8],
}

/// Splits what one receive returned; ends at anything that is cut short.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let message = bytes.get(..len).filter(|m| m.len() >= 16)?;
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, payload: &message[16..] })
    })
}

/// The attribute `wanted` among those behind an nfnetlink header.
pub(super) fn attribute(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = payload.get(4..)?;
    loop {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut batch = Batch::new();
        batch.message(3, NLM_F_CREATE, |a| {
            a.text(1, "abc");
            a.nested(2, |a| a.number(7, 0x0102_0304));
            a.number(9, 5);
        });
        let (bytes, count) = batch.finish();
        assert_eq!((count, bytes.len() % 4), (1, 0));
        let all: Vec<Message<'_>> = messages(&bytes).collect();
        assert_eq!(all.iter().map(|m| m.kind).collect::<Vec<_>>(), [BATCH_BEGIN, SUBSYSTEM << 8 | 3, BATCH_END]);
        assert_eq!(attribute(all[1].payload, 1), Some(&b"abc\0"[..]));
        assert_eq!(attribute(all[1].payload, 9), Some(&[0, 0, 0, 5][..]));
        assert_eq!(attribute(all[1].payload, 2), Some(&[8, 0, 7, 0, 1, 2, 3, 4][..]));
        assert_eq!(attribute(all[1].payload, 3), None);
    }

    #[test]
    fn damaged_messages_end_the_reading() {
        let (bytes, _) = Batch::new().finish();
        for len in 0..bytes.len() {
            let _ = messages(&bytes[..len]).count();
        }
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attribute(&[0; 64], 1), None);
        assert_eq!(attribute(&[1, 2, 3, 4, 200, 0, 1, 0], 1), None);
    }
}
