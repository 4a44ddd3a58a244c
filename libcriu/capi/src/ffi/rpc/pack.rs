//! From a C struct to bytes, field by field as its descriptor says.

use std::ffi::{CStr, c_char, c_int};

use super::layout::{Buffer, FieldDescriptor, Label, MessageDescriptor, ProtobufCMessage, Type};
use super::wire::{BYTES, VARINT, put_varint};

/// Takes the bytes in order.
type Sink<'a> = &'a mut dyn FnMut(&[u8]);

/// How many bytes the message takes; 0 also when it, or one in it, has not been initialized.
///
/// # Safety
/// `message` is NULL or leads to a struct of this kind, whose pointers are NULL or valid.
pub(super) unsafe fn packed_size(message: *const u8, kind: &MessageDescriptor) -> usize {
    // SAFETY: as the caller promises.
    unsafe { fields(message, kind, &mut |_| ()) }.unwrap_or(0)
}

/// Writes the message to `out`, which has room for `packed_size`, and returns that.
///
/// # Safety
/// As for `packed_size`; `out` is NULL or has the room.
pub(super) unsafe fn pack(message: *const u8, kind: &MessageDescriptor, out: *mut u8) -> usize {
    // SAFETY: as the caller promises.
    let size = unsafe { packed_size(message, kind) };
    if size == 0 || out.is_null() {
        return 0;
    }
    let mut at = 0;
    let mut write = |bytes: &[u8]| {
        // SAFETY: the pieces together are `size` bytes, since the message is the same as when that was counted.
        unsafe { out.add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        at += bytes.len();
    };
    // SAFETY: as the caller promises.
    unsafe { fields(message, kind, &mut write) }.unwrap_or(0)
}

/// Gives the message to `buffer` piece by piece; returns how many bytes these are.
///
/// # Safety
/// As for `packed_size`; `buffer` is NULL or valid.
pub(super) unsafe fn pack_to_buffer(message: *const u8, kind: &MessageDescriptor, buffer: *mut Buffer) -> usize {
    // SAFETY: as the caller promises.
    let size = unsafe { packed_size(message, kind) };
    if size == 0 || buffer.is_null() {
        return 0;
    }
    // SAFETY: not NULL, so valid.
    let Some(append) = (unsafe { (*buffer).append }) else { return 0 };
    // SAFETY: the buffer's own function.
    let mut write = |bytes: &[u8]| unsafe { append(buffer, bytes.len(), bytes.as_ptr()) };
    // SAFETY: as the caller promises.
    unsafe { fields(message, kind, &mut write) }.unwrap_or(0)
}

/// # Safety
/// As for `packed_size`.
unsafe fn fields(message: *const u8, kind: &MessageDescriptor, sink: Sink<'_>) -> Option<usize> {
    if message.is_null() {
        return None;
    }
    // SAFETY: every message begins with this; its descriptor is NULL or valid.
    let base = unsafe { &*message.cast::<ProtobufCMessage>() };
    // SAFETY: as above.
    if !unsafe { base.descriptor.as_ref() }.is_some_and(|d| d.is(kind)) {
        return None;
    }
    let mut size = 0;
    for field in kind.fields() {
        // SAFETY: the descriptor's offsets are those of the struct.
        size += unsafe { one(message, field, sink) }?;
    }
    for i in 0..base.n_unknown_fields as usize {
        // SAFETY: there are that many, each with `len` bytes of data.
        let unknown = unsafe { &*base.unknown_fields.add(i) };
        size += put_tag(unknown.tag, unknown.wire_type, sink);
        if unknown.len > 0 {
            // SAFETY: as above.
            sink(unsafe { std::slice::from_raw_parts(unknown.data, unknown.len) });
            size += unknown.len;
        }
    }
    Some(size)
}

/// # Safety
/// `message` leads to a struct that has the field.
unsafe fn one(message: *const u8, field: &FieldDescriptor, sink: Sink<'_>) -> Option<usize> {
    // SAFETY: offsets of that struct; the quantifier is there for repeated fields and optional numbers.
    unsafe {
        let at = message.add(field.offset as usize);
        let quantifier = message.add(field.quantifier_offset as usize);
        let pointer = matches!(field.kind, Type::String | Type::Message);
        match field.label {
            Label::Repeated => {
                let items = at.cast::<*const *const u8>().read();
                let mut size = 0;
                for i in 0..quantifier.cast::<usize>().read() {
                    size += value(items.add(i).cast(), field, sink)?;
                }
                Some(size)
            }
            Label::Optional if pointer && at.cast::<*const u8>().read().is_null() => Some(0),
            Label::Optional if !pointer && quantifier.cast::<c_int>().read() == 0 => Some(0),
            Label::Optional | Label::Required => value(at, field, sink),
        }
    }
}

/// # Safety
/// `at` leads to a value of the field's type.
unsafe fn value(at: *const u8, field: &FieldDescriptor, sink: Sink<'_>) -> Option<usize> {
    // SAFETY: of that type; a string is NULL or terminated, a message NULL or of the field's kind.
    unsafe {
        let number = match field.kind {
            Type::Int32 | Type::Enum => i64::from(at.cast::<i32>().read()) as u64,
            Type::Uint32 => at.cast::<u32>().read().into(),
            Type::Uint64 => at.cast::<u64>().read(),
            Type::Bool => (at.cast::<c_int>().read() != 0).into(),
            Type::String => {
                let string = at.cast::<*const c_char>().read();
                let bytes = if string.is_null() { &[] } else { CStr::from_ptr(string).to_bytes() };
                let size = put_tag(field.id, BYTES, sink) + put_varint(bytes.len() as u64, sink);
                if !bytes.is_empty() {
                    sink(bytes);
                }
                return Some(size + bytes.len());
            }
            Type::Message => {
                let message = at.cast::<*const u8>().read();
                let kind = &*field.descriptor.cast::<MessageDescriptor>();
                if message.is_null() {
                    return Some(put_tag(field.id, BYTES, sink) + put_varint(0, sink));
                }
                let len = fields(message, kind, &mut |_| ())?;
                let size = put_tag(field.id, BYTES, sink) + put_varint(len as u64, sink);
                return Some(size + fields(message, kind, sink)?);
            }
        };
        Some(put_tag(field.id, VARINT, sink) + put_varint(number, sink))
    }
}

fn put_tag(id: u32, wire_type: u32, sink: Sink<'_>) -> usize {
    put_varint(u64::from(id) << 3 | u64::from(wire_type), sink)
}
