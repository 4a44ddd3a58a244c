//! Whether a registered buffer is what its process has at that place still: the kernel keeps the pages, whatever becomes of the
//! mapping.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::record::Record;
use crate::sys::kernel::{Address, Kernel};
use crate::sys::uring::{Params, register_buffers, set_up};
use crate::sys::view::Owned;

const PAGE: u64 = 4096;
/// In a line of pagemap: the number of the page, and whether there is one.
const NUMBER: u64 = (1 << 55) - 1;
const IS_PRESENT: u64 = 1 << 63;
/// Read at once.
const LINES: u64 = 512;

/// The memory of a process.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    kernel: &'a Kernel,
    pagemap: File,
    /// Where it may be written to.
    writable: Vec<Range<u64>>,
    /// A page of this process: its description in the kernel, and its number.
    known: (Address, u64),
}

impl<'a> Memory<'a> {
    pub(super) fn of(kernel: &'a Kernel, pid: i32) -> io::Result<Self> {
        let maps = crate::proc::read_text(format!("/proc/{pid}/maps"))?;
        let mut writable: Vec<Range<u64>> = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            let Some((start, end)) = range.split_once('-') else { continue };
            let number = |text| u64::from_str_radix(text, 16);
            if let (Ok(start), Ok(end), true) = (number(start), number(end), rights.starts_with("rw")) {
                match writable.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => writable.push(start..end),
                }
            }
        }
        let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
        Ok(Memory { kernel, pagemap, writable, known: known_page(kernel)? })
    }

    /// Has the process the pages of the buffer (`struct io_mapped_ubuf`) where it registered them, and may it write there?
    pub(super) fn shows(&self, address: u64, bytes: u64, buffer: Address) -> io::Result<bool> {
        let Some(end) = address.checked_add(bytes) else { return Ok(false) };
        if !self.writable.iter().any(|range| range.start <= address && end <= range.end) {
            return Ok(false);
        }
        let kept = self.kept(buffer)?;
        let mut numbers = Vec::with_capacity(kept.len());
        let (first, end) = (address / PAGE, end.div_ceil(PAGE));
        for at in (first..end).step_by(LINES as usize) {
            let mut lines = vec![0; 8 * LINES.min(end - at) as usize];
            self.pagemap.read_exact_at(&mut lines, 8 * at)?;
            numbers.extend(lines.as_chunks::<8>().0.iter().map(|line| u64::from_le_bytes(*line)));
        }
        // Without the right to see them all numbers are 0.
        let is_it = |(line, kept): (&u64, &u64)| line & IS_PRESENT != 0 && line & NUMBER == *kept && *kept != 0;
        Ok(numbers.len() == kept.len() && numbers.iter().zip(&kept).all(is_it))
    }

    /// The numbers of the pages that the kernel keeps.
    fn kept(&self, buffer: Address) -> io::Result<Vec<u64>> {
        let description_bytes = self.kernel.layouts.bytes("page")? as i64;
        let (known, number) = self.known;
        let mut kept = Vec::new();
        for (page, bytes) in pieces(self.kernel, buffer)? {
            let distance = page.wrapping_sub(known) as i64;
            let first = (number as i64).wrapping_add(distance / description_bytes) as u64;
            kept.extend((0..bytes.div_ceil(PAGE)).map(|n| first.wrapping_add(n)));
        }
        Ok(kept)
    }
}

/// The first page of each piece of a buffer, and its bytes counted from the beginning of that page.
fn pieces(kernel: &Kernel, buffer: Address) -> io::Result<Vec<(Address, u64)>> {
    let (piece, first) = (kernel.layouts.bytes("bio_vec")?, kernel.place(buffer, "io_mapped_ubuf", "bvec")?);
    let member = |name| kernel.layouts.member("bio_vec", name);
    let (page, bytes, offset) = (member("bv_page")?, member("bv_len")?, member("bv_offset")?);
    let mut all = vec![0; piece * kernel.number(buffer, "io_mapped_ubuf", "nr_bvecs")? as usize];
    kernel.read(first, &mut all)?;
    let description_bytes = kernel.layouts.bytes("page")? as u64;
    Ok(all
        .chunks_exact(piece)
        .map(|piece| {
            // It may begin behind its first page.
            let (offset, bytes) = (offset.of(piece), bytes.of(piece));
            (page.of(piece).wrapping_add(offset / PAGE * description_bytes), offset % PAGE + bytes)
        })
        .collect())
}

/// A page that this process has registered with an instance: what the kernel says of it, and what pagemap does.
fn known_page(kernel: &Kernel) -> io::Result<(Address, u64)> {
    let page = Owned::page()?;
    let instance = set_up(&mut Params::new(1, 0, 0))?;
    register_buffers(instance.as_fd(), &page)?;
    let record = Record::of(kernel, instance.as_fd())?;
    let mut pointer = [0; 8];
    kernel.read(record.number("buf_table.nodes")?, &mut pointer)?;
    let buffer = kernel.number(u64::from_le_bytes(pointer), "io_rsrc_node", "buf")?;
    let found = pieces(kernel, buffer)?;
    let mut line = [0; 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut line, page.address() / PAGE * 8)?;
    match found.as_slice() {
        [(at, _)] => Ok((*at, u64::from_le_bytes(line) & NUMBER)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
