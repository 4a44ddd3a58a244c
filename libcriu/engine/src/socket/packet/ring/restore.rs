//! Makes rings and brings the kernel to where it was in them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use criu_images::messages::{PacketRing, PacketSockEntry};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};

use super::super::SOL_PACKET;
use super::{BEING_SENT, RX_RING, STATISTICS, Shape, TO_BE_SENT, TX_HAS_OFF, TX_RING, USER, mapping_bytes};
use crate::sys::socket::{bind_packet, option_bytes, send_packets, set_option_bytes};
use crate::sys::view::View;

/// IEEE 802 "local experimental": what is sent to bring a ring on its way.
const OURS: u16 = 0x88b5;
/// The other one.
const NOBODYS: u16 = 0x88b6;
const ETHERNET_BYTES: usize = 14;
/// The shortest frame.
const FRAME_BYTES: usize = 60;
/// As long as the loopback device takes, at first.
const LONG_FRAME_BYTES: usize = 60_000;
/// How long the kernel may take to deliver a frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks what an image says of the rings.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(psk: &PacketSockEntry) -> Result<(), String> {
    let shapes = Shape::both(psk.version, psk.rx_ring.as_ref(), psk.tx_ring.as_ref())?;
    for (ring, shape) in [psk.rx_ring.as_ref(), psk.tx_ring.as_ref()].into_iter().zip(shapes) {
        let (Some(ring), Some(shape)) = (ring, shape) else { continue };
        if ring.head() >= shape.slots() {
            return Err(format!("its ring has no frame or block {}", ring.head()));
        }
        let fits = |offset: u64, len: usize| {
            let end = offset.checked_add(len as u64);
            offset.is_multiple_of(4) && end.is_some_and(|end| end <= shape.bytes() as u64)
        };
        if !ring.pieces.iter().all(|p| fits(p.offset, p.data.len())) {
            return Err("its ring has no room for what was in it".into());
        }
    }
    let has_received = |r: &PacketRing| r.head() > 0 || !r.pieces.is_empty();
    if psk.protocol == 0 && psk.rx_ring.as_ref().is_some_and(has_received) {
        return Err("its ring has received packets of no protocol".into());
    }
    Ok(())
}

/// Gives an unbound socket, which hears nothing, its rings.
///
/// # Errors
/// The call that failed.
pub(crate) fn make(psk: &PacketSockEntry, fd: BorrowedFd<'_>) -> Result<(), (&'static str, io::Error)> {
    let shapes = Shape::both(psk.version, psk.rx_ring.as_ref(), psk.tx_ring.as_ref());
    let shapes = shapes.map_err(|why| ("rings", io::Error::new(io::ErrorKind::InvalidData, why)))?;
    let [rx, tx] = shapes;
    let set_up = |name, ring: &PacketRing| {
        set_option_bytes(fd, SOL_PACKET, name, &request(psk.version, ring)).map_err(|e| ("setsockopt of a ring", e))
    };
    let mut has_moved = false;
    for (name, ring) in [(TX_RING, &psk.tx_ring), (RX_RING, &psk.rx_ring)] {
        if let Some(ring) = ring {
            set_up(name, ring)?;
        }
    }
    let is_empty = |r: &Option<PacketRing>| r.as_ref().is_none_or(|r| r.pieces.is_empty() && r.head() == 0);
    if is_empty(&psk.rx_ring) && is_empty(&psk.tx_ring) {
        return Ok(());
    }
    let view = View::of(fd, mapping_bytes(psk.rx_ring.as_ref(), psk.tx_ring.as_ref()) as usize)
        .map_err(|e| ("mmap of a ring", e))?;
    // While nobody listens to what it sends.
    if let (Some(ring), Some(shape)) = (&psk.tx_ring, tx)
        && ring.head() > 0
    {
        send_frames(psk, fd, &shape, &view, ring.head()).map_err(|e| ("sending by a ring", e))?;
        has_moved = true;
    }
    if let (Some(ring), Some(shape)) = (&psk.rx_ring, rx) {
        let is_taken = |n: u32| ring.pieces.iter().any(|p| p.offset == (shape.slot(n) - shape.start) as u64);
        // A full ring begins with a block that the kernel cannot have yet.
        let steps = if shape.by_block && ring.head() == 0 && is_taken(0) { shape.blocks } else { ring.head() };
        if steps > 0 {
            let only_ours = Bound::to_loopback(fd)?;
            let sender = Sender::new().map_err(|e| ("a socket to send by", e))?;
            let received = if shape.by_block { fill_blocks } else { fill_frames };
            received(&shape, &view, &sender, steps).map_err(|e| ("filling a ring", e))?;
            // What is under way still is not heard any more: the kernel waits for those who hear it.
            only_ours.end()?;
            has_moved = true;
        }
        // The kernel's timer looks whether it may have the one before which it stands: one that stays taken is so all along.
        let pieces: HashMap<u64, &[u8]> = ring.pieces.iter().map(|p| (p.offset, &p.data[..])).collect();
        for n in 0..shape.slots() {
            let (slot, status) = (shape.slot(n), shape.status(n));
            let piece = pieces.get(&((slot - shape.start) as u64));
            let word = piece.and_then(|data| data.get(status - slot..)?.get(..4)?.try_into().ok());
            if word.map_or(0, u32::from_ne_bytes) & USER == 0 {
                view.set_word(status, 0);
            }
        }
    }
    for (ring, shape) in [(&psk.rx_ring, rx), (&psk.tx_ring, tx)] {
        let (Some(ring), Some(shape)) = (ring, shape) else { continue };
        for piece in &ring.pieces {
            view.put(shape.start + piece.offset as usize, &piece.data);
        }
    }
    if has_moved {
        // Reading them sets the counts of what came and was dropped to 0.
        option_bytes(fd, SOL_PACKET, STATISTICS, 12).map_err(|e| ("getsockopt PACKET_STATISTICS", e))?;
    }
    Ok(())
}

/// `struct tpacket_req`, or `tpacket_req3`.
fn request(version: u32, ring: &PacketRing) -> Vec<u8> {
    let sizes = [ring.block_size, ring.block_nr, ring.frame_size, ring.frame_nr];
    let more = [ring.retire_tmo, ring.sizeof_priv, ring.features];
    let more: &[u32] = if version == 2 { &more } else { &[] };
    sizes.iter().chain(more).flat_map(|word| word.to_ne_bytes()).collect()
}

/// The socket hears only what is sent here. A socket that has received anything had a protocol, to which it is bound later: one that
/// had none could not get rid of this one again.
struct Bound<'a>(BorrowedFd<'a>, u32);

impl<'a> Bound<'a> {
    fn to_loopback(fd: BorrowedFd<'a>) -> Result<Self, (&'static str, io::Error)> {
        let index = name_to_index(fd, "lo").map_err(|e| ("ioctl SIOCGIFINDEX lo", e.into()))?;
        bind_packet(fd, OURS, index, None).map_err(|e| ("bind to the loopback device, which has to be up", e))?;
        Ok(Bound(fd, index))
    }

    fn end(self) -> Result<(), (&'static str, io::Error)> {
        bind_packet(self.0, NOBODYS, self.1, None).map_err(|e| ("bind", e))
    }
}

/// Sends frames to whoever is bound to them.
struct Sender(OwnedFd);

impl Sender {
    fn new() -> io::Result<Self> {
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let index = name_to_index(&fd, "lo")?;
        bind_packet(fd.as_fd(), 0, index, None)?;
        Ok(Sender(fd))
    }

    fn send(&self, len: usize) -> Result<(), Errno> {
        send(&self.0, &frame(len), SendFlags::empty()).map(drop)
    }
}

/// From nobody to nobody, of zeros.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    if let Some(kind) = frame.get_mut(ETHERNET_BYTES - 2..ETHERNET_BYTES) {
        kind.copy_from_slice(&OURS.to_be_bytes());
    }
    frame
}

fn until(mut done: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        yield_now();
    }
    Ok(())
}

/// So many frames are received.
fn fill_frames(shape: &Shape, view: &View, sender: &Sender, steps: u32) -> io::Result<()> {
    for n in 0..steps {
        sender.send(FRAME_BYTES)?;
        until(|| view.word(shape.status(n)) & USER != 0)?;
    }
    Ok(())
}

/// So many blocks are filled, or given up by the kernel as time goes by. The one behind each is taken meanwhile, so that the
/// kernel stands before it, and does not begin it.
fn fill_blocks(shape: &Shape, view: &View, sender: &Sender, steps: u32) -> io::Result<()> {
    let mut len = LONG_FRAME_BYTES;
    for n in 0..steps {
        let next = (n + 1) % shape.blocks;
        if next != n {
            view.set_word(shape.status(next), USER);
        }
        // If the kernel stands before this one, it begins it with the next packet.
        if n > 0 {
            view.set_word(shape.status(n), 0);
        }
        until(|| {
            match sender.send(len) {
                Err(Errno::MSGSIZE) if len > FRAME_BYTES => len /= 2,
                // What cannot be sent now may be sent soon.
                _ => {}
            }
            view.word(shape.status(n)) & USER != 0
        })?;
    }
    Ok(())
}

/// So many frames are sent by the ring itself.
fn send_frames(psk: &PacketSockEntry, fd: BorrowedFd<'_>, shape: &Shape, view: &View, steps: u32) -> io::Result<()> {
    let header = shape.header;
    let start = header.bytes as usize;
    let has_offset = psk.more_opts.iter().any(|o| o.name == TX_HAS_OFF as u32);
    // It is given with each frame, then.
    let virtual_bytes = if psk.vnet_hdr { virtual_header_bytes(psk) } else { 0 };
    let is_raw = psk.r#type as i32 == libc::SOCK_RAW;
    let len = FRAME_BYTES.min(shape.frame_bytes - start);
    let data = [vec![0; virtual_bytes], if is_raw { frame(len) } else { vec![0; len] }].concat();
    let data = &data[..len];
    for n in 0..steps {
        let at = shape.slot(n);
        view.put(at + start, data);
        view.set_word(at + header.len as usize, len as u32);
        if has_offset {
            let place = (start as u16).to_ne_bytes();
            view.put(at + header.mac as usize, &[place, place].concat());
        }
        view.set_word(shape.status(n), TO_BE_SENT);
    }
    let index = name_to_index(fd, "lo")?;
    until(|| {
        let _ = send_packets(fd, OURS, index);
        (0..steps).all(|n| view.word(shape.status(n)) & (TO_BE_SENT | BEING_SENT) == 0)
    })?;
    for n in 0..steps {
        view.put(shape.slot(n), &vec![0; shape.frame_bytes]);
    }
    Ok(())
}

/// `struct virtio_net_hdr`, or what PACKET_VNET_HDR_SZ says.
fn virtual_header_bytes(psk: &PacketSockEntry) -> usize {
    const VNET_HDR_SZ: u32 = 24;
    let size = psk.more_opts.iter().find(|o| o.name == VNET_HDR_SZ).and_then(|o| o.value.first_chunk());
    size.map_or(10, |bytes| u32::from_ne_bytes(*bytes).min(64) as usize)
}
