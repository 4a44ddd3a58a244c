//! The C interface: exported names, the two examples with the shared and the static library, layout of the data.

// Makes cargo build the libraries.
use soccr as _;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder that this test's executable and the libraries are in.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}: {}\n{text}", out.status);
    text
}

fn compile(source: &Path, to: &Path, library: &[&str]) {
    let include = root().join("include");
    run(Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(to)
        .arg(source)
        .arg("-I")
        .arg(include)
        .args(library));
}

/// In a network namespace of its own, with loopback.
fn run_apart(program: &Path) -> String {
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", "ip link set lo up && exec \"$0\""]).arg(program);
    run(command.env("LD_LIBRARY_PATH", libraries()))
}

fn example(name: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let source = root().join(format!("examples/soccr/{name}.c"));
    let libraries = libraries();
    let fixed = libraries.join("libsoccr.a");
    let shared = ["-L", libraries.to_str().unwrap(), "-lsoccr"];
    let fixed = [fixed.to_str().unwrap(), "-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];
    for library in [&shared[..], &fixed[..]] {
        let program = folder.path().join(name);
        compile(&source, &program, library);
        assert_eq!(run_apart(&program).trim(), says);
    }
}

#[test]
fn a_connection_moves_to_another_process() {
    example("move", "moved");
}

#[test]
fn a_pair_is_made_from_nothing() {
    example("pair", "connected");
}

#[test]
fn the_shared_library_exports_the_interface_and_nothing_else() {
    let list = run(Command::new("nm").args(["-D", "--defined-only"]).arg(libraries().join("libsoccr.so")));
    let mut names: Vec<&str> = list.lines().filter_map(|l| l.split(' ').nth(2)).collect();
    names.sort_unstable();
    let mut wanted = [
        "libsoccr_set_log",
        "libsoccr_pause",
        "libsoccr_resume",
        "libsoccr_release",
        "libsoccr_save",
        "libsoccr_get_queue_bytes",
        "libsoccr_get_addr",
        "libsoccr_set_queue_bytes",
        "libsoccr_set_addr",
        "libsoccr_restore",
    ];
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

#[test]
fn the_header_has_the_layout_and_the_errors_of_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("contract");
    let libraries = libraries();
    compile(&root().join("libcriu/soccr/tests/contract.c"), &program, &["-L", libraries.to_str().unwrap(), "-lsoccr"]);
    assert_eq!(run_apart(&program).trim(), "as agreed");
}
