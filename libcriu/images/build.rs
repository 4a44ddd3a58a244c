//! Compiles the .proto files without protoc: Rust types by prost, the descriptor set as it is, and compact tables of
//! every message (with the display options of each field) for the JSON form and the strict check of entries.

use std::path::PathBuf;
use std::{env, fs, io};

#[path = "build/tables.rs"]
mod tables;

/// Names that the kernel takes and cuts without regard to characters: they are bytes, not text.
fn is_of_any_bytes(message: &str, field: &str) -> bool {
    const PATHS: [(&str, &str); 9] = [
        ("reg_file_entry", "name"),
        ("ghost_file_entry", "symlnk_target"),
        ("ghost_xattr_entry", "name"),
        ("memfd_inode_entry", "name"),
        ("fh_entry", "path"),
        ("fanotify_mount_mark_entry", "path"),
        ("unix_sk_entry", "name_dir"),
        ("unix_sk_entry", "file_path"),
        ("tunfile_entry", "path"),
    ];
    field == "comm" || PATHS.contains(&(message, field))
}

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=build.rs");
    let mut files: Vec<PathBuf> = fs::read_dir("proto")?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|p| p.extension().is_some_and(|e| e == "proto"));
    files.sort();
    let compiled = protox::Compiler::new(["proto"])
        .and_then(|mut c| {
            c.include_imports(true);
            c.open_files(&files)?;
            Ok(c)
        })
        .map_err(io::Error::other)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    fs::write(out.join("descriptors.bin"), compiled.encode_file_descriptor_set())?;
    fs::write(out.join("tables.rs"), tables::generate(&compiled.descriptor_pool()).map_err(io::Error::other)?)?;

    // CRIU_Opts describes how fields are shown; as a Rust type it would collide with criu_opts.
    let mut set = compiled.file_descriptor_set();
    set.file.retain(|f| f.name() != "opts.proto" && !f.name().starts_with("google/"));
    for file in &mut set.file {
        file.dependency.retain(|d| d != "opts.proto");
        for message in &mut file.message_type {
            let of = message.name().to_owned();
            let names = message.field.iter_mut().filter(|f| is_of_any_bytes(&of, f.name()));
            names.for_each(|f| f.set_type(prost_reflect::prost_types::field_descriptor_proto::Type::Bytes));
        }
    }
    let mut config = prost_build::Config::new();
    // An entry has one of these parts: without boxes it has room for all of them, a kilobyte.
    let entries = set.file.iter().flat_map(|f| &f.message_type).filter(|m| m.name() == "file_entry");
    let parts = entries.flat_map(|m| &m.field).filter(|f| f.type_name.is_some() && f.name() != "type");
    for part in parts {
        config.boxed(format!(".file_entry.{}", part.name()));
    }
    config.enable_type_names().compile_fds(set)
}
