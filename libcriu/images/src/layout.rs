//! What an image of each kind holds: the message of its entries and the raw bytes that follow each.

use crate::kind::Kind;
use crate::schema::Message;
use crate::wire::{self, Cursor, Raw};

/// Pages are this long in every image.
pub const PAGE_BYTES: u64 = 4096;

/// The raw bytes that follow an entry. Numbers are those of the entry's fields that tell their lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    None,
    /// As many bytes as this field says.
    Bytes(u32),
    /// The sum of these two fields, as one piece.
    TwoParts(u32, u32),
    /// A receive queue and a send queue.
    TcpQueues,
    /// The segment padded to 4 bytes, unless its pages are in a pagemap.
    Segment,
    /// Messages: length, `ipc_msg`, text padded to 8 bytes.
    Messages,
    /// 16-bit values padded to 8 bytes.
    Semaphores,
    /// The contents of a ghost file: all that is left, or nothing when chunks follow.
    Ghost,
    /// The pages of a `pagemap_entry`.
    Pages,
}

/// The entries of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The first entry, where it differs from the others.
    head: Option<(&'static Message, Payload)>,
    entry: &'static Message,
    payload: Payload,
}

impl Layout {
    /// `None` for raw files.
    pub fn of(kind: Kind) -> Option<Layout> {
        let entry = Message::by_name(kind.message()?)?;
        let payload = match kind {
            Kind::PipesData | Kind::FifoData | Kind::SkQueues => Payload::Bytes(2),
            Kind::TcpStream => Payload::TcpQueues,
            Kind::IpcnsShm => Payload::Segment,
            Kind::IpcnsMsg => Payload::Messages,
            Kind::IpcnsSem => Payload::Semaphores,
            Kind::BpfmapData => Payload::TwoParts(2, 3),
            Kind::PagesOld | Kind::ShmPagesOld => Payload::Pages,
            Kind::GhostFile => {
                let chunk = Message::by_name("ghost_chunk_entry")?;
                return Some(Layout { head: Some((entry, Payload::Ghost)), entry: chunk, payload: Payload::Bytes(1) });
            }
            Kind::Pagemap | Kind::ShmemPagemap => {
                let head = Message::by_name("pagemap_head")?;
                return Some(Layout { head: Some((head, Payload::None)), entry, payload: Payload::None });
            }
            _ => Payload::None,
        };
        Some(Layout { head: None, entry, payload })
    }

    /// The message and payload of the first entry, or of a later one.
    pub fn entry(&self, first: bool) -> (&'static Message, Payload) {
        match self.head {
            Some(head) if first => head,
            _ => (self.entry, self.payload),
        }
    }
}

/// The number in a field of a message that was surveyed; 0 when it is not there.
pub(crate) fn number(mut body: Cursor<'_>, field: u32) -> wire::Result<u64> {
    while !body.is_empty() {
        let (number, wire) = body.tag()?;
        if let (Raw::Varint(value), true) = (body.raw(wire)?, number == field) {
            return Ok(value);
        }
    }
    Ok(0)
}

/// How many zeros bring `len` to a multiple of `unit`.
pub(crate) fn padding(len: u64, unit: u64) -> u64 {
    len.wrapping_neg() % unit
}
