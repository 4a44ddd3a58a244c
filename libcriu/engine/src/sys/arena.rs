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
plain!(abi::SigInfo, abi::Limit, abi::Filter);

/// Collects values for one place in memory.
#[derive(Debug)]
pub struct Arena {
    base: u64,
    bytes: Vec<u8>,
}

impl Arena {
    /// What is pushed will stand from `base` (a page) on.
    pub fn new(base: u64) -> Arena {
        Arena { base, bytes: Vec::new() }
    }

    /// Appends values; the table says where they will be.
    pub fn push<T: Plain>(&mut self, values: &[T]) -> Table {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let address = self.base + self.bytes.len() as u64;
        // SAFETY: `Plain` values are readable as bytes; the slice lives through the copy.
        let raw = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        self.bytes.extend_from_slice(raw);
        Table { address, count: values.len() as u64 }
    }

    /// Appends the restorer's arguments; returns their address.
    pub fn push_args(&mut self, args: &abi::Args) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(64), 0);
        let address = self.base + self.bytes.len() as u64;
        // SAFETY: repr(C), integers and atomics that nobody else uses yet.
        let raw = unsafe { std::slice::from_raw_parts((&raw const *args).cast::<u8>(), size_of::<abi::Args>()) };
        self.bytes.extend_from_slice(raw);
        address
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
