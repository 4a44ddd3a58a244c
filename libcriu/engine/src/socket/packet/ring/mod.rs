//! Rings of packet sockets (PACKET_RX_RING, PACKET_TX_RING): memory that a socket shares with who maps it, receiving ring first.
//!
//! Kernel and program go round on their own, each with its own idea of what is next; the status of each frame (version 3: of each
//! block of a receiving ring) says whose it is. So a new ring, which the kernel begins at its first frame, has to be brought to where
//! the old one was: frames are sent over the loopback device while the socket hears nothing else. Then what waits for either side
//! is put back. Where the kernel is, its memory tells.
//!
//! Limits: the numbers of blocks (`seq_num`) begin anew, and so do the counts of PACKET_STATISTICS.

pub(super) mod dump;
pub(super) mod restore;

use criu_images::messages::PacketRing;

pub(super) const RX_RING: i32 = 5;
pub(super) const STATISTICS: i32 = 6;
pub(super) const TX_RING: i32 = 13;
pub(super) const TX_HAS_OFF: i32 = 19;

/// Of both rings together. Those in use have some megabytes, and what waits in them has to fit into one entry of an image.
const MAX_BYTES: u64 = 128 << 20;

/// TP_STATUS_USER: it is the program's.
const USER: u32 = 1;
/// TP_STATUS_BLK_TMO: the kernel gave it away before it was full.
const TIMED_OUT: u32 = 1 << 5;
/// TP_STATUS_SEND_REQUEST
const TO_BE_SENT: u32 = 1;
/// TP_STATUS_SENDING
const BEING_SENT: u32 = 2;

/// `struct sockaddr_ll` follows the header of a frame.
const ADDRESS_BYTES: u32 = 20;

/// Where things are in the header of a frame; `struct tpacket_hdr`, `tpacket2_hdr`, `tpacket3_hdr`.
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: u32,
    status: u32,
    /// Bytes on the wire.
    len: u32,
    /// Bytes that were caught.
    caught: u32,
    /// Of 16 bits: where the link layer's header is; that of the network's follows.
    mac: u32,
}

const HEADERS: [Header; 3] = [
    Header { bytes: 32, status: 0, len: 8, caught: 12, mac: 16 },
    Header { bytes: 32, status: 0, len: 4, caught: 8, mac: 12 },
    Header { bytes: 48, status: 20, len: 16, caught: 12, mac: 24 },
];
/// In `struct tpacket3_hdr`: distance to the next packet of the block; seconds and nanoseconds.
const NEXT: u32 = 0;
const TIME: u32 = 4;

/// `struct tpacket_block_desc`.
const BLOCK_HEADER_BYTES: u32 = 48;
const BLOCK_STATUS: u32 = 8;
const BLOCK_PACKETS: u32 = 12;
const BLOCK_FIRST: u32 = 16;
const BLOCK_LEN: u32 = 20;
const BLOCK_LAST_TIME: u32 = 40;

/// One ring, of sound sizes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// From the beginning of the mapping.
    start: usize,
    block_bytes: usize,
    blocks: u32,
    frame_bytes: usize,
    frames: u32,
    header: Header,
    /// Is it received by the block?
    by_block: bool,
}

impl Shape {
    /// Both rings of a socket.
    ///
    /// # Errors
    /// What is wrong with them.
    fn both(version: u32, rx: Option<&PacketRing>, tx: Option<&PacketRing>) -> Result<[Option<Shape>; 2], String> {
        let total = mapping_bytes(rx, tx);
        if total > MAX_BYTES {
            return Err(format!("rings of {total} bytes; at most {MAX_BYTES} are saved"));
        }
        let shape = |r: &PacketRing, start, by_block| Shape::of(version, r, start, by_block);
        let rx_shape = rx.map(|r| shape(r, 0, version == 2)).transpose()?;
        Ok([rx_shape, tx.map(|r| shape(r, mapping_bytes(rx, None), false)).transpose()?])
    }

    fn of(version: u32, ring: &PacketRing, start: u64, by_block: bool) -> Result<Shape, String> {
        let Some(header) = HEADERS.get(version as usize).copied() else {
            return Err(format!("rings of version {version}"));
        };
        let per_block = ring.block_size.checked_div(ring.frame_size).unwrap_or(0);
        let is_sound = ring.block_size.is_multiple_of(4096)
            && ring.frame_size.is_multiple_of(16)
            && ring.frame_size >= header.bytes + ADDRESS_BYTES
            && (ring.block_size > BLOCK_HEADER_BYTES && ring.block_nr > 0)
            && per_block.checked_mul(ring.block_nr) == Some(ring.frame_nr);
        if !is_sound {
            return Err(format!(
                "a ring of {} blocks of {} bytes and {} frames of {}",
                ring.block_nr, ring.block_size, ring.frame_nr, ring.frame_size
            ));
        }
        Ok(Shape {
            start: start as usize,
            block_bytes: ring.block_size as usize,
            blocks: ring.block_nr,
            frame_bytes: ring.frame_size as usize,
            frames: ring.frame_nr,
            header,
            by_block,
        })
    }

    fn bytes(&self) -> usize {
        self.block_bytes * self.blocks as usize
    }

    /// How many there are of what has a status.
    fn slots(&self) -> u32 {
        if self.by_block { self.blocks } else { self.frames }
    }

    fn slot_bytes(&self) -> usize {
        if self.by_block { self.block_bytes } else { self.frame_bytes }
    }

    /// Where a frame or a block begins.
    fn slot(&self, n: u32) -> usize {
        if self.by_block {
            return self.start + self.block_bytes * n as usize;
        }
        let per_block = (self.block_bytes / self.frame_bytes) as u32;
        self.start + self.block_bytes * (n / per_block) as usize + self.frame_bytes * (n % per_block) as usize
    }

    /// Where its status is.
    fn status(&self, n: u32) -> usize {
        self.slot(n) + if self.by_block { BLOCK_STATUS } else { self.header.status } as usize
    }
}

/// How long a mapping of these rings is, which shows all of them.
pub(super) fn mapping_bytes(rx: Option<&PacketRing>, tx: Option<&PacketRing>) -> u64 {
    let bytes = |r: &PacketRing| u64::from(r.block_size) * u64::from(r.block_nr);
    [rx, tx].into_iter().flatten().map(bytes).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let ring = |block_size, block_nr, frame_size, frame_nr| PacketRing {
            block_size,
            block_nr,
            frame_size,
            frame_nr,
            ..PacketRing::default()
        };
        let two = [ring(8192, 4, 3072, 8), ring(4096, 2, 2048, 4)];
        let [rx, tx] = Shape::both(1, Some(&two[0]), Some(&two[1])).unwrap().map(Option::unwrap);
        assert_eq!([rx.slot(0), rx.slot(1), rx.slot(2), rx.slot(7)], [0, 3072, 8192, 3 * 8192 + 3072]);
        assert_eq!((tx.slot(0), tx.status(3), tx.slots()), (4 * 8192, 4 * 8192 + 4096 + 2048, 4));
        let blocks = Shape::both(2, Some(&two[0]), None).unwrap()[0].unwrap();
        assert_eq!((blocks.slots(), blocks.status(3)), (4, 3 * 8192 + 8));
        for wrong in [
            ring(0, 4, 3072, 8),
            ring(8192, 4, 0, 8),
            ring(8192, 4, 3072, 9),
            ring(8192, 0, 3072, 0),
            ring(100, 1, 64, 1),
        ] {
            assert!(Shape::both(1, Some(&wrong), None).is_err(), "{wrong:?}");
        }
        assert!(Shape::both(1, Some(&ring(1 << 30, 1 << 20, 1 << 20, 1 << 30)), None).is_err());
        assert!(Shape::both(3, Some(&two[0]), None).is_err());
    }
}
