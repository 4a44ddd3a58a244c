//! From bytes, which may be any, to a C struct; and freeing it.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use super::layout::{
    Allocator, FieldDescriptor, Label, MAX_FIELDS, MessageDescriptor, ProtobufCMessage, Type, UnknownField,
};
use super::wire::{BYTES, Member, Members};

/// Longer input is refused, as protobuf does.
const MAX_BYTES: usize = i32::MAX as usize;

/// Writes the message's defaults: zero where the descriptor has none.
///
/// # Safety
/// `message` is NULL or has room for a struct of this kind.
pub(super) unsafe fn init(message: *mut u8, kind: &'static MessageDescriptor) {
    if message.is_null() {
        return;
    }
    // SAFETY: has room for the struct, for which zero is a valid value; offsets are inside; defaults have four bytes.
    unsafe {
        message.write_bytes(0, kind.size_bytes());
        (*message.cast::<ProtobufCMessage>()).descriptor = kind;
        for field in kind.fields().iter().filter(|f| !f.default_value.is_null()) {
            message.add(field.offset as usize).cast::<u32>().write(field.default_value.cast::<u32>().read());
        }
    }
}

/// A new message from `len` bytes at `data`; NULL if they are not one or memory is short.
///
/// # Safety
/// `allocator` is NULL or valid, and so is `data`, for `len` bytes.
pub(super) unsafe fn unpack(
    kind: &'static MessageDescriptor,
    allocator: *mut Allocator,
    len: usize,
    data: *const u8,
) -> *mut u8 {
    if len > MAX_BYTES || (data.is_null() && len > 0) {
        return ptr::null_mut();
    }
    // SAFETY: not NULL, so valid for `len` bytes.
    let bytes = if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    let memory = Memory { allocator };
    // SAFETY: the message is fresh, or freed with all that was put into it.
    unsafe {
        let Some(message) = memory.message(kind) else { return ptr::null_mut() };
        if memory.merge(message, kind, bytes).is_none() {
            memory.release(message, kind);
            return ptr::null_mut();
        }
        message
    }
}

/// Frees what `unpack` returned; nothing if it is NULL or another kind of message.
///
/// # Safety
/// `message` is NULL or comes from `unpack` with an equal allocator; strings and messages put into it since then do too.
pub(super) unsafe fn free(message: *mut u8, kind: &'static MessageDescriptor, allocator: *mut Allocator) {
    if message.is_null() {
        return;
    }
    // SAFETY: every message begins with this; its descriptor is NULL or valid.
    unsafe {
        if (*message.cast::<ProtobufCMessage>()).descriptor.as_ref().is_some_and(|d| d.is(kind)) {
            Memory { allocator }.release(message, kind);
        }
    }
}

/// Where memory comes from: the caller's allocator, or malloc for NULL.
struct Memory {
    allocator: *mut Allocator,
}

/// All functions need: messages are structs of the given kind made by `message`, `allocator` is NULL or valid.
impl Memory {
    unsafe fn alloc(&self, size: usize) -> Option<*mut u8> {
        // SAFETY: the allocator is NULL or valid.
        let new = unsafe {
            match self.allocator.as_ref() {
                None => libc::malloc(size),
                Some(a) => a.alloc?(a.allocator_data, size),
            }
        };
        (!new.is_null()).then_some(new.cast())
    }

    unsafe fn free(&self, at: *mut u8) {
        if at.is_null() {
            return;
        }
        // SAFETY: comes from `alloc`, and nothing uses it any more.
        unsafe {
            match self.allocator.as_ref() {
                None => libc::free(at.cast()),
                Some(Allocator { free: Some(free), allocator_data, .. }) => free(*allocator_data, at.cast::<c_void>()),
                Some(_) => (),
            }
        }
    }

    unsafe fn copy(&self, bytes: &[u8], terminator: bool) -> Option<*mut u8> {
        // SAFETY: the new block has a byte more if a terminator goes there; it is never empty.
        unsafe {
            let new = self.alloc((bytes.len() + usize::from(terminator)).max(1))?;
            new.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            if terminator {
                new.add(bytes.len()).write(0);
            }
            Some(new)
        }
    }

    unsafe fn message(&self, kind: &'static MessageDescriptor) -> Option<*mut u8> {
        // SAFETY: as large as the struct.
        unsafe {
            let new = self.alloc(kind.size_bytes())?;
            init(new, kind);
            Some(new)
        }
    }

    /// Makes room for `more` items of type T after the `used` ones of the array that `slot` holds.
    unsafe fn grow<T>(&self, slot: *mut *mut T, used: usize, more: usize) -> Option<()> {
        let size = used.checked_add(more)?.checked_mul(size_of::<T>())?;
        // SAFETY: the old array, which came from `alloc`, has `used` items.
        unsafe {
            let new: *mut T = self.alloc(size)?.cast();
            let old = slot.read();
            if used > 0 {
                new.copy_from_nonoverlapping(old, used);
            }
            self.free(old.cast());
            slot.write(new);
        }
        Some(())
    }

    /// Adds what the bytes say to the message, which stays one that can be released whatever happens.
    unsafe fn merge(&self, message: *mut u8, kind: &'static MessageDescriptor, bytes: &[u8]) -> Option<()> {
        let mut counts = [0; MAX_FIELDS];
        let mut unknown = 0;
        for member in Members(bytes) {
            match kind.position(member.ok()?.id) {
                Some(i) => counts[i] += 1,
                None => unknown += 1,
            }
        }
        for (field, &count) in kind.fields().iter().zip(&counts) {
            match field.label {
                Label::Required if count == 0 && field.default_value.is_null() => return None,
                Label::Repeated if count > 0 => {
                    // SAFETY: a repeated field is an array of pointers with its length at the quantifier.
                    unsafe {
                        let used = message.add(field.quantifier_offset as usize).cast::<usize>().read();
                        self.grow(message.add(field.offset as usize).cast::<*mut *mut u8>(), used, count)?;
                    }
                }
                _ => (),
            }
        }
        // SAFETY: every message begins with this; the arrays have room for all that was counted.
        unsafe {
            if unknown > 0 {
                let base = &mut *message.cast::<ProtobufCMessage>();
                self.grow(&mut base.unknown_fields, base.n_unknown_fields as usize, unknown)?;
            }
            for member in Members(bytes) {
                let member = member.ok()?;
                match kind.position(member.id) {
                    Some(i) => self.store(message, &kind.fields()[i], &member)?,
                    None => self.keep(message, &member)?,
                }
            }
        }
        Some(())
    }

    /// Stores a field that the message has; there is room in its array if it is repeated.
    unsafe fn store(&self, message: *mut u8, field: &FieldDescriptor, member: &Member<'_>) -> Option<()> {
        // SAFETY: offsets are those of the struct; numbers have the width of their type.
        unsafe {
            let at = message.add(field.offset as usize);
            let quantifier = message.add(field.quantifier_offset as usize);
            match field.kind {
                Type::String | Type::Message if field.label == Label::Repeated => {
                    let n = quantifier.cast::<usize>();
                    let slot = at.cast::<*mut *mut u8>().read().add(n.read());
                    slot.write(ptr::null_mut());
                    n.write(n.read() + 1);
                    return self.store_pointer(slot, field, member);
                }
                Type::String | Type::Message => return self.store_pointer(at.cast(), field, member),
                Type::Int32 | Type::Enum | Type::Uint32 => at.cast::<u32>().write(member.number()? as u32),
                Type::Uint64 => at.cast::<u64>().write(member.number()?),
                Type::Bool => at.cast::<c_int>().write((member.number()? != 0).into()),
            }
            if field.label == Label::Optional {
                quantifier.cast::<c_int>().write(1);
            }
        }
        Some(())
    }

    /// Stores a string in place of the one before, or adds to the message before.
    unsafe fn store_pointer(&self, slot: *mut *mut u8, field: &FieldDescriptor, member: &Member<'_>) -> Option<()> {
        if member.wire_type != BYTES {
            return None;
        }
        // SAFETY: the slot is NULL or holds what this function put there.
        unsafe {
            if field.kind == Type::String {
                let new = self.copy(member.content, true)?;
                self.free(slot.replace(new));
                return Some(());
            }
            let kind = &*field.descriptor.cast::<MessageDescriptor>();
            if slot.read().is_null() {
                slot.write(self.message(kind)?);
            }
            self.merge(slot.read(), kind, member.content)
        }
    }

    /// Keeps a field that the message does not know; there is room in the array.
    unsafe fn keep(&self, message: *mut u8, member: &Member<'_>) -> Option<()> {
        // SAFETY: every message begins with this.
        unsafe {
            let base = &mut *message.cast::<ProtobufCMessage>();
            let data = self.copy(member.raw, false)?;
            let unknown = UnknownField { tag: member.id, wire_type: member.wire_type, len: member.raw.len(), data };
            base.unknown_fields.add(base.n_unknown_fields as usize).write(unknown);
            base.n_unknown_fields += 1 as c_uint;
        }
        Some(())
    }

    unsafe fn release(&self, message: *mut u8, kind: &MessageDescriptor) {
        // SAFETY: offsets are those of the struct; arrays have as many items as their quantifier says.
        unsafe {
            for field in kind.fields().iter().filter(|f| matches!(f.kind, Type::String | Type::Message)) {
                let at = message.add(field.offset as usize);
                if field.label == Label::Repeated {
                    let items = at.cast::<*mut *mut u8>().read();
                    for i in 0..message.add(field.quantifier_offset as usize).cast::<usize>().read() {
                        self.release_pointer(items.add(i).read(), field);
                    }
                    self.free(items.cast());
                } else {
                    self.release_pointer(at.cast::<*mut u8>().read(), field);
                }
            }
            let base = &*message.cast::<ProtobufCMessage>();
            for i in 0..base.n_unknown_fields as usize {
                self.free((*base.unknown_fields.add(i)).data);
            }
            self.free(base.unknown_fields.cast());
            self.free(message);
        }
    }

    unsafe fn release_pointer(&self, at: *mut u8, field: &FieldDescriptor) {
        // SAFETY: a string, or a message of the field's kind, or NULL.
        unsafe {
            match field.kind {
                Type::Message if !at.is_null() => self.release(at, &*field.descriptor.cast::<MessageDescriptor>()),
                _ => self.free(at),
            }
        }
    }
}
