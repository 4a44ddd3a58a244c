//! What stands in the rings of a socket whose program stands still, while the kernel goes on.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::Duration;

use criu_images::messages::{PacketPieceEntry, PacketRing};

use super::{
    BEING_SENT, BLOCK_FIRST, BLOCK_LAST_TIME, BLOCK_LEN, BLOCK_PACKETS, BLOCK_STATUS, NEXT, Shape, TIME, TIMED_OUT,
    USER, mapping_bytes,
};
use crate::sys::kernel::Kernel;
use crate::sys::view::View;

const TRIES: u32 = 500;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Why rings cannot be saved, and what would help.
pub(crate) type Refusal = (String, &'static str);

/// What the kernel has noted down of the rings, and the status of each frame or block.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    rx: u32,
    /// The block that is the kernel's next one is still the program's, or was when it was looked at last.
    is_frozen: bool,
    tx: u32,
    statuses: Vec<u32>,
    /// In the open block.
    packets: u32,
}

/// Adds to the rings of a socket what was in them.
///
/// # Errors
/// They cannot be saved (inner); those of looking.
pub(crate) fn fill(
    fd: BorrowedFd<'_>,
    version: u32,
    rx: &mut Option<PacketRing>,
    tx: &mut Option<PacketRing>,
) -> io::Result<Result<(), Refusal>> {
    const CLOSE_IT: &str = "close it before the dump";
    let shapes = match Shape::both(version, rx.as_ref(), tx.as_ref()) {
        Ok(shapes) => shapes,
        Err(why) => return Ok(Err((format!("a packet socket with {why} cannot be saved"), CLOSE_IT))),
    };
    let kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(e) => {
            let why = format!("a packet socket with a ring, of which only the kernel's memory tells all ({e})");
            return Ok(Err((why, "give the engine CAP_BPF and CAP_PERFMON, or close it before the dump")));
        }
    };
    let view = View::of(fd, mapping_bytes(rx.as_ref(), tx.as_ref()) as usize)?;
    for _ in 0..TRIES {
        let before = look(&kernel, fd, &shapes, &view)?;
        let is_at_rest = shapes[1].is_none_or(|tx| !statuses(&tx, &view).any(|s| s & BEING_SENT != 0));
        if is_at_rest {
            let pieces = [received(shapes[0].as_ref(), &before, &view), unsent(shapes[1].as_ref(), &view)];
            if before == look(&kernel, fd, &shapes, &view)? {
                let [of_rx, of_tx] = pieces;
                let (mut head, mut of_rx) = (before.rx, of_rx);
                if let Some(shape) = shapes[0].filter(|s| s.by_block && before.packets > 0) {
                    of_rx.push(closed(&shape, head, &view));
                    head = (head + 1) % shape.blocks;
                }
                for (ring, head, pieces) in [(rx, head, of_rx), (tx, before.tx, of_tx)] {
                    if let Some(ring) = ring {
                        (ring.head, ring.pieces) = (Some(head), pieces);
                    }
                }
                return Ok(Ok(()));
            }
        }
        sleep(LOOK_AGAIN);
    }
    let why = "a packet socket with a ring in which packets move all the time cannot be saved";
    Ok(Err((why.into(), "dump again when there is less traffic, or bind it to fewer packets")))
}

fn look(kernel: &Kernel, fd: BorrowedFd<'_>, shapes: &[Option<Shape>; 2], view: &View) -> io::Result<Look> {
    let socket = kernel.socket(fd)?;
    let number = |path: &str| kernel.number(socket, "packet_sock", path).map(|n| n as u32);
    let by_block = shapes[0].filter(|s| s.by_block);
    let (rx, is_frozen) = match by_block {
        Some(_) => {
            let core = "rx_ring.prb_bdqc";
            let frozen = number(&format!("{core}.reset_pending_on_curr_blk"))? != 0;
            (number(&format!("{core}.kactive_blk_num"))?, frozen)
        }
        None => (number("rx_ring.head")?, false),
    };
    let open = by_block.filter(|s| !is_frozen && rx < s.blocks && view.word(s.status(rx)) & USER == 0);
    Ok(Look {
        rx,
        is_frozen,
        tx: number("tx_ring.head")?,
        statuses: shapes.iter().flatten().flat_map(|s| statuses(s, view)).collect(),
        packets: open.map_or(0, |s| view.word(s.slot(rx) + BLOCK_PACKETS as usize)),
    })
}

fn statuses<'a>(shape: &Shape, view: &'a View) -> impl Iterator<Item = u32> + use<'a> {
    let shape = *shape;
    (0..shape.slots()).map(move |n| view.word(shape.status(n)))
}

/// What the program has not given back yet.
fn received(shape: Option<&Shape>, look: &Look, view: &View) -> Vec<PacketPieceEntry> {
    let Some(shape) = shape else { return Vec::new() };
    let unread = (0..shape.slots()).zip(&look.statuses).filter(|(_, status)| **status != 0);
    unread
        .map(|(n, _)| {
            let at = shape.slot(n);
            let len = if shape.by_block {
                view.word(at + BLOCK_LEN as usize) as usize
            } else {
                let of = |field: u32, len: usize| view.bytes(at + field as usize, len);
                let half = |b: &[u8]| b.first_chunk().map_or(0, |b| usize::from(u16::from_ne_bytes(*b)));
                let places = of(shape.header.mac, 4);
                let start = half(&places).max(half(places.get(2..).unwrap_or_default()));
                start + view.word(at + shape.header.caught as usize) as usize
            };
            let len = len.max(shape.header.bytes as usize).min(shape.slot_bytes());
            PacketPieceEntry { offset: (at - shape.start) as u64, data: view.bytes(at, len) }
        })
        .collect()
}

/// What the program has written to frames, and the kernel to their headers. It may write long before it asks for them to be sent.
fn unsent(shape: Option<&Shape>, view: &View) -> Vec<PacketPieceEntry> {
    let Some(shape) = shape else { return Vec::new() };
    let frames = (0..shape.slots()).map(|n| {
        let mut data = view.bytes(shape.slot(n), shape.frame_bytes);
        let end = data.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        data.truncate(end);
        PacketPieceEntry { offset: (shape.slot(n) - shape.start) as u64, data }
    });
    frames.filter(|piece| !piece.data.is_empty()).collect()
}

/// The open block as the kernel would give it to the program when the time is up.
fn closed(shape: &Shape, n: u32, view: &View) -> PacketPieceEntry {
    let at = shape.slot(n);
    let len = (view.word(at + BLOCK_LEN as usize) as usize).min(shape.block_bytes);
    let mut data = view.bytes(at, len);
    let word =
        |data: &[u8], at: usize| data.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let mut last = word(&data, BLOCK_FIRST as usize) as usize;
    for _ in 1..word(&data, BLOCK_PACKETS as usize) {
        let next = word(&data, last + NEXT as usize) as usize;
        if next == 0 || last + next + shape.header.bytes as usize > len {
            break;
        }
        last += next;
    }
    let time = data.get(last + TIME as usize..last + TIME as usize + 8).map(<[u8]>::to_vec).unwrap_or_default();
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = data.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(last + NEXT as usize, &0u32.to_ne_bytes());
    put(BLOCK_LAST_TIME as usize, &time);
    put(BLOCK_STATUS as usize, &(USER | TIMED_OUT).to_ne_bytes());
    PacketPieceEntry { offset: (at - shape.start) as u64, data }
}
