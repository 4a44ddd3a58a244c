//! The committed headers are those that the sources give. `UPDATE_HEADERS=1 cargo test -p criu-capi --test headers` writes
//! them anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

mod generator;

fn here() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn generated(config: &str, sources: &[&str]) -> String {
    let config = cbindgen::Config::from_file(here().join("cbindgen").join(config)).expect("configuration");
    let builder = sources.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(here().join("src").join(source))
    });
    let mut text = Vec::new();
    builder.generate().expect("sources that cbindgen understands").write(&mut text);
    String::from_utf8(text).expect("text")
}

fn compare(header: &str, config: &str, sources: &[&str]) {
    compare_text(&format!("../../include/criu/{header}"), &generated(config, sources));
}

fn compare_text(file: &str, text: &str) {
    let path = Path::new(&here()).join(file);
    if env::var_os("UPDATE_HEADERS").is_some() {
        fs::write(&path, text).expect("the file can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        committed == text,
        "{file} is not what the sources give (first difference in line {:?}); \
         UPDATE_HEADERS=1 cargo test -p criu-capi --test headers",
        differs.map(|n| n + 1)
    );
}

#[test]
fn criu_h() {
    let sources = [
        "types.rs",
        "options/lifetime.rs",
        "options/basics.rs",
        "options/files.rs",
        "options/memory.rs",
        "options/network.rs",
        "options/mounts.rs",
        "options/cgroups.rs",
        "operations.rs",
    ];
    compare("criu.h", "criu.toml", &sources);
}

#[test]
fn criu_ext_h() {
    let sources = ["types", "report", "control", "request", "options"].map(|s| format!("ext/{s}.rs"));
    compare("criu-ext.h", "criu-ext.toml", &sources.each_ref().map(String::as_str));
}

#[test]
fn rpc_pb_c_h() {
    compare_text("../../include/criu/rpc.pb-c.h", &generator::header(&generator::rpc()));
}

#[test]
fn rpc_messages() {
    compare_text("src/ffi/rpc/messages.rs", &generator::tables(&generator::rpc()));
}
