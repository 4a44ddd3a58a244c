//! rpc.proto as C declarations (`rpc.pb-c.h`), as Rust structs and tables (`ffi/rpc/messages.rs`), and as a C program that
//! compares a compiler's view of the one with the other.

// Each of the test programs that share this uses a part of it.
#![allow(dead_code)]

use std::fmt::Write;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
};

const HEAD: &str = include_str!("../../cbindgen/rpc.pb-c.h");

pub fn rpc() -> FileDescriptor {
    let pool = DescriptorPool::decode(criu_images::DESCRIPTORS).expect("descriptors");
    pool.get_file_by_name("rpc.proto").expect("rpc.proto")
}

/// criu_opts -> CriuOpts
fn camel(name: &str) -> String {
    let word = |w: &str| w[..1].to_uppercase() + &w[1..];
    name.split('_').map(word).collect()
}

fn repeated(field: &FieldDescriptor) -> bool {
    field.cardinality() == Cardinality::Repeated
}

fn is_pointer(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::String | Kind::Message(_))
}

/// Whether there is a has_x or n_x, and its name.
fn quantifier(field: &FieldDescriptor) -> Option<String> {
    assert!(!repeated(field) || is_pointer(field), "{}: repeated numbers are not provided for", field.full_name());
    match field.cardinality() {
        Cardinality::Repeated => Some(format!("n_{}", field.name())),
        Cardinality::Optional if !is_pointer(field) => Some(format!("has_{}", field.name())),
        _ => None,
    }
}

/// The default as a C constant; `explicit` leaves out the one that nobody wrote.
fn default(field: &FieldDescriptor, explicit: bool) -> Option<String> {
    let given = field.field_descriptor_proto().default_value.clone();
    match (field.kind(), given) {
        (Kind::Enum(e), given) => {
            let first = e.values().next().expect("a value");
            assert!(given.is_some() || first.number() == 0, "{}: a default that is not 0", field.full_name());
            let name = given.as_deref().or((!explicit).then_some(first.name()))?;
            Some(format!("{}__{name}", e.name().to_uppercase()))
        }
        (Kind::Int32, Some(value)) => Some(value),
        (Kind::Uint32, Some(value)) => Some(value + "u"),
        (kind, Some(_)) => panic!("{}: a default of {kind:?} is not provided for", field.full_name()),
        (Kind::String | Kind::Message(_), None) => (!explicit).then(|| "NULL".into()),
        (_, None) => (!explicit).then(|| "0".into()),
    }
}

/// One run of numbers: the first, and its position.
fn ranges(numbers: &[i64]) -> Vec<(i64, usize)> {
    let first = |&i: &usize| i == 0 || numbers[i] != numbers[i - 1] + 1;
    let mut ranges: Vec<_> = (0..numbers.len()).filter(first).map(|i| (numbers[i], i)).collect();
    ranges.push((0, numbers.len()));
    ranges
}

fn sorted_fields(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    fields
}

/// The text of rpc.pb-c.h.
pub fn header(file: &FileDescriptor) -> String {
    let mut text = HEAD.to_owned();
    for message in file.messages() {
        let name = camel(message.name());
        writeln!(text, "typedef struct {name} {name};").unwrap();
    }
    for e in file.enums() {
        c_enum(&mut text, &e);
    }
    for message in file.messages() {
        c_message(&mut text, &message);
    }
    text.push('\n');
    for e in file.enums() {
        writeln!(text, "extern const ProtobufCEnumDescriptor {}__descriptor;", e.name()).unwrap();
    }
    for message in file.messages() {
        writeln!(text, "extern const ProtobufCMessageDescriptor {}__descriptor;", message.name()).unwrap();
    }
    text + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
}

fn c_enum(text: &mut String, e: &EnumDescriptor) {
    let (name, prefix) = (camel(e.name()), e.name().to_uppercase());
    writeln!(text, "\ntypedef enum _{name} {{").unwrap();
    let values: Vec<_> = e.values().map(|v| format!("\t{prefix}__{} = {}", v.name(), v.number())).collect();
    writeln!(text, "{}", values.join(",\n")).unwrap();
    writeln!(text, "\tPROTOBUF_C__FORCE_ENUM_TO_BE_INT_SIZE({prefix})\n}} {name};").unwrap();
}

fn c_message(text: &mut String, message: &MessageDescriptor) {
    let (name, prefix) = (camel(message.name()), message.name());
    writeln!(text, "\nstruct {name} {{\n\tProtobufCMessage base;").unwrap();
    let mut values = Vec::new();
    for field in message.fields() {
        if let Some(quantifier) = quantifier(&field) {
            let kind = if repeated(&field) { "size_t" } else { "protobuf_c_boolean" };
            writeln!(text, "\t{kind} {quantifier};").unwrap();
            values.push("0".to_owned());
        }
        let star = if repeated(&field) { "*" } else { "" };
        let kind = match field.kind() {
            Kind::Int32 => "int32_t ".into(),
            Kind::Uint32 => "uint32_t ".into(),
            Kind::Uint64 => "uint64_t ".into(),
            Kind::Bool => "protobuf_c_boolean ".into(),
            Kind::String => "char *".into(),
            Kind::Enum(e) => camel(e.name()) + " ",
            Kind::Message(m) => camel(m.name()) + " *",
            kind => panic!("{}: {kind:?} is not provided for", field.full_name()),
        };
        writeln!(text, "\t{kind}{star}{};", field.name()).unwrap();
        values.push(default(&field, false).expect("a value"));
    }
    writeln!(text, "}};\n#define {}__INIT \\", prefix.to_uppercase()).unwrap();
    writeln!(text, "\t{{ PROTOBUF_C_MESSAGE_INIT(&{prefix}__descriptor), {} }}", values.join(", ")).unwrap();
    writeln!(text, "void {prefix}__init({name} *message);").unwrap();
    writeln!(text, "size_t {prefix}__get_packed_size(const {name} *message);").unwrap();
    writeln!(text, "size_t {prefix}__pack(const {name} *message, uint8_t *out);").unwrap();
    writeln!(text, "size_t {prefix}__pack_to_buffer(const {name} *message, ProtobufCBuffer *buffer);").unwrap();
    writeln!(text, "{name} *{prefix}__unpack(ProtobufCAllocator *allocator, size_t len, const uint8_t *data);")
        .unwrap();
    writeln!(text, "void {prefix}__free_unpacked({name} *message, ProtobufCAllocator *allocator);").unwrap();
    writeln!(text, "typedef void (*{name}_Closure)(const {name} *message, void *closure_data);").unwrap();
}

/// The text of messages.rs.
pub fn tables(file: &FileDescriptor) -> String {
    let mut text = String::from(
        "//! Generated from libcriu/images/proto/rpc.proto by the test `headers`; do not edit.\n\n\
         use std::ffi::{c_char, c_int, c_uint};\nuse std::mem::offset_of;\nuse std::ptr;\n\n\
         use super::layout::{\n    Allocator, Buffer, EnumDescriptor, EnumValue, EnumValueIndex, FieldDescriptor, IntRange, \
         MessageDescriptor,\n    ProtobufCMessage,\n};\nuse super::layout::{Label::*, Type};\n\
         use super::{enumeration, message, pack, unpack};\nuse crate::ffi::guard;\n",
    );
    for e in file.enums() {
        rust_enum(&mut text, &e);
    }
    for message in file.messages() {
        rust_struct(&mut text, &message);
        rust_table(&mut text, &message);
    }
    text
}

fn rust_ranges(numbers: &[i64]) -> String {
    let ranges: Vec<_> = ranges(numbers).iter().map(|(start, first)| format!("{start}: {first}")).collect();
    ranges.join(", ")
}

fn rust_enum(text: &mut String, e: &EnumDescriptor) {
    let (name, prefix) = (e.name(), e.name().to_uppercase());
    let mut values: Vec<_> = e.values().map(|v| (i64::from(v.number()), v.name().to_owned())).collect();
    values.sort();
    let numbers: Vec<i64> = values.iter().map(|(number, _)| *number).collect();
    writeln!(text, "\nenumeration! {{ {name}__descriptor c\"{}\" c\"{name}\" [", camel(name)).unwrap();
    for (number, value) in &values {
        writeln!(text, "    c\"{value}\" c\"{prefix}__{value}\" = {number},").unwrap();
    }
    let mut by_name: Vec<_> = values.iter().enumerate().map(|(i, (_, value))| (value, i)).collect();
    by_name.sort();
    let by_name: Vec<_> = by_name.iter().map(|(value, i)| format!("c\"{value}\": {i}")).collect();
    writeln!(text, "] by name [{}] ranges [{}] }}", by_name.join(", "), rust_ranges(&numbers)).unwrap();
}

fn rust_member(field: &FieldDescriptor) -> String {
    if field.name() == "type" { "r#type".into() } else { field.name().into() }
}

fn rust_struct(text: &mut String, message: &MessageDescriptor) {
    writeln!(text, "\n#[repr(C)]\npub struct {} {{\n    pub base: ProtobufCMessage,", camel(message.name())).unwrap();
    for field in message.fields() {
        if let Some(quantifier) = quantifier(&field) {
            writeln!(text, "    pub {quantifier}: {},", if repeated(&field) { "usize" } else { "c_int" }).unwrap();
        }
        let kind = match field.kind() {
            Kind::Uint32 => "u32".into(),
            Kind::Uint64 => "u64".into(),
            Kind::Bool => "c_int".into(),
            Kind::String => "*mut c_char".into(),
            Kind::Message(m) => format!("*mut {}", camel(m.name())),
            _ => "i32".to_owned(),
        };
        let star = if repeated(&field) { "*mut " } else { "" };
        writeln!(text, "    pub {}: {star}{kind},", rust_member(&field)).unwrap();
    }
    text.push_str("}\n");
}

fn rust_table(text: &mut String, message: &MessageDescriptor) {
    let (name, prefix) = (camel(message.name()), message.name());
    writeln!(text, "message! {{ {name} c\"{name}\" c\"{prefix}\"").unwrap();
    writeln!(text, "    {prefix}__descriptor {prefix}__init {prefix}__get_packed_size {prefix}__pack").unwrap();
    writeln!(text, "    {prefix}__pack_to_buffer {prefix}__unpack {prefix}__free_unpacked [").unwrap();
    let fields = sorted_fields(message);
    for field in &fields {
        let (kind, of) = match field.kind() {
            Kind::Enum(e) => ("Enum".into(), format!(".of(&raw const {}__descriptor)", e.name())),
            Kind::Message(m) => ("Message".into(), format!(".of(&raw const {}__descriptor)", m.name())),
            kind => (camel(&format!("{kind:?}")), String::new()),
        };
        let (label, number, member) = (field.cardinality(), field.number(), rust_member(field));
        let quantifier = quantifier(field).map(|q| format!(".counted(offset_of!({name}, {q}))")).unwrap_or_default();
        writeln!(
            text,
            "    FieldDescriptor::new(c\"{}\", {number}, {label:?}, Type::{kind}, offset_of!({name}, {member})){quantifier}{of}{},",
            field.name(),
            rust_default(field)
        )
        .unwrap();
    }
    let mut by_name: Vec<usize> = (0..fields.len()).collect();
    by_name.sort_by_key(|&i| fields[i].name());
    let by_name: Vec<_> = by_name.iter().map(ToString::to_string).collect();
    let numbers: Vec<i64> = fields.iter().map(|f| f.number().into()).collect();
    writeln!(text, "] by name [{}] ranges [{}] }}", by_name.join(", "), rust_ranges(&numbers)).unwrap();
}

fn rust_default(field: &FieldDescriptor) -> String {
    let Some(constant) = default(field, true) else { return String::new() };
    let number = match field.kind() {
        Kind::Enum(e) => {
            let value = constant.rsplit("__").next().and_then(|name| e.get_value_by_name(name)).expect("a value");
            format!("{}i32", value.number())
        }
        Kind::Int32 => constant + "i32",
        _ => constant + "32",
    };
    format!(".or(&{number})")
}

/// A C program that has nothing to say when the compiler's offsets are those of the library's descriptors. It has a
/// descriptor's public beginning of its own: rpc.pb-c.h may come without protobuf-c.
pub fn layout_check(file: &FileDescriptor) -> String {
    let mut text = String::from(
        "#include <errno.h>\n#include <stdio.h>\n#include <string.h>\n#include <criu.h>\n\
         struct field { const char *name; uint32_t id, label, type; unsigned quantifier, offset; const void *of, *value; \
         uint32_t flags; unsigned reserved; void *more[2]; };\n\
         struct message { uint32_t magic; const char *name, *short_name, *c_name, *package; size_t size; unsigned n; \
         const struct field *fields; };\nstatic int bad;\n\
         static void size(const void *d, size_t bytes) {\n\tconst struct message *m = d;\n\
         \tif (m->magic != 0x28aaeef9 || m->size != bytes) bad = !!printf(\"%s has %zu bytes\\n\", m->name, bytes);\n}\n\
         static void field(const void *d, const char *name, size_t offset, size_t quantifier) {\n\
         \tconst struct message *m = d;\n\tfor (unsigned i = 0; i < m->n; i++) {\n\
         \t\tif (strcmp(m->fields[i].name, name)) continue;\n\
         \t\tif (m->fields[i].offset != offset || m->fields[i].quantifier != quantifier) break;\n\t\treturn;\n\t}\n\
         \tbad = !!printf(\"%s %s is elsewhere\\n\", m->name, name);\n}\n\
         static void initial(const char *name, const void *a, const void *b, size_t bytes) {\n\
         \tif (memcmp(a, b, bytes)) bad = !!printf(\"%s: INIT and init differ\\n\", name);\n}\nint main(void)\n{\n",
    );
    for message in file.messages() {
        let (name, prefix) = (camel(message.name()), message.name());
        let upper = prefix.to_uppercase();
        writeln!(text, "\tsize(&{prefix}__descriptor, sizeof({name}));").unwrap();
        writeln!(text, "\tstatic {name} {prefix}_a, {prefix}_b = {upper}__INIT;\n\t{prefix}__init(&{prefix}_a);")
            .unwrap();
        writeln!(text, "\tinitial(\"{prefix}\", &{prefix}_a, &{prefix}_b, sizeof({name}));").unwrap();
        for field in message.fields() {
            let member = field.name();
            let quantifier = quantifier(&field).map_or("0".into(), |q| format!("offsetof({name}, {q})"));
            writeln!(text, "\tfield(&{prefix}__descriptor, \"{member}\", offsetof({name}, {member}), {quantifier});")
                .unwrap();
        }
    }
    text + "\treturn bad;\n}\n"
}

/// What the library exports for rpc.proto.
pub fn exports(file: &FileDescriptor) -> Vec<String> {
    let parts = ["descriptor", "init", "get_packed_size", "pack", "pack_to_buffer", "unpack", "free_unpacked"];
    let of_messages = file.messages().flat_map(|m| parts.map(|part| format!("{}__{part}", m.name())));
    file.enums().map(|e| format!("{}__descriptor", e.name())).chain(of_messages).collect()
}
