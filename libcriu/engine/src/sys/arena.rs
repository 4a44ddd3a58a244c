//! Bytes of plain values that will stand at an address chosen later, referred to by [`Table`]s.

use criu_pie::abi::restorer::{self as abi, Table};

/// A type whose values may be copied as bytes into another program's memory.
///
/// # Safety
/// `repr(C)` or primitive, without padding that matters, references or Rust pointers.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($t:ty),*) => { $(
        // SAFETY: declared repr(C) in the shared interface, or a number; integers and arrays of them only.
        unsafe impl Plain for $t {}
    )* };
}
plain!(u8, u32, i32, u64, abi::Range, abi::Move, abi::Thread, abi::SignalAction, abi::IntervalTimer, abi::PosixTimer);
plain!(abi::SigInfo, abi::Limit, abi::Filter, abi::Call, abi::Load, abi::Twin, abi::Uring, abi::UringBuffers);

/// Collects values for one place in memory.
#[derive(Debug)]
pub struct Arena {
    base: u64,
    len: usize,
    /// None when only the length matters.
    bytes: Option<Vec<u8>>,
}

impl Arena {
    /// What is pushed, `len` bytes in all, will stand from `base` (a page) on.
    pub fn new(base: u64, len: u64) -> Arena {
        Arena { base, len: 0, bytes: Some(Vec::with_capacity(len as usize)) }
    }

    /// Finds out how long it gets.
    pub fn measuring() -> Arena {
        Arena { base: 0, len: 0, bytes: None }
    }

    /// Appends values; the table says where they will be.
    pub fn push<T: Plain>(&mut self, values: &[T]) -> Table {
        // SAFETY: `Plain` values are readable as bytes; the slice lives through the copy.
        let raw = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        Table { address: self.append(raw, 16), count: values.len() as u64 }
    }

    /// Appends [`abi::Gap`]s, none of them filled.
    pub fn push_gaps(&mut self, gaps: &[abi::Range]) -> Table {
        let words: Vec<u64> = gaps.iter().flat_map(|gap| [gap.start, gap.len, 0]).collect();
        Table { count: gaps.len() as u64, ..self.push(&words) }
    }

    /// Appends the restorer's arguments; returns their address.
    pub fn push_args(&mut self, args: &abi::Args) -> u64 {
        // SAFETY: repr(C), integers and atomics that nobody else uses yet.
        let raw = unsafe { std::slice::from_raw_parts((&raw const *args).cast::<u8>(), size_of::<abi::Args>()) };
        self.append(raw, 64)
    }

    fn append(&mut self, raw: &[u8], alignment: usize) -> u64 {
        let at = self.len.next_multiple_of(alignment);
        self.len = at + raw.len();
        if let Some(bytes) = &mut self.bytes {
            bytes.resize(at, 0);
            bytes.extend_from_slice(raw);
        }
        self.base + at as u64
    }

    pub fn length(&self) -> u64 {
        self.len as u64
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}
