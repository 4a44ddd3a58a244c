//! Writes the messages and enums of a descriptor pool as Rust statics (`src/schema.rs` has their types).

use std::fmt::Write;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};

/// Rust source of `MESSAGES` and `ENUMS`, each sorted by name.
pub fn generate(pool: &DescriptorPool) -> Result<String, String> {
    let mut messages: Vec<_> = pool.all_messages().filter(|m| is_ours(m.parent_file().name())).collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut enums: Vec<_> = pool.all_enums().filter(|e| is_ours(e.parent_file().name())).collect();
    enums.sort_by(|a, b| a.full_name().cmp(b.full_name()));

    let mut out = String::from("pub(crate) static MESSAGES: &[Message] = &[\n");
    for message in &messages {
        write_message(&mut out, message, &messages, &enums)?;
    }
    out.push_str("];\npub(crate) static ENUMS: &[Enum] = &[\n");
    for e in &enums {
        let values: Vec<_> = e.values().map(|v| (v.number(), v.name().to_owned())).collect();
        add(&mut out, format_args!("    Enum {{ values: &{values:?} }},\n"));
    }
    out.push_str("];\n");
    Ok(out)
}

fn is_ours(file: &str) -> bool {
    file != "opts.proto" && !file.starts_with("google/")
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn write_message(
    out: &mut String,
    message: &MessageDescriptor,
    messages: &[MessageDescriptor],
    enums: &[EnumDescriptor],
) -> Result<(), String> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let required = fields.iter().filter(|f| f.cardinality() == Cardinality::Required).count();
    // Numbers below 128 find their field by index; 255 marks a hole.
    let low = fields.iter().map(FieldDescriptor::number).filter(|&n| n < 128).max().map_or(0, |n| n as usize + 1);
    let mut index = vec![255u8; low];
    for (at, field) in fields.iter().enumerate() {
        if field.number() < 128 {
            index[field.number() as usize] = u8::try_from(at)
                .ok()
                .filter(|&i| i != 255)
                .ok_or_else(|| format!("{}: too many fields", message.full_name()))?;
        }
    }
    add(
        out,
        format_args!(
            "    Message {{ name: {:?}, required: {required}, index: &{index:?}, fields: &[\n",
            message.full_name()
        ),
    );
    for field in &fields {
        let label = match field.cardinality() {
            Cardinality::Required => "Required",
            Cardinality::Optional => "Optional",
            Cardinality::Repeated => "Repeated",
        };
        let kind = kind_of(field, messages, enums)?;
        let show = show_of(field)?;
        // What the pool itself tells was found out before the options were read.
        let packed = field.field_descriptor_proto().options.as_ref().is_some_and(|o| o.packed());
        add(
            out,
            format_args!(
                "        Field {{ number: {}, name: {:?}, label: Label::{label}, packed: {packed}, kind: Type::{kind}, show: Show::{show} }},\n",
                field.number(),
                field.name()
            ),
        );
    }
    out.push_str("    ] },\n");
    Ok(())
}

fn kind_of(
    field: &FieldDescriptor,
    messages: &[MessageDescriptor],
    enums: &[EnumDescriptor],
) -> Result<String, String> {
    Ok(match field.kind() {
        Kind::Uint32 => "Uint32".into(),
        Kind::Uint64 => "Uint64".into(),
        Kind::Int32 => "Int32".into(),
        Kind::Int64 => "Int64".into(),
        Kind::Sint32 => "Sint32".into(),
        Kind::Sint64 => "Sint64".into(),
        Kind::Fixed32 => "Fixed32".into(),
        Kind::Fixed64 => "Fixed64".into(),
        Kind::Bool => "Bool".into(),
        Kind::String => "String".into(),
        Kind::Bytes => "Bytes".into(),
        Kind::Message(m) => {
            let at =
                messages.iter().position(|x| x.full_name() == m.full_name()).ok_or("a message of another file set")?;
            format!("Message({at})")
        }
        Kind::Enum(e) => {
            let at = enums.iter().position(|x| x.full_name() == e.full_name()).ok_or("an enum of another file set")?;
            format!("Enum({at})")
        }
        other => return Err(format!("{}: no image has fields of type {other:?}", field.full_name())),
    })
}

/// The display option as a `Show`; names of flag tables and dictionaries become constants of `json::names`, so that an
/// unknown one does not compile.
fn show_of(field: &FieldDescriptor) -> Result<String, String> {
    let options = field.options();
    let Some((_, Value::Message(criu))) = options.extensions().find(|(x, _)| x.number() == 1018) else {
        return Ok("Plain".into());
    };
    let on = |name: &str| matches!(criu.get_field_by_name(name).as_deref(), Some(Value::Bool(true)));
    let text = |name: &str| match criu.get_field_by_name(name).as_deref() {
        Some(Value::String(s)) if !s.is_empty() => Some(s.clone()),
        _ => None,
    };
    Ok(if on("hex") {
        "Hex".into()
    } else if on("ipadd") {
        "Ip".into()
    } else if on("odev") {
        "OldDev".into()
    } else if on("dev") {
        "Dev".into()
    } else if let Some(table) = text("flags") {
        format!("Flags(names::{})", table.replace('.', "_").to_uppercase())
    } else if let Some(dict) = text("dict") {
        format!("Dict(names::{}_{})", dict.to_uppercase(), field.name().to_uppercase())
    } else if let Some(conv) = text("conv") {
        match conv.as_str() {
            "unix_name" => "UnixName".into(),
            other => return Err(format!("{}: conversion {other:?} is not known", field.full_name())),
        }
    } else {
        "Plain".into()
    })
}
