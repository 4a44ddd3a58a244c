//! The `extra` of an entry: the raw bytes that follow it.

use super::decode::{Walk, read_entry};
use super::fields::{Context, print_message};
use super::sink::{Nothing, Sink};
use crate::layout::{self, PAGE_BYTES, Payload, padding};
use crate::schema::Message;
use crate::wire::{self, Cursor};

/// Prints what follows the entry with this body, the cursor standing behind it.
pub(super) fn print(
    p: &mut impl Sink,
    payload: Payload,
    body: Cursor<'_>,
    image: &mut Cursor<'_>,
    empty: &mut bool,
) -> Walk {
    match payload {
        Payload::None => return Ok(()),
        Payload::Ghost if layout::number(body, CHUNKS)? != 0 => return Ok(()),
        _ if p.payloads() => {}
        _ => {
            let before = image.rest().len();
            print_payload(&mut Nothing, payload, body, image, &mut true)?;
            start(p, empty)?;
            p.payload_left_out((before - image.rest().len()) as u64);
            return Ok(());
        }
    }
    print_payload(p, payload, body, image, empty)
}

fn print_payload(
    p: &mut impl Sink,
    payload: Payload,
    body: Cursor<'_>,
    image: &mut Cursor<'_>,
    empty: &mut bool,
) -> Walk {
    let bytes = match payload {
        Payload::None => return Ok(()),
        Payload::Ghost => {
            let len = image.rest().len() as u64;
            image.take(len)?
        }
        Payload::Bytes(len) => image.take(layout::number(body, len)?)?,
        Payload::TwoParts(a, b) => image.take(layout::number(body, a)?.saturating_add(layout::number(body, b)?))?,
        Payload::Pages => image.take(layout::number(body, NR_PAGES)?.saturating_mul(PAGE_BYTES))?,
        Payload::Segment => segment(body, image)?,
        Payload::TcpQueues => {
            start(p, empty)?;
            return print_queues(p, body, image);
        }
        Payload::Messages => {
            start(p, empty)?;
            return print_messages(p, body, image);
        }
        Payload::Semaphores => {
            start(p, empty)?;
            return print_semaphores(p, body, image);
        }
    };
    start(p, empty)?;
    Ok(p.base64(bytes)?)
}

/// `ghost_file_entry.chunks`, `pagemap_entry.compat_nr_pages`, `tcp_stream_entry.inq_len` and `outq_len`.
const CHUNKS: u32 = 9;
const NR_PAGES: u32 = 2;
const INQ_LEN: u32 = 1;
const OUTQ_LEN: u32 = 3;

fn start(p: &mut impl Sink, empty: &mut bool) -> Walk {
    p.next(std::mem::take(empty))?;
    p.key("extra");
    Ok(())
}

/// Shared memory. Where the segment is kept as pages, the reference viewer takes the entries that follow for its bytes,
/// as far as the size reaches; so does this. Padding that is not zero belongs to what is printed.
fn segment<'a>(body: Cursor<'_>, image: &mut Cursor<'a>) -> wire::Result<&'a [u8]> {
    let (size, in_pagemaps) = (layout::number(body, 2)?, layout::number(body, 3)? != 0);
    if in_pagemaps {
        return image.take(size.min(image.rest().len() as u64));
    }
    padded(image, size, 4)
}

/// `len` bytes padded to a multiple of `unit`; with the padding if that is not zero.
fn padded<'a>(image: &mut Cursor<'a>, len: u64, unit: u64) -> wire::Result<&'a [u8]> {
    let all = image.take(len.saturating_add(padding(len, unit)))?;
    let (bytes, zeros) = all.split_at(all.len() - padding(len, unit) as usize);
    Ok(if zeros.iter().all(|&z| z == 0) { bytes } else { all })
}

fn print_queues(p: &mut impl Sink, body: Cursor<'_>, image: &mut Cursor<'_>) -> Walk {
    p.open(b'{');
    for (name, len) in [("inq", INQ_LEN), ("outq", OUTQ_LEN)] {
        p.next(name == "inq")?;
        p.key(name);
        p.base64(image.take(layout::number(body, len)?)?)?;
    }
    p.close(b'}', false);
    Ok(())
}

fn print_messages(p: &mut impl Sink, body: Cursor<'_>, image: &mut Cursor<'_>) -> Walk {
    let qnum = layout::number(body, 3)?;
    let message = Message::by_name("ipc_msg").ok_or_else(|| image.fault("ipc_msg is not in the schema"))?;
    p.open(b'[');
    for i in 0..qnum {
        let head = read_entry(image)?;
        p.next(i == 0)?;
        print_message(p, message, head, Context::default())?;
        let text = padded(image, layout::number(head, 2)?, 8)?;
        p.next(false)?;
        p.base64(text)?;
    }
    p.close(b']', qnum == 0);
    Ok(())
}

fn print_semaphores(p: &mut impl Sink, body: Cursor<'_>, image: &mut Cursor<'_>) -> Walk {
    let bytes = padded(image, layout::number(body, 2)?.saturating_mul(2), 8)?;
    p.open(b'[');
    for (i, value) in bytes.chunks_exact(2).enumerate() {
        p.next(i == 0)?;
        p.unsigned(u64::from(u16::from_le_bytes([value[0], value[1]])));
    }
    p.close(b']', bytes.is_empty());
    Ok(())
}
