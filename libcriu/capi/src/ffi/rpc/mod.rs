//! rpc.proto as protobuf-c has it: for each message a C struct, functions and a descriptor, declared in `rpc.pb-c.h`.
//!
//! `messages` is generated, with that header, by the test `headers`; it holds structs and tables. `pack` and `unpack` work
//! on any of them.

mod layout;
#[rustfmt::skip]
mod messages;
mod pack;
mod unpack;
mod wire;

pub(crate) use layout::ProtobufCMessage;
pub(crate) use messages::{CriuNotify, criu_notify__descriptor};

/// The fields and the functions of one message.
macro_rules! message {
    ($type:ident $c_name:literal $name:literal
     $descriptor:ident $init:ident $size:ident $pack:ident $buffer:ident $unpack:ident $free:ident
     [$($field:expr,)*] by name [$($index:literal),*] ranges [$($start:literal: $first:literal),*]) => {
        #[unsafe(no_mangle)]
        pub static $descriptor: MessageDescriptor = {
            const N: usize = [$($index),*].len();
            static FIELDS: [FieldDescriptor; N] = [$($field),*];
            static BY_NAME: [c_uint; N] = [$($index),*];
            static RANGES: &[IntRange] = &[$(IntRange { start_value: $start, orig_index: $first }),*];
            MessageDescriptor::new::<$type, N>(($name, $c_name), &FIELDS, &BY_NAME, RANGES, $init)
        };

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $init(message: *mut $type) {
            // SAFETY: the interface asks for room for the struct.
            unsafe { unpack::init(message.cast(), &$descriptor) }
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $size(message: *const $type) -> usize {
            // SAFETY: the interface asks for an initialized message.
            guard(|| 0, || unsafe { pack::packed_size(message.cast(), &$descriptor) })
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $pack(message: *const $type, out: *mut u8) -> usize {
            // SAFETY: the interface asks for an initialized message and for room.
            guard(|| 0, || unsafe { pack::pack(message.cast(), &$descriptor, out) })
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $buffer(message: *const $type, buffer: *mut Buffer) -> usize {
            // SAFETY: the interface asks for an initialized message and a valid buffer.
            guard(|| 0, || unsafe { pack::pack_to_buffer(message.cast(), &$descriptor, buffer) })
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $unpack(allocator: *mut Allocator, len: usize, data: *const u8) -> *mut $type {
            // SAFETY: the interface asks for `len` bytes, and for NULL or a valid allocator.
            guard(ptr::null_mut, || unsafe { unpack::unpack(&$descriptor, allocator, len, data).cast() })
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $free(message: *mut $type, allocator: *mut Allocator) {
            // SAFETY: the interface asks for a message that was unpacked with this allocator.
            guard(|| (), || unsafe { unpack::free(message.cast(), &$descriptor, allocator) })
        }
    };
}
use message;

/// The values of one enum.
macro_rules! enumeration {
    ($descriptor:ident $c_name:literal $name:literal
     [$($value:literal $c_value:literal = $number:literal,)*] by name [$($by:literal: $index:literal),*]
     ranges [$($start:literal: $first:literal),*]) => {
        #[unsafe(no_mangle)]
        pub static $descriptor: EnumDescriptor = {
            static VALUES: &[EnumValue] = &[$(EnumValue::new($value, $c_value, $number)),*];
            static BY_NAME: &[EnumValueIndex] = &[$(EnumValueIndex::new($by, $index)),*];
            static RANGES: &[IntRange] = &[$(IntRange { start_value: $start, orig_index: $first }),*];
            EnumDescriptor::new(($name, $c_name), VALUES, BY_NAME, RANGES)
        };
    };
}
use enumeration;
