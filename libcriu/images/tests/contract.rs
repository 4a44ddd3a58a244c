//! The .proto files and the table of kinds against the facts of CRIU 4.2: every message, field, default and display
//! option, every image file. What is added has numbers from 10000 up.

use std::collections::BTreeMap;

use criu_images::{DESCRIPTORS, Kind};
use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as Type, Value};
use serde_json::Value as Json;

const OWN: u64 = 10_000;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

fn contract() -> Json {
    serde_json::from_str(include_str!("contract/images.json")).unwrap()
}

fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Type::Message(m) => m.full_name().to_owned(),
        Type::Enum(e) => e.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn default_of(field: &FieldDescriptor) -> Option<String> {
    field.field_descriptor_proto().default_value.clone()
}

fn options_of(field: &FieldDescriptor) -> BTreeMap<String, String> {
    let options = field.options();
    let Some((_, Value::Message(criu))) = options.extensions().find(|(x, _)| x.number() == 1018) else {
        return BTreeMap::new();
    };
    let text = |v: &Value| match v {
        Value::Bool(on) => u8::from(*on).to_string(),
        Value::String(s) => s.clone(),
        other => panic!("{other:?}"),
    };
    criu.fields().map(|(f, v)| (f.name().to_owned(), text(v))).collect()
}

fn check_field(message: &str, wanted: &Json, field: &FieldDescriptor) {
    let name = field.full_name();
    assert_eq!(wanted["name"], field.name(), "{message}");
    assert_eq!(wanted["type"], type_of(field), "{name}");
    let label = match field.cardinality() {
        Cardinality::Required => "required",
        Cardinality::Optional => "optional",
        Cardinality::Repeated => "repeated",
    };
    assert_eq!(wanted["label"], label, "{name}");
    assert_eq!(wanted["default"].as_str().map(str::to_owned), default_of(field), "{name}");
    let text = |v: &Json| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let options: BTreeMap<_, _> =
        wanted["options"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
    assert_eq!(options, options_of(field), "{name}");
}

#[test]
fn every_message_of_the_contract() {
    let (pool, contract) = (pool(), contract());
    let mut fields = 0;
    for (file, content) in contract.as_object().unwrap() {
        for (message, wanted) in content["messages"].as_object().unwrap() {
            let found = pool.get_message_by_name(message).unwrap_or_else(|| panic!("{message} is missing"));
            assert_eq!(found.parent_file().name(), file);
            let wanted = wanted.as_array().unwrap();
            for w in wanted {
                let number = u32::try_from(w["number"].as_u64().unwrap()).unwrap();
                let field = found.get_field(number).unwrap_or_else(|| panic!("{message} lacks field {number}"));
                check_field(message, w, &field);
                fields += 1;
            }
            for field in found.fields().filter(|f| u64::from(f.number()) < OWN) {
                assert!(wanted.iter().any(|w| w["number"] == field.number()), "{} is not CRIU's", field.full_name());
            }
        }
    }
    assert!(fields > 1000, "{fields} fields");
}

#[test]
fn every_enum_of_the_contract() {
    let pool = pool();
    let values = |e: &EnumDescriptor| -> BTreeMap<String, i64> {
        e.values()
            .map(|v| (v.name().to_owned(), v.number().into()))
            .filter(|v| v.1 < OWN as i64 || e.name() == "fd_types" && v.0 != "IOURING")
            .collect()
    };
    let mut count = 0;
    for content in contract().as_object().unwrap().values() {
        for (name, wanted) in content["enums"].as_object().unwrap() {
            let found = pool.get_enum_by_name(name).unwrap_or_else(|| panic!("{name} is missing"));
            let wanted: BTreeMap<_, _> =
                wanted.as_object().unwrap().iter().map(|(n, v)| (n.clone(), v.as_i64().unwrap())).collect();
            assert_eq!(values(&found), wanted, "{name}");
            count += 1;
        }
    }
    assert_eq!(count, 19);
}

#[test]
fn every_image_file_of_the_contract() {
    let mut rows = 0;
    for row in include_str!("contract/image-files.tsv").lines().skip(1) {
        let row: Vec<&str> = row.split('\t').collect();
        let kind = Kind::by_name(row[0]).unwrap_or_else(|| panic!("{} is missing", row[0]));
        let magic = u32::from_str_radix(row[2].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(kind.magic(), magic, "{kind}");
        let id = 0x1f;
        let name = ["%u", "%lu", "%d", "%ld"].iter().fold(row[1].replace("%x", "1f"), |n, p| n.replace(p, "31"));
        if kind == Kind::Stats {
            assert_eq!(kind.named("dump"), "stats-dump");
        } else {
            assert_eq!(kind.file_name(id), name);
        }
        match kind.message() {
            None => assert_eq!((magic, row[3]), (0, "(raw, no header)"), "{kind}"),
            Some(message) => {
                assert!(row[3].split(' ').any(|w| w.trim_end_matches('*') == message), "{kind}: {message}");
                let known = Kind::by_magic(magic).unwrap();
                assert_eq!(known.magic(), magic);
            }
        }
        rows += 1;
    }
    assert_eq!(rows, Kind::all().count());
}
