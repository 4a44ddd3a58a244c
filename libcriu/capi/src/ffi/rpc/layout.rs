//! The structs of protobuf-c 1.4: messages, and the descriptors that tell how each is laid out.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

/// Fields that one message can have.
pub(super) const MAX_FIELDS: usize = 128;

/// The head of every message.
#[repr(C)]
pub struct ProtobufCMessage {
    pub descriptor: *const MessageDescriptor,
    pub n_unknown_fields: c_uint,
    pub unknown_fields: *mut UnknownField,
}

/// A field that no descriptor knows, kept as it came; `data` begins with the length if the wire type has one.
#[repr(C)]
pub struct UnknownField {
    pub tag: u32,
    pub wire_type: c_uint,
    pub len: usize,
    pub data: *mut u8,
}

#[repr(C)]
pub struct Allocator {
    pub alloc: Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void>,
    pub free: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub allocator_data: *mut c_void,
}

#[repr(C)]
pub struct Buffer {
    pub append: Option<unsafe extern "C" fn(*mut Buffer, usize, *const u8)>,
}

#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Required = 0,
    Optional = 1,
    Repeated = 2,
}

/// Those of protobuf-c's types that rpc.proto uses, by its numbers.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int32 = 0,
    Uint32 = 6,
    Uint64 = 8,
    Bool = 12,
    Enum = 13,
    String = 14,
    Message = 16,
}

#[repr(C)]
pub struct FieldDescriptor {
    pub name: *const c_char,
    pub id: u32,
    pub label: Label,
    pub kind: Type,
    /// Where has_x (an int) or n_x (a size_t) is; 0 without one.
    pub quantifier_offset: c_uint,
    pub offset: c_uint,
    pub descriptor: *const c_void,
    /// A number of four bytes; NULL for zero.
    pub default_value: *const c_void,
    flags: u32,
    reserved_flags: c_uint,
    reserved: [*const c_void; 2],
}

impl FieldDescriptor {
    pub(super) const fn new(name: &'static CStr, id: u32, label: Label, kind: Type, offset: usize) -> Self {
        FieldDescriptor {
            name: name.as_ptr(),
            id,
            label,
            kind,
            quantifier_offset: 0,
            offset: offset as c_uint,
            descriptor: ptr::null(),
            default_value: ptr::null(),
            flags: 0,
            reserved_flags: 0,
            reserved: [ptr::null(); 2],
        }
    }

    /// With a has_x or n_x.
    pub(super) const fn counted(mut self, offset: usize) -> Self {
        self.quantifier_offset = offset as c_uint;
        self
    }

    /// Of an enum or message.
    pub(super) const fn of<D>(mut self, descriptor: *const D) -> Self {
        self.descriptor = descriptor.cast();
        self
    }

    /// With a default value: an i32, u32 or enum.
    pub(super) const fn or<V>(mut self, value: &'static V) -> Self {
        const { assert!(size_of::<V>() == 4) };
        self.default_value = ptr::from_ref(value).cast();
        self
    }
}

#[repr(C)]
pub struct IntRange {
    pub start_value: c_int,
    pub orig_index: c_uint,
}

#[repr(C)]
pub struct MessageDescriptor {
    magic: u32,
    name: *const c_char,
    short_name: *const c_char,
    c_name: *const c_char,
    package_name: *const c_char,
    sizeof_message: usize,
    n_fields: c_uint,
    fields: *const FieldDescriptor,
    fields_sorted_by_name: *const c_uint,
    n_field_ranges: c_uint,
    field_ranges: *const IntRange,
    message_init: *const c_void,
    reserved: [*const c_void; 3],
}

impl MessageDescriptor {
    /// `M` is the struct that the fields are offsets in; `ranges` ends with one that counts the fields.
    pub(super) const fn new<M, const N: usize>(
        names: (&'static CStr, &'static CStr),
        fields: &'static [FieldDescriptor; N],
        by_name: &'static [c_uint; N],
        ranges: &'static [IntRange],
        init: unsafe extern "C" fn(*mut M),
    ) -> Self {
        const { assert!(N > 0 && N <= MAX_FIELDS) };
        MessageDescriptor {
            magic: 0x28aa_eef9,
            name: names.0.as_ptr(),
            short_name: names.1.as_ptr(),
            c_name: names.1.as_ptr(),
            package_name: c"".as_ptr(),
            sizeof_message: size_of::<M>(),
            n_fields: N as c_uint,
            fields: fields.as_ptr(),
            fields_sorted_by_name: by_name.as_ptr(),
            n_field_ranges: ranges.len() as c_uint - 1,
            field_ranges: ranges.as_ptr(),
            message_init: init as *const c_void,
            reserved: [ptr::null(); 3],
        }
    }

    pub(super) fn fields(&self) -> &'static [FieldDescriptor] {
        // SAFETY: `new`, the only way to make one, took both from a static array.
        unsafe { std::slice::from_raw_parts(self.fields, self.n_fields as usize) }
    }

    /// Which of the fields has this number.
    pub(super) fn position(&self, id: u32) -> Option<usize> {
        self.fields().binary_search_by_key(&id, |f| f.id).ok()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.sizeof_message
    }

    /// Whether both describe the same message: a program may hold a copy of the descriptor (R_X86_64_COPY).
    pub(super) fn is(&self, other: &MessageDescriptor) -> bool {
        ptr::eq(self.fields, other.fields)
    }
}

#[repr(C)]
pub struct EnumValue {
    name: *const c_char,
    c_name: *const c_char,
    value: c_int,
}

impl EnumValue {
    pub(super) const fn new(name: &'static CStr, c_name: &'static CStr, value: c_int) -> Self {
        EnumValue { name: name.as_ptr(), c_name: c_name.as_ptr(), value }
    }
}

#[repr(C)]
pub struct EnumValueIndex {
    name: *const c_char,
    index: c_uint,
}

impl EnumValueIndex {
    pub(super) const fn new(name: &'static CStr, index: c_uint) -> Self {
        EnumValueIndex { name: name.as_ptr(), index }
    }
}

#[repr(C)]
pub struct EnumDescriptor {
    magic: u32,
    name: *const c_char,
    short_name: *const c_char,
    c_name: *const c_char,
    package_name: *const c_char,
    n_values: c_uint,
    values: *const EnumValue,
    n_value_names: c_uint,
    values_by_name: *const EnumValueIndex,
    n_value_ranges: c_uint,
    value_ranges: *const IntRange,
    reserved: [*const c_void; 4],
}

impl EnumDescriptor {
    /// `ranges` ends with one that counts the values.
    pub(super) const fn new(
        names: (&'static CStr, &'static CStr),
        values: &'static [EnumValue],
        by_name: &'static [EnumValueIndex],
        ranges: &'static [IntRange],
    ) -> Self {
        EnumDescriptor {
            magic: 0x1143_15af,
            name: names.0.as_ptr(),
            short_name: names.0.as_ptr(),
            c_name: names.1.as_ptr(),
            package_name: c"".as_ptr(),
            n_values: values.len() as c_uint,
            values: values.as_ptr(),
            n_value_names: by_name.len() as c_uint,
            values_by_name: by_name.as_ptr(),
            n_value_ranges: ranges.len() as c_uint - 1,
            value_ranges: ranges.as_ptr(),
            reserved: [ptr::null(); 4],
        }
    }
}

// SAFETY: these point to constants and statics only, and nothing writes to them.
unsafe impl Sync for FieldDescriptor {}
// SAFETY: as above.
unsafe impl Sync for MessageDescriptor {}
// SAFETY: as above.
unsafe impl Sync for EnumValue {}
// SAFETY: as above.
unsafe impl Sync for EnumValueIndex {}
// SAFETY: as above.
unsafe impl Sync for EnumDescriptor {}
