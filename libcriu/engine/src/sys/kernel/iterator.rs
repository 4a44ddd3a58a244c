//! BPF iterators: one read tells of all areas of an address space, or of all threads of a process, what /proc would tell
//! file by file, or line by line.
//!
//! The program copies words out of the kernel's structures, each found by the kernel's own description of its types; what a
//! word means is its reader's business.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::btf::Layouts;
use super::{ADD_NUMBER, CALL, EXIT, IF_EQUAL, LOAD, MOVE, MOVE_NUMBER, STORE, STORE_NUMBER, instruction};
use crate::sys::bpf;
use crate::sys::descriptor::adopt;

const LINK_CREATE: i32 = 28;
const ITER_CREATE: i32 = 33;
const PROG_TYPE_TRACING: u32 = 26;
const TRACE_ITER: u32 = 28;

const SHIFT_RIGHT: u8 = 0x77;
const AND_NUMBER: u8 = 0x57;

const PROBE_READ_KERNEL: i32 = 113;
const SEQ_WRITE: i32 = 127;

/// The stack of a program has 512 bytes: a record is written piece by piece.
const PIECE_WORDS: usize = 60;
/// The kernel gives no more at once.
const READ_BYTES: usize = 32 << 10;
/// More than any process has areas or threads.
const MOST_WORDS_READ: usize = 128 << 20;

/// What is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Each {
    /// The areas of a task's address space, by address.
    Area,
    /// The threads of a process.
    Thread,
}

impl Each {
    fn function(self) -> &'static str {
        match self {
            Each::Area => "bpf_iter_task_vma",
            Each::Thread => "bpf_iter_task",
        }
    }

    fn structure(self) -> &'static str {
        match self {
            Each::Area => "vm_area_struct",
            Each::Thread => "task_struct",
        }
    }

    /// Where the program's context has the structure; behind what the iterator is for, the file to write to.
    fn in_context(self) -> i16 {
        match self {
            Each::Area => 16,
            Each::Thread => 8,
        }
    }
}

/// A word of the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// The structure's own address.
    Address,
    /// Up to 8 bytes at this place of the structure.
    At(&'static str),
    /// Up to 8 bytes from this many on; 0 when it is not that long.
    Part(&'static str, usize),
    /// A single bit.
    Bit(&'static str),
    /// As `At`, of what not all kernels have: 0 then.
    Perhaps(&'static str),
    /// Up to 8 bytes at this place of the structure (the middle one names it) that a pointer leads to.
    Behind(&'static str, &'static str, &'static str),
    /// As `Behind`, of what not all kernels have: 0 then.
    PerhapsBehind(&'static str, &'static str, &'static str),
    /// As `Behind`, all bytes: as many words as they take.
    Block(&'static str, &'static str, &'static str),
}

/// A program that goes through something.
#[derive(Debug)]
pub(crate) struct Iterator {
    program: OwnedFd,
    each: Each,
    words: usize,
}

impl Iterator {
    /// # Errors
    /// EPERM without the right; ENOENT: the kernel has no such structure, member or iterator.
    ///
    /// # References
    /// bpf(2), BPF_PROG_LOAD; iterators of Linux 5.8, of one task's areas 6.1
    pub(crate) fn load(layouts: &Layouts, each: Each, words: &[Word]) -> io::Result<Iterator> {
        let places = words.iter().map(|w| Place::of(layouts, each, *w)).collect::<io::Result<Vec<_>>>()?;
        let places: Vec<Place> = places.into_iter().flat_map(Place::in_pieces).collect();
        let function = layouts.function(each.function())?;
        let code = program(each, &places);
        let program = bpf::Program {
            kind: PROG_TYPE_TRACING,
            code: &code,
            attach_type: TRACE_ITER,
            attach_to: function,
            ..bpf::Program::default()
        };
        Ok(Iterator { program: program.load()?, each, words: places.iter().map(Place::words).sum() })
    }

    /// Words of a record.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// All areas of the task `pid`, or all threads of the process `pid`: as many words each as were asked for. The first has to tell
    /// them apart: kernels give the last ones again and again to those who ask for more.
    ///
    /// # Errors
    /// Those of bpf(2) and read(2); E2BIG. Of a task that is gone there is nothing.
    ///
    /// # References
    /// bpf(2), BPF_LINK_CREATE, BPF_ITER_CREATE
    pub(crate) fn read(&self, pid: i32) -> io::Result<Vec<u64>> {
        #[repr(C)]
        struct Link {
            program: u32,
            target: u32,
            attach_type: u32,
            flags: u32,
            info: u64,
            info_bytes: u32,
            pad: u32,
        }
        // Of one thread, of a process, or by a pidfd.
        let info: [u32; 3] = match self.each {
            Each::Area => [pid as u32, 0, 0],
            Each::Thread => [0, pid as u32, 0],
        };
        let mut attr = Link {
            program: self.program.as_raw_fd() as u32,
            target: 0,
            attach_type: TRACE_ITER,
            flags: 0,
            info: info.as_ptr() as u64,
            info_bytes: size_of_val(&info) as u32,
            pad: 0,
        };
        let link = bpf::call(LINK_CREATE, &mut attr).map(adopt)?;
        let file = bpf::call(ITER_CREATE, &mut [link.as_raw_fd() as u32, 0]).map(adopt)?;
        let mut all = Vec::new();
        let mut known = HashSet::new();
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let got = match rustix::io::read(file.as_fd(), &mut bytes) {
                Ok(0) => return Ok(all),
                Ok(got) => got,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                Err(e) => return Err(e.into()),
            };
            let (words, rest) = bytes[..got].as_chunks::<8>();
            if !rest.is_empty() || !words.len().is_multiple_of(self.words) {
                return Err(io::Error::from_raw_os_error(libc::EBADMSG));
            }
            for record in words.chunks(self.words) {
                if !known.insert(record[0]) {
                    return Ok(all);
                }
                if all.len() > MOST_WORDS_READ {
                    return Err(io::Error::from_raw_os_error(libc::E2BIG));
                }
                all.extend(record.iter().map(|w| u64::from_le_bytes(*w)));
            }
        }
    }
}

/// Where a word is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Nowhere,
    Address,
    At { offset: i32, bytes: i32 },
    Bit { offset: i32, bit: i32 },
    Behind { pointer: i32, offset: i32, bytes: i32 },
}

impl Place {
    fn of(layouts: &Layouts, each: Each, word: Word) -> io::Result<Place> {
        let member = |structure, path| {
            let m = layouts.member(structure, path)?;
            if m.bit != 0 || m.bytes == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOENT));
            }
            Ok::<_, io::Error>((m.offset as i32, m.bytes.min(8) as i32))
        };
        Ok(match word {
            Word::Address => Place::Address,
            Word::At(path) => {
                let (offset, bytes) = member(each.structure(), path)?;
                Place::At { offset, bytes }
            }
            Word::Part(path, from) => {
                let m = layouts.member(each.structure(), path)?;
                match m.bytes.saturating_sub(from).min(8) {
                    0 => Place::Nowhere,
                    bytes => Place::At { offset: (m.offset + from) as i32, bytes: bytes as i32 },
                }
            }
            Word::Bit(path) => {
                let m = layouts.member(each.structure(), path)?;
                Place::Bit { offset: m.offset as i32, bit: m.bit.into() }
            }
            Word::Perhaps(path) => match member(each.structure(), path) {
                Ok((offset, bytes)) => Place::At { offset, bytes },
                Err(_) => Place::Nowhere,
            },
            Word::Behind(pointer, structure, path) => {
                let (pointer, _) = member(each.structure(), pointer)?;
                let (offset, bytes) = member(structure, path)?;
                Place::Behind { pointer, offset, bytes }
            }
            Word::PerhapsBehind(pointer, structure, path) => {
                match Place::of(layouts, each, Word::Behind(pointer, structure, path)) {
                    Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Place::Nowhere,
                    other => other?,
                }
            }
            Word::Block(pointer, structure, path) => {
                let (pointer, _) = member(each.structure(), pointer)?;
                let m = layouts.member(structure, path)?;
                Place::Behind { pointer, offset: m.offset as i32, bytes: m.bytes as i32 }
            }
        })
    }

    fn words(&self) -> usize {
        match self {
            Place::Behind { bytes, .. } => (*bytes as usize).div_ceil(8),
            _ => 1,
        }
    }

    /// None of them longer than a piece of a record.
    fn in_pieces(self) -> Vec<Place> {
        const MOST: i32 = 8 * PIECE_WORDS as i32;
        let Place::Behind { pointer, offset, bytes } = self else { return vec![self] };
        let part = |done: i32| Place::Behind { pointer, offset: offset + done, bytes: MOST.min(bytes - done) };
        (0..bytes).step_by(MOST as usize).map(part).collect()
    }
}

/// Copies words to the stack and writes them, piece by piece.
fn program(each: Each, places: &[Place]) -> Vec<u64> {
    let mut code = vec![
        instruction(MOVE, 6, 1, 0, 0),
        // At the end there is none.
        instruction(LOAD, 7, 6, each.in_context(), 0),
    ];
    let mut body = Vec::new();
    let mut rest = places;
    while !rest.is_empty() {
        let mut words = 0;
        let fits = |place: &&Place| {
            words += place.words();
            words <= PIECE_WORDS
        };
        let (some, others) = rest.split_at(rest.iter().take_while(fits).count());
        body.extend(piece(some));
        rest = others;
    }
    code.push(instruction(IF_EQUAL, 7, 0, body.len() as i16, 0));
    code.extend(body);
    code.extend([instruction(MOVE_NUMBER, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

/// r6: the context, r7: the structure.
fn piece(places: &[Place]) -> Vec<u64> {
    let first = -8 * places.iter().map(Place::words).sum::<usize>() as i32;
    let mut body = Vec::new();
    let mut slot = first;
    for place in places {
        let zero = instruction(STORE_NUMBER, 10, 0, slot as i16, 0);
        // bpf_probe_read_kernel: r2 bytes from r3 to r1
        let read = |bytes: i32| {
            [
                instruction(MOVE, 1, 10, 0, 0),
                instruction(ADD_NUMBER, 1, 0, 0, slot),
                instruction(MOVE_NUMBER, 2, 0, 0, bytes),
                instruction(CALL, 0, 0, 0, PROBE_READ_KERNEL),
            ]
        };
        let own = |offset| [instruction(MOVE, 3, 7, 0, 0), instruction(ADD_NUMBER, 3, 0, 0, offset)];
        match *place {
            Place::Nowhere => body.push(zero),
            Place::Address => body.push(instruction(STORE, 10, 7, slot as i16, 0)),
            Place::At { offset, bytes } => {
                body.push(zero);
                body.extend(own(offset));
                body.extend(read(bytes));
            }
            Place::Bit { offset, bit } => {
                body.push(zero);
                body.extend(own(offset));
                body.extend(read(1));
                body.push(instruction(LOAD, 1, 10, slot as i16, 0));
                body.push(instruction(SHIFT_RIGHT, 1, 0, 0, bit));
                body.push(instruction(AND_NUMBER, 1, 0, 0, 1));
                body.push(instruction(STORE, 10, 1, slot as i16, 0));
            }
            Place::Behind { pointer, offset, bytes } => {
                body.push(zero);
                body.extend(own(pointer));
                body.extend(read(8));
                body.push(instruction(LOAD, 3, 10, slot as i16, 0));
                body.push(instruction(ADD_NUMBER, 3, 0, 0, offset));
                body.push(zero);
                if bytes > 8 && bytes % 8 != 0 {
                    body.push(instruction(STORE_NUMBER, 10, 0, (slot + bytes / 8 * 8) as i16, 0));
                }
                body.extend(read(bytes));
            }
        }
        slot += 8 * place.words() as i32;
    }
    // bpf_seq_write: r3 bytes from r2 to the file r1, which the context's first structure begins with
    body.extend([
        instruction(LOAD, 1, 6, 0, 0),
        instruction(LOAD, 1, 1, 0, 0),
        instruction(MOVE, 2, 10, 0, 0),
        instruction(ADD_NUMBER, 2, 0, 0, first),
        instruction(MOVE_NUMBER, 3, 0, 0, -first),
        instruction(CALL, 0, 0, 0, SEQ_WRITE),
    ]);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::trial;

    /// `None` without the right, or in a kernel that does not describe itself.
    fn loaded(each: Each, words: &[Word]) -> Option<Iterator> {
        match Layouts::of_this_kernel().and_then(|l| Iterator::load(l, each, words)) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOENT | libc::EINVAL)) => None,
            other => Some(other.unwrap()),
        }
    }

    #[test]
    fn areas_as_proc_has_them() {
        let Some(areas) = loaded(Each::Area, &[Word::At("vm_start"), Word::At("vm_end")]) else { return };
        // Of a process that stands still.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let seen = || {
            let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            let lines = text.lines().filter(|l| !l.ends_with("[vsyscall]"));
            let numbers = lines.flat_map(|l| {
                let (start, end) = l.split(' ').next().unwrap().split_once('-').unwrap();
                [start, end].map(|n| u64::from_str_radix(n, 16).unwrap())
            });
            numbers.collect::<Vec<u64>>()
        };
        while !std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap().starts_with("230 ") {
            std::thread::yield_now();
        }
        let (told, text) = (areas.read(pid).unwrap(), seen());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told, text);
        assert!(areas.read(pid).is_ok_and(|none| none.is_empty()));
    }

    #[test]
    fn more_than_one_read() {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, mprotect};
        let Some(areas) = loaded(Each::Area, &[Word::At("vm_start"), Word::At("vm_end")]) else { return };
        const PAGES: usize = 6000;
        // In a process whose areas no other test changes.
        let alone = trial::fork(|| {
            // SAFETY: a new mapping at an address of the kernel's choice, which nobody else knows.
            let at = unsafe {
                let at = mmap_anonymous(std::ptr::null_mut(), PAGES << 12, ProtFlags::READ, MapFlags::PRIVATE).unwrap();
                for page in (0..PAGES).step_by(2) {
                    mprotect(at.add(page << 12), 4096, rustix::mm::MprotectFlags::empty()).unwrap();
                }
                at as u64
            };
            let told = areas.read(std::process::id() as i32).unwrap();
            let inside = |a: &&[u64]| a[0] >= at && a[1] <= at + (PAGES << 12) as u64;
            let told: Vec<u64> = told.chunks(2).filter(inside).map(|a| a[0]).collect();
            assert_eq!(told.len(), PAGES);
            assert!(told.is_sorted());
        });
        alone.finish().unwrap();
    }

    #[test]
    fn threads_of_one_process() {
        let words =
            [Word::Address, Word::At("tgid"), Word::Behind("group_leader", "task_struct", "tgid"), Word::At("mm")];
        let Some(threads) = loaded(Each::Thread, &words) else { return };
        // In a process whose threads all stay.
        let alone = trial::fork(|| {
            for _ in 0..2 {
                std::thread::spawn(|| {
                    loop {
                        std::thread::park();
                    }
                });
            }
            let told = threads.read(std::process::id() as i32).unwrap();
            assert_eq!(told.len(), 3 * 4);
            let (first, _) = told.split_first_chunk::<4>().unwrap();
            assert!(first[1] != 0 && first[1] == first[2], "{first:x?}");
            assert!(told.chunks(4).all(|t| t[1..] == first[1..]));
        });
        alone.finish().unwrap();
        assert!(loaded(Each::Thread, &[Word::At("no_such_member")]).is_none());
    }
    #[test]
    fn blocks_longer_than_a_piece() {
        let words = [
            Word::Address,
            Word::Block("signal", "signal_struct", "rlim"),
            Word::Block("sighand", "sighand_struct", "action"),
            Word::PerhapsBehind("signal", "signal_struct", "no_such_member"),
            Word::Behind("signal", "signal_struct", "nr_threads"),
        ];
        let Some(processes) = loaded(Each::Thread, &words) else { return };
        assert_eq!(processes.words(), 1 + 2 * 16 + 4 * 64 + 2);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let told = processes.read(child.id() as i32);
        // Until it is a program of its own it has this one's actions.
        let core = rustix::process::getrlimit(rustix::process::Resource::Core);
        child.kill().unwrap();
        child.wait().unwrap();
        let told = told.unwrap();
        assert_eq!(told.len(), processes.words());
        let limit = |value: Option<u64>| value.unwrap_or(u64::MAX);
        assert_eq!(told[1 + 2 * 4..][..2], [limit(core.current), limit(core.maximum)]);
        assert_eq!(told[told.len() - 2..], [0, 1]);
    }
}
